//! How much work was taken on and is not done, in time of one thread, as far as costs are known.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Lane;

/// Taken on in each lane: waiting and being done, in nanoseconds.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    interactive: AtomicU64,
    bulk: AtomicU64,
}

impl Backlog {
    /// Takes on work of a lane until the guard is dropped.
    pub(super) fn take_on(self: &Arc<Self>, lane: Lane, cost: Duration) -> TakenOn {
        let nanoseconds = u64::try_from(cost.as_nanos()).unwrap_or(u64::MAX >> 16);
        self.of(lane).fetch_add(nanoseconds, Ordering::Relaxed);
        TakenOn { backlog: Arc::clone(self), lane, nanoseconds }
    }

    /// What is done before work that is taken on now: everything of its own lane, and for bulk work the other lane too.
    pub(super) fn ahead(&self, lane: Lane) -> Duration {
        let interactive = self.interactive.load(Ordering::Relaxed);
        Duration::from_nanos(match lane {
            Lane::Interactive => interactive,
            Lane::Bulk => interactive.saturating_add(self.bulk.load(Ordering::Relaxed)),
        })
    }

    fn of(&self, lane: Lane) -> &AtomicU64 {
        match lane {
            Lane::Interactive => &self.interactive,
            Lane::Bulk => &self.bulk,
        }
    }
}

/// Work that is not done; goes with the job, so that it is taken off whether the job runs, panics or is dropped.
#[derive(Debug)]
pub(super) struct TakenOn {
    backlog: Arc<Backlog>,
    lane: Lane,
    nanoseconds: u64,
}

impl Drop for TakenOn {
    fn drop(&mut self) {
        self.backlog.of(self.lane).fetch_sub(self.nanoseconds, Ordering::Relaxed);
    }
}
