//! The report of a training: one HTML page that opens offline, with its figures as JSON and CSV beside it.
//!
//! Knows nothing of clustering: everything shown is in the [`Study`].
//! The same study gives the same bytes, so nothing here reads a clock or draws a random number.
//! Start reading at [`files`]. `page` renders the page, `figures` its charts, `tables` the CSV files.

mod figures;
mod page;
mod palette;
mod tables;
pub(crate) mod words;

use std::io;

use super::train::study::Study;

/// The page.
pub const REPORT_FILE: &str = "report.html";

/// The whole [`Study`].
const STUDY_FILE: &str = "report.json";

/// Every file that any training may write to its directory `report`.
pub const ALL_FILES: [&str; 8] = [
    REPORT_FILE,
    STUDY_FILE,
    "profiles.csv",
    "choice.csv",
    "columns.csv",
    "correlation.csv",
    "migration.csv",
    ASSIGNMENTS_FILE,
];

/// The segment of each customer, written on request.
pub const ASSIGNMENTS_FILE: &str = "assignments.csv";

/// The names and contents of the report's files; `migration.csv` only with a previous version.
///
/// # Errors
/// A file cannot be rendered, which no valid study causes.
pub fn files(study: &Study) -> Result<Vec<(&'static str, Vec<u8>)>, io::Error> {
    let mut files = vec![
        (REPORT_FILE, page::page(study).map(String::into_bytes).map_err(io::Error::other)?),
        (STUDY_FILE, json(study)?),
        ("profiles.csv", tables::profiles(study)),
        ("choice.csv", tables::choice(study)),
        ("columns.csv", tables::columns(study)),
        ("correlation.csv", tables::correlation(study)),
    ];
    if let Some(migration) = &study.migration {
        files.push(("migration.csv", tables::migration(study, migration)));
    }
    Ok(files)
}

fn json(study: &Study) -> Result<Vec<u8>, serde_json::Error> {
    let mut text = serde_json::to_vec_pretty(study)?;
    text.push(b'\n');
    Ok(text)
}

#[cfg(test)]
mod tests;
