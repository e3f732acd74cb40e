//! Previous customer files, kept so that a load can be undone.
//!
//! ```text
//! customers/customers.csv           the present file
//! customers/previous/<number>.csv   previous files; the highest number is the latest
//! ```
//! Numbers are milliseconds since 1970, so that two machines that share a bucket need no common counter. A file that
//! an undo replaced gets a small number: it is kept, but no later undo restores it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The folder of kept files within the customer directory.
pub const PREVIOUS: &str = "previous";

/// How many files are kept.
pub const KEPT_FILES: usize = 3;

/// Files with lower numbers were replaced by an undo; as a time, the bound is in September 2001.
const UNDONE: u64 = 1_000_000_000_000;

/// A kept file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptFile {
    /// Where it is.
    pub path: PathBuf,
    number: u64,
}

/// The number in the name of a kept file, and its extension (`csv`).
#[must_use]
pub fn kept_number(name: &str) -> Option<(u64, &str)> {
    let (number, ending) = name.split_once('.')?;
    Some((number.parse().ok()?, ending))
}

/// The kept files below `directory`, the latest last.
pub(super) fn list(directory: &Path) -> Vec<KeptFile> {
    let Ok(entries) = fs::read_dir(directory.join(PREVIOUS)) else { return Vec::new() };
    let kept = |path: PathBuf| {
        let number = kept_number(path.file_name()?.to_str()?)?.0;
        path.is_file().then_some(KeptFile { path, number })
    };
    let mut files: Vec<KeptFile> = entries.flatten().filter_map(|entry| kept(entry.path())).collect();
    files.sort_by_key(|file| file.number);
    files
}

/// The latest kept file that an undo may restore. A kept file that is the present one is left from an interrupted
/// load and is removed.
pub(super) fn latest(directory: &Path, present: Option<&Path>) -> io::Result<Option<KeptFile>> {
    let mut files = list(directory);
    files.retain(|file| file.number >= UNDONE);
    while let Some(file) = files.pop() {
        let inode = |path: &Path| fs::metadata(path).map(|metadata| metadata.ino()).ok();
        if present.and_then(inode) != inode(&file.path) {
            return Ok(Some(file));
        }
        fs::remove_file(&file.path)?;
    }
    Ok(None)
}

/// Keeps `present` as the latest file.
pub(super) fn keep(directory: &Path, present: &Path) -> io::Result<KeptFile> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let latest = list(directory).last().map_or(0, |file| file.number);
    let number = u64::try_from(now).unwrap_or(u64::MAX).max(latest.saturating_add(1)).max(UNDONE);
    place(directory, present, number)
}

/// Keeps `present` under a number that no undo considers.
pub(super) fn keep_undone(directory: &Path, present: &Path) -> io::Result<KeptFile> {
    let numbers = list(directory).into_iter().map(|file| file.number);
    let last = numbers.filter(|number| *number < UNDONE).max().unwrap_or(0);
    place(directory, present, last.saturating_add(1).min(UNDONE - 1))
}

/// Removes the oldest files beyond [`KEPT_FILES`].
pub(super) fn prune(directory: &Path) -> io::Result<()> {
    let files = list(directory);
    for file in &files[..files.len().saturating_sub(KEPT_FILES)] {
        fs::remove_file(&file.path)?;
    }
    Ok(())
}

fn place(directory: &Path, present: &Path, number: u64) -> io::Result<KeptFile> {
    let folder = directory.join(PREVIOUS);
    fs::create_dir_all(&folder)?;
    let name = present.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let ending = name.split_once('.').map_or("csv", |(_, ending)| ending);
    let path = folder.join(format!("{number}.{ending}"));
    // Linked, so that the present file stays readable; copied if the file system has no links.
    if fs::hard_link(present, &path).is_err() {
        super::source::copy(present, &path)?;
    }
    File::open(&folder)?.sync_all()?;
    Ok(KeptFile { path, number })
}
