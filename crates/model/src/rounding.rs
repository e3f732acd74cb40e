//! How far outside 0..=1 a score may lie only because it was summed in 32 bits.
//!
//! A forest whose leaves are probabilities divided by the number of trees sums to 1 on paper. In 32-bit floats it may
//! sum to 1.0000001, in ONNX Runtime as in the native engine. Such a score is a propensity of 1; 1.01 is an error.
//! Start reading at [`bound`].

use super::onnx::ElementType;

/// The unit roundoff of a 32-bit float, 2⁻²⁴: the largest relative error of rounding to nearest.
const UNIT: f64 = f32::EPSILON as f64 / 2.0;

/// Roundings other than those of the additions:
/// - each leaf when it was written, twice where a probability was divided by the number of trees
/// - the base value, the complement `1 - p` and a division after the sum
/// - the conversion to 32 bits
const OTHER_ROUNDINGS: usize = 8;

/// The terms to assume where the graph does not show their number: behind a sigmoid or a softmax, votes of neighbours,
/// layers of an MLP. Together with [`OTHER_ROUNDINGS`] the bound is 8.1e-6.
pub(super) const USUAL_TERMS: usize = 128;

/// The largest error that rounding excuses, for any number of terms. Beyond it a score is wrong.
pub(super) const MOST: f64 = 1e-3;

/// The largest error of a sum of `terms` 32-bit floats in any order, whose absolute values add up to at most
/// `magnitude`. A `magnitude` below 1 counts as 1, as for probabilities.
///
/// (n - 1) · u / (1 - (n - 1) · u) · Σ|xᵢ|, with n - 1 additions and a few more roundings. Source: Higham, "Accuracy
/// and Stability of Numerical Algorithms" (2002), §4.2.
pub(super) fn bound(terms: usize, magnitude: f64) -> f64 {
    let roundings = terms.saturating_add(OTHER_ROUNDINGS) as f64 * UNIT;
    if roundings >= 0.5 || !magnitude.is_finite() {
        return MOST;
    }
    (roundings / (1.0 - roundings) * magnitude.max(1.0)).min(MOST)
}

/// The extra error where the graph's output has less than 32 bits: one unit in the last place of 1.
pub(super) fn of_type(element: ElementType) -> f64 {
    if element == ElementType::Float16 {
        return f64::from(f32::EPSILON) * 8192.0;
    }
    if element == ElementType::Bfloat16 { f64::from(f32::EPSILON) * 65536.0 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Calibration;

    /// Weights as the leaves of a forest of `n` trees: shares of a total in 0..=1 in doubles, rounded to 32 bits.
    fn leaves() -> impl Strategy<Value = (Vec<f64>, f64)> {
        let shares = proptest::collection::vec(0.0_f64..1.0, 1..3000);
        let total = prop_oneof![Just(1.0_f64), Just(0.0), 0.0_f64..=1.0];
        (shares, total).prop_map(|(shares, total)| {
            let sum: f64 = shares.iter().sum::<f64>().max(f64::MIN_POSITIVE);
            (shares.iter().map(|share| share / sum * total).collect(), total)
        })
    }

    fn propensity(score: f32, rounding: f64) -> Option<f64> {
        Calibration::None.propensity(score, rounding)
    }

    proptest! {
        #[test]
        fn any_sum_of_leaves_that_is_a_probability_is_a_propensity((leaves, total) in leaves()) {
            let rounding = bound(leaves.len(), 1.0);
            let forwards: f32 = leaves.iter().map(|leaf| *leaf as f32).sum();
            let backwards: f32 = leaves.iter().rev().map(|leaf| *leaf as f32).sum();
            let halves = leaves.chunks(7).map(|part| part.iter().map(|leaf| *leaf as f32).sum::<f32>()).sum();
            for score in [forwards, backwards, halves, 1.0 - forwards, 1.0 - backwards] {
                let found = propensity(score, rounding);
                prop_assert!(found.is_some_and(|p| (0.0..=1.0).contains(&p)), "{score} of {total}: {found:?}");
            }
        }

        #[test]
        fn the_error_of_cancelling_trees_scales_with_their_magnitude(
            halves in proptest::collection::vec(0.0_f32..10.0, 1..50), rest in 0.0_f32..=1.0,
        ) {
            // Each value comes with its negative, so that the exact sum is `rest`.
            let up = halves.iter().copied();
            let all: Vec<f32> = up.clone().chain([rest]).chain(up.map(|value| -value)).collect();
            let magnitude = all.iter().map(|value| f64::from(value.abs())).sum();
            let score: f32 = all.iter().sum();
            prop_assert!(propensity(score, bound(all.len(), magnitude)).is_some(), "{score}");
        }

        #[test]
        fn scores_beyond_rounding_are_refused(terms in 0_usize..10_000_000, magnitude in 0.0_f64..1e9, off in 0.0011_f32..2.0) {
            let rounding = bound(terms, magnitude);
            prop_assert!(rounding <= MOST);
            prop_assert_eq!(propensity(1.0 + off, rounding), None);
            prop_assert_eq!(propensity(-off, rounding), None);
        }
    }

    #[test]
    fn the_usual_bound_is_a_few_units_in_the_last_place() {
        let usual = bound(USUAL_TERMS, 1.0);
        assert!((8.0e-6..8.2e-6).contains(&usual), "{usual}");
        assert_eq!(propensity(1.000_000_1, bound(1, 1.0)), Some(1.0));
        assert_eq!(propensity(-1e-7, bound(1, 1.0)), Some(0.0));
        assert_eq!(propensity(1.000_01, bound(100, 1.0)), None);
        assert_eq!(propensity(f32::NAN, MOST), None);
        assert_eq!(propensity(f32::INFINITY, MOST), None);
    }
}
