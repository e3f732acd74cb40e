//! One immutable view of the history, for all customers of a call.

mod recorded;

use chrono::{DateTime, Utc};
use smallvec::SmallVec;

use super::History;
use super::entry::Entry;
use super::limits::{FullTotals, Limits};
use super::moment::{self, Millis};

/// What the limits of a release look at, copied at one moment. Nothing that happens later changes it.
#[derive(Debug)]
pub struct HistoryView {
    now: Millis,
    entries: Vec<Entry>,
    customers: SmallVec<[Customer; 1]>,
    totals: FullTotals,
}

#[derive(Debug)]
struct Customer {
    /// Where their entries end.
    end: usize,
    opted_out: bool,
}

impl History {
    /// The view of these customers for the limits of a release at `now`. A customer without an id has no history.
    #[must_use]
    pub fn view<'a>(
        &self,
        limits: &Limits,
        customers: impl IntoIterator<Item = &'a str>,
        now: DateTime<Utc>,
    ) -> HistoryView {
        let now = moment::millis(now);
        let ids = customers.into_iter();
        let since = now.saturating_sub(limits.longest());
        let mut customers = SmallVec::with_capacity(ids.size_hint().0);
        let mut entries: Vec<Entry> = Vec::new();
        for id in ids {
            let read = self.customers.read(id, |timeline| {
                let all = timeline.entries();
                // Usually every entry is young enough.
                let first = match all.first() {
                    Some(oldest) if oldest.at() < since => all.partition_point(|entry| entry.at() < since),
                    _ => 0,
                };
                entries.extend_from_slice(&all[first..]);
                timeline.has_opted_out()
            });
            customers.push(Customer { end: entries.len(), opted_out: read.unwrap_or(false) });
        }
        HistoryView { now, entries, customers, totals: limits.full_totals(now) }
    }
}

impl HistoryView {
    /// Whether the customer at a position opted out of all marketing.
    ///
    /// # Panics
    /// If the view has no such customer.
    #[must_use]
    pub fn has_opted_out(&self, position: usize) -> bool {
        self.customers[position].opted_out
    }

    /// How many entries of the customer at a position the limits can look at.
    ///
    /// # Panics
    /// If the view has no such customer.
    #[must_use]
    pub fn entry_count(&self, position: usize) -> usize {
        self.entries(position).len()
    }

    pub(crate) fn entries(&self, position: usize) -> &[Entry] {
        let start = position.checked_sub(1).map_or(0, |before| self.customers[before].end);
        &self.entries[start..self.customers[position].end]
    }

    pub(crate) fn totals(&self) -> &FullTotals {
        &self.totals
    }

    pub(crate) fn now(&self) -> Millis {
        self.now
    }
}
