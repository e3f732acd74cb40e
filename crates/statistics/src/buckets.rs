//! Counts of positive numbers in buckets of nearly constant relative width, as HdrHistogram has them.
//!
//! A bucket is an exponent and the first bits of the mantissa of a double: each power of two is cut into 2^`BITS` equal
//! parts. So a bucket is found with a shift, and its limits are exact. Source: Tene, "HdrHistogram" (2012).

/// Bits of the mantissa of a double.
const MANTISSA: u32 = 52;

/// Counts by bucket. Takes 8 bytes for each bucket from the lowest to the highest that has a value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Buckets<const BITS: u32> {
    /// The bucket of the first count.
    first: u32,
    counts: Vec<u64>,
}

impl<const BITS: u32> Buckets<BITS> {
    /// The bucket of a positive finite number.
    pub(crate) fn of(value: f64) -> u32 {
        (value.to_bits() >> (MANTISSA - BITS)) as u32
    }

    /// The least number of a bucket.
    pub(crate) fn low(bucket: u32) -> f64 {
        f64::from_bits(u64::from(bucket) << (MANTISSA - BITS))
    }

    /// The middle of a bucket: no number of it is farther off than 2^−(`BITS` + 1) of itself.
    pub(crate) fn middle(bucket: u32) -> f64 {
        f64::midpoint(Self::low(bucket), Self::low(bucket + 1))
    }

    /// Counts numbers in a bucket.
    pub(crate) fn add(&mut self, bucket: u32, n: u64) {
        if self.counts.is_empty() {
            self.first = bucket;
        }
        if bucket < self.first {
            let more = (self.first - bucket) as usize;
            self.counts.splice(..0, std::iter::repeat_n(0, more));
            self.first = bucket;
        }
        let at = (bucket - self.first) as usize;
        if at >= self.counts.len() {
            self.counts.resize(at + 1, 0);
        }
        self.counts[at] += n;
    }

    /// Adds the counts of another.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (bucket, count) in other.iter() {
            self.add(bucket, count);
        }
    }

    /// The buckets that have a number, with their counts, ascending.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (u32, u64)> + Clone {
        let counts = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        counts.map(|(at, count)| (self.first + at as u32, *count))
    }

    /// The count of a bucket.
    pub(crate) fn count(&self, bucket: u32) -> u64 {
        let at = bucket.checked_sub(self.first);
        at.and_then(|at| self.counts.get(at as usize)).copied().unwrap_or(0)
    }

    /// The buckets from the lowest to behind the highest that has a number.
    pub(crate) fn range(&self) -> std::ops::Range<u32> {
        self.first..self.first + self.counts.len() as u32
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Few = Buckets<3>;

    #[test]
    fn buckets_are_found_and_counted_wherever_they_come() {
        let mut buckets = Few::default();
        for value in [1.0, 0.25, 1.1, 8.0, 0.25] {
            buckets.add(Few::of(value), 1);
        }
        let found: Vec<(f64, u64)> =
            buckets.iter().map(|(bucket, count)| (Few::low(bucket), count)).collect();
        assert_eq!(found, [(0.25, 2), (1.0, 2), (8.0, 1)]);
        assert_eq!(
            (buckets.count(Few::of(0.25)), buckets.count(Few::of(0.1)), buckets.count(Few::of(99.0))),
            (2, 0, 0)
        );
    }

    proptest! {
        #[test]
        fn a_number_is_near_the_middle_of_its_bucket(value in prop_oneof![1e-9_f64..1.0, 1.0..1e12_f64]) {
            let bucket = Few::of(value);
            prop_assert!(Few::low(bucket) <= value && value < Few::low(bucket + 1));
            prop_assert!((Few::middle(bucket) / value - 1.0).abs() <= 1.0 / 16.0);
        }
    }
}
