//! A thread for what locks the history. It has normal priority: a thread of idle priority may be stopped while calls
//! wait for its locks.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Weak};
use std::thread::Builder;
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use history::History;
use work::{Panicked, catch_panic};

/// How often is dropped what nothing looks at any more.
const EXPIRY: Duration = Duration::from_mins(1);

type Job = Box<dyn FnOnce(&History) + Send>;

/// Why something was not done with the history.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error("the server ends")]
    Ended,
    /// A part of it may be done.
    #[error("in the thread of the history, {0}")]
    Panicked(#[from] Panicked),
}

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

    /// Does something with the history, and returns what came out. The thread goes on if it panics.
    ///
    /// # Errors
    /// When it panics, or the thread has ended.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&History) -> T + Send + 'static,
    ) -> Result<T, AskError> {
        let (tell, told) = channel();
        let job = move |history: &History| {
            // No one waits any more if this fails.
            let _ = tell.send(catch_panic(|| work(history)));
        };
        self.0.send(Box::new(job)).map_err(|_| AskError::Ended)?;
        Ok(told.recv().map_err(|_| AskError::Ended)??)
    }
}

fn run(history: &Weak<History>, asked: &Receiver<Job>, keep: TimeDelta) {
    let mut expires = Instant::now() + EXPIRY;
    loop {
        let job = asked.recv_timeout(expires.saturating_duration_since(Instant::now()));
        let Some(history) = history.upgrade() else { return };
        match job {
            Ok(job) => job(&history),
            Err(RecvTimeoutError::Timeout) => {
                expires = Instant::now() + EXPIRY;
                if let Err(panicked) = catch_panic(|| history.expire(Utc::now(), keep)) {
                    tracing::error!(%panicked, "the thread of the history panicked; it goes on");
                }
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_from_an_end() {
        let history = Arc::new(History::default());
        let keeper = Keeper::start(&history, TimeDelta::days(1)).unwrap();
        let panicked = keeper.ask(|_| -> u8 { panic!("entry {}", 7) }).unwrap_err();
        assert_eq!(panicked.to_string(), "in the thread of the history, it panicked: entry 7");
        assert_eq!(keeper.ask(|history| history.size().customers).unwrap(), 0);
        drop(history);
        let ended = keeper.ask(|history| history.size().customers);
        assert!(matches!(ended, Err(AskError::Ended)), "{ended:?}");
    }
}
