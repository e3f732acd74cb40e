//! A Gaussian mixture.

use linfa::DatasetBase;
use linfa::traits::Fit;
use linfa_clustering::GaussianMixtureModel;
use ndarray::{ArrayView1, ArrayView2};

use super::Clustering;
use crate::train::draw;
use crate::train::draw::Purpose;

/// Regularisation of the variances, in squared units of the coordinates; the first that succeeds is used.
///
/// A column that is constant within a component has no variance of its own.
/// linfa's densities are not logarithms and underflow for customers far from every component.
/// Broader components help there.
const ADDED_VARIANCES: [f64; 4] = [1e-6, 0.01, 0.1, 0.3];

/// Maximum iterations of expectation–maximisation.
const MAX_ITERATIONS: u64 = 300;

/// The most probable of `k` Gaussian components with full covariances, for each row.
///
/// `points`: rows × dimensions. The start is a k-means clustering. Cost: iterations × rows × `k` × dimensions².
/// Source: Dempster, Laird & Rubin, "Maximum likelihood from incomplete data via the EM algorithm" (1977).
pub(super) fn mixture(points: ArrayView2<'_, f64>, k: usize, seed: u64) -> Clustering {
    let mut last = Clustering { settings: String::new(), labels: Err(String::new()) };
    for added in ADDED_VARIANCES {
        let settings = format!("k = {k}, full covariances + {added}");
        match fit(points, k, seed, added) {
            Ok(labels) => return Clustering { settings, labels: Ok(labels) },
            Err(error) => last = Clustering { settings, labels: Err(error) },
        }
    }
    last
}

fn fit(points: ArrayView2<'_, f64>, k: usize, seed: u64, added: f64) -> Result<Vec<Option<u32>>, String> {
    let points = points.to_owned();
    let model = GaussianMixtureModel::params_with_rng(k, draw::generator(seed, Purpose::Mixture, 0))
        .reg_covariance(added)
        .max_n_iterations(MAX_ITERATIONS)
        .fit(&DatasetBase::from(points.view()))
        .map_err(|error| error.to_string())?;
    // `predict` panics if a row is so far from every component that its probabilities are 0 / 0.
    let probabilities = model.predict_proba(&points);
    probabilities.rows().into_iter().map(most_probable).collect()
}

/// The most probable component, the first of equal ones.
fn most_probable(probabilities: ArrayView1<'_, f64>) -> Result<Option<u32>, String> {
    let mut best: Option<(u32, f64)> = None;
    for (component, probability) in (0..).zip(probabilities) {
        if !probability.is_finite() {
            return Err("a customer is too far from every component to have a most probable one".to_owned());
        }
        if best.is_none_or(|(_, most)| *probability > most) {
            best = Some((component, *probability));
        }
    }
    Ok(best.map(|(component, _)| component))
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;

    #[test]
    fn a_row_without_probabilities_is_an_error_and_ties_go_to_the_first() {
        assert_eq!(most_probable(array![0.2, 0.4, 0.4].view()), Ok(Some(1)));
        assert!(most_probable(array![f64::NAN, 0.4].view()).is_err());
    }

    #[test]
    fn customers_far_from_all_others_do_not_panic() {
        let mut points =
            Array2::from_shape_fn((60, 2), |(row, dimension)| (row * 7 % 11 + dimension * row % 5) as f64);
        points[[0, 0]] = 1e6;
        points[[1, 1]] = -1e9;
        for k in 1..=4 {
            let found = mixture(points.view(), k, 42);
            assert!(found.labels.is_err() || found.labels.is_ok_and(|labels| labels.len() == 60));
        }
    }
}
