//! Counts by key, for the smallest keys.

use std::cmp::Ordering;

/// Counts of at most `N` keys, the smallest, and of all others together.
///
/// A key that is kept in the end was never given up before: that takes `N` smaller ones. So the counts are exact, and
/// the same in any order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Smallest<K, const N: usize> {
    /// Ascending.
    counts: Vec<(K, u64)>,
    others: u64,
}

impl<K, const N: usize> Default for Smallest<K, N> {
    fn default() -> Self {
        Self { counts: Vec::new(), others: 0 }
    }
}

impl<K: Ord + Clone, const N: usize> Smallest<K, N> {
    /// Adds to the count of a key, which is only made if it is new. `compare` says how a known key compares with it.
    pub(crate) fn add(&mut self, n: u64, compare: impl Fn(&K) -> Ordering, make: impl FnOnce() -> K) {
        match self.counts.binary_search_by(|(known, _)| compare(known)) {
            Ok(at) => self.counts[at].1 += n,
            Err(at) if at >= N => self.others += n,
            Err(at) => {
                self.counts.insert(at, (make(), n));
                if self.counts.len() > N {
                    self.others += self.counts.pop().map_or(0, |(_, count)| count);
                }
            }
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.others += other.others;
        for (key, count) in &other.counts {
            self.add(*count, |known| known.cmp(key), || key.clone());
        }
    }

    /// The keys with their counts, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &(K, u64)> {
        self.counts.iter()
    }

    /// The count of all keys that are not kept.
    pub(crate) fn others(&self) -> u64 {
        self.others
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Few = Smallest<u8, 5>;

    fn of(keys: &[u8]) -> Few {
        let mut counts = Few::default();
        for key in keys {
            counts.add(1, |known| known.cmp(key), || *key);
        }
        counts
    }

    proptest! {
        #[test]
        fn the_smallest_are_counted_exactly_in_any_order(keys in prop::collection::vec(0_u8..12, 0..60), cut in 0_usize..60) {
            let whole = of(&keys);
            let (one, other) = keys.split_at(cut.min(keys.len()));
            let mut merged = of(other);
            merged.merge(&of(one));
            prop_assert_eq!(&merged, &whole);
            let all: u64 = whole.iter().map(|(_, count)| count).sum::<u64>() + whole.others();
            prop_assert_eq!(all, keys.len() as u64);
            for (key, count) in whole.iter() {
                prop_assert_eq!(*count, keys.iter().map(|other| u64::from(other == key)).sum::<u64>());
            }
        }
    }
}
