//! The gap statistic: how much closer the rows are to their centroids than rows without clusters would be.
//!
//! Source: Tibshirani, Walther & Hastie, "Estimating the number of clusters in a data set via the gap statistic"
//! (2001), with a uniform reference distribution over the bounding box of the rows (their choice a).

use ndarray::{Array2, ArrayView1, ArrayView2, Axis};
use rayon::prelude::*;

use super::stop_only::StopOnly;
use crate::train::draw;
use crate::train::draw::Purpose;
use crate::train::k_means;
use crate::train::k_means::{Fit, KMeansOptions};
use crate::train::progress::{Progress, Stopped};
use crate::train::study::Gap;

/// A larger table is sampled down to this number of rows; the reference sets have the same size.
const ROWS: usize = 20_000;

/// The gap of each fit; `None` without `sets`, or if every row lies on a centroid.
///
/// `points`: rows × dimensions, the rows of the fits. `options.k` is ignored.
/// The reference sets are clustered with as many restarts as the rows.
/// Sets run in parallel, each with its own seed.
/// Cost: `sets` × the cost of the fits on at most [`ROWS`] rows. Memory: one set per thread.
pub(super) fn gaps(
    points: ArrayView2<'_, f64>,
    fits: &[Fit],
    sets: Option<usize>,
    options: &KMeansOptions,
    progress: &dyn Progress,
) -> Result<Vec<Option<Gap>>, Stopped> {
    let Some(sets) = sets else { return Ok(vec![None; fits.len()]) };
    let ks: Vec<usize> = fits.iter().map(|fit| fit.sizes.len()).collect();
    let work: usize = ks.iter().sum();
    progress.begin("gap statistic", (work * sets) as u64);
    let mut random = draw::generator(options.seed, Purpose::GapRows, 0);
    let sample = draw::without_replacement(&mut random, points.nrows(), ROWS);
    let sample = (sample.len() < points.nrows()).then(|| points.select(Axis(0), &sample));
    let (rows, own) = match &sample {
        Some(sample) => (sample.view(), log_dispersions(sample.view(), &ks, options, progress)?),
        None => (points.reborrow(), fits.iter().map(|fit| fit.inertia.ln()).collect()),
    };
    let one = |index: u64| {
        let options =
            KMeansOptions { seed: draw::seed(options.seed, Purpose::ReferenceFit, index), ..options.clone() };
        let found = log_dispersions(reference(rows, options.seed, index).view(), &ks, &options, progress)?;
        progress.advance(work as u64);
        Ok(found)
    };
    let references: Result<Vec<Vec<f64>>, Stopped> = (0..sets as u64).into_par_iter().map(one).collect();
    let references = references?;
    let of = |(position, log_w): (usize, &f64)| {
        gap(*log_w, &references.iter().map(|set| set[position]).collect::<Vec<_>>())
    };
    Ok(own.iter().enumerate().map(of).collect())
}

/// A reference set: as many rows as `points`, uniform in their bounding box.
///
/// `points`: rows × dimensions. The set depends only on `points`, `seed` and `index`.
fn reference(points: ArrayView2<'_, f64>, seed: u64, index: u64) -> Array2<f64> {
    let bound = |column: ArrayView1<'_, f64>| {
        let widen = |(low, high): (f64, f64), value: &f64| (low.min(*value), high.max(*value));
        column.iter().fold((f64::INFINITY, f64::NEG_INFINITY), widen)
    };
    let bounds: Vec<(f64, f64)> = points.columns().into_iter().map(bound).collect();
    let mut random = draw::generator(seed, Purpose::Reference, index);
    let mut set = Array2::zeros(points.dim());
    for mut row in set.rows_mut() {
        for (value, (low, high)) in row.iter_mut().zip(&bounds) {
            *value = low + draw::unit(&mut random) * (high - low);
        }
    }
    set
}

/// ln W for each number of clusters in `ks`, where W is the inertia; minus infinity if every row lies on a centroid.
fn log_dispersions(
    points: ArrayView2<'_, f64>,
    ks: &[usize],
    options: &KMeansOptions,
    progress: &dyn Progress,
) -> Result<Vec<f64>, Stopped> {
    let fit =
        |k: &usize| k_means::fit(points, &KMeansOptions { k: *k, ..options.clone() }, &StopOnly(progress));
    ks.iter().map(|k| Ok(fit(k)?.inertia.ln())).collect()
}

/// The gap from ln W of the rows and ln W* of the reference sets.
///
/// The mean of ln W* − ln W, and the population deviation of ln W* times √(1 + 1 / sets).
/// `None` without a set, or if a logarithm is not finite.
fn gap(log_w: f64, log_w_references: &[f64]) -> Option<Gap> {
    let sets = log_w_references.len() as f64;
    let mean = log_w_references.iter().sum::<f64>() / sets;
    let variance = log_w_references.iter().map(|log_w| (log_w - mean).powi(2)).sum::<f64>() / sets;
    let gap = Gap { value: mean - log_w, error: (variance * (1.0 + 1.0 / sets)).sqrt() };
    (gap.value.is_finite() && gap.error.is_finite()).then_some(gap)
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use proptest::prelude::*;

    use super::super::golden;
    use super::*;
    use crate::train::progress::Silent;

    const MANY_RESTARTS: KMeansOptions = KMeansOptions { tolerance: 0.0, ..KMeansOptions::new(0, 100, 42) };

    #[test]
    fn the_gap_agrees_with_python_on_the_same_reference_sets() {
        let case = &golden::read()["gap"];
        let ks: Vec<usize> = golden::labels(&case["ks"]).into_iter().map(|k| k as usize).collect();
        let logs =
            |points: Array2<f64>| log_dispersions(points.view(), &ks, &MANY_RESTARTS, &Silent).unwrap();
        let own = logs(golden::matrix(&case["points"]));
        let references: Vec<Vec<f64>> =
            case["references"].as_array().unwrap().iter().map(|set| logs(golden::matrix(set))).collect();
        let expected = (golden::numbers(&case["gap"]), golden::numbers(&case["error"]));
        for (position, log_w) in own.iter().enumerate() {
            let found: Vec<f64> = references.iter().map(|set| set[position]).collect();
            let found = gap(*log_w, &found).unwrap();
            golden::near(found.value, expected.0[position], 1e-9);
            golden::near(found.error, expected.1[position], 1e-9);
        }
    }

    #[test]
    fn a_dispersion_of_nothing_has_no_gap() {
        assert_eq!(gap(f64::NEG_INFINITY, &[1.0, 2.0]), None);
        assert_eq!(gap(1.0, &[f64::NEG_INFINITY, 2.0]), None);
        assert_eq!(gap(1.0, &[]), None);
        assert_eq!(gap(1.0, &[2.0]), Some(Gap { value: 1.0, error: 0.0 }));
    }

    #[test]
    fn a_dimension_that_never_changes_stays_as_it_is() {
        let set = reference(array![[1.0, 5.0], [3.0, 5.0]].view(), 7, 0);
        assert!(set.column(1).iter().all(|value| value.to_bits() == 5.0_f64.to_bits()));
    }

    proptest! {
        #[test]
        fn reference_rows_lie_in_the_box_of_the_rows(
            rows in proptest::collection::vec((-1e3_f64..1e3, -1e3_f64..1e3), 1..30),
            seed in any::<u64>(),
        ) {
            let points = Array2::from_shape_fn((rows.len(), 2), |(row, dimension)| {
                if dimension == 0 { rows[row].0 } else { rows[row].1 }
            });
            let set = reference(points.view(), seed, 3);
            prop_assert_eq!(set.dim(), points.dim());
            prop_assert_eq!(&set, &reference(points.view(), seed, 3));
            for (column, own) in set.columns().into_iter().zip(points.columns()) {
                let (low, high) = own.iter().fold((f64::MAX, f64::MIN), |(low, high), value| {
                    (low.min(*value), high.max(*value))
                });
                prop_assert!(column.iter().all(|value| (low..=high).contains(value)));
            }
        }
    }
}
