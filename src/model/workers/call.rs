//! What work owes to whoever waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::telemetry::Trace;

/// Which of two queues work waits in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lane {
    /// A person waits.
    #[default]
    Interactive,
    /// A campaign, a batch job: whenever there is nothing interactive.
    Bulk,
}

/// What a piece of work owes its caller: when it must be done, in which lane, and whether anyone still waits.
#[derive(Debug, Clone, Default)]
pub struct Call {
    deadline: Option<Instant>,
    lane: Lane,
    abandoned: Arc<AtomicBool>,
    trace: Trace,
}

/// Why work should not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// The caller's deadline has passed.
    #[error("the deadline has passed")]
    DeadlineExceeded,
    /// The caller has gone.
    #[error("the caller has gone")]
    Abandoned,
}

impl Call {
    /// A call that must be answered by `deadline`, if there is one.
    #[must_use]
    pub fn new(deadline: Option<Instant>) -> Self {
        Self { deadline, ..Self::default() }
    }

    /// The same call, its work in that lane.
    #[must_use]
    pub fn in_lane(self, lane: Lane) -> Self {
        Self { lane, ..self }
    }

    /// The same call, whose steps are told to a trace.
    #[must_use]
    pub fn traced(self, trace: Trace) -> Self {
        Self { trace, ..self }
    }

    /// What its steps are told to.
    #[must_use]
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Where its work waits.
    #[must_use]
    pub fn lane(&self) -> Lane {
        self.lane
    }

    /// When the answer is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Looked at before each costly step.
    ///
    /// # Errors
    /// The reason to stop.
    pub fn check(&self) -> Result<(), Stop> {
        if self.abandoned.load(Ordering::Relaxed) {
            return Err(Stop::Abandoned);
        }
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(Stop::DeadlineExceeded),
            _ => Ok(()),
        }
    }

    /// Marks the call as abandoned when the guard is dropped, as a future is when its caller goes away.
    #[must_use]
    pub fn abandon_on_drop(&self) -> AbandonOnDrop {
        AbandonOnDrop(Some(Arc::clone(&self.abandoned)))
    }
}

/// See [`Call::abandon_on_drop`].
#[derive(Debug)]
pub struct AbandonOnDrop(Option<Arc<AtomicBool>>);

impl AbandonOnDrop {
    /// The call was answered: nothing is abandoned.
    pub fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for AbandonOnDrop {
    fn drop(&mut self) {
        if let Some(abandoned) = &self.0 {
            abandoned.store(true, Ordering::Relaxed);
        }
    }
}
