//! Features: what is known about a customer, an offer and the context of a call, by name and type.
//!
//! Owns the [`FeatureSchema`] (`features.toml`), the values ([`Value`], [`ValueRef`]), the columns of a request
//! ([`FeatureBatch`]), the embedded store of customers, a sample of recent rows ([`RecentRows`]) and the index of
//! how far a distribution has moved ([`psi`]). Knows nothing of models, rules or the wire.
//! Start reading at [`FeatureSchema`], then [`Row`], which is what rules and models see.

mod batch;
mod names;
pub mod psi;
mod recent;
mod schema;
pub mod store;
mod value;

pub use batch::{BatchError, BoundBatch, Column, ColumnValues, FeatureBatch, UnknownNames};
pub use names::Names;
pub use recent::{RecentRow, RecentRows, RereadRow};
pub use schema::{Entity, Feature, FeatureSchema, OFFER_FIELDS, is_feature_name, read_value};
pub use value::{FeatureType, Value, ValueRef};

/// What rules and models see of one customer × offer: one slice per entity, in the order of the schema's features
/// of that entity.
///
/// `offer` is empty where no offer is meant (a model with a row per customer).
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// One value per customer feature.
    pub customer: &'a [ValueRef<'a>],
    /// One value per context feature.
    pub context: &'a [ValueRef<'a>],
    /// One value per offer feature, or empty.
    pub offer: &'a [ValueRef<'a>],
    /// The customer's segment, where the release has a segmentation.
    pub segment: Option<SegmentRef<'a>>,
}

/// A customer's segment as rules and models see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentRef<'a> {
    /// The number of the segment, stable across retraining.
    pub id: i64,
    /// Its name in plain words.
    pub name: &'a str,
}
