//! The log: files of frames in order, `log/<server>-<sequence>.log`.
//!
//! Each file begins with a header, whose position is that of the first event behind it. Positions go on over files and
//! restarts, 1, 2, 3 …; a header takes none. A file is closed at a size or an age, and never written again. Events that
//! do not fit into it go to the next, those of one call, too.
//!
//! After a write or a sync that failed, nothing is known of what was written since the last success, and the system
//! may discard it without another error (<https://wiki.postgresql.org/wiki/Fsync_Errors>). So the file is closed and
//! cut to what is certain, and the same events are written to another. Where the cut fails, too, the second copy
//! counts: a file ends where the next one begins.

pub(crate) mod durable;
pub(crate) mod files;
mod reading;
mod recovery;
pub(crate) mod scan;
pub(crate) mod unread;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::EventConfig;
use crate::disk::{self, Disk, Output};
use crate::error::EventError;
use crate::fault;
use crate::frame;
use crate::keys::KeyName;
use crate::proto::{Event, LogHeader, event};
pub use files::{LogEnd, LogFile, LogFiles};
pub use reading::{OpenedLog, TakenOver, open_read_only, take_over};
pub use recovery::{Cut, Recovery};
pub use unread::Unread;

/// When files are closed, and how much there may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) total: u64,
    pub(crate) file: u64,
    pub(crate) age: Duration,
}

impl Limits {
    pub(crate) fn of(config: &EventConfig) -> Self {
        Self { total: config.log_limit, file: config.log_file, age: config.log_age }
    }
}

/// What a log goes on from, besides its files.
#[derive(Debug, Clone, Default)]
pub(crate) struct Start {
    /// Up to where the store has events of the server.
    pub(crate) sealed: LogEnd,
    /// The keys that the server has for pseudonyms.
    pub(crate) keys: Vec<KeyName>,
}

/// Encoded events with consecutive positions.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) frames: Vec<u8>,
    /// The position of the first.
    pub(crate) first: u64,
    /// The number of events.
    pub(crate) events: u64,
    /// When the first was encoded, by the wall clock in microseconds.
    pub(crate) recorded_at: i64,
}

/// The first events of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    /// The bytes of their frames.
    pub(crate) bytes: usize,
    /// The number of events.
    pub(crate) events: u64,
}

impl Group {
    /// As many of its first events as have at most `most` bytes together; one if that is larger.
    fn part(&self, most: u64) -> Part {
        if self.frames.len() as u64 <= most {
            return Part { bytes: self.frames.len(), events: self.events };
        }
        let mut part = Part { bytes: 0, events: 0 };
        for length in frame::lengths(&self.frames) {
            if part.events > 0 && (part.bytes + length) as u64 > most {
                break;
            }
            part = Part { bytes: part.bytes + length, events: part.events + 1 };
        }
        part
    }

    /// Drops the first events.
    pub(crate) fn drop_part(&mut self, part: Part) {
        self.frames.drain(..part.bytes);
        self.first += part.events;
        self.events -= part.events;
    }
}

/// Why a group is not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// The files have reached their limit.
    #[error("the log files have reached `records.log_limit`, {limit} bytes")]
    Full { limit: u64 },
    /// The operating system reported an error.
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// The writing end of the log.
#[derive(Debug)]
pub(crate) struct Log {
    files: LogFiles,
    limits: Limits,
    version: String,
    keys: Vec<KeyName>,
    next_sequence: u64,
    /// The most bytes that events have in a file, unless one alone has more.
    most_events: u64,
    open: Option<Open>,
    /// Abandoned files that could not be cut, and to which length; 0 removes them.
    uncut: Vec<(PathBuf, u64)>,
}

/// The file that is written.
#[derive(Debug)]
struct Open {
    output: Box<dyn Output>,
    /// As far as it is certain.
    file: LogFile,
    /// The bytes and the position up to which it is written.
    written: u64,
    last: u64,
    /// Whether all that is written is synced.
    is_synced: bool,
    /// Whether its name is.
    is_named: bool,
    since: Instant,
}

impl Open {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.is_synced = false;
        self.output.append(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn sync(&mut self, files: &LogFiles) -> io::Result<()> {
        self.output.sync()?;
        if !self.is_named {
            files.disk().sync_names(files.directory())?;
            self.is_named = true;
        }
        self.is_synced = true;
        Ok(())
    }

    /// Notes that all that is written is synced.
    fn note(&self, files: &LogFiles) {
        files.note_durable(LogEnd { sequence: self.file.sequence, position: self.last });
    }

    /// What is written counts as certain.
    fn settle(&mut self) {
        (self.file.bytes, self.file.last) = (self.written, self.last);
    }
}

impl Log {
    /// Opens the log of a server, whose lock is held.
    ///
    /// # Errors
    /// When a file cannot be read or repaired.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        directory: PathBuf,
        server: &str,
        version: &str,
        limits: Limits,
        start: Start,
    ) -> Result<(Self, Recovery), EventError> {
        let recovered = recovery::recover(&*disk, &directory, server, start.sealed)?;
        // The longest header.
        let header = header(u64::MAX, -1, server, u64::MAX, version, &start.keys);
        let files = LogFiles::new(disk, directory, server.to_owned(), recovered.files, recovered.deleted);
        let log = Self {
            files,
            limits,
            version: version.to_owned(),
            keys: start.keys,
            next_sequence: recovered.next_sequence,
            most_events: limits.file.saturating_sub(header.len() as u64),
            open: None,
            uncut: Vec::new(),
        };
        Ok((log, recovered.report))
    }

    pub(crate) fn files(&self) -> &LogFiles {
        &self.files
    }

    /// Writes the first events of a group, as many as a file may have. They are certain after [`Log::sync`] or
    /// [`Log::trust`]; after an error none of them is.
    pub(crate) fn write(&mut self, group: &Group, now: Instant) -> Result<Part, Trouble> {
        let part = group.part(self.most_events);
        let adds = part.bytes as u64;
        if self.open.as_ref().is_some_and(|open| open.written + adds > self.limits.file) {
            self.close();
        }
        let present = self.files.bytes();
        if present > 0 && present + adds > self.limits.total {
            // Sealing can take away what is closed.
            self.close();
            return Err(Trouble::Full { limit: self.limits.total });
        }
        match self.append(group, part, now) {
            Ok(()) => {
                fault::point("record.append");
                Ok(part)
            }
            Err(source) => Err(self.abandon(source)),
        }
    }

    /// Syncs what was written.
    pub(crate) fn sync(&mut self) -> Result<(), Trouble> {
        let Some(open) = &mut self.open else { return Ok(()) };
        match open.sync(&self.files) {
            Ok(()) => {
                open.note(&self.files);
                self.trust();
                fault::point("record.synced");
                Ok(())
            }
            Err(source) => Err(self.abandon(source)),
        }
    }

    /// Takes what was written as certain.
    pub(crate) fn trust(&mut self) {
        let Some(open) = &mut self.open else { return };
        open.settle();
        self.files.set_open(Some(open.file.clone()), open.written);
    }

    /// How long until the open file is to be closed.
    pub(crate) fn closes_in(&self, now: Instant) -> Option<Duration> {
        let open = self.open.as_ref()?;
        Some(self.limits.age.saturating_sub(now.saturating_duration_since(open.since)))
    }

    /// Closes the open file if it is large or old enough.
    pub(crate) fn close_if_due(&mut self, now: Instant) {
        let is_large = self.open.as_ref().is_some_and(|open| open.written >= self.limits.file);
        if is_large || self.closes_in(now).is_some_and(|left| left.is_zero()) {
            self.close();
        }
    }

    /// Closes the open file. All that was written to it is certain.
    pub(crate) fn close(&mut self) {
        let Some(mut open) = self.open.take() else { return };
        // With `records.sync = "os"` nothing has been synced yet, and sealing needs what stays.
        if !open.is_synced {
            match open.sync(&self.files) {
                Ok(()) => open.note(&self.files),
                Err(error) => {
                    tracing::warn!(file = %open.file.path.display(), %error, "a log file could not be synced");
                }
            }
        }
        self.files.close(&open.file);
        fault::point("record.rotate");
    }

    /// Cuts abandoned files that could not be cut before.
    pub(crate) fn tidy(&mut self) {
        let files = &self.files;
        self.uncut.retain(|(path, bytes)| match cut(files, path, *bytes) {
            Err(error) => error.kind() != io::ErrorKind::NotFound,
            Ok(()) => false,
        });
    }

    /// Appends the first events of a group to the open file, or to a new one.
    fn append(&mut self, group: &Group, part: Part, now: Instant) -> io::Result<()> {
        if self.open.is_none() {
            self.create(group, now)?;
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        open.append(&group.frames[..part.bytes])?;
        open.last = group.first + part.events - 1;
        let certain = (open.file.events() > 0).then(|| open.file.clone());
        self.files.set_open(certain, open.written);
        Ok(())
    }

    /// Begins a file, whose first event will be that of the group.
    fn create(&mut self, group: &Group, now: Instant) -> io::Result<()> {
        let (sequence, server) = (self.next_sequence, self.files.server());
        let path = self.files.directory().join(files::name(server, sequence));
        let output = match self.files.disk().create(&path) {
            Ok(output) => output,
            Err(error) => {
                if error.kind() == io::ErrorKind::AlreadyExists {
                    self.next_sequence += 1;
                }
                return Err(error);
            }
        };
        fault::point("record.created");
        self.next_sequence += 1;
        let header = header(group.first, group.recorded_at, server, sequence, &self.version, &self.keys);
        let (first, last, recorded_at) = (group.first, group.first - 1, group.recorded_at);
        let file = LogFile { path, sequence, first, last, bytes: 0, recorded_at };
        let open = Open { output, file, written: 0, last, is_synced: false, is_named: false, since: now };
        self.open.insert(open).append(&header)
    }

    /// Closes the open file after an error, and cuts it to what is certain.
    fn abandon(&mut self, source: io::Error) -> Trouble {
        let Some(Open { output, file, .. }) = self.open.take() else {
            return Trouble::Io { path: self.files.directory().to_owned(), source };
        };
        drop(output);
        let (path, has_events) = (file.path.clone(), file.events() > 0);
        let bytes = if has_events { file.bytes } else { 0 };
        match cut(&self.files, &path, bytes) {
            Ok(()) if !has_events => self.next_sequence = file.sequence,
            Ok(()) => {}
            Err(_) => self.uncut.push((path.clone(), bytes)),
        }
        if has_events {
            self.files.close(&file);
        } else {
            self.files.set_open(None, 0);
        }
        Trouble::Io { path, source }
    }
}

/// What a file begins with, as a frame.
fn header(
    position: u64,
    recorded_at: i64,
    server: &str,
    sequence: u64,
    version: &str,
    keys: &[KeyName],
) -> Vec<u8> {
    let (server, version) = (server.to_owned(), version.to_owned());
    let keys = KeyName::for_header(keys);
    let header = event::Event::Header(LogHeader { format: scan::FORMAT, server, sequence, version, keys });
    let mut frame = Vec::new();
    frame::write(&Event { position, recorded_at, event: Some(header) }, &mut frame);
    frame
}

/// Cuts a file to a length; 0 removes it.
fn cut(files: &LogFiles, path: &std::path::Path, bytes: u64) -> io::Result<()> {
    if bytes > 0 {
        return files.disk().cut(path, bytes);
    }
    disk::remove_if_there(files.disk(), path)?;
    files.disk().sync_names(files.directory())
}

#[cfg(test)]
mod tests;
