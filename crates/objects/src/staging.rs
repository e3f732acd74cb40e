//! Staging directories: things are made there and then moved into place. Readers ignore them, and a sweep removes
//! those of dead processes.
//!
//! ```text
//! .staging/<id>         what is being made
//! .staging/<id>.lock    held by the process that makes it
//! ```
//! The lock tells whether that process lives; no clock is involved.

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::{ObjectsError, files};

/// An empty directory for its owner. Dropping it removes it, unless it was moved into place.
#[derive(Debug)]
pub struct Staging {
    directory: PathBuf,
    lock: Lock,
}

#[derive(Debug)]
struct Lock {
    path: PathBuf,
    /// Closing it releases the lock.
    _file: File,
}

impl Staging {
    /// A new directory below `area`. Creates `area` if it is missing, but not its parent: a store that disappeared
    /// must not come back empty.
    pub fn new(area: &Path) -> Result<Self, ObjectsError> {
        match fs::create_dir(area) {
            Ok(()) => files::sync(files::parent(area))?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(ObjectsError::io(area, error)),
        }
        loop {
            let directory = area.join(Uuid::now_v7().to_string());
            let Some(lock) = Lock::take(directory.with_extension("lock"))? else { continue };
            fs::create_dir(&directory).map_err(|error| ObjectsError::io(&directory, error))?;
            return Ok(Self { directory, lock });
        }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.directory
    }
}

impl AsRef<Path> for Staging {
    fn as_ref(&self) -> &Path {
        self.path()
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // The next sweep removes what cannot be removed now. The lock goes last: without it, a sweep may remove the
        // directory.
        if matches!(fs::remove_dir_all(&self.directory), Err(error) if error.kind() != ErrorKind::NotFound) {
            tracing::debug!(directory = %self.directory.display(), "staging directory could not be removed");
        }
        let _ = fs::remove_file(&self.lock.path);
    }
}

impl Lock {
    /// Creates and takes a lock; `None` if a sweep came between the two.
    fn take(path: PathBuf) -> Result<Option<Self>, ObjectsError> {
        let failed = |error| ObjectsError::io(&path, error);
        let file = File::options().create(true).append(true).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let ours = file.metadata().map_err(failed)?.ino();
        let there = fs::metadata(&path).is_ok_and(|metadata| metadata.ino() == ours);
        Ok(there.then_some(Self { path, _file: file }))
    }
}

/// Removes what dead processes left below `area`. Ignores errors: a read-only store can be read.
pub fn sweep(area: &Path) {
    let Ok(entries) = fs::read_dir(area) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let directory = path.with_extension("");
        let ours =
            directory.file_name().and_then(OsStr::to_str).is_some_and(|name| Uuid::parse_str(name).is_ok());
        if !ours {
            continue;
        }
        // Dropping it removes both.
        if let Ok(Some(lock)) = Lock::take(directory.with_extension("lock")) {
            drop(Staging { directory, lock });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(area: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(area)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_sweep_removes_what_the_dead_left_and_nothing_of_the_living() {
        let root = tempfile::tempdir().unwrap();
        let area = root.path().join(".staging");
        let living = Staging::new(&area).unwrap();
        fs::write(living.path().join("model.onnx"), "x").unwrap();
        // A process that died between any two steps.
        for (directory, lock) in [(true, true), (true, false), (false, true)] {
            let dead = area.join(Uuid::now_v7().to_string());
            if directory {
                fs::create_dir_all(dead.join("folder")).unwrap();
            }
            if lock {
                fs::write(dead.with_extension("lock"), "").unwrap();
            }
        }
        fs::write(area.join("notes.txt"), "not ours").unwrap();
        sweep(&area);
        let name = living.path().file_name().unwrap().to_str().unwrap();
        assert_eq!(names(&area), [name, &format!("{name}.lock"), "notes.txt"]);
        drop(living);
        assert_eq!(names(&area), ["notes.txt"]);
        sweep(&area.join("absent"));
    }

    #[test]
    fn makers_and_sweepers_do_not_harm_each_other() {
        let root = tempfile::tempdir().unwrap();
        let area = root.path().join(".staging");
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let staging = Staging::new(&area).unwrap();
                        fs::write(staging.path().join("file"), "x").unwrap();
                        assert_eq!(fs::read_to_string(staging.path().join("file")).unwrap(), "x");
                    }
                });
            }
            scope.spawn(|| (0..200).for_each(|_| sweep(&area)));
        });
        sweep(&area);
        assert_eq!(names(&area), Vec::<String>::new());
    }
}
