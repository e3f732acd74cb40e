//! The entries of one customer, in one allocation.
//!
//! The first word of the block is its head: the number of entries, whether the customer opted out, and the words of
//! their id. The entries follow, sorted by moment; those of one decision are neighbours. Behind them is room for more,
//! and the id is at the end: who asks whether a block is that of a customer reads both ends of it at the same time.
//!
//! Blocks grow by a quarter at most, so that a million customers waste little. At most [`Timeline::MOST`] entries are
//! kept, and what goes is marked so that limits go on to hold; see [`Timeline::condense`].

mod condense;
mod id;

pub(crate) use id::Id;

use super::entry::Entry;
use super::moment::Millis;
use super::names::Names;

/// What is kept of a customer.
#[derive(Debug, Clone)]
pub(crate) struct Timeline(Box<[Entry]>);

/// The bit of the head that says that the customer opted out; the number of entries is below it.
const OPTED_OUT: u64 = 1 << 32;

/// The bits of the head below the number of words of the id.
const BELOW_ID: u32 = 33;

impl Timeline {
    /// The most entries of a customer.
    pub(crate) const MOST: usize = 4_096;

    /// One without entries, and with room for `entries`.
    pub(crate) fn with_room(id: &Id, entries: usize) -> Self {
        let id = id.words();
        let mut block = vec![Entry::default(); block_words(1 + entries + id.len())];
        let end = block.len() - id.len();
        block[end..].copy_from_slice(id);
        let mut timeline = Self(block.into_boxed_slice());
        timeline.set_head((id.len() as u64) << BELOW_ID);
        timeline
    }

    /// One with entries that are sorted, at most [`Timeline::MOST`].
    pub(crate) fn from_entries(id: &Id, entries: &[Entry], opted_out: bool) -> Self {
        let mut timeline = Self::with_room(id, entries.len());
        timeline.room()[..entries.len()].copy_from_slice(entries);
        timeline.set_len(entries.len());
        if opted_out {
            timeline.opt_out();
        }
        timeline
    }

    /// Whether it is that of a customer.
    pub(crate) fn is_of(&self, id: &Id) -> bool {
        self.0.ends_with(id.words()) && self.id_words() == id.words().len()
    }

    /// The id.
    pub(crate) fn id(&self) -> Id {
        Id::from_words(&self.0[self.end()..])
    }

    /// The entries, oldest first.
    pub(crate) fn entries(&self) -> &[Entry] {
        self.0.get(1..=self.len()).unwrap_or_default()
    }

    /// The number of entries.
    pub(crate) fn len(&self) -> usize {
        (self.head() & (OPTED_OUT - 1)) as usize
    }

    pub(crate) fn has_opted_out(&self) -> bool {
        self.head() & OPTED_OUT != 0
    }

    /// Remembers for good that the customer opted out.
    pub(crate) fn opt_out(&mut self) {
        self.set_head(self.head() | OPTED_OUT);
    }

    /// Adds the entries of one decision, or of one outcome; all have the same moment. Returns how many older entries
    /// were given up for them.
    pub(crate) fn insert(&mut self, group: &[Entry], names: &Names) -> usize {
        let Some(first) = group.first() else { return 0 };
        let given_up =
            if self.len() + group.len() > Self::MOST { self.condense(group.len(), names) } else { 0 };
        let entries = self.entries();
        // Usually it is the latest.
        let place = match entries.last() {
            Some(last) if last.at() > first.at() => entries.partition_point(|one| one.at() <= first.at()),
            _ => entries.len(),
        };
        self.reserve(group.len());
        let (len, added) = (self.len(), group.len());
        let entries = self.room();
        entries.copy_within(place..len, place + added);
        entries[place..place + added].copy_from_slice(group);
        self.set_len(len + added);
        given_up
    }

    /// Takes back what was inserted. Entries of two decisions can be equal; then it makes no difference whose go.
    pub(crate) fn remove(&mut self, group: &[Entry]) {
        let Some(first) = group.first() else { return };
        let entries = self.entries();
        let from = entries.partition_point(|entry| entry.at() < first.at());
        let until = entries.partition_point(|entry| entry.at() <= first.at());
        let is_last = |end: usize| entries.get(end).is_none_or(|entry| !entry.follows());
        let place = (from..until)
            .find(|place| entries[*place..until].starts_with(group) && is_last(place + group.len()));
        if let Some(place) = place {
            self.cut(place..place + group.len());
        }
    }

    /// Drops the entries before a moment, and gives memory back if much is unused. Returns how many were dropped.
    pub(crate) fn expire(&mut self, before: Millis) -> usize {
        let expired = self.entries().partition_point(|entry| entry.at() < before);
        if expired > 0 {
            self.cut(0..expired);
            let words = block_words(1 + self.len() + self.id_words());
            if words < self.0.len() / 2 {
                self.resize(words);
            }
        }
        expired
    }

    /// The bytes of the block.
    pub(crate) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.0)
    }

    /// Removes a range of entries.
    fn cut(&mut self, range: std::ops::Range<usize>) {
        let len = self.len();
        self.room().copy_within(range.end..len, range.start);
        self.set_len(len - range.len());
    }

    /// Makes room for `more` entries.
    fn reserve(&mut self, more: usize) {
        let needed = 1 + self.len() + more + self.id_words();
        if needed > self.0.len() {
            self.resize(block_words(needed));
        }
    }

    fn resize(&mut self, words: usize) {
        let id = self.end()..self.0.len();
        let new_end = words - id.len();
        let mut block = std::mem::take(&mut self.0).into_vec();
        if words > block.len() {
            block.reserve_exact(words - block.len());
            block.resize(words, Entry::default());
            block.copy_within(id, new_end);
        } else {
            block.copy_within(id, new_end);
            block.truncate(words);
        }
        self.0 = block.into_boxed_slice();
    }

    fn id_words(&self) -> usize {
        (self.head() >> BELOW_ID) as usize
    }

    /// Where the room ends and the id begins.
    fn end(&self) -> usize {
        self.0.len() - self.id_words()
    }

    /// The entries and the room behind them.
    fn room(&mut self) -> &mut [Entry] {
        let end = self.end();
        self.0.get_mut(1..end).unwrap_or_default()
    }

    fn head(&self) -> u64 {
        self.0.first().map_or(0, |head| head.bits())
    }

    fn set_head(&mut self, head: u64) {
        if let Some(first) = self.0.first_mut() {
            *first = Entry::from_bits(head);
        }
    }

    fn set_len(&mut self, len: usize) {
        self.set_head(self.head() & !(OPTED_OUT - 1) | len as u64);
    }
}

/// The words of a block for so many: four sizes per power of two, which are those of the allocator.
fn block_words(words: usize) -> usize {
    match words {
        0..=8 => words,
        _ => words.next_multiple_of(1 << (words.ilog2() - 2)),
    }
}

#[cfg(test)]
mod tests;
