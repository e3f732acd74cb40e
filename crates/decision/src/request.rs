//! What a caller asks for.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use feature::{BatchError, BoundBatch, Column, ColumnValues, FeatureBatch, FeatureType, ValueRef};

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

/// What is wrong with one customer or one row. Only that one fails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct RowProblem {
    /// The path of the field.
    pub field: String,
    /// What is wrong.
    pub message: String,
}

/// The first problem of each customer or row that has one.
pub type RowProblems = BTreeMap<usize, RowProblem>;

impl RowProblem {
    /// A value that the feature cannot have.
    pub(super) fn in_features(error: BatchError) -> Self {
        Self { field: format!("features.{}", error.field), message: error.message }
    }

    /// What is wrong with a row, if anything: a part that could not be read, else the fault of its features.
    pub(super) fn of_row(
        row: usize,
        unreadable: &RowProblems,
        features: Option<&BoundBatch>,
    ) -> Option<Self> {
        let fault = || features?.fault(row).map(Self::in_features);
        unreadable.get(&row).cloned().or_else(fault)
    }
}

/// A customer of a [`RankRequest`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Customer {
    /// The key in the feature store; empty for an anonymous visitor.
    pub id: String,
    /// Consents that the caller claims, added to those among the features.
    pub consents: Vec<String>,
}

/// Ranks offers for each customer of a batch. Fields are as in `proffer.v1.RankRequest`.
#[derive(Debug, Clone, Default)]
pub struct RankRequest {
    /// The caller's id of the request, or the server's.
    pub request_id: String,
    /// The placement to fill.
    pub placement: String,
    /// Empty: the placement's first channel.
    pub channel: String,
    /// The customers to decide for.
    pub customers: Vec<Customer>,
    /// Row i describes customer i; 0 rows where the caller sends no features.
    pub features: FeatureBatch,
    /// Features of the call by name; `None` is a missing value.
    pub context: Vec<(String, Option<ContextValue>)>,
    /// Only these are considered; empty = all.
    pub candidate_offer_ids: Vec<String>,
    /// These are excluded.
    pub exclude_offer_ids: Vec<String>,
    /// 0: the placement's default.
    pub count: usize,
    /// How much to explain.
    pub explain: Explain,
    /// When the offers would be shown; `None` = now.
    pub as_of: Option<DateTime<Utc>>,
    /// The release that must answer; 0 = the current one.
    pub release: u64,
    /// Whether the answer is a preview: nothing is recorded of it.
    pub dry_run: bool,
    /// Variants to decide with, as pairs of experiment and variant, whatever is drawn: for testers.
    pub forced: Vec<(String, String)>,
    /// Customers that could not be read, by position; the others are decided.
    pub unreadable: RowProblems,
}

/// A context value as the caller sent it, before the schema gives its type.
#[derive(Debug, Clone, PartialEq)]
pub enum ContextValue {
    /// A 64-bit float, converted to 32 bits.
    Float(f64),
    /// An integer.
    Int(i64),
    /// Text.
    String(String),
    /// True or false.
    Bool(bool),
}

impl ContextValue {
    /// The value as the given feature type; `None` where it does not convert.
    pub(super) fn typed(&self, feature_type: FeatureType) -> Option<ValueRef<'_>> {
        let sent = match self {
            // Beyond 2^53, a 64-bit float may differ from the number that was written.
            Self::Float(value) if feature_type == FeatureType::Int => {
                let whole = value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0;
                return whole.then_some(ValueRef::Int(*value as i64));
            }
            Self::Float(value) => ValueRef::Float(*value as f32),
            Self::Int(value) => ValueRef::Int(*value),
            Self::String(value) => ValueRef::String(value),
            Self::Bool(value) => ValueRef::Bool(*value),
        };
        // A caller without the schema may write 7 for 7.0.
        sent.cast(feature_type)
    }
}

/// What of a [`RankRequest`] is kept for its record as it was asked.
#[derive(Debug, Clone, Default)]
pub struct AskedRank {
    /// The id of the request.
    pub request_id: String,
    /// The channel; empty: the placement's first.
    pub channel: String,
    /// The offers to consider; empty: all.
    pub candidate_offer_ids: Vec<String>,
    /// The offers to exclude.
    pub exclude_offer_ids: Vec<String>,
    /// The most offers; 0: the placement's default.
    pub count: u32,
    /// How much to explain.
    pub explain: Explain,
    /// When the offers would be shown; `None` = when the call was planned.
    pub as_of: Option<DateTime<Utc>>,
    /// The release that must answer; 0 = the current one.
    pub release: u64,
}

/// What a text takes in a record besides its bytes.
const BYTES_PER_TEXT: usize = 8;

impl RankRequest {
    /// About how many bytes of the request each of its records repeats.
    pub(super) fn shared_footprint(&self) -> usize {
        let texts = |texts: &[String]| texts.iter().map(|text| text.len() + BYTES_PER_TEXT).sum::<usize>();
        let context = |(_, value): &(String, Option<ContextValue>)| match value {
            Some(ContextValue::String(text)) => text.len() + BYTES_PER_TEXT,
            Some(ContextValue::Float(_) | ContextValue::Int(_) | ContextValue::Bool(_)) | None => {
                BYTES_PER_TEXT
            }
        };
        texts(&self.candidate_offer_ids)
            + texts(&self.exclude_offer_ids)
            + self.context.iter().map(context).sum::<usize>()
    }

    /// About how many bytes the request takes, so that what waits to be recorded can be bounded.
    pub(super) fn footprint(&self) -> usize {
        let texts =
            |texts: &[String]| texts.iter().map(|text| text.capacity() + size_of::<String>()).sum::<usize>();
        let column = |column: &Column| {
            let values = match &column.values {
                ColumnValues::Floats(values) => size_of_val(&values[..]),
                ColumnValues::Ints(values) => size_of_val(&values[..]),
                ColumnValues::Bools(values) => size_of_val(&values[..]),
                ColumnValues::Strings(values) => texts(values),
            };
            column.name.capacity() + values + size_of_val(&column.null_rows[..])
        };
        let context = |(name, value): &(String, Option<ContextValue>)| {
            let text = match value {
                Some(ContextValue::String(text)) => text.capacity(),
                Some(ContextValue::Float(_) | ContextValue::Int(_) | ContextValue::Bool(_)) | None => 0,
            };
            name.capacity() + text + size_of::<(String, Option<ContextValue>)>()
        };
        let customer = |customer: &Customer| customer.id.capacity() + texts(&customer.consents);
        self.customers.iter().map(customer).sum::<usize>()
            + size_of_val(&self.features.dense_values[..])
            + self.features.columns.iter().map(column).sum::<usize>()
            + self.context.iter().map(context).sum::<usize>()
            + texts(&self.candidate_offer_ids)
            + texts(&self.exclude_offer_ids)
    }
}

/// Scores rows with one model of the current release.
#[derive(Debug, Clone, Default)]
pub struct ScoreRequest {
    /// The model's name.
    pub model: String,
    /// 0: the release's version.
    pub version: u64,
    /// One row per item.
    pub features: FeatureBatch,
    /// Pairwise: each row is paired with each of these. Others: the columns to return; empty = all.
    pub offer_ids: Vec<String>,
    /// Rows that could not be read; the others are scored.
    pub unreadable: RowProblems,
}
