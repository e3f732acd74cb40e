//! From columns to entries. Columns of other types with the same meaning are converted, so that a file that another
//! program has rewritten can be read.

use std::collections::BTreeMap;
use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Float64Array, Int64Array, ListArray, MapArray, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{DataType, TimeUnit};

use super::cell::{Cell, Each, EachSome, NumbersOf, Part, SomePart, TextsOf};
use super::weight::{PAIR_BYTES, weight};
use super::{Cells, ColumnOf, Columnar, Entry, POSITION, RECORD, RECORDED_AT};
use crate::frame::MAX_EVENT_BYTES;

/// The rows of a batch.
pub(crate) trait Rows {
    /// About how many bytes the record of a row takes in memory at most.
    fn weight(&self, row: usize) -> u64;

    /// The entry of a row.
    ///
    /// # Errors
    /// A record that is none, or does not fit the columns.
    fn entry(&self, row: usize) -> Result<Entry, String>;
}

/// The columns of a batch of records `R`. A file may lack any but `record`.
pub(crate) struct Columns<R> {
    position: Option<Int64Array>,
    recorded_at: Option<TimestampMicrosecondArray>,
    /// Those of the kind that are there.
    found: Vec<(&'static str, Found<R>)>,
    record: Option<BinaryArray>,
}

impl<R: Columnar> Columns<R> {
    /// The columns of a batch that are known.
    ///
    /// # Errors
    /// A column of a type that cannot be what it should.
    pub(crate) fn of(batch: &RecordBatch) -> Result<Self, String> {
        let mut all = Vec::with_capacity(R::COLUMNS.len());
        for ColumnOf { name, cell, .. } in R::COLUMNS {
            if let Some(column) = find(batch, name, cell.cells())? {
                all.push((*name, Found::new(cell, name, &column)?));
            }
        }
        let position = find(batch, POSITION, Cells::Wholes)?;
        let recorded_at = find(batch, RECORDED_AT, Cells::Times)?;
        let record = find(batch, RECORD, Cells::Bytes)?;
        Ok(Self {
            position: position.map(|found| found.as_primitive::<Int64Type>().clone()),
            recorded_at: recorded_at.map(|found| found.as_primitive::<TimestampMicrosecondType>().clone()),
            found: all,
            record: record.map(|found| found.as_binary::<i32>().clone()),
        })
    }
}

impl<R: Columnar> Rows for Columns<R> {
    fn weight(&self, row: usize) -> u64 {
        let record = self.record.as_ref().map_or(0, |records| weight(records.value(row), R::WEIGHTS));
        record + self.found.iter().map(|(_, found)| found.weight(row)).sum::<u64>()
    }

    fn entry(&self, row: usize) -> Result<Entry, String> {
        let bytes = self.record.as_ref().ok_or_else(|| format!("it has no column `{RECORD}`"))?.value(row);
        if bytes.len() > MAX_EVENT_BYTES {
            return Err(format!("a record has {} bytes, more than {MAX_EVENT_BYTES}", bytes.len()));
        }
        let mut record = R::decode(bytes).map_err(|error| format!("`{RECORD}` of row {row}: {error}"))?;
        for (name, found) in &self.found {
            found.fill(name, &mut record, row)?;
        }
        let position = self.position.as_ref().map_or(0, |column| column.value(row).cast_unsigned());
        let recorded_at = self.recorded_at.as_ref().map_or(0, |column| column.value(row));
        Ok(Entry { position, recorded_at, record: record.into() })
    }
}

/// A column of a batch, and where records have what it holds.
enum Found<R> {
    Time(Part<R, i64>, TimestampMicrosecondArray),
    Whole(Part<R, u64>, Int64Array),
    Count(Part<R, u32>, Int64Array),
    Number(Part<R, f64>, Float64Array),
    Text(Part<R, String>, StringArray),
    Truth(Part<R, bool>, BooleanArray),
    PartWhole(SomePart<R, i64>, Int64Array),
    PartCount(SomePart<R, u32>, Int64Array),
    PartText(SomePart<R, String>, StringArray),
    Texts(Part<R, Vec<String>>, Lists<StringArray>),
    Pairs(Part<R, BTreeMap<String, String>>, Box<Maps>),
    EachText(Each<R, String>, Lists<StringArray>),
    EachNumber(Each<R, f64>, Lists<Float64Array>),
    EachCount(Each<R, u32>, Lists<Int64Array>),
    EachPartNumber(EachSome<R, f64>, Lists<Float64Array>),
    Follows(fn(&R) -> bool, BooleanArray),
    FollowTexts(TextsOf<R>, Lists<StringArray>),
    FollowCounts(NumbersOf<R, u32>, Lists<Int64Array>),
    FollowDigests(NumbersOf<R, u64>, Lists<Int64Array>),
}

impl<R> Found<R> {
    fn new(cell: &Cell<R>, name: &str, column: &ArrayRef) -> Result<Self, String> {
        let times = || column.as_primitive::<TimestampMicrosecondType>().clone();
        let wholes = || column.as_primitive::<Int64Type>().clone();
        let numbers = || Lists::new(column, |elements| elements.as_primitive::<Float64Type>().clone());
        let texts = || Lists::new(column, |elements| elements.as_string::<i32>().clone());
        let whole_lists = || Lists::new(column, |elements| elements.as_primitive::<Int64Type>().clone());
        Ok(match cell {
            Cell::Time(of) | Cell::KnownTime(of) => Self::Time(*of, times()),
            Cell::Whole(of) => Self::Whole(*of, wholes()),
            Cell::Count(of) => Self::Count(*of, wholes()),
            Cell::Number(of) => Self::Number(*of, column.as_primitive::<Float64Type>().clone()),
            Cell::Text(of) => Self::Text(*of, column.as_string::<i32>().clone()),
            Cell::Truth(of) => Self::Truth(*of, column.as_boolean().clone()),
            Cell::PartWhole(of) => Self::PartWhole(*of, wholes()),
            Cell::PartCount(of) => Self::PartCount(*of, wholes()),
            Cell::PartText(of) => Self::PartText(*of, column.as_string::<i32>().clone()),
            Cell::Texts(of) => Self::Texts(*of, texts()),
            Cell::Pairs(of) => {
                Self::Pairs(*of, Box::new(Maps::new(column).map_err(|error| format!("`{name}`: {error}"))?))
            }
            Cell::EachText(each) => Self::EachText(*each, texts()),
            Cell::EachNumber(each) => Self::EachNumber(*each, numbers()),
            Cell::EachCount(each) => Self::EachCount(*each, whole_lists()),
            Cell::EachPartNumber(each) => Self::EachPartNumber(*each, numbers()),
            Cell::Follows(of) => Self::Follows(*of, column.as_boolean().clone()),
            Cell::FollowTexts(each) => Self::FollowTexts(*each, texts()),
            Cell::FollowCounts(each) => Self::FollowCounts(*each, whole_lists()),
            Cell::FollowDigests(each) => Self::FollowDigests(*each, whole_lists()),
        })
    }

    /// About how many bytes a value takes in memory beyond those that it takes in the column.
    fn weight(&self, row: usize) -> u64 {
        if let Self::Pairs(_, maps) = self { maps.of(row).len() as u64 * PAIR_BYTES } else { 0 }
    }

    /// Puts what a row has into its record.
    fn fill(&self, name: &str, record: &mut R, row: usize) -> Result<(), String> {
        match self {
            // A time that is null is unknown.
            Self::Time(of, column) => *of(record) = if column.is_null(row) { 0 } else { column.value(row) },
            Self::Whole(of, column) => *of(record) = column.value(row).cast_unsigned(),
            Self::Count(of, column) => *of(record) = narrow(column.value(row), name)?,
            Self::Number(of, column) => *of(record) = column.value(row),
            Self::Text(of, column) => text_at(column, row).clone_into(of(record)),
            Self::Truth(of, column) => *of(record) = column.value(row),
            Self::PartWhole(of, column) => match (of(record), column.is_valid(row)) {
                (Some(whole), true) => *whole = column.value(row),
                (None, false) => {}
                (Some(_), false) | (None, true) => return Err(misfit(name)),
            },
            Self::PartCount(of, column) => match (of(record), column.is_valid(row)) {
                (Some(count), true) => *count = narrow(column.value(row), name)?,
                (None, false) => {}
                (Some(_), false) | (None, true) => return Err(misfit(name)),
            },
            Self::PartText(of, column) => match (of(record), column.is_valid(row)) {
                (Some(text), true) => column.value(row).clone_into(text),
                (None, false) => {}
                (Some(_), false) | (None, true) => return Err(misfit(name)),
            },
            Self::Texts(of, column) => {
                *of(record) = column.of(row).map(|at| text_at(&column.elements, at).to_owned()).collect();
            }
            Self::Pairs(of, column) => {
                let pair =
                    |at| (text_at(&column.keys, at).to_owned(), text_at(&column.values, at).to_owned());
                *of(record) = column.of(row).map(pair).collect();
            }
            Self::EachText(each, column) => {
                let mut left = Elements::of(column, row);
                each(record, &mut |text| left.next(|at| text_at(&column.elements, at).clone_into(text)));
                return left.end(name);
            }
            Self::EachNumber(each, column) => {
                let mut left = Elements::of(column, row);
                each(record, &mut |number| left.next(|at| *number = column.elements.value(at)));
                return left.end(name);
            }
            Self::EachCount(each, column) => {
                let (mut left, mut narrowed) = (Elements::of(column, row), Ok(()));
                each(record, &mut |count| {
                    left.next(|at| match narrow(column.elements.value(at), name) {
                        Ok(number) => *count = number,
                        Err(error) => narrowed = Err(error),
                    });
                });
                narrowed?;
                return left.end(name);
            }
            Self::EachPartNumber(each, column) => {
                let (mut left, mut fits) = (Elements::of(column, row), true);
                each(record, &mut |number| {
                    left.next(|at| match (number, column.elements.is_valid(at)) {
                        (Some(number), true) => *number = column.elements.value(at),
                        (None, false) => {}
                        (Some(_), false) | (None, true) => fits = false,
                    });
                });
                left.end(name)?;
                return if fits { Ok(()) } else { Err(misfit(name)) };
            }
            // It is there for readers; a file in which it says something else was changed.
            Self::Follows(of, column) => {
                if column.is_valid(row) && column.value(row) != of(record) {
                    return Err(misfit(name));
                }
            }
            Self::FollowTexts(each, column) => {
                let mut left = Following::of(column, row);
                each(record, &mut |text| left.next(|at| text_at(&column.elements, at) == text));
                return left.end(name);
            }
            Self::FollowCounts(each, column) => {
                let mut left = Following::of(column, row);
                each(record, &mut |count| left.next(|at| column.elements.value(at) == i64::from(count)));
                return left.end(name);
            }
            Self::FollowDigests(each, column) => {
                let mut left = Following::of(column, row);
                each(record, &mut |digest| left.next(|at| column.elements.value(at) == digest.cast_signed()));
                return left.end(name);
            }
        }
        Ok(())
    }
}

/// A column of lists, and the elements of all of them.
pub(super) struct Lists<A> {
    lists: ListArray,
    pub(super) elements: A,
}

impl<A> Lists<A> {
    /// Those of a column of lists. `elements`: its elements as what they are.
    pub(super) fn new(column: &ArrayRef, elements: impl Fn(&ArrayRef) -> A) -> Self {
        let lists = column.as_list::<i32>().clone();
        Self { elements: elements(lists.values()), lists }
    }

    /// The positions of the elements of a row.
    pub(super) fn of(&self, row: usize) -> Range<usize> {
        if self.lists.is_null(row) {
            return 0..0;
        }
        let offsets = self.lists.value_offsets();
        offsets[row] as usize..offsets[row + 1] as usize
    }
}

/// The elements of a row, which go to the elements of a list in a record one by one.
struct Elements {
    left: Range<usize>,
    fits: bool,
}

impl Elements {
    fn of<A>(lists: &Lists<A>, row: usize) -> Self {
        Self { left: lists.of(row), fits: true }
    }

    /// Passes the position of the next element to `take`.
    fn next(&mut self, take: impl FnOnce(usize)) {
        match self.left.next() {
            Some(at) => take(at),
            None => self.fits = false,
        }
    }

    /// Whether there were as many as the record has.
    fn end(self, name: &str) -> Result<(), String> {
        if self.fits && self.left.is_empty() { Ok(()) } else { Err(misfit(name)) }
    }
}

/// The elements of a row, which are compared with those that follow from a record. A row without a list says nothing.
struct Following {
    left: Option<Range<usize>>,
    fits: bool,
}

impl Following {
    fn of<A>(lists: &Lists<A>, row: usize) -> Self {
        Self { left: lists.lists.is_valid(row).then(|| lists.of(row)), fits: true }
    }

    /// Has `is_same` compare the next element, by its position.
    fn next(&mut self, is_same: impl FnOnce(usize) -> bool) {
        if let Some(left) = &mut self.left {
            self.fits &= left.next().is_some_and(is_same);
        }
    }

    /// Whether all are the same, and as many.
    fn end(self, name: &str) -> Result<(), String> {
        if self.fits && self.left.is_none_or(|left| left.is_empty()) { Ok(()) } else { Err(misfit(name)) }
    }
}

/// A column of maps, and the keys and values of all of them.
struct Maps {
    rows: MapArray,
    keys: StringArray,
    values: StringArray,
}

impl Maps {
    fn new(column: &ArrayRef) -> Result<Self, String> {
        let rows = column.as_map_opt().ok_or("it is no map")?.clone();
        let texts =
            |of: &ArrayRef| convert(of, &DataType::Utf8).map(|texts| texts.as_string::<i32>().clone());
        Ok(Self { keys: texts(rows.keys())?, values: texts(rows.values())?, rows })
    }

    /// The positions of the entries of a row.
    fn of(&self, row: usize) -> Range<usize> {
        if self.rows.is_null(row) {
            return 0..0;
        }
        let offsets = self.rows.value_offsets();
        offsets[row] as usize..offsets[row + 1] as usize
    }
}

/// A column by its name, as the type that it should have. Maps are left as they are.
pub(super) fn find(batch: &RecordBatch, name: &str, cells: Cells) -> Result<Option<ArrayRef>, String> {
    let Some(column) = batch.column_by_name(name) else { return Ok(None) };
    if cells == Cells::TextMaps {
        return Ok(Some(ArrayRef::clone(column)));
    }
    // The value is that of UTC in any zone, and one without a zone is in UTC.
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    let kind = if cells == Cells::Times { time } else { cells.data_type() };
    convert(column, &kind).map(Some).map_err(|error| format!("`{name}`: {error}"))
}

fn convert(column: &ArrayRef, kind: &DataType) -> Result<ArrayRef, String> {
    // A value that does not survive the conversion is an error, never a null.
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(column, kind, &options).map_err(|error| error.to_string())
}

/// Passes the text of each row of a column to `take`; none if the batch lacks the column.
///
/// # Errors
/// A column that cannot be texts.
pub(crate) fn each_text(batch: &RecordBatch, name: &str, take: &mut dyn FnMut(&str)) -> Result<(), String> {
    if let Some(column) = find(batch, name, Cells::Texts)? {
        let texts = column.as_string::<i32>();
        (0..texts.len()).for_each(|row| take(text_at(texts, row)));
    }
    Ok(())
}

/// A text that is empty where the column has none.
pub(super) fn text_at(column: &StringArray, row: usize) -> &str {
    if column.is_null(row) { "" } else { column.value(row) }
}

/// A number as one of 32 bits.
pub(super) fn narrow(number: i64, name: &str) -> Result<u32, String> {
    u32::try_from(number).map_err(|_| format!("`{name}` is {number}, which has more than 32 bits"))
}

fn misfit(name: &str) -> String {
    format!("`{name}` does not fit `{RECORD}`")
}
