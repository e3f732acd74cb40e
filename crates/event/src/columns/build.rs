//! From entries to columns.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

use arrow_array::builder::{
    BinaryBuilder, BooleanBuilder, Float64Builder, Int64Builder, ListBuilder, StringBuilder,
    TimestampMicrosecondBuilder,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, DataType, Field, SchemaRef};
use prost::Message;

use super::{
    COLUMNS, COUNTS, Cells, DECIDED_AT, DEGRADED, ERROR_CODE, ERROR_MESSAGE, Entry, FALLBACK, OFFER_IDS,
    POSITION, PRIORITIES, PROPENSITIES, RECORD, RECORDED_AT, RELEASE, SEGMENT_ID, SELECTION_PROBABILITIES,
    TEXTS, UNKNOWN_CUSTOMER, counts, schema, texts,
};
use crate::proto::DecisionRecord;

/// Collects entries as columns.
pub(crate) struct BatchBuilder {
    schema: SchemaRef,
    rows: usize,
    bytes: usize,
    position: Int64Builder,
    recorded_at: TimestampMicrosecondBuilder,
    decided_at: TimestampMicrosecondBuilder,
    release: Int64Builder,
    texts: [StringBuilder; TEXTS.len()],
    counts: [Int64Builder; COUNTS.len()],
    unknown_customer: BooleanBuilder,
    segment_id: Int64Builder,
    offers: Offers,
    fallback: BooleanBuilder,
    degraded: ListBuilder<StringBuilder>,
    error_code: Int64Builder,
    error_message: StringBuilder,
    record: BinaryBuilder,
    scratch: Vec<u8>,
}

/// The columns of the offers that were shown.
struct Offers {
    ids: ListBuilder<StringBuilder>,
    priorities: ListBuilder<Float64Builder>,
    propensities: ListBuilder<Float64Builder>,
    probabilities: ListBuilder<Float64Builder>,
}

impl BatchBuilder {
    /// Without rows.
    pub(crate) fn new() -> Self {
        let times = || TimestampMicrosecondBuilder::new().with_data_type(Cells::Times.data_type());
        Self {
            schema: schema(),
            rows: 0,
            bytes: 0,
            position: Int64Builder::new(),
            recorded_at: times(),
            decided_at: times(),
            release: Int64Builder::new(),
            texts: Default::default(),
            counts: Default::default(),
            unknown_customer: BooleanBuilder::new(),
            segment_id: Int64Builder::new(),
            offers: Offers {
                ids: text_lists(),
                priorities: number_lists(false),
                propensities: number_lists(true),
                probabilities: number_lists(false),
            },
            fallback: BooleanBuilder::new(),
            degraded: text_lists(),
            error_code: Int64Builder::new(),
            error_message: StringBuilder::new(),
            record: BinaryBuilder::new(),
            scratch: Vec::new(),
        }
    }

    /// The rows since the last [`finish`](Self::finish).
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// The bytes of their events, about.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a row. `bytes`: the length of the event.
    pub(crate) fn push(&mut self, entry: Entry, bytes: usize) {
        let Entry { position, recorded_at, mut record } = entry;
        self.rows += 1;
        self.bytes += bytes;
        self.position.append_value(position.cast_signed());
        self.recorded_at.append_value(recorded_at);
        self.decided_at.append_value(mem::take(&mut record.decided_at));
        self.release.append_value(mem::take(&mut record.release).cast_signed());
        for (column, text) in self.texts.iter_mut().zip(texts(&mut record)) {
            column.append_value(mem::take(text));
        }
        for (column, count) in self.counts.iter_mut().zip(counts(&mut record)) {
            column.append_value(mem::take(count).into());
        }
        self.unknown_customer.append_value(mem::take(&mut record.unknown_customer));
        self.segment_id.append_option(record.segment.as_mut().map(|segment| mem::take(&mut segment.id)));
        self.offers.push(&mut record);
        self.fallback.append_value(record.offers.iter().any(|offer| offer.fallback));
        for line in record.degraded.drain(..) {
            self.degraded.values().append_value(line);
        }
        self.degraded.append(true);
        let error = record.error.as_mut();
        let error = error.map(|error| (mem::take(&mut error.code), mem::take(&mut error.message)));
        self.error_code.append_option(error.as_ref().map(|(code, _)| i64::from(*code)));
        self.error_message.append_option(error.map(|(_, message)| message));
        self.scratch.clear();
        // A vector grows as needed.
        let _ = record.encode(&mut self.scratch);
        self.record.append_value(&self.scratch);
    }

    /// The rows as a batch. Those that follow are of the next.
    pub(crate) fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        (self.rows, self.bytes) = (0, 0);
        let mut columns: BTreeMap<&str, ArrayRef> = BTreeMap::new();
        for (name, column) in TEXTS.into_iter().zip(&mut self.texts) {
            columns.insert(name, Arc::new(column.finish()));
        }
        for (name, column) in COUNTS.into_iter().zip(&mut self.counts) {
            columns.insert(name, Arc::new(column.finish()));
        }
        columns.insert(POSITION, Arc::new(self.position.finish()));
        columns.insert(RECORDED_AT, Arc::new(self.recorded_at.finish()));
        columns.insert(DECIDED_AT, Arc::new(self.decided_at.finish()));
        columns.insert(RELEASE, Arc::new(self.release.finish()));
        columns.insert(UNKNOWN_CUSTOMER, Arc::new(self.unknown_customer.finish()));
        columns.insert(SEGMENT_ID, Arc::new(self.segment_id.finish()));
        columns.insert(OFFER_IDS, Arc::new(self.offers.ids.finish()));
        columns.insert(PRIORITIES, Arc::new(self.offers.priorities.finish()));
        columns.insert(PROPENSITIES, Arc::new(self.offers.propensities.finish()));
        columns.insert(SELECTION_PROBABILITIES, Arc::new(self.offers.probabilities.finish()));
        columns.insert(FALLBACK, Arc::new(self.fallback.finish()));
        columns.insert(DEGRADED, Arc::new(self.degraded.finish()));
        columns.insert(ERROR_CODE, Arc::new(self.error_code.finish()));
        columns.insert(ERROR_MESSAGE, Arc::new(self.error_message.finish()));
        columns.insert(RECORD, Arc::new(self.record.finish()));
        let ordered = COLUMNS.iter().filter_map(|column| columns.remove(column.name)).collect();
        RecordBatch::try_new(Arc::clone(&self.schema), ordered)
    }
}

impl Offers {
    fn push(&mut self, record: &mut DecisionRecord) {
        for offer in &mut record.offers {
            self.ids.values().append_value(mem::take(&mut offer.offer_id));
            self.priorities.values().append_value(mem::take(&mut offer.priority));
            let propensity = offer.factors.as_mut().map(|factors| mem::take(&mut factors.propensity));
            self.propensities.values().append_option(propensity);
            self.probabilities.values().append_value(mem::take(&mut offer.selection_probability));
        }
        self.ids.append(true);
        self.priorities.append(true);
        self.propensities.append(true);
        self.probabilities.append(true);
    }
}

fn text_lists() -> ListBuilder<StringBuilder> {
    ListBuilder::new(StringBuilder::new()).with_field(Field::new(Cells::ELEMENT, DataType::Utf8, false))
}

fn number_lists(nullable: bool) -> ListBuilder<Float64Builder> {
    let field = Field::new(Cells::ELEMENT, DataType::Float64, nullable);
    ListBuilder::new(Float64Builder::new()).with_field(field)
}
