//! Customers from Parquet. Problems carry the number of the row, from 1, instead of a line.

use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, UInt64Type};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::DataType;
use parquet::file::reader::ChunkReader;

use super::build::TableBuilder;
use super::columns::{Columns, ID_COLUMN};
use super::findings::Findings;
use super::{CustomerTable, LoadReport, cell};
use crate::{Entity, Feature, FeatureSchema, FeatureType, ValueRef};
use document::Problems;
use table::Limits;
use table::parquet::{Batches, Parquet, unreadable};

/// Rows decoded at a time: enough to amortise the set-up of a batch, few compared with the table.
const BATCH_ROWS: usize = 4_096;

/// Reads a whole file. Problems carry `file` as the file's name.
pub(super) fn read(
    input: impl ChunkReader + 'static,
    file: &str,
    schema: &FeatureSchema,
) -> Result<(CustomerTable, LoadReport), Problems> {
    // The decoder asserts when a damaged file contradicts itself. No part of the table survives that, so unwinding is
    // safe.
    catch_unwind(AssertUnwindSafe(|| read_all(input, file, schema)))
        .unwrap_or_else(|_| Err(Problems::one(file, None, unreadable(&"it contradicts itself"))))
}

fn read_all(
    input: impl ChunkReader + 'static,
    file: &str,
    schema: &FeatureSchema,
) -> Result<(CustomerTable, LoadReport), Problems> {
    let mut findings = Findings::new(file);
    let refused = |message: String| Problems::one(file, None, message);
    let opened = Parquet::open(input, Limits::CUSTOMERS).map_err(refused)?;
    let fields = opened.fields().clone();
    let names: Vec<String> = fields.iter().map(|field| field.name().clone()).collect();
    let Some(columns) = Columns::resolve(&names, None, schema, &mut findings) else {
        return Err(findings.into_result(()).err().unwrap_or_default());
    };
    let features = schema.of(Entity::Customer);
    let wanted = Wanted::new(features, &columns, |position| fields[position].data_type(), &mut findings);
    if !findings.is_empty() {
        return Err(findings.into_result(()).err().unwrap_or_default());
    }
    let positions: Vec<usize> =
        columns.features.iter().map(|(position, _)| *position).chain([columns.id]).collect();
    let batches = opened.read(&positions, BATCH_ROWS).map_err(refused)?;
    let mut builder = TableBuilder::new(features, &columns, findings, "row");
    if let Err(message) = read_batches(batches, &wanted, features, &mut builder) {
        builder.problem(None, message);
    }
    builder.finish(file, columns)
}

/// The columns that are read from every batch.
struct Wanted {
    id: Reading,
    /// Name of the column, position of the feature, how its cells are read.
    features: Vec<(String, usize, Reading)>,
}

/// How the cells of a column are read. The column is first cast to the Arrow type of the variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    Doubles,
    Signed,
    Unsigned,
    Texts,
    Truths,
}

impl Reading {
    fn canonical(self) -> DataType {
        match self {
            Self::Doubles => DataType::Float64,
            Self::Signed => DataType::Int64,
            Self::Unsigned => DataType::UInt64,
            Self::Texts => DataType::LargeUtf8,
            Self::Truths => DataType::Boolean,
        }
    }

    fn of_id(column: &DataType) -> Option<Self> {
        let column = value_type(column);
        if is_text(column) {
            return Some(Self::Texts);
        }
        if *column == DataType::UInt64 {
            return Some(Self::Unsigned);
        }
        column.is_integer().then_some(Self::Signed)
    }

    fn of_feature(feature_type: FeatureType, column: &DataType) -> Option<Self> {
        let column = value_type(column);
        match feature_type {
            FeatureType::String => is_text(column).then_some(Self::Texts),
            FeatureType::Bool if *column == DataType::Boolean => Some(Self::Truths),
            FeatureType::Int if *column == DataType::UInt64 => Some(Self::Unsigned),
            FeatureType::Int if column.is_integer() => Some(Self::Signed),
            FeatureType::Float | FeatureType::Int | FeatureType::Bool => {
                (column.is_numeric() || *column == DataType::Null).then_some(Self::Doubles)
            }
        }
    }
}

/// The type of the values, also of a dictionary column: pandas writes numeric categories as dictionaries.
#[must_use]
pub fn value_type(column: &DataType) -> &DataType {
    if let DataType::Dictionary(_, values) = column { value_type(values) } else { column }
}

fn is_text(column: &DataType) -> bool {
    matches!(column, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null)
}

impl Wanted {
    fn new<'a>(
        features: &[Feature],
        columns: &Columns,
        type_of: impl Fn(usize) -> &'a DataType,
        findings: &mut Findings,
    ) -> Self {
        let id = Reading::of_id(type_of(columns.id)).unwrap_or_else(|| {
            let found = type_of(columns.id);
            findings.push(None, format!("`{ID_COLUMN}` is {found}; ids are strings or integers"));
            Reading::Texts
        });
        let mut wanted = Self { id, features: Vec::with_capacity(columns.features.len()) };
        for (position, feature) in &columns.features {
            let (name, feature_type) = (&features[*feature].name, features[*feature].feature_type);
            let column = type_of(*position);
            match Reading::of_feature(feature_type, column) {
                Some(reading) => wanted.features.push((name.clone(), *feature, reading)),
                None => findings.push(
                    None,
                    format!("`{name}` is {feature_type} in the schema and {column} in the file; convert the column"),
                ),
            }
        }
        wanted
    }
}

fn read_batches(
    batches: Batches,
    wanted: &Wanted,
    features: &[Feature],
    builder: &mut TableBuilder<'_>,
) -> Result<(), String> {
    let mut rows_before = 0;
    for batch in batches {
        let batch = batch?;
        let first_line = rows_before + 1;
        rows_before += batch.num_rows();
        let first_row = begin_rows(&batch, wanted.id, first_line, builder)?;
        for (name, feature, reading) in &wanted.features {
            let column = cast_column(&batch, name, *reading)?;
            for row in 0..batch.num_rows() {
                match read_cell(&column, *reading, row, &features[*feature]) {
                    Ok(value) => builder.put(first_row + row, first_line + row, *feature, value),
                    Err(message) => builder.problem(first_line + row, message),
                }
            }
        }
    }
    Ok(())
}

/// Begins a row per id of the batch. Returns the number of the first row.
fn begin_rows(
    batch: &RecordBatch,
    reading: Reading,
    first_line: usize,
    builder: &mut TableBuilder<'_>,
) -> Result<usize, String> {
    let ids = cast_column(batch, ID_COLUMN, reading)?;
    let mut first_row = None;
    for row in 0..ids.len() {
        let number = match reading {
            _ if ids.is_null(row) => None,
            Reading::Signed => Some(ids.as_primitive::<Int64Type>().value(row).to_string()),
            Reading::Unsigned => Some(ids.as_primitive::<UInt64Type>().value(row).to_string()),
            Reading::Texts | Reading::Doubles | Reading::Truths => None,
        };
        let id = match &number {
            Some(number) => number,
            None if ids.is_null(row) => "",
            None => ids.as_string::<i64>().value(row),
        };
        let begun = builder.begin(first_line + row, id.as_bytes());
        first_row = first_row.or(Some(begun));
    }
    Ok(first_row.unwrap_or_default())
}

fn cast_column(batch: &RecordBatch, name: &str, reading: Reading) -> Result<ArrayRef, String> {
    let column =
        batch.column_by_name(name).ok_or_else(|| unreadable(&format!("column `{name}` is missing")))?;
    // A value that does not survive the cast is an error, never a null.
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(column, &reading.canonical(), &options).map_err(|error| format!("`{name}`: {error}"))
}

fn read_cell<'a>(
    column: &'a ArrayRef,
    reading: Reading,
    row: usize,
    feature: &Feature,
) -> Result<ValueRef<'a>, String> {
    if column.is_null(row) {
        return Ok(ValueRef::Missing);
    }
    match reading {
        Reading::Doubles => cell::from_number(feature, column.as_primitive::<Float64Type>().value(row)),
        Reading::Signed => Ok(ValueRef::Int(column.as_primitive::<Int64Type>().value(row))),
        Reading::Unsigned => {
            let number = column.as_primitive::<UInt64Type>().value(row);
            i64::try_from(number)
                .map(ValueRef::Int)
                .map_err(|_| format!("`{}` is an int: {number} is beyond 63 bits", feature.name))
        }
        Reading::Texts => Ok(ValueRef::String(column.as_string::<i64>().value(row))),
        Reading::Truths => Ok(ValueRef::Bool(column.as_boolean().value(row))),
    }
}
