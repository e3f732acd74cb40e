//! From the raw values of a customer to coordinates: the path that training and serving share.
//!
//! Each row is prepared by itself: what depends on other rows was learned in training and is a field here.

use std::borrow::Cow;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// How the raw values of one feature become standardised values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeaturePreparation {
    /// The feature, as the feature schema names it.
    pub name: String,
    /// For a text feature, the text whose raw value is 1; any other text is 0. See [`Self::raw_of_text`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equals: Option<String>,
    /// Replaces a missing value, in the unit of the raw value.
    pub impute: f64,
    /// Where `impute` comes from; informational.
    #[serde(default, skip_serializing_if = "ImputedWith::is_default")]
    pub imputed_with: ImputedWith,
    /// Bounds that raw values are clamped to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub winsor: Option<[f64; 2]>,
    /// Whether ln(1 + x) is applied, which shortens the long tail of amounts and counts.
    pub log1p: bool,
    /// Subtracted after the steps above: the mean over the training rows, or their minimum with [`Scale::MinMax`].
    pub mean: f64,
    /// The positive divisor after that: the population standard deviation over the training rows.
    /// With [`Scale::MinMax`], their maximum minus their minimum.
    pub deviation: f64,
    /// The minimum and the maximum of the known raw values in training. Plays no part in assignment.
    pub range: [f64; 2],
    /// How the raw values were distributed in training, for drift. Plays no part in assignment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Reference>,
}

/// Where the imputed value comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImputedWith {
    /// The median of the known raw values.
    #[default]
    Median,
    /// Their mean.
    Mean,
    /// A value from the settings. Text features use 0: a missing text equals no text.
    Constant,
}

/// How features are brought to one scale.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scale {
    /// Standard deviations from the mean.
    #[default]
    #[serde(rename = "z-score")]
    ZScore,
    /// 0 at the minimum in training, 1 at the maximum.
    #[serde(rename = "min-max")]
    MinMax,
}

/// A histogram of the raw values of a feature in training.
///
/// Bin 0 holds the values below the first edge, and the last bin those from the last edge on.
/// Bin i holds those from edge i − 1, inclusive, to edge i.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// The deciles of the known values, strictly ascending.
    pub edges: Vec<f64>,
    /// Known values per bin; one more than edges.
    pub counts: Vec<u64>,
    /// Rows without a value.
    pub missing: u64,
}

impl ImputedWith {
    /// Whether the artefact omits it.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Scale {
    /// Whether the artefact omits it.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Reference {
    /// The bin that a known raw value falls into.
    #[must_use]
    pub fn bin(&self, raw: f32) -> usize {
        self.edges.partition_point(|edge| *edge <= f64::from(raw))
    }
}

impl FeaturePreparation {
    /// A feature whose raw values are used unchanged, with 0 for a missing one.
    #[must_use]
    pub fn identity(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            equals: None,
            impute: 0.0,
            imputed_with: ImputedWith::default(),
            winsor: None,
            log1p: false,
            mean: 0.0,
            deviation: 1.0,
            range: [0.0, 0.0],
            reference: None,
        }
    }

    /// The name for people; with its text for a text feature (`job=admin.`).
    #[must_use]
    pub fn label(&self) -> Cow<'_, str> {
        match &self.equals {
            None => Cow::Borrowed(&self.name),
            Some(text) => Cow::Owned(format!("{}={text}", self.name)),
        }
    }

    /// The raw value of a text feature: 1 if `text` is exactly `equals`, else 0.
    ///
    /// NaN, a missing value, if there is no text or the feature is a number.
    #[must_use]
    pub fn raw_of_text(&self, text: Option<&str>) -> f32 {
        match (&self.equals, text) {
            (Some(wanted), Some(text)) => f32::from(u8::from(wanted == text)),
            (None, _) | (_, None) => f32::NAN,
        }
    }

    /// Whether a known raw value is outside the training range; false for a missing one.
    #[must_use]
    pub fn is_out_of_range(&self, raw: f32) -> bool {
        let [least, greatest] = self.range;
        f64::from(raw) < least || f64::from(raw) > greatest
    }

    /// The standardised value of a raw one: its distance from `mean` in units of `deviation`.
    ///
    /// NaN is a missing value and is imputed.
    /// The server refuses infinite values; here they count as missing, so that every input has a result.
    /// Under `log1p`, negative values count as 0: training applies it only to features that are never negative.
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

/// Rows per parallel task: a few milliseconds of work.
const ROWS_PER_TASK: usize = 4096;

/// How a row of raw values becomes a point.
#[derive(Debug, Clone, PartialEq)]
pub struct Preparation {
    /// One per raw value of a row, in order; never empty.
    pub features: Vec<FeaturePreparation>,
    /// Principal components, components × features. Without them, the standardised values are the coordinates.
    pub pca: Option<Vec<Vec<f64>>>,
}

impl Preparation {
    /// The number of coordinates of a point.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.pca.as_ref().map_or(self.features.len(), Vec::len)
    }

    /// The coordinates of one row, as a slice of `buffer`.
    ///
    /// `raw`: one value per feature, in order; trailing values that are absent count as missing.
    /// Allocates only if `buffer` never held a row of this size.
    pub fn point<'b>(&self, raw: &[f32], buffer: &'b mut Vec<f64>) -> &'b [f64] {
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
    /// Each has the bits of [`Self::point`] for its row, for every number of threads.
    /// `raw`: rows × features, row-major; an incomplete last row is ignored. Memory: the points only.
    #[must_use]
    pub fn points(&self, raw: &[f32]) -> Vec<f64> {
        let (width, dimensions) = (self.features.len(), self.dimensions());
        let mut points = vec![0.0; raw.len() / width * dimensions];
        let blocks = points.par_chunks_mut(ROWS_PER_TASK * dimensions);
        blocks.zip(raw.par_chunks(ROWS_PER_TASK * width)).for_each(|(points, raw)| {
            let mut buffer = Vec::new();
            for (point, row) in points.chunks_exact_mut(dimensions).zip(raw.chunks_exact(width)) {
                point.copy_from_slice(self.point(row, &mut buffer));
            }
        });
        points
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "the numbers are chosen so that the arithmetic is exact")]
mod tests {
    use super::*;

    fn feature() -> FeaturePreparation {
        FeaturePreparation {
            impute: 3.0,
            mean: 1.0,
            deviation: 2.0,
            range: [0.0, 9.0],
            ..FeaturePreparation::identity("balance")
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
    fn the_text_of_a_feature_is_1_and_any_other_0() {
        let admin = FeaturePreparation { equals: Some("admin.".into()), ..feature() };
        assert_eq!(admin.raw_of_text(Some("admin.")), 1.0);
        for other in ["Admin.", "admin. ", ""] {
            assert_eq!(admin.raw_of_text(Some(other)), 0.0);
        }
        assert!(admin.raw_of_text(None).is_nan());
        assert!(feature().raw_of_text(Some("admin.")).is_nan());
        assert_eq!((admin.label(), feature().label()), ("balance=admin.".into(), "balance".into()));
    }

    #[test]
    fn values_outside_the_training_range_are_detected() {
        let feature = feature();
        let out: Vec<bool> = [-0.1, 0.0, 9.0, 9.1, f32::NAN].map(|raw| feature.is_out_of_range(raw)).to_vec();
        assert_eq!(out, [true, false, false, true, false]);
    }

    #[test]
    fn a_bin_begins_at_its_edge() {
        let reference = Reference { edges: vec![1.0, 5.0], counts: vec![1, 1, 1], missing: 0 };
        assert_eq!([-9.0, 0.9, 1.0, 4.9, 5.0, 99.0].map(|raw| reference.bin(raw)), [0, 0, 1, 1, 2, 2]);
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
