//! Names, dictionary-coded: an entry holds one code for its offer, placement, channel and type together.
//!
//! Names and codes are given out once and never taken back, so that entries of any age can be read. Both are bounded.
//! Where there is no room, a name becomes [`Interner::other`] and a combination one without placement and channel.
//! Every limit counts what it cannot tell apart, so that a full table withholds too much and never too little.

mod interner;

use std::sync::{Arc, PoisonError, RwLock};

use hashbrown::HashMap;

pub(crate) use interner::Interner;

use super::append::AppendList;

/// The position of the empty name in each [`Interner`].
pub(crate) const NONE: u16 = 0;

/// The position of [`DECISION_NAME`] among the types.
pub(crate) const DECISION: u16 = 1;

/// The type of entries that a decision made; no outcome has this name.
pub(crate) const DECISION_NAME: &str = "decision";

/// The most offers, placements, channels and types: each has so many positions, the last of which stands for the rest.
const OFFERS: u16 = u16::MAX;
const PLACEMENTS: u16 = (1 << 12) - 1;
const CHANNELS: u16 = u8::MAX as u16;
const TYPES: u16 = u8::MAX as u16;

/// The codes that are given out for whole combinations. Those above are kept for what has only an offer and a type.
const WHOLE: usize = 1 << 22;

/// The position of an [`EntryKey`] in [`Names`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Code(u32);

impl Code {
    /// The greatest code: entries have 23 bits for it.
    pub(crate) const MOST: u32 = (1 << 23) - 1;

    /// The code of [`EntryKey::UNKNOWN`].
    pub(crate) const UNKNOWN: Self = Self(0);

    pub(crate) fn new(code: u32) -> Self {
        Self(code)
    }

    pub(crate) fn get(self) -> u32 {
        self.0
    }
}

/// What an entry is about; positions in the lists of [`Names`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EntryKey {
    pub offer: u16,
    pub placement: u16,
    pub channel: u16,
    /// [`DECISION`], or the type of an outcome.
    pub event_type: u16,
    /// Stands for any number of such entries, none of them later.
    pub saturated: bool,
}

impl EntryKey {
    /// What could not be kept apart from anything.
    pub(crate) const UNKNOWN: Self =
        Self { offer: OFFERS, placement: PLACEMENTS, channel: CHANNELS, event_type: TYPES, saturated: true };

    /// As one number other than 0.
    fn pack(self) -> u64 {
        1 << 63
            | u64::from(self.saturated) << 44
            | u64::from(self.offer) << 28
            | u64::from(self.placement) << 16
            | u64::from(self.channel) << 8
            | u64::from(self.event_type)
    }

    fn unpack(packed: u64) -> Self {
        if packed == 0 {
            return Self::UNKNOWN;
        }
        Self {
            offer: (packed >> 28) as u16,
            placement: (packed >> 16) as u16 & PLACEMENTS,
            channel: (packed >> 8) as u16 & CHANNELS,
            event_type: packed as u16 & TYPES,
            saturated: packed >> 44 & 1 == 1,
        }
    }
}

/// Every name and combination that an entry may have.
#[derive(Debug)]
pub(crate) struct Names {
    pub offers: Interner,
    pub placements: Interner,
    pub channels: Interner,
    pub types: Interner,
    codes: RwLock<HashMap<u64, u32>>,
    /// The packed keys, by code.
    keys: AppendList,
}

impl Default for Names {
    fn default() -> Self {
        let types = Interner::new(TYPES);
        types.intern(DECISION_NAME);
        let names = Self {
            offers: Interner::new(OFFERS),
            placements: Interner::new(PLACEMENTS),
            channels: Interner::new(CHANNELS),
            types,
            codes: RwLock::default(),
            keys: AppendList::default(),
        };
        names.code(EntryKey::UNKNOWN);
        names
    }
}

impl Names {
    /// The key of a code.
    pub(crate) fn key(&self, code: Code) -> EntryKey {
        EntryKey::unpack(self.keys.get(code.0 as usize))
    }

    /// The code of a key, given out if it has none.
    pub(crate) fn code(&self, key: EntryKey) -> Code {
        let packed = key.pack();
        if let Some(code) = self.codes.read().unwrap_or_else(PoisonError::into_inner).get(&packed) {
            return Code(*code);
        }
        let mut codes = self.codes.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(code) = codes.get(&packed) {
            return Code(*code);
        }
        let next = codes.len();
        if next >= WHOLE {
            let rough = EntryKey { placement: PLACEMENTS, channel: CHANNELS, ..key };
            if rough != key {
                drop(codes);
                return self.code(rough);
            }
            if next > Code::MOST as usize {
                return Code::UNKNOWN;
            }
        }
        self.keys.set(next, packed);
        codes.insert(packed, next as u32);
        Code(next as u32)
    }

    /// The code for any number of such entries.
    pub(crate) fn saturated(&self, code: Code) -> Code {
        self.code(EntryKey { saturated: true, ..self.key(code) })
    }

    /// Gives out the saturated code of every code there is.
    pub(crate) fn saturate_all(&self) {
        for code in 0..self.codes() {
            self.saturated(Code(code as u32));
        }
    }

    /// How many codes were given out: each below is known.
    pub(crate) fn codes(&self) -> usize {
        self.codes.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The packed keys, in the order of their codes.
    pub(crate) fn packed_keys(&self) -> impl Iterator<Item = u64> {
        (0..self.codes()).map(|code| self.keys.get(code))
    }

    /// The code of a packed key, given out if it has none.
    pub(crate) fn restore(&self, packed: u64) -> u64 {
        u64::from(self.code(EntryKey::unpack(packed)).0)
    }

    /// Gives everything that others have the same position here; nothing but what is there from the first was given
    /// out.
    pub(crate) fn restore_all(&self, others: &Self) {
        for (ours, theirs) in self.lists().into_iter().zip(others.lists()) {
            (0..theirs.len()).for_each(|position| _ = ours.intern(&theirs.name(position as u16)));
        }
        others.packed_keys().for_each(|packed| _ = self.restore(packed));
    }

    /// The lists of names.
    pub(crate) fn lists(&self) -> [&Interner; 4] {
        [&self.offers, &self.placements, &self.channels, &self.types]
    }

    /// The four names of a key.
    pub(crate) fn of(&self, key: EntryKey) -> KeyNames {
        KeyNames {
            offer: self.offers.name(key.offer),
            placement: self.placements.name(key.placement),
            channel: self.channels.name(key.channel),
            event_type: self.types.name(key.event_type),
        }
    }

    /// The bytes of the names and codes, roughly.
    pub(crate) fn memory_bytes(&self) -> usize {
        let codes = self.codes.read().unwrap_or_else(PoisonError::into_inner);
        // A key and its code in the map at three quarters of its capacity, and the key in the list.
        self.lists().map(Interner::memory_bytes).iter().sum::<usize>()
            + codes.capacity() * 17
            + codes.len() * 8
    }
}

/// The names of an [`EntryKey`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KeyNames {
    pub offer: Arc<str>,
    pub placement: Arc<str>,
    pub channel: Arc<str>,
    pub event_type: Arc<str>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_code_gives_its_key_again() {
        let names = Names::default();
        let key = EntryKey {
            offer: names.offers.intern("travel_card"),
            placement: names.placements.intern("app_home"),
            channel: names.channels.intern("app"),
            event_type: DECISION,
            saturated: false,
        };
        let code = names.code(key);
        assert_eq!((names.code(key), names.key(code)), (code, key));
        assert_eq!(names.key(names.saturated(code)), EntryKey { saturated: true, ..key });
        assert_eq!(names.key(Code::UNKNOWN), EntryKey::UNKNOWN);
        assert_eq!(names.key(Code::new(Code::MOST)), EntryKey::UNKNOWN);
        let of = names.of(key);
        assert_eq!((&*of.offer, &*of.event_type), ("travel_card", "decision"));
    }

    proptest! {
        #[test]
        fn a_packed_key_is_unpacked(
            offer in 0..=OFFERS,
            placement in 0..=PLACEMENTS,
            channel in 0..=CHANNELS,
            event_type in 0..=TYPES,
            saturated in any::<bool>(),
        ) {
            let key = EntryKey { offer, placement, channel, event_type, saturated };
            prop_assert_eq!(EntryKey::unpack(key.pack()), key);
        }
    }
}
