//! The Kolmogorov–Smirnov test of two samples.

use std::f64::consts::{PI, TAU};

/// Below it the series from below needs fewer terms, above it the one from above.
const MIDDLE: f64 = 1.18;

/// Below it the tail is 1 to the last bit.
const LEAST: f64 = 0.04;

/// The largest distance between the distributions of two samples, 0..=1, of their counts between the same edges.
///
/// `None` if a sample is empty. At the edges it is exact. Within a bin the distributions may be farther apart than at
/// its ends, by at most the smaller of both shares in it: [`at_most`]. Source: Smirnov, "Table for estimating the
/// goodness of fit of empirical distributions" (1948).
#[must_use]
pub fn statistic(counts: impl IntoIterator<Item = (u64, u64)> + Clone) -> Option<f64> {
    let (one, other) = totals(counts.clone())?;
    let (mut first, mut second, mut largest) = (0, 0, 0.0_f64);
    for (here, there) in counts {
        first += here;
        second += there;
        largest = largest.max((first as f64 / one - second as f64 / other).abs());
    }
    Some(largest)
}

/// The largest that [`statistic`] can be with the values that the counts were made of.
#[must_use]
pub fn at_most(counts: impl IntoIterator<Item = (u64, u64)> + Clone) -> Option<f64> {
    let (one, other) = totals(counts.clone())?;
    let (mut first, mut second, mut largest) = (0.0, 0.0, 0.0_f64);
    for (here, there) in counts {
        let (above, below) = (first + here as f64, second + there as f64);
        // All of one sample's values of the bin may come before all of the other's.
        largest = largest.max(above / one - second / other).max(below / other - first / one);
        (first, second) = (above, below);
    }
    Some(largest.min(1.0))
}

fn totals(counts: impl IntoIterator<Item = (u64, u64)>) -> Option<(f64, f64)> {
    let (one, other) =
        counts.into_iter().fold((0_u64, 0_u64), |sums, counts| (sums.0 + counts.0, sums.1 + counts.1));
    (one > 0 && other > 0).then_some((one as f64, other as f64))
}

/// The probability that independent samples of `n` and `m` values of one distribution are at least `statistic` apart.
///
/// It is that of the limit of many values, with an error below 0.01 from about 50 values each on; 1 at 0. Source:
/// Smirnov (1948), the series for large distances; for small ones the same function by Jacobi's identity.
#[must_use]
pub fn p_value(statistic: f64, n: u64, m: u64) -> f64 {
    if n == 0 || m == 0 {
        return 1.0;
    }
    let (n, m) = (n as f64, m as f64);
    limit((n / (n + m) * m).sqrt() * statistic)
}

/// The upper tail of Kolmogorov's distribution.
fn limit(distance: f64) -> f64 {
    if distance < LEAST {
        return 1.0;
    }
    if distance < MIDDLE {
        let term = |k: u32| (-f64::from(2 * k - 1).powi(2) * PI * PI / (8.0 * distance * distance)).exp();
        return (1.0 - TAU.sqrt() / distance * (1..=4).map(term).sum::<f64>()).clamp(0.0, 1.0);
    }
    let term = |k: u32| {
        let size = (-2.0 * f64::from(k * k) * distance * distance).exp();
        if k % 2 == 1 { size } else { -size }
    };
    (2.0 * (1..=5).map(term).sum::<f64>()).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `scipy.special.kolmogorov`, SciPy 1.17.1.
    #[test]
    fn the_limit_is_that_of_scipy() {
        for (distance, expected) in [
            (0.05, 1.0),
            (0.3, 0.999_990_694_198_665_5),
            (0.7, 0.711_235_195_029_689_3),
            (1.0, 0.269_999_671_677_354_56),
            (1.17, 0.129_390_042_185_618_84),
            (1.19, 0.117_742_292_879_771_66),
            (1.5, 0.022_217_962_616_525_127),
            (2.5, 7.453_306_344_157_342e-6),
            (6.0, 1.076_037_232_004_227_6e-31),
        ] {
            let found = limit(distance);
            assert!((found / expected - 1.0).abs() < 1e-12, "{distance}: {found} is not {expected}");
        }
    }

    #[test]
    fn samples_without_values_have_no_statistic() {
        assert_eq!((statistic([(0, 3)]), at_most([(3, 0)]), p_value(0.5, 0, 9)), (None, None, 1.0));
    }

    #[test]
    fn the_smallest_distances_are_likely() {
        for distance in [0.0, f64::MIN_POSITIVE / 4.0, 1e-200, 1e-17, LEAST, 0.041] {
            assert_eq!(limit(distance).to_bits(), 1.0_f64.to_bits(), "{distance}");
        }
    }

    /// The statistic of two samples by its definition.
    fn exact(one: &[u32], other: &[u32]) -> f64 {
        let share = |sample: &[u32], at: u32| {
            sample.iter().filter(|value| **value <= at).count() as f64 / sample.len() as f64
        };
        let apart = |at: &u32| (share(one, *at) - share(other, *at)).abs();
        one.iter().chain(other).map(apart).fold(0.0, f64::max)
    }

    fn counts(one: &[u32], other: &[u32], width: u32) -> Vec<(u64, u64)> {
        let count =
            |sample: &[u32], bin: u32| sample.iter().filter(|value| **value / width == bin).count() as u64;
        (0..=1000 / width).map(|bin| (count(one, bin), count(other, bin))).collect()
    }

    proptest! {
        #[test]
        fn bins_bound_the_statistic(
            one in prop::collection::vec(0_u32..1000, 1..80), other in prop::collection::vec(0_u32..1000, 1..80),
            width in 1_u32..300,
        ) {
            let counts = counts(&one, &other, width);
            let (least, most) = (statistic(counts.clone()).unwrap(), at_most(counts).unwrap());
            let exact = exact(&one, &other);
            prop_assert!(least <= exact + 1e-12 && exact <= most + 1e-12, "{least} {exact} {most}");
            if width == 1 {
                prop_assert!((least - exact).abs() < 1e-12);
            }
        }

        #[test]
        fn a_sample_and_itself_are_exactly_0_apart(one in prop::collection::vec(0_u32..1000, 1..80)) {
            let counts = counts(&one, &one, 7);
            prop_assert_eq!(statistic(counts), Some(0.0));
            prop_assert_eq!(p_value(0.0, 80, 80).to_bits(), 1.0_f64.to_bits());
        }
    }
}
