//! The report of a training: one HTML page that opens offline, and its figures as JSON and CSV beside it.
//!
//! Knows nothing of clustering: everything shown is in the [`Study`]. The same study gives the same bytes, so nothing
//! here reads a clock or draws a random number. Start reading at [`write`]; `page` is the page, `figures` what is drawn on
//! it, `tables` the CSV files.

mod figures;
pub(in crate::segment) mod numbers;
mod page;
mod palette;
mod tables;
pub(in crate::segment) mod words;

use std::io;
use std::path::{Path, PathBuf};

use super::train::study::Study;
use super::write::{WriteError, write_whole};

/// The page.
pub const REPORT_FILE: &str = "report.html";

/// The whole [`Study`].
pub const STUDY_FILE: &str = "report.json";

/// Writes `report.html`, `report.json`, `profiles.csv`, `choice.csv`, `columns.csv`, `correlation.csv` and, where there
/// was a version before, `migration.csv` into `directory`, which is made where it does not exist; returns the paths.
///
/// Everything is put together before the first file is written, and each file appears whole or not at all.
///
/// # Errors
/// A file cannot be written, or its contents cannot be put together.
pub fn write(study: &Study, directory: &Path) -> Result<Vec<PathBuf>, WriteError> {
    let mut files = vec![
        (REPORT_FILE, page::page(study).map(String::into_bytes).map_err(io::Error::other)),
        (STUDY_FILE, json(study).map_err(io::Error::other)),
        ("profiles.csv", tables::profiles(study).map_err(io::Error::other)),
        ("choice.csv", tables::choice(study).map_err(io::Error::other)),
        ("columns.csv", tables::columns(study).map_err(io::Error::other)),
        ("correlation.csv", tables::correlation(study).map_err(io::Error::other)),
    ];
    if let Some(migration) = &study.migration {
        files.push(("migration.csv", tables::migration(study, migration).map_err(io::Error::other)));
    }
    let mut ready = Vec::with_capacity(files.len());
    for (name, contents) in files {
        let contents = contents.map_err(|source| WriteError { path: directory.join(name), source })?;
        ready.push((name, contents));
    }
    ready.iter().map(|(name, contents)| write_whole(directory, name, contents)).collect()
}

fn json(study: &Study) -> Result<Vec<u8>, serde_json::Error> {
    let mut text = serde_json::to_vec_pretty(study)?;
    text.push(b'\n');
    Ok(text)
}

#[cfg(test)]
mod tests;
