//! Dropping what nothing looks at any more.

use std::sync::atomic::Ordering;

use chrono::{DateTime, TimeDelta, Utc};

use super::History;
use super::moment::{self, Millis};

/// How far a clock may have been ahead: a day. What a limit looks at is kept for so much longer.
pub(crate) const AHEAD: Millis = 86_400_000;

/// What was dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expired {
    /// Entries of customers.
    pub entries: usize,
    /// Customers of whom nothing was left.
    pub customers: usize,
}

impl History {
    /// Drops the entries that are older than both the longest that a limit looks back and `keep`, by a day, so that a
    /// clock that was ahead does no harm. Drops lapsed reservations, too, and the ids of outcomes that can no longer be
    /// duplicates. That a customer opted out is never dropped.
    ///
    /// Shards are locked one after another, each for some tens of microseconds. The thread needs normal priority: a
    /// thread of idle priority may be stopped while calls wait for its shard.
    pub fn expire(&self, now: DateTime<Utc>, keep: TimeDelta) -> Expired {
        let before = self.expires_before(now, keep);
        let now = moment::millis(now);
        let mut expired = Expired::default();
        self.kept_since.fetch_max(before, Ordering::Relaxed);
        self.customers.retain(|timeline| {
            expired.entries += timeline.expire(before);
            let stays = timeline.len() > 0 || timeline.has_opted_out();
            expired.customers += usize::from(!stays);
            stays
        });
        for (_, ledger) in self.ledgers() {
            ledger.expire(now);
        }
        self.seen.expire(now);
        expired
    }

    /// The moment before which entries are dropped at `now`.
    pub(crate) fn expires_before(&self, now: DateTime<Utc>, keep: TimeDelta) -> Millis {
        let keep = moment::length(keep).max(self.longest.load(Ordering::Relaxed));
        moment::millis(now).saturating_sub(keep).saturating_sub(AHEAD).max(0)
    }

    /// What was dropped is here again, from a moment on.
    pub(crate) fn has_since(&self, since: Millis) {
        self.kept_since.fetch_min(since, Ordering::Relaxed);
    }
}
