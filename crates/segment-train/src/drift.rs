//! Drift: how much the customers of a table differ from those that the segments were trained on.
//!
//! Compares the table with the training data recorded in the artefact: the distribution and the range of each feature,
//! and the sizes of the segments. Learns and writes nothing. Start reading at [`drift`].

mod display;
mod tally;
#[cfg(test)]
mod tests;

use std::path::Path;

use serde::Serialize;

use self::tally::{FeatureTally, Tally};
use super::train::ReadOptions;
use super::train::customers::Customers;
use super::train::progress::{Progress, Stopped};
use document::Problems;
use segment::assign::Segmentation;
use segment::prepare::FeaturePreparation;
use statistics::psi;

/// A distribution with a greater PSI has shifted. Source: Siddiqi, "Credit Risk Scorecards" (2006).
pub const DEFAULT_LIMIT: f64 = 0.25;

/// A distribution with a lower PSI is stable. Source: Siddiqi (2006).
const STABLE_BELOW: f64 = 0.1;

/// A table compared with the training data of a segmentation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Drift {
    /// The path of the table.
    pub file: String,
    /// Customers in the table.
    pub customers: u64,
    /// Customers in training.
    pub trained_on: u64,
    /// The PSI above which a distribution has shifted.
    pub limit: f64,
    /// In the order of the artefact.
    pub features: Vec<FeatureDrift>,
    /// The shares of the segments.
    pub segments: SegmentsDrift,
    /// Warnings about the file as a whole, a sentence each.
    pub notes: Vec<String>,
}

/// A feature compared with training. Shares are of all customers, 0..=1.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FeatureDrift {
    /// Its label, as `job=admin.` for a text.
    pub feature: String,
    /// The population stability index (PSI) over the deciles of the training, with a bin for missing values if there
    /// are any. `None` if the artefact has no distribution of the feature.
    pub psi: Option<f64>,
    /// The PSI in words.
    pub verdict: Option<Verdict>,
    /// Share without a value in training.
    pub missing_then: Option<f64>,
    /// Share without a value now.
    pub missing_now: f64,
    /// The minimum and the maximum in training.
    pub range_then: [f64; 2],
    /// The minimum and the maximum now, if there is a value.
    pub range_now: Option<[f64; 2]>,
    /// The mean of the known values now.
    pub mean_now: Option<f64>,
    /// Customers below the training range.
    pub below: u64,
    /// Customers above the training range.
    pub above: u64,
    /// Share of the customers outside the training range.
    pub out_of_range: f64,
    /// Customers so far outside that a decimal point may be missing, as in 875 for 0.875.
    pub far_out: u64,
}

/// The shares of the segments compared with training.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SegmentsDrift {
    /// The population stability index, with a bin per segment.
    pub psi: f64,
    /// The PSI in words.
    pub verdict: Verdict,
    /// By id.
    pub shares: Vec<SegmentShare>,
}

/// The share of the customers in a segment, 0..=1.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SegmentShare {
    /// Its id.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// In training.
    pub then: f64,
    /// Now.
    pub now: f64,
}

/// The PSI in words, by the limits of Siddiqi (2006).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// No change worth attention.
    Stable,
    /// Some change.
    Moderate,
    /// More than [`DEFAULT_LIMIT`].
    Shifted,
}

/// Why there is no comparison.
#[derive(Debug, thiserror::Error)]
pub enum DriftError {
    /// The table cannot be used.
    #[error("{0}")]
    Input(Problems),
    /// The limit is not a positive number.
    #[error("the PSI limit must be a number above 0, not {0}")]
    Limit(f64),
    /// `progress` asked to stop.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Compares the customers in `input`, CSV or Parquet, with those that `segmentation` was trained on.
///
/// Reads only the columns of the artefact. `options`: words for missing values, renamed columns, and the CSV format.
/// `limit`: the PSI above which a distribution has shifted.
/// Cost: one pass over the table. The figures do not depend on the number of threads.
///
/// # Errors
/// A limit that is not positive; every problem of the table, such as a missing feature; `progress` asked to stop.
pub fn drift(
    segmentation: &Segmentation,
    input: &Path,
    options: &ReadOptions,
    limit: f64,
    progress: &dyn Progress,
) -> Result<Drift, DriftError> {
    if !limit.is_finite() || limit <= 0.0 {
        return Err(DriftError::Limit(limit));
    }
    let customers = Customers::read(input, segmentation, options, progress).map_err(DriftError::Input)?;
    Ok(measure(segmentation, &customers, input.display().to_string(), limit, progress)?)
}

fn measure(
    segmentation: &Segmentation,
    customers: &Customers,
    file: String,
    limit: f64,
    progress: &dyn Progress,
) -> Result<Drift, Stopped> {
    let blocks =
        customers.by_block("comparing with the training", progress, |raw| Tally::of(segmentation, raw))?;
    let tally = blocks.into_iter().fold(Tally::empty(segmentation), Tally::plus);
    let rows = customers.rows() as u64;
    let features = segmentation.features().iter().zip(&tally.features);
    Ok(Drift {
        file,
        customers: rows,
        trained_on: segmentation.training().rows,
        limit,
        features: features.map(|(feature, tally)| FeatureDrift::of(feature, tally, rows)).collect(),
        segments: SegmentsDrift::of(segmentation, &tally.segments),
        notes: customers.notes().to_vec(),
    })
}

impl Drift {
    /// Whether the PSI of a feature or of the segments is above the limit.
    #[must_use]
    pub fn shifted(&self) -> bool {
        self.segments.psi > self.limit || self.shifted_features().next().is_some()
    }

    /// The features with a PSI above the limit.
    fn shifted_features(&self) -> impl Iterator<Item = &FeatureDrift> {
        self.features.iter().filter(|feature| feature.psi.is_some_and(|psi| psi > self.limit))
    }

    /// The features with values that may lack a decimal point.
    fn suspects(&self) -> impl Iterator<Item = &FeatureDrift> {
        self.features.iter().filter(|feature| feature.far_out > 0)
    }
}

impl FeatureDrift {
    fn of(feature: &FeaturePreparation, tally: &FeatureTally, rows: u64) -> Self {
        let index = feature.reference.as_ref().map(|reference| {
            let (mut then, mut now) = (reference.counts.clone(), tally.counts.clone());
            if reference.missing > 0 || tally.missing > 0 {
                then.push(reference.missing);
                now.push(tally.missing);
            }
            psi::of_counts(&then, &now)
        });
        let missing_then = feature.reference.as_ref().map(|reference| {
            share(reference.missing, reference.counts.iter().sum::<u64>() + reference.missing)
        });
        let known = rows - tally.missing;
        Self {
            feature: feature.label().into_owned(),
            psi: index,
            verdict: index.map(Verdict::of),
            missing_then,
            missing_now: share(tally.missing, rows),
            range_then: feature.range,
            range_now: (known > 0).then_some(tally.range),
            mean_now: (known > 0).then(|| tally.sum / known as f64),
            below: tally.below,
            above: tally.above,
            out_of_range: share(tally.below + tally.above, rows),
            far_out: tally.far_out,
        }
    }
}

impl SegmentsDrift {
    fn of(segmentation: &Segmentation, now: &[u64]) -> Self {
        let then: Vec<u64> = segmentation.segments().iter().map(|segment| segment.size).collect();
        let (all_then, all_now) = (then.iter().sum(), now.iter().sum());
        let index = psi::of_counts(&then, now);
        let segments = (0..).zip(segmentation.segments()).zip(now);
        Self {
            psi: index,
            verdict: Verdict::of(index),
            shares: segments
                .map(|((id, segment), now)| SegmentShare {
                    id,
                    name: segment.name.clone(),
                    then: share(segment.size, all_then),
                    now: share(*now, all_now),
                })
                .collect(),
        }
    }
}

impl Verdict {
    /// The verdict on a PSI.
    #[must_use]
    fn of(psi: f64) -> Self {
        if psi < STABLE_BELOW {
            Self::Stable
        } else if psi <= DEFAULT_LIMIT {
            Self::Moderate
        } else {
            Self::Shifted
        }
    }

    /// The word in the table.
    #[must_use]
    fn as_str(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Moderate => "moderate",
            Self::Shifted => "shifted",
        }
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
