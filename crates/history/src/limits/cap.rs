//! Caps of an offer for each customer: which of them are reached.

use offer::{Catalog, OfferIndex};
use smallvec::{SmallVec, smallvec};

use super::{Limits, counted};
use crate::entry::Entry;
use crate::moment::{Millis, NEVER};
use crate::names::Names;
use crate::window::Window;

/// `cap_customer` of every offer that has one.
#[derive(Debug)]
pub(super) struct CustomerCaps {
    caps: Vec<Cap>,
    /// The position of the cap of each offer.
    of: Vec<Option<usize>>,
    longest: Millis,
}

#[derive(Debug)]
struct Cap {
    offer: OfferIndex,
    most: u32,
    window: Window,
    counted: u16,
}

/// A cap that is reached, and the first moment at which it is not.
pub(super) type ReachedCap = (OfferIndex, Millis);

impl CustomerCaps {
    pub(super) fn new(catalog: &Catalog, names: &Names) -> Self {
        let (mut caps, mut of, mut longest) = (Vec::new(), Vec::new(), 0);
        for (index, offer) in catalog.library.indexed() {
            of.push(offer.cap_customer.as_ref().map(|cap| {
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
        Self { caps, of, longest }
    }

    pub(super) fn longest(&self) -> Millis {
        self.longest
    }

    /// The caps that are reached. `entries` are sorted by moment.
    pub(super) fn reached(
        &self,
        limits: &Limits,
        entries: &[Entry],
        now: Millis,
    ) -> SmallVec<[ReachedCap; 4]> {
        let mut reached = SmallVec::new();
        if self.caps.is_empty() {
            return reached;
        }
        let mut counts: SmallVec<[u32; 128]> = smallvec![0; self.caps.len()];
        for (cap, count) in self.caps.iter().zip(&mut counts).filter(|(cap, _)| cap.most == 0) {
            reached.push((cap.offer, NEVER));
            *count = DONE;
        }
        let (unknown_type, unknown_offer) = (limits.names.types.other(), limits.names.offers.other());
        for entry in entries.iter().rev().take_while(|entry| entry.at() >= now - self.longest) {
            let key = limits.names.key(entry.code());
            let mut count = |place: usize| {
                let (cap, count) = (&self.caps[place], &mut counts[place]);
                let is_counted = key.event_type == cap.counted || key.event_type == unknown_type;
                if !is_counted || *count == DONE || entry.at() < cap.window.first(now) {
                    return;
                }
                *count += 1;
                if *count >= cap.most || key.saturated {
                    reached.push((cap.offer, cap.window.leaves(entry.at())));
                    *count = DONE;
                }
            };
            if key.offer == unknown_offer {
                (0..self.caps.len()).for_each(count);
            } else if let Some(place) = limits.index(key.offer).and_then(|offer| self.of[offer.get()]) {
                count(place);
            }
        }
        reached
    }
}

/// The count of a cap that is reached.
const DONE: u32 = u32::MAX;
