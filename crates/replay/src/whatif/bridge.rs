//! A recorded request on its way to a release other than the one that decided.

use decision::{Explain, ReplayInput, ValueSource};
use event::proto::DecisionRecord;
use feature::{Entity, FeatureSchema, Value, ValueRef};

use super::limits;
use crate::record::{self, RecordError};
use crate::releases::Loaded;

/// Where another release finds the features that the release that decided has recorded.
#[derive(Debug)]
pub(crate) struct Bridge {
    customer: Mapping,
    context: Mapping,
}

impl Bridge {
    pub(crate) fn new(from: &FeatureSchema, to: &FeatureSchema) -> Self {
        let mapping = |entity| Mapping::new(entity, from, to);
        Self { customer: mapping(Entity::Customer), context: mapping(Entity::Context) }
    }

    /// What `other` decides again from a record of `base`: the recorded values by name, what its own limits can know of
    /// the history, and no scores. Texts that explain are left out, since unread texts cost more than the decision.
    pub(crate) fn cross(
        &self,
        record: &DecisionRecord,
        base: &Loaded,
        other: &Loaded,
    ) -> Result<ReplayInput, RecordError> {
        let mut input = record::read(record, base)?;
        limits::resolve(&mut input, record, base, other)?;
        let release = &other.snapshot.release;
        let (schema, values) = (release.schema(), &mut input.values);
        values.customer = self.customer.apply(std::mem::take(&mut values.customer), Entity::Customer, schema);
        values.context = self.context.apply(std::mem::take(&mut values.context), Entity::Context, schema);
        values.scores = None;
        values.impressions = record::impressions(record, release.catalog());
        input.ignored = None;
        input.request.explain = Explain::None;
        Ok(input)
    }
}

/// For each feature of the other release: its position in the release that decided, if that has it.
#[derive(Debug)]
struct Mapping(Vec<Option<usize>>);

impl Mapping {
    fn new(entity: Entity, from: &FeatureSchema, to: &FeatureSchema) -> Self {
        let find = |name: &str| from.find(name).filter(|(of, _)| *of == entity).map(|(_, position)| position);
        Self(to.of(entity).iter().map(|feature| find(&feature.name)).collect())
    }

    /// The values for the other release. Defaults are left to it.
    fn apply(
        &self,
        mut values: Vec<(ValueSource, Option<Value>)>,
        entity: Entity,
        to: &FeatureSchema,
    ) -> Vec<(ValueSource, Option<Value>)> {
        let missing = || (ValueSource::Missing, None);
        let value = |(position, feature): (&Option<usize>, &feature::Feature)| {
            let Some((source, value)) = position.and_then(|position| values.get_mut(position)) else {
                return missing();
            };
            if !matches!(source, ValueSource::Request | ValueSource::Store) {
                return missing();
            }
            let value = value.take();
            if ValueRef::from(&value).feature_type() == Some(feature.feature_type) {
                return (*source, value);
            }
            let cast = ValueRef::from(&value).cast(feature.feature_type).and_then(|value| value.to_value());
            if cast.is_some() { (*source, cast) } else { missing() }
        };
        self.0.iter().zip(to.of(entity)).map(value).collect()
    }
}

#[cfg(test)]
mod tests {
    use feature::{Feature, FeatureType};

    use super::*;

    fn schema(features: &[(&str, FeatureType)]) -> FeatureSchema {
        let features = features.iter().map(|(name, of)| Feature::new(*name, *of, Entity::Customer));
        FeatureSchema::from_features(features)
    }

    #[test]
    fn values_are_found_by_name_and_cast() {
        use FeatureType::{Bool, Float, Int, String as Text};
        use ValueSource::{Default, Missing, Request, Store};
        let from = schema(&[("a", Int), ("b", Float), ("c", Text), ("d", Float), ("e", Int), ("f", Bool)]);
        let to = schema(&[
            ("e", Bool),
            ("d", Float),
            ("new", Int),
            ("c", Float),
            ("b", Int),
            ("a", Float),
            ("f", Bool),
        ]);
        let values = vec![
            (Store, Some(Value::Int(7))),
            (Request, Some(Value::Float(1.5))),
            (Store, Some(Value::String("x".into()))),
            (Default, Some(Value::Float(2.0))),
            (Store, Some(Value::Int(1))),
            (Missing, None),
        ];
        let found = Mapping::new(Entity::Customer, &from, &to).apply(values, Entity::Customer, &to);
        let expected = vec![
            (Store, Some(Value::Bool(true))),
            // Its default is that of the other release.
            (Missing, None),
            (Missing, None),
            // No text is a number, and 1.5 is not whole.
            (Missing, None),
            (Missing, None),
            (Store, Some(Value::Float(7.0))),
            (Missing, None),
        ];
        assert_eq!(found, expected);
    }
}
