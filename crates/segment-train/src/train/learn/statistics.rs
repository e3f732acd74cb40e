//! Statistics of one column. Sums are in the order of the values, so they are the same on every run.

use segment::prepare::Reference;

/// Bins of a reference distribution.
const BINS: usize = 10;

/// The quantile at `share` (0..=1) of values in ascending order, interpolated linearly; there is at least one value.
///
/// Source: Hyndman & Fan, "Sample quantiles in statistical packages" (1996), type 7, as in `numpy.quantile`.
pub(super) fn quantile(ascending: &[f32], share: f64) -> f64 {
    let position = share * (ascending.len() - 1) as f64;
    let below = (position.floor() as usize).min(ascending.len() - 1);
    let above = (below + 1).min(ascending.len() - 1);
    let (low, high) = (f64::from(ascending[below]), f64::from(ascending[above]));
    low + (position - below as f64) * (high - low)
}

/// The mean of at least one value.
pub(super) fn mean<T: Copy + Into<f64>>(values: &[T]) -> f64 {
    values.iter().map(|value| (*value).into()).sum::<f64>() / values.len() as f64
}

/// The central moment of an order; order 2 is the population variance.
pub(super) fn central_moment<T: Copy + Into<f64>>(values: &[T], order: i32) -> f64 {
    let mean = mean(values);
    values.iter().map(|value| ((*value).into() - mean).powi(order)).sum::<f64>() / values.len() as f64
}

/// The population skewness m3 / m2^1.5 (Fisher and Pearson's g1) of values that are not all equal.
pub(super) fn skewness<T: Copy + Into<f64>>(values: &[T]) -> f64 {
    central_moment(values, 3) / central_moment(values, 2).powf(1.5)
}

/// The number of distinct values, given in ascending order.
pub(super) fn distinct(ascending: &[f32]) -> u64 {
    // −0 and 0 count as one value.
    ascending.chunk_by(|one, next| one >= next).count() as u64
}

/// The histogram of known values in ascending order, which are not all equal, and of `missing` values.
///
/// The edges are the distinct deciles, the values at positions i · n / 10 of n.
/// A decile that equals the minimum moves to the next value above it.
/// So no bin is empty, and a column that is mostly 0 has a bin of its own for 0.
pub(super) fn reference(ascending: &[f32], missing: u64) -> Reference {
    let least = ascending[0];
    let next = ascending.partition_point(|value| *value <= least);
    let mut edges: Vec<f32> = Vec::with_capacity(BINS - 1);
    for decile in 1..BINS {
        let position = (decile * ascending.len() / BINS).max(next);
        let Some(edge) = ascending.get(position).copied() else { break };
        if edges.last().is_none_or(|last| *last < edge) {
            edges.push(edge);
        }
    }
    let starts = edges.iter().map(|edge| ascending.partition_point(|value| value < edge));
    let starts: Vec<usize> = std::iter::once(0).chain(starts).chain([ascending.len()]).collect();
    Reference {
        edges: edges.iter().map(|edge| f64::from(*edge)).collect(),
        counts: starts.windows(2).map(|bounds| (bounds[1] - bounds[0]) as u64).collect(),
        missing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_agree_with_numpy_and_scipy() {
        // numpy.quantile, numpy.std and scipy.stats.skew of these five numbers.
        let values = [1.0_f32, 2.0, 3.0, 4.0, 10.0];
        assert!((quantile(&values, 0.99) - 9.76).abs() < 1e-12);
        assert!((quantile(&values, 0.5) - 3.0).abs() < 1e-12);
        assert!((quantile(&values, 1.0) - 10.0).abs() < 1e-12);
        assert!((central_moment(&values, 2).sqrt() - 3.162_277_660_168_379_5).abs() < 1e-12);
        assert!((skewness(&values) - 1.138_419_957_660_616_6).abs() < 1e-12);
    }

    #[test]
    fn minus_0_and_0_are_one_value() {
        assert_eq!(distinct(&[-1.0, -0.0, 0.0, 0.0, 2.5, 2.5]), 3);
    }

    fn found(mut values: Vec<f32>) -> (Vec<f64>, Vec<u64>) {
        values.sort_by(f32::total_cmp);
        let reference = reference(&values, 7);
        assert_eq!(reference.missing, 7);
        // `Reference::bin` assigns each value to the bin that counted it.
        let mut counts = vec![0; reference.counts.len()];
        for value in &values {
            counts[reference.bin(*value)] += 1;
        }
        assert_eq!(counts, reference.counts);
        (reference.edges, reference.counts)
    }

    #[test]
    fn a_reference_has_deciles() {
        let (edges, counts) = found((0..1000).map(|value| value as f32).collect());
        assert_eq!(edges, [100.0, 200.0, 300.0, 400.0, 500.0, 600.0, 700.0, 800.0, 900.0]);
        assert_eq!(counts, [100; 10]);
    }

    #[test]
    fn equal_deciles_are_one_and_no_bin_is_empty() {
        // Six in ten are 0, three in ten 1, one in ten from 2 on.
        let values = (0..100).map(|row| {
            if row < 60 {
                0.0
            } else if row < 90 {
                1.0
            } else {
                row as f32
            }
        });
        assert_eq!(found(values.collect()), (vec![1.0, 90.0], vec![60, 30, 10]));
        // Flags that are nearly always 0, nearly always 1, and each half of the time.
        let flag = |ones: usize| (0..100).map(move |row| f32::from(u8::from(row < ones))).collect();
        assert_eq!(found(flag(2)), (vec![1.0], vec![98, 2]));
        assert_eq!(found(flag(97)), (vec![1.0], vec![3, 97]));
        assert_eq!(found(flag(50)), (vec![1.0], vec![50, 50]));
        assert_eq!(found(vec![-0.0, 0.0, 3.0]), (vec![3.0], vec![2, 1]));
    }
}
