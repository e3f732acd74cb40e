//! Reads a table from Parquet in batches. Problems have the row number, from 1, in place of the line.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{DataType, Fields};
use parquet::file::metadata::FileMetaData;
use serde::Deserialize;

use super::cell::MissingWords;
use super::column::ColumnReader;
use super::gather::{Gather, IdReader};
use super::header::Plan;
use super::{ReadOptions, Table};
use crate::train::progress::Progress;
use document::Problems;
use feature::store::value_type;
use table::Limits;
use table::parquet::{Parquet, unreadable};

/// Rows per batch: enough to outweigh its set-up, and few enough to stay in the caches.
const BATCH_ROWS: usize = 8_192;

/// Reads the whole file; `file` is its name in messages.
pub(super) fn read(
    path: &Path,
    file: &str,
    options: &ReadOptions,
    progress: &dyn Progress,
) -> Result<Table, Problems> {
    // The decoder panics on some damaged files. The whole table is discarded then, so unwinding is safe.
    catch_unwind(AssertUnwindSafe(|| read_all(path, file, options, progress)))
        .unwrap_or_else(|_| Err(Problems::one(file, None, unreadable(&"it contradicts itself"))))
}

fn read_all(
    path: &Path,
    file: &str,
    options: &ReadOptions,
    progress: &dyn Progress,
) -> Result<Table, Problems> {
    let refused = |message: String| Problems::one(file, None, message);
    let input = File::open(path).map_err(|error| refused(format!("cannot be read: {error}")))?;
    let opened = Parquet::open(input, Limits::CUSTOMERS).map_err(refused)?;
    let fields = opened.fields().clone();
    let names = fields.iter().map(|field| field.name().trim().to_owned()).collect();
    let mut plan = Plan::new(file, None, names, options, Problems::new())?;
    plan.mark_index(&pandas_index(opened.file_metadata()));
    let mut gather = Gather::new(file, None, plan, options);
    check_types(file, &fields, &gather, options)?;
    let positions = gather.positions();
    progress.begin("reading the table", opened.file_metadata().num_rows().unsigned_abs());
    for batch in opened.read(&positions, BATCH_ROWS).map_err(refused)? {
        let batch = batch.map_err(refused)?;
        read_batch(&mut gather, &batch, &positions).map_err(|message| refused(unreadable(&message)))?;
        progress.advance(batch.num_rows() as u64);
        if progress.stopped() {
            return Err(refused("stopped while reading; nothing was written".to_owned()));
        }
    }
    gather.finish("row", line_per_row)
}

/// The columns of the pandas index, from the metadata of the file.
fn pandas_index(metadata: &FileMetaData) -> Vec<String> {
    #[derive(Default, Deserialize)]
    struct Pandas {
        /// Names of columns; a range index is an object instead and has no column.
        #[serde(default)]
        index_columns: Vec<serde_json::Value>,
    }
    let pairs = metadata.key_value_metadata().into_iter().flatten();
    let pandas = pairs.filter(|pair| pair.key == "pandas").find_map(|pair| pair.value.as_deref());
    let pandas: Pandas = pandas.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    pandas.index_columns.iter().filter_map(|name| name.as_str()).map(|name| name.trim().to_owned()).collect()
}

/// The line of a row is its number from 1.
fn line_per_row(rows: &BTreeSet<u64>) -> BTreeMap<u64, usize> {
    rows.iter().map(|row| (*row, *row as usize + 1)).collect()
}

/// The type that a column is cast to.
fn canonical(column: &DataType) -> Option<DataType> {
    let column = value_type(column);
    if is_text(column) {
        return Some(DataType::LargeUtf8);
    }
    if *column == DataType::Boolean {
        return Some(DataType::Boolean);
    }
    // Decimals are cast to 64 bits first, so that they are rounded to 32 bits only once.
    let exact =
        column.is_integer() || matches!(column, DataType::Float32 | DataType::Float16 | DataType::Null);
    let number = exact || column.is_numeric();
    number.then_some(if exact { DataType::Float32 } else { DataType::Float64 })
}

fn is_text(column: &DataType) -> bool {
    matches!(value_type(column), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// Checks the types of the columns before any row is read.
fn check_types(
    file: &str,
    fields: &Fields,
    gather: &Gather<'_>,
    options: &ReadOptions,
) -> Result<(), Problems> {
    let mut problems = Problems::new();
    let mut problem = |message: String| problems.push(file, None, message);
    for column in gather.columns() {
        let (name, found) = (&column.name, fields[column.position].data_type());
        if canonical(found).is_none() {
            problem(format!(
                "column `{name}`: is {found}; leave it out with --drop {name}, or convert it to a number (a date: days)"
            ));
        } else if column.one_hot && !is_text(found) && *found != DataType::Null {
            problem(format!("column `{name}`: is {found}, which needs no encoding; do not encode it"));
        }
    }
    let id = gather
        .id_position()
        .and_then(|position| fields.get(position))
        .filter(|_| options.id_column.is_some());
    if let Some(field) =
        id.filter(|field| !is_text(field.data_type()) && !value_type(field.data_type()).is_integer())
    {
        let found = field.data_type();
        problem(format!("column `{}`: is {found}; ids must be texts or whole numbers", field.name().trim()));
    }
    problems.into_result(())
}

fn read_batch(gather: &mut Gather<'_>, batch: &RecordBatch, positions: &[usize]) -> Result<(), String> {
    // A batch has the requested columns, in the order of the file.
    let column = |position: usize| {
        let index = positions.binary_search(&position).map_err(|_| "a column is missing".to_owned())?;
        batch.columns().get(index).ok_or_else(|| "a column is missing".to_owned())
    };
    gather.block(
        batch.num_rows(),
        |reader, first, words| read_column(reader, first, words, column(reader.position)?),
        |reader, first| read_ids(reader, first, column(reader.position)?),
    )
}

fn read_column(
    reader: &mut ColumnReader,
    first: u64,
    words: &MissingWords,
    column: &ArrayRef,
) -> Result<(), String> {
    let target = canonical(column.data_type()).ok_or_else(|| format!("unexpected {}", column.data_type()))?;
    let texts = target == DataType::LargeUtf8;
    let truths = target == DataType::Boolean;
    // The exact numbers, before they are rounded to 32 bits.
    let whole = if reader.suspect.is_some() && target == DataType::Float32 {
        Some(cast(column, &DataType::Float64)?)
    } else {
        None
    };
    let mut column = cast(column, &target)?;
    if !texts && !truths {
        column = cast(&column, &DataType::Float64)?;
    }
    for (row, index) in (first..).zip(0..column.len()) {
        if column.is_null(index) {
            reader.read_missing();
        } else if texts {
            reader.read_field(row, column.as_string::<i64>().value(index).as_bytes(), words);
        } else if truths {
            reader.read_truth(row, column.as_boolean().value(index));
        } else {
            let number = column.as_primitive::<Float64Type>().value(index);
            let exact =
                whole.as_ref().map_or(number, |whole| whole.as_primitive::<Float64Type>().value(index));
            reader.observe(row, exact, words);
            reader.read_number(row, number, words);
        }
    }
    Ok(())
}

fn read_ids(reader: &mut IdReader, first: u64, column: &ArrayRef) -> Result<(), String> {
    let column = cast(column, &DataType::LargeUtf8)?;
    let ids = column.as_string::<i64>();
    for (row, index) in (first..).zip(0..ids.len()) {
        reader.read(row, if ids.is_null(index) { b"" } else { ids.value(index).as_bytes() });
    }
    Ok(())
}

fn cast(column: &ArrayRef, target: &DataType) -> Result<ArrayRef, String> {
    // A value that cannot be cast is an error, not a missing value.
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(column, target, &options).map_err(|error| error.to_string())
}
