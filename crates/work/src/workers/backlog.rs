//! Pending and running work, in time on one thread, as far as costs are known.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Lane;

/// The nanoseconds of pending and running work of each lane.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    interactive: AtomicU64,
    bulk: AtomicU64,
}

impl Backlog {
    /// Counts work of a lane until the guard is dropped.
    pub(super) fn add(self: &Arc<Self>, lane: Lane, cost: Duration) -> PendingWork {
        let nanoseconds = u64::try_from(cost.as_nanos()).unwrap_or(u64::MAX >> 16);
        self.of(lane).fetch_add(nanoseconds, Ordering::Relaxed);
        PendingWork { backlog: Arc::clone(self), lane, nanoseconds }
    }

    /// The work that runs before new work of a lane: all of its own lane, and for bulk work the interactive lane,
    /// too.
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

/// Work that is not done yet. It is part of the job, so it is subtracted whether the job runs, panics or is dropped.
#[derive(Debug)]
pub(super) struct PendingWork {
    backlog: Arc<Backlog>,
    lane: Lane,
    nanoseconds: u64,
}

impl Drop for PendingWork {
    fn drop(&mut self) {
        self.backlog.of(self.lane).fetch_sub(self.nanoseconds, Ordering::Relaxed);
    }
}
