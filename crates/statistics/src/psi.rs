//! The population stability index: how far one distribution has moved from another.
//!
//! Knows nothing of features, models or segments, so that release gates and segment drift use the same measure.

/// Bins between quantiles: the deciles of the reference.
const BINS: usize = 10;

/// Added to every bin's count, so that an empty bin makes the index large instead of infinite.
const HALF_A_COUNT: f64 = 0.5;

/// The index of `found` against `reference`: Σ (a − e) ln(a / e) over 10 bins. Here e and a are the shares of the
/// reference and of `found`, with half a count added to each bin.
///
/// A bin reaches from one decile of the reference, inclusive, to the next. Decile k is the value at position k · n /
/// 10 of the n sorted values. Equal distributions give 0. The order is arbitrary, and neither slice may contain NaN.
/// If either is empty, the index is 0. Source: Siddiqi, "Credit Risk Scorecards" (2006).
#[must_use]
pub fn of_scores(reference: &[f32], found: &[f32]) -> f64 {
    if reference.is_empty() || found.is_empty() {
        return 0.0;
    }
    let mut sorted = reference.to_vec();
    sorted.sort_by(f32::total_cmp);
    let edges: Vec<f64> = (1..BINS).map(|decile| f64::from(sorted[decile * sorted.len() / BINS])).collect();
    let counts = |scores: &[f32]| bins(&edges, scores.iter().copied());
    of_counts(&counts(reference), &counts(found))
}

/// Counts `values` per bin. There is one bin more than `edges`: below the first edge, from each edge (inclusive) to
/// the next, and from the last edge on. The edges ascend, and an edge that occurs twice has an empty bin before it.
/// No value may be NaN.
#[must_use]
pub fn bins(edges: &[f64], values: impl IntoIterator<Item = f32>) -> Vec<u64> {
    let mut counts = vec![0; edges.len() + 1];
    for value in values {
        counts[edges.partition_point(|edge| *edge <= f64::from(value))] += 1;
    }
    counts
}

/// The index of two lists of counts, bin by bin, as in [`of_scores`]; both must be equally long.
///
/// By chance alone, samples of n and m of one distribution have an index near (bins − 1) · (1 / n + 1 / m).
/// Source: Yurdakul, "Statistical properties of population stability index" (2018).
#[must_use]
pub fn of_counts(reference: &[u64], found: &[u64]) -> f64 {
    let shares = |counts: &[u64]| -> Vec<f64> {
        let total = counts.iter().sum::<u64>() as f64 + HALF_A_COUNT * counts.len() as f64;
        counts.iter().map(|count| (*count as f64 + HALF_A_COUNT) / total).collect()
    };
    let pairs = shares(found).into_iter().zip(shares(reference));
    pairs.map(|(a, e)| (a - e) * (a / e).ln()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn two_bins_match_a_calculation_by_hand() {
        // Shares 9.5 / 20 and 10.5 / 20 of the reference, 4.5 / 20 and 15.5 / 20 of the found counts.
        let by_hand = (0.225 - 0.475) * f64::ln(0.225 / 0.475) + (0.775 - 0.525) * f64::ln(0.775 / 0.525);
        assert!((of_counts(&[9, 10], &[4, 15]) - by_hand).abs() < 1e-15);
        assert!((by_hand - 0.284_170_5).abs() < 1e-6, "{by_hand}");
        assert!(of_counts(&[9, 10], &[9, 10]).abs() < 1e-15);
    }

    /// Computed with numpy: `np.searchsorted` over the deciles, `np.bincount`, and the formula.
    #[test]
    fn another_implementation_finds_the_same() {
        let reference: Vec<f32> = (0..1000).map(|at| (at * 7919 % 1000) as f32 / 1000.0).collect();
        let of = |change: fn(f32) -> f32| -> f64 {
            of_scores(&reference, &reference.iter().map(|score| change(*score)).collect::<Vec<_>>())
        };
        for (found, expected) in [
            (of(|score| score * score), 0.380_449_186_583_142),
            (of(|score| score * 0.5), 2.982_070_361_844_044_3),
            (of(|score| score + 0.05), 0.054_327_848_154_607_77),
        ] {
            assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
        }
        // A reference of one value has one bin, from that value on.
        let apart: Vec<f32> = (0..1000).map(|at| if at < 500 { 0.2 } else { 0.3 }).collect();
        let found = of_scores(&[0.25; 1000], &apart);
        assert!((found - 3.781_792_206_260_564).abs() < 1e-12, "{found}");
        assert!(of_scores(&[], &apart).abs() < 1e-15 && of_scores(&apart, &[]).abs() < 1e-15);
    }

    #[test]
    fn a_value_on_an_edge_belongs_to_the_bin_that_begins_there() {
        assert_eq!(bins(&[1.0, 2.0], [0.5, 1.0, 1.5, 2.0, 9.0]), [1, 2, 2]);
        assert_eq!(bins(&[1.0, 1.0], [0.0, 1.0]), [1, 0, 1]);
        assert_eq!(bins(&[], [0.0, 1.0]), [2]);
        assert_eq!(bins(&[1.0], []), [0, 0]);
    }

    proptest! {
        #[test]
        fn it_is_never_negative_and_symmetric_in_counts(
            counts in proptest::collection::vec((0_u64..1000, 0_u64..1000), 1..20),
        ) {
            let (one, other): (Vec<u64>, Vec<u64>) = counts.into_iter().unzip();
            let there = of_counts(&one, &other);
            prop_assert!(there >= 0.0);
            prop_assert!((there - of_counts(&other, &one)).abs() < 1e-9);
        }

        #[test]
        fn it_is_zero_of_a_distribution_and_itself(scores in proptest::collection::vec(-1e3_f32..1e3, 0..300)) {
            prop_assert!(of_scores(&scores, &scores).abs() < 1e-12);
        }

        #[test]
        fn only_the_order_of_scores_matters(
            scores in proptest::collection::vec(0_f32..1.0, 20..200), shift in 0_f32..1.0,
        ) {
            let moved: Vec<f32> = scores.iter().map(|score| score + shift).collect();
            let twice = |scores: &[f32]| scores.iter().map(|score| 2.0 * score).collect::<Vec<_>>();
            prop_assert!((of_scores(&scores, &moved) - of_scores(&twice(&scores), &twice(&moved))).abs() < 1e-12);
        }
    }
}
