//! Clustering by linfa; no other file names it.

use std::error::Error;

use linfa::DatasetBase;
use linfa::traits::Fit;
use linfa_clustering::KMeans;
use ndarray::ArrayView2;
use rand_xoshiro::Xoshiro256Plus;
use rand_xoshiro::rand_core::SeedableRng;

use super::TrainOptions;

/// A restart has converged once all centroids together move less than this, in standard deviations (Euclidean).
const TOLERANCE: f64 = 1e-5;

/// A restart that has not converged after this many steps is taken as it is.
const MAX_ITERATIONS: u64 = 1000;

/// The centroids of the best of the restarts, segments × dimensions, row-major, in no particular order.
///
/// `points`: rows × `dimensions`, row-major, with at least as many distinct rows as segments. Lloyd's algorithm from
/// k-means++ starts; the restarts draw from one random generator in sequence, and every sum is in the order of the rows,
/// so neither threads nor time change the result. Sources: Lloyd (1982), Arthur & Vassilvitskii (2007).
pub(super) fn k_means(
    points: &[f64],
    dimensions: usize,
    options: &TrainOptions,
) -> Result<Vec<f64>, Box<dyn Error + Send + Sync>> {
    let matrix = ArrayView2::from_shape((points.len() / dimensions, dimensions), points)?;
    let random = Xoshiro256Plus::seed_from_u64(options.seed);
    let fitted = KMeans::params_with_rng(options.k, random)
        .n_runs(options.n_init)
        .tolerance(TOLERANCE)
        .max_n_iterations(MAX_ITERATIONS)
        .fit(&DatasetBase::from(matrix))?;
    Ok(fitted.centroids().iter().copied().collect())
}
