//! The table that segments are trained on, read from CSV or Parquet with every problem named at once.
//!
//! Owns what a file says before anything is learned of it: which columns are numbers, which name customers, which are
//! text, and what is missing. A value is a 32-bit float, as the server receives it. Memory: 4 bytes per value, the bytes
//! of the ids and 24 bytes per id while they are compared; nothing is allocated per row. Start reading at
//! [`Table::read`]; `gather` joins what `csv_file` and `parquet_file` read, `column` judges a column.

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

pub use self::facts::{ColumnFacts, Facts, Kind};
pub use self::ids::Ids;

use super::progress::{Progress, Silent};
use super::settings::ReadSettings;
use crate::document::Problems;
use crate::table::{Decimal, EMPTY};

/// How a Parquet file begins and ends.
const PARQUET_MAGIC: &[u8] = b"PAR1";

/// What a person says about the columns of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// The column that names the customer; it is no feature.
    pub id_column: Option<String>,
    /// Columns that are left out before they are judged.
    pub drop: Vec<String>,
    /// Columns of text that become a column of 0 and 1 per value.
    pub one_hot: Vec<String>,
    /// Words that stand for a missing value beside those that always do; case does not matter.
    pub missing: Vec<String>,
    /// What separates the fields of a CSV file; told from the file where absent.
    pub separator: Option<u8>,
    /// What stands before the decimals in a CSV file; told from the file where absent.
    pub decimal: Option<Decimal>,
    /// The only columns that are read, beside the id column; all where absent.
    pub only: Option<Vec<String>>,
    /// Columns that take part although they look like row numbers, ids, codes or labels.
    pub keep: Vec<String>,
    /// What columns are called from here on, by what the file calls them.
    pub rename: BTreeMap<String, String>,
    /// What the columns are read for.
    pub purpose: Purpose,
}

/// What columns are read for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Purpose {
    /// Segments that are there already say which columns they need.
    #[default]
    AsGiven,
    /// They become the features of new segments: row numbers, ids, codes and names that no schema can have are found.
    Features,
}

/// Customers × features.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// The file as it was given, for messages.
    pub(super) file: String,
    /// One per feature, unique, in the order of the columns; `job=admin.` where a text is encoded.
    pub(super) names: Vec<String>,
    /// For each feature that encodes a text: the column and the value for which it is 1.
    pub(super) equals: Vec<Option<(String, String)>>,
    /// Rows × features, row-major; finite, or NaN where the value is missing.
    pub(super) values: Vec<f32>,
    /// The id column, one per row, no two alike.
    pub(super) ids: Option<Ids>,
    /// Every column of the file, in its order.
    pub(super) columns: Vec<ColumnFacts>,
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

    /// What is known of the columns, to be shown first.
    #[must_use]
    pub fn facts(&self) -> Facts {
        Facts { file: self.file.clone(), rows: self.rows() as u64, columns: self.columns.clone() }
    }

    /// Reads a CSV or Parquet file: a header, then one row per customer; every column but the id column is a number, a
    /// yes/no or, where `options` say so, an encoded text.
    ///
    /// # Errors
    /// Every problem of the header; then, at most one per column: what cannot be used and where it first occurs.
    pub fn read(path: &Path, options: &ReadOptions) -> Result<Self, Problems> {
        Self::read_watched(path, options, &Silent)
    }

    /// As [`Table::read`], told to `progress` in bytes of a CSV file or rows of a Parquet file.
    ///
    /// # Errors
    /// As [`Table::read`], and where `progress` asks to stop.
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

/// How a table is written.
enum Format {
    Csv,
    Parquet,
}

impl Format {
    /// By content, and where that does not tell by the name of the file.
    fn of(path: &Path, head: &[u8]) -> Result<Self, String> {
        if head.is_empty() {
            return Err(EMPTY.to_owned());
        }
        if head.starts_with(PARQUET_MAGIC) {
            return Ok(Self::Parquet);
        }
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet")) {
            return Err("is named as Parquet but does not begin as Parquet does; write it again".to_owned());
        }
        Ok(Self::Csv)
    }
}

/// The first bytes of the file, enough to know its format.
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
