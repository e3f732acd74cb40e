//! A file of outcomes, by its format.

use std::fs::File;
use std::path::Path;

use super::csv::CsvFile;
use super::json_lines;
use super::parquet::ParquetFile;
use crate::cli::Failure;
use document::Problems;
use history::feedback::ReportedOutcome;
use table::Decimal;

/// What a file has at a line, or in a row of Parquet; both are counted from 1.
pub(super) enum Line {
    /// An outcome, as it is written.
    Outcome(u64, ReportedOutcome),
    /// What is wrong with a line, or with the rest of the file.
    Wrong(Option<u64>, String),
    /// What is worth knowing, and not wrong.
    Note(String),
}

/// Takes lines; `false`: no more are wanted.
pub(super) type Take<'t> = &'t mut dyn FnMut(Line) -> bool;

/// A file whose columns are known.
#[expect(clippy::large_enum_variant, reason = "there is one")]
pub(super) enum OutcomeFile {
    Csv(CsvFile),
    Parquet(ParquetFile),
    JsonLines(File),
}

const FORMATS: &str =
    "outcomes are read from a .csv (also .csv.gz, .csv.zst), a .parquet, a .jsonl or a .ndjson file";

impl OutcomeFile {
    /// Opens a file and reads the names of its columns.
    ///
    /// # Errors
    /// When that is not possible, or a column is missing.
    pub(super) fn open(
        path: &Path,
        separator: Option<u8>,
        decimal: Option<Decimal>,
    ) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let wrong = |message: String| Failure::from(Problems::one(&*name, None, message));
        let open =
            || File::open(path).map_err(|error| wrong(format!("the file could not be opened: {error}")));
        let lower = path.to_string_lossy().to_ascii_lowercase();
        let ends = |endings: &[&str]| endings.iter().any(|ending| lower.ends_with(ending));
        if ends(&[".csv", ".csv.gz", ".csv.zst"]) {
            return Ok(Self::Csv(CsvFile::open(open()?, &name, separator, decimal)?));
        }
        let told = [("--separator", separator.is_some()), ("--decimal", decimal.is_some())];
        if let Some((flag, _)) = told.iter().find(|(_, is_there)| *is_there) {
            return Err(Failure::usage(format!("{flag} is for CSV files, and {name} is none")));
        }
        if ends(&[".parquet"]) {
            return Ok(Self::Parquet(ParquetFile::open(open()?).map_err(wrong)?));
        }
        if ends(&[".jsonl", ".ndjson"]) {
            return Ok(Self::JsonLines(open()?));
        }
        Err(wrong(FORMATS.to_owned()))
    }

    /// Reads all lines, as long as they are wanted.
    pub(super) fn read(self, take: Take<'_>) {
        match self {
            Self::Csv(file) => file.read(take),
            Self::Parquet(file) => file.read(take),
            Self::JsonLines(file) => json_lines::read(file, take),
        }
    }
}
