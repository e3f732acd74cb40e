//! Principal components of the scaled features.

use linfa_linalg::eigh::{EigSort, Eigh};
use ndarray::{Array2, ArrayView1};

/// Two weights whose sizes differ by less than this share count as equally large, so that rounding decides no sign.
const EQUALLY_LARGE: f64 = 1e-9;

/// As many components as hold the share of the variance that was asked for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Components {
    /// Components × features, by variance, the greatest first; of length 1, at right angles to one another, the largest
    /// weight of each positive (the first of equally large ones).
    pub(super) weights: Vec<Vec<f64>>,
    /// The share that they hold, at most 1.
    pub(super) share: f64,
}

/// The fewest principal components that hold `share` (above 0, at most 1) of the variance, by the eigenvectors of the
/// covariance matrix, which are exact to rounding and the same on every run.
///
/// `correlation`: features × features, symmetric; `scales`: the standard deviation of each scaled feature. Cost: features³.
/// Source: Jolliffe, "Principal Component Analysis" (2002), §6.1.1.
///
/// # Errors
/// The decomposition fails, which a finite matrix cannot cause.
pub(super) fn components(
    correlation: &Array2<f64>,
    scales: &[f64],
    share: f64,
) -> Result<Components, String> {
    let covariance = Array2::from_shape_fn(correlation.dim(), |(row, column)| {
        correlation[[row, column]] * scales[row] * scales[column]
    });
    let decomposed = covariance.eigh().map_err(|error| {
        format!("its features have no principal components ({error}); leave `variance_kept` out")
    })?;
    let (variances, vectors) = decomposed.sort_eig_desc();
    // Rounding makes a variance of 0 slightly negative.
    let variances: Vec<f64> = variances.iter().map(|variance| variance.max(0.0)).collect();
    let total: f64 = variances.iter().sum();
    let mut held = 0.0;
    let mut weights = Vec::new();
    for (variance, vector) in variances.iter().zip(vectors.columns()) {
        held += variance;
        weights.push(signed(vector));
        if held / total >= share {
            break;
        }
    }
    Ok(Components { weights, share: (held / total).min(1.0) })
}

/// The vector or its opposite, whichever has its largest weight positive.
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
