//! The checkpoint of a server, in its data directory.
//!
//! A server starts from it and the log behind it. Where it is missing, damaged, or does not cover what the store has,
//! the history is built from all events, and saved. While the server runs, [`SavedHistory::advance`] makes the next
//! checkpoint out of the last one and the log, without the history that serves. Only the log of this server is read
//! behind a checkpoint: where another server has sealed events since, the history is built anew.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use event::log::LogFiles;
use event::{DataFile, EventReader, OfServer, SealedError, Since};
use offer::Catalog;
use uuid::Uuid;

use super::covers::{Covers, Known};
use super::reach::Reaches;
use super::{KINDS, Recovered, Recovery, recover};
use crate::checkpoint::{self, Checkpoint, CheckpointError};
use crate::{History, Limits, RecentDecisions, TooManyNames};

/// The name of the file in a data directory.
const NAME: &str = "history.checkpoint";

/// Bytes that are read ahead.
const BUFFER_BYTES: usize = 256 << 10;

/// Events behind a checkpoint are looked for on days since so long before it: clocks are set back.
const SET_BACK: i64 = 86_400_000_000;

/// The checkpoint of a server.
#[derive(Debug)]
pub struct SavedHistory {
    file: DataFile,
    log: LogFiles,
    deduplicated: TimeDelta,
    /// What the file covers; `None` if there is none. Held while it is made anew.
    covers: Mutex<Option<Covers>>,
}

/// Why a checkpoint could not be made. The last one is as it was.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The last one cannot be read, or the next one not be written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The log behind the last one cannot be read.
    #[error(transparent)]
    Events(#[from] SealedError),
    /// The release has too many names.
    #[error(transparent)]
    Names(#[from] TooManyNames),
}

impl From<io::Error> for SaveError {
    fn from(error: io::Error) -> Self {
        Self::Checkpoint(error.into())
    }
}

/// How a history began.
#[derive(Debug)]
pub struct Started {
    /// The events that were read.
    pub recovered: Recovered,
    /// What it began with.
    pub from: RecoveredFrom,
    /// How far back it knows events.
    pub known: Known,
    /// Why a new checkpoint could not be written, if it should have been.
    pub not_saved: Option<SaveError>,
}

/// What a history began with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecoveredFrom {
    /// A checkpoint of this moment.
    Checkpoint(DateTime<Utc>),
    /// All events, since there was no checkpoint.
    Events,
    /// All events, since the checkpoint could not be used.
    EventsInstead {
        /// Why.
        reason: String,
    },
}

impl SavedHistory {
    /// That of a running server with this log. An outcome that comes again within `deduplicated` is a duplicate.
    #[must_use]
    pub fn new(directory: &Path, log: LogFiles, deduplicated: TimeDelta) -> Self {
        Self { file: DataFile::new(directory, NAME), log, deduplicated, covers: Mutex::default() }
    }

    /// Gives `history`, which is new, what was recorded before: out of the checkpoint and the log behind it, or else of
    /// all that `reader` has. Decisions that are read are added to `recent`. Nothing is recorded meanwhile.
    /// `has_erased` says why a checkpoint of a moment may have persons who were erased, if it may.
    ///
    /// # Errors
    /// When the store cannot be reached, or a file with events is damaged.
    pub fn start(
        &self,
        (history, recent): (&History, &RecentDecisions),
        reader: &EventReader,
        catalog: &Catalog,
        has_erased: impl FnOnce(DateTime<Utc>) -> Option<String>,
        now: DateTime<Utc>,
    ) -> Result<Started, SealedError> {
        let reaches = Reaches::of(catalog, self.deduplicated);
        let (server, end) = (self.log.server(), self.log.end());
        // Listed before anything is read: what is sealed since is missing at the next start.
        let mut others = reader.sealed_servers(None)?;
        let is_new = others.is_empty() && end.position == 0;
        others.remove(server);
        let usable = self.read().and_then(|read| {
            let Some((checkpoint, covers)) = read else { return Ok(None) };
            let problem = covers
                .problem(&checkpoint.history, (server, end), &others, (catalog, reaches), now)
                .or_else(|| has_erased(covers.moment()));
            problem.map_or(Ok(Some((checkpoint, covers))), Err)
        });
        let from = match usable {
            Ok(Some((checkpoint, covers))) => {
                history.become_as(checkpoint.history);
                let recovered = Self::read_behind(
                    (history, Some(recent)),
                    (reader, catalog),
                    &covers,
                    end.position,
                    now,
                )?;
                let (from, known) = (RecoveredFrom::Checkpoint(covers.moment()), covers.known);
                *self.covers() = Some(covers);
                return Ok(Started { recovered, from, known, not_saved: None });
            }
            Ok(None) => RecoveredFrom::Events,
            Err(reason) => {
                // By the next start the log may have grown beyond what it covers.
                let _ = self.file.remove();
                RecoveredFrom::EventsInstead { reason }
            }
        };
        let recovered = recover((history, recent), reader, catalog, self.deduplicated, now)?;
        // A data directory has no other id.
        let id = Uuid::try_parse(server).unwrap_or_default();
        let known = if is_new { Known::everything(id) } else { Known::of(reaches, (id, end.position), now) };
        let covers = Covers { at: now.timestamp_micros(), known, server: server.to_owned(), end, others };
        let not_saved = self.save(history, covers).err();
        Ok(Started { recovered, from, known, not_saved })
    }

    /// Makes the next checkpoint out of the last one and what this server has recorded since, if there is anything. It
    /// leaves out what is older than `keep` and all that limits of `catalog` look at. Returns whether there is a new
    /// one.
    ///
    /// # Errors
    /// When the last one or the log cannot be read, or the file not be written.
    pub fn advance(
        &self,
        reader: &EventReader,
        catalog: &Catalog,
        keep: TimeDelta,
        now: DateTime<Utc>,
    ) -> Result<bool, SaveError> {
        let mut covers = self.covers();
        let Some(last) = &*covers else { return Ok(false) };
        let end = self.log.end();
        if end.position <= last.end.position {
            return Ok(false);
        }
        let next = Covers { at: now.timestamp_micros(), end, ..last.clone() };
        let old = self.open()?;
        self.file.replace(|out| {
            let times = (now, keep, self.deduplicated);
            checkpoint::advance(
                old,
                out,
                times,
                |_| false,
                |history, position| {
                    if Covers::read(position).as_ref() != Some(last) {
                        return Err(SaveError::Checkpoint(CheckpointError::Foreign));
                    }
                    Self::read_behind((history, None), (reader, catalog), last, end.position, now)?;
                    Ok(next.written())
                },
            )
        })?;
        *covers = Some(next);
        Ok(true)
    }

    /// Takes the customers that `is_meant` out of the checkpoint; none is left of them when this returns. Where it
    /// cannot be made anew, it is removed.
    ///
    /// # Errors
    /// When it can neither be made anew nor be removed.
    pub fn forget(&self, is_meant: impl Fn(&str) -> bool) -> io::Result<()> {
        let mut covers = self.covers();
        if !forget(&self.file, is_meant)? {
            *covers = None;
        }
        Ok(())
    }

    /// It is not made anew any more: another process may have the data directory from now on.
    pub fn end(&self) {
        self.file.end();
    }

    /// Saves a history to which nothing happens meanwhile.
    fn save(&self, history: &History, covers: Covers) -> Result<(), SaveError> {
        let mut saved = self.covers();
        self.file.replace(|out| Ok::<_, SaveError>(checkpoint::write(history, &covers.written(), out)?))?;
        *saved = Some(covers);
        Ok(())
    }

    /// The checkpoint and what it covers; `None` if there is none.
    fn read(&self) -> Result<Option<(Checkpoint, Covers)>, String> {
        let read = || -> Result<_, CheckpointError> {
            self.file.tidy()?;
            let Some(file) = self.file.open()? else { return Ok(None) };
            let file = BufReader::with_capacity(BUFFER_BYTES, file);
            let checkpoint = checkpoint::read(file, self.deduplicated)?;
            let covers = Covers::read(&checkpoint.position).ok_or(CheckpointError::Foreign)?;
            Ok(Some((checkpoint, covers)))
        };
        read().map_err(|error| error.to_string())
    }

    fn open(&self) -> Result<BufReader<File>, SaveError> {
        let missing = || CheckpointError::Io(io::Error::from(io::ErrorKind::NotFound));
        Ok(BufReader::with_capacity(BUFFER_BYTES, self.file.open()?.ok_or_else(missing)?))
    }

    /// Counts what this server has recorded behind a checkpoint, up to a position.
    fn read_behind(
        (history, recent): (&History, Option<&RecentDecisions>),
        (reader, catalog): (&EventReader, &Catalog),
        covers: &Covers,
        until: u64,
        now: DateTime<Utc>,
    ) -> Result<Recovered, SealedError> {
        let Covers { at, server, end, .. } = covers;
        // Budgets that are paced go on as they did.
        let limits = Limits::new(history, catalog, covers.moment().min(now));
        let since = Since {
            time: Some(at.saturating_sub(SET_BACK)),
            positions: BTreeMap::from([(server.clone(), end.position)]),
            server: Some(OfServer { id: server.clone(), sequence: end.sequence }),
            kinds: Some(KINDS),
        };
        let mut recovery = Recovery::new(history, catalog, now);
        recovery.read_behind(reader, &since, until, &mut |id, known| {
            if let Some(recent) = recent {
                recent.remember_known(id, known);
            }
        })?;
        drop(limits);
        Ok(recovery.recovered)
    }

    fn covers(&self) -> MutexGuard<'_, Option<Covers>> {
        self.covers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As [`SavedHistory::forget`], in the data directory of a server that does not run.
///
/// # Errors
/// As [`SavedHistory::forget`].
pub fn forget_left_behind(directory: &Path, is_meant: impl Fn(&str) -> bool) -> io::Result<()> {
    forget(&DataFile::new(directory, NAME), is_meant).map(drop)
}

/// Takes customers out of a checkpoint. Returns whether there is one then.
fn forget(file: &DataFile, is_meant: impl Fn(&str) -> bool) -> io::Result<bool> {
    file.tidy()?;
    let Some(old) = file.open()? else { return Ok(false) };
    let old = BufReader::with_capacity(BUFFER_BYTES, old);
    let rewritten = file.replace(|out| checkpoint::without(old, out, is_meant).map_err(SaveError::from));
    if rewritten.is_err() {
        file.remove()?;
    }
    Ok(rewritten.is_ok())
}
