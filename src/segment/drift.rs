//! Drift: how far the customers of today are from those that segments were trained on.
//!
//! Compares a table with what the artefact holds of its training: the distribution of each feature, its range, the sizes of
//! the segments. Nothing is learned and nothing is written. Start reading at [`drift`].

mod shown;
mod tally;
#[cfg(test)]
mod tests;

use std::path::Path;

use serde::Serialize;

use self::tally::{FeatureTally, Tally};
use super::assign::Segmentation;
use super::prepare::FeaturePreparation;
use super::train::ReadOptions;
use super::train::customers::Customers;
use super::train::progress::{Progress, Stopped};
use crate::document::Problems;
use crate::feature::psi;

/// The index above which something has shifted. Source: Siddiqi, "Credit Risk Scorecards" (2006).
pub const DEFAULT_LIMIT: f64 = 0.25;

/// Below this index a distribution is stable. Source: the same.
const STABLE_BELOW: f64 = 0.1;

/// A table against the training of a segmentation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Drift {
    /// The table, as it was given.
    pub file: String,
    /// Its customers.
    pub customers: u64,
    /// Those of the training.
    pub trained_on: u64,
    /// The index above which something has shifted.
    pub limit: f64,
    /// In the order of the artefact.
    pub features: Vec<FeatureDrift>,
    /// The segments that the artefact assigns.
    pub segments: SegmentsDrift,
}

/// A feature now against its training. Shares are of all customers, 0..=1.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FeatureDrift {
    /// Its name; `job=admin.` of a text.
    pub feature: String,
    /// The population stability index over the deciles of the training, and a bin of what is missing where anything is.
    /// `None` where the artefact has no distribution to compare with.
    pub psi: Option<f64>,
    /// What the index says.
    pub verdict: Option<Verdict>,
    /// Share without a value in training.
    pub missing_then: Option<f64>,
    /// Share without a value now.
    pub missing_now: f64,
    /// The least and the greatest value in training.
    pub range_then: [f64; 2],
    /// The least and the greatest value now, where there is any.
    pub range_now: Option<[f64; 2]>,
    /// The mean of the known values now.
    pub mean_now: Option<f64>,
    /// Customers below the range of the training.
    pub below: u64,
    /// Customers above it.
    pub above: u64,
    /// Share of both.
    pub out_of_range: f64,
    /// Customers so far beyond that a decimal point may be lost (0.875 as 875): 100 times whatever training saw, or more.
    pub far_out: u64,
}

/// The shares of the segments now against their training.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SegmentsDrift {
    /// The population stability index, a bin per segment.
    pub psi: f64,
    /// What the index says.
    pub verdict: Verdict,
    /// By id.
    pub shares: Vec<SegmentShare>,
}

/// A segment's share of the customers, 0..=1.
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

/// What an index says, by the usual limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Below 0.1.
    Stable,
    /// From 0.1 to 0.25.
    Moderate,
    /// Above 0.25.
    Shifted,
}

/// Why nothing was compared.
#[derive(Debug, thiserror::Error)]
pub enum DriftError {
    /// The table cannot be used.
    #[error("{0}")]
    Input(Problems),
    /// A limit that nothing can be held against.
    #[error("the limit of the index must be a number above 0, not {0}")]
    Limit(f64),
    /// Whoever watched asked for the end.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Compares the customers in `input`, CSV or Parquet, with those that `segmentation` was trained on.
///
/// Only the artefact's columns are read. `said`: words that mean a missing value, and new names of columns. `limit`: the index above which something
/// has shifted. Cost: one pass over the table. The same figures for every number of threads.
///
/// # Errors
/// A limit that is not above 0, every problem of the table, a feature that it has not among them; `progress` asked to stop.
pub fn drift(
    segmentation: &Segmentation,
    input: &Path,
    said: &ReadOptions,
    limit: f64,
    progress: &dyn Progress,
) -> Result<Drift, DriftError> {
    if !limit.is_finite() || limit <= 0.0 {
        return Err(DriftError::Limit(limit));
    }
    let customers = Customers::read(input, segmentation, said, progress).map_err(DriftError::Input)?;
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
    })
}

impl Drift {
    /// Whether a feature or the segments have an index above the limit.
    #[must_use]
    pub fn shifted(&self) -> bool {
        self.segments.psi > self.limit || self.shifted_features().next().is_some()
    }

    /// The features with an index above the limit.
    pub fn shifted_features(&self) -> impl Iterator<Item = &FeatureDrift> {
        self.features.iter().filter(|feature| feature.psi.is_some_and(|psi| psi > self.limit))
    }

    /// The features of which a decimal point may be lost.
    pub fn suspects(&self) -> impl Iterator<Item = &FeatureDrift> {
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
    /// By the limits of Siddiqi.
    #[must_use]
    pub fn of(psi: f64) -> Self {
        if psi < STABLE_BELOW {
            Self::Stable
        } else if psi <= DEFAULT_LIMIT {
            Self::Moderate
        } else {
            Self::Shifted
        }
    }

    /// In the words of the table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
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
