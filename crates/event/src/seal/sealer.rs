//! The thread that seals the log files of a running server, on idle priority.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use chrono::Utc;
use document::settings::shown;
use objects::ObjectsError;
use telemetry::Metrics;
use work::catch_panic;
use work::priority::set_idle_priority;

use super::{Sealed, seal_and_delete};
use crate::kind::Kind;
use crate::log::{LogFile, LogFiles};
use crate::retention::{Expired, Keep, delete_expired, first_kept};
use crate::sealed::{EventStore, SealedError};

/// How often closed files are looked for, and when failures are tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealerConfig {
    /// How often closed files are looked for.
    pub poll: Duration,
    /// The pause after a first failure. It doubles with each failure …
    pub first_pause: Duration,
    /// … up to this.
    pub last_pause: Duration,
    /// How long sealed files are kept. Any server deletes those of all servers.
    pub keep: Keep,
}

/// How often sealed files that are too old are looked for.
const EXPIRING: Duration = Duration::from_hours(1);

impl Default for SealerConfig {
    fn default() -> Self {
        Self {
            poll: Duration::from_secs(1),
            first_pause: Duration::from_secs(1),
            last_pause: Duration::from_mins(2),
            keep: Keep::default(),
        }
    }
}

/// The sealing thread of a server. It may be killed at any time: what was begun is repeated.
#[derive(Debug)]
pub struct Sealer {
    stopping: Arc<AtomicBool>,
    /// Dropping it wakes the thread.
    bell: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
    /// Hears when the thread has ended.
    ended: Receiver<()>,
}

impl Sealer {
    /// Starts the thread, which seals and deletes closed files one after another.
    ///
    /// # Errors
    /// When the operating system refuses the thread.
    pub fn start(
        logs: LogFiles,
        store: EventStore,
        metrics: Arc<Metrics>,
        config: SealerConfig,
    ) -> io::Result<Self> {
        let stopping = Arc::new(AtomicBool::new(false));
        let (bell, rung) = channel();
        let (end, ended) = channel();
        let mut round = Round::new(logs, store, metrics, config);
        let is_stopping = Arc::clone(&stopping);
        let thread = Builder::new().name("seal".to_owned()).spawn(move || {
            // Dropped at the end, also that of a panic.
            let _end = end;
            set_idle_priority();
            let stopping = || is_stopping.load(Ordering::Relaxed);
            let mut expired: Option<Instant> = None;
            while !stopping() {
                round.run(Instant::now(), &stopping);
                if expired.is_none_or(|last| last.elapsed() >= EXPIRING) {
                    expired = Some(Instant::now());
                    round.expire(Utc::now().timestamp_micros());
                }
                if !pause(&rung, config.poll) {
                    break;
                }
            }
        })?;
        Ok(Self { stopping, bell: Some(bell), thread: Some(thread), ended })
    }

    /// Stops after the file that is being sealed, and waits for that.
    pub fn stop(self) {
        self.stop_within(Duration::MAX);
    }

    /// As [`stop`](Self::stop), but waits for at most `within`: a store that does not answer may keep a file for
    /// minutes. What was begun is repeated when the server starts again.
    pub fn stop_within(mut self, within: Duration) {
        self.signal();
        if self.ended.recv_timeout(within) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!(after = ?within, "a log file is still being sealed; leaving without it");
            return;
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the sealing thread had panicked");
        }
    }

    fn signal(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.bell = None;
    }
}

impl Drop for Sealer {
    /// Does not wait.
    fn drop(&mut self) {
        self.signal();
    }
}

/// Waits; `false` if there is no reason to go on.
fn pause(rung: &Receiver<()>, time: Duration) -> bool {
    !matches!(rung.recv_timeout(time), Err(RecvTimeoutError::Disconnected))
}

/// What the thread does again and again.
pub(super) struct Round {
    logs: LogFiles,
    store: EventStore,
    metrics: Arc<Metrics>,
    config: SealerConfig,
    /// After a failure of the store, no file is tried for a while.
    store_pause: Option<Pause>,
    /// Files that failed, by sequence. The others go on.
    pauses: BTreeMap<u64, Pause>,
}

#[derive(Debug, Clone, Copy)]
struct Pause {
    until: Instant,
    time: Duration,
}

impl Round {
    pub(super) fn new(
        logs: LogFiles,
        store: EventStore,
        metrics: Arc<Metrics>,
        config: SealerConfig,
    ) -> Self {
        Self { logs, store, metrics, config, store_pause: None, pauses: BTreeMap::new() }
    }

    /// Seals the closed files that are not to wait at `now`. Returns how many it has sealed.
    pub(super) fn run(&mut self, now: Instant, stopping: &dyn Fn() -> bool) -> usize {
        if self.store_pause.is_some_and(|pause| now < pause.until) {
            return 0;
        }
        let closed = self.logs.closed();
        self.pauses.retain(|sequence, _| closed.iter().any(|log| log.sequence == *sequence));
        let mut sealed = 0;
        for log in closed {
            let pause = self.pauses.get(&log.sequence).copied();
            if pause.is_some_and(|pause| now < pause.until) {
                continue;
            }
            if stopping() {
                break;
            }
            match self.seal(&log) {
                Ok(done) => {
                    sealed += 1;
                    self.store_pause = None;
                    let new = done.files.iter().filter(|file| file.is_new).map(|file| file.events).sum();
                    self.metrics.events.sealed.inc_by(new);
                    tracing::debug!(log = %log.path.display(), events = done.events(), "a log file was sealed");
                }
                Err(error) => {
                    self.metrics.events.sealing_failures.inc();
                    if is_of_store(&error) {
                        let pause = self.longer(self.store_pause, now);
                        self.store_pause = Some(pause);
                        tracing::warn!(
                            log = %log.path.display(), %error, retry_in = ?pause.time,
                            "log files cannot be sealed for now"
                        );
                        break;
                    }
                    let pause = self.longer(pause, now);
                    self.pauses.insert(log.sequence, pause);
                    tracing::error!(
                        log = %log.path.display(), %error, retry_in = ?pause.time, "a log file could not be sealed"
                    );
                }
            }
        }
        sealed
    }

    /// Deletes sealed files that are too old at `now`, in microseconds since 1970.
    pub(super) fn expire(&self, now: i64) {
        for kind in Kind::ALL {
            let Some(keep) = self.config.keep.of(kind) else { continue };
            let deleted = &mut |file: &Expired| {
                tracing::info!(file = %file.key, keep = shown(keep), "a sealed file was deleted, since it is older than it is kept");
            };
            if let Err(error) = delete_expired(&self.store, kind, first_kept(now, keep), deleted) {
                tracing::warn!(%error, "sealed files that are too old cannot be deleted for now");
            }
        }
    }

    fn seal(&self, log: &LogFile) -> Result<Sealed, SealedError> {
        catch_panic(|| seal_and_delete(log, &self.logs, &self.store)).unwrap_or_else(|panicked| {
            Err(SealedError::damaged(&log.path.display().to_string(), panicked.to_string()))
        })
    }

    /// A pause after another failure.
    fn longer(&self, before: Option<Pause>, now: Instant) -> Pause {
        let SealerConfig { first_pause, last_pause, .. } = self.config;
        let time = before.map_or(first_pause, |pause| (pause.time * 2).min(last_pause));
        Pause { until: now + time, time }
    }
}

/// Whether an error keeps all files from the store, and not one.
fn is_of_store(error: &SealedError) -> bool {
    matches!(error, SealedError::Objects(error) if !matches!(error, ObjectsError::Damaged { .. }))
}
