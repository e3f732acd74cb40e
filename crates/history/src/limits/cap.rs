//! Caps of an offer for each customer: which of them are reached.

use offer::{Catalog, OfferIndex};
use smallvec::{SmallVec, smallvec};

use super::meaning::Overview;
use super::{Limits, counted};
use crate::entry::Entry;
use crate::moment::{Millis, NEVER};
use crate::names::{EntryKey, Names};
use crate::window::Window;

/// `cap_customer` of every offer that has one.
#[derive(Debug)]
pub(super) struct CustomerCaps {
    /// Those above 0.
    caps: Vec<Cap>,
    /// The position of the cap of each offer.
    of: Vec<Option<usize>>,
    /// The offers with a cap of 0.
    never: Vec<OfferIndex>,
    /// The least of `caps`.
    least: usize,
    longest: Millis,
}

#[derive(Debug)]
struct Cap {
    offer: OfferIndex,
    most: u32,
    window: Window,
    counted: u16,
}

/// The caps that count an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Capped {
    ByNone,
    /// The one at this position.
    By(usize),
    /// Each that counts such a type: the offer is not known.
    ByAny,
}

/// A cap that is reached, and the first moment at which it is not.
pub(super) type ReachedCap = (OfferIndex, Millis);

/// The count of a cap that is reached. Timelines have fewer entries.
const DONE: u16 = u16::MAX;

impl CustomerCaps {
    pub(super) fn new(catalog: &Catalog, names: &Names) -> Self {
        let (mut caps, mut of, mut never, mut longest) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for (index, offer) in catalog.library.indexed() {
            let cap = offer.cap_customer.as_ref();
            if cap.is_some_and(|cap| cap.limit == 0) {
                never.push(index);
            }
            of.push(cap.filter(|cap| cap.limit > 0).map(|cap| {
                longest = longest.max(Window::longest(cap.per));
                caps.push(Cap {
                    offer: index,
                    most: cap.limit,
                    window: Window::new(cap.per, catalog.policy.time_zone),
                    counted: counted(&cap.count, names),
                });
                caps.len() - 1
            }));
        }
        let least = caps.iter().map(|cap| cap.most as usize).min().unwrap_or(usize::MAX);
        Self { caps, of, never, least, longest }
    }

    pub(super) fn longest(&self) -> Millis {
        self.longest
    }

    /// The caps that count such an entry.
    pub(super) fn counting(&self, limits: &Limits, key: EntryKey) -> Capped {
        if key.offer == limits.names.offers.other() {
            return if self.caps.is_empty() { Capped::ByNone } else { Capped::ByAny };
        }
        let cap = limits.index(key.offer).and_then(|offer| self.of[offer.get()]);
        match cap.filter(|place| self.caps[*place].counts(limits, key.event_type)) {
            Some(place) => Capped::By(place),
            None => Capped::ByNone,
        }
    }

    /// The caps that are reached. `entries` are sorted by moment, and `overview` is of them.
    pub(super) fn reached(
        &self,
        limits: &Limits,
        entries: &[Entry],
        overview: &Overview,
        now: Millis,
    ) -> SmallVec<[ReachedCap; 4]> {
        let mut reached: SmallVec<_> = self.never.iter().map(|offer| (*offer, NEVER)).collect();
        if overview.most_capped() < self.least {
            return reached;
        }
        let meanings = limits.meanings.reader();
        let mut counts: SmallVec<[u16; 256]> = smallvec![0; self.caps.len()];
        for entry in entries.iter().rev() {
            let meaning = meanings.get(entry.code());
            let mut count = |place: usize| {
                let (cap, count) = (&self.caps[place], &mut counts[place]);
                if *count == DONE || entry.at() < cap.window.first(now) {
                    return;
                }
                *count += 1;
                if u32::from(*count) >= cap.most || meaning.is_saturated() {
                    reached.push((cap.offer, cap.window.leaves(entry.at())));
                    *count = DONE;
                }
            };
            match meaning.capped() {
                Capped::ByNone => {}
                Capped::By(place) => count(place),
                Capped::ByAny => {
                    let event_type = limits.names.key(entry.code()).event_type;
                    (0..self.caps.len())
                        .filter(|place| self.caps[*place].counts(limits, event_type))
                        .for_each(count);
                }
            }
        }
        reached
    }
}

impl Cap {
    /// Whether it counts a type, or one that could not be kept apart.
    fn counts(&self, limits: &Limits, event_type: u16) -> bool {
        event_type == self.counted || event_type == limits.names.types.other()
    }
}
