//! Sample ratio mismatch: whether units were split among the arms as the weights say.

use statrs::distribution::{ChiSquared, ContinuousCDF};
use statrs::function::gamma::ln_gamma;

/// The units that the prior of the sequential test is worth. It is tight around the weights, so that small mismatches
/// are found early; that of `ssrm-test`, the reference of the authors.
const CONCENTRATION: f64 = 10_000.0;

/// How well the sizes of arms fit their weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mismatch {
    /// χ² of the counts.
    pub chi_squared: f64,
    /// Its degrees of freedom: arms with a weight, less one.
    pub degrees: u64,
    /// Its p, for one look at a time that was fixed before.
    pub p: f64,
    /// p of the sequential test at this look. Over several looks, the least holds, however many they are.
    pub sequential_p: f64,
}

/// The fit of `counts` to `weights`, which need not sum to 1. Arms without a weight are left out. `None` with fewer than
/// two others, without a unit, or if a weight is negative or not finite.
///
/// Sources: Pearson's χ² (1900); Lindon, Semmens & Gotwalt, "Anytime-valid inference for multinomial count data" (2022):
/// p is the inverse of the Bayes factor of a Dirichlet-multinomial model around the weights to the weights themselves.
#[must_use]
pub fn mismatch(counts: &[u64], weights: &[f64]) -> Option<Mismatch> {
    if weights.iter().any(|weight| !weight.is_finite() || *weight < 0.0) {
        return None;
    }
    let arms: Vec<(f64, f64)> = counts
        .iter()
        .zip(weights)
        .filter(|(_, weight)| **weight > 0.0)
        .map(|(count, weight)| (*count as f64, *weight))
        .collect();
    let (all, weight): (f64, f64) = arms.iter().fold((0.0, 0.0), |sum, arm| (sum.0 + arm.0, sum.1 + arm.1));
    if arms.len() < 2 || all <= 0.0 {
        return None;
    }
    let (mut chi_squared, mut log_factor) = (0.0, ln_gamma(CONCENTRATION) - ln_gamma(CONCENTRATION + all));
    for (count, of) in &arms {
        let share = of / weight;
        let expected = share * all;
        chi_squared += (count - expected).powi(2) / expected;
        let prior = CONCENTRATION * share;
        log_factor += ln_gamma(prior + count) - ln_gamma(prior) - count * share.ln();
    }
    let degrees = arms.len() as u64 - 1;
    let p = ChiSquared::new(degrees as f64).map_or(1.0, |distribution| distribution.sf(chi_squared));
    Some(Mismatch { chi_squared, degrees, p, sequential_p: (-log_factor).exp().clamp(0.0, 1.0) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn near(found: f64, expected: f64, within: f64) {
        assert!((found - expected).abs() < within, "{found} {expected}");
    }

    #[test]
    fn counts_fit_as_elsewhere() {
        let found = mismatch(&[5_000, 5_200], &[0.5, 0.5]).unwrap();
        assert_eq!(found.degrees, 1);
        near(found.chi_squared, 3.921_57, 1e-5);
        near(found.p, 0.047_670, 1e-6);
        let found = mismatch(&[9_000, 1_100], &[90.0, 10.0]).unwrap();
        near(found.chi_squared, 8.910_89, 1e-5);
        near(found.p, 0.002_835, 1e-6);
        // An arm without a weight has no degree of freedom.
        assert_eq!(mismatch(&[9_000, 7, 1_100], &[0.9, 0.0, 0.1]).unwrap(), found);
    }

    #[test]
    fn there_is_nothing_to_fit_without_units_and_arms() {
        assert_eq!(mismatch(&[], &[]), None);
        assert_eq!(mismatch(&[0, 0], &[0.5, 0.5]), None);
        assert_eq!(mismatch(&[5, 5], &[1.0, 0.0]), None);
        assert_eq!(mismatch(&[5, 5], &[0.5, f64::NAN]), None);
        assert_eq!(mismatch(&[5, 5], &[1.5, -0.5]), None);
        assert!(mismatch(&[u64::MAX, 1], &[0.5, 0.5]).unwrap().p < 1e-12);
    }

    /// Splits with the given share of the second arm; the number of units at which the sequential test finds it.
    fn found_after(seed: u64, share: f64, most: u64) -> Option<u64> {
        let mut state = seed;
        let mut counts = [0_u64; 2];
        for n in 1..=most {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let x = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            let drawn = ((x ^ (x >> 31)) >> 11) as f64 / (1_u64 << 53) as f64;
            counts[usize::from(drawn < share)] += 1;
            if n % 100 == 0 && mismatch(&counts, &[0.5, 0.5]).is_some_and(|found| found.sequential_p < 0.01) {
                return Some(n);
            }
        }
        None
    }

    /// 51 % in place of 50 %: by the normal approximation, a test at 1 % finds it with probability 0.9999 in 100,000.
    #[test]
    fn a_mismatch_of_one_percent_is_found_and_none_is_not() {
        let found: Vec<_> = (0..50).map(|seed| found_after(seed * 7_919 + 1, 0.51, 100_000)).collect();
        assert!(found.iter().all(Option::is_some), "{found:?}");
        let alarms = (0..200).filter(|seed| found_after(seed * 104_729 + 1, 0.5, 20_000).is_some()).count();
        // 200 × 0.01 + 3 standard deviations.
        assert!(alarms <= 6, "{alarms}");
    }

    proptest! {
        #[test]
        fn p_is_a_probability(
            counts in prop::collection::vec(any::<u32>(), 2..6), weights in prop::collection::vec(0.0..10.0_f64, 2..6),
        ) {
            let counts: Vec<u64> = counts.into_iter().map(u64::from).collect();
            if let Some(found) = mismatch(&counts, &weights) {
                prop_assert!(found.chi_squared >= 0.0 && (0.0..=1.0).contains(&found.p), "{:?}", found);
                prop_assert!((0.0..=1.0).contains(&found.sequential_p), "{:?}", found);
            }
        }
    }
}
