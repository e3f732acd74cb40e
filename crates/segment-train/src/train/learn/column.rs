//! Learns the preparation of one column.

use super::statistics::{central_moment, distinct, mean, quantile, reference, skewness};
use crate::train::settings::{Impute, Log1p, PrepareSettings};
use crate::train::study::Column;
use segment::prepare::{FeaturePreparation, ImputedWith, Scale};

/// Columns with a greater skewness get ln(1 + x).
const LOG1P_SKEWNESS: f64 = 1.0;

/// Their 99th percentile must be above this, which excludes shares and frequencies.
const LOG1P_PERCENTILE_99: f64 = 1.0;

/// The feature that a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ColumnSource<'t> {
    /// The name in messages: the header, or `name=text`.
    pub(super) header: &'t str,
    /// The name of the feature.
    pub(super) name: &'t str,
    /// For a text feature, the text whose value is 1.
    pub(super) equals: Option<&'t str>,
}

/// What was learned from a column.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LearnedColumn {
    pub(super) feature: FeaturePreparation,
    /// For the report.
    pub(super) facts: Column,
    /// Mean and population standard deviation over the rows, before the scale.
    moments: [f64; 2],
}

impl LearnedColumn {
    /// The feature as z-scores, independent of the scale of the settings.
    pub(super) fn standard(&self) -> FeaturePreparation {
        let [mean, deviation] = self.moments;
        FeaturePreparation { mean, deviation, ..self.feature.clone() }
    }

    /// The population standard deviation of the scaled values: 1 for z-scores.
    pub(super) fn scaled_deviation(&self) -> f64 {
        self.moments[1] / self.feature.deviation
    }
}

/// Learns from the values of a column, one per row, NaN if missing.
///
/// Winsorises at quantiles of the known values, unless both are equal: such bounds would make a rarely varying column
/// constant. Memory: 16 bytes per row.
///
/// # Errors
/// What is wrong with the column and what to do.
pub(super) fn learn(
    source: ColumnSource<'_>,
    raw: Vec<f32>,
    settings: &PrepareSettings,
) -> Result<LearnedColumn, String> {
    let mut known: Vec<f32> = raw.iter().copied().filter(|value| !value.is_nan()).collect();
    known.sort_unstable_by(f32::total_cmp);
    let (Some(&least), Some(&greatest)) = (known.first(), known.last()) else {
        return Err("no row has a value; remove the column".to_owned());
    };
    // Compares the values, since rounding can give a constant column a deviation above 0.
    if least >= greatest {
        return Err(format!("every value is {least}, so it cannot distinguish customers; remove the column"));
    }
    let missing = (raw.len() - known.len()) as u64;
    let range = [f64::from(least), f64::from(greatest)];
    let (impute, imputed_with) = imputation(source, &known, settings);
    let skewness = skewness(&known);
    let mut feature = FeaturePreparation {
        equals: source.equals.map(str::to_owned),
        impute,
        imputed_with,
        winsor: settings.winsorise.and_then(|[low, high]| {
            let bounds = [quantile(&known, low), quantile(&known, high)];
            (bounds[0] < bounds[1]).then_some(bounds)
        }),
        log1p: needs_log1p(source, &known, skewness, impute, settings)?,
        range,
        reference: Some(reference(&known, missing)),
        ..FeaturePreparation::identity(source.name)
    };
    let facts = Column {
        name: source.header.to_owned(),
        kind: if source.equals.is_some() { "text" } else { "number" },
        missing,
        distinct: distinct(&known),
        distinct_bounded: false,
        range: Some(range),
        mean: Some(mean(&known)),
        skewness: Some(skewness),
        impute: Some(impute),
        winsor: feature.winsor,
        log1p: feature.log1p,
        left_out: None,
        out_of_range: None,
        warning: None,
    };
    drop(known);
    let prepared: Vec<f64> = raw.iter().map(|value| feature.apply(*value)).collect();
    drop(raw);
    let moments = [mean(&prepared), central_moment(&prepared, 2).sqrt()];
    [feature.mean, feature.deviation] = match settings.scale {
        Scale::ZScore => moments,
        Scale::MinMax => {
            let least = prepared.iter().copied().fold(f64::INFINITY, f64::min);
            let greatest = prepared.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            [least, greatest - least]
        }
    };
    let usable = |deviation: f64| deviation > 0.0 && deviation.is_finite();
    if !usable(feature.deviation) || !usable(moments[1]) || !feature.mean.is_finite() {
        return Err(format!(
            "its values, from {least} to {greatest}, are too close together or too far apart to be scaled; remove the \
             column"
        ));
    }
    Ok(LearnedColumn { feature, facts, moments })
}

/// The imputed value and its origin. A missing text equals no text, so it is 0 in every feature.
fn imputation(source: ColumnSource<'_>, ascending: &[f32], settings: &PrepareSettings) -> (f64, ImputedWith) {
    if source.equals.is_some() {
        return (0.0, ImputedWith::Constant);
    }
    match settings.impute(source.name) {
        Impute::Median => (quantile(ascending, 0.5), ImputedWith::Median),
        Impute::Mean => (mean(ascending), ImputedWith::Mean),
        Impute::Constant(value) => (value, ImputedWith::Constant),
    }
}

fn needs_log1p(
    source: ColumnSource<'_>,
    ascending: &[f32],
    skewness: f64,
    impute: f64,
    settings: &PrepareSettings,
) -> Result<bool, String> {
    let least = f64::from(ascending[0]).min(impute);
    match &settings.log1p {
        Log1p::Never => Ok(false),
        Log1p::Auto => Ok(source.equals.is_none()
            && least >= 0.0
            && quantile(ascending, 0.99) > LOG1P_PERCENTILE_99
            && skewness > LOG1P_SKEWNESS),
        Log1p::Of(names) if !names.iter().any(|name| name == source.name) => Ok(false),
        Log1p::Of(_) if least < 0.0 => Err(format!(
            "`log1p` names it, but its minimum is {least}, and ln(1 + x) needs values from 0 on; remove it from `log1p`"
        )),
        Log1p::Of(_) => Ok(true),
    }
}
