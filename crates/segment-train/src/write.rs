//! Atomic output: all files of a run are written completely, or none is.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

#[cfg(test)]
use segment::{FILE_NAME, Segmentation};

/// A file could not be written; no part of it remains.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {source}", path.display())]
pub struct WriteError {
    /// The file.
    pub path: PathBuf,
    /// The cause.
    pub source: io::Error,
}

/// Writes `segments.json` into `directory` and returns the path, for tests.
#[cfg(test)]
pub(crate) fn write_segments(segmentation: &Segmentation, directory: &Path) -> Result<PathBuf, WriteError> {
    let json = segmentation
        .to_json()
        .map_err(|error| WriteError { path: directory.join(FILE_NAME), source: error.into() })?;
    let file = File { name: FILE_NAME.to_owned(), bytes: json.into_bytes() };
    write_all(directory, vec![file], &[]).map(|_| directory.join(FILE_NAME))
}

/// A file to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its name relative to the output directory, with `/` as separator.
    pub name: String,
    /// Its contents.
    pub bytes: Vec<u8>,
}

/// Writes files into `directory` and returns their paths. Creates the directory if needed.
///
/// Earlier files are replaced only after all new ones are on disk.
/// `owned`: names of files that belong to this writer. Those of an earlier run that this one does not write are
/// removed, together with their directories if these become empty.
///
/// # Errors
/// The first file that cannot be written or removed. No new file or directory remains, unless a rename fails midway.
pub fn write_all(directory: &Path, files: Vec<File>, owned: &[&str]) -> Result<Vec<PathBuf>, WriteError> {
    let mut staged = Staged::default();
    let stale = owned.iter().filter(|name| !files.iter().any(|file| file.name == **name));
    staged.stale = stale.map(|name| directory.join(name)).filter(|path| path.is_file()).collect();
    for file in files {
        let path = directory.join(&file.name);
        staged.write(&path, &file.bytes).map_err(|source| WriteError { path, source })?;
    }
    staged.publish()
}

/// Files under temporary names, and the directories created for them. Dropping this removes what was not published.
#[derive(Default)]
struct Staged {
    directories: Vec<PathBuf>,
    files: Vec<(PathBuf, PathBuf)>,
    /// Files of an earlier run to remove.
    stale: Vec<PathBuf>,
}

impl Staged {
    fn write(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let directory = path.parent().unwrap_or(Path::new("."));
        self.make(directory)?;
        let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let temporary = directory.join(format!(".{name}.{}.partial", std::process::id()));
        self.files.push((temporary.clone(), path.to_owned()));
        let mut file = fs::File::create(temporary)?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    /// Creates a directory with its missing ancestors, and records them.
    fn make(&mut self, directory: &Path) -> io::Result<()> {
        let missing =
            directory.ancestors().take_while(|above| !above.as_os_str().is_empty() && !above.exists());
        let missing: Vec<PathBuf> = missing.map(Path::to_owned).collect();
        for directory in missing.into_iter().rev() {
            fs::create_dir(&directory)?;
            self.directories.push(directory);
        }
        Ok(())
    }

    fn publish(mut self) -> Result<Vec<PathBuf>, WriteError> {
        // First: if the process ends midway, new segments have no report rather than that of other segments.
        for path in &self.stale {
            fs::remove_file(path).map_err(|source| WriteError { path: path.clone(), source })?;
            // Fails, as intended, if the directory has other files.
            let _ = path.parent().map(fs::remove_dir);
        }
        for (temporary, path) in &self.files {
            fs::rename(temporary, path).map_err(|source| WriteError { path: path.clone(), source })?;
        }
        self.directories.clear();
        let written: Vec<PathBuf> =
            std::mem::take(&mut self.files).into_iter().map(|(_, path)| path).collect();
        // Renames are durable only after their directories are synced.
        for directory in written.iter().filter_map(|path| path.parent()).collect::<BTreeSet<_>>() {
            let synced = fs::File::open(directory).and_then(|directory| directory.sync_all());
            synced.map_err(|source| WriteError { path: directory.to_owned(), source })?;
        }
        Ok(written)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Best effort: the caller has the original error already.
        for (temporary, _) in &self.files {
            let _ = fs::remove_file(temporary);
        }
        // Inner directories first; one with other files stays.
        for directory in self.directories.iter().rev() {
            let _ = fs::remove_dir(directory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use segment::samples::segmentation;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_written_artefact_reads_back_and_leaves_no_other_file() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("segments/1");
        let path = write_segments(&segmentation(), &target).unwrap();
        assert_eq!(path, target.join("segments.json"));
        assert_eq!(write_segments(&segmentation(), &target).unwrap(), path);
        assert_eq!(Segmentation::parse("segments.json", &fs::read(path).unwrap()).unwrap(), segmentation());
        assert_eq!(names(&target), ["segments.json"]);
    }

    #[test]
    fn a_failure_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        // A directory with the name of the file: the rename fails after everything was written.
        fs::create_dir_all(directory.path().join("segments.json/occupied")).unwrap();
        let error = write_segments(&segmentation(), directory.path()).unwrap_err();
        assert!(error.to_string().starts_with("cannot write "), "{error}");
        assert_eq!(names(directory.path()), ["segments.json"]);
    }

    #[test]
    fn several_files_are_written_together_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("new/segments");
        let file = |name: &str| File { name: name.to_owned(), bytes: name.as_bytes().to_vec() };
        // A name too long for any file system fails after the first file was staged.
        let long = format!("report/{}", "x".repeat(300));
        write_all(&target, vec![file("a.json"), file(&long)], &[]).unwrap_err();
        assert!(names(directory.path()).is_empty(), "{:?}", names(directory.path()));
        let written = write_all(&target, vec![file("a.json"), file("report/b.csv")], &[]).unwrap();
        assert_eq!(written, [target.join("a.json"), target.join("report/b.csv")]);
        assert_eq!(fs::read(&written[1]).unwrap(), b"report/b.csv");
        assert_eq!(names(&target.join("report")), ["b.csv"]);
    }

    #[test]
    fn stale_files_of_an_earlier_run_are_removed() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path();
        let file = |name: &str| File { name: name.to_owned(), bytes: name.as_bytes().to_vec() };
        let owned = ["a.json", "report/b.csv", "report/c.csv"];
        write_all(target, vec![file("a.json"), file("report/b.csv"), file("report/c.csv")], &owned).unwrap();
        write_all(target, vec![file("a.json"), file("report/b.csv")], &owned).unwrap();
        assert_eq!(names(&target.join("report")), ["b.csv"]);
        // Files of others are kept.
        fs::write(target.join("report/notes.txt"), "mine").unwrap();
        write_all(target, vec![file("a.json")], &owned).unwrap();
        assert_eq!(names(&target.join("report")), ["notes.txt"]);
        fs::remove_file(target.join("report/notes.txt")).unwrap();
        write_all(target, vec![file("a.json"), file("report/c.csv")], &owned).unwrap();
        write_all(target, vec![file("a.json")], &owned).unwrap();
        assert_eq!(names(target), ["a.json"]);
    }

    #[test]
    fn a_failed_run_leaves_the_earlier_files_unchanged() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| File { name: name.to_owned(), bytes: name.as_bytes().to_vec() };
        let owned = ["a.json", "report/b.csv"];
        write_all(directory.path(), vec![file("a.json"), file("report/b.csv")], &owned).unwrap();
        let long = "x".repeat(300);
        write_all(directory.path(), vec![file("a.json"), file(&long)], &owned).unwrap_err();
        assert_eq!(names(&directory.path().join("report")), ["b.csv"]);
    }

    #[test]
    fn a_file_in_the_place_of_the_directory_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("taken");
        fs::write(&file, "x").unwrap();
        assert!(write_segments(&segmentation(), &file).is_err());
        assert_eq!(fs::read(&file).unwrap(), b"x");
    }
}
