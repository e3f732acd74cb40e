//! Feature batches and values: from the wire, and attributes to it.

use std::fmt::Display;

use tonic::Status;

use crate::grpc::limits::{Limits, check_count, check_id, check_text, too_long};
use crate::grpc::proto::proffer::v1 as wire;
use crate::grpc::status::invalid;
use decision::{ContextValue, RowProblem, RowProblems};
use feature::{Column, ColumnValues, FeatureBatch, ValueRef};

/// Features that one batch may name.
const COLUMNS: usize = 10_000;

/// Reads a batch of at most `most_rows` rows. Its names are checked against the release later; rows with a text that is
/// too long are added to `unreadable`.
pub(super) fn read_batch(
    batch: wire::FeatureBatch,
    most_rows: usize,
    limits: &Limits,
    unreadable: &mut RowProblems,
) -> Result<FeatureBatch, Status> {
    let rows = batch.rows as usize;
    check_count("features.rows", "rows", rows, most_rows)?;
    let dense = batch.dense.unwrap_or_default();
    check_count("features.dense.names", "names", dense.names.len(), COLUMNS)?;
    for (index, name) in dense.names.iter().enumerate() {
        check_id(format_args!("features.dense.names[{index}]"), name)?;
    }
    check_count("features.columns", "columns", batch.columns.len(), COLUMNS)?;
    let columns = batch
        .columns
        .into_iter()
        .enumerate()
        .map(|(index, column)| read_column(index, column, limits, unreadable))
        .collect::<Result<_, _>>()?;
    Ok(FeatureBatch { rows, dense_names: dense.names, dense_values: dense.values, columns })
}

fn read_column(
    index: usize,
    column: wire::FeatureColumn,
    limits: &Limits,
    unreadable: &mut RowProblems,
) -> Result<Column, Status> {
    use wire::feature_column::Values;
    check_id(format_args!("features.columns[{index}].name"), &column.name)?;
    let values = match column.values {
        Some(Values::Floats(values)) => ColumnValues::Floats(values.values),
        Some(Values::Int64s(values)) => ColumnValues::Ints(values.values),
        Some(Values::Bools(values)) => ColumnValues::Bools(values.values),
        Some(Values::Strings(values)) => {
            for (row, text) in values.values.iter().enumerate() {
                if let Some(message) = too_long(text, limits) {
                    let field = format!("features.columns[{index}].strings[{row}]");
                    unreadable.entry(row).or_insert(RowProblem { field, message });
                }
            }
            ColumnValues::Strings(values.values)
        }
        None => {
            let message = "has no values; set floats, int64s, strings or bools";
            return Err(invalid(format_args!("features.columns[{index}].values"), message));
        }
    };
    Ok(Column { name: column.name, values, null_rows: column.null_rows })
}

/// Reads one value of the context; none, and NaN, are missing values.
pub(super) fn read_value(
    field: impl Display,
    value: wire::FeatureValue,
    limits: &Limits,
) -> Result<Option<ContextValue>, Status> {
    use wire::feature_value::Kind;
    Ok(match value.kind {
        None => None,
        Some(Kind::FloatValue(number)) if number.is_nan() => None,
        Some(Kind::FloatValue(number)) if number.is_infinite() => {
            return Err(invalid(field, "is infinite"));
        }
        Some(Kind::FloatValue(number)) => Some(ContextValue::Float(number)),
        Some(Kind::Int64Value(number)) => Some(ContextValue::Int(number)),
        Some(Kind::BoolValue(truth)) => Some(ContextValue::Bool(truth)),
        Some(Kind::StringValue(text)) => {
            check_text(field, &text, limits)?;
            Some(ContextValue::String(text))
        }
    })
}

/// Writes one value; a missing one has no kind.
pub(in crate::grpc) fn write_value(value: ValueRef<'_>) -> wire::FeatureValue {
    use wire::feature_value::Kind;
    let kind = match value {
        ValueRef::Missing => None,
        ValueRef::Float(number) => Some(Kind::FloatValue(f64::from(number))),
        ValueRef::Int(number) => Some(Kind::Int64Value(number)),
        ValueRef::String(text) => Some(Kind::StringValue(text.to_owned())),
        ValueRef::Bool(truth) => Some(Kind::BoolValue(truth)),
    };
    wire::FeatureValue { kind }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message;
    use tonic::Code;

    use super::*;
    use feature::{Entity, Feature, FeatureSchema, FeatureType, Misplaced};

    const ENTITIES: [Entity; 3] = [Entity::Customer, Entity::Context, Entity::Offer];

    fn schema() -> FeatureSchema {
        let feature = |name: &str, feature_type, entity| Feature::new(name, feature_type, entity);
        FeatureSchema::from_features([
            feature("balance", FeatureType::Float, Entity::Customer),
            feature("tenure", FeatureType::Int, Entity::Customer),
            feature("tier", FeatureType::String, Entity::Customer),
            feature("active", FeatureType::Bool, Entity::Customer),
            feature("month", FeatureType::Int, Entity::Context),
            feature("fee", FeatureType::Float, Entity::Offer),
        ])
    }

    /// A batch of every kind of column that fits the schema.
    fn sound() -> wire::FeatureBatch {
        use wire::feature_column::Values;
        let column = |name: &str, values| wire::FeatureColumn {
            name: name.to_owned(),
            values: Some(values),
            null_rows: vec![1],
        };
        wire::FeatureBatch {
            rows: 2,
            dense: Some(wire::DenseFeatures {
                names: ["balance", "month"].into_iter().collect(),
                values: vec![1.5, 12.0, f32::NAN, 6.0],
            }),
            columns: vec![
                column("tenure", Values::Int64s(wire::Int64Values { values: vec![7, 8] })),
                column(
                    "tier",
                    Values::Strings(wire::StringValues { values: vec!["gold".into(), String::new()] }),
                ),
                column("active", Values::Bools(wire::BoolValues { values: vec![true, false] })),
                column("fee", Values::Floats(wire::FloatValues { values: vec![0.5, 1.0] })),
            ],
        }
    }

    /// Reads bytes as a batch and, if they decode, every value of it. The worst outcome is a status.
    fn read_every_value(bytes: &[u8]) -> Result<usize, Status> {
        let message = wire::FeatureBatch::decode(bytes).map_err(|error| invalid("features", error))?;
        let mut unreadable = RowProblems::new();
        let batch = read_batch(message, 1000, &Limits::default(), &mut unreadable)?;
        let schema = schema();
        let bound = batch
            .bind(&schema, &ENTITIES, Misplaced::Refused)
            .map_err(|error| invalid(&error.field, &error.message))?;
        let mut found = 0;
        for entity in ENTITIES {
            for (row, index) in
                (0..bound.rows()).flat_map(|row| (0..schema.of(entity).len()).map(move |index| (row, index)))
            {
                let value = bound.value(entity, index, row);
                assert!(!matches!(value, ValueRef::Float(number) if !number.is_finite()), "{value:?}");
                found += usize::from(value != ValueRef::Missing);
            }
        }
        Ok(found)
    }

    #[test]
    fn a_sound_batch_is_read_whole() {
        assert_eq!(read_every_value(&sound().encode_to_vec()).unwrap(), 3 + 4);
    }

    proptest! {
        #[test]
        fn bytes_are_a_batch_or_the_callers_mistake(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let code = read_every_value(&bytes).map_err(|status| status.code());
            prop_assert!(matches!(code, Ok(_) | Err(Code::InvalidArgument)), "{code:?}");
        }

        #[test]
        fn a_damaged_batch_is_read_or_the_callers_mistake(
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        ) {
            let mut bytes = sound().encode_to_vec();
            for (at, byte) in damage {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let code = read_every_value(&bytes).map_err(|status| status.code());
            prop_assert!(matches!(code, Ok(_) | Err(Code::InvalidArgument)), "{code:?}");
        }
    }
}
