//! The ratio of two sums over independent units, where the units are of unequal size.

use crate::Interval;

/// The sums of pairs (part, size) over units, for Σ part ÷ Σ size.
///
/// The mean over the offers of all decisions is such a ratio: what one decision has in common makes its offers alike,
/// so the decision is the unit, with the sum over its offers and their number. Takes 48 bytes and merges as
/// [`Moments`](crate::Moments) do.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct RatioMoments {
    n: u64,
    part: f64,
    size: f64,
    parts: f64,
    sizes: f64,
    products: f64,
}

impl RatioMoments {
    /// Counts a unit. One with a number that is not finite is left out.
    pub fn add(&mut self, part: f64, size: f64) {
        if !part.is_finite() || !size.is_finite() {
            return;
        }
        self.n += 1;
        let (of_part, of_size) = (part - self.part, size - self.size);
        let share = 1.0 / self.n as f64;
        self.part += of_part * share;
        self.size += of_size * share;
        self.parts += of_part * (part - self.part);
        self.sizes += of_size * (size - self.size);
        self.products += of_part * (size - self.size);
    }

    /// Adds the units of another.
    pub fn merge(&mut self, other: &Self) {
        if other.n == 0 {
            return;
        }
        if self.n == 0 {
            *self = *other;
            return;
        }
        let n = self.n + other.n;
        let (part, size) = (other.part - self.part, other.size - self.size);
        let share = other.n as f64 / n as f64;
        let weight = self.n as f64 * share;
        self.part += part * share;
        self.size += size * share;
        self.parts += other.parts + part * part * weight;
        self.sizes += other.sizes + size * size * weight;
        self.products += other.products + part * size * weight;
        self.n = n;
    }

    /// How many units there were.
    #[must_use]
    pub fn n(&self) -> u64 {
        self.n
    }

    /// Σ part ÷ Σ size; `None` if the sizes are 0 on the whole.
    #[must_use]
    pub fn ratio(&self) -> Option<f64> {
        let ratio = (self.n > 0 && self.size != 0.0).then(|| self.part / self.size)?;
        ratio.is_finite().then_some(ratio)
    }

    /// The interval of the ratio by the delta method, for independent units; `z` is the quantile of the standard normal
    /// distribution. `None` with fewer than two units, or of numbers whose squares have no room in a double. With few
    /// units it is too narrow.
    ///
    /// Source: Deng, Knoblich & Lu, "Applying the delta method in metric analytics" (2018).
    #[must_use]
    pub fn interval(&self, z: f64) -> Option<Interval> {
        let ratio = self.ratio()?;
        if self.n < 2 {
            return None;
        }
        let squares = self.parts - 2.0 * ratio * self.products + ratio * ratio * self.sizes;
        if !squares.is_finite() {
            return None;
        }
        let variance = squares.max(0.0) / (self.n - 1) as f64;
        Some(Interval::around(ratio, z * (variance / self.n as f64).sqrt() / self.size.abs()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(units: &[(f64, f64)]) -> RatioMoments {
        let mut moments = RatioMoments::default();
        for (part, size) in units {
            moments.add(*part, *size);
        }
        moments
    }

    /// Computed with numpy 2.4.6 from the formula of the delta method: `np.cov` of sums and sizes.
    #[test]
    fn another_implementation_finds_the_same() {
        let units: Vec<(f64, f64)> = (0..500)
            .map(|at| (f64::from(at * 7919 % 1000) / 1000.0 - 0.25, f64::from(1 + at * 31 % 7)))
            .collect();
        let found = of(&units);
        assert!((found.ratio().unwrap() - 0.062_625).abs() < 1e-14, "{:?}", found.ratio());
        let Interval { low, high } = found.interval(1.96).unwrap();
        assert!(
            (low - 0.055_749_324_138_935_116).abs() < 1e-14
                && (high - 0.069_500_675_861_064_88).abs() < 1e-14,
            "{low} {high}"
        );
    }

    #[test]
    fn parts_of_nothing_give_exactly_nothing() {
        let found = of(&[(0.0, 3.0), (0.0, 5.0), (f64::NAN, 1.0)]);
        assert_eq!((found.n(), found.ratio()), (2, Some(0.0)));
        assert_eq!(found.interval(1.96), Some(Interval { low: 0.0, high: 0.0 }));
        assert_eq!(
            (of(&[]).ratio(), of(&[(1.0, 0.0)]).ratio(), of(&[(1.0, 2.0)]).interval(1.96)),
            (None, None, None)
        );
    }

    #[test]
    fn what_has_no_room_has_no_interval() {
        let large = of(&[(1e200, 1.0), (-1e200, 1.0)]);
        assert_eq!((large.ratio(), large.interval(1.96)), (Some(0.0), None));
        assert_eq!(of(&[(f64::MAX, 1.0), (-f64::MAX, 1.0), (f64::MAX, 1.0)]).ratio(), None);
    }

    proptest! {
        #[test]
        fn parts_in_any_order_are_the_whole(
            units in prop::collection::vec((-1e3_f64..1e3, 1.0_f64..50.0), 3..100), cut in 0_usize..100,
        ) {
            let whole = of(&units);
            let (one, other) = units.split_at(cut.min(units.len()));
            for (one, other) in [(one, other), (other, one)] {
                let mut merged = of(one);
                merged.merge(&of(other));
                prop_assert_eq!(merged.n(), whole.n());
                prop_assert!((merged.ratio().unwrap() - whole.ratio().unwrap()).abs() < 1e-9);
                let (found, expected) = (merged.interval(1.96).unwrap(), whole.interval(1.96).unwrap());
                prop_assert!((found.low - expected.low).abs() < 1e-8, "{found:?} is not {expected:?}");
            }
        }
    }
}
