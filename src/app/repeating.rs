//! A thread that does the same again and again, until it is told to end.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::Builder;
use std::time::Duration;

use super::AppError;
use work::catch_panic;

/// A thread that does the same again and again.
#[derive(Debug)]
pub(super) struct Repeating {
    /// Dropping it wakes the thread, which ends then.
    bell: Sender<()>,
    /// Disconnected once it has ended.
    ended: Receiver<()>,
}

impl Repeating {
    /// Does `first` on the new thread, then `work` every `every`.
    ///
    /// # Errors
    /// When the operating system refuses a thread.
    pub(super) fn start(
        name: &'static str,
        every: Duration,
        first: impl FnOnce() + Send + 'static,
        mut work: impl FnMut() + Send + 'static,
    ) -> Result<Self, AppError> {
        let ((bell, rung), (end, ended)) = (channel(), channel::<()>());
        let refused = |source| AppError::Io { what: format!("cannot start the thread `{name}`"), source };
        let repeat = move || {
            let _end = end;
            first();
            while rung.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                if let Err(panicked) = catch_panic(&mut work) {
                    tracing::error!(thread = name, %panicked, "a thread of the server panicked; it goes on");
                }
            }
        };
        Builder::new().name(name.to_owned()).spawn(repeat).map_err(refused)?;
        Ok(Self { bell, ended })
    }

    /// Has it end, and returns what tells when it has.
    pub(super) fn stop(self) -> Receiver<()> {
        drop(self.bell);
        self.ended
    }
}
