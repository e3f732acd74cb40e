//! Files and directories as a store needs them: listed, synced to the disk, put in a place that must be free, compared.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::StoreError;
use super::objects::Listed;
use crate::model::sha256_of_file;

/// The files below a directory by their path within it, those whose name or folder begins with a dot included; a directory
/// that is not there holds none. What has a name that cannot be written down is passed over.
pub(super) fn list(directory: &Path) -> Result<BTreeMap<String, Listed>, StoreError> {
    let mut found = BTreeMap::new();
    walk(directory, "", &mut found)?;
    Ok(found)
}

fn walk(directory: &Path, prefix: &str, found: &mut BTreeMap<String, Listed>) -> Result<(), StoreError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(()),
        Err(error) => return Err(StoreError::io(directory, error)),
    };
    for entry in entries {
        let entry = entry.map_err(|error| StoreError::io(directory, error))?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let name = format!("{prefix}{name}");
        // What has gone since the directory was read, and links that lead nowhere.
        let Ok(metadata) = fs::metadata(entry.path()) else { continue };
        if metadata.is_dir() {
            // A link to a directory may lead back to where we are.
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

/// Tells one state of a file from another without reading it.
pub(super) fn modified_tag(metadata: &fs::Metadata) -> String {
    use std::os::unix::fs::MetadataExt;
    format!("{:x}-{:x}.{:x}-{:x}", metadata.ino(), metadata.mtime(), metadata.mtime_nsec(), metadata.len())
}

/// A file of a version: its path within the version, its size, its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Described {
    pub(super) name: String,
    pub(super) size: u64,
    pub(super) sha256: String,
}

/// The files that make up a version, by name; what begins with a dot does not count.
pub(super) fn describe(directory: &Path) -> Result<Vec<Described>, StoreError> {
    let files = list(directory)?.into_iter().filter(|(name, _)| counts(name));
    let described = files.map(|(name, listed)| {
        let path = directory.join(&name);
        let sha256 = sha256_of_file(&path).map_err(|error| StoreError::io(&path, error))?;
        Ok(Described { name, size: listed.size, sha256 })
    });
    described.collect()
}

/// Whether a path within a version names a file of it: an editor's and ours begin with a dot.
pub(super) fn counts(name: &str) -> bool {
    !name.split('/').any(|part| part.starts_with('.'))
}

/// Puts a directory and all that is in it on the disk.
pub(super) fn sync_tree(directory: &Path) -> Result<(), StoreError> {
    let failed = |error| StoreError::io(directory, error);
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

/// Puts a file, or the names in a directory, on the disk.
pub(super) fn sync(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(|error| StoreError::io(path, error))
}

/// Writes a file and puts it on the disk.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let write = || -> io::Result<()> {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|error| StoreError::io(path, error))
}

/// Makes a directory and those above it, and puts their names on the disk.
pub(super) fn make_directory(path: &Path) -> Result<(), StoreError> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = parent(path);
    make_directory(parent)?;
    match fs::create_dir(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(StoreError::io(path, error)),
        _ => sync(parent),
    }
}

/// The directory that a path is in.
pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        Some(_) | None => Path::new("."),
    }
}

/// Whether the place was free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moved {
    Done,
    Taken,
}

/// Renames a file or a directory of the same file system to a name that must be free, and puts that on the disk. Whatever is
/// there already stays, an empty directory too.
pub(super) fn move_to_free(from: &Path, to: &Path) -> Result<Moved, StoreError> {
    let parent = parent(to);
    make_directory(parent)?;
    let moved = match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        // A file system that cannot promise it: the writers of a store hold its lock, so that looking first will do.
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
        Err(error) => Err(StoreError::io(to, error)),
    }
}

/// The numbered entries of a directory; whatever else lies there is none of ours.
pub(super) fn numbers(directory: &Path) -> Result<Vec<u64>, StoreError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::io(directory, error)),
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let entry: PathBuf = entry.map_err(|error| StoreError::io(directory, error))?.path();
        numbers.extend(entry.file_stem().and_then(|name| name.to_str()).and_then(super::keys::number));
    }
    Ok(numbers)
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
    fn what_begins_with_a_dot_is_no_file_of_a_version() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("folder/.git")).unwrap();
        for name in ["b.onnx", ".DS_Store", "folder/a.onnx", "folder/.git/x"] {
            fs::write(root.path().join(name), name).unwrap();
        }
        let described = describe(root.path()).unwrap();
        assert_eq!(described.iter().map(|file| &*file.name).collect::<Vec<_>>(), ["b.onnx", "folder/a.onnx"]);
        assert_eq!(described[0].sha256, crate::model::sha256_of(b"b.onnx"));
        assert_eq!(list(root.path()).unwrap().len(), 4);
        assert!(list(&root.path().join("absent")).unwrap().is_empty());
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
