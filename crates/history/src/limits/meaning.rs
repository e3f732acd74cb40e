//! What an entry means to the limits of a release.
//!
//! That depends on its code alone. So it is worked out once for each code and kept in one word, and a customer's
//! entries are gone through without a look at their names.

use super::Limits;
use super::cap::Capped;
use crate::append::{AppendList, Reader};
use crate::entry::Entry;
use crate::names::Code;

/// The meaning of every code that was asked for.
#[derive(Debug, Default)]
pub(super) struct Meanings(AppendList);

/// What an entry means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meaning(u64);

impl Meaning {
    /// In every word, so that none is 0.
    const KNOWN: u64 = 1 << 63;
    /// The entry stands for any number of such entries.
    const SATURATED: u64 = 1 << 62;
    /// A suppression counts its type.
    const SUPPRESSES: u64 = 1 << 61;
    /// The offer is not known: any cap may count it.
    const ANY_CAP: u64 = 1 << 60;
    /// A contact limit counts it.
    const CONTACT: u64 = 1 << 59;
    /// The position of the cap that counts it, from 1 on; 0 if there is none.
    const CAP: u64 = (1 << 32) - 1;

    pub(super) fn is_saturated(self) -> bool {
        self.0 & Self::SATURATED != 0
    }

    /// Whether a suppression may count it.
    pub(super) fn suppresses(self) -> bool {
        self.0 & Self::SUPPRESSES != 0
    }

    /// The cap that counts it.
    pub(super) fn capped(self) -> Capped {
        match (self.0 & Self::CAP).checked_sub(1) {
            Some(place) => Capped::By(place as usize),
            None if self.0 & Self::ANY_CAP != 0 => Capped::ByAny,
            None => Capped::ByNone,
        }
    }
}

/// What all entries of a customer mean together, so that limits are not counted that cannot be reached.
#[derive(Debug, Clone, Copy)]
pub(super) struct Overview {
    /// The flags of all of them.
    any: Meaning,
    /// Those that a contact limit counts.
    contacts: usize,
    /// No cap counts more.
    most_capped: usize,
}

/// Reads meanings.
#[derive(Debug, Clone, Copy)]
pub(super) struct MeaningReader<'m>(Reader<'m>);

impl Overview {
    /// Whether a suppression may count one of them.
    pub(super) fn suppresses(&self) -> bool {
        self.any.suppresses()
    }

    /// The most that a contact limit can count.
    pub(super) fn most_contacts(&self) -> usize {
        if self.any.is_saturated() { usize::MAX } else { self.contacts }
    }

    /// The most that a cap can count.
    pub(super) fn most_capped(&self) -> usize {
        let any_number = Meaning::SATURATED | Meaning::ANY_CAP;
        if self.any.0 & any_number != 0 { usize::MAX } else { self.most_capped }
    }
}

impl Meanings {
    /// The overview of the entries of a customer. From then on their meanings can be read.
    pub(super) fn overview(&self, limits: &Limits, entries: &[Entry]) -> Overview {
        let (overview, all_known) = self.overview_of_known(entries);
        if all_known {
            return overview;
        }
        for entry in entries {
            self.work_out(limits, entry.code());
        }
        self.overview_of_known(entries).0
    }

    /// Reads the meanings of entries of which there was an overview.
    pub(super) fn reader(&self) -> MeaningReader<'_> {
        MeaningReader(self.0.reader())
    }

    /// The overview, and whether every entry has a meaning yet.
    fn overview_of_known(&self, entries: &[Entry]) -> (Overview, bool) {
        let reader = self.reader();
        let (mut any, mut every, mut contacts) = (0, Meaning::KNOWN, 0);
        // A bit for the caps of every 64th position. All entries of a cap but the first find their bit set.
        let (mut capped, mut again) = (0_u64, 0);
        for entry in entries {
            let Meaning(meaning) = reader.get(entry.code());
            any |= meaning;
            every &= meaning;
            contacts += usize::from(meaning & Meaning::CONTACT != 0);
            let cap = meaning & Meaning::CAP;
            let bit = u64::from(cap != 0) << (cap % 64);
            again += usize::from(capped & bit != 0);
            capped |= bit;
        }
        let most_capped = again + usize::from(capped != 0);
        (Overview { any: Meaning(any), contacts, most_capped }, every != 0)
    }

    #[cold]
    fn work_out(&self, limits: &Limits, code: Code) {
        let key = limits.names.key(code);
        let flag = |is_set: bool, flag: u64| if is_set { flag } else { 0 };
        let cap = match limits.caps.counting(limits, key) {
            Capped::By(place) => place as u64 + 1,
            Capped::ByAny => Meaning::ANY_CAP,
            Capped::ByNone => 0,
        };
        let is_contact = limits.contacts.work_out(code, key);
        let meaning = Meaning::KNOWN
            | flag(key.saturated, Meaning::SATURATED)
            | flag(limits.suppressions.count(key.event_type), Meaning::SUPPRESSES)
            | flag(is_contact, Meaning::CONTACT)
            | cap;
        self.0.set(code.get() as usize, meaning);
    }
}

impl MeaningReader<'_> {
    pub(super) fn get(&self, code: Code) -> Meaning {
        Meaning(self.0.get(code.get() as usize))
    }
}
