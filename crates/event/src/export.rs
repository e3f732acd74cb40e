//! Exporting events of a kind to a file: as Parquet with the columns of sealed files, as JSON Lines with all that
//! records hold, or as CSV with the flat columns.
//!
//! A file appears whole: it is made beside its place and renamed then. JSON Lines names features and candidates where
//! the caller knows the release ([`Names`]); else they stand by their position. In CSV, the elements of lists are
//! joined by `;`, and texts by name are a JSON object. A text that begins with `=`, `+`, `-` or `@` is quoted and left as it is: a spreadsheet may take it
//! for a formula, and a person who opens the file in one must import it as text.

mod csv;
mod json;
mod names;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat};
use objects::files;
use uuid::Uuid;

pub(crate) use self::json::{decision_rest, line as json_line};
pub(crate) use self::names::NamesOfRelease;
pub use self::names::{FeatureKind, FeatureName, Names, NamesOf};
use crate::columns::Entry;
use crate::kind::Kind;
use crate::read::{EventReader, Query};
use crate::sealed::{SealedError, SealedWriter};

/// Bytes that are collected before they are written.
const BUFFER_BYTES: usize = 256 << 10;

/// The format of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// Parquet with the columns of sealed files, which [`read_file`](crate::read::read_file) reads again.
    Parquet,
    /// A JSON object per line.
    JsonLines,
    /// The flat columns, separated by commas.
    Csv,
}

impl FromStr for ExportFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "parquet" => Ok(Self::Parquet),
            "jsonl" => Ok(Self::JsonLines),
            "csv" => Ok(Self::Csv),
            _ => Err(format!("`{text}` is no format of an export: parquet, jsonl or csv")),
        }
    }
}

/// What was exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exported {
    /// How many events.
    pub events: u64,
    /// The bytes of the file.
    pub bytes: u64,
}

/// Writes the events of a kind that a query wants to the file `out`, which is replaced if it exists. `names` gives the
/// names of a release, if they are known; only JSON Lines has them.
///
/// # Errors
/// When the store cannot be reached, a file is damaged, or the file cannot be written; `out` is as before then.
pub fn export(
    reader: &EventReader,
    kind: Kind,
    query: &Query,
    format: ExportFormat,
    out: &Path,
    names: NamesOf<'_>,
) -> Result<Exported, SealedError> {
    let part = PartFile::beside(out);
    let events = match format {
        ExportFormat::Parquet => {
            let mut writer = SealedWriter::create(&part.0, kind, false)?;
            let mut buffer = Vec::new();
            let events = each(reader, kind, query, &mut |mut entry| {
                let checksum = entry.checksum(&mut buffer);
                writer.push(entry, checksum)
            })?;
            writer.finish(None)?;
            events
        }
        ExportFormat::JsonLines => {
            let mut known: HashMap<u64, Option<Arc<dyn Names>>> = HashMap::new();
            let names = &mut |release| known.entry(release).or_insert_with(|| names(release)).clone();
            lines(&part.0, "", reader, kind, query, &mut |entry, line| json::line(entry, names, line))?
        }
        ExportFormat::Csv => lines(&part.0, &csv::header(kind), reader, kind, query, &mut |entry, line| {
            csv::line(entry, line);
            Ok(())
        })?,
    };
    let bytes = fs::metadata(&part.0).map_err(SealedError::io(&part.0))?.len();
    fs::rename(&part.0, out).map_err(SealedError::io(out))?;
    files::sync(files::parent(out))?;
    Ok(Exported { events, bytes })
}

/// Writes a line of text per event.
fn lines(
    path: &Path,
    header: &str,
    reader: &EventReader,
    kind: Kind,
    query: &Query,
    write: &mut dyn FnMut(Entry, &mut Vec<u8>) -> io::Result<()>,
) -> Result<u64, SealedError> {
    let failed = || SealedError::io(path);
    let mut file = BufWriter::with_capacity(BUFFER_BYTES, File::create(path).map_err(failed())?);
    file.write_all(header.as_bytes()).map_err(failed())?;
    let mut line = Vec::new();
    let events = each(reader, kind, query, &mut |entry| {
        line.clear();
        write(entry, &mut line).and_then(|()| file.write_all(&line)).map_err(failed())
    })?;
    let file = file.into_inner().map_err(|error| failed()(error.into_error()))?;
    file.sync_all().map_err(failed())?;
    Ok(events)
}

/// Passes each event to `take`, until that fails. Returns how many there were.
fn each(
    reader: &EventReader,
    kind: Kind,
    query: &Query,
    take: &mut dyn FnMut(Entry) -> Result<(), SealedError>,
) -> Result<u64, SealedError> {
    let (mut events, mut failure) = (0, None);
    reader.scan_entries(kind, query, &mut |entry| match take(entry) {
        Ok(()) => {
            events += 1;
            ControlFlow::Continue(())
        }
        Err(error) => {
            failure = Some(error);
            ControlFlow::Break(())
        }
    })?;
    failure.map_or(Ok(events), Err)
}

/// A time as text; `None` for one that no calendar has.
fn time(micros: i64) -> Option<String> {
    let time = DateTime::from_timestamp_micros(micros)?;
    Some(time.to_rfc3339_opts(SecondsFormat::Micros, true))
}

/// A file that is being made. Dropping it removes what is left of it.
struct PartFile(PathBuf);

impl PartFile {
    fn beside(out: &Path) -> Self {
        let name = out.file_name().unwrap_or_default().to_string_lossy();
        Self(files::parent(out).join(format!(".{name}.{}.part", Uuid::now_v7())))
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        // After the rename it is not there.
        let _ = fs::remove_file(&self.0);
    }
}
