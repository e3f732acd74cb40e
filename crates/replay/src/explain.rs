//! Why one decision came out as it did: its features by name, and its answer with every reason.

use std::sync::Arc;

use decision::{Explain, RankResult, ValueSource, decide_again};
use event::proto::DecisionRecord;
use feature::{Entity, Feature, Value};
use release::Snapshot;
use work::Worker;

use super::record;
use super::releases::Releases;
use super::{Difference, differences};

/// A decision, explained.
#[derive(Debug)]
pub struct Explained {
    /// The release that decided, without customers.
    pub snapshot: Arc<Snapshot>,
    /// The customer's features, in the order of the schema.
    pub features: Vec<NamedValue>,
    /// The features of the context.
    pub context: Vec<NamedValue>,
    /// The answer, with all factors and reasons.
    pub result: RankResult,
    /// Where it differs from what was recorded; empty if the bytes are the same.
    pub differences: Vec<Difference>,
}

/// The value of a feature and where it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedValue {
    /// The feature.
    pub name: String,
    /// The value, if there was one.
    pub value: Option<Value>,
    /// Where it came from.
    pub source: ValueSource,
}

/// Explains a record by deciding again with the release that decided and the scores that are recorded.
///
/// # Errors
/// When the record is of an error, the release cannot be loaded, or the record does not fit it.
pub fn explain(recorded: &DecisionRecord, releases: &Releases) -> Result<Explained, String> {
    if recorded.error.is_some() {
        return Err("the record has an error instead of an answer".to_owned());
    }
    let loaded = releases.loaded(recorded.release)?;
    let snapshot = Arc::clone(&loaded.snapshot);
    let schema = snapshot.release.schema();
    let mut input = record::read(recorded, &loaded).map_err(|error| error.to_string())?;
    let features = named(schema.of(Entity::Customer), &input.values.customer);
    let context = named(schema.of(Entity::Context), &input.values.context);
    input.request.explain = Explain::All;
    let decided = decide_again(&snapshot, input, &Worker::only()).map_err(|error| error.to_string())?;
    let differences = differences(recorded, &record::answered_again(&snapshot, &decided.decision, recorded));
    Ok(Explained { snapshot, features, context, result: decided.result, differences })
}

fn named(features: &[Feature], values: &[(ValueSource, Option<Value>)]) -> Vec<NamedValue> {
    let named = features.iter().zip(values).map(|(feature, (source, value))| NamedValue {
        name: feature.name.clone(),
        value: value.clone(),
        source: *source,
    });
    named.collect()
}
