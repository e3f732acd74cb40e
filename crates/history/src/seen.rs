//! The ids of outcomes that came, by which duplicates are recognised.
//!
//! An id is kept as 58 bits of its CRC-64 and 6 bits of the day on which the outcome happened: 8 bytes. Among 30
//! million ids, a new one is taken for a duplicate once in 10¹⁰.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crc_fast::{CrcAlgorithm, checksum};
use hashbrown::HashTable;

use super::moment::Millis;

const DAY: Millis = 86_400_000;

/// Days are kept modulo this.
const DAYS: u64 = 64;

/// The days before today that can be told from those ahead of it.
const OLDEST: u64 = 61;

const SHARDS: usize = 64;

/// The most ids of a shard: 32 million in all, up to 600 MB. Beyond, the oldest day goes.
const MOST_IN_SHARD: usize = 500_000;

/// The ids of outcomes, until they are too old.
#[derive(Debug)]
pub(crate) struct Seen {
    shards: Vec<Mutex<HashTable<u64>>>,
    /// In milliseconds.
    window: Millis,
}

impl Seen {
    /// Remembers for `window`, at most 60 days.
    pub(crate) fn new(window: Millis) -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), window: window.clamp(0, 60 * DAY) }
    }

    /// Whether an outcome of `at` is young enough to be remembered.
    pub(crate) fn remembers(&self, at: Millis, now: Millis) -> bool {
        at > now - self.window && at < now + DAY
    }

    /// Whether the id is new. It is remembered if `at` is young enough.
    pub(crate) fn admit(&self, id: &str, at: Millis, now: Millis) -> bool {
        let (mark, mut table) = self.table(id);
        if table.find(hash(mark), |item| item >> 6 == mark).is_some() {
            return false;
        }
        if self.remembers(at, now) {
            if table.len() >= MOST_IN_SHARD {
                make_room(&mut table, day(now));
            }
            if table.len() < MOST_IN_SHARD {
                table.insert_unique(hash(mark), mark << 6 | day(at), |item| hash(item >> 6));
            }
        }
        true
    }

    /// Forgets an id.
    pub(crate) fn withdraw(&self, id: &str) {
        let (mark, mut table) = self.table(id);
        if let Ok(found) = table.find_entry(hash(mark), |item| item >> 6 == mark) {
            found.remove();
        }
    }

    /// Forgets the ids of days that are too long ago.
    pub(crate) fn expire(&self, now: Millis) {
        let oldest = (self.window / DAY) as u64 + 1;
        for shard in &self.shards {
            let mut table = lock(shard);
            table.retain(|item| !(oldest + 1..=OLDEST).contains(&age(*item, day(now))));
            if table.len() * 4 < table.capacity() {
                table.shrink_to_fit(|item| hash(item >> 6));
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    /// The bytes of the tables.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).allocation_size()).sum()
    }

    /// What is kept of each id, for a checkpoint.
    pub(crate) fn items(&self) -> Vec<u64> {
        self.shards.iter().flat_map(|shard| lock(shard).iter().copied().collect::<Vec<_>>()).collect()
    }

    /// Adds what was kept of an id.
    pub(crate) fn restore(&self, item: u64) {
        let mark = item >> 6;
        let mut table = lock(&self.shards[shard(mark)]);
        if table.find(hash(mark), |known| known >> 6 == mark).is_none() {
            table.insert_unique(hash(mark), item, |item| hash(item >> 6));
        }
    }

    /// The 58 bits of an id, and the table that they belong in.
    fn table(&self, id: &str) -> (u64, MutexGuard<'_, HashTable<u64>>) {
        let mark = checksum(CrcAlgorithm::Crc64Nvme, id.as_bytes()) >> 6;
        (mark, lock(&self.shards[shard(mark)]))
    }
}

fn lock(shard: &Mutex<HashTable<u64>>) -> MutexGuard<'_, HashTable<u64>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn shard(mark: u64) -> usize {
    mark as usize % SHARDS
}

/// Spreads 58 bits over 64. A table takes its places from the lowest and its tags from the highest.
fn hash(mark: u64) -> u64 {
    (mark / SHARDS as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// The day of a moment, modulo [`DAYS`].
fn day(at: Millis) -> u64 {
    (at / DAY) as u64 % DAYS
}

/// How many days before today an item is; those ahead of it are [`OLDEST`] + 1 or more.
fn age(item: u64, today: u64) -> u64 {
    (today + DAYS - item % DAYS) % DAYS
}

/// Forgets the oldest day of a table that is full, unless it is today.
fn make_room(table: &mut HashTable<u64>, today: u64) {
    let ages = table.iter().map(|item| age(*item, today)).filter(|age| *age <= OLDEST);
    let oldest = ages.max().unwrap_or(0);
    if oldest > 0 {
        table.retain(|item| age(*item, today) != oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = 200_000 * DAY / 100;

    #[test]
    fn an_id_is_new_once_until_it_expires() {
        let seen = Seen::new(30 * DAY);
        assert!(seen.admit("a", NOW, NOW));
        assert!(!seen.admit("a", NOW, NOW));
        assert!(seen.admit("b", NOW - 29 * DAY, NOW));
        seen.expire(NOW + 10 * DAY);
        assert!(!seen.admit("a", NOW, NOW + 10 * DAY));
        assert!(seen.admit("b", NOW - 29 * DAY, NOW + 10 * DAY));
        assert_eq!(seen.len(), 1, "an id of too long ago is not remembered");
    }

    #[test]
    fn an_id_that_is_withdrawn_is_new_again() {
        let seen = Seen::new(30 * DAY);
        assert!(seen.admit("a", NOW, NOW));
        seen.withdraw("a");
        seen.withdraw("b");
        assert!(seen.admit("a", NOW, NOW));
    }

    #[test]
    fn ids_are_kept_over_a_restart() {
        let (seen, again) = (Seen::new(30 * DAY), Seen::new(30 * DAY));
        for id in 0..1_000 {
            assert!(seen.admit(&format!("event-{id}"), NOW - id * DAY / 50, NOW));
        }
        for item in seen.items() {
            again.restore(item);
        }
        for id in 0..1_000 {
            assert!(!again.admit(&format!("event-{id}"), NOW - id * DAY / 50, NOW));
        }
        assert!(again.admit("event-1000", NOW, NOW));
    }

    #[test]
    fn a_full_table_forgets_the_oldest_day() {
        let mut table = HashTable::new();
        for mark in 0..100_u64 {
            table.insert_unique(hash(mark), mark << 6 | day(NOW - (mark as i64 % 3) * DAY), |item| {
                hash(item >> 6)
            });
        }
        make_room(&mut table, day(NOW));
        assert_eq!(table.len(), 67);
        make_room(&mut table, day(NOW));
        make_room(&mut table, day(NOW));
        assert_eq!(table.len(), 34);
    }
}
