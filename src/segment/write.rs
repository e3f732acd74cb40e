//! Output files that are there whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::assign::Segmentation;
use super::layout::FILE_NAME;

/// A file could not be written; nothing of it is left behind.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {source}", path.display())]
pub struct WriteError {
    /// The file that was to be written.
    pub path: PathBuf,
    /// Why not.
    pub source: io::Error,
}

impl Segmentation {
    /// Writes `segments.json` into `directory`, which is made where it does not exist; returns the path.
    ///
    /// The file appears whole or not at all: it is written under another name, synchronised and renamed.
    ///
    /// # Errors
    /// The directory or the file cannot be written; what was there before is untouched.
    pub fn write(&self, directory: &Path) -> Result<PathBuf, WriteError> {
        let json = self
            .to_json()
            .map_err(|error| WriteError { path: directory.join(FILE_NAME), source: error.into() })?;
        write_whole(directory, FILE_NAME, json.as_bytes())
    }
}

/// Writes `directory/name`, replacing what was there only once every byte is on disk.
pub(super) fn write_whole(directory: &Path, name: &str, bytes: &[u8]) -> Result<PathBuf, WriteError> {
    let path = directory.join(name);
    let existed = directory.exists();
    let temporary = directory.join(format!(".{name}.{}.partial", std::process::id()));
    let written = fs::create_dir_all(directory)
        .and_then(|()| write_synchronised(&temporary, bytes))
        .and_then(|()| fs::rename(&temporary, &path))
        // The rename itself is durable only once the directory is.
        .and_then(|()| File::open(directory)?.sync_all());
    match written {
        Ok(()) => Ok(path),
        Err(source) => {
            // Best effort: the error that matters is the one above.
            let _ = fs::remove_file(&temporary);
            if !existed {
                let _ = fs::remove_dir(directory);
            }
            Err(WriteError { path, source })
        }
    }
}

fn write_synchronised(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::assign::tests::segmentation;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_written_artefact_reads_back_and_stands_alone() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("segments/1");
        let path = segmentation().write(&target).unwrap();
        assert_eq!(path, target.join("segments.json"));
        assert_eq!(segmentation().write(&target).unwrap(), path);
        assert_eq!(Segmentation::parse("segments.json", &fs::read(path).unwrap()).unwrap(), segmentation());
        assert_eq!(names(&target), ["segments.json"]);
    }

    #[test]
    fn a_failure_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        // A directory in the place of the file: the rename fails after everything was written.
        fs::create_dir_all(directory.path().join("segments.json/occupied")).unwrap();
        let error = segmentation().write(directory.path()).unwrap_err();
        assert!(error.to_string().starts_with("cannot write "), "{error}");
        assert_eq!(names(directory.path()), ["segments.json"]);
    }

    #[test]
    fn a_file_in_the_place_of_the_directory_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("taken");
        fs::write(&file, "x").unwrap();
        assert!(segmentation().write(&file).is_err());
        assert_eq!(fs::read(&file).unwrap(), b"x");
    }
}
