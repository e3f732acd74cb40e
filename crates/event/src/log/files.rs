//! The log files of a server: which there are, which may be sealed, and how they go.
//!
//! Before a file is deleted, its end is noted, so that numbers go on when no file is left. Room for the next note is
//! taken while there is some: a disk that is full of logs must not keep them from being deleted. The note is written
//! there, and takes its name then.
//!
//! Sealing has idle priority. The writer takes no lock that sealing takes: it would wait for as long as sealing gets no
//! core.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read, Take};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};

use super::durable;
use crate::disk::{self, Disk};
use crate::error::EventError;
use crate::fault;
use crate::frame::Frames;
use crate::numbers;

/// Where the last of the deleted files ended, or what was lost, so that numbers go on when no file is left.
pub(crate) const DELETED: &str = "deleted";

/// The room for the next one.
pub(crate) const NEXT_DELETED: &str = "deleted.next";

/// The bytes of a note, with the greatest numbers. Shorter ones end with empty lines.
const NOTE_BYTES: usize = "sequence = \nposition = \n".len() + 2 * 20;

const EXTENSION: &str = ".log";

/// A log file, as far as it is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFile {
    /// Its path.
    pub path: PathBuf,
    /// Its number among the files of the server.
    pub sequence: u64,
    /// The position of its first event.
    pub first: u64,
    /// The position of its last event.
    pub last: u64,
    /// The bytes up to the end of its last event. What follows does not count.
    pub bytes: u64,
    /// When its first event was appended, in microseconds since 1970-01-01T00:00:00Z.
    pub recorded_at: i64,
}

impl LogFile {
    /// How many events it has.
    #[must_use]
    pub fn events(&self) -> u64 {
        (self.last + 1).saturating_sub(self.first)
    }

    /// Reads it: the header, then its events. `None` if it has been sealed and deleted.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn frames(&self) -> io::Result<Option<Frames<Take<BufReader<File>>>>> {
        match File::open(&self.path) {
            Ok(file) => Ok(Some(Frames::new(BufReader::with_capacity(256 << 10, file).take(self.bytes)))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The last event of a log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogEnd {
    /// Its position; 0 if there never was an event.
    pub position: u64,
    /// The sequence of its file.
    pub sequence: u64,
}

impl LogEnd {
    /// The greater of both numbers.
    pub(crate) fn max(self, other: Self) -> Self {
        let Self { position, sequence } = other;
        Self { position: self.position.max(position), sequence: self.sequence.max(sequence) }
    }
}

/// The name of a log file.
pub(crate) fn name(server: &str, sequence: u64) -> String {
    format!("{server}-{sequence:08}{EXTENSION}")
}

/// The server and the sequence in the name of a log file.
pub(crate) fn parse_name(name: &str) -> Option<(&str, u64)> {
    let (server, digits) = name.strip_suffix(EXTENSION)?.rsplit_once('-')?;
    Some((server, numbers::parse(digits).filter(|_| digits.len() >= 8)?))
}

/// The log files of a server. Clones are handles to the same.
#[derive(Clone)]
pub struct LogFiles(Arc<Inner>);

struct Inner {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    server: String,
    closed: ArcSwap<BTreeMap<u64, LogFile>>,
    /// The open file as far as it is durable; only the writer sets it.
    open: ArcSwapOption<LogFile>,
    /// The bytes of the open file that are written.
    written: AtomicU64,
    /// Held while a file is deleted.
    deleted: Mutex<Deleted>,
    /// Held while a file is sealed, or records in it are blanked.
    contents: Mutex<()>,
    /// Called when a file is gone.
    freed: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

/// Up to where log files were deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Deleted {
    pub(crate) sequence: u64,
    pub(crate) position: u64,
}

impl LogFiles {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        directory: PathBuf,
        server: String,
        closed: Vec<LogFile>,
        deleted: Deleted,
    ) -> Self {
        let closed: BTreeMap<u64, LogFile> = closed.into_iter().map(|file| (file.sequence, file)).collect();
        Self(Arc::new(Inner {
            disk,
            directory,
            server,
            closed: ArcSwap::from_pointee(closed),
            open: ArcSwapOption::empty(),
            written: AtomicU64::new(0),
            deleted: Mutex::new(deleted),
            contents: Mutex::default(),
            freed: OnceLock::new(),
        }))
    }

    /// The id of the server.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.0.server
    }

    /// The closed files, by sequence. They are durable and never written again.
    #[must_use]
    pub fn closed(&self) -> Vec<LogFile> {
        self.0.closed.load().values().cloned().collect()
    }

    /// The closed files and the open one, by sequence. A file may be deleted before it is read.
    #[must_use]
    pub fn all(&self) -> Vec<LogFile> {
        // In this order a file that is being closed is in one of them at least.
        let (open, closed) = (self.0.open.load_full(), self.0.closed.load_full());
        let open = open.as_deref().filter(|open| !closed.contains_key(&open.sequence));
        closed.values().chain(open).cloned().collect()
    }

    /// Up to where the log is durable.
    #[must_use]
    pub fn end(&self) -> LogEnd {
        // In this order a file that is being deleted is among them, or its end is known.
        let last = self.all().into_iter().rfind(|file| file.events() > 0);
        let deleted = *self.0.deleted.lock().unwrap_or_else(PoisonError::into_inner);
        let (position, sequence) = last.map_or((0, 0), |file| (file.last, file.sequence));
        LogEnd { position: position.max(deleted.position), sequence: sequence.max(deleted.sequence) }
    }

    /// Bytes of all of them.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let written = self.0.written.load(Ordering::Relaxed);
        self.0.closed.load().values().map(|file| file.bytes).sum::<u64>() + written
    }

    /// When the oldest event in them was appended, in microseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn oldest(&self) -> Option<i64> {
        let open = self.0.open.load_full();
        let closed = self.0.closed.load();
        closed.values().next().or(open.as_deref()).map(|file| file.recorded_at)
    }

    /// Deletes a closed file; it is gone for good when this returns. Does nothing if it has been deleted.
    ///
    /// # Errors
    /// When the file is not closed, or the system refuses; the file is still listed then.
    pub fn delete(&self, file: &LogFile) -> Result<(), EventError> {
        let mut deleted = self.0.deleted.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.0.closed.load().contains_key(&file.sequence) {
            if file.sequence <= deleted.sequence {
                return Ok(());
            }
            return Err(EventError::NotClosed { path: file.path.clone() });
        }
        if file.sequence > deleted.sequence {
            let next = Deleted { sequence: file.sequence, position: deleted.position.max(file.last) };
            next.write(&*self.0.disk, &self.0.directory)?;
            *deleted = next;
        }
        fault::point("record.deleting");
        disk::remove_if_there(&*self.0.disk, &file.path).map_err(EventError::io(&file.path))?;
        self.0.disk.sync_names(&self.0.directory).map_err(EventError::io(&self.0.directory))?;
        self.change_closed(|closed| _ = closed.remove(&file.sequence));
        fault::point("record.deleted");
        self.take_room();
        drop(deleted);
        if let Some(freed) = self.0.freed.get() {
            freed();
        }
        Ok(())
    }

    /// Notes the last numbers that are synced, so that it is known if they are lost.
    pub(crate) fn note_durable(&self, reached: LogEnd) {
        // Without a note, less is known of what was lost, and nothing else is wrong.
        if let Err(error) = durable::note(&*self.0.disk, &self.0.directory, &self.0.server, reached) {
            tracing::debug!(%error, "how far the log is synced could not be noted");
        }
    }

    /// Takes the room for the next note, unless it is taken. On a full disk that is done later.
    pub(crate) fn take_room(&self) {
        if let Err(error) = Deleted::take_room(&*self.0.disk, &self.0.directory) {
            tracing::debug!(%error, "there is no room for the next note of deleted log files");
        }
    }

    /// Keeps the contents of closed files as they are until it is dropped.
    pub(crate) fn hold(&self) -> std::sync::MutexGuard<'_, ()> {
        self.0.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn disk(&self) -> &dyn Disk {
        &*self.0.disk
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.0.directory
    }

    /// Calls `freed` whenever a file is gone.
    pub(crate) fn when_freed(&self, freed: impl Fn() + Send + Sync + 'static) {
        // There is one writer, which sets it once.
        let _ = self.0.freed.set(Box::new(freed));
    }

    /// The open file as far as it is durable, and its bytes that are written.
    pub(crate) fn set_open(&self, open: Option<LogFile>, written: u64) {
        self.0.open.store(open.map(Arc::new));
        self.0.written.store(written, Ordering::Relaxed);
    }

    /// The open file is closed.
    pub(crate) fn close(&self, file: &LogFile) {
        self.change_closed(|closed| _ = closed.insert(file.sequence, file.clone()));
        self.set_open(None, 0);
    }

    /// Changes a copy, which then replaces the list. Does so again if another was faster.
    fn change_closed(&self, change: impl Fn(&mut BTreeMap<u64, LogFile>)) {
        self.0.closed.rcu(|closed| {
            let mut closed = BTreeMap::clone(closed);
            change(&mut closed);
            closed
        });
    }
}

impl fmt::Debug for LogFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogFiles").field("directory", &self.0.directory).finish_non_exhaustive()
    }
}

impl Deleted {
    /// The numbers that were given away.
    pub(crate) fn reached(self) -> LogEnd {
        LogEnd { sequence: self.sequence, position: self.position }
    }

    /// Reads it; nothing was deleted if it is not there.
    ///
    /// # Errors
    /// When it cannot be read or understood.
    pub(crate) fn read(disk: &dyn Disk, directory: &Path) -> Result<Self, EventError> {
        let path = directory.join(DELETED);
        let mut text = String::new();
        match disk.read(&path).and_then(|mut source| source.read_to_string(&mut text)) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) if error.kind() != ErrorKind::InvalidData => return Err(EventError::io(&path)(error)),
            Err(_) => text.clear(),
        }
        let number = |line: Option<&str>, key: &str| numbers::parse(line?.strip_prefix(key)?);
        let mut lines = text.lines();
        match (number(lines.next(), "sequence = "), number(lines.next(), "position = ")) {
            (Some(sequence), Some(position)) => Ok(Self { sequence, position }),
            _ => {
                let message =
                    "it must say `sequence = N` and `position = N` of the last log file that was sealed; \
                               the last sealed file has both"
                        .to_owned();
                Err(EventError::Damaged { path, message })
            }
        }
    }

    /// Writes it durably, into the room that was taken for it.
    pub(crate) fn write(self, disk: &dyn Disk, directory: &Path) -> Result<(), EventError> {
        let (path, next) = (directory.join(DELETED), directory.join(NEXT_DELETED));
        let mut text = format!("sequence = {}\nposition = {}\n", self.sequence, self.position).into_bytes();
        text.resize(NOTE_BYTES, b'\n');
        match disk.overwrite(&next, &text) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return disk::replace(disk, &path, &*text).map_err(EventError::io(&path));
            }
            Err(error) => return Err(EventError::io(&next)(error)),
        }
        fault::point("record.noting");
        disk.rename(&next, &path).map_err(EventError::io(&path))?;
        disk.sync_names(directory).map_err(EventError::io(directory))
    }

    fn take_room(disk: &dyn Disk, directory: &Path) -> io::Result<()> {
        let next = directory.join(NEXT_DELETED);
        if disk.list(directory)?.iter().any(|(name, _)| name == NEXT_DELETED) {
            return Ok(());
        }
        disk::replace(disk, &next, &[b'\n'; NOTE_BYTES][..]).inspect_err(|_| {
            // Half of it would take room from others. What stays is removed at the next start.
            let _ = disk::remove_if_there(disk, &next.with_added_extension("new"));
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::LocalDisk;

    fn closed(directory: &Path, sequence: u64) -> LogFile {
        let path = directory.join(name("s", sequence));
        std::fs::write(&path, "x").unwrap();
        let first = sequence * 10;
        LogFile { path, sequence, first, last: first + 9, bytes: 1, recorded_at: sequence as i64 }
    }

    fn files(directory: &Path, sequences: std::ops::RangeInclusive<u64>) -> LogFiles {
        let closed = sequences.map(|sequence| closed(directory, sequence)).collect();
        let disk = Arc::new(LocalDisk);
        LogFiles::new(disk, directory.to_owned(), "s".to_owned(), closed, Deleted::default())
    }

    #[test]
    fn names_hold_server_and_sequence() {
        assert_eq!(name("a-b", 7), "a-b-00000007.log");
        assert_eq!(parse_name("a-b-00000007.log"), Some(("a-b", 7)));
        assert_eq!(parse_name(&name("s", 123_456_789)), Some(("s", 123_456_789)));
        for other in [
            "a-7.log",
            "a-+0000007.log",
            "a-18446744073709551615.log",
            "a-00000007.log.damaged",
            "00000007.log",
            "deleted",
        ] {
            assert_eq!(parse_name(other), None, "{other}");
        }
    }

    #[test]
    fn a_deleted_file_is_gone_and_its_end_is_known() {
        let root = tempfile::tempdir().unwrap();
        let files = files(root.path(), 1..=3);
        let freed = Arc::new(Mutex::new(0));
        let counts = Arc::clone(&freed);
        files.when_freed(move || *counts.lock().unwrap() += 1);
        let all = files.closed();
        assert_eq!((files.bytes(), files.oldest()), (3, Some(1)));
        files.delete(&all[1]).unwrap();
        files.delete(&all[0]).unwrap();
        files.delete(&all[0]).unwrap();
        assert_eq!((files.closed(), files.oldest()), (vec![all[2].clone()], Some(3)));
        assert!(!all[0].path.exists() && all[2].path.exists());
        assert_eq!(*freed.lock().unwrap(), 2);
        let ended = Deleted::read(&LocalDisk, root.path()).unwrap();
        assert_eq!(ended, Deleted { sequence: 2, position: 29 });
        assert!(all[0].frames().unwrap().is_none());
    }

    #[test]
    fn the_open_file_is_not_deleted() {
        let root = tempfile::tempdir().unwrap();
        let files = files(root.path(), 1..=1);
        let open = closed(root.path(), 2);
        files.set_open(Some(open.clone()), 5);
        assert_eq!((files.all().len(), files.closed().len(), files.bytes()), (2, 1, 6));
        assert!(matches!(files.delete(&open), Err(EventError::NotClosed { .. })));
        assert!(open.path.exists());
        files.close(&open);
        assert_eq!((files.closed().len(), files.bytes()), (2, 2));
        files.delete(&open).unwrap();
    }

    #[test]
    fn a_damaged_note_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let too_great = b"sequence = 1\nposition = 18446744073709551615\n";
        for text in [&b""[..], b"sequence = 1\n", b"sequence = x\nposition = 1\n", b"\xff\xff", too_great] {
            std::fs::write(root.path().join(DELETED), text).unwrap();
            let error = Deleted::read(&LocalDisk, root.path()).unwrap_err();
            assert!(matches!(error, EventError::Damaged { .. }), "{error}");
        }
    }
}
