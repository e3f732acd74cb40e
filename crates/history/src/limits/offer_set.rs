//! A set of offers of a release.

use offer::OfferIndex;
use smallvec::SmallVec;

use crate::bits::bits;

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

    /// Adds all of another set, and calls `added` with each that was not in it.
    pub(crate) fn extend_by(&mut self, other: &Self, mut added: impl FnMut(OfferIndex)) {
        if other.0.len() > self.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (place, (word, more)) in self.0.iter_mut().zip(&other.0).enumerate() {
            bits(more & !*word).for_each(|bit| added(OfferIndex::new(place * 64 + bit)));
            *word |= more;
        }
    }

    #[inline]
    pub(crate) fn contains(&self, offer: OfferIndex) -> bool {
        self.0.get(offer.get() / 64).is_some_and(|word| word >> (offer.get() % 64) & 1 == 1)
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

    proptest! {
        #[test]
        fn a_set_holds_what_was_put_in(
            left in prop::collection::btree_set(0..400_usize, 0..40),
            right in prop::collection::btree_set(0..400_usize, 0..40),
        ) {
            let mut set: OfferSet = left.iter().copied().map(OfferIndex::new).collect();
            let mut added = Vec::new();
            set.extend_by(&right.iter().copied().map(OfferIndex::new).collect(), |offer| added.push(offer.get()));
            prop_assert_eq!(added, right.difference(&left).copied().collect::<Vec<_>>());
            for offer in 0..500 {
                let expected = left.contains(&offer) || right.contains(&offer);
                prop_assert_eq!(set.contains(OfferIndex::new(offer)), expected);
            }
        }
    }
}
