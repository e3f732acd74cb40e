//! Contact limits: which of them are reached for a customer at a place.
//!
//! What a limit counts is a conjunction: of a channel, a placement, an offer and a type. So each of these has a mask
//! with a bit for every limit that it is in the scope of, and the limits that count an entry are the bits that all four
//! have in common.

use offer::{OfferIndex, Policy};
use smallvec::SmallVec;

use super::{OfferSet, Place, PlacementNames, Terms, counted};
use crate::entry::Entry;
use crate::moment::{Millis, NEVER};
use crate::names::Names;
use crate::window::Window;

/// Every contact limit of a release.
#[derive(Debug)]
pub(super) struct ContactLimits {
    limits: Vec<ContactLimit>,
    /// The masks of 64 limits each.
    masks: Vec<Masks>,
    longest: Millis,
}

#[derive(Debug)]
struct ContactLimit {
    id: String,
    most: u32,
    window: Window,
    /// The offers that it withholds; `None` means every offer.
    offers: Option<OfferSet>,
}

/// A limit that is reached.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reached {
    /// Its position.
    pub limit: usize,
    /// The first moment at which it is not.
    pub frees: Millis,
}

/// Up to two reached limits without an allocation.
pub(super) type AllReached = SmallVec<[Reached; 2]>;

#[derive(Debug)]
struct Masks {
    channels: Mask,
    placements: Mask,
    offers: Mask,
    types: Mask,
}

/// The limits that each name is in the scope of.
#[derive(Debug)]
struct Mask {
    /// By position.
    of: Vec<u64>,
    /// Of names that the release does not have.
    others: u64,
    /// The position of names that could not be kept apart: in the scope of every limit.
    unknown: u16,
}

impl Mask {
    fn new(names: usize, others: u64, unknown: u16) -> Self {
        Self { of: vec![others; names], others, unknown }
    }

    fn at(&self, position: u16) -> u64 {
        let known = self.of.get(usize::from(position)).copied();
        known.unwrap_or(if position == self.unknown { u64::MAX } else { self.others })
    }
}

impl ContactLimits {
    pub(super) fn new(
        policy: &Policy,
        offers: &[Terms],
        placements: &[PlacementNames],
        names: &Names,
    ) -> Self {
        let limits = policy.contact_limits.iter().map(|limit| ContactLimit {
            id: limit.id.clone(),
            most: limit.limit,
            window: Window::new(limit.per, policy.time_zone),
            offers: limit.offers.as_ref().map(|offers| offers.iter().copied().collect()),
        });
        let masks = policy.contact_limits.chunks(64).map(|limits| {
            let bits = |is_wide: &dyn Fn(&offer::ContactLimit) -> bool| {
                let wide = limits.iter().enumerate().filter(|(_, limit)| is_wide(limit));
                wide.fold(0, |bits, (bit, _)| bits | 1_u64 << bit)
            };
            let new = |list: &crate::names::Interner, others| Mask::new(list.len(), others, list.other());
            let mut masks = Masks {
                channels: new(&names.channels, bits(&|limit| limit.channels.is_empty())),
                placements: new(&names.placements, bits(&|limit| limit.placements.is_empty())),
                offers: new(&names.offers, bits(&|limit| limit.offers.is_none())),
                types: new(&names.types, 0),
            };
            for (bit, limit) in limits.iter().enumerate() {
                let set = |mask: &mut Mask, position: u16| {
                    if let Some(bits) = mask.of.get_mut(usize::from(position)) {
                        *bits |= 1 << bit;
                    }
                };
                for channel in &limit.channels {
                    set(&mut masks.channels, names.channels.intern(channel));
                }
                for placement in &limit.placements {
                    set(&mut masks.placements, placements[placement.get()].position);
                }
                for offer in limit.offers.iter().flatten() {
                    set(&mut masks.offers, offers[offer.get()].position);
                }
                set(&mut masks.types, counted(&limit.count, names));
            }
            masks
        });
        let longest = policy.contact_limits.iter().map(|limit| Window::longest(limit.per)).max();
        Self { masks: masks.collect(), limits: limits.collect(), longest: longest.unwrap_or(0) }
    }

    pub(super) fn longest(&self) -> Millis {
        self.longest
    }

    pub(super) fn id(&self, limit: usize) -> &str {
        &self.limits[limit].id
    }

    /// Whether the limit withholds the offer once it is reached.
    pub(super) fn covers(&self, limit: usize, offer: OfferIndex) -> bool {
        self.limits[limit].offers.as_ref().is_none_or(|offers| offers.contains(offer))
    }

    /// The offers that the limit withholds; `None` means every offer.
    pub(super) fn offers(&self, limit: usize) -> Option<&OfferSet> {
        self.limits[limit].offers.as_ref()
    }

    /// The limits that are reached at `place`, in order. `entries` are sorted by moment.
    pub(super) fn reached(&self, names: &Names, entries: &[Entry], place: Place, now: Millis) -> AllReached {
        let mut reached = AllReached::new();
        for (chunk, (masks, limits)) in self.masks.iter().zip(self.limits.chunks(64)).enumerate() {
            let here = masks.channels.at(place.channel) & masks.placements.at(place.placement);
            if here != 0 {
                let of_chunk = masks.count(names, entries, now, limits, here);
                reached
                    .extend(of_chunk.into_iter().map(|one| Reached { limit: chunk * 64 + one.limit, ..one }));
            }
        }
        reached
    }
}

impl Masks {
    /// The limits of `here` that are reached, by their bits: those of which as many events as the limit count. The moment
    /// of the oldest of these events says when there will be one less.
    fn count(
        &self,
        names: &Names,
        entries: &[Entry],
        now: Millis,
        limits: &[ContactLimit],
        here: u64,
    ) -> AllReached {
        let mut reached = AllReached::new();
        let mut since = [NEVER; 64];
        let mut oldest = NEVER;
        let mut open = here;
        for bit in bits(here) {
            let limit = &limits[bit];
            if limit.most == 0 {
                reached.push(Reached { limit: bit, frees: NEVER });
                open &= !(1 << bit);
                continue;
            }
            since[bit] = limit.window.first(now);
            oldest = oldest.min(since[bit]);
        }
        let mut counts = [0; 64];
        // Of the decision at hand: the limits that count it, and those of them that are thereby reached.
        let (mut counting, mut saturated) = (0, 0);
        for entry in entries.iter().rev() {
            let at = entry.at();
            if at < oldest || open == 0 {
                break;
            }
            let key = names.key(entry.code());
            let mask = open
                & self.types.at(key.event_type)
                & self.offers.at(key.offer)
                & self.placements.at(key.placement)
                & self.channels.at(key.channel);
            counting |= mask;
            if key.saturated {
                saturated |= mask;
            }
            if entry.follows() {
                continue;
            }
            for bit in bits(counting) {
                if at < since[bit] {
                    open &= !(1 << bit);
                    continue;
                }
                counts[bit] += 1;
                if counts[bit] >= limits[bit].most || saturated >> bit & 1 == 1 {
                    reached.push(Reached { limit: bit, frees: limits[bit].window.leaves(at) });
                    open &= !(1 << bit);
                }
            }
            (counting, saturated) = (0, 0);
        }
        reached.sort_unstable_by_key(|one| one.limit);
        reached
    }
}

/// The positions of the bits that are set.
fn bits(mut mask: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = mask.trailing_zeros();
        mask &= mask.wrapping_sub(1);
        (bit < 64).then_some(bit as usize)
    })
}
