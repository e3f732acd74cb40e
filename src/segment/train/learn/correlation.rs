//! Which columns say the same as another.

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use crate::segment::prepare::Preparation;

/// Rows whose products are summed at a time. Sums of blocks are added in order, whichever thread made them.
const ROWS_PER_BLOCK: usize = 16_384;

/// Columns that remain, and those that do not, each in order.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Filtered {
    pub(super) kept: Vec<usize>,
    pub(super) dropped: Vec<Twin>,
}

/// A column that says much the same as an earlier one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Twin {
    pub(super) column: usize,
    /// The earlier one that remains; the most similar, where there are several.
    pub(super) like: usize,
    /// Their correlation.
    pub(super) r: f64,
}

/// Pearson correlation, features × features, symmetric, 1 on the diagonal, −1..=1.
///
/// `standard`: features in population standard deviations from their mean, over just these rows, without components; `raw`:
/// rows × features, row-major. Cost: rows × features².
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
        // One triangle says both, to the last bit; rounding must not lead beyond 1.
        let product = sum[[row.min(column), row.max(column)]];
        if row == column { 1.0 } else { (product / rows).clamp(-1.0, 1.0) }
    })
}

/// Drops each column that correlates with an earlier one that remains, in either direction, more than `limit`.
pub(super) fn filter(correlation: &Array2<f64>, limit: f64) -> Filtered {
    let mut filtered = Filtered { kept: Vec::new(), dropped: Vec::new() };
    for column in 0..correlation.nrows() {
        let strength = |like: &usize| correlation[[column, *like]].abs();
        let mut alike: Option<usize> = None;
        for like in filtered.kept.iter().copied().filter(|like| strength(like) > limit) {
            if alike.is_none_or(|found| strength(&like) > strength(&found)) {
                alike = Some(like);
            }
        }
        match alike {
            None => filtered.kept.push(column),
            Some(like) => {
                let r = correlation[[column, like]];
                filtered.dropped.push(Twin { column, like, r });
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
    fn the_later_of_two_goes_and_the_most_similar_one_is_named() {
        let matrix = ndarray::array![
            [1.0, 0.5, -0.96, 0.2],
            [0.5, 1.0, 0.98, 0.99],
            [-0.96, 0.98, 1.0, 0.97],
            [0.2, 0.99, 0.97, 1.0],
        ];
        let filtered = filter(&matrix, 0.95);
        assert_eq!(filtered.kept, [0, 1]);
        let (third, fourth) = (Twin { column: 2, like: 1, r: 0.98 }, Twin { column: 3, like: 1, r: 0.99 });
        assert_eq!(filtered.dropped, [third, fourth]);
        // What is just at the limit is not above it.
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
            for Twin { column, like, r } in dropped {
                prop_assert!(like < column && kept.contains(&like) && r.abs() > limit);
            }
        }
    }
}
