//! Brings the files of a log into order when it is opened, however the server ended.
//!
//! | found | done |
//! |---|---|
//! | a torn tail of the newest file | cut; none of it was durable |
//! | events that stand in the next file again, after a write that failed | cut |
//! | a file without events | removed |
//! | a damaged frame with others behind it, or events missing until the next file | copied to `.damaged`, then cut |
//! | a tail or a file that is not whole, and was on the disk once | the same; [`durable`] knows |
//! | files that may hold events and are not read | left alone, and reported |
//!
//! A position that may have been another event's is not given to a new one: numbers go on behind what was lost, and
//! behind what the store has.
//!
//! A file is never continued: the process begins a new one. So a closed file is never written again, and what may be
//! wrong with the last frames of a dead process cannot spread to new ones. The newest file is written anew: the system
//! may still show bytes that a sync of the dead process failed to write, and would not try to write them again. Every
//! file is read to its end here; sealing leaves few.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind, Read};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::durable;
use super::files::{self, DELETED, Deleted, LogEnd, LogFile, NEXT_DELETED};
use super::scan::{FORMAT, Scan, scan};
use super::unread::{DAMAGED, Unread, unread};
use crate::disk::{self, Disk};
use crate::error::EventError;
use crate::keys::KeyName;
use crate::numbers::GREATEST_START;

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
    /// The files that were cut, since no whole event was there.
    pub cuts: Vec<Cut>,
    /// What may hold events and is not read, those copies among it.
    pub unread: Vec<Unread>,
    /// Positions of events that were on the disk and are in no file.
    pub missing: Vec<RangeInclusive<u64>>,
    /// The last position of this server in the store, if the data directory knows of no event so late.
    pub older_than_store: Option<u64>,
    /// The keys for pseudonyms that the servers had which wrote the files.
    pub keys: BTreeSet<KeyName>,
}

/// What was cut off a log file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// The file.
    pub path: PathBuf,
    /// The bytes that are left; a file without events is removed.
    pub at: u64,
    /// The bytes that were cut.
    pub bytes: u64,
    /// What was wrong there.
    pub message: String,
    /// A copy of the file as it was, if events may be missing.
    pub copy: Option<PathBuf>,
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

/// Reads all files of the server, and repairs them. `sealed`: up to where the store has events of the server.
pub(super) fn recover(
    disk: &dyn Disk,
    directory: &Path,
    server: &str,
    sealed: LogEnd,
) -> Result<Recovered, EventError> {
    remove_leftovers(disk, directory, server)?;
    let mut deleted = Deleted::read(disk, directory)?;
    let durable =
        durable::read(disk, directory, server).map_err(EventError::io(&durable::path(directory)))?;
    let found = read(disk, directory, server)?;
    let present = found.iter().map(Found::reached).fold(deleted.reached(), LogEnd::max);
    let known = present.max(durable);
    let mut report = Recovery {
        missing: missing(&found, deleted.position.max(sealed.position), durable.position),
        older_than_store: (sealed.position > known.position).then_some(sealed.position),
        ..Recovery::default()
    };
    let needs = needs(&found, deleted.position, durable.position);
    let mut reached = known.max(sealed);
    let is_damaged: Vec<bool> = needs.iter().map(|(need, _)| *need == Need::Quarantine).collect();
    for fault in
        found.iter().zip(&is_damaged).filter(|(_, is)| **is).filter_map(|(one, _)| one.scan.fault.as_ref())
    {
        reached.position = reached.position.max(fault.resumes.unwrap_or_default());
    }
    check_numbers(reached, directory)?;
    // All copies are made before anything is changed, and numbers are raised before what they are known by goes.
    let mut copies = Vec::new();
    for (one, is_damaged) in found.iter().zip(is_damaged) {
        copies.push(if is_damaged { Some(quarantine(disk, &one.file.path)?) } else { None });
    }
    if reached != present {
        deleted = Deleted { sequence: reached.sequence, position: reached.position };
        deleted.write(disk, directory)?;
    }
    let mut files = Vec::new();
    for ((one, (need, next)), copy) in found.iter().zip(needs).zip(copies) {
        let path = &one.file.path;
        report.damaged.extend(copy.clone());
        if need != Need::Nothing {
            report.cut_bytes += one.length - one.scan.bytes;
            report.cuts.extend(one.cut(copy));
            one.tell(need);
        }
        if !one.scan.has_events() {
            disk.remove(path).map_err(EventError::io(path))?;
            continue;
        }
        one.make_durable(disk, need, next.is_none()).map_err(EventError::io(path))?;
        report.files += 1;
        report.events += one.file.events();
        report.keys.extend(one.scan.header.iter().flat_map(|header| KeyName::in_header(&header.keys)));
        files.push(one.file.clone());
    }
    disk.sync_names(directory).map_err(EventError::io(directory))?;
    report.next_position = reached.position + 1;
    report.unread = unread(disk, directory, server).map_err(EventError::io(directory))?;
    Ok(Recovered { files, deleted, next_sequence: reached.sequence + 1, report })
}

/// What each file needs, and the first position behind it. `deleted`: the last position that was deleted; `durable`:
/// the last that was on the disk.
fn needs(found: &[Found], deleted: u64, durable: u64) -> Vec<(Need, Option<u64>)> {
    let mut before = deleted;
    let mut needs = Vec::new();
    for (at, one) in found.iter().enumerate() {
        let next = found[at + 1..].iter().find(|later| later.scan.has_events()).map(|later| later.file.first);
        needs.push((one.need(before, next, durable), next));
        if one.scan.has_events() {
            before = before.max(one.file.last);
        }
    }
    needs
}

/// What is wrong with files, where events may be missing.
pub(super) fn damage(found: &[Found], deleted: u64, durable: u64) -> Vec<Unread> {
    let needs = needs(found, deleted, durable);
    let damaged = found.iter().zip(needs).filter(|(_, (need, _))| *need == Need::Quarantine);
    damaged.filter_map(|(one, _)| one.damage()).collect()
}

/// The positions that were on the disk, are in no file and were not deleted.
pub(super) fn missing(found: &[Found], deleted: u64, durable: u64) -> Vec<RangeInclusive<u64>> {
    let (mut missing, mut next) = (Vec::new(), deleted + 1);
    for one in found.iter().filter(|one| one.scan.has_events()) {
        if one.file.first > next {
            missing.push(next..=one.file.first - 1);
        }
        next = next.max(one.file.last + 1);
    }
    if durable >= next {
        missing.push(next..=durable);
    }
    missing
}

/// A log that cannot go on from its numbers is not opened.
fn check_numbers(reached: LogEnd, directory: &Path) -> Result<(), EventError> {
    let LogEnd { sequence, position } = reached;
    if sequence.max(position) <= GREATEST_START {
        return Ok(());
    }
    let message = format!(
        "its numbers are greater than any server reaches, sequence {sequence} and position {position}; move the file \
         that has them away: a log file, or `{DELETED}`"
    );
    Err(EventError::Damaged { path: directory.to_owned(), message })
}

/// Reads the files of the server, by sequence. A file that disappears meanwhile is left out.
pub(super) fn read(disk: &dyn Disk, directory: &Path, server: &str) -> Result<Vec<Found>, EventError> {
    let mut listed = Vec::new();
    for (name, length) in disk.list(directory).map_err(EventError::io(directory))? {
        match files::parse_name(&name) {
            Some((of, sequence)) if of == server => listed.push((sequence, directory.join(name), length)),
            Some(_) | None => {}
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
    /// The last numbers that it has.
    fn reached(&self) -> LogEnd {
        let position = if self.scan.has_events() { self.file.last } else { 0 };
        LogEnd { sequence: self.file.sequence, position }
    }

    /// What it needs, between the last position before it and the first one after it. `durable`: the last position that
    /// was on the disk.
    fn need(&self, before: u64, next: Option<u64>, durable: u64) -> Need {
        let Some(fault) = &self.scan.fault else {
            return if self.scan.superseded { Need::Cut } else { Need::Nothing };
        };
        let last = if self.scan.has_events() { self.scan.last } else { before };
        let is_harmless = match next {
            Some(next) => next == last + 1,
            None => fault.resumes.is_none() && last >= durable,
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

    /// What is wrong with it.
    fn damage(&self) -> Option<Unread> {
        let fault = self.scan.fault.as_ref()?;
        let message = format!(
            "it is damaged at byte {}: {}; what follows cannot be read. The server's next start or `proffer events seal` \
             keeps a copy and cuts the file there",
            self.scan.bytes, fault.message
        );
        Some(Unread { path: self.file.path.clone(), message })
    }

    /// What is cut off it. Events that stand in the next file again are nothing to speak of.
    fn cut(&self, copy: Option<PathBuf>) -> Option<Cut> {
        let (at, bytes) = (self.scan.bytes, self.length - self.scan.bytes);
        let message = self.scan.fault.as_ref()?.message.clone();
        Some(Cut { path: self.file.path.clone(), at, bytes, message, copy })
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
    let first = path.with_added_extension(DAMAGED);
    let copy = if is_free(&first) {
        first
    } else {
        let mut others = (2_u32..).map(|number| path.with_added_extension(format!("{DAMAGED}-{number}")));
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
