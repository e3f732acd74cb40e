//! Sums of money that do not depend on the order of the addends.
//!
//! Floating-point addition is not associative, so a sum over threads would differ in its last bits from run to run. A
//! [`Sum`] is a fixed-point number of 128 bits: each addend is rounded to a multiple of 2⁻⁴⁰ once, and integers are
//! added after that. Rounding moves an addend by at most 5 · 10⁻¹³, so a hundred million of them by less than a
//! hundredth of a cent.

/// 2⁴⁰: units per unit of money. Scaling by a power of two is exact.
const UNITS: f64 = (1_u64 << 40) as f64;

/// The largest addend, about 10¹⁵. With it, 10¹¹ addends cannot overflow.
const LARGEST: f64 = (1_u64 << 50) as f64;

/// An exact sum of rounded addends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sum(i128);

impl Sum {
    /// A single addend; one beyond ±2⁵⁰ counts as ±2⁵⁰, and NaN as 0.
    pub(crate) fn of(value: f64) -> Self {
        Self((value.clamp(-LARGEST, LARGEST) * UNITS).round() as i128)
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.0 = self.0.saturating_add(other.0);
    }

    /// The nearest floating-point number.
    pub(crate) fn value(self) -> f64 {
        self.0 as f64 / UNITS
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sum(values: impl IntoIterator<Item = f64>) -> Sum {
        let mut sum = Sum::default();
        values.into_iter().for_each(|value| sum.add(Sum::of(value)));
        sum
    }

    #[test]
    fn amounts_are_exact_to_far_below_a_cent() {
        assert!((sum([0.1; 10]).value() - 1.0).abs() < 1e-11);
        assert_eq!(sum([80.0, -12.5, 0.0]).value().to_bits(), 67.5_f64.to_bits());
        assert_eq!(sum([f64::NAN, 1.0]).value().to_bits(), 1.0_f64.to_bits());
    }

    #[test]
    fn no_amount_overflows() {
        assert!(sum([f64::MAX; 1000]).value() > 1e17);
        assert!(sum([f64::NEG_INFINITY; 1000]).value() < -1e17);
    }

    proptest! {
        #[test]
        fn the_order_does_not_matter(mut values in prop::collection::vec(-1e9..1e9_f64, 0..200), cut in 0..200_usize) {
            let whole = sum(values.iter().copied());
            prop_assert!((whole.value() - values.iter().sum::<f64>()).abs() < 1e-3);
            let cut = cut.min(values.len());
            let mut parts = sum(values[cut..].iter().copied());
            parts.add(sum(values[..cut].iter().copied()));
            prop_assert_eq!(parts, whole);
            values.reverse();
            prop_assert_eq!(sum(values), whole);
        }
    }
}
