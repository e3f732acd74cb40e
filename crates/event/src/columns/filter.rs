//! What is asked of a column: first of its bounds, then of its values, before anything else is decoded.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, RecordBatch};

use super::take::{find, text_at};
use super::{Cells, POSITION};

/// What is asked of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Condition<'q> {
    pub(crate) column: &'static str,
    pub(crate) wanted: Wanted<'q>,
}

/// Which values of a column are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted<'q> {
    /// Times, from one to another.
    Times(RangeInclusive<i64>),
    /// Whole numbers, from one to another.
    Wholes(RangeInclusive<i64>),
    /// This text.
    Text(&'q str),
    /// One of these texts.
    Among(&'q BTreeSet<String>),
    /// Lists with this text.
    With(&'q str),
}

impl<'q> Condition<'q> {
    /// Times from `from` on and before `to`; `None` if any will do.
    pub(crate) fn times(column: &'static str, from: Option<i64>, to: Option<i64>) -> Option<Self> {
        let last = to.map_or(i64::MAX, |to| to.saturating_sub(1));
        let wanted = Wanted::Times(from.unwrap_or(i64::MIN)..=last);
        (from.is_some() || to.is_some()).then_some(Self { column, wanted })
    }

    /// This whole number; `None` if any will do.
    pub(crate) fn whole(column: &'static str, number: Option<u64>) -> Option<Self> {
        let number = number?.cast_signed();
        Some(Self { column, wanted: Wanted::Wholes(number..=number) })
    }

    /// One of these texts; `None` if there are none, and any will do.
    pub(crate) fn among(column: &'static str, texts: &'q BTreeSet<String>) -> Option<Self> {
        (!texts.is_empty()).then_some(Self { column, wanted: Wanted::Among(texts) })
    }

    /// This text; `None` if any will do.
    pub(crate) fn text(column: &'static str, text: Option<&'q String>) -> Option<Self> {
        text.map(|text| Self { column, wanted: Wanted::Text(text) })
    }

    /// A list with this text; `None` if any will do.
    pub(crate) fn with(column: &'static str, text: Option<&'q String>) -> Option<Self> {
        text.map(|text| Self { column, wanted: Wanted::With(text) })
    }

    /// What no event fulfils. `None` unless it is asked for.
    pub(crate) fn never(is_asked: bool) -> Option<Self> {
        // Positions begin with 1.
        is_asked.then_some(Self { column: POSITION, wanted: Wanted::Wholes(0..=0) })
    }

    /// The rows of a batch that fulfil it. `None` if the batch lacks the column, which says nothing.
    pub(crate) fn rows(&self, batch: &RecordBatch) -> Result<Option<Vec<bool>>, String> {
        let cells = match self.wanted {
            Wanted::Times(_) => Cells::Times,
            Wanted::Wholes(_) => Cells::Wholes,
            Wanted::Text(_) | Wanted::Among(_) => Cells::Texts,
            Wanted::With(_) => Cells::TextLists,
        };
        let Some(column) = find(batch, self.column, cells)? else { return Ok(None) };
        let rows = 0..batch.num_rows();
        Ok(Some(match &self.wanted {
            Wanted::Times(range) => {
                let times = column.as_primitive::<TimestampMicrosecondType>();
                // A time that is null is unknown, and 0 in the record.
                rows.map(|row| range.contains(&if times.is_null(row) { 0 } else { times.value(row) }))
                    .collect()
            }
            Wanted::Wholes(range) => {
                let wholes = column.as_primitive::<Int64Type>();
                rows.map(|row| range.contains(&wholes.value(row))).collect()
            }
            Wanted::Text(wanted) => {
                let texts = column.as_string::<i32>();
                rows.map(|row| text_at(texts, row) == *wanted).collect()
            }
            Wanted::Among(wanted) => {
                let texts = column.as_string::<i32>();
                rows.map(|row| wanted.contains(text_at(texts, row))).collect()
            }
            Wanted::With(wanted) => {
                let lists = column.as_list::<i32>();
                let (texts, offsets) = (lists.values().as_string::<i32>(), lists.value_offsets());
                let has = |row: usize| {
                    let mut elements = offsets[row] as usize..offsets[row + 1] as usize;
                    lists.is_valid(row) && elements.any(|at| text_at(texts, at) == *wanted)
                };
                rows.map(has).collect()
            }
        }))
    }
}
