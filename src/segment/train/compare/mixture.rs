//! A mixture of Gaussians.

use linfa::DatasetBase;
use linfa::traits::{Fit, Predict};
use linfa_clustering::{GaussianMixtureModel, GmmError};
use ndarray::ArrayView2;

use super::Found;
use crate::segment::train::draw::{self, Purpose};

/// Added to the variances, in squared units of the coordinates, from the first that lets the fit succeed. Columns of
/// which a component has one value only have no variance of their own, and linfa's densities, which are not kept as
/// logarithms, vanish for customers far from every component: broader components reach them.
const ADDED_VARIANCES: [f64; 4] = [1e-6, 0.01, 0.1, 0.3];

/// Steps of expectation and maximisation at most.
const MAX_ITERATIONS: u64 = 300;

/// The most probable of `k` Gaussian components with full covariances, for each row.
///
/// `points`: rows × dimensions. Cost: iterations × rows × `k` × dimensions². Source: Dempster, Laird & Rubin, "Maximum
/// likelihood from incomplete data via the EM algorithm" (1977), started from k-means.
pub(super) fn mixture(points: ArrayView2<'_, f64>, k: usize, seed: u64) -> Found {
    let mut last = Found { settings: String::new(), labels: Err(String::new()) };
    for added in ADDED_VARIANCES {
        let settings = format!("k = {k}, full covariances + {added}");
        match fit(points, k, seed, added) {
            Ok(labels) => return Found { settings, labels: Ok(labels) },
            Err(error) => last = Found { settings, labels: Err(error.to_string()) },
        }
    }
    last
}

fn fit(points: ArrayView2<'_, f64>, k: usize, seed: u64, added: f64) -> Result<Vec<Option<u32>>, GmmError> {
    let model = GaussianMixtureModel::params_with_rng(k, draw::generator(seed, Purpose::Mixture, 0))
        .reg_covariance(added)
        .max_n_iterations(MAX_ITERATIONS)
        .fit(&DatasetBase::from(points.to_owned()))?;
    let labels = model.predict(&points.to_owned());
    Ok(labels.iter().map(|label| Some(*label as u32)).collect())
}
