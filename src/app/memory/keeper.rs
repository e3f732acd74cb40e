//! A thread for what locks the history. It has normal priority: a thread of idle priority may be stopped while calls
//! wait for its locks.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread::Builder;
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use history::History;
use work::catch_panic;

/// How often is dropped what nothing looks at any more.
const EXPIRY: Duration = Duration::from_mins(1);

type Job = Box<dyn FnOnce(&History) + Send>;

/// The thread; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Keeper(Sender<Job>);

impl Keeper {
    /// Entries are kept for `keep` at least.
    pub(super) fn start(history: &Arc<History>, keep: TimeDelta) -> io::Result<Self> {
        let ((jobs, asked), history) = (channel(), Arc::downgrade(history));
        Builder::new().name("history".to_owned()).spawn(move || run(&history, &asked, keep))?;
        Ok(Self(jobs))
    }

    /// Does something with the history, and returns what came out; `None` if the thread has ended.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&History) -> T + Send + 'static,
    ) -> Option<T> {
        let (tell, told) = channel();
        let job = move |history: &History| {
            // No one waits any more if this fails.
            let _ = tell.send(work(history));
        };
        self.0.send(Box::new(job)).ok()?;
        told.recv().ok()
    }
}

fn run(history: &Weak<History>, asked: &Receiver<Job>, keep: TimeDelta) {
    let mut expires = Instant::now() + EXPIRY;
    loop {
        let job = asked.recv_timeout(expires.saturating_duration_since(Instant::now()));
        let Some(history) = history.upgrade() else { return };
        let done = match job {
            Ok(job) => catch_panic(|| job(&history)),
            Err(RecvTimeoutError::Timeout) => {
                expires = Instant::now() + EXPIRY;
                catch_panic(|| _ = history.expire(Utc::now(), keep))
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if let Err(panicked) = done {
            tracing::error!(%panicked, "the thread of the history panicked; it goes on");
        }
    }
}
