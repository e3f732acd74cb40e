//! Intervals.

/// An interval of confidence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The lower limit.
    pub low: f64,
    /// The upper limit.
    pub high: f64,
}

impl Interval {
    /// The values at most `distance` from the middle.
    pub(crate) fn around(middle: f64, distance: f64) -> Self {
        Self { low: middle - distance, high: middle + distance }
    }
}

/// The interval of a share of which `hits` of `n` independent draws were seen; `z` is the quantile of the standard
/// normal distribution, 1.96 for 95 %.
///
/// It holds near 0 and 1 and for few draws, and lies within 0..=1. `None` without a draw; more hits than draws count as
/// all of them. Source: Wilson, "Probable inference, the law of succession, and statistical inference" (1927).
#[must_use]
pub fn wilson(hits: u64, n: u64, z: f64) -> Option<Interval> {
    if n == 0 {
        return None;
    }
    let share = hits.min(n) as f64 / n as f64;
    let n = n as f64;
    let widened = 1.0 + z * z / n;
    let middle = (share + z * z / (2.0 * n)) / widened;
    let distance = z / widened * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    let Interval { low, high } = Interval::around(middle, distance);
    // Rounding must not take the limits of nothing and of all from where they are.
    Some(Interval {
        low: if share <= 0.0 { 0.0 } else { low.max(0.0) },
        high: if share >= 1.0 { 1.0 } else { high.min(1.0) },
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::normal::quantile;

    /// `scipy.stats.binomtest(hits, n).proportion_ci(method="wilson")`, SciPy 1.17.1.
    #[test]
    fn limits_are_those_of_scipy() {
        for (hits, n, low, high) in [
            (9, 10, 0.595_849_973_204_761_5, 0.982_123_786_904_927_1),
            (0, 10, 0.0, 0.277_532_799_862_889_26),
            (10, 10, 0.722_467_200_137_110_1, 1.0),
            (87, 100, 0.790_196_485_599_235_7, 0.922_428_325_727_594_8),
            (912_345, 1_000_000, 0.911_789_151_675_704_8, 0.912_897_680_323_79),
        ] {
            let found = wilson(hits, n, quantile(0.975)).unwrap();
            assert!((found.low - low).abs() < 1e-14 && (found.high - high).abs() < 1e-14, "{found:?}");
        }
        assert_eq!(wilson(0, 0, 1.96), None);
        assert_eq!(wilson(11, 10, 1.96), wilson(10, 10, 1.96));
    }

    proptest! {
        #[test]
        fn the_share_is_within_its_limits(n in 1_u64..1_000_000, part in 0.0_f64..=1.0, z in 0.5_f64..4.0) {
            let hits = (part * n as f64) as u64;
            let Interval { low, high } = wilson(hits, n, z).unwrap();
            let share = hits as f64 / n as f64;
            prop_assert!((0.0..=share + 1e-12).contains(&low) && (share - 1e-12..=1.0).contains(&high));
        }
    }
}
