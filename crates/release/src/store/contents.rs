//! The files of a version, and numbered entries of a directory.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::StoreError;
use model::sha256_of_file;
use objects::files::list;

/// A file of a version: its path within the version, its size, its SHA-256.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileEntry {
    pub(super) name: String,
    pub(super) size: u64,
    pub(super) sha256: String,
}

/// The files of a version, sorted by name. Names that begin with a dot do not count.
pub(super) fn describe(directory: &Path) -> Result<Vec<FileEntry>, StoreError> {
    let files = list(directory)?.into_iter().filter(|(name, _)| counts(name));
    let described = files.map(|(name, listed)| {
        let path = directory.join(&name);
        let sha256 = sha256_of_file(&path).map_err(|error| StoreError::io(&path, error))?;
        Ok(FileEntry { name, size: listed.size, sha256 })
    });
    described.collect()
}

/// Whether a path within a version names one of its files: those of editors and of the store begin with a dot.
pub(super) fn counts(name: &str) -> bool {
    !name.split('/').any(|part| part.starts_with('.'))
}

/// The numbered entries of a directory; other entries are ignored.
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
    fn what_begins_with_a_dot_is_no_file_of_a_version() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("folder/.git")).unwrap();
        for name in ["b.onnx", ".DS_Store", "folder/a.onnx", "folder/.git/x"] {
            fs::write(root.path().join(name), name).unwrap();
        }
        let described = describe(root.path()).unwrap();
        assert_eq!(described.iter().map(|file| &*file.name).collect::<Vec<_>>(), ["b.onnx", "folder/a.onnx"]);
        assert_eq!(described[0].sha256, model::sha256_of(b"b.onnx"));
        assert_eq!(list(root.path()).unwrap().len(), 4);
        assert!(list(&root.path().join("absent")).unwrap().is_empty());
    }
}
