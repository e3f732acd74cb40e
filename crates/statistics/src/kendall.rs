//! Agreement of two orders of the same things, with ties.

/// Kendall's τ-b of pairs (first value, second value): 1 if both have the same order, −1 if the reverse.
///
/// `None` if one side has fewer than two different values: it has no order. O(n log n). The order of `pairs` is
/// changed, and `buffer` only saves an allocation per call. −0 equals 0; NaN is above all numbers and equals only
/// itself, so leave it out. Sources: Kendall, "The treatment of ties in ranking problems" (1945); Knight, "A computer
/// method for calculating Kendall's tau with ungrouped data" (1966).
#[must_use]
pub fn kendall_tau_b(pairs: &mut [[f64; 2]], buffer: &mut Vec<[f64; 2]>) -> Option<f64> {
    for value in pairs.iter_mut().flatten() {
        // −0 becomes 0.
        *value += 0.0;
    }
    pairs.sort_unstable_by(|one, other| one[0].total_cmp(&other[0]).then(one[1].total_cmp(&other[1])));
    let first_ties = ties(pairs, |pair| [pair[0], 0.0]);
    let both_ties = ties(pairs, |pair| *pair);
    let discordant = exchanges(pairs, buffer);
    let second_ties = ties(pairs, |pair| [pair[1], 0.0]);
    let all = pairs_of(pairs.len() as u64);
    let (first, second) = (all - first_ties, all - second_ties);
    if first == 0 || second == 0 {
        return None;
    }
    let concordant_less_discordant =
        (all + both_ties) as f64 - (first_ties + second_ties) as f64 - 2.0 * discordant as f64;
    // A root of equal numbers need not be exact, and the same order must give exactly 1.
    let pairs = if first == second { first as f64 } else { (first as f64).sqrt() * (second as f64).sqrt() };
    Some((concordant_less_discordant / pairs).clamp(-1.0, 1.0))
}

fn pairs_of(n: u64) -> u64 {
    n * n.saturating_sub(1) / 2
}

/// Pairs of neighbours with equal keys, over runs of them.
fn ties(sorted: &[[f64; 2]], key: impl Fn(&[f64; 2]) -> [f64; 2]) -> u64 {
    let same = |one: &[f64; 2], other: &[f64; 2]| key(one).map(f64::to_bits) == key(other).map(f64::to_bits);
    sorted.chunk_by(same).map(|run| pairs_of(run.len() as u64)).sum()
}

/// Sorts by the second value, and counts the pairs that change places: merge sort from below.
fn exchanges(pairs: &mut [[f64; 2]], buffer: &mut Vec<[f64; 2]>) -> u64 {
    let n = pairs.len();
    let (mut count, mut width) = (0, 1);
    while width < n {
        buffer.clear();
        for run in pairs.chunks(2 * width) {
            let (mut left, mut right) = run.split_at(width.min(run.len()));
            while let (Some((one, lefts)), Some((other, rights))) = (left.split_first(), right.split_first())
            {
                if other[1].total_cmp(&one[1]).is_lt() {
                    count += left.len() as u64;
                    buffer.push(*other);
                    right = rights;
                } else {
                    buffer.push(*one);
                    left = lefts;
                }
            }
            buffer.extend_from_slice(left);
            buffer.extend_from_slice(right);
        }
        pairs.copy_from_slice(buffer);
        width *= 2;
    }
    count
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tau(pairs: &[(f64, f64)]) -> Option<f64> {
        let mut pairs: Vec<[f64; 2]> = pairs.iter().map(|(one, other)| [*one, *other]).collect();
        kendall_tau_b(&mut pairs, &mut Vec::new())
    }

    /// The definition, pair by pair.
    fn by_definition(pairs: &[(f64, f64)]) -> Option<f64> {
        let (mut sum, mut first, mut second) = (0.0, 0.0, 0.0);
        for (at, one) in pairs.iter().enumerate() {
            for other in &pairs[at + 1..] {
                let sign = |one: f64, other: f64| match one.partial_cmp(&other) {
                    Some(std::cmp::Ordering::Less) => -1.0,
                    Some(std::cmp::Ordering::Greater) => 1.0,
                    _ => 0.0,
                };
                let (x, y): (f64, f64) = (sign(one.0, other.0), sign(one.1, other.1));
                sum += x * y;
                first += x.abs();
                second += y.abs();
            }
        }
        (first > 0.0 && second > 0.0).then(|| sum / f64::sqrt(first * second))
    }

    /// `scipy.stats.kendalltau`, SciPy 1.17.1.
    #[test]
    fn it_is_that_of_scipy() {
        let one = [12.0, 2.0, 1.0, 12.0, 2.0];
        let other = [1.0, 4.0, 7.0, 1.0, 0.0];
        let pairs: Vec<(f64, f64)> = one.into_iter().zip(other).collect();
        assert!((tau(&pairs).unwrap() - -0.471_404_520_791_031_73).abs() < 1e-15);
        let pairs: Vec<(f64, f64)> =
            (0..100).map(|at| (f64::from(at * 37 % 17), f64::from(at * 53 % 23))).collect();
        assert!((tau(&pairs).unwrap() - 0.005_271_646_091_435_809).abs() < 1e-15, "{:?}", tau(&pairs));
    }

    #[test]
    fn what_has_no_order_has_no_agreement() {
        assert_eq!((tau(&[]), tau(&[(1.0, 2.0)]), tau(&[(1.0, 2.0), (1.0, 3.0)])), (None, None, None));
        assert_eq!(tau(&[(-0.0, 1.0), (0.0, 2.0)]), None);
        let equal = tau(&[(-0.0, 5.0), (0.0, 3.0), (1.0, 9.0)]);
        assert_eq!(equal, tau(&[(0.0, 3.0), (0.0, 5.0), (1.0, 9.0)]));
    }

    proptest! {
        #[test]
        fn it_is_what_its_definition_says(pairs in prop::collection::vec((0_u8..12, 0_u8..12), 0..60)) {
            let pairs: Vec<(f64, f64)> = pairs.into_iter().map(|(x, y)| (f64::from(x), f64::from(y))).collect();
            match (tau(&pairs), by_definition(&pairs)) {
                (Some(found), Some(expected)) => prop_assert!((found - expected).abs() < 1e-12),
                (found, expected) => prop_assert_eq!(found, expected),
            }
        }

        #[test]
        fn the_same_order_is_exactly_1_and_the_reverse_exactly_minus_1(
            values in prop::collection::vec(-1e3_f64..1e3, 2..300),
        ) {
            prop_assume!(values.iter().any(|value| value.to_bits() != values[0].to_bits()));
            let pairs = |sign: f64| values.iter().map(|value| (*value, sign * value)).collect::<Vec<_>>();
            prop_assert_eq!(tau(&pairs(1.0)), Some(1.0));
            prop_assert_eq!(tau(&pairs(-1.0)), Some(-1.0));
        }
    }
}
