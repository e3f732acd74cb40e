//! The columns of sealed events, named as in the proto.
//!
//! What a flat column holds is cleared in the record, whose rest is the column `record`. So columns and `record`
//! together are the whole message. A column that a later version adds repeats what `record` has, so that older
//! readers lose nothing; a file that lacks a column has the field in `record`. Whole numbers are 64 bits wide and
//! signed, which every reader knows. Start reading at [`BatchBuilder::push`] and [`Columns::entry`].

mod build;
mod take;
mod weight;

use std::mem;
use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};

pub(crate) use self::build::BatchBuilder;
pub(crate) use self::take::Columns;
use crate::frame;
use crate::proto::{DecisionRecord, Event, event};

/// A decision in the event log.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its position among the events of its server.
    pub position: u64,
    /// When it was appended, in microseconds since 1970.
    pub recorded_at: i64,
    /// The record.
    pub record: Box<DecisionRecord>,
}

impl Entry {
    /// The entry as it is in a log.
    #[must_use]
    pub fn into_event(self) -> Event {
        let event = Some(event::Event::Decision(self.record));
        Event { position: self.position, recorded_at: self.recorded_at, event }
    }

    /// The entry of an event that is a decision.
    #[must_use]
    pub fn of_event(event: Event) -> Option<Self> {
        match event.event {
            Some(event::Event::Decision(record)) => {
                Some(Self { position: event.position, recorded_at: event.recorded_at, record })
            }
            Some(event::Event::Header(_)) | None => None,
        }
    }

    /// The checksum of the frame that it is in a log. `buffer` is for the frame.
    pub(crate) fn checksum(&mut self, buffer: &mut Vec<u8>) -> u32 {
        let Self { position, recorded_at, record } = self;
        let entry = Self { position: *position, recorded_at: *recorded_at, record: mem::take(record) };
        let event = entry.into_event();
        buffer.clear();
        frame::write(&event, buffer);
        if let Some(event::Event::Decision(found)) = event.event {
            *record = found;
        }
        buffer[4..].first_chunk::<4>().map_or(0, |bytes| u32::from_le_bytes(*bytes))
    }
}

pub(crate) const POSITION: &str = "position";
pub(crate) const RECORDED_AT: &str = "recorded_at";
pub(crate) const DECIDED_AT: &str = "decided_at";
pub(crate) const DECISION_ID: &str = "decision_id";
pub(crate) const RELEASE: &str = "release";
pub(crate) const PLACEMENT: &str = "placement";
pub(crate) const CUSTOMER_ID: &str = "customer_id";
pub(crate) const PSEUDONYM_KEY: &str = "pseudonym_key";
pub(crate) const UNKNOWN_CUSTOMER: &str = "unknown_customer";
pub(crate) const SEGMENT_ID: &str = "segment_id";
pub(crate) const OFFER_IDS: &str = "offer_ids";
pub(crate) const PRIORITIES: &str = "priorities";
pub(crate) const PROPENSITIES: &str = "propensities";
pub(crate) const SELECTION_PROBABILITIES: &str = "selection_probabilities";
pub(crate) const FALLBACK: &str = "fallback";
pub(crate) const DEGRADED: &str = "degraded";
pub(crate) const ERROR_CODE: &str = "error_code";
pub(crate) const ERROR_MESSAGE: &str = "error_message";
/// The record without what the other columns hold, as protobuf.
pub(crate) const RECORD: &str = "record";

/// Columns that are a text of the record each, in the order of [`texts`].
pub(crate) const TEXTS: [&str; 8] =
    [DECISION_ID, "request_id", "server", "server_version", PLACEMENT, "channel", CUSTOMER_ID, PSEUDONYM_KEY];

/// The texts of a record that are columns.
pub(crate) fn texts(record: &mut DecisionRecord) -> [&mut String; 8] {
    [
        &mut record.decision_id,
        &mut record.request_id,
        &mut record.server,
        &mut record.server_version,
        &mut record.placement,
        &mut record.channel,
        &mut record.customer_id,
        &mut record.pseudonym_key,
    ]
}

/// Columns that are a number of 32 bits of the record each, in the order of [`counts`].
pub(crate) const COUNTS: [&str; 4] = ["count", "explain", "call_us", "call_customers"];

/// The numbers of a record that are columns.
pub(crate) fn counts(record: &mut DecisionRecord) -> [&mut u32; 4] {
    [&mut record.count, &mut record.explain, &mut record.call_us, &mut record.call_customers]
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cells {
    /// Whole numbers.
    Wholes,
    /// Microseconds since 1970, UTC.
    Times,
    Texts,
    Truths,
    TextLists,
    NumberLists,
    /// Lists whose elements may be missing.
    GappyLists,
    Bytes,
}

impl Cells {
    /// The name of the elements of a list, as the Parquet format has it.
    pub(crate) const ELEMENT: &str = "element";

    /// The type of the column.
    pub(crate) fn data_type(self) -> DataType {
        let list = |of, nullable| DataType::List(Arc::new(Field::new(Self::ELEMENT, of, nullable)));
        match self {
            Self::Wholes => DataType::Int64,
            Self::Times => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Texts => DataType::Utf8,
            Self::Truths => DataType::Boolean,
            Self::TextLists => list(DataType::Utf8, false),
            Self::NumberLists => list(DataType::Float64, false),
            Self::GappyLists => list(DataType::Float64, true),
            Self::Bytes => DataType::Binary,
        }
    }

    pub(crate) fn is_list(self) -> bool {
        matches!(self, Self::TextLists | Self::NumberLists | Self::GappyLists)
    }
}

/// A column.
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) cells: Cells,
    pub(crate) nullable: bool,
    /// Whether its values repeat, so that a dictionary makes it smaller and faster.
    pub(crate) repeats: bool,
}

const fn column(name: &'static str, cells: Cells) -> Column {
    Column { name, cells, nullable: false, repeats: false }
}

impl Column {
    const fn nullable(self) -> Self {
        Self { nullable: true, ..self }
    }

    const fn repeats(self) -> Self {
        Self { repeats: true, ..self }
    }
}

/// The columns in their order.
pub(crate) const COLUMNS: [Column; 27] = [
    column(POSITION, Cells::Wholes),
    column(RECORDED_AT, Cells::Times),
    column(DECIDED_AT, Cells::Times),
    column(DECISION_ID, Cells::Texts),
    column("request_id", Cells::Texts),
    column("server", Cells::Texts).repeats(),
    column("server_version", Cells::Texts).repeats(),
    column(RELEASE, Cells::Wholes).repeats(),
    column(PLACEMENT, Cells::Texts).repeats(),
    column("channel", Cells::Texts).repeats(),
    column(CUSTOMER_ID, Cells::Texts),
    column(PSEUDONYM_KEY, Cells::Texts).repeats(),
    column("count", Cells::Wholes).repeats(),
    column("explain", Cells::Wholes).repeats(),
    column(UNKNOWN_CUSTOMER, Cells::Truths),
    column(SEGMENT_ID, Cells::Wholes).nullable().repeats(),
    column(OFFER_IDS, Cells::TextLists).repeats(),
    column(PRIORITIES, Cells::NumberLists),
    column(PROPENSITIES, Cells::GappyLists),
    column(SELECTION_PROBABILITIES, Cells::NumberLists),
    column(FALLBACK, Cells::Truths),
    column(DEGRADED, Cells::TextLists),
    column(ERROR_CODE, Cells::Wholes).nullable().repeats(),
    column(ERROR_MESSAGE, Cells::Texts).nullable(),
    column("call_us", Cells::Wholes),
    column("call_customers", Cells::Wholes).repeats(),
    column(RECORD, Cells::Bytes),
];

/// The columns as a schema.
pub(crate) fn schema() -> SchemaRef {
    let field = |column: &Column| Field::new(column.name, column.cells.data_type(), column.nullable);
    Arc::new(Schema::new(COLUMNS.iter().map(field).collect::<Vec<_>>()))
}

/// What the column of that name holds.
pub(crate) fn cells_of(name: &str) -> Option<Cells> {
    COLUMNS.iter().find(|column| column.name == name).map(|column| column.cells)
}
