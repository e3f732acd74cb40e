//! What is asked of a decision.

use chrono::{DateTime, Utc};

use crate::feature::{FeatureBatch, FeatureType, ValueRef};

/// How much an answer explains.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Explain {
    /// Offers without factors.
    #[default]
    None,
    /// Offers with factors.
    Winners,
    /// Offers with factors, and what was withheld and why.
    All,
}

/// A customer of a [`RankRequest`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Customer {
    /// The key of the feature store; empty for a visitor whom nobody knows.
    pub id: String,
    /// Consents that the caller knows of, added to those among the features.
    pub consents: Vec<String>,
}

/// Rank offers for each customer of a batch. Fields are as in `proffer.v1.RankRequest`.
#[derive(Debug, Clone, Default)]
pub struct RankRequest {
    /// The placement to fill.
    pub placement: String,
    /// Empty: the placement's first.
    pub channel: String,
    /// Those to decide for.
    pub customers: Vec<Customer>,
    /// Row i = customer i; 0 rows where the caller knows nothing.
    pub features: FeatureBatch,
    /// Features of the call by name; `None` is a missing value.
    pub context: Vec<(String, Option<ContextValue>)>,
    /// Only these are considered; empty = all.
    pub candidate_offer_ids: Vec<String>,
    /// These are not.
    pub exclude_offer_ids: Vec<String>,
    /// 0: the placement's default.
    pub count: usize,
    /// How much to explain.
    pub explain: Explain,
    /// When the offers would be shown; `None` = now.
    pub as_of: Option<DateTime<Utc>>,
    /// The release that must answer; 0 = the current one.
    pub release: u64,
    /// Whether the answer is only looked at: nothing is remembered of it.
    pub dry_run: bool,
}

/// A value of the context as the caller wrote it, before the schema says what it must be.
#[derive(Debug, Clone, PartialEq)]
pub enum ContextValue {
    /// A 64-bit float, to become 32 bits.
    Float(f64),
    /// An integer.
    Int(i64),
    /// Text.
    String(String),
    /// True or false.
    Bool(bool),
}

impl ContextValue {
    /// The value as a feature of the given type, `None` where it is of another.
    pub(super) fn typed(&self, feature_type: FeatureType) -> Option<ValueRef<'_>> {
        match (feature_type, self) {
            (FeatureType::Float, Self::Float(value)) => {
                Some(*value as f32).filter(|value| value.is_finite()).map(ValueRef::Float)
            }
            // A caller without a schema at hand writes 7 where 7.0 is meant.
            (FeatureType::Float, Self::Int(value)) => Some(ValueRef::Float(*value as f32)),
            (FeatureType::Int, Self::Int(value)) => Some(ValueRef::Int(*value)),
            (FeatureType::String, Self::String(value)) => Some(ValueRef::String(value)),
            (FeatureType::Bool, Self::Bool(value)) => Some(ValueRef::Bool(*value)),
            _ => None,
        }
    }
}

/// Score rows with one model of the current release.
#[derive(Debug, Clone, Default)]
pub struct ScoreRequest {
    /// The model's name.
    pub model: String,
    /// 0: the release's.
    pub version: u64,
    /// One row per item.
    pub features: FeatureBatch,
    /// Pairwise: each row × each of these. Others: the columns wanted, empty = all.
    pub offer_ids: Vec<String>,
}
