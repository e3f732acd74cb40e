//! Sealing: a closed log file becomes Parquet in the store, one file per kind and date, and is deleted then.
//!
//! A file appears whole under a name that was free. Where the name is taken, the file that has it must hold the same
//! events: then this log was sealed before, and the sealing process was killed before the log was deleted. So
//! sealing can be repeated at any step, by any number of processes, and nothing is lost or doubled. Start reading at
//! [`seal`].

mod index;
mod sealer;
#[cfg(test)]
mod tests;

use std::io::ErrorKind;

use work::fault::Steps;
use work::priority::yield_if_due;

pub(crate) use self::index::{Item, LogIndex, OpenLog, Window};
pub use self::sealer::{Sealer, SealerConfig};
use crate::log::{LogFile, LogFiles, TakenOver};
use crate::sealed::{Content, EventStore, OfLog, Placed, SealedError, SealedFile, SealedKey, SealedWriter};

/// The steps of sealing at which a test kills this process or holds it up, in the order in which they are reached:
///
/// | step | state |
/// |---|---|
/// | `seal.staged` | a sealed file is whole and synced in the staging directory |
/// | `seal.placed` | it has its name in the store, and the log is still there |
/// | `seal.deleted` | the log is gone |
const STEPS: Steps = Steps::new(&["seal.staged", "seal.placed", "seal.deleted"]);

/// What a log file has become.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sealed {
    /// The files that hold its events, by kind and date.
    pub files: Vec<SealedPart>,
}

/// A sealed file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedPart {
    /// Its name.
    pub key: SealedKey,
    /// How many events it holds.
    pub events: u64,
    /// Whether this has placed it; else it was there.
    pub is_new: bool,
}

impl Sealed {
    /// How many events were sealed, now or before.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.files.iter().map(|file| file.events).sum()
    }
}

/// Seals a closed log file of a server, and leaves it where it is. If it was sealed and deleted already, there is
/// nothing to do.
///
/// # Errors
/// When the log cannot be read to its end or has what this version does not know, the store cannot be reached, or it
/// has a file of that name with other events. Files that were placed before that stay.
pub fn seal(server: &str, log: &LogFile, store: &EventStore) -> Result<Sealed, SealedError> {
    let Some(opened) = OpenLog::open(server, log)? else { return Ok(Sealed::default()) };
    let index = opened.index()?;
    let of_log = OfLog {
        server: server.to_owned(),
        sequence: log.sequence,
        first_position: log.first,
        last_position: log.last,
        dates: index.dates(),
        keys: index.keys().to_vec(),
    };
    let mut sealed = Sealed::default();
    for day in index.days() {
        let (kind, date) = (day.kind, day.date);
        let key = SealedKey { kind, date, server: server.to_owned(), sequence: log.sequence };
        let expected = LogIndex::content(day.items);
        let is_new = if is_sealed(&index, &key, expected, store)? {
            false
        } else {
            place(&index, day.items, &key, expected, of_log.clone(), store)?
        };
        sealed.files.push(SealedPart { key, events: expected.events, is_new });
    }
    Ok(sealed)
}

/// Seals a closed log file, and deletes it then.
///
/// # Errors
/// As [`seal`]; the log is still there. When it is listed and its file is not there.
pub fn seal_and_delete(log: &LogFile, logs: &LogFiles, store: &EventStore) -> Result<Sealed, SealedError> {
    // What is sealed must not be blanked meanwhile: the sealed file would have what the log has not.
    let _held = logs.hold();
    let sealed = seal(logs.server(), log, store)?;
    if sealed.files.is_empty() && logs.closed().contains(log) {
        // This server has not deleted it: the disk is away, and the file may come back with it.
        return Err(SealedError::io(&log.path)(ErrorKind::NotFound.into()));
    }
    if !sealed.files.is_empty() {
        // While the log is there, this is repeated.
        store.note_sealed(logs.server(), log)?;
    }
    logs.delete(log)?;
    STEPS.point("seal.deleted");
    Ok(sealed)
}

/// What became of the logs of a dead server.
#[derive(Debug)]
pub struct SealedDirectory {
    /// What each log has become.
    pub logs: Vec<(LogFile, Sealed)>,
    /// The logs that could not be sealed, and are still there.
    pub failures: Vec<(LogFile, SealedError)>,
}

/// Seals and deletes all logs of a dead server.
#[must_use]
pub fn seal_all(taken: &TakenOver, store: &EventStore) -> SealedDirectory {
    let files = taken.files();
    let (mut logs, mut failures) = (Vec::new(), Vec::new());
    for log in files.closed() {
        match seal_and_delete(&log, files, store) {
            Ok(sealed) => logs.push((log, sealed)),
            Err(error) => failures.push((log, error)),
        }
    }
    SealedDirectory { logs, failures }
}

/// Whether a file has been sealed already, with the same events.
fn is_sealed(
    index: &LogIndex<'_>,
    key: &SealedKey,
    expected: Content,
    store: &EventStore,
) -> Result<bool, SealedError> {
    let Some(local) = store.local(key)? else { return Ok(false) };
    let file = SealedFile::open(local)?;
    match file.description() {
        Some(description) if description.content == expected && file.rows() == expected.events => Ok(true),
        found => Err(SealedError::Differs {
            log: index.shown().to_owned(),
            sealed: file.shown().to_owned(),
            expected,
            found: found.map_or(Content { events: file.rows(), checksum: 0 }, |found| found.content),
        }),
    }
}

/// Makes a sealed file and gives it its name. `false`: another process has done so in the meantime.
fn place(
    index: &LogIndex<'_>,
    items: &[Item],
    key: &SealedKey,
    expected: Content,
    log: OfLog,
    store: &EventStore,
) -> Result<bool, SealedError> {
    let staged = store.stage()?;
    let made = staged.path().join("events.parquet");
    let mut writer = SealedWriter::create(&made, key.kind, true)?;
    let mut window = Window::default();
    for item in items {
        let (entry, checksum) = index.whole_entry(*item, &mut window)?;
        writer.push(entry, checksum)?;
        yield_if_due();
    }
    writer.finish(Some(log))?;
    STEPS.point("seal.staged");
    loop {
        if store.place(key, &made)? == Placed::New {
            STEPS.point("seal.placed");
            return Ok(true);
        }
        // If it is not there any more, its name is free again.
        if is_sealed(index, key, expected, store)? {
            return Ok(false);
        }
    }
}
