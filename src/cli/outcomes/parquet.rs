//! Outcomes from Parquet.

use std::collections::BTreeMap;
use std::fs::File;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_cast::cast;
use arrow_schema::{DataType, TimeUnit};
use chrono::{DateTime, Utc};

use super::file::{Line, Take};
use super::row::{
    self, ATTRIBUTES, COLUMNS, CUSTOMER_ID, DECISION_ID, EVENT_ID, OCCURRED_AT, OFFER_ID, Positions, TYPE,
    VALUE,
};
use history::feedback::ReportedOutcome;
use table::Limits;
use table::parquet::{Batches, Parquet, unreadable};
use work::catch_panic;

/// Rows decoded at a time.
const BATCH_ROWS: usize = 4_096;

/// A file whose columns were found.
pub(super) struct ParquetFile {
    batches: Batches,
    notes: Vec<String>,
}

impl ParquetFile {
    /// Reads the metadata.
    ///
    /// # Errors
    /// What is wrong with the file or its columns.
    pub(super) fn open(input: File) -> Result<Self, String> {
        contradicting(|| {
            let opened = Parquet::open(input, Limits::CUSTOMERS)?;
            let fields = opened.fields().clone();
            let names: Vec<String> = fields.iter().map(|field| field.name().clone()).collect();
            let (positions, notes) = Positions::find(&names)?;
            let mut wanted = Vec::new();
            for column in 0..COLUMNS.len() {
                let Some(position) = positions.of(column) else { continue };
                check_type(column, fields[position].data_type())?;
                wanted.push(position);
            }
            let batches = opened.read(&wanted, BATCH_ROWS)?;
            Ok(Self { batches, notes })
        })
    }

    pub(super) fn read(self, take: Take<'_>) {
        let Self { batches, notes } = self;
        if !notes.into_iter().all(|note| take(Line::Note(note))) {
            return;
        }
        let mut first = 1;
        let mut batches = batches;
        loop {
            let lines = contradicting(|| batches.next().map(|batch| rows(&batch?)).transpose());
            let lines = match lines {
                Ok(Some(lines)) => lines,
                Ok(None) => break,
                Err(message) => {
                    take(Line::Wrong(None, message));
                    return;
                }
            };
            for line in lines {
                let line = match line {
                    Ok(outcome) => Line::Outcome(first, outcome),
                    Err(message) => Line::Wrong(Some(first), message),
                };
                if !take(line) {
                    return;
                }
                first += 1;
            }
        }
        if first == 1 {
            take(Line::Wrong(None, "has no rows".to_owned()));
        }
    }
}

/// The decoder asserts when a damaged file contradicts itself. Nothing of the batch survives that: unwinding is safe.
fn contradicting<T>(read: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_panic(read).unwrap_or_else(|_| Err(unreadable(&"it contradicts itself")))
}

fn is_text(of: &DataType) -> bool {
    if let DataType::Dictionary(_, values) = of {
        return is_text(values);
    }
    matches!(of, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null)
}

/// Refuses a column whose values cannot be read without loss.
fn check_type(column: usize, found: &DataType) -> Result<(), String> {
    let name = COLUMNS[column];
    let (fits, expected) = match column {
        VALUE => (is_text(found) || found.is_numeric(), "a number"),
        OCCURRED_AT => (
            is_text(found) || matches!(found, DataType::Timestamp(_, Some(_))),
            "a timestamp with a time zone, or a text with one",
        ),
        ATTRIBUTES => {
            (is_text(found) || matches!(found, DataType::Map(..)), "a map of texts, or JSON as text")
        }
        _ => (is_text(found) || found.is_integer(), "a text"),
    };
    if fits {
        Ok(())
    } else {
        Err(format!("`{name}` is {found}, and should be {expected}; convert the column"))
    }
}

/// The columns of a batch, each of one type.
struct Cells<'b> {
    batch: &'b RecordBatch,
    texts: [Option<ArrayRef>; COLUMNS.len()],
    values: Option<ArrayRef>,
    moments: Option<ArrayRef>,
    maps: Option<(ArrayRef, ArrayRef)>,
}

fn rows(batch: &RecordBatch) -> Result<Vec<Result<ReportedOutcome, String>>, String> {
    let cells = Cells::new(batch)?;
    Ok((0..batch.num_rows()).map(|row| cells.outcome(row)).collect())
}

impl<'b> Cells<'b> {
    fn new(batch: &'b RecordBatch) -> Result<Self, String> {
        let to = |array: &ArrayRef, of: &DataType| cast(array, of).map_err(|error| unreadable(&error));
        let mut cells = Self { batch, texts: Default::default(), values: None, moments: None, maps: None };
        for (column, name) in COLUMNS.iter().enumerate() {
            let Some(array) = batch.column_by_name(name) else { continue };
            let found = array.data_type();
            if column == OCCURRED_AT && matches!(found, DataType::Timestamp(..)) {
                let micros = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
                cells.moments = Some(to(array, &micros)?);
            } else if column == VALUE && found.is_numeric() {
                cells.values = Some(to(array, &DataType::Float64)?);
            } else if matches!(found, DataType::Map(..)) {
                let map = array.as_map();
                let texts = |array: &ArrayRef| to(array, &DataType::LargeUtf8);
                cells.maps = Some((texts(map.keys())?, texts(map.values())?));
            } else {
                cells.texts[column] = Some(to(array, &DataType::LargeUtf8)?);
            }
        }
        Ok(cells)
    }

    fn text(&self, column: usize, row: usize) -> &str {
        let array = self.texts[column].as_ref().map(arrow_array::cast::AsArray::as_string::<i64>);
        array.filter(|array| !array.is_null(row)).map_or("", |array| array.value(row))
    }

    fn outcome(&self, row: usize) -> Result<ReportedOutcome, String> {
        Ok(ReportedOutcome {
            event_id: self.text(EVENT_ID, row).to_owned(),
            decision_id: self.text(DECISION_ID, row).to_owned(),
            offer_id: self.text(OFFER_ID, row).to_owned(),
            customer_id: self.text(CUSTOMER_ID, row).to_owned(),
            outcome_type: self.text(TYPE, row).to_owned(),
            value: self.value(row)?,
            occurred_at: Some(self.moment(row)?),
            attributes: self.attributes(row)?,
        })
    }

    fn value(&self, row: usize) -> Result<f64, String> {
        if let Some(values) = &self.values {
            let values = values.as_primitive::<Float64Type>();
            return Ok(if values.is_null(row) { 0.0 } else { values.value(row) });
        }
        let text = self.text(VALUE, row).trim();
        if table::is_missing(text) {
            return Ok(0.0);
        }
        text.parse().map_err(|_| format!("`value`: {text:?} is not a number"))
    }

    fn moment(&self, row: usize) -> Result<DateTime<Utc>, String> {
        let Some(moments) = &self.moments else { return row::moment(self.text(OCCURRED_AT, row)) };
        let moments = moments.as_primitive::<TimestampMicrosecondType>();
        let micros = (!moments.is_null(row)).then(|| moments.value(row));
        micros
            .and_then(DateTime::from_timestamp_micros)
            .ok_or_else(|| "`occurred_at` is missing, or is not a moment that a calendar knows".to_owned())
    }

    fn attributes(&self, row: usize) -> Result<BTreeMap<String, String>, String> {
        let (Some((names, texts)), Some(column)) =
            (&self.maps, self.batch.column_by_name(COLUMNS[ATTRIBUTES]))
        else {
            return row::attributes(self.text(ATTRIBUTES, row));
        };
        let map = column.as_map();
        if map.is_null(row) {
            return Ok(BTreeMap::new());
        }
        let (names, texts) = (names.as_string::<i64>(), texts.as_string::<i64>());
        let ends = map.value_offsets();
        let entries = ends[row] as usize..ends[row + 1] as usize;
        let entry = |entry: usize| (names.value(entry).to_owned(), texts.value(entry).to_owned());
        Ok(entries.filter(|entry| !texts.is_null(*entry)).map(entry).collect())
    }
}
