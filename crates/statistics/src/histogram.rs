//! Distributions of scores of 0..=1, and how far one is from another.

use crate::buckets::Buckets;
use crate::{kolmogorov, psi};

/// Bits of the mantissa that buckets have: 128 buckets per power of two.
const BITS: u32 = 7;

/// A smaller score counts as this: 2⁻¹⁶, about 0.000015.
const LEAST: f64 = 1.0 / (1_u32 << 16) as f64;

/// Bins of the population stability index.
const BINS: u64 = 10;

/// Counts of scores of 0..=1 in buckets at most 1/128 of a score wide; all below 2⁻¹⁶ are in one bucket.
///
/// Propensities are mostly small, so the buckets are narrow there. Histograms merge exactly and in any order. One takes
/// at most 17 kB.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    buckets: Buckets<BITS>,
    n: u64,
}

/// How far the scores of a second histogram are from those of a first.
#[derive(Debug, Clone, PartialEq)]
pub struct Shift {
    /// The population stability index over the bins between `edges`: 0 if the shares are the same.
    pub psi: f64,
    /// The nine edges between the ten bins; an edge that occurs twice has an empty bin before it.
    pub edges: Vec<f64>,
    /// The bins that have scores of the first: fewer than ten where scores are equal.
    pub bins: usize,
    /// The statistic of Kolmogorov and Smirnov at the limits of buckets: 0 if the counts are the same.
    pub ks: f64,
    /// The largest that it can be between the limits.
    pub ks_at_most: f64,
    /// The probability that independent samples of one distribution are at least `ks` apart.
    pub ks_p_value: f64,
}

impl Histogram {
    /// Counts a score. One below 0 counts as 0, one above 1 as 1; one that is not finite is left out.
    pub fn add(&mut self, score: f64) {
        if score.is_finite() {
            self.buckets.add(Buckets::<BITS>::of(score.clamp(LEAST, 1.0)), 1);
            self.n += 1;
        }
    }

    /// Adds the scores of another.
    pub fn merge(&mut self, other: &Self) {
        self.buckets.merge(&other.buckets);
        self.n += other.n;
    }

    /// How many scores there were.
    #[must_use]
    pub fn n(&self) -> u64 {
        self.n
    }

    /// How far `found` is from this histogram, the reference; `None` if either is empty.
    ///
    /// The edges of the PSI are the deciles of the reference, each lowered to the limit of its bucket, by less than
    /// 1/128 of itself: decile k is the value at position k · n / 10 of the sorted scores. Half a count is added to each
    /// bin.
    #[must_use]
    pub fn shift(&self, found: &Self) -> Option<Shift> {
        if self.n == 0 || found.n == 0 {
            return None;
        }
        let edges = self.deciles()?;
        let reference = self.between(&edges);
        let counts = self.pairs(found);
        let ks = kolmogorov::statistic(counts.clone())?;
        Some(Shift {
            psi: psi::of_counts(&reference, &found.between(&edges)),
            bins: reference.iter().filter(|count| **count > 0).count(),
            edges,
            ks,
            ks_at_most: kolmogorov::at_most(counts)?,
            ks_p_value: kolmogorov::p_value(ks, self.n, found.n),
        })
    }

    /// The counts between limits that ascend: one more than limits. A score counts by the middle of its bucket, so the
    /// counts are exact at limits of buckets, such as powers of two.
    #[must_use]
    pub fn between(&self, limits: &[f64]) -> Vec<u64> {
        let mut counts = vec![0; limits.len() + 1];
        for (bucket, count) in self.buckets.iter() {
            let score = if bucket == least() { 0.0 } else { Buckets::<BITS>::middle(bucket).min(1.0) };
            counts[limits.partition_point(|limit| *limit <= score)] += count;
        }
        counts
    }

    /// The limit of the bucket of the least score that at least the share `q` of the scores does not exceed.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let rank = ((q * self.n as f64 - 1e-9).ceil() as u64).clamp(1, self.n.max(1));
        self.at(rank - 1)
    }

    fn deciles(&self) -> Option<Vec<f64>> {
        (1..BINS)
            .map(|decile| self.at((u128::from(decile) * u128::from(self.n) / u128::from(BINS)) as u64))
            .collect()
    }

    /// The lower limit of the bucket of the score at a position of the sorted ones.
    fn at(&self, position: u64) -> Option<f64> {
        let mut before = 0;
        let found = self.buckets.iter().find(|(_, count)| {
            before += count;
            before > position
        });
        found.map(|(bucket, _)| if bucket == least() { 0.0 } else { Buckets::<BITS>::low(bucket) })
    }

    /// The counts of both by bucket.
    fn pairs<'h>(&'h self, other: &'h Self) -> impl Iterator<Item = (u64, u64)> + Clone + 'h {
        let (one, two) = (self.buckets.range(), other.buckets.range());
        (one.start.min(two.start)..one.end.max(two.end))
            .map(|bucket| (self.buckets.count(bucket), other.buckets.count(bucket)))
    }
}

fn least() -> u32 {
    Buckets::<BITS>::of(LEAST)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(scores: &[f64]) -> Histogram {
        let mut histogram = Histogram::default();
        for score in scores {
            histogram.add(*score);
        }
        histogram
    }

    /// The lower limit of the bucket of a score, by arithmetic instead of bits.
    fn lowered(score: f64) -> f64 {
        if score < LEAST * (1.0 + 1.0 / 128.0) {
            return 0.0;
        }
        let octave = score.log2().floor().exp2();
        (score / octave * 128.0).floor() / 128.0 * octave
    }

    fn exact_psi(reference: &[f64], found: &[f64]) -> (f64, Vec<f64>) {
        let mut sorted = reference.to_vec();
        sorted.sort_by(f64::total_cmp);
        let edges: Vec<f64> = (1..10).map(|decile| lowered(sorted[decile * sorted.len() / 10])).collect();
        let counts = |scores: &[f64]| {
            let mut counts = vec![0; 10];
            for score in scores {
                counts[edges.partition_point(|edge| edge <= score)] += 1;
            }
            counts
        };
        (psi::of_counts(&counts(reference), &counts(found)), edges)
    }

    fn exact_ks(one: &[f64], other: &[f64]) -> f64 {
        let share = |sample: &[f64], at: f64| {
            sample.iter().filter(|score| **score <= at).count() as f64 / sample.len() as f64
        };
        let apart = |at: &f64| (share(one, *at) - share(other, *at)).abs();
        one.iter().chain(other).map(apart).fold(0.0, f64::max)
    }

    #[test]
    fn a_distribution_and_itself_are_exactly_0_apart() {
        let scores = of(&[0.0, 0.01, 0.02, 0.02, 0.3, 1.0, 1e-9]);
        let found = scores.shift(&scores).unwrap();
        assert_eq!((found.psi, found.ks, found.ks_p_value), (0.0, 0.0, 1.0));
        assert!(found.ks_at_most > 0.0);
    }

    #[test]
    fn equal_scores_share_a_bin() {
        let bins = |scores: &[f64]| of(scores).shift(&of(scores)).unwrap().bins;
        assert_eq!((bins(&[0.25]), bins(&[0.25; 500]), bins(&[0.0; 9])), (1, 1, 1));
        // 0.25 is all deciles but the last two.
        assert_eq!(bins(&[[0.25; 80], [0.5; 80]].concat()[..100]), 2);
        let spread: Vec<f64> = (1..=100).map(|at| f64::from(at) / 128.0).collect();
        assert_eq!(bins(&spread), 10);
    }

    #[test]
    fn scores_beyond_the_range_are_bounded() {
        let histogram = of(&[-1.0, 0.0, 7.0, f64::NAN, 1.0]);
        assert_eq!((histogram.n(), histogram.between(&[0.5])), (4, vec![2, 2]));
        assert!(histogram.buckets.range().len() * 8 <= 17 << 10);
        assert_eq!((histogram.quantile(0.5), histogram.quantile(1.0)), (Some(0.0), Some(1.0)));
        assert_eq!(
            (of(&[]).quantile(0.5), of(&[]).shift(&histogram), histogram.shift(&of(&[]))),
            (None, None, None)
        );
    }

    fn scores() -> impl Strategy<Value = Vec<f64>> {
        prop::collection::vec(
            prop_oneof![0.0_f64..1.0, 0.0..0.05_f64, Just(0.0), Just(1.0), Just(0.25)],
            1..200,
        )
    }

    proptest! {
        #[test]
        fn shifts_are_as_near_as_stated(reference in scores(), found in scores()) {
            let shift = of(&reference).shift(&of(&found)).unwrap();
            let (psi, edges) = exact_psi(&reference, &found);
            prop_assert_eq!(&shift.edges, &edges);
            prop_assert!((shift.psi - psi).abs() < 1e-12, "{} is not {}", shift.psi, psi);
            let ks = exact_ks(&reference, &found);
            prop_assert!(shift.ks <= ks + 1e-12 && ks <= shift.ks_at_most + 1e-12, "{shift:?} {ks}");
        }

        #[test]
        fn parts_in_any_order_are_exactly_the_whole(scores in scores(), cut in 0_usize..200) {
            let (one, other) = scores.split_at(cut.min(scores.len()));
            let mut merged = of(one);
            merged.merge(&of(other));
            let mut turned = of(other);
            turned.merge(&of(one));
            prop_assert_eq!(&merged, &turned);
            prop_assert_eq!(merged, of(&scores));
        }
    }
}
