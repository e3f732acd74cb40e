//! The call that work belongs to: deadline, lane, cancellation, trace.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use telemetry::Trace;

/// The queue that work waits in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lane {
    /// A person waits for the answer.
    #[default]
    Interactive,
    /// A campaign or a batch job; runs when no interactive work is pending.
    Bulk,
}

/// The deadline, lane and trace of a request, and whether its caller still waits; carried by each piece of its work.
#[derive(Debug, Clone, Default)]
pub struct Call {
    deadline: Option<Instant>,
    lane: Lane,
    pub(super) abandoned: Arc<AtomicBool>,
    trace: Trace,
}

/// Why work should stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Cancellation {
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

    /// The same call in another lane.
    #[must_use]
    pub fn in_lane(self, lane: Lane) -> Self {
        Self { lane, ..self }
    }

    /// The same call, with a trace that records its steps.
    #[must_use]
    pub fn traced(self, trace: Trace) -> Self {
        Self { trace, ..self }
    }

    /// The trace that records its steps.
    #[must_use]
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// The queue that its work waits in.
    #[must_use]
    pub fn lane(&self) -> Lane {
        self.lane
    }

    /// The time by which the answer is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Whether to continue; work calls this before each costly step.
    ///
    /// # Errors
    /// The reason to stop.
    pub fn check(&self) -> Result<(), Cancellation> {
        if self.abandoned.load(Ordering::Relaxed) {
            return Err(Cancellation::Abandoned);
        }
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(Cancellation::DeadlineExceeded),
            _ => Ok(()),
        }
    }

    /// Marks the call as abandoned: its work stops at the next check.
    pub fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
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
