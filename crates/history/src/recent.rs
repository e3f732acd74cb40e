//! Recent decisions by id, so that an outcome finds its decision without reading files.
//!
//! Bounded in bytes. Each shard has two generations: once the younger has filled half of the shard's share, it becomes
//! the older, and the older is forgotten. A decision is packed into one block of some forty bytes, in which offers,
//! placement and channel are positions in the lists of names. What has no position is not remembered; it is read from
//! files.

mod packed;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use hashbrown::{HashMap, HashSet};
use uuid::Uuid;

use super::History;
use super::event::Decision;
use super::names::{Interner, Names};
use super::total::Spend;

const SHARDS: usize = 64;

/// The most keys of pseudonyms whose decisions are remembered.
const KEYS: u16 = u8::MAX as u16;

/// Decisions of this server, and those that outcomes asked for.
pub struct RecentDecisions {
    names: Arc<Names>,
    /// The keys of pseudonyms.
    keys: Interner,
    /// The key by which this server names customers.
    active: u16,
    shards: Box<[Mutex<Generations>]>,
    /// Bytes of one generation of one shard.
    most: usize,
}

/// A decision, as far as its outcomes need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownDecision {
    /// The customer, as the record of the decision names them; empty for an unknown visitor.
    pub customer: String,
    /// The key of the pseudonym; empty where `customer` is the id.
    pub pseudonym_key: Arc<str>,
    /// Where it was shown.
    pub placement: Arc<str>,
    /// Over what.
    pub channel: Arc<str>,
    /// When, to the microsecond.
    pub decided_at: DateTime<Utc>,
    /// What was shown, best first, and what each offer spends.
    pub shown: Vec<(Arc<str>, Spend)>,
}

#[derive(Default)]
struct Generations {
    young: Generation,
    old: Generation,
}

#[derive(Default)]
struct Generation {
    decisions: HashMap<Uuid, Box<[u8]>>,
    /// Bytes of the blocks.
    blocks: usize,
}

impl RecentDecisions {
    /// Remembers decisions in at most `bytes`. `key` is that by which this server makes pseudonyms, empty if it makes
    /// none.
    #[must_use]
    pub fn new(history: &History, bytes: usize, key: &str) -> Self {
        let keys = Interner::new(KEYS);
        let active = keys.intern(key);
        Self {
            names: Arc::clone(history.names()),
            keys,
            active,
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            most: bytes / SHARDS / 2,
        }
    }

    /// Remembers a decision of this server, once its answer is certain.
    pub fn remember(&self, decision: &Decision<'_>) {
        let Decision { id, customer, placement, channel, decided_at, shown } = *decision;
        let shown = shown.iter().map(|one| (&*one.offer, one.spend));
        let key = if customer.is_empty() { 0 } else { self.active };
        if let Some(block) = self.pack((customer, key), (placement, channel), decided_at, shown) {
            self.shard(id).insert(id, block, self.most);
        }
    }

    /// Remembers a decision that was read.
    pub(crate) fn remember_known(&self, id: Uuid, decision: &KnownDecision) {
        let shown = decision.shown.iter().map(|(offer, spend)| (&**offer, *spend));
        let key = self.keys.intern(&decision.pseudonym_key);
        let block = (key != self.keys.other())
            .then(|| {
                let place = (&*decision.placement, &*decision.channel);
                self.pack((&decision.customer, key), place, decision.decided_at, shown)
            })
            .flatten();
        if let Some(block) = block {
            self.shard(id).insert(id, block, self.most);
        }
    }

    /// The decision of that id, if it is remembered.
    #[must_use]
    pub fn find(&self, id: Uuid) -> Option<KnownDecision> {
        let shard = self.shard(id);
        let block = shard.young.decisions.get(&id).or_else(|| shard.old.decisions.get(&id))?;
        self.unpack(block)
    }

    /// Forgets the decisions for a customer, whom records name so. Goes through everything.
    pub fn forget(&self, customer: &str) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            let Generations { young, old } = &mut *shard;
            for generation in [young, old] {
                generation.retain(|block| packed::customer(block) != Some(customer.as_bytes()));
            }
        }
    }

    /// The customers of the decisions, as records name them. Each shard is locked while it is gone through.
    #[must_use]
    pub fn customers(&self) -> HashSet<Box<str>> {
        let mut customers = HashSet::new();
        for shard in &self.shards {
            let shard = lock(shard);
            let blocks = [&shard.young, &shard.old].into_iter().flat_map(|one| one.decisions.values());
            let names = blocks.filter_map(|block| std::str::from_utf8(packed::customer(block)?).ok());
            for name in names.filter(|name| !name.is_empty()) {
                if !customers.contains(name) {
                    customers.insert(name.into());
                }
            }
        }
        customers
    }

    /// How many decisions are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    /// Whether none is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of tables and blocks, without what the allocator adds.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).memory_bytes()).sum()
    }

    fn shard(&self, id: Uuid) -> MutexGuard<'_, Generations> {
        // The last bits of an id are random.
        lock(&self.shards[id.as_u128() as usize % SHARDS])
    }

    /// The block of a decision; `None` if a name has no position.
    fn pack<'s>(
        &self,
        (customer, key): (&str, u16),
        (placement, channel): (&str, &str),
        decided_at: DateTime<Utc>,
        shown: impl ExactSizeIterator<Item = (&'s str, Spend)>,
    ) -> Option<Box<[u8]>> {
        let placement = positioned(&self.names.placements, placement)?;
        let channel = positioned(&self.names.channels, channel)?;
        let mut writer = packed::Writer::new(shown.len(), customer.len());
        for number in [u64::from(key), placement.into(), channel.into()] {
            writer.number(number);
        }
        writer.signed(decided_at.timestamp_micros());
        writer.number(shown.len() as u64);
        for (offer, spend) in shown {
            writer.number(positioned(&self.names.offers, offer)?.into());
            writer.signed(spend.cost_micros);
            writer.signed(spend.value_micros);
        }
        Some(writer.end(customer))
    }

    fn unpack(&self, block: &[u8]) -> Option<KnownDecision> {
        let mut reader = packed::Reader::new(block);
        let mut position = || u16::try_from(reader.number()?).ok();
        let (key, placement, channel) = (position()?, position()?, position()?);
        let decided_at = DateTime::from_timestamp_micros(reader.signed()?)?;
        let count = reader.number()?;
        let mut shown = Vec::new();
        for _ in 0..count {
            let offer = self.names.offers.name(u16::try_from(reader.number()?).ok()?);
            shown.push((offer, Spend { cost_micros: reader.signed()?, value_micros: reader.signed()? }));
        }
        Some(KnownDecision {
            customer: std::str::from_utf8(reader.rest()).ok()?.to_owned(),
            pseudonym_key: self.keys.name(key),
            placement: self.names.placements.name(placement),
            channel: self.names.channels.name(channel),
            decided_at,
            shown,
        })
    }
}

/// The position of a name of a release; `None` if there is no room for it.
fn positioned(names: &Interner, name: &str) -> Option<u16> {
    Some(names.intern(name)).filter(|position| *position != names.other())
}

fn lock(shard: &Mutex<Generations>) -> MutexGuard<'_, Generations> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Generations {
    /// Adds a decision to the younger generation, which takes at most `most` bytes.
    fn insert(&mut self, id: Uuid, block: Box<[u8]>, most: usize) {
        if self.young.decisions.contains_key(&id) {
            return;
        }
        if self.young.bytes_with(&block) > most {
            self.old = std::mem::take(&mut self.young);
            if self.young.bytes_with(&block) > most {
                return;
            }
        }
        self.young.blocks += bytes_of(&block);
        self.young.decisions.insert(id, block);
    }

    fn len(&self) -> usize {
        self.young.decisions.len() + self.old.decisions.len()
    }

    fn memory_bytes(&self) -> usize {
        self.young.memory_bytes() + self.old.memory_bytes()
    }
}

impl Generation {
    fn memory_bytes(&self) -> usize {
        self.decisions.allocation_size() + self.blocks
    }

    /// The bytes with one more block. The table doubles when it is full.
    fn bytes_with(&self, block: &[u8]) -> usize {
        let table = self.decisions.allocation_size();
        let is_full = self.decisions.len() == self.decisions.capacity();
        let table = if is_full { (2 * table).max(LEAST_TABLE) } else { table };
        table + self.blocks + bytes_of(block)
    }

    fn retain(&mut self, keeps: impl Fn(&[u8]) -> bool) {
        let blocks = &mut self.blocks;
        self.decisions.retain(|_, block| {
            let stays = keeps(block);
            if !stays {
                *blocks -= bytes_of(block);
            }
            stays
        });
    }
}

/// More than the bytes of a table with its first slots.
const LEAST_TABLE: usize = 256;

/// The bytes of a block, as allocators round them.
fn bytes_of(block: &[u8]) -> usize {
    block.len().next_multiple_of(16)
}

impl fmt::Debug for RecentDecisions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecentDecisions").field("decisions", &self.len()).finish_non_exhaustive()
    }
}
