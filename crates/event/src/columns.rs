//! The columns of sealed events, named as in the proto.
//!
//! What a flat column holds is cleared in the record, whose rest is the column `record`. So columns and `record`
//! together are the whole message. A column that a later version adds repeats what `record` has, so that older
//! readers lose nothing; a file that lacks a column has the field in `record`. Whole numbers are 64 bits wide and
//! signed, which every reader knows.
//!
//! Each kind has a table of its columns (`columns/decision.rs`, `columns/outcome.rs`, `columns/shadow.rs`), which says
//! where a record has what a column holds (`columns/cell.rs`). Everything else follows from it: rows, entries, text
//! formats. Rows of a few columns, as reports need them, are read without `record` (`columns/narrow.rs`). Start reading
//! at [`BatchBuilder::push`] and [`Columns::entry`].

mod build;
mod cell;
mod decision;
mod filter;
mod narrow;
mod outcome;
mod shadow;
mod take;
mod weight;

use std::io;
use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use chrono::NaiveDate;
use prost::Message;

pub(crate) use self::build::{BatchBuilder, Builder};
pub(crate) use self::cell::{Cell, ColumnOf, Shown};
pub(crate) use self::filter::{Condition, Wanted};
pub(crate) use self::narrow::{DecisionBatch, Narrow, OutcomeBatch};
pub(crate) use self::take::{Columns, Rows, each_text};
use self::weight::Weight;
use crate::export::NamesOfRelease;
use crate::frame;
use crate::kind::{EventRecord, Kind, Record};
use crate::proto::Event;
use crate::read::Query;

/// An event in the event log.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its position among the events of its server.
    pub position: u64,
    /// When it was appended, in microseconds since 1970.
    pub recorded_at: i64,
    /// The record.
    pub record: Record,
}

impl Entry {
    /// The entry as it is in a log.
    #[must_use]
    pub fn into_event(self) -> Event {
        let event = Some(self.record.into_event());
        Event { position: self.position, recorded_at: self.recorded_at, event }
    }

    /// The entry of an event; `None` for the header of a log.
    #[must_use]
    pub fn of_event(event: Event) -> Option<Self> {
        let record = Record::of_event(event.event?)?;
        Some(Self { position: event.position, recorded_at: event.recorded_at, record })
    }

    /// The checksum of the frame that it is in a log. `buffer` is for the frame.
    pub(crate) fn checksum(&mut self, buffer: &mut Vec<u8>) -> u32 {
        let Self { position, recorded_at, record } = self;
        let entry = Self { position: *position, recorded_at: *recorded_at, record: record.take() };
        let event = entry.into_event();
        buffer.clear();
        frame::write(&event, buffer);
        if let Some(found) = event.event.and_then(Record::of_event) {
            *record = found;
        }
        buffer[4..].first_chunk::<4>().map_or(0, |bytes| u32::from_le_bytes(*bytes))
    }
}

// Columns of all kinds.
pub(crate) const POSITION: &str = "position";
pub(crate) const RECORDED_AT: &str = "recorded_at";
/// The record without what the other columns hold, as protobuf.
pub(crate) const RECORD: &str = "record";
// Of all kinds that have such a thing.
pub(crate) const DECISION_ID: &str = "decision_id";
pub(crate) const RELEASE: &str = "release";
pub(crate) const PLACEMENT: &str = "placement";
pub(crate) const CUSTOMER_ID: &str = "customer_id";
pub(crate) const PSEUDONYM_KEY: &str = "pseudonym_key";

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cells {
    /// Whole numbers.
    Wholes,
    /// Microseconds since 1970, UTC.
    Times,
    Numbers,
    Texts,
    Truths,
    TextLists,
    NumberLists,
    WholeLists,
    /// Lists whose elements may be missing.
    GappyLists,
    /// Texts by name.
    TextMaps,
    Bytes,
}

impl Cells {
    /// The name of the elements of a list, as the Parquet format has it.
    pub(crate) const ELEMENT: &str = "element";
    /// The names of an entry of a map and its parts, as the Parquet format has them.
    pub(crate) const MAP: [&str; 3] = ["key_value", "key", "value"];

    /// The type of the column.
    pub(crate) fn data_type(self) -> DataType {
        let list = |of, nullable| DataType::List(Arc::new(Field::new(Self::ELEMENT, of, nullable)));
        match self {
            Self::Wholes => DataType::Int64,
            Self::Times => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Numbers => DataType::Float64,
            Self::Texts => DataType::Utf8,
            Self::Truths => DataType::Boolean,
            Self::TextLists => list(DataType::Utf8, false),
            Self::NumberLists => list(DataType::Float64, false),
            Self::WholeLists => list(DataType::Int64, false),
            Self::GappyLists => list(DataType::Float64, true),
            Self::TextMaps => {
                let [entry, key, value] = Self::MAP;
                let pair = [key, value].map(|name| Field::new(name, DataType::Utf8, false));
                let entries = Field::new(entry, DataType::Struct(Fields::from_iter(pair)), false);
                DataType::Map(Arc::new(entries), false)
            }
            Self::Bytes => DataType::Binary,
        }
    }

    /// Whether each row has any number of values.
    pub(crate) fn is_nested(self) -> bool {
        matches!(
            self,
            Self::TextLists | Self::NumberLists | Self::WholeLists | Self::GappyLists | Self::TextMaps
        )
    }
}

/// A column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) cells: Cells,
    pub(crate) nullable: bool,
    /// Whether its values repeat, so that a dictionary makes it smaller and faster.
    pub(crate) repeats: bool,
}

impl Column {
    const fn new(name: &'static str, cells: Cells) -> Self {
        Self { name, cells, nullable: false, repeats: false }
    }
}

/// A record that can be told from those of other kinds.
pub(crate) trait OfRecord: Sized {
    const KIND: Kind;

    /// The record, if it is of this kind.
    fn of(record: Record) -> Option<Box<Self>>;
}

/// A record whose fields are columns.
pub(crate) trait Columnar:
    EventRecord + OfRecord + Into<Record> + Message + Default + 'static
{
    /// Its columns in their order, but for those of all kinds.
    const COLUMNS: &'static [ColumnOf<Self>];

    /// The fields that repeat, by number, and what each of their values takes in memory.
    const WEIGHTS: &'static [(u64, Weight)];

    /// What a query asks of columns. Each condition must hold; those of a query that the kind does not have never do.
    fn conditions(query: &Query) -> Vec<Condition<'_>>;

    /// Whether it fulfils a query, but for the limit.
    fn wants(query: &Query, record: &Self) -> bool;

    /// The days under which records that a query wants can be filed; `None`: any.
    fn days(query: &Query) -> Option<RangeInclusive<NaiveDate>>;

    /// Writes what the flat columns lack as a JSON object.
    fn write_rest(&self, names: &mut NamesOfRelease<'_>, line: &mut Vec<u8>) -> io::Result<()>;
}

/// What can be asked of a record of any kind.
pub(crate) trait Recorded: EventRecord {
    /// Whether a query wants it, but for the limit.
    fn is_wanted(&self, query: &Query) -> bool;

    /// Passes what its columns hold to `take`, in their order.
    fn show(&mut self, take: &mut dyn FnMut(&'static str, Shown<'_>));

    /// Writes what the flat columns lack as a JSON object.
    fn write_rest(&self, names: &mut NamesOfRelease<'_>, line: &mut Vec<u8>) -> io::Result<()>;

    /// The most texts that it has in a column with a dictionary, and the bytes of the longest.
    fn repeating(&mut self) -> (usize, usize);
}

impl<R: Columnar> Recorded for R {
    fn is_wanted(&self, query: &Query) -> bool {
        R::wants(query, self)
    }

    fn show(&mut self, take: &mut dyn FnMut(&'static str, Shown<'_>)) {
        for column in R::COLUMNS {
            take(column.name, column.cell.show(self));
        }
    }

    fn write_rest(&self, names: &mut NamesOfRelease<'_>, line: &mut Vec<u8>) -> io::Result<()> {
        Columnar::write_rest(self, names, line)
    }

    fn repeating(&mut self) -> (usize, usize) {
        let (mut most, mut longest) = (1, 0);
        for column in R::COLUMNS.iter().filter(|column| column.repeats) {
            let mut texts = 0;
            column.cell.each_text(self, &mut |text| {
                texts += 1;
                longest = longest.max(text.len());
            });
            most = most.max(texts);
        }
        (most, longest)
    }
}

/// The columns of a kind.
pub(crate) trait Table {
    /// All of them, in their order.
    fn columns(&self) -> Vec<Column>;

    /// What collects rows.
    fn builder(&self) -> Box<dyn Builder>;

    /// The rows of a batch.
    ///
    /// # Errors
    /// A column of a type that cannot be what it should.
    fn rows(&self, batch: &RecordBatch) -> Result<Box<dyn Rows>, String>;

    /// As [`Columnar::conditions`].
    fn conditions<'q>(&self, query: &'q Query) -> Vec<Condition<'q>>;

    /// As [`Columnar::days`].
    fn days(&self, query: &Query) -> Option<RangeInclusive<NaiveDate>>;
}

/// The columns of records of a type.
pub(crate) struct Of<R>(pub(crate) PhantomData<fn() -> R>);

impl<R: Columnar> Table for Of<R> {
    fn columns(&self) -> Vec<Column> {
        let mut columns = vec![Column::new(POSITION, Cells::Wholes), Column::new(RECORDED_AT, Cells::Times)];
        columns.extend(R::COLUMNS.iter().map(ColumnOf::column));
        columns.push(Column::new(RECORD, Cells::Bytes));
        columns
    }

    fn builder(&self) -> Box<dyn Builder> {
        Box::new(BatchBuilder::<R>::new())
    }

    fn rows(&self, batch: &RecordBatch) -> Result<Box<dyn Rows>, String> {
        Ok(Box::new(Columns::<R>::of(batch)?))
    }

    fn conditions<'q>(&self, query: &'q Query) -> Vec<Condition<'q>> {
        R::conditions(query)
    }

    fn days(&self, query: &Query) -> Option<RangeInclusive<NaiveDate>> {
        R::days(query)
    }
}

/// The columns of a kind as a schema.
pub(crate) fn schema(kind: Kind) -> SchemaRef {
    let field = |column: &Column| Field::new(column.name, column.cells.data_type(), column.nullable);
    Arc::new(Schema::new(kind.table().columns().iter().map(field).collect::<Vec<_>>()))
}
