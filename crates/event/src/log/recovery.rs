//! Brings the files of a log into order when it is opened, however the server ended.
//!
//! | found | done |
//! |---|---|
//! | a torn tail of the newest file | cut; none of it was durable |
//! | events that stand in the next file again, after a write that failed | cut |
//! | a file without events | removed |
//! | a damaged frame with others behind it, or with events missing until the next file | a copy is kept as `.damaged`, then cut |
//!
//! A file is never continued: the process begins a new one. So a closed file is never written again, and what may be
//! wrong with the last frames of a dead process cannot spread to new ones. The newest file is written anew: the system
//! may still show bytes that a sync of the dead process failed to write, and would not try to write them again. Every
//! file is read to its end here; sealing leaves few.

use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::files::{self, DELETED, Deleted, LogFile, NEXT_DELETED};
use super::scan::{FORMAT, Scan, scan};
use crate::disk::{self, Disk};
use crate::error::EventError;

/// What was found and done when a log was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Log files that hold events.
    pub files: usize,
    /// Events in them.
    pub events: u64,
    /// The position of the next event.
    pub next_position: u64,
    /// Bytes that were cut off, since no whole event was there.
    pub cut_bytes: u64,
    /// Copies of damaged files, as they were.
    pub damaged: Vec<PathBuf>,
}

/// The files of a log in order.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) files: Vec<LogFile>,
    pub(super) deleted: Deleted,
    pub(super) next_sequence: u64,
    pub(super) report: Recovery,
}

/// A file that was read.
pub(super) struct Found {
    pub(super) file: LogFile,
    pub(super) scan: Scan,
    length: u64,
}

/// What a file needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Nothing,
    Cut,
    /// To be copied before it is cut.
    Quarantine,
}

/// Reads all files of the server, and repairs them.
pub(super) fn recover(disk: &dyn Disk, directory: &Path, server: &str) -> Result<Recovered, EventError> {
    remove_leftovers(disk, directory, server)?;
    let deleted = Deleted::read(disk, directory)?;
    let found = read(disk, directory, server)?;
    let mut report = Recovery::default();
    let mut files = Vec::new();
    let mut before = deleted.position;
    for (at, one) in found.iter().enumerate() {
        let path = &one.file.path;
        let next = found[at + 1..].iter().find(|later| later.scan.has_events()).map(|later| later.file.first);
        let need = one.need(before, next);
        if need == Need::Quarantine {
            report.damaged.push(quarantine(disk, path)?);
        }
        if need != Need::Nothing {
            report.cut_bytes += one.length - one.scan.bytes;
            one.tell(need);
        }
        if !one.scan.has_events() {
            disk.remove(path).map_err(EventError::io(path))?;
            continue;
        }
        one.make_durable(disk, need, next.is_none()).map_err(EventError::io(path))?;
        before = one.file.last;
        report.files += 1;
        report.events += one.file.events();
        files.push(one.file.clone());
    }
    disk.sync_names(directory).map_err(EventError::io(directory))?;
    report.next_position = before.max(deleted.position) + 1;
    let last_sequence = found.last().map_or(0, |one| one.file.sequence).max(deleted.sequence);
    Ok(Recovered { files, deleted, next_sequence: last_sequence + 1, report })
}

/// Reads the files of the server, by sequence. A file that disappears meanwhile is left out.
pub(super) fn read(disk: &dyn Disk, directory: &Path, server: &str) -> Result<Vec<Found>, EventError> {
    let mut listed = Vec::new();
    for (name, length) in disk.list(directory).map_err(EventError::io(directory))? {
        match files::parse_name(&name) {
            Some((of, sequence)) if of == server => listed.push((sequence, directory.join(name), length)),
            Some((of, _)) => tracing::warn!(
                file = name,
                server = of,
                "a log file of another server is left alone; `proffer events seal` seals it in its own directory"
            ),
            None => {}
        }
    }
    // From the newest to the oldest: each file ends where the next one begins.
    listed.sort_unstable_by_key(|(sequence, ..)| std::cmp::Reverse(*sequence));
    let (mut found, mut next) = (Vec::new(), None);
    for (sequence, path, length) in listed {
        let scan = match disk.read(&path).and_then(|source| scan(source, next)) {
            Ok(scan) => scan,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(EventError::io(&path)(error)),
        };
        if let Some(header) = &scan.header {
            if header.format > FORMAT {
                return Err(EventError::Newer { path, format: header.format });
            }
            if header.server != server {
                let message =
                    format!("it is of the server {:?}; move it to the directory of that", header.server);
                return Err(EventError::Damaged { path, message });
            }
        }
        if scan.has_events() {
            next = Some(scan.first);
        }
        let (first, last, bytes, recorded_at) = (scan.first, scan.last, scan.bytes, scan.recorded_at);
        let file = LogFile { path, sequence, first, last, bytes, recorded_at };
        // A file that is being written has grown since it was listed.
        found.push(Found { file, length: length.max(scan.bytes), scan });
    }
    found.reverse();
    Ok(found)
}

impl Found {
    /// What it needs, between the last position before it and the first one after it.
    fn need(&self, before: u64, next: Option<u64>) -> Need {
        let Some(fault) = &self.scan.fault else {
            return if self.scan.superseded { Need::Cut } else { Need::Nothing };
        };
        let last = if self.scan.has_events() { self.scan.last } else { before };
        let is_harmless = match next {
            Some(next) => next == last + 1,
            None => !fault.resumes,
        };
        if is_harmless { Need::Cut } else { Need::Quarantine }
    }

    /// Makes what is whole of it durable, and nothing else.
    fn make_durable(&self, disk: &dyn Disk, need: Need, is_newest: bool) -> io::Result<()> {
        let path = &self.file.path;
        if is_newest {
            match disk::replace(disk, path, disk.read(path)?.take(self.scan.bytes)) {
                // A disk without room is no reason not to start.
                Err(error) if error.kind() == ErrorKind::StorageFull => {
                    disk::remove_if_there(disk, &path.with_added_extension("new"))?;
                }
                done => return done,
            }
        }
        match need {
            Need::Nothing if is_newest => disk.sync(path),
            // It was synced before the next one was begun.
            Need::Nothing => Ok(()),
            Need::Cut | Need::Quarantine => disk.cut(path, self.scan.bytes),
        }
    }

    /// What is wrong with it, if events may be missing. `next` is the first position after it.
    pub(super) fn damage(&self, before: u64, next: Option<u64>) -> Option<String> {
        let fault = self.scan.fault.as_ref()?;
        let is_damaged = self.need(before, next) == Need::Quarantine;
        is_damaged
            .then(|| format!("{}: byte {}: {}", self.file.path.display(), self.scan.bytes, fault.message))
    }

    fn tell(&self, need: Need) {
        let file = self.file.path.display();
        let (at, bytes) = (self.scan.bytes, self.length - self.scan.bytes);
        let message = self.scan.fault.as_ref().map_or("", |fault| fault.message.as_str());
        match need {
            Need::Nothing => {}
            Need::Cut if self.scan.superseded => {
                tracing::info!(%file, at, bytes, "events that stand in the next file were cut off a log file");
            }
            Need::Cut => tracing::warn!(%file, at, bytes, message, "a torn tail was cut off a log file"),
            Need::Quarantine => tracing::error!(
                %file, at, bytes, message,
                "a log file is damaged; the rest of the file is not read, and a copy is kept"
            ),
        }
    }
}

/// Copies a damaged file, and returns where to.
fn quarantine(disk: &dyn Disk, path: &Path) -> Result<PathBuf, EventError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let taken = disk.list(directory).map_err(EventError::io(directory))?;
    let is_free = |path: &PathBuf| !taken.iter().any(|(name, _)| path.ends_with(name));
    let first = path.with_added_extension("damaged");
    let copy = if is_free(&first) {
        first
    } else {
        let mut others = (2_u32..).map(|number| path.with_added_extension(format!("damaged-{number}")));
        others.find(is_free).unwrap_or(first)
    };
    let write = || disk::replace(disk, &copy, disk.read(path)?);
    write().map_err(EventError::io(&copy))?;
    Ok(copy)
}

/// Removes files that were not finished.
fn remove_leftovers(disk: &dyn Disk, directory: &Path, server: &str) -> Result<(), EventError> {
    for (name, _) in disk.list(directory).map_err(EventError::io(directory))? {
        let of_ours = |made: &str| [DELETED, NEXT_DELETED].contains(&made) || made.starts_with(server);
        if name.strip_suffix(".new").is_some_and(of_ours) {
            let path = directory.join(name);
            disk.remove(&path).map_err(EventError::io(&path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
