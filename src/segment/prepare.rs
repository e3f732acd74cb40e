//! From the raw values of a customer to coordinates: the one path that training and serving share.
//!
//! Never looks at more than one row: what depends on data was learned in training and is a field here.

use serde::{Deserialize, Serialize};

/// How the raw values of one feature become standardised values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeaturePreparation {
    /// The feature, as the feature schema names it.
    pub name: String,
    /// Stands in for a missing value, in the unit of the raw value.
    pub impute: f64,
    /// Raw values below the first count as the first, above the second as the second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub winsor: Option<[f64; 2]>,
    /// Whether ln(1 + x) is taken, which tames amounts and counts with a long tail.
    pub log1p: bool,
    /// Mean over the training rows, after the steps above.
    pub mean: f64,
    /// Population standard deviation over the training rows, after the steps above; positive.
    pub deviation: f64,
    /// The least and the greatest known raw value in training. Says what is unusual; plays no part in assignment.
    pub range: [f64; 2],
}

impl FeaturePreparation {
    /// The standardised value of a raw one, in standard deviations from the mean.
    ///
    /// NaN is a missing value and is imputed. An infinite value should have been refused by whoever received it; here
    /// it counts as missing, so that every input has an answer. Negative values count as 0 under `log1p`: training
    /// takes it only of features that are never negative.
    #[must_use]
    pub fn apply(&self, raw: f32) -> f64 {
        let mut value = if raw.is_finite() { f64::from(raw) } else { self.impute };
        if let Some([low, high]) = self.winsor {
            value = value.max(low).min(high);
        }
        if self.log1p {
            value = value.max(0.0).ln_1p();
        }
        (value - self.mean) / self.deviation
    }
}

/// How a row of raw values becomes a point.
#[derive(Debug, Clone, PartialEq)]
pub struct Preparation {
    /// One per raw value of a row, in order; never empty.
    pub features: Vec<FeaturePreparation>,
    /// Principal components, components × features; without them the standardised values are the coordinates.
    pub pca: Option<Vec<Vec<f64>>>,
}

impl Preparation {
    /// The number of coordinates of a point.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.pca.as_ref().map_or(self.features.len(), Vec::len)
    }

    /// The coordinates of one row, valid until `buffer` is used again.
    ///
    /// `raw`: one value per feature, in order; values that are lacking at the end count as missing. Allocates only
    /// where `buffer` never held a row of this size.
    pub(super) fn point<'b>(&self, raw: &[f32], buffer: &'b mut Vec<f64>) -> &'b [f64] {
        let missing = std::iter::repeat(f32::NAN);
        let padded = raw.iter().copied().chain(missing);
        buffer.clear();
        buffer.reserve_exact(self.features.len() + self.pca.as_ref().map_or(0, Vec::len));
        buffer.extend(self.features.iter().zip(padded).map(|(feature, value)| feature.apply(value)));
        let Some(components) = &self.pca else { return buffer };
        for component in components {
            let coordinate = component.iter().zip(&*buffer).map(|(weight, value)| weight * value).sum();
            buffer.push(coordinate);
        }
        &buffer[self.features.len()..]
    }

    /// The points of many rows, rows × dimensions, row-major.
    ///
    /// `raw`: rows × features, row-major.
    pub(super) fn points(&self, raw: &[f32]) -> Vec<f64> {
        let rows = raw.chunks_exact(self.features.len());
        let mut points = Vec::with_capacity(rows.len() * self.dimensions());
        let mut buffer = Vec::new();
        for row in rows {
            points.extend_from_slice(self.point(row, &mut buffer));
        }
        points
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "the numbers are chosen so that the arithmetic is exact")]
mod tests {
    use super::*;

    fn feature() -> FeaturePreparation {
        FeaturePreparation {
            name: "balance".into(),
            impute: 3.0,
            winsor: None,
            log1p: false,
            mean: 1.0,
            deviation: 2.0,
            range: [0.0, 9.0],
        }
    }

    #[test]
    fn a_raw_value_is_measured_in_deviations_from_the_mean() {
        assert_eq!(feature().apply(5.0), 2.0);
    }

    #[test]
    fn a_missing_or_infinite_value_is_imputed() {
        for raw in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(feature().apply(raw), 1.0);
        }
    }

    #[test]
    fn winsor_bounds_come_before_the_logarithm() {
        let bounded = FeaturePreparation { winsor: Some([0.0, 7.0]), log1p: true, mean: 0.0, ..feature() };
        assert_eq!(bounded.apply(1.0e6), 8.0_f64.ln() / 2.0);
        assert_eq!(bounded.apply(-5.0), 0.0);
    }

    #[test]
    fn the_logarithm_of_a_negative_value_is_that_of_0() {
        let logged = FeaturePreparation { log1p: true, mean: 0.0, ..feature() };
        assert_eq!(logged.apply(-1.0), 0.0);
        assert_eq!(logged.apply(-50.0), 0.0);
    }

    #[test]
    fn components_weigh_the_standardised_values() {
        let preparation = Preparation {
            features: vec![feature(), FeaturePreparation { name: "limit".into(), ..feature() }],
            pca: Some(vec![vec![1.0, 10.0], vec![0.0, -1.0], vec![0.5, 0.5]]),
        };
        assert_eq!(preparation.dimensions(), 3);
        assert_eq!(preparation.point(&[5.0, 3.0], &mut Vec::new()), [12.0, -1.0, 1.5]);
        assert_eq!(preparation.points(&[5.0, 3.0, 5.0, 3.0]), [12.0, -1.0, 1.5, 12.0, -1.0, 1.5]);
        assert_eq!(preparation.point(&[5.0], &mut Vec::new()), [12.0, -1.0, 1.5]);
    }
}
