//! The settings of a training, from `segmentation.toml` and flags.
//!
//! Owns the settings, their defaults and their bounds. [`TrainSettings::check`] checks those of files and flags alike.
//! Whether a column exists is checked when the table is read. `settings/reference.toml` has every key.
//! Start reading at [`TrainSettings`].

mod check;
mod reading;

use std::collections::BTreeMap;

pub use check::{InvalidSetting, InvalidSettings};

use super::{DEFAULT_N_INIT, DEFAULT_SEED};
use segment::prepare::Scale;
use table::Decimal;

/// The usual name of the settings file.
pub const SETTINGS_FILE: &str = "segmentation.toml";

/// Every key with its meaning and default.
#[cfg(test)]
const REFERENCE: &str = include_str!("settings/reference.toml");

/// The settings of a training.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TrainSettings {
    /// How the table is read.
    pub read: ReadSettings,
    /// How columns become coordinates.
    pub prepare: PrepareSettings,
    /// How coordinates become segments.
    pub cluster: ClusterSettings,
    /// Names of segments by id; others get generated names.
    pub names: BTreeMap<u32, String>,
    /// Limits for replacing the previous version.
    pub retrain: RetrainSettings,
}

/// How the table is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadSettings {
    /// The id column.
    pub id: Option<String>,
    /// Columns to leave out.
    pub drop: Vec<String>,
    /// Text columns to encode with a feature per value.
    pub one_hot: Vec<String>,
    /// Words for a missing value.
    pub missing: Vec<String>,
    /// The only columns to use besides the id; all by default.
    pub only: Option<Vec<String>>,
    /// The field separator of a CSV file; detected by default.
    pub separator: Option<u8>,
    /// The decimal separator of a CSV file; detected by default.
    pub decimal: Option<Decimal>,
    /// Columns to use although they look like row numbers, ids, codes or labels.
    pub keep: Vec<String>,
    /// New names of columns, by their names in the file; new names must be valid feature names.
    pub rename: BTreeMap<String, String>,
}

/// How columns become coordinates, with the steps in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PrepareSettings {
    /// The imputation of missing values.
    pub impute: Impute,
    /// Different imputations by feature.
    pub impute_by_feature: BTreeMap<String, Impute>,
    /// The two quantiles that values are clamped to, 0 ≤ low < high ≤ 1.
    pub winsorise: Option<[f64; 2]>,
    /// The features to apply ln(1 + x) to.
    pub log1p: Log1p,
    /// How features are scaled.
    pub scale: Scale,
    /// Of two features with a greater |r|, the later one is left out; above 0 and at most 1.
    pub correlation_limit: Option<f64>,
    /// The share of the variance that the principal components must explain; above 0 and at most 1.
    pub variance_kept: Option<f64>,
}

/// The imputation of a missing number.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Impute {
    /// The median of the known values.
    #[default]
    Median,
    /// Their mean.
    Mean,
    /// A finite constant.
    Constant(f64),
}

/// The features to apply ln(1 + x) to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Log1p {
    /// Skewed amounts and counts that are never negative, but not shares.
    #[default]
    Auto,
    /// None.
    Never,
    /// The named features.
    Of(Vec<String>),
}

/// How coordinates become segments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSettings {
    /// The number of segments, at least 1; the recommended number by default.
    pub k: Option<usize>,
    /// The lowest number to try, at least 2.
    pub k_min: usize,
    /// The highest number to try.
    pub k_max: usize,
    /// Restarts of k-means, at least 1.
    pub n_init: usize,
    /// The random seed.
    pub seed: u64,
    /// Rows above which k-means starts with mini-batches, at least 1.
    pub mini_batch_above: usize,
    /// Bootstrap resamples for the stability, at least 2.
    pub resamples: usize,
    /// Reference sets of the gap statistic, at least 2; skipped by default.
    pub gap: Option<usize>,
}

/// Limits for replacing the previous version.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetrainSettings {
    /// The share of customers that may change segment, 0..=1.
    pub max_moved: f64,
}

impl TrainSettings {
    /// The settings with the new name of every renamed column; either name may be used before.
    #[must_use]
    pub fn renamed(mut self) -> Self {
        let rename = self.read.rename.clone();
        let new = |name: &mut String| {
            if let Some(new) = rename.get(name) {
                name.clone_from(new);
            }
        };
        let read = &mut self.read;
        read.id.iter_mut().for_each(new);
        for list in [&mut read.drop, &mut read.one_hot, &mut read.keep] {
            list.iter_mut().for_each(new);
        }
        read.only.iter_mut().flatten().for_each(new);
        if let Log1p::Of(names) = &mut self.prepare.log1p {
            names.iter_mut().for_each(new);
        }
        let by_feature = std::mem::take(&mut self.prepare.impute_by_feature);
        self.prepare.impute_by_feature = by_feature
            .into_iter()
            .map(|(mut name, impute)| {
                new(&mut name);
                (name, impute)
            })
            .collect();
        self
    }
}

impl PrepareSettings {
    /// The imputation of a feature.
    #[must_use]
    pub fn impute(&self, feature: &str) -> Impute {
        self.impute_by_feature.get(feature).copied().unwrap_or(self.impute)
    }
}

impl Default for ClusterSettings {
    fn default() -> Self {
        Self {
            k: None,
            // Two segments always look stable and say little.
            k_min: 3,
            k_max: 12,
            n_init: DEFAULT_N_INIT,
            seed: DEFAULT_SEED,
            mini_batch_above: 200_000,
            resamples: 20,
            gap: None,
        }
    }
}

impl Default for RetrainSettings {
    fn default() -> Self {
        Self { max_moved: 0.2 }
    }
}
