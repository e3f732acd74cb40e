//! Files of customers that another took the place of, kept so that a load can be undone.
//!
//! ```text
//! customers/customers.csv           the present file
//! customers/previous/<number>.csv   those before it; the highest number is the latest
//! ```
//! Numbers are milliseconds since 1970, so that two machines with the same bucket need not agree on a counter.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The folder within the directory of the present file.
pub const PREVIOUS: &str = "previous";

/// How many files are kept.
pub const KEPT: usize = 3;

/// A file that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptFile {
    /// Where it is.
    pub path: PathBuf,
    number: u64,
}

/// The number in the name of a kept file, and the ending after it (`csv`).
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

/// The latest kept file that is not the present one. One that is was kept by a load that was cut short, and goes.
pub(super) fn latest(directory: &Path, present: Option<&Path>) -> io::Result<Option<KeptFile>> {
    let mut files = list(directory);
    while let Some(file) = files.pop() {
        let inode = |path: &Path| fs::metadata(path).map(|metadata| metadata.ino()).ok();
        if present.and_then(inode) != inode(&file.path) {
            return Ok(Some(file));
        }
        fs::remove_file(&file.path)?;
    }
    Ok(None)
}

/// Keeps `present` as the latest.
pub(super) fn keep(directory: &Path, present: &Path) -> io::Result<KeptFile> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let latest = list(directory).last().map_or(0, |file| file.number);
    let number = u64::try_from(now).unwrap_or(u64::MAX).max(latest.saturating_add(1));
    place(directory, present, number)
}

/// Keeps `present` as the one that is brought back last.
pub(super) fn keep_as_first(directory: &Path, present: &Path) -> io::Result<KeptFile> {
    let first = list(directory).first().map_or(1, |file| file.number);
    place(directory, present, first.saturating_sub(1))
}

/// Removes all but the latest.
pub(super) fn prune(directory: &Path) -> io::Result<()> {
    let files = list(directory);
    for file in &files[..files.len().saturating_sub(KEPT)] {
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
    // Beside the present one, which stays readable; not every file system has links.
    if fs::hard_link(present, &path).is_err() {
        super::source::copy(present, &path)?;
    }
    File::open(&folder)?.sync_all()?;
    Ok(KeptFile { path, number })
}
