//! Contact limits: which of them are reached for a customer at a place.
//!
//! What a limit counts is a conjunction: of a channel, a placement, an offer and a type. So each of these has a mask
//! with a bit for every limit that it is in the scope of, and the limits that count an entry are the bits that all four
//! have in common. They depend on the code of the entry alone, so they are worked out once for each code.

use offer::Policy;
use smallvec::SmallVec;

use super::meaning::Overview;
use super::{OfferSet, Place, PlacementNames, Terms, counted};
use crate::append::AppendList;
use crate::bits::bits;
use crate::entry::Entry;
use crate::moment::{Millis, NEVER};
use crate::names::{Code, EntryKey, Names};
use crate::timeline::Timeline;
use crate::window::Window;

/// The limits of one word, in which a bit is left for [`SATURATED`].
const CHUNK: usize = 63;

/// In the word of a code that stands for any number of entries.
const SATURATED: u64 = 1 << 63;

/// The bits of limits.
const LIMITS: u64 = SATURATED - 1;

/// The binary digits of a number that is more than the entries of a customer.
const DIGITS: usize = (Timeline::MOST.ilog2() + 1) as usize;

/// Every contact limit of a release.
#[derive(Debug)]
pub(super) struct ContactLimits {
    limits: Vec<ContactLimit>,
    chunks: Vec<Chunk>,
    longest: Millis,
}

#[derive(Debug)]
struct ContactLimit {
    id: String,
    most: u32,
    window: Window,
    /// The offers that it withholds.
    offers: OfferSet,
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

/// Up to [`CHUNK`] limits.
#[derive(Debug)]
struct Chunk {
    channels: Mask,
    placements: Mask,
    offers: Mask,
    types: Mask,
    /// The limits that count an entry, by its code.
    of_code: AppendList,
    /// The distinct windows, and the limits that have them.
    windows: Vec<(Window, u64)>,
    /// The limits of 0.
    never: u64,
    /// Distinct numbers above 0 in order, and the limits with that number.
    by_most: Vec<(usize, u64)>,
    /// How many events reach each limit, or more than there are: a word for each binary digit, the lowest first. So one
    /// event is counted for all limits at once.
    most: [u64; DIGITS],
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
        let limits: Vec<ContactLimit> = policy
            .contact_limits
            .iter()
            .map(|limit| ContactLimit {
                id: limit.id.clone(),
                most: limit.limit,
                window: Window::new(limit.per, policy.time_zone),
                offers: match &limit.offers {
                    Some(offers) => offers.iter().copied().collect(),
                    None => OfferSet::first(offers.len()),
                },
            })
            .collect();
        let chunks = policy.contact_limits.chunks(CHUNK).zip(limits.chunks(CHUNK));
        let chunks = chunks.map(|(policy, limits)| Chunk::new(policy, limits, offers, placements, names));
        let longest = policy.contact_limits.iter().map(|limit| Window::longest(limit.per)).max();
        Self { chunks: chunks.collect(), longest: longest.unwrap_or(0), limits }
    }

    pub(super) fn longest(&self) -> Millis {
        self.longest
    }

    pub(super) fn id(&self, limit: usize) -> &str {
        &self.limits[limit].id
    }

    /// The offers that the limit withholds once it is reached.
    pub(super) fn offers(&self, limit: usize) -> &OfferSet {
        &self.limits[limit].offers
    }

    /// Works out which limits count the entries of a code, and returns whether any does.
    pub(super) fn work_out(&self, code: Code, key: EntryKey) -> bool {
        self.chunks.iter().fold(false, |is_counted, chunk| chunk.work_out(code, key) | is_counted)
    }

    /// The limits that are reached at `place`, in order. `entries` are sorted by moment, and there was an overview of
    /// them.
    pub(super) fn reached(
        &self,
        entries: &[Entry],
        overview: &Overview,
        place: Place,
        now: Millis,
    ) -> AllReached {
        let mut reached = AllReached::new();
        for (number, (chunk, limits)) in self.chunks.iter().zip(self.limits.chunks(CHUNK)).enumerate() {
            let here = chunk.channels.at(place.channel) & chunk.placements.at(place.placement) & LIMITS;
            let open = here & chunk.countable(overview.most_contacts());
            if here & chunk.never == 0 && open == 0 {
                continue;
            }
            let first = reached.len();
            for bit in bits(here & chunk.never) {
                reached.push(Reached { limit: number * CHUNK + bit, frees: NEVER });
            }
            chunk.count(entries, limits, open, now, |bit, frees| {
                reached.push(Reached { limit: number * CHUNK + bit, frees });
            });
            reached[first..].sort_unstable_by_key(|one| one.limit);
        }
        reached
    }
}

impl Chunk {
    fn new(
        policy: &[offer::ContactLimit],
        limits: &[ContactLimit],
        offers: &[Terms],
        placements: &[PlacementNames],
        names: &Names,
    ) -> Self {
        let those = |are: &dyn Fn(&offer::ContactLimit) -> bool| {
            let those = policy.iter().enumerate().filter(|(_, limit)| are(limit));
            those.fold(0, |bits, (bit, _)| bits | 1_u64 << bit)
        };
        let new = |list: &crate::names::Interner, others| Mask::new(list.len(), others, list.other());
        let mut chunk = Self {
            channels: new(&names.channels, those(&|limit| limit.channels.is_empty())),
            placements: new(&names.placements, those(&|limit| limit.placements.is_empty())),
            offers: new(&names.offers, those(&|limit| limit.offers.is_none())),
            types: new(&names.types, 0),
            of_code: AppendList::default(),
            windows: Vec::new(),
            never: those(&|limit| limit.limit == 0),
            by_most: Vec::new(),
            most: [0; DIGITS],
        };
        for (bit, (policy, limit)) in policy.iter().zip(limits).enumerate() {
            let set = |mask: &mut Mask, position: u16| {
                if let Some(bits) = mask.of.get_mut(usize::from(position)) {
                    *bits |= 1 << bit;
                }
            };
            for channel in &policy.channels {
                set(&mut chunk.channels, names.channels.intern(channel));
            }
            for placement in &policy.placements {
                set(&mut chunk.placements, placements[placement.get()].position);
            }
            for offer in policy.offers.iter().flatten() {
                set(&mut chunk.offers, offers[offer.get()].position);
            }
            set(&mut chunk.types, counted(&policy.count, names));
            add(&mut chunk.windows, &limit.window, bit);
            if limit.most > 0 {
                add(&mut chunk.by_most, &(limit.most as usize), bit);
            }
            let most = (limit.most as usize).min((1 << DIGITS) - 1);
            for (digit, limits) in chunk.most.iter_mut().enumerate() {
                *limits |= ((most >> digit & 1) as u64) << bit;
            }
        }
        chunk.by_most.sort_unstable();
        chunk
    }

    /// The limits above 0 that so many entries can reach.
    fn countable(&self, entries: usize) -> u64 {
        let within = self.by_most.iter().take_while(|(most, _)| *most <= entries);
        within.fold(0, |limits, (_, more)| limits | more)
    }

    fn work_out(&self, code: Code, key: EntryKey) -> bool {
        let limits = self.types.at(key.event_type)
            & self.offers.at(key.offer)
            & self.placements.at(key.placement)
            & self.channels.at(key.channel);
        let word = limits & LIMITS | if key.saturated { SATURATED } else { 0 };
        self.of_code.set(code.get() as usize, word);
        limits & LIMITS != 0
    }

    /// How many digits the numbers of these limits have.
    fn digits(&self, limits: u64) -> usize {
        self.most.iter().rposition(|digit| digit & limits != 0).map_or(0, |highest| highest + 1)
    }

    /// Calls `reached` with those of the `open` limits that are reached, by their bits: those of which as many events
    /// as the limit count. The moment of the oldest of these events says when there will be one less.
    fn count(
        &self,
        entries: &[Entry],
        limits: &[ContactLimit],
        mut open: u64,
        now: Millis,
        mut reached: impl FnMut(usize, Millis),
    ) {
        let of_open = self.windows.iter().filter(|(_, limits)| limits & open != 0);
        let windows: SmallVec<[(Millis, u64); 4]> =
            of_open.map(|(window, limits)| (window.first(now), *limits)).collect();
        // The first moment that some window does not leave out.
        let mut first = latest(&windows, open);
        let of_code = self.of_code.reader();
        let digits = self.digits(open);
        let mut left = self.most;
        let left = &mut left[..digits];
        // Of the decision at hand: the limits that count it, and those of them that are thereby reached.
        let (mut counting, mut saturated) = (0, 0);
        for entry in entries.iter().rev() {
            let at = entry.at();
            if at < first {
                let left_out = windows.iter().filter(|(first, _)| at < *first);
                open &= !left_out.fold(0, |left_out, (_, limits)| left_out | limits);
                first = latest(&windows, open);
            }
            if open == 0 {
                break;
            }
            let word = of_code.get(entry.code().get() as usize);
            counting |= word & open;
            if word & SATURATED != 0 {
                saturated |= word & open;
            }
            if entry.follows() {
                continue;
            }
            take_one(left, counting);
            let none_left = counting & !left.iter().fold(0, |some, digit| some | digit);
            for bit in bits(none_left | saturated) {
                reached(bit, limits[bit].window.leaves(at));
            }
            open &= !(none_left | saturated);
            (counting, saturated) = (0, 0);
        }
    }
}

/// Takes one off the numbers of these limits, none of which is 0.
fn take_one(numbers: &mut [u64], limits: u64) {
    let mut borrows = limits;
    for digit in numbers {
        if borrows == 0 {
            break;
        }
        let before = *digit;
        *digit ^= borrows;
        borrows &= !before;
    }
}

/// Adds a limit to those with the same key.
fn add<K: PartialEq + Clone>(groups: &mut Vec<(K, u64)>, key: &K, bit: usize) {
    match groups.iter_mut().find(|(of, _)| of == key) {
        Some((_, limits)) => *limits |= 1 << bit,
        None => groups.push((key.clone(), 1 << bit)),
    }
}

/// The latest first moment of the windows that open limits have.
fn latest(windows: &[(Millis, u64)], open: u64) -> Millis {
    let of_open = windows.iter().filter(|(_, limits)| limits & open != 0);
    of_open.map(|(first, _)| *first).max().unwrap_or(Millis::MIN)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn one_is_taken_off_the_numbers_that_are_meant(
            numbers in prop::collection::vec(1..1_u64 << DIGITS, 1..=CHUNK),
            takes in prop::collection::vec(any::<u64>(), 0..50),
        ) {
            let number = |digits: &[u64], bit: usize| {
                let of_digit = digits.iter().enumerate().map(|(digit, limits)| (limits >> bit & 1) << digit);
                of_digit.sum::<u64>()
            };
            let mut digits = [0; DIGITS];
            for (bit, number) in numbers.iter().enumerate() {
                for (digit, limits) in digits.iter_mut().enumerate() {
                    *limits |= (number >> digit & 1) << bit;
                }
            }
            let mut expected = numbers;
            for limits in takes {
                let is_some = |bit: &usize| number(&digits, *bit) > 0;
                let some = (0..expected.len()).filter(is_some).fold(0, |some, bit| some | 1 << bit);
                take_one(&mut digits, limits & some);
                for (bit, number) in expected.iter_mut().enumerate() {
                    *number -= (limits & some) >> bit & 1;
                }
                let found: Vec<u64> = (0..expected.len()).map(|bit| number(&digits, bit)).collect();
                prop_assert_eq!(&found, &expected);
            }
        }
    }
}
