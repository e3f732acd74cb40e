//! The customers of a history by id, in shards: two calls rarely want the same lock.
//!
//! The keys of the map are the timelines, which have their ids. So a slot is one pointer, and a customer is found with
//! three reads of memory that is likely in no cache: of the table, of the slot and of the block.
//!
//! A map compares and changes keys by what they borrow, for which a look at a block would come before the look at the
//! id in it. So shards are locked, and timelines are found in their tables. No change touches the id.

use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::atomic::{AtomicI64, Ordering};

use dashmap::{DashMap, SharedValue};

use super::timeline::{Id, Timeline};

/// With a million customers, a shard that is swept is locked for some tens of microseconds.
const SHARDS: usize = 1_024;

/// Every customer.
#[derive(Debug)]
pub(crate) struct Customers {
    /// Ids come from clients, so the hash is keyed.
    map: DashMap<ById, ()>,
    /// Of the timelines.
    bytes: AtomicI64,
}

/// A timeline that is found by its id.
#[derive(Debug)]
struct ById(Timeline);

impl ById {
    fn is_of(&self, id: &Id) -> bool {
        self.0.is_of(id)
    }
}

impl Hash for ById {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id().hash(state);
    }
}

impl PartialEq for ById {
    fn eq(&self, other: &Self) -> bool {
        self.is_of(&other.0.id())
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
        self.read(id, |_| ()).is_some()
    }

    /// Reads the timeline of a customer, if there is one.
    pub(crate) fn read<R>(&self, id: &str, read: impl FnOnce(&Timeline) -> R) -> Option<R> {
        let id = Id::new(id);
        let (hash, shard) = self.place(&id);
        let table = self.map.shards()[shard].read();
        let (ById(timeline), _) = table.get(hash, |(known, _)| known.is_of(&id))?;
        Some(read(timeline))
    }

    /// Changes the timeline of a customer, if there is one.
    pub(crate) fn change<R>(&self, id: &str, change: impl FnOnce(&mut Timeline) -> R) -> Option<R> {
        let id = Id::new(id);
        let (hash, shard) = self.place(&id);
        let mut table = self.map.shards()[shard].write();
        let (ById(timeline), _) = table.get_mut(hash, |(known, _)| known.is_of(&id))?;
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
        let (hash, shard) = self.place(&id);
        let mut table = self.map.shards()[shard].write();
        if let Some((ById(timeline), _)) = table.get_mut(hash, |(known, _)| known.is_of(&id)) {
            return self.resizing(timeline, change);
        }
        let new = Timeline::with_room(&id, entries);
        self.resized(new.memory_bytes() as i64);
        let slot = (ById(new), SharedValue::new(()));
        let (ById(timeline), _) = table.insert_entry(hash, slot, |(known, _)| self.hash(&known.0.id()));
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
        let id = Id::new(id);
        let (hash, shard) = self.place(&id);
        let mut table = self.map.shards()[shard].write();
        let (known, _) = table.get(hash, |(known, _)| known.is_of(&id))?;
        if !is_such(&known.0) {
            return None;
        }
        let (ById(removed), _) = table.remove_entry(hash, |(known, _)| known.is_of(&id))?;
        self.resized(-(removed.memory_bytes() as i64));
        Some(removed)
    }

    /// Goes through all, shard by shard, and keeps those for which `keeps` says so. It may change them.
    pub(crate) fn retain(&self, mut keeps: impl FnMut(&mut Timeline) -> bool) {
        let hash = |(known, _): &(ById, SharedValue<()>)| self.hash(&known.0.id());
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
        let mut ids: Vec<Box<str>> = self.map.iter().map(|customer| customer.key().0.id().text()).collect();
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

    /// The hash of an id, and its shard.
    fn place(&self, id: &Id) -> (u64, usize) {
        let hash = self.hash(id);
        (hash, self.map.determine_shard(hash as usize))
    }

    /// As the map hashes keys.
    fn hash(&self, id: &Id) -> u64 {
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::entry::Entry;
    use crate::names::{Code, Names};

    /// Some ids are parts of others.
    fn id(number: u16) -> String {
        match number % 3 {
            0 => format!("customer {number}"),
            1 => format!("{number}"),
            _ => format!("{:016}", number / 6),
        }
    }

    fn entry(at: u16) -> Entry {
        Entry::new(i64::from(at), Code::UNKNOWN, false)
    }

    /// The moments of a timeline.
    fn moments(timeline: &Timeline) -> Vec<i64> {
        timeline.entries().iter().map(|entry| entry.at()).collect()
    }

    /// What the customers take, added up.
    fn bytes(customers: &Customers) -> i64 {
        let mut bytes = 0;
        customers.each(|timeline| bytes += timeline.memory_bytes() as i64);
        bytes
    }

    proptest! {
        #[test]
        fn customers_are_a_map(steps in prop::collection::vec((0..400_u16, 0..20_u16, 0..13_u8), 0..600)) {
            let (names, customers) = (Names::default(), Customers::default());
            let mut expected: BTreeMap<String, Vec<i64>> = BTreeMap::new();
            for (number, at, step) in steps {
                let id = id(number);
                let insert = |timeline: &mut Timeline| timeline.insert(&[entry(at)], &names);
                let found = match step {
                    0..6 => {
                        customers.change_or_add(&id, usize::from(number % 3), insert);
                        let moments = expected.entry(id.clone()).or_default();
                        moments.push(i64::from(at));
                        moments.sort_unstable();
                        customers.contains(&id)
                    }
                    6..8 => {
                        let changed = customers.change(&id, insert).is_some();
                        if let Some(moments) = expected.get_mut(&id) {
                            moments.push(i64::from(at));
                            moments.sort_unstable();
                        }
                        changed
                    }
                    8..10 => {
                        let removed = customers.remove(&id).map(|timeline| moments(&timeline));
                        prop_assert_eq!(removed, expected.remove(&id));
                        false
                    }
                    10 => {
                        let is_such = |moments: &[i64]| moments.len() > 2;
                        let removed = customers.remove_if(&id, |timeline| is_such(&moments(timeline)));
                        let goes = expected.get(&id).is_some_and(|moments| is_such(moments));
                        prop_assert_eq!(removed.is_some(), goes);
                        if goes {
                            expected.remove(&id);
                        }
                        expected.contains_key(&id)
                    }
                    11 => {
                        customers.add(Timeline::from_entries(&Id::new(&id), &[entry(at)], false));
                        expected.entry(id.clone()).or_insert_with(|| vec![i64::from(at)]);
                        customers.contains(&id)
                    }
                    _ => {
                        customers.retain(|timeline| {
                            timeline.expire(i64::from(at));
                            timeline.len() > 0
                        });
                        for moments in expected.values_mut() {
                            moments.retain(|moment| *moment >= i64::from(at));
                        }
                        expected.retain(|_, moments| !moments.is_empty());
                        customers.contains(&id)
                    }
                };
                prop_assert_eq!(found, expected.contains_key(&id));
                prop_assert_eq!(customers.bytes.load(Ordering::Relaxed), bytes(&customers));
            }
            prop_assert_eq!(customers.len(), expected.len());
            let ids: Vec<String> = customers.ids().into_iter().map(String::from).collect();
            prop_assert_eq!(ids, expected.keys().cloned().collect::<Vec<_>>());
            for number in 0..400 {
                let id = id(number);
                prop_assert_eq!(customers.read(&id, moments), expected.get(&id).cloned());
            }
            let all = customers.into_iter().map(|one| (String::from(one.id().text()), moments(&one)));
            prop_assert_eq!(all.collect::<BTreeMap<_, _>>(), expected);
        }
    }
}
