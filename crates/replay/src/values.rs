//! Feature values in records: from a decision to `FeatureValues`, and back.

use decision::{SourcedValue, ValueSource};
use event::proto::{FeatureSource, FeatureValues};
use feature::{Feature, FeatureType, Value, ValueRef};

/// Why the values of a record do not fit a schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValuesError {
    /// Another number of features.
    #[error("the record has {recorded} features and the schema {expected}")]
    Width {
        /// In the record.
        recorded: usize,
        /// In the schema.
        expected: usize,
    },
    /// A source that this version does not know.
    #[error("feature `{feature}` has the source {number}, which this version does not know")]
    UnknownSource {
        /// The feature.
        feature: String,
        /// The number of the source.
        number: u8,
    },
    /// Sensitive values that were not recorded, or whose key is not there.
    #[error("{0}")]
    Encrypted(String),
    /// The lists of values end too early or too late.
    #[error("the lists of values do not fit the sources: {0}")]
    Lists(String),
}

/// Writes values of these features: those that are open, and the lists of those that are sensitive. Defaults stand in
/// the release and are not repeated.
pub(crate) fn write<'a>(
    values: impl ExactSizeIterator<Item = SourcedValue<'a>>,
    features: &[Feature],
) -> (FeatureValues, FeatureValues) {
    // Most values are numbers: the list grows once.
    let mut open = FeatureValues {
        sources: Vec::with_capacity(values.len()),
        floats: Vec::with_capacity(values.len()),
        ..FeatureValues::default()
    };
    let mut sensitive = FeatureValues::default();
    for ((source, value), feature) in values.zip(features) {
        open.sources.push(recorded_source(source) as u8);
        if matches!(source, ValueSource::Request | ValueSource::Store) {
            push(if feature.sensitive { &mut sensitive } else { &mut open }, value);
        }
    }
    (open, sensitive)
}

/// Appends a value to the list of its type.
pub(crate) fn push(lists: &mut FeatureValues, value: ValueRef<'_>) {
    match value {
        ValueRef::Missing => {}
        ValueRef::Float(value) => lists.floats.push(value),
        ValueRef::Int(value) => lists.ints.push(value),
        ValueRef::String(value) => lists.strings.push(value.to_owned()),
        ValueRef::Bool(value) => lists.bools.push(u8::from(value)),
    }
}

/// Reads values of these features.
///
/// # Errors
/// When they do not fit.
pub(crate) fn read(
    values: &FeatureValues,
    features: &[Feature],
) -> Result<Vec<(ValueSource, Option<Value>)>, ValuesError> {
    if values.sources.len() != features.len() {
        return Err(ValuesError::Width { recorded: values.sources.len(), expected: features.len() });
    }
    let opened = match &values.encrypted {
        None => FeatureValues::default(),
        Some(encrypted) => super::privacy::opened(encrypted)?,
    };
    let (mut open, mut sensitive) = (Lists::new(values), Lists::new(&opened));
    let mut read = Vec::with_capacity(features.len());
    for (feature, number) in features.iter().zip(&values.sources) {
        let unknown = || ValuesError::UnknownSource { feature: feature.name.clone(), number: *number };
        let source = source(*number).ok_or_else(unknown)?;
        let value = match source {
            ValueSource::Missing => None,
            ValueSource::Default => feature.default.clone(),
            ValueSource::Request | ValueSource::Store => {
                Some(if feature.sensitive { &mut sensitive } else { &mut open }.next(feature)?)
            }
        };
        read.push((source, value));
    }
    open.finish()?;
    sensitive.finish()?;
    Ok(read)
}

/// The lists of values, read from the front.
struct Lists<'a> {
    floats: std::slice::Iter<'a, f32>,
    ints: std::slice::Iter<'a, i64>,
    bools: std::slice::Iter<'a, u8>,
    strings: std::slice::Iter<'a, String>,
}

impl<'a> Lists<'a> {
    fn new(values: &'a FeatureValues) -> Self {
        Self {
            floats: values.floats.iter(),
            ints: values.ints.iter(),
            bools: values.bools.iter(),
            strings: values.strings.iter(),
        }
    }

    fn next(&mut self, feature: &Feature) -> Result<Value, ValuesError> {
        let value = match feature.feature_type {
            FeatureType::Float => self.floats.next().map(|value| Value::Float(*value)),
            FeatureType::Int => self.ints.next().map(|value| Value::Int(*value)),
            FeatureType::Bool => self.bools.next().map(|value| Value::Bool(*value != 0)),
            FeatureType::String => self.strings.next().map(|value| Value::String(value.as_str().into())),
        };
        value.ok_or_else(|| ValuesError::Lists(format!("there is none for `{}`", feature.name)))
    }

    fn finish(&self) -> Result<(), ValuesError> {
        let left = self.floats.len() + self.ints.len() + self.bools.len() + self.strings.len();
        if left > 0 { Err(ValuesError::Lists(format!("{left} are left over"))) } else { Ok(()) }
    }
}

/// The source as records have it.
#[must_use]
pub fn recorded_source(source: ValueSource) -> FeatureSource {
    match source {
        ValueSource::Missing => FeatureSource::Unspecified,
        ValueSource::Request => FeatureSource::Request,
        ValueSource::Store => FeatureSource::Store,
        ValueSource::Default => FeatureSource::Default,
    }
}

fn source(number: u8) -> Option<ValueSource> {
    Some(match FeatureSource::try_from(i32::from(number)).ok()? {
        FeatureSource::Unspecified => ValueSource::Missing,
        FeatureSource::Request => ValueSource::Request,
        FeatureSource::Store => ValueSource::Store,
        FeatureSource::Default => ValueSource::Default,
    })
}

#[cfg(test)]
mod tests {
    use feature::Entity;
    use proptest::prelude::*;

    use super::*;

    /// A feature and a value of it, or none.
    fn sourced() -> impl Strategy<Value = (Feature, ValueSource, Option<Value>)> {
        let value = prop_oneof![
            (-1e6_f32..1e6).prop_map(Value::Float),
            any::<i64>().prop_map(Value::Int),
            any::<bool>().prop_map(Value::Bool),
            ".{0,12}".prop_map(|text| Value::String(text.into())),
        ];
        (value, 0..4).prop_map(|(value, source)| {
            let feature_type = value.as_ref().feature_type().unwrap();
            let mut feature = Feature::new("f", feature_type, Entity::Customer);
            match source {
                0 => (feature, ValueSource::Missing, None),
                1 => (feature, ValueSource::Request, Some(value)),
                2 => (feature, ValueSource::Store, Some(value)),
                _ => {
                    feature.default = Some(value.clone());
                    (feature, ValueSource::Default, Some(value))
                }
            }
        })
    }

    proptest! {
        #[test]
        fn values_are_read_as_they_were_written(all in prop::collection::vec(sourced(), 0..20)) {
            let features: Vec<Feature> = all.iter().map(|(feature, _, _)| feature.clone()).collect();
            let values = all.iter().map(|(_, source, value)| (*source, ValueRef::from(value)));
            let found = read(&write(values, &features).0, &features).unwrap();
            prop_assert_eq!(found.len(), all.len());
            for ((_, source, value), (found_source, found)) in all.iter().zip(&found) {
                prop_assert_eq!(source, found_source);
                prop_assert_eq!(value, found);
            }
        }

        #[test]
        fn values_that_do_not_fit_are_refused(all in prop::collection::vec(sourced(), 1..20)) {
            let features: Vec<Feature> = all.iter().map(|(feature, _, _)| feature.clone()).collect();
            let values = all.iter().map(|(_, source, value)| (*source, ValueRef::from(value)));
            let written = write(values, &features).0;
            let fewer = read(&written, &features[1..]);
            prop_assert!(matches!(fewer, Err(ValuesError::Width { .. })), "{fewer:?}");
            let mut more = written.clone();
            more.floats.push(1.0);
            prop_assert!(matches!(read(&more, &features), Err(ValuesError::Lists(_))));
            let mut unknown = written;
            unknown.sources[0] = 200;
            let found = read(&unknown, &features);
            prop_assert!(matches!(found, Err(ValuesError::UnknownSource { number: 200, .. })), "{found:?}");
        }
    }
}
