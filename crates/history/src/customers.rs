//! The customers of a history by id, in shards: two calls rarely want the same lock.
//!
//! The keys of the map are the timelines, which begin with their ids. So a slot is one pointer, and a customer is found
//! with three reads of memory that is likely in no cache: of the table, of the slot and of the block.
//!
//! Look-ups are those of the map. A key cannot be changed through a map; so changes lock the shard and find the timeline
//! in its table. No change touches the id.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::atomic::{AtomicI64, Ordering};

use dashmap::{DashMap, SharedValue};

use super::entry::Entry;
use super::timeline::{Id, Timeline};

/// With a million customers, a shard that is swept is locked for some tens of microseconds.
const SHARDS: usize = 1_024;

/// Every customer.
#[derive(Debug)]
pub(crate) struct Customers {
    map: DashMap<ById, ()>,
    /// Of the timelines.
    bytes: AtomicI64,
}

/// A timeline that is found by its id.
#[derive(Debug)]
struct ById(Timeline);

impl Borrow<[Entry]> for ById {
    fn borrow(&self) -> &[Entry] {
        self.0.id()
    }
}

impl Hash for ById {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id().hash(state);
    }
}

impl PartialEq for ById {
    fn eq(&self, other: &Self) -> bool {
        self.0.id() == other.0.id()
    }
}

impl Eq for ById {}

impl Default for Customers {
    fn default() -> Self {
        Self { map: DashMap::with_shard_amount(SHARDS), bytes: AtomicI64::new(0) }
    }
}

impl IntoIterator for Customers {
    type Item = Timeline;
    type IntoIter = Box<dyn Iterator<Item = Timeline>>;

    fn into_iter(self) -> Self::IntoIter {
        Box::new(self.map.into_iter().map(|(ById(timeline), ())| timeline))
    }
}

impl Customers {
    pub(crate) fn contains(&self, id: &str) -> bool {
        self.map.contains_key(Id::new(id).words())
    }

    /// Reads the timeline of a customer, if there is one.
    pub(crate) fn read<R>(&self, id: &str, read: impl FnOnce(&Timeline) -> R) -> Option<R> {
        self.map.get(Id::new(id).words()).map(|found| read(&found.key().0))
    }

    /// Changes the timeline of a customer, if there is one.
    pub(crate) fn change<R>(&self, id: &str, change: impl FnOnce(&mut Timeline) -> R) -> Option<R> {
        let id = Id::new(id);
        let hash = self.hash(id.words());
        let mut table = self.map.shards()[self.map.determine_shard(hash as usize)].write();
        let (ById(timeline), _) = table.get_mut(hash, |(known, _)| known.0.id() == id.words())?;
        Some(self.resizing(timeline, change))
    }

    /// Changes the timeline of a customer. If there is none, one is made with room for so many entries.
    pub(crate) fn change_or_add<R>(
        &self,
        id: &str,
        entries: usize,
        change: impl FnOnce(&mut Timeline) -> R,
    ) -> R {
        let id = Id::new(id);
        let hash = self.hash(id.words());
        let mut table = self.map.shards()[self.map.determine_shard(hash as usize)].write();
        if let Some((ById(timeline), _)) = table.get_mut(hash, |(known, _)| known.0.id() == id.words()) {
            return self.resizing(timeline, change);
        }
        let new = Timeline::with_room(&id, entries);
        self.resized(new.memory_bytes() as i64);
        let slot = (ById(new), SharedValue::new(()));
        let (ById(timeline), _) = table.insert_entry(hash, slot, |(known, _)| self.hash(known.0.id()));
        self.resizing(timeline, change)
    }

    /// Adds a customer who is not there.
    pub(crate) fn add(&self, timeline: Timeline) {
        let bytes = timeline.memory_bytes() as i64;
        if self.map.insert(ById(timeline), ()).is_none() {
            self.resized(bytes);
        }
    }

    pub(crate) fn remove(&self, id: &str) -> Option<Timeline> {
        self.remove_if(id, |_| true)
    }

    /// Removes a customer if their timeline is such a one.
    pub(crate) fn remove_if(&self, id: &str, is_such: impl FnOnce(&Timeline) -> bool) -> Option<Timeline> {
        let removed = self.map.remove_if(Id::new(id).words(), |ById(timeline), ()| is_such(timeline));
        let (ById(removed), ()) = removed?;
        self.resized(-(removed.memory_bytes() as i64));
        Some(removed)
    }

    /// Goes through all, shard by shard, and keeps those for which `keeps` says so. It may change them.
    pub(crate) fn retain(&self, mut keeps: impl FnMut(&mut Timeline) -> bool) {
        let hash = |(known, _): &(ById, SharedValue<()>)| self.hash(known.0.id());
        for shard in self.map.shards() {
            let mut table = shard.write();
            let before = std::mem::take(&mut *table);
            table.reserve(before.len(), hash);
            for (ById(mut timeline), unit) in before {
                if self.resizing(&mut timeline, &mut keeps) {
                    let customer = (ById(timeline), unit);
                    table.insert(hash(&customer), customer, hash);
                } else {
                    self.resized(-(timeline.memory_bytes() as i64));
                }
            }
        }
    }

    /// Reads every timeline, in no order. A shard is locked while its timelines are read.
    pub(crate) fn each(&self, mut read: impl FnMut(&Timeline)) {
        for customer in &self.map {
            read(&customer.key().0);
        }
    }

    /// The ids of all, in order.
    pub(crate) fn ids(&self) -> Vec<Box<str>> {
        let mut ids: Vec<Box<str>> = self.map.iter().map(|customer| customer.key().0.id_text()).collect();
        ids.sort_unstable();
        ids
    }

    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    /// The bytes of tables and timelines.
    pub(crate) fn memory_bytes(&self) -> usize {
        let slots: usize = self.map.shards().iter().map(|shard| shard.read().buckets()).sum();
        // A slot has a byte of the table beside it.
        let tables = slots * (size_of::<(ById, SharedValue<()>)>() + 1);
        tables + usize::try_from(self.bytes.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// As the map hashes keys.
    fn hash(&self, id: &[Entry]) -> u64 {
        self.map.hasher().hash_one(id)
    }

    /// Changes a timeline, and counts what that does to its bytes.
    fn resizing<R>(&self, timeline: &mut Timeline, change: impl FnOnce(&mut Timeline) -> R) -> R {
        let before = timeline.memory_bytes() as i64;
        let result = change(timeline);
        self.resized(timeline.memory_bytes() as i64 - before);
        result
    }

    fn resized(&self, bytes: i64) {
        if bytes != 0 {
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }
}
