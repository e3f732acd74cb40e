//! Output files that are there whole or not at all, and together.

use std::collections::BTreeSet;
use std::fs;
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
        let file = File { name: FILE_NAME.to_owned(), bytes: json.into_bytes() };
        write_all(directory, vec![file], &[]).map(|_| directory.join(FILE_NAME))
    }
}

/// A file to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its name, with `/` between folders.
    pub name: String,
    /// What it holds.
    pub bytes: Vec<u8>,
}

/// Writes files into `directory`, which is made where it does not exist; what was there is replaced only once every byte of all of them is
/// on disk. Returns their paths. `owned`: names of files that belong to the same writer; those that an earlier run left there and this one
/// does not write are removed, since they describe what is there no longer, and so are their directories if nothing else is in them.
///
/// # Errors
/// The first that cannot be written, or removed. Nothing of any is left behind, nor a directory that was made for them, unless replacing
/// itself fails midway.
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

/// Files under other names, and directories that were made for them; all gone when this is dropped unless they were published.
#[derive(Default)]
struct Staged {
    directories: Vec<PathBuf>,
    files: Vec<(PathBuf, PathBuf)>,
    /// Of an earlier run.
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

    /// Makes a directory and those above it that do not exist, and remembers which.
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
        // First, so that whatever ends this midway leaves new segments without a report rather than with that of others.
        for path in &self.stale {
            fs::remove_file(path).map_err(|source| WriteError { path: path.clone(), source })?;
            // Stays where something else is in it.
            let _ = path.parent().map(fs::remove_dir);
        }
        for (temporary, path) in &self.files {
            fs::rename(temporary, path).map_err(|source| WriteError { path: path.clone(), source })?;
        }
        self.directories.clear();
        let written: Vec<PathBuf> =
            std::mem::take(&mut self.files).into_iter().map(|(_, path)| path).collect();
        // The names are durable only once their directories are.
        for directory in written.iter().filter_map(|path| path.parent()).collect::<BTreeSet<_>>() {
            let synced = fs::File::open(directory).and_then(|directory| directory.sync_all());
            synced.map_err(|source| WriteError { path: directory.to_owned(), source })?;
        }
        Ok(written)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Best effort: the error that matters is told already.
        for (temporary, _) in &self.files {
            let _ = fs::remove_file(temporary);
        }
        // Inner ones first; one that somebody else has put something into stays.
        for directory in self.directories.iter().rev() {
            let _ = fs::remove_dir(directory);
        }
    }
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
    fn of_several_files_all_are_there_or_none() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path().join("new/segments");
        let file = |name: &str| File { name: name.to_owned(), bytes: name.as_bytes().to_vec() };
        // A name that no file system takes: it fails after the first was written under another name.
        let long = format!("report/{}", "x".repeat(300));
        write_all(&target, vec![file("a.json"), file(&long)], &[]).unwrap_err();
        assert!(names(directory.path()).is_empty(), "{:?}", names(directory.path()));
        let written = write_all(&target, vec![file("a.json"), file("report/b.csv")], &[]).unwrap();
        assert_eq!(written, [target.join("a.json"), target.join("report/b.csv")]);
        assert_eq!(fs::read(&written[1]).unwrap(), b"report/b.csv");
        assert_eq!(names(&target.join("report")), ["b.csv"]);
    }

    #[test]
    fn what_an_earlier_run_left_does_not_stay_beside_what_is_new() {
        let directory = tempfile::tempdir().unwrap();
        let target = directory.path();
        let file = |name: &str| File { name: name.to_owned(), bytes: name.as_bytes().to_vec() };
        let owned = ["a.json", "report/b.csv", "report/c.csv"];
        write_all(target, vec![file("a.json"), file("report/b.csv"), file("report/c.csv")], &owned).unwrap();
        write_all(target, vec![file("a.json"), file("report/b.csv")], &owned).unwrap();
        assert_eq!(names(&target.join("report")), ["b.csv"]);
        // What others put there is theirs.
        fs::write(target.join("report/notes.txt"), "mine").unwrap();
        write_all(target, vec![file("a.json")], &owned).unwrap();
        assert_eq!(names(&target.join("report")), ["notes.txt"]);
        fs::remove_file(target.join("report/notes.txt")).unwrap();
        write_all(target, vec![file("a.json"), file("report/c.csv")], &owned).unwrap();
        write_all(target, vec![file("a.json")], &owned).unwrap();
        assert_eq!(names(target), ["a.json"]);
    }

    #[test]
    fn a_run_that_fails_leaves_the_earlier_one_as_it_was() {
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
        assert!(segmentation().write(&file).is_err());
        assert_eq!(fs::read(&file).unwrap(), b"x");
    }
}
