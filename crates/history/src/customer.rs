//! What is kept of a customer, with names: for export, and to compare histories.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::History;
use super::moment;
use super::names::{KeyNames, Names};
use super::timeline::Timeline;

/// What is kept of a customer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CustomerHistory {
    /// Whether they opted out of all marketing.
    pub opted_out: bool,
    /// Oldest first. The entries of one decision are neighbours.
    pub entries: Vec<HistoryEntry>,
}

/// Something that happened to a customer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HistoryEntry {
    /// When, to the millisecond.
    pub at: DateTime<Utc>,
    /// `decision`, or the type of an outcome.
    pub event_type: Arc<str>,
    /// The offer; empty if there is none.
    pub offer: Arc<str>,
    /// Where it was shown; empty if that is not known.
    pub placement: Arc<str>,
    /// Over what; empty if that is not known.
    pub channel: Arc<str>,
    /// Whether it belongs to the same decision as the entry before.
    pub same_decision: bool,
    /// Whether it stands for any number of such entries, none of them later: there were too many to keep.
    pub stands_for_more: bool,
}

impl CustomerHistory {
    fn new(timeline: &Timeline, names: &Names) -> Self {
        let entries = timeline.entries().iter().map(|entry| {
            let key = names.key(entry.code());
            let KeyNames { offer, placement, channel, event_type } = names.of(key);
            HistoryEntry {
                at: moment::moment(entry.at()).unwrap_or_default(),
                event_type,
                offer,
                placement,
                channel,
                same_decision: entry.follows(),
                stands_for_more: key.saturated,
            }
        });
        Self { opted_out: timeline.has_opted_out(), entries: entries.collect() }
    }
}

impl History {
    /// What is kept of a customer; `None` if nothing is.
    #[must_use]
    pub fn customer(&self, id: &str) -> Option<CustomerHistory> {
        self.customers.read(id, |timeline| CustomerHistory::new(timeline, &self.names))
    }

    /// Every customer of whom something is kept, in no order. A shard is locked while its ids are copied.
    #[must_use]
    pub fn customer_ids(&self) -> Vec<Box<str>> {
        let mut ids = Vec::with_capacity(self.customers.len());
        self.customers.each(|timeline| ids.push(timeline.id().text()));
        ids
    }

    /// Calls `each` with every customer, in no order. A shard is locked while its customers are gone through.
    pub fn each_customer(&self, mut each: impl FnMut(&str, CustomerHistory)) {
        self.customers
            .each(|timeline| each(&timeline.id().text(), CustomerHistory::new(timeline, &self.names)));
    }
}
