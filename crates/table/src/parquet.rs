//! Parquet files, checked against the limits of a table before any of their data is decoded.
//!
//! The metadata at the end of a file may be false, and a run of a billion equal values takes two kilobytes. So the
//! headers of all pages that will be read are checked first (`parquet/pages.rs`): their unpacked size and their
//! number of values. Then batches are decoded, each with so few rows that even its longest possible texts fit. Start
//! reading at [`Parquet::open`].

mod delta;
mod pages;
#[cfg(test)]
mod tests;
mod thrift;

use std::fmt::Display;
use std::sync::Arc;

use ::parquet::arrow::ProjectionMask;
use ::parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use ::parquet::errors::Result as ParquetResult;
use ::parquet::file::metadata::FileMetaData;
use ::parquet::file::reader::{ChunkReader, Length};
use arrow_array::RecordBatch;
use arrow_schema::Fields;
use bytes::Bytes;

pub use self::thrift::PageHeader;
use super::limits::{Limits, VALUE_BYTES};
use document::grouped;

/// Bytes at the end of a file: the length of its metadata, and `PAR1`.
const TAIL_BYTES: u64 = 8;

/// The most bytes that the texts of one batch may take: each row may have the longest text of each dictionary.
const BATCH_BYTES: u64 = 256 << 20;

/// The most bytes of the dictionaries of all columns that are read, taken together.
const DICTIONARY_BYTES: u64 = 64 << 20;

/// A file with metadata that was read and is within the limits.
pub struct Parquet<R> {
    input: Shared<R>,
    metadata: ArrowReaderMetadata,
    limits: Limits,
}

impl<R: ChunkReader + 'static> Parquet<R> {
    /// Reads the metadata of a file.
    ///
    /// # Errors
    /// A file that is not Parquet, is damaged, or exceeds `limits` in columns, row groups or metadata.
    pub fn open(input: R, limits: Limits) -> Result<Self, String> {
        let length = input.len();
        let footer = length.checked_sub(TAIL_BYTES).and_then(|at| input.get_bytes(at, 4).ok());
        if let Some(footer) = footer.and_then(|bytes| <[u8; 4]>::try_from(&bytes[..]).ok()) {
            let bytes = u64::from(u32::from_le_bytes(footer));
            if bytes > limits.footer_bytes && bytes < length {
                let most = limits.footer_bytes >> 20;
                return Err(format!(
                    "has {} MiB of metadata; at most {most}: write it with fewer row groups or columns",
                    bytes >> 20
                ));
            }
        }
        let metadata = ArrowReaderMetadata::load(&input, ArrowReaderOptions::new())
            .map_err(|error| unreadable(&error))?;
        let (columns, groups) =
            (metadata.parquet_schema().num_columns(), metadata.metadata().num_row_groups());
        if let Some(message) = limits.columns_fault(columns.max(metadata.schema().fields().len())) {
            return Err(message);
        }
        if groups > limits.row_groups {
            let most = grouped(&limits.row_groups.to_string());
            return Err(format!("has {groups} row groups; at most {most}: write it with larger ones"));
        }
        Ok(Self { input: Shared(Arc::new(input)), metadata, limits })
    }

    /// The columns.
    #[must_use]
    pub fn fields(&self) -> &Fields {
        self.metadata.schema().fields()
    }

    /// The file-level metadata.
    #[must_use]
    pub fn file_metadata(&self) -> &FileMetaData {
        self.metadata.metadata().file_metadata()
    }

    /// Checks the pages of the columns at `positions`, then reads them in batches of at most `batch_rows` rows.
    ///
    /// # Errors
    /// More rows or cells than the limits allow, values that would take too much memory for the file's length, or
    /// pages that contradict the metadata.
    pub fn read(self, positions: &[usize], batch_rows: usize) -> Result<Batches, String> {
        let (file, schema) = (self.metadata.metadata(), self.metadata.parquet_schema());
        let leaves: Vec<usize> = (0..schema.num_columns())
            .filter(|leaf| positions.contains(&schema.get_column_root_idx(*leaf)))
            .collect();
        let mut rows: u64 = 0;
        for group in file.row_groups() {
            let more = u64::try_from(group.num_rows())
                .map_err(|_| unreadable(&"a row group has a negative number of rows"))?;
            rows = rows.saturating_add(more);
        }
        let limits = &self.limits;
        if let Some(message) = limits.rows_fault(rows, leaves.len()) {
            return Err(message);
        }
        let values = rows.saturating_mul(leaves.len() as u64).saturating_mul(VALUE_BYTES);
        let most = limits.unpacked_of(self.input.len());
        if values > most {
            return Err(format!(
                "claims {} rows in {} bytes, and its values would take more than {} MiB; write it again as CSV",
                grouped(&rows.to_string()),
                grouped(&self.input.len().to_string()),
                most >> 20
            ));
        }
        let dictionaries = pages::check(&self.input.0, file, &leaves, limits)?;
        if dictionaries.bytes > DICTIONARY_BYTES {
            return Err(format!(
                "has dictionaries of {} MiB in one row group; at most {}: write its texts without dictionaries",
                dictionaries.bytes >> 20,
                DICTIONARY_BYTES >> 20
            ));
        }
        let fitting = usize::try_from(BATCH_BYTES / dictionaries.longest_texts.max(1)).unwrap_or(usize::MAX);
        let mask = ProjectionMask::leaves(schema, leaves.iter().copied());
        let reader =
            ParquetRecordBatchReaderBuilder::new_with_metadata(self.input.clone(), self.metadata.clone())
                .with_projection(mask)
                .with_batch_size(batch_rows.min(fitting).max(1))
                .build()
                .map_err(|error| unreadable(&error))?;
        Ok(Batches { reader, left: rows })
    }
}

/// The bytes of a file, shared by the page check and the decoder.
struct Shared<R>(Arc<R>);

impl<R> Clone for Shared<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R: ChunkReader> Length for Shared<R> {
    fn len(&self) -> u64 {
        self.0.len()
    }
}

impl<R: ChunkReader> ChunkReader for Shared<R> {
    type T = R::T;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        self.0.get_read(start)
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        self.0.get_bytes(start, length)
    }
}

/// The rows of a file, batch by batch.
pub struct Batches {
    reader: ParquetRecordBatchReader,
    /// Rows that the metadata promises and that have not been read yet.
    left: u64,
}

impl Iterator for Batches {
    type Item = Result<RecordBatch, String>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = match self.reader.next()? {
            Ok(batch) => batch,
            Err(error) => return Some(Err(unreadable(&error))),
        };
        Some(match self.left.checked_sub(batch.num_rows() as u64) {
            Some(left) => {
                self.left = left;
                Ok(batch)
            }
            None => Err(unreadable(&"it has more rows than its metadata says")),
        })
    }
}

/// The message for a damaged file.
#[must_use]
pub fn unreadable(reason: &impl Display) -> String {
    format!("not a whole Parquet file, write it again: {reason}")
}
