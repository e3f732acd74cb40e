//! How large a history is.

use std::sync::atomic::Ordering;

use super::History;

/// The size of a history.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HistorySize {
    /// Customers with entries, or who opted out.
    pub customers: usize,
    /// Open reservations.
    pub reservations: usize,
    /// Ids of outcomes by which duplicates are recognised.
    pub event_ids: usize,
    /// Entries that were given up since a customer had too many; each limit counts them as many.
    pub given_up: u64,
    /// Bytes, without what the allocator adds.
    pub bytes: usize,
}

impl History {
    /// The size. Locks each shard for a moment.
    #[must_use]
    pub fn size(&self) -> HistorySize {
        let (mut reservations, mut bytes) = (0, 0);
        for (_, ledger) in self.ledgers() {
            let (open, size) = ledger.size();
            reservations += open;
            bytes += size;
        }
        let event_ids = self.seen.len();
        bytes += self.customers.memory_bytes() + self.names.memory_bytes() + self.seen.memory_bytes();
        let given_up = self.given_up.load(Ordering::Relaxed);
        HistorySize { customers: self.customers.len(), reservations, event_ids, given_up, bytes }
    }
}
