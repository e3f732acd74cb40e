//! Files and directories on a disk: listed, synced, written whole, renamed to a name that must be free.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::{Listed, ObjectsError, Put, Staging};

/// The files below a directory by their path within it, hidden ones included; empty if the directory does not exist.
/// Skips names that are not UTF-8.
pub fn list(directory: &Path) -> Result<BTreeMap<String, Listed>, ObjectsError> {
    let mut found = BTreeMap::new();
    walk(directory, "", &mut found)?;
    Ok(found)
}

fn walk(directory: &Path, prefix: &str, found: &mut BTreeMap<String, Listed>) -> Result<(), ObjectsError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(()),
        Err(error) => return Err(ObjectsError::io(directory, error)),
    };
    for entry in entries {
        let entry = entry.map_err(|error| ObjectsError::io(directory, error))?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let name = format!("{prefix}{name}");
        // Files that were removed since the directory was read, and dangling links.
        let Ok(metadata) = fs::metadata(entry.path()) else { continue };
        if metadata.is_dir() {
            // A link to a directory may lead back to a parent.
            if !entry.path().is_symlink() {
                walk(&entry.path(), &format!("{name}/"), found)?;
            }
        } else if metadata.is_file() {
            let modified = metadata.modified().unwrap_or(std::time::UNIX_EPOCH).into();
            let tag = modified_tag(&metadata);
            found.insert(name, Listed { size: metadata.len(), tag, modified });
        }
    }
    Ok(())
}

/// Identifies a state of a file without reading it.
#[must_use]
pub fn modified_tag(metadata: &fs::Metadata) -> String {
    use std::os::unix::fs::MetadataExt;
    format!("{:x}-{:x}.{:x}-{:x}", metadata.ino(), metadata.mtime(), metadata.mtime_nsec(), metadata.len())
}

/// Syncs a directory and everything in it to the disk.
pub fn sync_tree(directory: &Path) -> Result<(), ObjectsError> {
    let failed = |error| ObjectsError::io(directory, error);
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (path, kind) = (entry.path(), entry.file_type().map_err(failed)?);
        if kind.is_dir() {
            sync_tree(&path)?;
        } else if kind.is_file() {
            sync(&path)?;
        }
    }
    sync(directory)
}

/// Syncs a file, or the names in a directory, to the disk.
pub fn sync(path: &Path) -> Result<(), ObjectsError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(|error| ObjectsError::io(path, error))
}

/// Removes a file for good, if it is there, and its folder if that is empty then.
pub fn remove(path: &Path) -> Result<(), ObjectsError> {
    let folder = parent(path);
    match fs::remove_file(path) {
        Ok(()) => sync(folder)?,
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(ObjectsError::io(path, error)),
    }
    // It stays while there are others.
    if fs::remove_dir(folder).is_ok() {
        sync(parent(folder))?;
    }
    Ok(())
}

/// Writes a file and syncs it to the disk.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), ObjectsError> {
    let write = || -> io::Result<()> {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|error| ObjectsError::io(path, error))
}

/// Creates a directory and its parents, and syncs their names to the disk.
pub fn make_directory(path: &Path) -> Result<(), ObjectsError> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = parent(path);
    make_directory(parent)?;
    match fs::create_dir(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(ObjectsError::io(path, error)),
        _ => sync(parent),
    }
}

/// The directory that a path is in.
#[must_use]
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        Some(_) | None => Path::new("."),
    }
}

/// Whether the name was free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// It was free; the move is done.
    Done,
    /// It was taken; nothing has moved.
    Taken,
}

/// Renames a file or a directory within a file system to a name that must be free, and syncs the rename to the disk.
/// Never replaces anything, not even an empty directory.
pub fn move_to_free(from: &Path, to: &Path) -> Result<Moved, ObjectsError> {
    let parent = parent(to);
    make_directory(parent)?;
    let moved = match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        // This file system has no such rename. Writers of a store hold its lock, so a check before the rename
        // suffices.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => match fs::symlink_metadata(to) {
            Ok(_) => return Ok(Moved::Taken),
            Err(_) => fs::rename(from, to),
        },
        Err(error) => Err(error.into()),
    };
    match moved {
        Ok(()) => sync(parent).map(|()| Moved::Done),
        Err(error) if matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::DirectoryNotEmpty) => {
            Ok(Moved::Taken)
        }
        Err(error) => Err(ObjectsError::io(to, error)),
    }
}

/// Creates a file unless one exists. It appears whole, and is on the disk when this returns.
///
/// # Errors
/// Those of the operating system.
pub fn put_new(staging: &Staging, target: &Path, bytes: &[u8]) -> Result<Put, ObjectsError> {
    let made = staging.path().join("file");
    write(&made, bytes)?;
    Ok(match move_to_free(&made, target)? {
        Moved::Done => Put::Done(String::new()),
        Moved::Taken => Put::Taken,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_taken_is_never_replaced() {
        let root = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "a/b/to"].map(|name| root.path().join(name));
        fs::create_dir(&from).unwrap();
        fs::write(from.join("file"), "new").unwrap();
        fs::create_dir_all(&to).unwrap();
        // An empty directory too, which a plain rename would replace.
        assert_eq!(move_to_free(&from, &to).unwrap(), Moved::Taken);
        fs::remove_dir(&to).unwrap();
        assert_eq!(move_to_free(&from, &to).unwrap(), Moved::Done);
        assert_eq!(fs::read_to_string(to.join("file")).unwrap(), "new");
        assert!(!from.exists());
    }

    #[test]
    fn a_link_that_leads_back_is_not_followed_for_ever() {
        let root = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(root.path(), root.path().join("again")).unwrap();
        std::os::unix::fs::symlink("nowhere", root.path().join("broken")).unwrap();
        fs::write(root.path().join("file"), "x").unwrap();
        assert_eq!(list(root.path()).unwrap().into_keys().collect::<Vec<_>>(), ["file"]);
    }
}
