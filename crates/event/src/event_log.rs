//! The event log of a running server: its data directory, its queue, its writer's thread.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::Builder;
use std::time::Duration;

use telemetry::Metrics;
use work::catch_panic;

use crate::clock::{Clock, SystemClock};
use crate::config::EventConfig;
use crate::directory::DataDirectory;
use crate::disk::{Disk, LocalDisk};
use crate::error::EventError;
use crate::keys::KeyName;
use crate::log::{Limits, Log, LogEnd, LogFile, LogFiles, Recovery, Start};
use crate::queue::Shared;
use crate::recorder::Recorder;
use crate::sealed::EventStore;
use crate::writer::Writer;

/// How much longer [`EventLog::close`] waits for the disk than it was told.
const GRACE: Duration = Duration::from_millis(500);

/// The event log of a server. Dropping it without [`EventLog::close`] closes it in the background.
#[derive(Debug)]
pub struct EventLog {
    shared: Arc<Shared>,
    files: LogFiles,
    clock: Arc<dyn Clock>,
    /// Hears when the writer's thread has ended.
    ended: Receiver<()>,
}

/// What a server knows besides its configuration when it opens its log.
#[derive(Debug, Default)]
pub struct LogOptions<'a> {
    /// The keys that it has for pseudonyms. The log says which they were.
    pub keys: Vec<KeyName>,
    /// The store that its log is sealed into. Positions that are there are not used again, should the log be lost.
    pub store: Option<&'a EventStore>,
}

/// How a log was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    /// Events that were queued and are not in the log.
    pub lost: u64,
}

impl EventLog {
    /// Takes the data directory, recovers the log, and starts the writer. `version` is that of the server.
    ///
    /// # Errors
    /// When another server has the directory, or it cannot be read or repaired.
    pub fn start(
        config: &EventConfig,
        version: &str,
        metrics: &Arc<Metrics>,
    ) -> Result<(Self, Recovery), EventError> {
        Self::start_with(config, version, metrics, LogOptions::default())
    }

    /// As [`start`](Self::start), with what else the server knows.
    ///
    /// # Errors
    /// As [`start`](Self::start). When the log is gone, and the store cannot be asked how far it was.
    pub fn start_with(
        config: &EventConfig,
        version: &str,
        metrics: &Arc<Metrics>,
        options: LogOptions<'_>,
    ) -> Result<(Self, Recovery), EventError> {
        let directory = DataDirectory::open(&config.directory)?;
        let LogOptions { keys, store } = options;
        let start = Start { sealed: sealed(&directory, &config.directory, store)?, keys };
        let (log, server) = (directory.log(), directory.server().to_owned());
        let place = Place { disk: Arc::new(LocalDisk), log, server, start, directory: Some(directory) };
        Self::start_in(place, config, version, metrics, Arc::new(SystemClock))
    }

    fn start_in(
        place: Place,
        config: &EventConfig,
        version: &str,
        metrics: &Arc<Metrics>,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, Recovery), EventError> {
        let Place { disk, log: path, server, start, directory } = place;
        let limits = Limits::of(config);
        let (log, recovery) = Log::open(disk, path.clone(), &server, version, limits, start)?;
        let files = log.files().clone();
        files.take_room();
        let (shared, queue) = Shared::new(config, Arc::clone(metrics));
        let next = (log, recovery.next_position);
        let mut writer = Writer::new(config, Arc::clone(&shared), queue, next, Arc::clone(&clock), version);
        let (tell, ended) = channel();
        let serve = move || {
            if let Err(error) = catch_panic(|| writer.run()) {
                tracing::error!(%error, "the event log has ended");
            }
            drop(writer);
            // Only now may another process have it.
            drop(directory);
            // Fails only if the log was dropped.
            let _ = tell.send(());
        };
        Builder::new().name("record".to_owned()).spawn(serve).map_err(EventError::io(&path))?;
        sample(metrics, &shared, &files, &clock);
        Ok((Self { shared, files, clock, ended }, recovery))
    }

    /// A handle for calls.
    #[must_use]
    pub fn recorder(&self) -> Recorder {
        Recorder::new(Arc::clone(&self.shared))
    }

    /// The id of the server.
    #[must_use]
    pub fn server(&self) -> &str {
        self.files.server()
    }

    /// A handle to the log files, for sealing and for readers.
    #[must_use]
    pub fn log_files(&self) -> LogFiles {
        self.files.clone()
    }

    /// The closed log files, by sequence.
    #[must_use]
    pub fn closed_files(&self) -> Vec<LogFile> {
        self.files.closed()
    }

    /// All log files, by sequence; the open one as far as it is durable.
    #[must_use]
    pub fn files(&self) -> Vec<LogFile> {
        self.files.all()
    }

    /// Deletes a closed log file, durably.
    ///
    /// # Errors
    /// As [`LogFiles::delete`].
    pub fn delete(&self, file: &LogFile) -> Result<(), EventError> {
        self.files.delete(file)
    }

    /// Writes what is queued, and closes the log. Nothing is taken from now on. Blocks, for `within` and as long as
    /// the disk needs for its last sync, but not much longer.
    #[must_use]
    pub fn close(self, within: Duration) -> Closed {
        let lost = || self.shared.metrics.events.lost.get();
        let before = lost();
        self.ask_to_close(within);
        if self.ended.recv_timeout(within + GRACE).is_ok() {
            return Closed { lost: lost() - before };
        }
        // The disk hangs. What it has not confirmed is not durable.
        self.shared.progress.close();
        Closed { lost: self.shared.waiting() }
    }

    fn ask_to_close(&self, within: Duration) {
        let _ = self.shared.closing.set(self.clock.now() + within);
        self.shared.room.close();
        self.shared.bell.ring();
    }
}

impl Drop for EventLog {
    fn drop(&mut self) {
        self.ask_to_close(GRACE);
    }
}

/// Where a log is.
struct Place {
    disk: Arc<dyn Disk>,
    log: PathBuf,
    server: String,
    start: Start,
    /// What is to be held as long as the log is written.
    directory: Option<DataDirectory>,
}

/// Up to where the store has events of the server.
fn sealed(directory: &DataDirectory, root: &Path, store: Option<&EventStore>) -> Result<LogEnd, EventError> {
    let Some(store) = store.filter(|_| !directory.is_new()) else { return Ok(LogEnd::default()) };
    let has_numbers = directory.has_numbers();
    let server = directory.server();
    match if has_numbers { store.sealed_up_to(server) } else { store.find_sealed_end(server) } {
        Ok(reached) => Ok(reached),
        Err(error) if has_numbers => {
            tracing::warn!(%error, "the store could not be asked how far this server's log is sealed");
            Ok(LogEnd::default())
        }
        Err(error) => {
            Err(EventError::NumbersUnknown { directory: root.to_owned(), message: error.to_string() })
        }
    }
}

/// Has the gauges set whenever metrics are read.
fn sample(metrics: &Metrics, shared: &Arc<Shared>, files: &LogFiles, clock: &Arc<dyn Clock>) {
    let (shared, files, clock) = (Arc::downgrade(shared), files.clone(), Arc::clone(clock));
    metrics.sample(move |metrics| {
        let events = &metrics.events;
        if let Some(shared) = shared.upgrade() {
            events.queue_bytes.set(shared.reserved() as i64);
            events.queue_length.set(shared.waiting() as i64);
        }
        events.log_bytes.set(files.bytes() as i64);
        let age = files.oldest().map_or(0, |since| clock.wall().saturating_sub(since).max(0));
        events.oldest_unsealed.set(age as f64 / 1e6);
    });
}

#[cfg(test)]
mod tests;
