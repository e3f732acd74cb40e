//! History: what decisions and outcomes add up to for a customer and for an offer, and the limits that look at it.
//!
//! Everything is in memory and derived: it can be built again from the event log, by [`Rebuild`]. There is no clock and
//! no I/O here but for checkpoints; each call is told what time it is. The path of a decision:
//!
//! 1. [`Limits::new`], once for each release.
//! 2. [`History::view`]: one immutable view for all customers of a call.
//! 3. [`Limits::gate`] and [`CustomerLimits::withholds`]: what limits withhold, and until when.
//! 4. [`Transaction`]: shows a slate if every limit still has room, and takes it back unless it is kept.
//!
//! Later, [`History::record_outcome`] counts what the customer did. Start reading at [`History`], then `limits.rs` for
//! customers and `total.rs` for what all customers together did.
//!
//! Moments are kept to the millisecond. An event counts until the first moment at which its limit no longer looks at
//! it, whichever way the clock is set meanwhile: events that are ahead of the clock count, too.

mod append;
mod bits;
pub mod checkpoint;
mod customer;
mod customers;
mod entry;
mod event;
mod expiry;
pub mod feedback;
mod limits;
mod moment;
mod names;
mod rebuild;
mod recent;
mod records;
mod seen;
mod size;
mod timeline;
mod total;
mod transaction;
mod unite;
mod view;
mod window;

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use chrono::{DateTime, TimeDelta, Utc};

pub use customer::{CustomerHistory, HistoryEntry};
pub use event::{Decision, Event, Outcome, OutcomeCounted, Reservation, ShownOffer};
pub use expiry::Expired;
pub use limits::{Beyond, CustomerLimits, LimitBlocked, LimitReason, Limits, Place, TooManyNames, TotalUse};
pub use rebuild::Rebuild;
pub use recent::{KnownDecision, RecentDecisions};
pub use records::{
    Known, Missing, Past, Recovered, RecoveredFrom, SaveError, SavedHistory, Shortfall, Started,
    forget_left_behind, has_limits, read_missing, recorded_reservations, recover, recover_past,
    recover_person,
};
pub use size::HistorySize;
pub use total::{Overshoot, Spend, TotalLimit};
pub use transaction::{Refused, Transaction};
pub use view::HistoryView;

use customers::Customers;
use entry::Entry;
use moment::Millis;
use names::Names;
use seen::Seen;
use timeline::Timeline;
use total::{Board, Ledger};

/// The history of one server.
#[derive(Debug)]
pub struct History {
    names: Arc<Names>,
    /// By id, as records name it.
    customers: Customers,
    /// By position of the offer among the names.
    ledgers: RwLock<Vec<Option<Arc<Ledger>>>>,
    /// Of the meters of all ledgers.
    board: Arc<Board>,
    seen: Seen,
    /// The longest that limits for customers look back.
    longest: AtomicI64,
    /// Entries before this moment were dropped.
    kept_since: AtomicI64,
    /// Entries that full timelines gave up.
    given_up: AtomicU64,
    /// Held while a customer is renamed.
    renaming: Mutex<()>,
}

impl Default for History {
    /// One that recognises duplicates of outcomes for 30 days.
    fn default() -> Self {
        Self::new(TimeDelta::days(30))
    }
}

impl History {
    /// An empty history. An outcome that comes again within `deduplicated` is a duplicate: at most 60 days.
    #[must_use]
    pub fn new(deduplicated: TimeDelta) -> Self {
        Self {
            names: Arc::default(),
            customers: Customers::default(),
            ledgers: RwLock::default(),
            board: Arc::default(),
            seen: Seen::new(moment::length(deduplicated)),
            longest: AtomicI64::new(0),
            kept_since: AtomicI64::new(0),
            given_up: AtomicU64::new(0),
            renaming: Mutex::default(),
        }
    }

    /// Whether an outcome with this id comes for the first time. It is remembered until [`History::expire`] finds
    /// `occurred_at` too long ago. Two callers never both get `true`.
    #[must_use]
    pub fn admit(&self, event_id: &str, occurred_at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        self.seen.admit(event_id, moment::millis(occurred_at), moment::millis(now))
    }

    /// Forgets an id that was admitted, since its outcome could not be recorded after all.
    pub fn withdraw(&self, event_id: &str) {
        self.seen.withdraw(event_id);
    }

    /// Erases what is kept of a customer. Returns whether there was anything. Totals of offers stay as they are: they
    /// name no customer.
    pub fn forget(&self, customer: &str) -> bool {
        self.customers.remove(customer).is_some()
    }

    /// Moves what is kept of a customer to another name of theirs, as when a new key makes new pseudonyms.
    pub fn rename(&self, from: &str, to: &str) {
        if from == to || to.is_empty() || !self.customers.contains(from) {
            return;
        }
        let _renaming = self.renaming.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(moved) = self.customers.read(from, Timeline::clone) else { return };
        self.customers.change_or_add(to, moved.len(), |timeline| self.merge(timeline, &moved));
        // Last, so that a call in between counts it twice, not never.
        self.forget(from);
    }

    /// The moment before which entries were dropped, `None` if none were. Limits that look further back count too
    /// little until the history is built again from events.
    #[must_use]
    pub fn kept_since(&self) -> Option<DateTime<Utc>> {
        let since = self.kept_since.load(Ordering::Relaxed);
        (since > 0).then(|| moment::moment(since)).flatten()
    }

    /// How far back the history must reach for the limits of every release so far.
    #[must_use]
    pub fn longest(&self) -> TimeDelta {
        TimeDelta::milliseconds(self.longest.load(Ordering::Relaxed))
    }

    /// A history of its own that begins as this one is. Ids of outcomes are not remembered in it.
    ///
    /// Nothing may happen in this one meanwhile. Resolve the limits of a release anew, with the copy.
    #[must_use]
    pub fn copied(&self) -> Self {
        let copy = Self::default();
        copy.names.restore_all(&self.names);
        for (offer, ledger) in self.ledgers() {
            copy.ledger(offer).restore(ledger.save());
        }
        self.customers.each(|timeline| copy.customers.add(timeline.clone()));
        for (ours, theirs) in [(&copy.longest, &self.longest), (&copy.kept_since, &self.kept_since)] {
            ours.store(theirs.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        copy
    }

    /// Takes the place of this history, which is new and has nothing but what every one has.
    pub(crate) fn become_as(&self, other: Self) {
        self.names.restore_all(&other.names);
        for (offer, ledger) in other.ledgers() {
            self.ledger(offer).restore(ledger.save());
        }
        for item in other.seen.items() {
            self.seen.restore(item);
        }
        for (ours, theirs) in [(&self.longest, &other.longest), (&self.kept_since, &other.kept_since)] {
            ours.store(theirs.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        self.given_up.store(other.given_up.load(Ordering::Relaxed), Ordering::Relaxed);
        for timeline in other.customers {
            self.customers.add(timeline);
        }
    }

    /// Forgets a customer of whom nothing is kept.
    fn drop_if_empty(&self, customer: &str) {
        self.customers.remove_if(customer, |timeline| timeline.len() == 0 && !timeline.has_opted_out());
    }

    fn names(&self) -> &Arc<Names> {
        &self.names
    }

    fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// Limits look back so far.
    fn looks_back(&self, longest: Millis) {
        self.longest.fetch_max(longest, Ordering::Relaxed);
    }

    /// The ledger of the offer at a position.
    fn ledger(&self, offer: u16) -> Arc<Ledger> {
        let place = usize::from(offer);
        let known = self.ledgers.read().unwrap_or_else(PoisonError::into_inner).get(place).cloned().flatten();
        known.unwrap_or_else(|| {
            let mut ledgers = self.ledgers.write().unwrap_or_else(PoisonError::into_inner);
            if place >= ledgers.len() {
                ledgers.resize(place + 1, None);
            }
            Arc::clone(ledgers[place].get_or_insert_default())
        })
    }

    /// Every ledger with its offer.
    fn ledgers(&self) -> Vec<(u16, Arc<Ledger>)> {
        let ledgers = self.ledgers.read().unwrap_or_else(PoisonError::into_inner);
        let known = (0..)
            .zip(ledgers.iter())
            .filter_map(|(offer, ledger)| Some((offer, Arc::clone(ledger.as_ref()?))));
        known.collect()
    }

    /// Adds entries to a timeline.
    fn insert(&self, timeline: &mut Timeline, group: &[Entry]) {
        let given_up = timeline.insert(group, &self.names);
        if given_up > 0 {
            self.given_up.fetch_add(given_up as u64, Ordering::Relaxed);
        }
    }

    /// Adds all of another timeline.
    fn merge(&self, timeline: &mut Timeline, other: &Timeline) {
        let is_same_decision = |_: &Entry, next: &Entry| next.follows();
        for group in other.entries().chunk_by(is_same_decision) {
            self.insert(timeline, group);
        }
        if other.has_opted_out() {
            timeline.opt_out();
        }
    }
}
