//! From entries to columns.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

use arrow_array::builder::{
    ArrayBuilder, BinaryBuilder, BooleanBuilder, Float64Builder, Int64Builder, ListBuilder, MapBuilder,
    MapFieldNames, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, DataType, Field, SchemaRef};

use super::cell::{Cell, Each, EachSome, NumbersOf, Part, SomePart, TextsOf};
use super::{Cells, Columnar, Entry, schema};
use crate::kind::{EventRecord, Kind};

/// Collects entries of a kind as columns.
pub(crate) trait Builder {
    /// The rows since the last [`finish`](Self::finish).
    fn rows(&self) -> usize;

    /// The bytes of their events, about.
    fn bytes(&self) -> usize;

    /// Adds a row. `bytes`: the length of the event.
    ///
    /// # Errors
    /// The kind of the entry, if it is another one.
    fn push(&mut self, entry: Entry, bytes: usize) -> Result<(), Kind>;

    /// The rows as a batch. Those that follow are of the next.
    fn finish(&mut self) -> Result<RecordBatch, ArrowError>;
}

/// Collects entries with records `R`.
pub(crate) struct BatchBuilder<R> {
    schema: SchemaRef,
    rows: usize,
    bytes: usize,
    position: Int64Builder,
    recorded_at: TimestampMicrosecondBuilder,
    /// In the order of [`Columnar::COLUMNS`].
    columns: Vec<Filling<R>>,
    record: BinaryBuilder,
    scratch: Vec<u8>,
}

impl<R: Columnar> BatchBuilder<R> {
    /// Without rows.
    pub(crate) fn new() -> Self {
        Self {
            schema: schema(R::KIND),
            rows: 0,
            bytes: 0,
            position: Int64Builder::new(),
            recorded_at: times(),
            columns: R::COLUMNS.iter().map(|column| Filling::new(&column.cell)).collect(),
            record: BinaryBuilder::new(),
            scratch: Vec::new(),
        }
    }
}

impl<R: Columnar> Builder for BatchBuilder<R> {
    fn rows(&self) -> usize {
        self.rows
    }

    fn bytes(&self) -> usize {
        self.bytes
    }

    fn push(&mut self, entry: Entry, bytes: usize) -> Result<(), Kind> {
        let kind = entry.record.kind();
        let Some(mut record) = R::of(entry.record) else { return Err(kind) };
        self.rows += 1;
        self.bytes += bytes;
        self.position.append_value(entry.position.cast_signed());
        self.recorded_at.append_value(entry.recorded_at);
        for column in &mut self.columns {
            column.take(&mut record);
        }
        self.scratch.clear();
        // A vector grows as needed.
        let _ = record.encode(&mut self.scratch);
        self.record.append_value(&self.scratch);
        Ok(())
    }

    fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        (self.rows, self.bytes) = (0, 0);
        let mut columns: Vec<ArrayRef> =
            vec![Arc::new(self.position.finish()), Arc::new(self.recorded_at.finish())];
        for column in &mut self.columns {
            columns.push(column.finish());
        }
        columns.push(Arc::new(self.record.finish()));
        RecordBatch::try_new(Arc::clone(&self.schema), columns)
    }
}

/// A column that is being filled from where records have what it holds.
enum Filling<R> {
    Time(Part<R, i64>, TimestampMicrosecondBuilder),
    KnownTime(Part<R, i64>, TimestampMicrosecondBuilder),
    Whole(Part<R, u64>, Int64Builder),
    Count(Part<R, u32>, Int64Builder),
    Number(Part<R, f64>, Float64Builder),
    Text(Part<R, String>, StringBuilder),
    Truth(Part<R, bool>, BooleanBuilder),
    PartWhole(SomePart<R, i64>, Int64Builder),
    PartCount(SomePart<R, u32>, Int64Builder),
    PartText(SomePart<R, String>, StringBuilder),
    Texts(Part<R, Vec<String>>, ListBuilder<StringBuilder>),
    Pairs(Part<R, BTreeMap<String, String>>, MapBuilder<StringBuilder, StringBuilder>),
    EachText(Each<R, String>, ListBuilder<StringBuilder>),
    EachNumber(Each<R, f64>, ListBuilder<Float64Builder>),
    EachCount(Each<R, u32>, ListBuilder<Int64Builder>),
    EachPartNumber(EachSome<R, f64>, ListBuilder<Float64Builder>),
    Follows(fn(&R) -> bool, BooleanBuilder),
    FollowTexts(TextsOf<R>, ListBuilder<StringBuilder>),
    FollowCounts(NumbersOf<R, u32>, ListBuilder<Int64Builder>),
    FollowDigests(NumbersOf<R, u64>, ListBuilder<Int64Builder>),
}

impl<R> Filling<R> {
    fn new(cell: &Cell<R>) -> Self {
        match cell {
            Cell::Time(of) => Self::Time(*of, times()),
            Cell::KnownTime(of) => Self::KnownTime(*of, times()),
            Cell::Whole(of) => Self::Whole(*of, Int64Builder::new()),
            Cell::Count(of) => Self::Count(*of, Int64Builder::new()),
            Cell::Number(of) => Self::Number(*of, Float64Builder::new()),
            Cell::Text(of) => Self::Text(*of, StringBuilder::new()),
            Cell::Truth(of) => Self::Truth(*of, BooleanBuilder::new()),
            Cell::PartWhole(of) => Self::PartWhole(*of, Int64Builder::new()),
            Cell::PartCount(of) => Self::PartCount(*of, Int64Builder::new()),
            Cell::PartText(of) => Self::PartText(*of, StringBuilder::new()),
            Cell::Texts(of) => Self::Texts(*of, text_lists()),
            Cell::Pairs(of) => Self::Pairs(*of, text_maps()),
            Cell::EachText(each) => Self::EachText(*each, text_lists()),
            Cell::EachNumber(each) => Self::EachNumber(*each, number_lists(false)),
            Cell::EachCount(each) => Self::EachCount(*each, whole_lists()),
            Cell::EachPartNumber(each) => Self::EachPartNumber(*each, number_lists(true)),
            Cell::Follows(of) => Self::Follows(*of, BooleanBuilder::new()),
            Cell::FollowTexts(each) => Self::FollowTexts(*each, text_lists()),
            Cell::FollowCounts(each) => Self::FollowCounts(*each, whole_lists()),
            Cell::FollowDigests(each) => Self::FollowDigests(*each, whole_lists()),
        }
    }

    /// Takes what the column holds out of a record. What follows from other fields stays there.
    fn take(&mut self, record: &mut R) {
        match self {
            Self::Time(of, column) => column.append_value(mem::take(of(record))),
            Self::KnownTime(of, column) => {
                column.append_option(Some(mem::take(of(record))).filter(|time| *time != 0));
            }
            Self::Whole(of, column) => column.append_value(mem::take(of(record)).cast_signed()),
            Self::Count(of, column) => column.append_value(mem::take(of(record)).into()),
            Self::Number(of, column) => column.append_value(mem::take(of(record))),
            Self::Text(of, column) => column.append_value(mem::take(of(record))),
            Self::Truth(of, column) => column.append_value(mem::take(of(record))),
            Self::PartWhole(of, column) => column.append_option(of(record).map(mem::take)),
            Self::PartCount(of, column) => {
                column.append_option(of(record).map(|count| i64::from(mem::take(count))));
            }
            Self::PartText(of, column) => column.append_option(of(record).map(mem::take)),
            Self::Texts(of, column) => {
                for text in of(record).drain(..) {
                    column.values().append_value(text);
                }
                column.append(true);
            }
            Self::Pairs(of, column) => {
                for (name, text) in mem::take(of(record)) {
                    let (names, texts) = column.entries();
                    names.append_value(name);
                    texts.append_value(text);
                }
                // There are as many names as texts.
                let _ = column.append(true);
            }
            Self::EachText(each, column) => {
                each(record, &mut |text| column.values().append_value(mem::take(text)));
                column.append(true);
            }
            Self::EachNumber(each, column) => {
                each(record, &mut |number| column.values().append_value(mem::take(number)));
                column.append(true);
            }
            Self::EachCount(each, column) => {
                each(record, &mut |count| column.values().append_value(mem::take(count).into()));
                column.append(true);
            }
            Self::EachPartNumber(each, column) => {
                each(record, &mut |number| column.values().append_option(number.map(mem::take)));
                column.append(true);
            }
            Self::Follows(of, column) => column.append_value(of(record)),
            Self::FollowTexts(each, column) => {
                each(record, &mut |text| column.values().append_value(text));
                column.append(true);
            }
            Self::FollowCounts(each, column) => {
                each(record, &mut |count| column.values().append_value(count.into()));
                column.append(true);
            }
            Self::FollowDigests(each, column) => {
                each(record, &mut |digest| column.values().append_value(digest.cast_signed()));
                column.append(true);
            }
        }
    }

    fn finish(&mut self) -> ArrayRef {
        let column: &mut dyn ArrayBuilder = match self {
            Self::Time(_, column) | Self::KnownTime(_, column) => column,
            Self::Whole(_, column)
            | Self::Count(_, column)
            | Self::PartWhole(_, column)
            | Self::PartCount(_, column) => column,
            Self::Number(_, column) => column,
            Self::Text(_, column) | Self::PartText(_, column) => column,
            Self::Truth(_, column) | Self::Follows(_, column) => column,
            Self::Texts(_, column) | Self::EachText(_, column) | Self::FollowTexts(_, column) => column,
            Self::EachNumber(_, column) | Self::EachPartNumber(_, column) => column,
            Self::EachCount(_, column) | Self::FollowCounts(_, column) | Self::FollowDigests(_, column) => {
                column
            }
            Self::Pairs(_, column) => column,
        };
        column.finish()
    }
}

fn times() -> TimestampMicrosecondBuilder {
    TimestampMicrosecondBuilder::new().with_data_type(Cells::Times.data_type())
}

fn text_lists() -> ListBuilder<StringBuilder> {
    ListBuilder::new(StringBuilder::new()).with_field(Field::new(Cells::ELEMENT, DataType::Utf8, false))
}

fn number_lists(nullable: bool) -> ListBuilder<Float64Builder> {
    let field = Field::new(Cells::ELEMENT, DataType::Float64, nullable);
    ListBuilder::new(Float64Builder::new()).with_field(field)
}

fn whole_lists() -> ListBuilder<Int64Builder> {
    ListBuilder::new(Int64Builder::new()).with_field(Field::new(Cells::ELEMENT, DataType::Int64, false))
}

fn text_maps() -> MapBuilder<StringBuilder, StringBuilder> {
    let [entry, key, value] = Cells::MAP.map(str::to_owned);
    let values = Field::new(&value, DataType::Utf8, false);
    let names = MapFieldNames { entry, key, value };
    MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new()).with_values_field(values)
}
