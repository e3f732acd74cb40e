//! From a decision to the moment when it is certain whether it is recorded.
//!
//! What it has reserved of limits is counted until then, and kept or given back after. The caller waits for that; if it
//! goes before, a task waits in its place, since what the log has is counted.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::limits::{Limiter, Reserved};
use super::plan::Plan;
use super::recorder::Durable;

/// A call that was decided, until what becomes of it is certain. Dropping it gives back what it has reserved.
pub(super) struct Settling {
    pub plan: Arc<Plan>,
    pub reserved: Vec<Reserved>,
}

impl Settling {
    /// The decisions are recorded.
    pub(super) fn recorded(self, limiter: Option<&Limiter>) {
        if let Some(limiter) = limiter {
            limiter.remember(&self.plan, &self.reserved);
        }
        self.keep();
    }

    /// The decisions are answered.
    pub(super) fn keep(self) {
        self.reserved.into_iter().for_each(Reserved::keep);
    }
}

/// A call whose record is on its way to the disk.
pub(super) struct Recorded {
    /// Whether it is there, once that is known.
    pub durable: Durable,
    pub settling: Settling,
    pub limiter: Option<Limiter>,
    /// Whether it is answered only if it is there.
    pub must_be_durable: bool,
}

impl Recorded {
    fn settle(self, is_durable: bool) {
        let Self { settling, limiter, must_be_durable, .. } = self;
        match (is_durable, must_be_durable) {
            (true, _) => settling.recorded(limiter.as_ref()),
            (false, true) => drop(settling),
            (false, false) => settling.keep(),
        }
    }
}

/// Resolves once a call is settled: to whether its record is on the disk. If it is dropped before, a task of its own
/// settles the call. So no task is made for a caller that stays.
pub(super) struct Certain(Option<Recorded>);

impl Certain {
    pub(super) fn of(recorded: Recorded) -> Self {
        Self(Some(recorded))
    }
}

impl Future for Certain {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<bool> {
        let Some(recorded) = &mut self.0 else { return Poll::Pending };
        let is_durable = ready!(recorded.durable.as_mut().poll(context));
        if let Some(recorded) = self.0.take() {
            recorded.settle(is_durable);
        }
        Poll::Ready(is_durable)
    }
}

impl Drop for Certain {
    fn drop(&mut self) {
        let Some(mut recorded) = self.0.take() else { return };
        // Without a runtime the process ends, and a restart reads from the log what it has.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            // A task that is dropped with its runtime makes no other.
            runtime.spawn(async move {
                let is_durable = recorded.durable.as_mut().await;
                recorded.settle(is_durable);
            });
        }
    }
}
