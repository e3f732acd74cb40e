//! Settings of a training: `segmentation.toml`, and the same by flags.
//!
//! Owns what may be said, its defaults and its bounds ([`TrainSettings::check`], the one place, which flags go through
//! as well). Knows no table: whether a column exists is seen when there is one. `settings/reference.toml` has every key.
//! Start reading at [`TrainSettings`].

mod check;
mod reading;

use std::collections::BTreeMap;

pub use check::{Unfit, UnfitSetting};

use super::{DEFAULT_N_INIT, DEFAULT_SEED};
use crate::segment::prepare::Scale;
use crate::table::Decimal;

/// The name of the file that settings are kept in.
pub const SETTINGS_FILE: &str = "segmentation.toml";

/// Every key with its meaning: what the defaults are, as text.
pub const REFERENCE: &str = include_str!("settings/reference.toml");

/// All that a person may choose.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TrainSettings {
    /// What is read of the table.
    pub read: ReadSettings,
    /// How columns become coordinates.
    pub prepare: PrepareSettings,
    /// How coordinates become segments.
    pub cluster: ClusterSettings,
    /// Names of segments, by id; those without one are numbered.
    pub names: BTreeMap<u32, String>,
    /// Against the version before.
    pub retrain: RetrainSettings,
}

/// What is read of the table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadSettings {
    /// The column that names the customer.
    pub id: Option<String>,
    /// Columns that take no part.
    pub drop: Vec<String>,
    /// Columns of text, each value of which becomes a feature of its own.
    pub one_hot: Vec<String>,
    /// Words that mean a missing value.
    pub missing: Vec<String>,
    /// The only columns that take part, beside the id; all where absent.
    pub only: Option<Vec<String>>,
    /// What separates the fields of a CSV file; told from the file where absent.
    pub separator: Option<u8>,
    /// What stands before the decimals in a CSV file; told from the file where absent.
    pub decimal: Option<Decimal>,
    /// Columns that take part although they look like row numbers, ids, codes or labels.
    pub keep: Vec<String>,
    /// What columns are called, by what the file calls them: names that features can have.
    pub rename: BTreeMap<String, String>,
}

/// How columns become coordinates; the steps in this order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PrepareSettings {
    /// What stands in for a missing value …
    pub impute: Impute,
    /// … of these features.
    pub impute_by_feature: BTreeMap<String, Impute>,
    /// The two quantiles beyond which values count as the quantile, 0 ≤ low < high ≤ 1.
    pub winsorise: Option<[f64; 2]>,
    /// Of which features ln(1 + x) is taken.
    pub log1p: Log1p,
    /// How features are brought to one scale.
    pub scale: Scale,
    /// Of two features with a greater |r| the later one is left out; above 0, at most 1.
    pub correlation_limit: Option<f64>,
    /// As many principal components as hold this share of the variance; above 0, at most 1.
    pub variance_kept: Option<f64>,
}

/// What stands in for a missing value of a number.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Impute {
    /// The median of the known values.
    #[default]
    Median,
    /// Their mean.
    Mean,
    /// This, finite.
    Constant(f64),
}

/// Of which features ln(1 + x) is taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Log1p {
    /// Of those that are never negative, with a skewness and a 99th percentile above 1: amounts and counts with a long
    /// tail, not shares.
    #[default]
    Auto,
    /// Of none.
    Never,
    /// Of these.
    Of(Vec<String>),
}

/// How coordinates become segments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSettings {
    /// The number of segments, at least 1; the recommended one where there is none.
    pub k: Option<usize>,
    /// The least that is tried, at least 2.
    pub k_min: usize,
    /// The most that is tried.
    pub k_max: usize,
    /// Restarts of k-means, at least 1.
    pub n_init: usize,
    /// Seed of the random generator.
    pub seed: u64,
    /// Rows above which k-means takes a sample at a time, at least 1.
    pub mini_batch_above: usize,
    /// Bootstrap resamples for the stability, at least 2.
    pub resamples: usize,
    /// Reference sets of the gap statistic, at least 2; it is left out where there is no number.
    pub gap: Option<usize>,
}

/// Against the version before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetrainSettings {
    /// The share of customers that may change segment, 0..=1.
    pub max_moved: f64,
}

impl TrainSettings {
    /// The same with every column called as it is from the reading on, whichever of its two names was written.
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
    /// What stands in for a missing value of the feature.
    #[must_use]
    pub fn impute(&self, feature: &str) -> Impute {
        self.impute_by_feature.get(feature).copied().unwrap_or(self.impute)
    }
}

impl Default for ClusterSettings {
    fn default() -> Self {
        Self {
            k: None,
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
