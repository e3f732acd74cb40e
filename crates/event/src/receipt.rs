//! Which batches are durable, and those who wait to hear it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::error::NotRecorded;
use crate::queue::Shared;

/// The most batches whose failure is remembered. A receipt that asks later is told that its batch failed, too.
const REMEMBERED: usize = 1024;

/// What is known of the batches, by their numbers.
#[derive(Debug, Default)]
pub(crate) struct Progress(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// All batches up to this number are settled.
    through: u64,
    /// Settled batches beyond. Numbers are taken before batches are queued, so they may come out of order.
    ahead: BTreeSet<u64>,
    /// The settled batches that are not durable.
    failed: BTreeSet<u64>,
    /// The last number that `failed` has forgotten.
    forgotten: u64,
    waiting: BTreeMap<u64, Waker>,
    stalled: bool,
    closed: bool,
}

impl State {
    fn settle(&mut self, number: u64) {
        self.ahead.insert(number);
        while self.ahead.remove(&(self.through + 1)) {
            self.through += 1;
        }
    }

    fn outcome(&self, number: u64) -> Option<Result<(), NotRecorded>> {
        let settled = number <= self.through || self.ahead.contains(&number);
        if settled {
            let failed = number <= self.forgotten || self.failed.contains(&number);
            return Some(if failed { Err(NotRecorded::Failed) } else { Ok(()) });
        }
        if self.closed {
            return Some(Err(NotRecorded::Closed));
        }
        self.stalled.then_some(Err(NotRecorded::Stalled))
    }

    /// Those who wait for something that is decided now.
    fn decided(&mut self) -> Vec<Waker> {
        if self.closed || self.stalled {
            return std::mem::take(&mut self.waiting).into_values().collect();
        }
        let later = self.waiting.split_off(&(self.through + 1));
        let mut decided: Vec<Waker> = std::mem::replace(&mut self.waiting, later).into_values().collect();
        decided.extend(self.ahead.iter().filter_map(|number| self.waiting.remove(number)));
        decided
    }
}

impl Progress {
    /// These batches are durable.
    pub(crate) fn durable(&self, numbers: impl IntoIterator<Item = u64>) {
        self.change(|state| numbers.into_iter().for_each(|number| state.settle(number)));
    }

    /// This batch will never be.
    pub(crate) fn failed(&self, number: u64) {
        self.change(|state| {
            state.failed.insert(number);
            if state.failed.len() > REMEMBERED
                && let Some(first) = state.failed.pop_first()
            {
                state.forgotten = state.forgotten.max(first);
            }
            state.settle(number);
        });
    }

    /// The log cannot be written for now, or can be again.
    pub(crate) fn stalled(&self, stalled: bool) {
        self.change(|state| state.stalled = stalled);
    }

    /// What is not durable by now will never be.
    pub(crate) fn close(&self) {
        self.change(|state| state.closed = true);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        let decided = state.decided();
        drop(state);
        decided.into_iter().for_each(Waker::wake);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is handed out for recorded events.
pub struct Receipt {
    shared: Arc<Shared>,
    number: u64,
}

impl Receipt {
    pub(crate) fn new(shared: Arc<Shared>, number: u64) -> Self {
        Self { shared, number }
    }

    /// Resolves when all events of the batch are durable.
    ///
    /// # Errors
    /// When they are lost, or cannot be written for now.
    pub fn durable(self) -> impl Future<Output = Result<(), NotRecorded>> + Send + Sync + 'static {
        Durable { receipt: self, waits: false }
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Receipt").field(&self.number).finish()
    }
}

struct Durable {
    receipt: Receipt,
    /// Whether its waker is kept.
    waits: bool,
}

impl Future for Durable {
    type Output = Result<(), NotRecorded>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let (number, shared) = (self.receipt.number, Arc::clone(&self.receipt.shared));
        let mut state = shared.progress.state();
        if let Some(outcome) = state.outcome(number) {
            self.waits = state.waiting.contains_key(&number);
            return Poll::Ready(outcome);
        }
        let former = state.waiting.insert(number, context.waker().clone());
        self.waits = true;
        drop(state);
        drop(former);
        Poll::Pending
    }
}

impl Drop for Durable {
    fn drop(&mut self) {
        // The task may be gone; its waker would keep its memory.
        if self.waits {
            let waker = self.receipt.shared.progress.state().waiting.remove(&self.receipt.number);
            drop(waker);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;
    use crate::queue::tests::shared;

    fn poll(
        durable: Pin<&mut impl Future<Output = Result<(), NotRecorded>>>,
    ) -> Poll<Result<(), NotRecorded>> {
        durable.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn batches_are_durable_in_any_order() {
        let shared = shared();
        let mut receipts: Vec<_> =
            (1..=3).map(|number| Box::pin(Receipt::new(Arc::clone(&shared), number).durable())).collect();
        shared.progress.durable([2]);
        let states: Vec<_> = receipts.iter_mut().map(|one| poll(one.as_mut())).collect();
        assert_eq!(states, [Poll::Pending, Poll::Ready(Ok(())), Poll::Pending]);
        shared.progress.failed(1);
        shared.progress.close();
        assert_eq!(poll(receipts[0].as_mut()), Poll::Ready(Err(NotRecorded::Failed)));
        assert_eq!(poll(receipts[2].as_mut()), Poll::Ready(Err(NotRecorded::Closed)));
    }

    #[test]
    fn a_log_that_stalls_tells_those_who_wait_and_may_go_on() {
        let shared = shared();
        let mut waits = pin!(Receipt::new(Arc::clone(&shared), 1).durable());
        assert_eq!(poll(waits.as_mut()), Poll::Pending);
        shared.progress.stalled(true);
        assert!(shared.progress.state().waiting.is_empty(), "it was woken");
        assert_eq!(poll(waits.as_mut()), Poll::Ready(Err(NotRecorded::Stalled)));
        shared.progress.stalled(false);
        let mut waits = pin!(Receipt::new(Arc::clone(&shared), 1).durable());
        assert_eq!(poll(waits.as_mut()), Poll::Pending);
        shared.progress.durable([1]);
        assert_eq!(poll(waits.as_mut()), Poll::Ready(Ok(())));
    }

    #[test]
    fn who_gives_up_leaves_nothing_behind() {
        let shared = shared();
        let mut waits = Box::pin(Receipt::new(Arc::clone(&shared), 1).durable());
        assert_eq!(poll(waits.as_mut()), Poll::Pending);
        assert_eq!(shared.progress.state().waiting.len(), 1);
        drop(waits);
        assert_eq!(shared.progress.state().waiting.len(), 0);
    }

    #[test]
    fn failures_are_remembered_within_bounds_and_never_become_successes() {
        let shared = shared();
        let failures = 3 * REMEMBERED as u64;
        for number in 1..=failures {
            shared.progress.failed(number);
        }
        shared.progress.durable([failures + 1]);
        assert!(shared.progress.state().failed.len() <= REMEMBERED);
        for number in 1..=failures {
            assert_eq!(shared.progress.state().outcome(number), Some(Err(NotRecorded::Failed)));
        }
        assert_eq!(shared.progress.state().outcome(failures + 1), Some(Ok(())));
    }
}
