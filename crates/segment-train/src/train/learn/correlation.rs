//! The correlation of columns, and the removal of redundant ones.

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use segment::prepare::Preparation;

/// Rows per block. The sums of the blocks are added up in order, for any number of threads.
const ROWS_PER_BLOCK: usize = 16_384;

/// Kept and dropped columns, each in order.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Filtered {
    pub(super) kept: Vec<usize>,
    pub(super) dropped: Vec<Redundant>,
}

/// A column that correlates with an earlier one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Redundant {
    pub(super) column: usize,
    /// The kept column that is most similar.
    pub(super) similar: usize,
    /// Their correlation.
    pub(super) r: f64,
}

/// Pearson correlation, features × features, symmetric, 1 on the diagonal, −1..=1.
///
/// `standard`: features as z-scores over these rows, without components. `raw`: rows × features, row-major.
/// Cost: rows × features².
pub(super) fn correlation(standard: &Preparation, raw: &[f32]) -> Array2<f64> {
    let width = standard.features.len();
    let blocks: Vec<Array2<f64>> = raw
        .par_chunks(ROWS_PER_BLOCK * width)
        .map(|raw| {
            let points = standard.points(raw);
            ArrayView2::from_shape((points.len() / width, width), &points)
                .map_or_else(|_| Array2::zeros((width, width)), |points| points.t().dot(&points))
        })
        .collect();
    let mut sum = Array2::<f64>::zeros((width, width));
    for block in &blocks {
        sum += block;
    }
    let rows = (raw.len() / width) as f64;
    Array2::from_shape_fn((width, width), |(row, column)| {
        // Uses one triangle for both, so the matrix is symmetric to the last bit. Rounding must not exceed 1.
        let product = sum[[row.min(column), row.max(column)]];
        if row == column { 1.0 } else { (product / rows).clamp(-1.0, 1.0) }
    })
}

/// Drops each column whose |r| with an earlier kept column is above `limit`.
pub(super) fn filter(correlation: &Array2<f64>, limit: f64) -> Filtered {
    let mut filtered = Filtered { kept: Vec::new(), dropped: Vec::new() };
    for column in 0..correlation.nrows() {
        let strength = |other: &usize| correlation[[column, *other]].abs();
        let mut most_similar: Option<usize> = None;
        for other in filtered.kept.iter().copied().filter(|other| strength(other) > limit) {
            if most_similar.is_none_or(|found| strength(&other) > strength(&found)) {
                most_similar = Some(other);
            }
        }
        match most_similar {
            None => filtered.kept.push(column),
            Some(similar) => {
                let r = correlation[[column, similar]];
                filtered.dropped.push(Redundant { column, similar, r });
            }
        }
    }
    filtered
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_later_of_two_is_dropped_with_the_most_similar_one() {
        let matrix = ndarray::array![
            [1.0, 0.5, -0.96, 0.2],
            [0.5, 1.0, 0.98, 0.99],
            [-0.96, 0.98, 1.0, 0.97],
            [0.2, 0.99, 0.97, 1.0],
        ];
        let filtered = filter(&matrix, 0.95);
        assert_eq!(filtered.kept, [0, 1]);
        let redundant = |column, r| Redundant { column, similar: 1, r };
        assert_eq!(filtered.dropped, [redundant(2, 0.98), redundant(3, 0.99)]);
        // A correlation at the limit is allowed.
        assert_eq!(filter(&matrix, 0.99).kept, [0, 1, 2, 3]);
    }

    proptest! {
        #[test]
        fn no_pair_above_the_limit_remains(
            values in prop::collection::vec(-1.0..1.0_f64, 36), limit in 0.01..1.0_f64,
        ) {
            let matrix = Array2::from_shape_fn((6, 6), |(row, column)| {
                if row == column { 1.0 } else { values[row.min(column) * 6 + row.max(column)] }
            });
            let Filtered { kept, dropped } = filter(&matrix, limit);
            prop_assert_eq!(kept.len() + dropped.len(), 6);
            for (row, column) in kept.iter().flat_map(|row| kept.iter().map(move |column| (*row, *column))) {
                prop_assert!(row == column || matrix[[row, column]].abs() <= limit);
            }
            for Redundant { column, similar, r } in dropped {
                prop_assert!(similar < column && kept.contains(&similar) && r.abs() > limit);
            }
        }
    }
}
