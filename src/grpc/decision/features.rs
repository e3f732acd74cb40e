//! Feature batches and values: from the wire, and attributes to it.

use std::sync::Arc;

use tonic::Status;

use crate::decision::ContextValue;
use crate::feature::{Column, ColumnValues, FeatureBatch};
use crate::grpc::limits::{Limits, check_count, check_id, check_text};
use crate::grpc::proto::proffer::v1 as wire;
use crate::grpc::status::invalid;

/// Features that one batch may name.
const COLUMNS: usize = 10_000;

/// Reads a batch of at most `most_rows` rows. What it says about features is checked against the release later.
pub(super) fn read_batch(
    batch: wire::FeatureBatch,
    most_rows: usize,
    limits: &Limits,
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
        .map(|(index, column)| read_column(index, column, limits))
        .collect::<Result<_, _>>()?;
    Ok(FeatureBatch { rows, dense_names: dense.names, dense_values: dense.values, columns })
}

fn read_column(index: usize, column: wire::FeatureColumn, limits: &Limits) -> Result<Column, Status> {
    use wire::feature_column::Values;
    check_id(format_args!("features.columns[{index}].name"), &column.name)?;
    let values = match column.values {
        Some(Values::Floats(values)) => ColumnValues::Floats(values.values),
        Some(Values::Int64s(values)) => ColumnValues::Ints(values.values),
        Some(Values::Bools(values)) => ColumnValues::Bools(values.values),
        Some(Values::Strings(values)) => {
            for (row, text) in values.values.iter().enumerate() {
                check_text(format_args!("features.columns[{index}].strings[{row}]"), text, limits)?;
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
    field: &str,
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
            Some(ContextValue::String(Arc::from(text)))
        }
    })
}
