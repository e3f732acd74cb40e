//! The binomial distribution.

use crate::normal;

/// Up to this variance the distribution is summed: at most about 2,000 terms. Beyond, it is that of the normal
/// distribution with its skewness, which is off by less than one draw of hundreds.
const SUMMED: f64 = 1e4;

/// What is less likely than this, relative to the most likely count, is left out.
const NEGLIGIBLE: f64 = 1e-20;

/// The least count of hits that is not exceeded with at least the probability `p`, of `n` independent draws that hit
/// with the probability `q`.
///
/// Source for many draws: Cornish & Fisher, "Moments and cumulants in the specification of distributions" (1938).
pub(crate) fn quantile(n: u64, q: f64, p: f64) -> u64 {
    if n == 0 || q <= 0.0 || p <= 0.0 {
        return 0;
    }
    if q >= 1.0 || p >= 1.0 {
        return n;
    }
    let variance = n as f64 * q * (1.0 - q);
    if variance > SUMMED {
        let z = normal::quantile(p);
        let found = n as f64 * q + z * variance.sqrt() + (z * z - 1.0) * (1.0 - 2.0 * q) / 6.0;
        return ((found - 0.5).ceil() as u64).min(n);
    }
    summed(n, q, p)
}

/// The same, from the probabilities of the single counts relative to that of the most likely one.
fn summed(n: u64, q: f64, p: f64) -> u64 {
    let odds = q / (1.0 - q);
    let growth = |hits: u64| (n - hits) as f64 / (hits + 1) as f64 * odds;
    let mode = ((n as f64 + 1.0) * q).min(n as f64) as u64;
    let (mut first, mut weight) = (mode, 1.0);
    while first > 0 && weight > NEGLIGIBLE {
        first -= 1;
        weight /= growth(first);
    }
    let weights = || {
        std::iter::successors(Some((first, weight)), move |(hits, weight): &(u64, f64)| {
            (*hits < n && (*hits < mode || *weight > NEGLIGIBLE))
                .then(|| (*hits + 1, *weight * growth(*hits)))
        })
    };
    let all: f64 = weights().map(|(_, weight)| weight).sum();
    let mut below = 0.0;
    let found = weights().find(|(_, weight)| {
        below += weight;
        below >= p * all
    });
    found.map_or(n, |(hits, _)| hits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `scipy.stats.binom.ppf`, SciPy 1.17.1.
    #[test]
    fn quantiles_are_those_of_scipy() {
        for (n, q, p, expected) in SCIPY {
            assert_eq!(quantile(n, q, p), expected, "{n} {q} {p}");
        }
    }

    #[test]
    fn what_is_certain_is_so() {
        assert_eq!((quantile(0, 0.5, 0.5), quantile(9, 0.0, 0.9), quantile(9, 1.0, 0.1)), (0, 0, 9));
        assert_eq!((quantile(9, 0.5, 0.0), quantile(9, 0.5, 1.0)), (0, 9));
        assert_eq!((quantile(1_000_000, 0.5, 0.0), quantile(1_000_000, 0.5, 1.0)), (0, 1_000_000));
    }

    const SCIPY: [(u64, f64, f64, u64); 17] = [
        (1, 0.5, 0.025, 0),
        (5, 0.5, 0.025, 0),
        (6, 0.5, 0.025, 1),
        (6, 0.5, 0.975, 5),
        (100, 0.99, 0.025, 97),
        (100, 0.99, 0.975, 100),
        (367, 0.99, 0.975, 367),
        (368, 0.99, 0.975, 367),
        (400, 0.01, 0.025, 1),
        (2_250, 0.5, 0.025, 1_079),
        (2_250, 0.5, 0.975, 1_171),
        (30_000, 0.99, 0.025, 29_666),
        (30_000, 0.99, 0.975, 29_733),
        (1_000_000, 0.01, 0.975, 10_195),
        (1_000_000, 0.5, 0.025, 499_020),
        (2_000_000, 0.01, 0.975, 20_276),
        (100_000_000, 0.99, 0.025, 98_998_049),
    ];

    proptest! {
        /// Both ways of computing it meet where one takes over from the other.
        #[test]
        fn many_draws_are_nearly_normal(n in 40_001_u64..60_000, q in 0.4_f64..0.6, p in 0.001_f64..0.999) {
            let (one, other) = (quantile(n, q, p), summed(n, q, p));
            prop_assert!(one.abs_diff(other) <= 1, "{one} is not {other}");
        }
    }
}
