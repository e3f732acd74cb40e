//! From columns to entries. Columns of other types with the same meaning are converted, so that a file that another
//! program has rewritten can be read.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Float64Array, Int64Array, ListArray, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{DataType, TimeUnit};
use prost::Message;

use super::weight::weight;
use super::{
    COUNTS, Cells, DECIDED_AT, DEGRADED, ERROR_CODE, ERROR_MESSAGE, Entry, OFFER_IDS, POSITION, PRIORITIES,
    PROPENSITIES, RECORD, RECORDED_AT, RELEASE, SEGMENT_ID, SELECTION_PROBABILITIES, TEXTS, UNKNOWN_CUSTOMER,
    cells_of, counts, texts,
};
use crate::frame::MAX_EVENT_BYTES;
use crate::proto::DecisionRecord;

/// The columns of a batch. A file may lack any but `record`.
pub(crate) struct Columns {
    position: Option<Int64Array>,
    recorded_at: Option<TimestampMicrosecondArray>,
    decided_at: Option<TimestampMicrosecondArray>,
    release: Option<Int64Array>,
    texts: [Option<StringArray>; TEXTS.len()],
    counts: [Option<Int64Array>; COUNTS.len()],
    unknown_customer: Option<BooleanArray>,
    segment_id: Option<Int64Array>,
    offer_ids: Option<Lists<StringArray>>,
    priorities: Option<Lists<Float64Array>>,
    propensities: Option<Lists<Float64Array>>,
    probabilities: Option<Lists<Float64Array>>,
    degraded: Option<Lists<StringArray>>,
    error_code: Option<Int64Array>,
    error_message: Option<StringArray>,
    record: Option<BinaryArray>,
}

/// A column of lists, and the elements of all of them.
struct Lists<A> {
    lists: ListArray,
    elements: A,
}

impl<A> Lists<A> {
    /// The positions of the elements of a row.
    fn of(&self, row: usize) -> std::ops::Range<usize> {
        if self.lists.is_null(row) {
            return 0..0;
        }
        let offsets = self.lists.value_offsets();
        offsets[row] as usize..offsets[row + 1] as usize
    }
}

impl Columns {
    /// The columns of a batch that are known.
    ///
    /// # Errors
    /// A column of a type that cannot be what it should.
    pub(crate) fn of(batch: &RecordBatch) -> Result<Self, String> {
        let wholes =
            |name| Ok::<_, String>(find(batch, name)?.map(|found| found.as_primitive::<Int64Type>().clone()));
        let times = |name| {
            let times = find(batch, name)?;
            Ok::<_, String>(times.map(|found| found.as_primitive::<TimestampMicrosecondType>().clone()))
        };
        let strings =
            |name| Ok::<_, String>(find(batch, name)?.map(|found| found.as_string::<i32>().clone()));
        let lists = |name| Ok::<_, String>(find(batch, name)?.map(|found| found.as_list::<i32>().clone()));
        let numbers = |name| {
            Ok::<_, String>(lists(name)?.map(|lists| {
                let elements = lists.values().as_primitive::<Float64Type>().clone();
                Lists { lists, elements }
            }))
        };
        let words = |name| {
            Ok::<_, String>(lists(name)?.map(|lists| {
                let elements = lists.values().as_string::<i32>().clone();
                Lists { lists, elements }
            }))
        };
        let mut columns = Self {
            position: wholes(POSITION)?,
            recorded_at: times(RECORDED_AT)?,
            decided_at: times(DECIDED_AT)?,
            release: wholes(RELEASE)?,
            texts: Default::default(),
            counts: Default::default(),
            unknown_customer: find(batch, UNKNOWN_CUSTOMER)?.map(|found| found.as_boolean().clone()),
            segment_id: wholes(SEGMENT_ID)?,
            offer_ids: words(OFFER_IDS)?,
            priorities: numbers(PRIORITIES)?,
            propensities: numbers(PROPENSITIES)?,
            probabilities: numbers(SELECTION_PROBABILITIES)?,
            degraded: words(DEGRADED)?,
            error_code: wholes(ERROR_CODE)?,
            error_message: strings(ERROR_MESSAGE)?,
            record: find(batch, RECORD)?.map(|found| found.as_binary::<i32>().clone()),
        };
        for (column, name) in columns.texts.iter_mut().zip(TEXTS) {
            *column = strings(name)?;
        }
        for (column, name) in columns.counts.iter_mut().zip(COUNTS) {
            *column = wholes(name)?;
        }
        Ok(columns)
    }

    /// A text of a row, for filters; `None` without the column.
    pub(crate) fn text(&self, name: &str, row: usize) -> Option<&str> {
        let at = TEXTS.iter().position(|text| *text == name)?;
        self.texts[at].as_ref().map(|column| text_at(column, row))
    }

    /// When a decision was made, for filters.
    pub(crate) fn decided_at(&self, row: usize) -> Option<i64> {
        self.decided_at.as_ref().map(|column| column.value(row))
    }

    /// The release of a decision, for filters.
    pub(crate) fn release(&self, row: usize) -> Option<u64> {
        self.release.as_ref().map(|column| column.value(row).cast_unsigned())
    }

    /// Whether an offer was shown, for filters.
    pub(crate) fn shows(&self, offer: &str, row: usize) -> Option<bool> {
        let ids = self.offer_ids.as_ref()?;
        Some(ids.of(row).any(|at| text_at(&ids.elements, at) == offer))
    }

    /// About how many bytes the record of a row takes in memory at most.
    pub(crate) fn weight(&self, row: usize) -> u64 {
        self.record.as_ref().map_or(0, |records| weight(records.value(row)))
    }

    /// The entry of a row.
    ///
    /// # Errors
    /// A record that is none, or does not fit the columns.
    pub(crate) fn entry(&self, row: usize) -> Result<Entry, String> {
        let bytes = self.record.as_ref().ok_or_else(|| format!("it has no column `{RECORD}`"))?.value(row);
        if bytes.len() > MAX_EVENT_BYTES {
            return Err(format!("a record has {} bytes, more than {MAX_EVENT_BYTES}", bytes.len()));
        }
        let mut record = Box::new(
            DecisionRecord::decode(bytes).map_err(|error| format!("`{RECORD}` of row {row}: {error}"))?,
        );
        for (column, text) in self.texts.iter().zip(texts(&mut record)) {
            if let Some(column) = column {
                text_at(column, row).clone_into(text);
            }
        }
        for ((column, count), name) in self.counts.iter().zip(counts(&mut record)).zip(COUNTS) {
            if let Some(column) = column {
                *count = narrow(column.value(row), name)?;
            }
        }
        if let Some(column) = &self.decided_at {
            record.decided_at = column.value(row);
        }
        if let Some(column) = &self.release {
            record.release = column.value(row).cast_unsigned();
        }
        if let Some(column) = &self.unknown_customer {
            record.unknown_customer = column.value(row);
        }
        if let Some(column) = &self.degraded {
            record.degraded = column.of(row).map(|at| text_at(&column.elements, at).to_owned()).collect();
        }
        self.fill_offers(&mut record, row)?;
        self.fill_optional(&mut record, row)?;
        let position = self.position.as_ref().map_or(0, |column| column.value(row).cast_unsigned());
        let recorded_at = self.recorded_at.as_ref().map_or(0, |column| column.value(row));
        Ok(Entry { position, recorded_at, record })
    }

    /// Fields of parts of the record that not every record has.
    fn fill_optional(&self, record: &mut DecisionRecord, row: usize) -> Result<(), String> {
        if let Some(column) = &self.segment_id {
            match (&mut record.segment, column.is_valid(row)) {
                (Some(segment), true) => segment.id = column.value(row),
                (None, false) => {}
                (Some(_), false) | (None, true) => return Err(misfit(SEGMENT_ID)),
            }
        }
        if let Some(column) = &self.error_code {
            match (&mut record.error, column.is_valid(row)) {
                (Some(error), true) => error.code = narrow(column.value(row), ERROR_CODE)?,
                (None, false) => {}
                (Some(_), false) | (None, true) => return Err(misfit(ERROR_CODE)),
            }
        }
        if let Some(column) = &self.error_message {
            match (&mut record.error, column.is_valid(row)) {
                (Some(error), true) => column.value(row).clone_into(&mut error.message),
                (None, false) => {}
                (Some(_), false) | (None, true) => return Err(misfit(ERROR_MESSAGE)),
            }
        }
        Ok(())
    }

    fn fill_offers(&self, record: &mut DecisionRecord, row: usize) -> Result<(), String> {
        let offers = &mut record.offers;
        if let Some(column) = &self.offer_ids {
            let found = column.of(row);
            same_length(found.len(), offers.len(), OFFER_IDS)?;
            for (offer, at) in offers.iter_mut().zip(found) {
                text_at(&column.elements, at).clone_into(&mut offer.offer_id);
            }
        }
        if let Some(column) = &self.priorities {
            let found = column.of(row);
            same_length(found.len(), offers.len(), PRIORITIES)?;
            for (offer, at) in offers.iter_mut().zip(found) {
                offer.priority = column.elements.value(at);
            }
        }
        if let Some(column) = &self.probabilities {
            let found = column.of(row);
            same_length(found.len(), offers.len(), SELECTION_PROBABILITIES)?;
            for (offer, at) in offers.iter_mut().zip(found) {
                offer.selection_probability = column.elements.value(at);
            }
        }
        if let Some(column) = &self.propensities {
            let found = column.of(row);
            same_length(found.len(), offers.len(), PROPENSITIES)?;
            for (offer, at) in offers.iter_mut().zip(found) {
                match (&mut offer.factors, column.elements.is_valid(at)) {
                    (Some(factors), true) => factors.propensity = column.elements.value(at),
                    (None, false) => {}
                    (Some(_), false) | (None, true) => return Err(misfit(PROPENSITIES)),
                }
            }
        }
        Ok(())
    }
}

/// A column by its name, as the type that it should have.
fn find(batch: &RecordBatch, name: &str) -> Result<Option<ArrayRef>, String> {
    let (Some(column), Some(cells)) = (batch.column_by_name(name), cells_of(name)) else { return Ok(None) };
    // The value is that of UTC in any zone, and one without a zone is in UTC.
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    let kind = if matches!(cells, Cells::Times) { time } else { cells.data_type() };
    // A value that does not survive the conversion is an error, never a null.
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let converted = cast_with_options(column, &kind, &options);
    converted.map(Some).map_err(|error| format!("`{name}`: {error}"))
}

/// A text that is empty where the column has none.
fn text_at(column: &StringArray, row: usize) -> &str {
    if column.is_null(row) { "" } else { column.value(row) }
}

fn narrow(number: i64, name: &str) -> Result<u32, String> {
    u32::try_from(number).map_err(|_| format!("`{name}` is {number}, which has more than 32 bits"))
}

fn same_length(found: usize, offers: usize, name: &str) -> Result<(), String> {
    if found == offers { Ok(()) } else { Err(misfit(name)) }
}

fn misfit(name: &str) -> String {
    format!("`{name}` does not fit `{RECORD}`")
}
