//! Exporting events of a kind: as Parquet with the columns of sealed files, as JSON Lines with all that records hold,
//! or as CSV with the flat columns.
//!
//! JSON Lines names features and candidates where the caller knows the release ([`Names`]); else they stand by their
//! position. In CSV, the elements of lists are joined by `;`, of which one within an element has a backslash before it,
//! as has a backslash; texts by name are a JSON object. A text that begins with `=`, `+`, `-` or `@` is quoted and left
//! as it is: a spreadsheet may take it for a formula, and a person who opens the file in one must import it as text.

mod csv;
mod json;
mod names;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io::{BufWriter, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat};

pub(crate) use self::json::{decision_rest, line as json_line, shadow_rest};
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

/// Writes the events of a kind that a query wants to `out`, which messages call `path`. `names` gives the names of a
/// release, if they are known; only JSON Lines has them. Returns how many events there were.
///
/// # Errors
/// When the store cannot be reached, a file is damaged, or `out` takes no more; what was written before that is not
/// whole.
pub fn export(
    reader: &EventReader,
    kind: Kind,
    query: &Query,
    format: ExportFormat,
    (path, out): (&Path, &mut dyn Write),
    names: NamesOf<'_>,
) -> Result<u64, SealedError> {
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, out);
    let failed = || SealedError::io(path);
    let events = match format {
        ExportFormat::Parquet => {
            let mut writer = SealedWriter::to(path, &mut out, kind, false)?;
            let mut buffer = Vec::new();
            let events = each(reader, kind, query, &mut |mut entry| {
                let checksum = entry.checksum(&mut buffer);
                writer.push(entry, checksum)
            })?;
            writer.end(None)?;
            events
        }
        ExportFormat::JsonLines => {
            let mut known: HashMap<u64, Option<Arc<dyn Names>>> = HashMap::new();
            let names = &mut |release| known.entry(release).or_insert_with(|| names(release)).clone();
            let mut line = Vec::new();
            each(reader, kind, query, &mut |entry| {
                line.clear();
                json::line(entry, names, &mut line).and_then(|()| out.write_all(&line)).map_err(failed())
            })?
        }
        ExportFormat::Csv => {
            out.write_all(csv::header(kind).as_bytes()).map_err(failed())?;
            let mut line = Vec::new();
            each(reader, kind, query, &mut |entry| {
                line.clear();
                csv::line(entry, &mut line);
                out.write_all(&line).map_err(failed())
            })?
        }
    };
    out.flush().map_err(failed())?;
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
