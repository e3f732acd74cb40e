//! Features: the named, typed values of a customer, an offer or the context of a call.
//!
//! Owns the [`FeatureSchema`] (`features.toml`), the values ([`Value`], [`ValueRef`]) and the columns of a request
//! ([`FeatureBatch`]). Also owns the embedded customer store and a sample of recent rows ([`RecentRows`]). Knows nothing
//! of models, rules or the wire. Start reading at [`FeatureSchema`], then [`Row`], the view that rules and models get.

mod batch;
mod names;
mod recent;
mod schema;
pub mod store;
mod value;

pub use batch::{BatchError, BoundBatch, Column, ColumnValues, FeatureBatch, Misplaced};
pub use names::Names;
pub use recent::{PackedRows, RecentRow, RecentRows, RereadRow};
pub use schema::{Entity, Feature, FeatureSchema, OFFER_FIELDS, is_feature_name, read_value};
pub use value::{FeatureType, Value, ValueRef};

/// The features of one customer × offer: one slice per entity, in the order of the schema's features of that entity.
///
/// `offer` is empty for a model that scores customers, not offers.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// One value per customer feature.
    pub customer: &'a [ValueRef<'a>],
    /// One value per context feature.
    pub context: &'a [ValueRef<'a>],
    /// One value per offer feature, or empty.
    pub offer: &'a [ValueRef<'a>],
    /// The customer's segment, if the release has a segmentation.
    pub segment: Option<SegmentRef<'a>>,
}

/// A customer's segment, for rules and models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentRef<'a> {
    /// The number of the segment, stable across retraining.
    pub id: i64,
    /// The name shown to people.
    pub name: &'a str,
}
