//! What a running server does so that persons can be erased: it says that it is there, and obeys what the store asks.
//!
//! Two threads: heartbeats must not wait while log files are written anew, which has idle priority.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::Builder;
use std::time::{Duration, Instant};

use chrono::Utc;

use super::AppError;
use event::EventLog;
use event::erasure::{
    BEAT_EVERY, Erased, ErasureError, ErasureStore, Heartbeat, Heartbeats, LiveLog, ServerErasures, ServerLog,
};
use event::privacy::Pseudonyms;
use release::Deployer;
use work::catch_panic;
use work::priority::set_idle_priority;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The erasures of the store that a server follows.
#[derive(Debug)]
pub(super) struct Erasures {
    beating: Beating,
    obeying: Option<Obeying>,
    threads: Vec<Repeating>,
}

impl Erasures {
    /// Says that the server is there, and goes on with that. Then blanks what was erased since it was there last.
    ///
    /// A store that cannot be written to keeps no server from serving: it is tried again.
    ///
    /// # Errors
    /// When the location is no store, or the operating system refuses a thread.
    pub(super) fn start(location: &str, log: &EventLog, pseudonyms: Pseudonyms) -> Result<Self, AppError> {
        let store = ErasureStore::open(location, std::env::vars())?;
        let live = LiveLog::of(log);
        let heartbeats = Heartbeats::new(store.clone());
        let mut beating = Beating { heartbeats, log: live.clone(), trouble: String::new() };
        beating.beat();
        let mut beats = beating.clone();
        let heartbeat = Repeating::start("heartbeat", BEAT_EVERY, || {}, move || beats.beat())?;
        let server = ServerErasures::new(store, pseudonyms, VERSION);
        let mut obeying = Obeying { server, log: live, trouble: String::new() };
        // Nothing is in memory yet.
        obeying.obey(&mut |_| Ok(()));
        Ok(Self { beating, obeying: Some(obeying), threads: vec![heartbeat] })
    }

    /// Looks for erasures every `poll`. The customers in memory are those of `deployer`, which serves by now.
    ///
    /// # Errors
    /// When the operating system refuses a thread.
    pub(super) fn follow(&mut self, deployer: &Deployer, poll: Duration) -> Result<(), AppError> {
        let Some(mut obeying) = self.obeying.take() else { return Ok(()) };
        let deployer = deployer.clone();
        let mut forget = move |_: &Erased| deployer.renew_customers().map_err(|error| error.to_string());
        let obey = move || obeying.obey(&mut forget);
        self.threads.push(Repeating::start("erase", poll, set_idle_priority, obey)?);
        Ok(())
    }

    /// Ends both threads, and waits for them up to `within`. Returns what has the last word once the log is closed.
    ///
    /// One that is still busy then can do no harm: it reads customers or waits for the store, and a log that is closed
    /// is not blanked.
    pub(super) fn stop(self, within: Duration) -> Leaving {
        let Self { beating, threads, .. } = self;
        beating.log.end();
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

/// A server whose log is closed.
pub(super) struct Leaving(Beating);

impl Leaving {
    /// Says that the server has ended, and what it leaves behind. Nobody need wait for one that leaves nothing.
    pub(super) fn leave(self) {
        let Beating { heartbeats, log, .. } = self.0;
        let files = log.log_files();
        let left = if files.all().is_empty() {
            heartbeats.remove(files.server())
        } else {
            heartbeats.beat(&heartbeat(&log).and_ends())
        };
        if let Err(error) = left {
            tracing::warn!(%error, "the store could not be told that this server ends");
        }
    }
}

/// Says that the server is there.
#[derive(Debug, Clone)]
struct Beating {
    heartbeats: Heartbeats,
    log: LiveLog,
    /// What went wrong last time; told once.
    trouble: String,
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
    }
}

fn heartbeat(log: &LiveLog) -> Heartbeat {
    let files = log.log_files();
    Heartbeat::new(files.server(), VERSION, Utc::now(), files.all().len() as u64)
}

/// Obeys erasures.
#[derive(Debug)]
struct Obeying {
    server: ServerErasures,
    log: LiveLog,
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

/// A thread that does the same again and again.
#[derive(Debug)]
struct Repeating {
    /// Dropping it wakes the thread, which ends then.
    bell: Sender<()>,
    /// Disconnected once it has ended.
    ended: Receiver<()>,
}

impl Repeating {
    fn start(
        name: &str,
        every: Duration,
        first: impl FnOnce() + Send + 'static,
        mut work: impl FnMut() + Send + 'static,
    ) -> Result<Self, AppError> {
        let ((bell, rung), (end, ended)) = (channel(), channel::<()>());
        let refused = |source| AppError::Io { what: "cannot follow erasures".to_owned(), source };
        let repeat = move || {
            let _end = end;
            first();
            while rung.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                if let Err(panicked) = catch_panic(&mut work) {
                    tracing::error!(%panicked, "a look for erasures panicked");
                }
            }
        };
        Builder::new().name(name.to_owned()).spawn(repeat).map_err(refused)?;
        Ok(Self { bell, ended })
    }

    /// Has it end, and returns what tells when it has.
    fn stop(self) -> Receiver<()> {
        drop(self.bell);
        self.ended
    }
}
