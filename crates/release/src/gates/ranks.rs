//! How similarly two versions order the same rows, and how far apart their propensities lie.

/// The last point of the grid of log-odds; the first is its negative. Values beyond count at the end points.
const LAST_POINT: f64 = 8.0;

/// The number of points: one for each unit of log-odds.
const POINTS: usize = 17;

/// Spearman's rank correlation of two lists, in -1..=1; equal values get the mean of their ranks. No value may be
/// NaN. `None` where the lists differ in length, are empty, or one of them is constant. O(n log n). Source: Spearman
/// (1904).
pub(super) fn correlation(one: &[f32], other: &[f32]) -> Option<f64> {
    if one.len() != other.len() || one.is_empty() {
        return None;
    }
    let (one, other) = (ranks(one), ranks(other));
    let middle = f64::midpoint(one.len() as f64, 1.0);
    let (mut both, mut first, mut second) = (0.0, 0.0, 0.0);
    for (a, b) in one.iter().zip(&other) {
        let (a, b) = (a - middle, b - middle);
        both += a * b;
        first += a * a;
        second += b * b;
    }
    (first > 0.0 && second > 0.0).then(|| (both / (first * second).sqrt()).clamp(-1.0, 1.0))
}

/// The rank of each value, from 1; equal values get the mean.
fn ranks(values: &[f32]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|one, other| values[*one].total_cmp(&values[*other]));
    let mut ranks = vec![0.0; values.len()];
    let mut before = 0;
    // -0.0 and 0.0 are one value.
    for equal in order.chunk_by(|one, other| values[*one] >= values[*other]) {
        let rank = before as f64 + f64::midpoint(equal.len() as f64, 1.0);
        for at in equal {
            ranks[*at] = rank;
        }
        before += equal.len();
    }
    ranks
}

/// The population stability index of propensities, counted at the points of a grid of log-odds. A value between two
/// points counts in parts at both. An isotonic curve has few values, and a small change of one must not move a whole
/// bin. Each point gets half a count more, as in [`psi::of_counts`](statistics::psi::of_counts).
pub(super) fn psi_of_propensities(reference: &[f64], found: &[f64]) -> f64 {
    if reference.is_empty() || found.is_empty() {
        return 0.0;
    }
    let pairs = shares(found).into_iter().zip(shares(reference));
    pairs.map(|(a, e)| (a - e) * (a / e).ln()).sum()
}

fn shares(propensities: &[f64]) -> Vec<f64> {
    let mut counts = [0.5; POINTS];
    for propensity in propensities {
        let log_odds = (propensity / (1.0 - propensity)).ln().clamp(-LAST_POINT, LAST_POINT);
        let place = log_odds + LAST_POINT;
        let below = (place.floor() as usize).min(POINTS - 2);
        let part = place - below as f64;
        counts[below] += 1.0 - part;
        counts[below + 1] += part;
    }
    let total: f64 = counts.iter().sum();
    counts.iter().map(|count| count / total).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// By scipy 1.17: `scipy.stats.spearmanr([1, 2, 2, 3, 5], [2, 1, 4, 4, 9])` = 0.763158.
    #[test]
    fn another_implementation_finds_the_same_correlation() {
        let found = correlation(&[1.0, 2.0, 2.0, 3.0, 5.0], &[2.0, 1.0, 4.0, 4.0, 9.0]).unwrap();
        assert!((found - 0.763_157_894_736_842).abs() < 1e-12, "{found}");
        assert_eq!(correlation(&[1.0, 1.0], &[1.0, 2.0]), None);
        assert_eq!(correlation(&[], &[]), None);
        assert_eq!(correlation(&[0.0, -0.0, 1.0], &[0.0, 0.0, 1.0]), Some(1.0));
    }

    #[test]
    fn a_level_that_moves_a_little_moves_the_index_a_little() {
        let levels =
            |first: f64| (0..1000).map(|at| if at % 2 == 0 { first } else { 0.3 }).collect::<Vec<_>>();
        let near = psi_of_propensities(&levels(0.081), &levels(0.0825));
        assert!(near < 0.001, "{near}");
        assert!(psi_of_propensities(&levels(0.02), &levels(0.6)) > 1.0);
        let extremes = psi_of_propensities(&[0.0, 1.0], &[0.0, 1.0]);
        assert!(extremes.abs() < 1e-12, "{extremes}");
    }

    proptest! {
        #[test]
        fn turning_an_order_round_turns_the_sign(values in proptest::collection::vec(-100.0_f32..100.0, 3..60)) {
            let turned: Vec<f32> = values.iter().map(|value| -value).collect();
            if let Some(same) = correlation(&values, &values) {
                prop_assert!((same - 1.0).abs() < 1e-9);
                prop_assert!((correlation(&values, &turned).unwrap() + 1.0).abs() < 1e-9);
            }
        }

        #[test]
        fn it_lies_between_minus_one_and_one(pairs in proptest::collection::vec((0_u8..6, 0_u8..6), 1..60)) {
            let (one, other): (Vec<f32>, Vec<f32>) = pairs.iter().map(|(a, b)| (f32::from(*a), f32::from(*b))).unzip();
            if let Some(found) = correlation(&one, &other) {
                prop_assert!((-1.0..=1.0).contains(&found));
            }
        }
    }
}
