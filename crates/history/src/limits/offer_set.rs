//! A set of offers of a release.

use std::ops::Range;

use offer::OfferIndex;
use smallvec::SmallVec;

/// Offers by index, a bit for each; up to 256 of them without an allocation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct OfferSet(SmallVec<[u64; 4]>);

impl OfferSet {
    /// The first so many offers of a release.
    pub(crate) fn first(number: usize) -> Self {
        (0..number).map(OfferIndex::new).collect()
    }

    pub(crate) fn insert(&mut self, offer: OfferIndex) {
        let word = offer.get() / 64;
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (offer.get() % 64);
    }

    /// Adds all of another set, and calls `added` with each run of indices that were not in it.
    pub(crate) fn extend_by(&mut self, other: &Self, mut added: impl FnMut(Range<usize>)) {
        if other.0.len() > self.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (place, (word, more)) in self.0.iter_mut().zip(&other.0).enumerate() {
            runs(more & !*word, |run| added(place * 64 + run.start..place * 64 + run.end));
            *word |= more;
        }
    }

    #[inline]
    pub(crate) fn contains(&self, offer: OfferIndex) -> bool {
        self.0.get(offer.get() / 64).is_some_and(|word| word >> (offer.get() % 64) & 1 == 1)
    }
}

/// Calls `found` with each run of bits. A limit on every offer is one run for each word.
fn runs(mut word: u64, mut found: impl FnMut(Range<usize>)) {
    while word != 0 {
        let start = word.trailing_zeros();
        let length = (!(word >> start)).trailing_zeros();
        found(start as usize..(start + length) as usize);
        // The carry of the lowest bit runs through the run, and beyond the word if it ends there.
        word &= word.wrapping_add(1 << start);
    }
}

impl FromIterator<OfferIndex> for OfferSet {
    fn from_iter<I: IntoIterator<Item = OfferIndex>>(offers: I) -> Self {
        let mut set = Self::default();
        for offer in offers {
            set.insert(offer);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn runs_go_to_the_ends_of_a_word() {
        let of = |word| {
            let mut found = Vec::new();
            runs(word, |run| found.push(run));
            found
        };
        assert!(of(0).is_empty());
        assert_eq!(of(u64::MAX).first(), Some(&(0..64)));
        assert_eq!(of(0b1011_0001 | 1 << 63), [0..1, 4..6, 7..8, 63..64]);
        assert_eq!(of(u64::MAX << 60 | 0b11), [0..2, 60..64]);
    }

    proptest! {
        #[test]
        fn a_set_holds_what_was_put_in(
            left in prop::collection::btree_set(0..400_usize, 0..40),
            right in prop::collection::btree_set(0..400_usize, 0..40),
        ) {
            let mut set: OfferSet = left.iter().copied().map(OfferIndex::new).collect();
            let mut added = Vec::new();
            set.extend_by(&right.iter().copied().map(OfferIndex::new).collect(), |run| added.extend(run));
            prop_assert_eq!(added, right.difference(&left).copied().collect::<Vec<_>>());
            for offer in 0..500 {
                let expected = left.contains(&offer) || right.contains(&offer);
                prop_assert_eq!(set.contains(OfferIndex::new(offer)), expected);
            }
        }
    }
}
