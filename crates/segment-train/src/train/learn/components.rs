//! Principal components of the scaled features.

use linfa_linalg::eigh::{EigSort, Eigh};
use ndarray::{Array2, ArrayView1};

/// Weights whose sizes differ by a smaller share count as equal, so that rounding does not decide the sign.
const EQUALLY_LARGE: f64 = 1e-9;

/// The principal components that explain the requested share of the variance.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Components {
    /// Components × features, orthonormal, in descending order of variance.
    ///
    /// The largest weight of each is positive, the first of equal ones.
    pub(super) weights: Vec<Vec<f64>>,
    /// The share of the variance that they explain, at most 1.
    pub(super) share: f64,
}

/// The fewest principal components that explain `share` (above 0, at most 1) of the variance.
///
/// They are eigenvectors of the covariance matrix, exact to rounding and the same on every run.
/// `correlation`: features × features, symmetric. `scales`: the standard deviation of each scaled feature.
/// Cost: features³. Source: Jolliffe, "Principal Component Analysis" (2002), §6.1.1.
///
/// # Errors
/// The decomposition fails, which cannot happen for a finite matrix.
pub(super) fn components(
    correlation: &Array2<f64>,
    scales: &[f64],
    share: f64,
) -> Result<Components, String> {
    let covariance = Array2::from_shape_fn(correlation.dim(), |(row, column)| {
        correlation[[row, column]] * scales[row] * scales[column]
    });
    let decomposed = covariance.eigh().map_err(|error| {
        format!("its features have no principal components ({error}); remove `variance_kept`")
    })?;
    let (variances, vectors) = decomposed.sort_eig_desc();
    // Rounding can make a variance of 0 slightly negative.
    let variances: Vec<f64> = variances.iter().map(|variance| variance.max(0.0)).collect();
    let total: f64 = variances.iter().sum();
    let mut explained = 0.0;
    let mut weights = Vec::new();
    for (variance, vector) in variances.iter().zip(vectors.columns()) {
        explained += variance;
        weights.push(signed(vector));
        if explained / total >= share {
            break;
        }
    }
    Ok(Components { weights, share: (explained / total).min(1.0) })
}

/// The vector, with its sign flipped if its largest weight is negative.
fn signed(vector: ArrayView1<'_, f64>) -> Vec<f64> {
    let largest = vector.iter().fold(0.0_f64, |largest, weight| largest.max(weight.abs()));
    let decides = vector.iter().find(|weight| weight.abs() >= largest * (1.0 - EQUALLY_LARGE));
    let sign = if decides.is_some_and(|weight| *weight < 0.0) { -1.0 } else { 1.0 };
    vector.iter().map(|weight| sign * weight).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_features_have_the_diagonals_of_a_square() {
        let matrix = ndarray::array![[1.0, 0.6], [0.6, 1.0]];
        let found = components(&matrix, &[1.0, 1.0], 1.0).unwrap();
        let half = std::f64::consts::FRAC_1_SQRT_2;
        for (weights, expected) in found.weights.iter().zip([[half, half], [half, -half]]) {
            for (weight, expected) in weights.iter().zip(expected) {
                assert!((weight - expected).abs() < 1e-12, "{:?}", found.weights);
            }
        }
        let first = components(&matrix, &[1.0, 1.0], 0.8).unwrap();
        assert_eq!(first.weights.len(), 1);
        assert!((first.share - 0.8).abs() < 1e-12, "{}", first.share);
    }

    #[test]
    fn one_feature_is_its_own_component() {
        let found = components(&ndarray::array![[1.0]], &[0.25], 0.5).unwrap();
        assert_eq!(found, Components { weights: vec![vec![1.0]], share: 1.0 });
    }

    #[test]
    fn a_feature_of_small_scale_comes_last() {
        let found = components(&Array2::eye(3), &[0.1, 3.0, 1.0], 1.0).unwrap();
        assert_eq!(found.weights, [vec![0.0, 1.0, 0.0], vec![0.0, 0.0, 1.0], vec![1.0, 0.0, 0.0]]);
    }
}
