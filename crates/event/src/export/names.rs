//! The names that a release gives to what records have by position.

use std::sync::Arc;

use crate::proto::DecisionRecord;

/// The names of a release.
pub trait Names {
    /// The features of customers, in the order of the schema.
    fn customer_features(&self) -> &[FeatureName];

    /// The features of the context, in the order of the schema.
    fn context_features(&self) -> &[FeatureName];

    /// The ids of the candidates of a decision, in their order: those of the placement, or what the request left of
    /// them. `None` if they are not known.
    fn candidates(&self, record: &DecisionRecord) -> Option<Vec<String>>;
}

/// Gives the names of a release, if they are known.
pub type NamesOf<'n> = &'n dyn Fn(u64) -> Option<Arc<dyn Names>>;

/// Gives the names of a release, if they are known, and may keep them.
pub(crate) type NamesOfRelease<'n> = dyn FnMut(u64) -> Option<Arc<dyn Names>> + 'n;

/// A feature of a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureName {
    /// Its name.
    pub name: String,
    /// The type of its values.
    pub kind: FeatureKind,
    /// Whether its values are encrypted in records, where there is a key.
    pub sensitive: bool,
}

/// The type of a feature's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeatureKind {
    /// Floats of 32 bits.
    Float,
    /// Integers of 64 bits.
    Int,
    /// Yes or no.
    Bool,
    /// Texts.
    String,
}
