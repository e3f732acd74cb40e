//! The mean and the spread of values that are not kept.

use crate::Interval;

/// The number, the mean and the squared deviations of values.
///
/// Of values beyond about 10¹⁵⁰ the squares have no room in a double: then there is no variance, and no interval.
///
/// Takes 24 bytes. Sources: Welford, "Note on a method for calculating corrected sums of squares and products" (1962),
/// for a value; Chan et al., "Updating formulae and a pairwise algorithm for computing sample variances"
/// (1979), for a merge.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Moments {
    n: u64,
    mean: f64,
    squares: f64,
}

impl Moments {
    /// Counts a value. One that is not finite is left out.
    pub fn add(&mut self, value: f64) {
        if !value.is_finite() {
            return;
        }
        self.n += 1;
        let from_mean = value - self.mean;
        self.mean += from_mean / self.n as f64;
        self.squares += from_mean * (value - self.mean);
    }

    /// Adds the values of another.
    pub fn merge(&mut self, other: &Self) {
        if other.n == 0 {
            return;
        }
        if self.n == 0 {
            *self = *other;
            return;
        }
        let n = self.n + other.n;
        let apart = other.mean - self.mean;
        let share = other.n as f64 / n as f64;
        self.mean += apart * share;
        self.squares += other.squares + apart * apart * self.n as f64 * share;
        self.n = n;
    }

    /// How many values there were.
    #[must_use]
    pub fn n(&self) -> u64 {
        self.n
    }

    /// Their mean; `None` without one.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.n > 0 && self.mean.is_finite()).then_some(self.mean)
    }

    /// Their variance, of a sample (n − 1); `None` with fewer than two, or where it has no room in a double.
    #[must_use]
    pub fn variance(&self) -> Option<f64> {
        (self.n > 1 && self.squares.is_finite()).then(|| self.squares.max(0.0) / (self.n - 1) as f64)
    }

    /// Their standard deviation, of a sample.
    #[must_use]
    pub fn deviation(&self) -> Option<f64> {
        self.variance().map(f64::sqrt)
    }

    /// The interval of the mean of what independent values were drawn from; `z` is the quantile of the standard normal
    /// distribution, 1.96 for 95 %. `None` with fewer than two. With few values it is too narrow.
    #[must_use]
    pub fn interval(&self, z: f64) -> Option<Interval> {
        let error = (self.variance()? / self.n as f64).sqrt();
        Some(Interval::around(self.mean, z * error))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[f64]) -> Moments {
        let mut moments = Moments::default();
        for value in values {
            moments.add(*value);
        }
        moments
    }

    /// Computed with numpy 2.4.6: `mean`, `std(ddof=1)`, and mean ± 1.96 standard errors.
    #[test]
    fn another_implementation_finds_the_same() {
        let values: Vec<f64> = (0..1000).map(|at| f64::from(at * 7919 % 1000) / 1000.0 - 0.25).collect();
        let found = of(&values);
        assert!((found.mean().unwrap() - 0.2495).abs() < 1e-14);
        assert!((found.deviation().unwrap() - 0.288_819_436_095_749_4).abs() < 1e-14);
        let Interval { low, high } = found.interval(1.96).unwrap();
        assert!(
            (low - 0.231_598_785_888_474_85).abs() < 1e-14 && (high - 0.267_401_214_111_525_1).abs() < 1e-14,
            "{low} {high}"
        );
    }

    #[test]
    fn what_is_the_same_everywhere_has_no_spread() {
        let found = of(&[0.1; 1000]);
        assert_eq!((found.mean(), found.deviation()), (Some(0.1), Some(0.0)));
        assert_eq!(found.interval(1.96), Some(Interval { low: 0.1, high: 0.1 }));
    }

    #[test]
    fn too_few_values_have_no_statistics() {
        assert_eq!((of(&[]).mean(), of(&[]).variance(), of(&[]).interval(1.96)), (None, None, None));
        let one = of(&[3.0, f64::NAN, f64::INFINITY]);
        assert_eq!((one.n(), one.mean(), one.deviation()), (1, Some(3.0), None));
    }

    #[test]
    fn what_has_no_room_is_no_statistic() {
        let large = of(&[1e200, -1e200]);
        assert_eq!((large.mean(), large.variance(), large.interval(1.96)), (Some(0.0), None, None));
        let largest = of(&[f64::MAX, -f64::MAX, f64::MAX]);
        assert_eq!((largest.n(), largest.mean(), largest.deviation()), (3, None, None));
        let tiny = of(&[1e-200, -1e-200]);
        assert_eq!((tiny.mean(), tiny.deviation()), (Some(0.0), Some(0.0)));
    }

    proptest! {
        #[test]
        fn parts_in_any_order_are_the_whole(
            values in prop::collection::vec(-1e6_f64..1e6, 2..200), cuts in prop::collection::vec(0_usize..200, 2),
        ) {
            let whole = of(&values);
            let (mut first, mut second) = (cuts[0].min(values.len()), cuts[1].min(values.len()));
            if first > second {
                std::mem::swap(&mut first, &mut second);
            }
            let parts = [&values[..first], &values[first..second], &values[second..]].map(of);
            for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [1, 0, 2]] {
                let mut merged = Moments::default();
                for at in order {
                    merged.merge(&parts[at]);
                }
                prop_assert_eq!(merged.n(), whole.n());
                prop_assert!((merged.mean().unwrap() - whole.mean().unwrap()).abs() < 1e-8);
                let (one, other) = (merged.variance().unwrap(), whole.variance().unwrap());
                prop_assert!((one - other).abs() <= 1e-9 * other.max(1e-3), "{one} is not {other}");
            }
        }
    }
}
