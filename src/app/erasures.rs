//! What a running server does so that persons can be erased: it says that it is there, and obeys what the store asks.
//!
//! Two threads: heartbeats must not wait while log files are written anew, which has idle priority.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::AppError;
use super::memory::Memory;
use super::neighbours::Neighbours;
use super::repeating::Repeating;
use super::shadows::Shadows;
use event::erasure::{
    BEAT_EVERY, Erased, ErasureError, ErasureStore, Heartbeat, Heartbeats, LiveLog, Marker, ServerErasures,
    ServerLog,
};
use event::log::LogFiles;
use event::privacy::Pseudonyms;
use event::{EventLog, NotRecorded};
use history::SavedHistory;
use release::Deployer;
use work::priority::set_idle_priority;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The erasures of the store that a server follows.
#[derive(Debug)]
pub(super) struct Erasures {
    missed: Missed,
    beating: Arc<Mutex<Beating>>,
    log: LiveLog,
    obeying: Option<Obeying>,
    threads: Vec<Repeating>,
}

impl Erasures {
    /// Says that the server is there, and goes on with that. Then blanks what was erased since it was there last, and
    /// takes it out of what is `saved` of the history.
    ///
    /// A store that cannot be written to keeps no server from serving: it is tried again.
    ///
    /// # Errors
    /// When the location is no store, or the operating system refuses a thread.
    pub(super) fn start(
        location: &str,
        log: &EventLog,
        saved: &Arc<SavedHistory>,
        pseudonyms: Pseudonyms,
    ) -> Result<Self, AppError> {
        let store = ErasureStore::open(location, std::env::vars())?;
        let live = LiveLog::of(log);
        let heartbeats = Heartbeats::new(store.clone());
        let mut beating = Beating { heartbeats, log: live.clone(), trouble: String::new(), neighbours: None };
        beating.beat();
        let beating = Arc::new(Mutex::new(beating));
        let beats = Arc::clone(&beating);
        let beat = move || beats.lock().unwrap_or_else(PoisonError::into_inner).beat();
        let heartbeat = Repeating::start("heartbeat", BEAT_EVERY, || {}, beat)?;
        let missed = Missed {
            erasures: event::erasure::Erasures::new(store.clone()),
            server: live.log_files().server().to_owned(),
        };
        let server = ServerErasures::new(store, pseudonyms, VERSION);
        // Nothing is in memory yet.
        let log = Remembered { log: live.clone(), saved: Arc::clone(saved), memory: None };
        let mut obeying = Obeying { server, log, trouble: String::new() };
        obeying.obey(&mut |_| Ok(()));
        Ok(Self { missed, beating, log: live, obeying: Some(obeying), threads: vec![heartbeat] })
    }

    /// Looks for erasures every `poll`, and for other servers. The customers in memory are those of `deployer`, which
    /// serves by now, what `memory` has, and what waits for `shadows`.
    ///
    /// # Errors
    /// When the operating system refuses a thread.
    pub(super) fn follow(
        &mut self,
        deployer: &Deployer,
        memory: &Arc<Memory>,
        shadows: &Arc<Shadows>,
        neighbours: Neighbours,
        poll: Duration,
    ) -> Result<(), AppError> {
        let Some(mut obeying) = self.obeying.take() else { return Ok(()) };
        {
            let mut beating = self.beating.lock().unwrap_or_else(PoisonError::into_inner);
            beating.neighbours = Some(neighbours);
            beating.look_around();
        }
        obeying.log.memory = Some(Arc::clone(memory));
        let (deployer, shadows) = (deployer.clone(), Arc::downgrade(shadows));
        let mut forget = move |_: &Erased| {
            deployer.renew_customers().map_err(|error| error.to_string())?;
            // Before the log is closed, so that what was compared of them is blanked with it.
            shadows.upgrade().map_or(Ok(()), |shadows| shadows.forget())
        };
        let obey = move || obeying.obey(&mut forget);
        self.threads.push(Repeating::start("erase", poll, set_idle_priority, obey)?);
        Ok(())
    }

    /// Those that are complete without this server.
    pub(super) fn missed(&self) -> Missed {
        self.missed.clone()
    }

    /// Ends both threads, and waits for them up to `within`. Returns what has the last word once the log is closed.
    ///
    /// One that is still busy then can do no harm: it reads customers or waits for the store, and a log that is closed
    /// is not blanked.
    pub(super) fn stop(self, within: Duration) -> Leaving {
        let Self { beating, log, threads, .. } = self;
        log.end();
        let end = Instant::now() + within;
        let ended: Vec<Receiver<()>> = threads.into_iter().map(Repeating::stop).collect();
        for ended in ended {
            let left = end.saturating_duration_since(Instant::now());
            if ended.recv_timeout(left) == Err(RecvTimeoutError::Timeout) {
                tracing::warn!("leaving while a person is being erased; it is tried again at the next start");
            }
        }
        Leaving(beating)
    }
}

/// The erasures of the store that are complete without a server, which did not run.
#[derive(Debug, Clone)]
pub(super) struct Missed {
    erasures: event::erasure::Erasures,
    server: String,
}

impl Missed {
    /// Why what this server has saved at a moment may have persons who were erased, if it may.
    pub(super) fn missed_since(&self, since: DateTime<Utc>) -> Option<String> {
        match self.erasures.missed_by(&self.server, since) {
            Ok(false) => None,
            Ok(true) => Some("persons were erased while this server did not run".to_owned()),
            Err(error) => Some(format!("whether persons were erased since is not known: {error}")),
        }
    }

    /// The erasures that are not complete: what is sealed may still have these persons. Those whose marker cannot be
    /// understood are logged: no server can obey them.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub(super) fn open(&self) -> Result<Vec<Marker>, ErasureError> {
        let (markers, refused) = self.erasures.open_readable()?;
        for error in refused {
            tracing::warn!(
                %error,
                "whom an erasure is about is not known, and what is read may have them; erase them again"
            );
        }
        Ok(markers)
    }
}

/// A server whose log is closed.
pub(super) struct Leaving(Arc<Mutex<Beating>>);

impl Leaving {
    /// Says that the server has ended, and what it leaves behind. One that leaves nothing is not waited for.
    pub(super) fn leave(self) {
        let beating = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Beating { heartbeats, log, .. } = &*beating;
        let files = log.log_files();
        let left = if files.all().is_empty() {
            heartbeats.remove(files.server())
        } else {
            heartbeats.beat(&heartbeat(log).and_ends())
        };
        if let Err(error) = left {
            tracing::warn!(%error, "the store could not be told that this server ends");
        }
    }
}

/// Says that the server is there, and looks whether others are.
#[derive(Debug)]
struct Beating {
    heartbeats: Heartbeats,
    log: LiveLog,
    /// What went wrong last time; told once.
    trouble: String,
    /// `None` until the server serves.
    neighbours: Option<Neighbours>,
}

impl Beating {
    fn beat(&mut self) {
        let done = self.heartbeats.beat(&heartbeat(&self.log));
        let trouble = done.err().map(|error| error.to_string()).unwrap_or_default();
        if !trouble.is_empty() && trouble != self.trouble {
            tracing::warn!(
                error = trouble,
                "the store could not be told that this server is there; `proffer privacy erase` does not wait for it"
            );
        }
        self.trouble = trouble;
        self.look_around();
    }

    fn look_around(&mut self) {
        if let Some(neighbours) = &mut self.neighbours {
            neighbours.look(&self.heartbeats, self.log.log_files().server());
        }
    }
}

fn heartbeat(log: &LiveLog) -> Heartbeat {
    let files = log.log_files();
    Heartbeat::new(files.server(), VERSION, Utc::now(), files.all().len() as u64)
}

/// The log of a server with what was worked out of it.
#[derive(Debug)]
struct Remembered {
    log: LiveLog,
    saved: Arc<SavedHistory>,
    /// `None` until the server serves.
    memory: Option<Arc<Memory>>,
}

impl ServerLog for Remembered {
    fn close_file(&self) -> Result<(), NotRecorded> {
        self.log.close_file()
    }

    fn log_files(&self) -> LogFiles {
        self.log.log_files()
    }

    fn is_ending(&self) -> bool {
        self.log.is_ending()
    }

    fn forget_events(&self, erased: &Erased) -> Result<(), String> {
        if let Some(memory) = &self.memory {
            memory.forget(erased)?;
        }
        self.saved.forget(|name| erased.has_name(name)).map_err(|error| error.to_string())
    }
}

/// Obeys erasures.
#[derive(Debug)]
struct Obeying {
    server: ServerErasures,
    log: Remembered,
    /// What went wrong last time; told once.
    trouble: String,
}

impl Obeying {
    fn obey(&mut self, forget: &mut dyn FnMut(&Erased) -> Result<(), String>) {
        let trouble = match self.server.poll(&self.log, forget, Utc::now()) {
            Ok(polled) => {
                for (erasure, done) in polled.acknowledged {
                    tracing::info!(erasure, records = done.records, "a person was erased from the log");
                }
                let refused: Vec<String> = polled.refused.iter().map(ErasureError::to_string).collect();
                let trouble = refused.join("; ");
                if !trouble.is_empty() && trouble != self.trouble {
                    tracing::error!(error = trouble, "a person cannot be erased for now; it is tried again");
                }
                trouble
            }
            Err(error) => {
                let trouble = error.to_string();
                if trouble != self.trouble {
                    tracing::warn!(
                        error = trouble,
                        "the store could not be asked whom to erase from the log; it is tried again"
                    );
                }
                trouble
            }
        };
        self.trouble = trouble;
    }
}
