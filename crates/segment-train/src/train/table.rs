//! The table that segments are trained on, read from CSV or Parquet with all problems at once.
//!
//! Owns what is known of a file before learning: which columns are numbers, ids or texts, and which values are missing.
//! Values are 32-bit floats, as in requests. Memory: 4 bytes per value, the bytes of the ids, and 24 bytes per id while
//! they are compared; nothing is allocated per row.
//! Start reading at [`Table::read`]. `gather` joins what `csv_file` and `parquet_file` read, and `column` classifies a
//! column.

mod cell;
mod column;
mod csv_file;
mod distinct;
mod facts;
mod gather;
mod header;
mod ids;
mod naming;
mod one_hot;
mod parquet_file;
#[cfg(test)]
mod real_data;
mod suspect;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

pub use self::facts::Facts;
pub(super) use self::facts::{ColumnFacts, Kind};
pub use self::ids::Ids;

use super::progress::{Progress, Silent};
use super::settings::ReadSettings;
use document::Problems;
use table::{Decimal, EMPTY};

/// The magic bytes at both ends of a Parquet file.
const PARQUET_MAGIC: &[u8] = b"PAR1";

/// How to read a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// The id column; it is not a feature.
    pub id_column: Option<String>,
    /// Columns to leave out without a check.
    pub drop: Vec<String>,
    /// Text columns that become a column of 0 and 1 per value.
    pub one_hot: Vec<String>,
    /// Additional words for a missing value, in any case.
    pub missing: Vec<String>,
    /// The field separator of a CSV file; detected by default.
    pub separator: Option<u8>,
    /// The decimal separator of a CSV file; detected by default.
    pub decimal: Option<Decimal>,
    /// The only columns to read besides the id column; all by default.
    pub only: Option<Vec<String>>,
    /// Columns to use although they look like row numbers, ids, codes or labels.
    pub keep: Vec<String>,
    /// New names of columns, by their names in the file.
    pub rename: BTreeMap<String, String>,
    /// What the columns are for.
    pub purpose: Purpose,
}

/// What columns are for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Purpose {
    /// Features of existing segments, which determine the columns.
    #[default]
    AsGiven,
    /// Features of new segments; row numbers, ids, codes and invalid feature names are detected.
    Features,
}

/// Customers × features.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// The path, for messages.
    pub(super) file: String,
    /// Unique names of the features, in the order of the columns; `job=admin.` for an encoded text.
    pub(super) names: Vec<String>,
    /// For each feature of an encoded text, the column and the value for which it is 1.
    pub(super) equals: Vec<Option<(String, String)>>,
    /// Rows × features, row-major; finite, or NaN for a missing value.
    pub(super) values: Vec<f32>,
    /// The unique ids, one per row.
    pub(super) ids: Option<Ids>,
    /// Every column of the file, in order.
    pub(super) columns: Vec<ColumnFacts>,
    /// Warnings about the file as a whole, a sentence each.
    pub(super) notes: Vec<String>,
}

impl From<&ReadSettings> for ReadOptions {
    fn from(settings: &ReadSettings) -> Self {
        Self {
            id_column: settings.id.clone(),
            drop: settings.drop.clone(),
            one_hot: settings.one_hot.clone(),
            missing: settings.missing.clone(),
            only: settings.only.clone(),
            separator: settings.separator,
            decimal: settings.decimal,
            keep: settings.keep.clone(),
            rename: settings.rename.clone(),
            purpose: Purpose::Features,
        }
    }
}

impl Table {
    /// The number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.values.len() / self.names.len()
    }

    /// The values of a feature, one per row.
    pub(super) fn column(&self, index: usize) -> impl Iterator<Item = f32> {
        self.values.iter().skip(index).step_by(self.names.len()).copied()
    }

    /// Warnings about the file as a whole, a sentence each.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What is known of the columns before learning.
    #[must_use]
    pub fn facts(&self) -> Facts {
        Facts {
            file: self.file.clone(),
            rows: self.rows() as u64,
            columns: self.columns.clone(),
            notes: self.notes.clone(),
        }
    }

    /// Reads a CSV or Parquet file with a header and one row per customer.
    ///
    /// Every column except the id column is a number, yes/no, or a text that `options` encode.
    ///
    /// # Errors
    /// Every problem of the header; then at most one per column, with its first occurrence.
    pub fn read(path: &Path, options: &ReadOptions) -> Result<Self, Problems> {
        Self::read_watched(path, options, &Silent)
    }

    /// As [`Table::read`], with progress in bytes of a CSV file or rows of a Parquet file.
    ///
    /// # Errors
    /// As [`Table::read`]; `progress` asked to stop.
    pub fn read_watched(
        path: &Path,
        options: &ReadOptions,
        progress: &dyn Progress,
    ) -> Result<Self, Problems> {
        let file = path.display().to_string();
        let refused = |message: String| Problems::one(file.clone(), None, message);
        let head = head(path).map_err(refused)?;
        match Format::of(path, &head).map_err(refused)? {
            Format::Csv => csv_file::read(path, &file, options, progress),
            Format::Parquet => parquet_file::read(path, &file, options, progress),
        }
    }

    /// A table of columns that are numbers, for tests.
    #[cfg(test)]
    pub(super) fn of_numbers(columns: &[(&str, &[f32])]) -> Self {
        let rows = columns[0].1.len();
        Self {
            file: "customers.csv".into(),
            names: columns.iter().map(|(name, _)| (*name).to_owned()).collect(),
            equals: vec![None; columns.len()],
            values: (0..rows).flat_map(|row| columns.iter().map(move |(_, column)| column[row])).collect(),
            ..Self::default()
        }
    }
}

/// The format of a file.
enum Format {
    Csv,
    Parquet,
}

impl Format {
    /// Detects the format from the contents; the file name must agree.
    fn of(path: &Path, head: &[u8]) -> Result<Self, String> {
        if head.is_empty() {
            return Err(EMPTY.to_owned());
        }
        if head.starts_with(PARQUET_MAGIC) {
            return Ok(Self::Parquet);
        }
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet")) {
            return Err("has the extension of Parquet but is not a Parquet file; export it again".to_owned());
        }
        Ok(Self::Csv)
    }
}

/// The first bytes of the file, enough to detect its format.
fn head(path: &Path) -> Result<Vec<u8>, String> {
    let unreadable = |error: io::Error| format!("cannot be read: {error}");
    let kind = fs::metadata(path).map_err(unreadable)?;
    if kind.is_dir() {
        return Err("is a directory; name a CSV or Parquet file".to_owned());
    }
    if !kind.is_file() {
        return Err("is not a regular file; save the table to a file first".to_owned());
    }
    let mut head = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(PARQUET_MAGIC.len() as u64).read_to_end(&mut head).map_err(unreadable)?;
    Ok(head)
}
