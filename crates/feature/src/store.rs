//! The embedded customer store: features by customer id, immutable in memory, loaded from CSV or Parquet.
//!
//! A [`CustomerTable`] is built once and then only read, from any number of threads and without locks. A newer file
//! becomes another table. [`CustomerSource`] is the directory of the file. Defaults of the schema are not applied
//! here: an unknown value is [`ValueRef::Missing`]. Start reading at [`CustomerTable::load`]; `packed.rs` has the
//! memory layout.

mod build;
mod cell;
mod columns;
mod csv_file;
mod customer;
mod findings;
mod kept;
mod losses;
mod packed;
mod parquet_file;
mod source;
mod texts;

use std::fmt;
use std::fs::File;
use std::path::Path;

use self::packed::{Packed, PackedRows};
use self::texts::{TextIndex, Texts};
use super::{Entity, FeatureSchema, FeatureType, ValueRef};
use document::{Problems, plural, suggestion};
use table::Faults;

pub use cell::from_text as read_cell;
pub use customer::without as write_without;
pub use kept::{KEPT_FILES, KeptFile, PREVIOUS, kept_number};
pub use losses::{MAX_LOST, MAX_UNKNOWN};
pub use parquet_file::value_type;
pub use source::{CustomerSource, ErasedFrom, Fingerprint, Losses, Replaced, StoredRow};

/// The features of all customers, in memory.
#[derive(Debug, Clone)]
pub struct CustomerTable {
    columns: Vec<Column>,
    rows: PackedRows,
    ids: TextIndex,
}

/// How the packed values of a feature are read.
#[derive(Debug, Clone)]
enum Column {
    Float,
    Int,
    Bool,
    String(Texts),
}

/// A customer of one table; has no meaning in another table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RowIndex(u32);

/// Facts about a loaded file, apart from its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadReport {
    /// The file's name in problems.
    pub file: String,
    /// The number of customers. A file with only a header has none and is valid.
    pub customers: usize,
    /// Columns that are not customer features of the schema, in the order of the file. They were not read.
    pub ignored_columns: Vec<String>,
    /// Customer features without a column, in the order of the schema. They are missing for every customer.
    pub absent_features: Vec<String>,
    /// Further remarks on the file.
    pub notes: Vec<String>,
    /// Whether the file ends within a line, as a truncated file does.
    pub may_be_truncated: bool,
}

const OTHER_FORMAT: &str = "customers are read from a .csv (also .csv.gz, .csv.zst) or a .parquet file";

/// The formats of a customer file, by its extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Csv,
    Parquet,
}

impl CustomerTable {
    /// Reads `path` (`.csv`, also `.csv.gz` and `.csv.zst`, or `.parquet`). The column `customer_id` has distinct,
    /// short ids. The other columns are named like the customer features of `schema`. A null, an empty field, an
    /// empty text and a NaN are missing values. Reads the file once, and needs little more memory than the table
    /// (measured in `benches/customer_store.rs`).
    ///
    /// # Errors
    /// The first problems, each with line (or Parquet row), column and remedy, and the number of the others.
    pub fn load(path: &Path, schema: &FeatureSchema) -> Result<(Self, LoadReport), Problems> {
        let file = path.display().to_string();
        let Some(format) = Format::of(path) else {
            return Err(Problems::one(file, None, OTHER_FORMAT));
        };
        Self::load_as(path, format, &file, schema, Faults::Refused)
    }

    /// Like [`Self::load`], for a file that a store has already. Faults that are refused by now are tolerated and
    /// noted.
    ///
    /// # Errors
    /// As for [`Self::load`].
    fn load_stored(path: &Path, schema: &FeatureSchema) -> Result<(Self, LoadReport), Problems> {
        let file = path.display().to_string();
        let Some(format) = Format::of(path) else { return Err(Problems::one(file, None, OTHER_FORMAT)) };
        Self::load_as(path, format, &file, schema, Faults::Tolerated)
    }

    /// A table without customers.
    #[must_use]
    pub fn empty(schema: &FeatureSchema) -> Self {
        let columns: Vec<Column> = schema
            .of(Entity::Customer)
            .iter()
            .map(|feature| match feature.feature_type {
                FeatureType::Float => Column::Float,
                FeatureType::Int => Column::Int,
                FeatureType::Bool => Column::Bool,
                FeatureType::String => Column::String(Texts::default()),
            })
            .collect();
        Self { columns, rows: PackedRows::new([]), ids: TextIndex::default() }
    }

    fn load_as(
        path: &Path,
        format: Format,
        file: &str,
        schema: &FeatureSchema,
        faults: Faults,
    ) -> Result<(Self, LoadReport), Problems> {
        let input = File::open(path)
            .map_err(|error| Problems::one(file, None, format!("the file could not be opened: {error}")))?;
        match format {
            Format::Csv => csv_file::read(input, file, schema, faults),
            Format::Parquet => parquet_file::read(input, file, schema),
        }
    }

    /// The row of the customer with this id.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<RowIndex> {
        self.ids.find(id).map(RowIndex)
    }

    /// One feature of a customer; `feature` is its position in `schema.of(Entity::Customer)`. A row or feature that
    /// does not exist is missing.
    #[must_use]
    pub fn value(&self, row: RowIndex, feature: usize) -> ValueRef<'_> {
        let Some(column) = self.columns.get(feature) else { return ValueRef::Missing };
        column.value(self.rows.read(self.rows.record(row.0 as usize), feature))
    }

    /// Replaces the contents of `out` with all features of a customer, in the order of the schema.
    pub fn read_row<'a>(&'a self, row: RowIndex, out: &mut Vec<ValueRef<'a>>) {
        let record = self.rows.record(row.0 as usize);
        out.clear();
        out.extend(
            self.columns
                .iter()
                .enumerate()
                .map(|(feature, column)| column.value(self.rows.read(record, feature))),
        );
    }

    /// The id of a customer.
    #[must_use]
    pub fn id(&self, row: RowIndex) -> Option<&str> {
        self.ids.texts().get(row.0)
    }

    /// All customers, in the order of the file.
    pub fn rows(&self) -> impl Iterator<Item = RowIndex> + use<> {
        (0..self.ids.texts().len() as u32).map(RowIndex)
    }

    /// The number of customers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.texts().len()
    }

    /// Whether there are no customers.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory: values, ids, index and dictionaries.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let texts: usize = self.columns.iter().map(Column::memory_bytes).sum();
        size_of::<Self>() + self.rows.memory_bytes() + self.ids.memory_bytes() + texts
    }
}

impl Column {
    fn value(&self, packed: Packed) -> ValueRef<'_> {
        match (self, packed) {
            (Self::Float, Packed::Float(number)) => ValueRef::Float(number),
            (Self::Int, Packed::Int(number)) => ValueRef::Int(number),
            (Self::Bool, Packed::Int(truth)) => ValueRef::Bool(truth != 0),
            (Self::String(texts), Packed::Int(number)) => {
                texts.get(number as u32).map_or(ValueRef::Missing, ValueRef::String)
            }
            (Self::Float | Self::Int | Self::Bool | Self::String(_), _) => ValueRef::Missing,
        }
    }

    fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::String(texts) => texts.memory_bytes(),
                Self::Float | Self::Int | Self::Bool => 0,
            }
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, plural(self.customers, "customer"))?;
        if self.customers == 0 {
            f.write_str("; the file has a header and nothing else")?;
        }
        for note in &self.notes {
            write!(f, "\n  {note}")?;
        }
        for name in &self.ignored_columns {
            if name.is_empty() {
                f.write_str("\n  a column without a name was ignored")?;
                continue;
            }
            let hint = suggestion(name, self.absent_features.iter().map(String::as_str));
            write!(f, "\n  column `{name}` is not a customer feature and was ignored{hint}")?;
        }
        for name in &self.absent_features {
            write!(f, "\n  feature `{name}` has no column and is missing for every customer")?;
        }
        Ok(())
    }
}

impl Format {
    const ALL: [Self; 2] = [Self::Csv, Self::Parquet];

    /// The format by the file's name. A stored CSV file may be compressed under any name, which its content shows.
    fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let unpacked = [".gz", ".zst"].into_iter().find_map(|packed| name.strip_suffix(packed));
        match unpacked {
            Some(inner) => {
                Path::new(inner).extension().is_some_and(|ending| ending == "csv").then_some(Self::Csv)
            }
            None => Self::ALL.into_iter().find(|format| name.ends_with(&format!(".{}", format.ending()))),
        }
    }

    fn ending(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Parquet => "parquet",
        }
    }
}

#[cfg(test)]
mod tests;
