//! How large a table may be, in any format.

use document::grouped;

/// The limits of a table. Each exceeds any table of customers, and stops a file that was crafted to have no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Columns, including those that are never read.
    pub columns: usize,
    /// Rows below the header.
    pub rows: u64,
    /// Rows multiplied by columns. For a Parquet file only the columns that are read count.
    pub cells: u64,
    /// Bytes of one record of a CSV file.
    pub record_bytes: usize,
    /// Bytes that a compressed file may unpack to, …
    pub unpacked_bytes: u64,
    /// … and beyond these bytes at most [`ratio`](Self::ratio) times its length. Each value of a Parquet file counts
    /// as [`VALUE_BYTES`].
    pub free_bytes: u64,
    /// How many bytes one byte of a file may unpack to.
    pub ratio: u64,
    /// Row groups of a Parquet file.
    pub row_groups: usize,
    /// Bytes of the metadata of a Parquet file, which is read as a whole.
    pub footer_bytes: u64,
    /// Bytes of a page of a Parquet file, unpacked.
    pub page_bytes: u64,
}

/// Bytes that a value of a Parquet file counts as.
pub const VALUE_BYTES: u64 = 8;

impl Limits {
    /// Limits of a table of customers: to serve, to score or to train on.
    pub const CUSTOMERS: Self = Self {
        columns: 16_384,
        rows: 500_000_000,
        cells: 16_000_000_000,
        record_bytes: 16 << 20,
        unpacked_bytes: 16 << 30,
        free_bytes: 256 << 20,
        ratio: 256,
        row_groups: 100_000,
        footer_bytes: 32 << 20,
        page_bytes: 256 << 20,
    };

    /// Limits of golden rows, which are kept in memory while the server runs.
    pub const GOLDEN: Self = Self {
        columns: 4_096,
        rows: 100_000,
        cells: 2_000_000,
        record_bytes: 1 << 20,
        unpacked_bytes: 64 << 20,
        free_bytes: 16 << 20,
        ..Self::CUSTOMERS
    };

    /// The fault of a table with too many columns.
    pub(super) fn columns_fault(&self, found: usize) -> Option<String> {
        (found > self.columns).then(|| {
            let (found, most) = (grouped(&found.to_string()), grouped(&self.columns.to_string()));
            format!("has {found} columns; at most {most}: leave out those that are not features")
        })
    }

    /// The fault of a table with too many rows or cells.
    pub(super) fn rows_fault(&self, rows: u64, columns: usize) -> Option<String> {
        if rows > self.rows {
            let most = grouped(&self.rows.to_string());
            return Some(format!("has more than {most} rows; split it, or take a sample"));
        }
        (rows.saturating_mul(columns as u64) > self.cells).then(|| {
            let most = grouped(&self.cells.to_string());
            format!("has more than {most} cells in {columns} columns; leave out columns, or take a sample")
        })
    }

    /// The most bytes that the first `read` bytes of a file may unpack to.
    #[must_use]
    pub(crate) fn unpacked_of(&self, read: u64) -> u64 {
        self.free_bytes.saturating_add(read.saturating_mul(self.ratio)).min(self.unpacked_bytes)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::CUSTOMERS
    }
}
