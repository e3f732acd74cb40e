//! Quantiles of values that are not kept.

use crate::buckets::Buckets;
use crate::{Interval, binomial, normal};

/// Bits of the mantissa that buckets have: 64 buckets per power of two.
const BITS: u32 = 6;

/// A smaller size counts as 0: 2⁻³⁰, about 10⁻⁹.
const LEAST: f64 = 1.0 / (1_u64 << 30) as f64;

/// A larger size counts as this: 2⁴⁰, about 10¹².
const GREATEST: f64 = (1_u64 << 40) as f64;

/// Counts of values of either sign, for their quantiles.
///
/// A quantile is off by at most [`Sketch::RELATIVE_ERROR`] of itself, or by [`Sketch::ABSOLUTE_ERROR`] near 0. Sketches
/// merge exactly and in any order. One takes at most 72 kB; one of values from −1 to 1 at most 31 kB. Source: Masson,
/// Rim & Lee, "DDSketch" (2019), with the buckets of HdrHistogram, which need no logarithm.
#[derive(Debug, Clone, PartialEq)]
pub struct Sketch {
    positive: Buckets<BITS>,
    negative: Buckets<BITS>,
    zeros: u64,
    n: u64,
    least: f64,
    greatest: f64,
}

impl Default for Sketch {
    fn default() -> Self {
        let (positive, negative) = (Buckets::default(), Buckets::default());
        Self { positive, negative, zeros: 0, n: 0, least: f64::INFINITY, greatest: f64::NEG_INFINITY }
    }
}

impl Sketch {
    /// How far a quantile may be off, relative to itself: 1/128.
    pub const RELATIVE_ERROR: f64 = 1.0 / (2 << BITS) as f64;

    /// How far a quantile may be off near 0: 2⁻³⁰.
    pub const ABSOLUTE_ERROR: f64 = LEAST;

    /// Counts a value; one beyond ±2⁴⁰ counts as ±2⁴⁰. One that is not finite is left out.
    pub fn add(&mut self, value: f64) {
        if !value.is_finite() {
            return;
        }
        let value = value.clamp(-GREATEST, GREATEST);
        self.n += 1;
        self.least = self.least.min(value);
        self.greatest = self.greatest.max(value);
        if value >= LEAST {
            self.positive.add(Buckets::<BITS>::of(value), 1);
        } else if value <= -LEAST {
            self.negative.add(Buckets::<BITS>::of(-value), 1);
        } else {
            self.zeros += 1;
        }
    }

    /// Adds the values of another.
    pub fn merge(&mut self, other: &Self) {
        self.positive.merge(&other.positive);
        self.negative.merge(&other.negative);
        self.zeros += other.zeros;
        self.n += other.n;
        self.least = self.least.min(other.least);
        self.greatest = self.greatest.max(other.greatest);
    }

    /// How many values there were.
    #[must_use]
    pub fn n(&self) -> u64 {
        self.n
    }

    /// The least value that at least the share `q` of the values does not exceed; `None` without a value. `q` is
    /// clamped to 0..=1.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<f64> {
        if self.n == 0 {
            return None;
        }
        // 0.07 × 100 is more than 7 by its last bit.
        let rank = ((q * self.n as f64 - 1e-9).ceil() as u64).clamp(1, self.n);
        // What lies at the ends is known exactly.
        if rank == 1 || rank == self.n {
            return Some(if rank == 1 { self.least } else { self.greatest });
        }
        let middle = Buckets::<BITS>::middle;
        let negative = self.negative.iter().rev().map(|(bucket, count)| (-middle(bucket), count));
        let zeros = std::iter::once((0.0, self.zeros));
        let positive = self.positive.iter().map(|(bucket, count)| (middle(bucket), count));
        let mut below = 0;
        let found = negative.chain(zeros).chain(positive).find(|(_, count)| {
            below += count;
            below >= rank
        });
        found.map(|(value, _)| value.clamp(self.least, self.greatest))
    }

    /// The interval of the quantile `q` of what the values were drawn from: two of the values, between which it lies
    /// at least as often as `z` says, whatever the distribution is. `z` is the quantile of the standard normal
    /// distribution, 1.96 for 95 %, and `independent` is the number of independent draws, where several values come from
    /// one.
    ///
    /// `None` where so few draws have no such values: a median needs 6 draws for 95 %, and the quantile 0.99 needs 368.
    /// Source: Thompson, "On confidence ranges for the median and other expectation distributions" (1936).
    #[must_use]
    pub fn interval(&self, q: f64, z: f64, independent: u64) -> Option<Interval> {
        let tail = normal::cdf(-z);
        let rank = |p: f64| binomial::quantile(independent, q, p);
        let (low, high) = (rank(tail), rank(1.0 - tail) + 1);
        if low == 0 || high > independent {
            return None;
        }
        let value = |rank: u64| self.quantile(rank as f64 / independent as f64);
        Some(Interval { low: value(low)?, high: value(high)? })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[f64]) -> Sketch {
        let mut sketch = Sketch::default();
        for value in values {
            sketch.add(*value);
        }
        sketch
    }

    #[test]
    fn equal_values_are_their_quantiles() {
        let zeros = of(&[0.0; 100]);
        assert_eq!([0.01, 0.5, 0.99].map(|q| zeros.quantile(q)), [Some(0.0); 3]);
        assert_eq!(zeros.interval(0.5, 1.96, 100), Some(Interval { low: 0.0, high: 0.0 }));
        assert_eq!(of(&[0.3; 7]).quantile(0.5), Some(0.3));
    }

    #[test]
    fn nothing_has_no_quantile_and_what_is_no_number_is_left_out() {
        assert_eq!((of(&[]).quantile(0.5), of(&[]).interval(0.5, 1.96, 9)), (None, None));
        let one = of(&[f64::NAN, f64::INFINITY, -2.0]);
        assert_eq!((one.n(), one.quantile(0.0), one.quantile(1.0)), (1, Some(-2.0), Some(-2.0)));
    }

    #[test]
    fn sizes_beyond_the_range_are_bounded() {
        let wide = of(&[1e300, -1e300, 1e-300, 0.0]);
        assert_eq!((wide.quantile(1.0), wide.quantile(0.0)), (Some(GREATEST), Some(-GREATEST)));
        let buckets: usize =
            [&wide.positive, &wide.negative].iter().map(|buckets| buckets.range().len()).sum();
        assert!(buckets * 8 <= 72 << 10, "{buckets}");
    }

    #[test]
    fn too_few_draws_have_no_interval() {
        let values: Vec<f64> = (1..=1_000).map(f64::from).collect();
        let interval = |q: f64, count: usize| of(&values[..count]).interval(q, 1.96, count as u64);
        for (q, count) in [(0.5, 1), (0.5, 5), (0.99, 367), (0.01, 367), (0.0, 1_000), (1.0, 1_000)] {
            assert_eq!(interval(q, count), None, "{q} of {count}");
        }
        assert_eq!(interval(0.5, 6), Some(Interval { low: 1.0, high: 6.0 }));
        assert_eq!(interval(0.99, 368).map(|found| found.high), Some(368.0));
        assert_eq!(interval(0.01, 368).map(|found| found.low), Some(1.0));
        // Ten values of each of 300 draws do not make 3,000 draws.
        let repeated: Vec<f64> = (0..3_000).map(|at| f64::from(at / 10)).collect();
        assert_eq!(of(&repeated).interval(0.99, 1.96, 300), None);
        assert!(of(&repeated).interval(0.99, 1.96, 3_000).is_some());
    }

    /// 19 in 20 intervals have the true quantile, or a little more; with `z` of 1.96, and a fixed seed.
    #[test]
    fn an_interval_has_the_quantile_about_as_often_as_it_says() {
        for (q, draws) in [(0.5, 200), (0.99, 400), (0.01, 1_000)] {
            let (mut state, mut within) = (1_u64, 0);
            for _ in 0..400 {
                let mut sketch = Sketch::default();
                for _ in 0..draws {
                    state =
                        state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    sketch.add((state >> 11) as f64 / (1_u64 << 53) as f64);
                }
                let Interval { low, high } = sketch.interval(q, 1.96, draws).unwrap();
                // The limits are off by the width of their buckets.
                let (low, high) =
                    (low * (1.0 - Sketch::RELATIVE_ERROR), high * (1.0 + Sketch::RELATIVE_ERROR));
                within += u32::from(low <= q && q <= high);
            }
            assert!((372..=400).contains(&within), "{q}: {within} of 400");
        }
    }

    proptest! {
        #[test]
        fn a_quantile_is_as_near_as_stated(
            values in prop::collection::vec(prop_oneof![-1.0_f64..1.0, -1e9..1e9_f64, -1e-8..1e-8_f64], 1..300),
            q in 0.0_f64..=1.0,
        ) {
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            let rank = ((q * sorted.len() as f64 - 1e-9).ceil() as usize).clamp(1, sorted.len());
            let exact = sorted[rank - 1];
            let found = of(&values).quantile(q).unwrap();
            let allowed = (Sketch::RELATIVE_ERROR * exact.abs()).max(Sketch::ABSOLUTE_ERROR) * (1.0 + 1e-12);
            prop_assert!((found - exact).abs() <= allowed, "{found} is not {exact}");
        }

        #[test]
        fn parts_in_any_order_are_exactly_the_whole(
            values in prop::collection::vec(-1e3_f64..1e3, 0..200), cut in 0_usize..200,
        ) {
            let (one, other) = values.split_at(cut.min(values.len()));
            let mut merged = of(one);
            merged.merge(&of(other));
            let mut turned = of(other);
            turned.merge(&of(one));
            prop_assert_eq!(&merged, &turned);
            for q in [0.0, 0.01, 0.5, 0.99, 1.0] {
                prop_assert_eq!(merged.quantile(q), of(&values).quantile(q));
            }
        }
    }
}
