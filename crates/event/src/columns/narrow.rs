//! Rows of a few columns, as reports need them. They are read without `record`, and borrow from their batch.

use std::ops::ControlFlow;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};

use super::decision::{ASSIGNED_HOW, EXPERIMENTS, HELD_OUT, PHASES, VARIANTS};
use super::take::{Lists, find, narrow, text_at};
use super::{CUSTOMER_ID, Cells, DECISION_ID, PLACEMENT, PSEUDONYM_KEY, RELEASE};
use crate::kind::Kind;
use crate::read::rows::{Arm, DecisionRow, OutcomeRow};

/// The server that has recorded an event. Each signs what it records: a row without one is what is left of an event
/// about an erased person.
const SERVER: &str = "server";

/// A batch of a few columns of a kind.
pub(crate) trait Narrow: Sized + Send {
    const KIND: Kind;

    /// The columns.
    const NAMES: &'static [&'static str];

    /// The columns of a batch that has all of them.
    ///
    /// # Errors
    /// A column that is missing, of a type that cannot be what it should, or that does not fit the others.
    fn of(batch: &RecordBatch) -> Result<Self, String>;
}

/// The columns of [`DecisionRow`]s.
pub(crate) struct DecisionBatch {
    rows: usize,
    decided_at: TimestampMicrosecondArray,
    decision_id: StringArray,
    server: StringArray,
    release: Int64Array,
    placement: StringArray,
    channel: StringArray,
    customer_id: StringArray,
    pseudonym_key: StringArray,
    segment_id: Int64Array,
    offer_ids: Lists<StringArray>,
    fallback: BooleanArray,
    error_code: Int64Array,
    held_out: BooleanArray,
    call_us: Vec<u32>,
    call_customers: Vec<u32>,
    experiments: Lists<StringArray>,
    variants: Lists<StringArray>,
    phases: Lists<Int64Array>,
    assigned_how: Lists<Int64Array>,
}

impl Narrow for DecisionBatch {
    const KIND: Kind = Kind::Decision;

    const NAMES: &'static [&'static str] = &[
        "decided_at",
        DECISION_ID,
        SERVER,
        RELEASE,
        PLACEMENT,
        "channel",
        CUSTOMER_ID,
        PSEUDONYM_KEY,
        "segment_id",
        "offer_ids",
        "fallback",
        "error_code",
        HELD_OUT,
        "call_us",
        "call_customers",
        EXPERIMENTS,
        VARIANTS,
        PHASES,
        ASSIGNED_HOW,
    ];

    fn of(batch: &RecordBatch) -> Result<Self, String> {
        let columns = Found(batch);
        let found = Self {
            rows: batch.num_rows(),
            decided_at: columns.times("decided_at")?,
            decision_id: columns.texts(DECISION_ID)?,
            server: columns.texts(SERVER)?,
            release: columns.wholes(RELEASE)?,
            placement: columns.texts(PLACEMENT)?,
            channel: columns.texts("channel")?,
            customer_id: columns.texts(CUSTOMER_ID)?,
            pseudonym_key: columns.texts(PSEUDONYM_KEY)?,
            segment_id: columns.wholes("segment_id")?,
            offer_ids: columns.text_lists("offer_ids")?,
            fallback: columns.truths("fallback")?,
            error_code: columns.wholes("error_code")?,
            held_out: columns.truths(HELD_OUT)?,
            call_us: columns.counts("call_us")?,
            call_customers: columns.counts("call_customers")?,
            experiments: columns.text_lists(EXPERIMENTS)?,
            variants: columns.text_lists(VARIANTS)?,
            phases: columns.whole_lists(PHASES)?,
            assigned_how: columns.whole_lists(ASSIGNED_HOW)?,
        };
        for row in 0..found.rows {
            let arms = found.experiments.of(row).len();
            for (name, elements) in [
                (VARIANTS, found.variants.of(row)),
                (PHASES, found.phases.of(row)),
                (ASSIGNED_HOW, found.assigned_how.of(row)),
            ] {
                if elements.len() != arms {
                    return Err(format!("`{name}` does not fit `{EXPERIMENTS}`"));
                }
            }
        }
        for how in found.assigned_how.elements.values() {
            narrow(*how, ASSIGNED_HOW)?;
        }
        Ok(found)
    }
}

impl DecisionBatch {
    /// Passes its rows to `visit`, until it breaks.
    pub(crate) fn each(&self, visit: &mut dyn FnMut(&DecisionRow<'_>) -> ControlFlow<()>) -> ControlFlow<()> {
        let (mut offers, mut arms) = (Vec::new(), Vec::new());
        for row in 0..self.rows {
            let server = text_at(&self.server, row);
            if server.is_empty() {
                continue;
            }
            offers.clear();
            offers.extend(self.offer_ids.of(row).map(|at| text_at(&self.offer_ids.elements, at)));
            arms.clear();
            arms.extend(self.arms(row));
            visit(&DecisionRow {
                decided_at: time_at(&self.decided_at, row),
                decision_id: text_at(&self.decision_id, row),
                server,
                release: self.release.value(row).cast_unsigned(),
                placement: text_at(&self.placement, row),
                channel: text_at(&self.channel, row),
                customer_id: text_at(&self.customer_id, row),
                pseudonym_key: text_at(&self.pseudonym_key, row),
                segment: self.segment_id.is_valid(row).then(|| self.segment_id.value(row)),
                offers: &offers,
                has_fallback: self.fallback.value(row),
                failed: self.error_code.is_valid(row),
                held_out: self.held_out.value(row),
                call_us: self.call_us[row],
                call_customers: self.call_customers[row],
                arms: &arms,
            })?;
        }
        ControlFlow::Continue(())
    }

    /// The arms of a row.
    fn arms(&self, row: usize) -> impl Iterator<Item = Arm<'_>> {
        let names = self.experiments.of(row).zip(self.variants.of(row));
        let numbers = self.phases.of(row).zip(self.assigned_how.of(row));
        names.zip(numbers).map(|((experiment, variant), (phase, how))| Arm {
            experiment: text_at(&self.experiments.elements, experiment),
            variant: text_at(&self.variants.elements, variant),
            phase: self.phases.elements.value(phase).cast_unsigned(),
            // It was checked when the batch was made.
            how: self.assigned_how.elements.value(how) as u32,
        })
    }
}

/// The columns of [`OutcomeRow`]s.
pub(crate) struct OutcomeBatch {
    rows: usize,
    received_at: TimestampMicrosecondArray,
    occurred_at: TimestampMicrosecondArray,
    decided_at: TimestampMicrosecondArray,
    event_id: StringArray,
    kind: StringArray,
    decision_id: StringArray,
    customer_id: StringArray,
    offer_id: StringArray,
    placement: StringArray,
    server: StringArray,
    value: Float64Array,
    cost: Float64Array,
    offer_value: Float64Array,
    attributed: BooleanArray,
    late: BooleanArray,
}

impl Narrow for OutcomeBatch {
    const KIND: Kind = Kind::Outcome;

    const NAMES: &'static [&'static str] = &[
        "received_at",
        "occurred_at",
        "decided_at",
        "event_id",
        "type",
        DECISION_ID,
        CUSTOMER_ID,
        "offer_id",
        PLACEMENT,
        SERVER,
        "value",
        "cost",
        "offer_value",
        "attributed",
        "late",
    ];

    fn of(batch: &RecordBatch) -> Result<Self, String> {
        let columns = Found(batch);
        Ok(Self {
            rows: batch.num_rows(),
            received_at: columns.times("received_at")?,
            occurred_at: columns.times("occurred_at")?,
            decided_at: columns.times("decided_at")?,
            event_id: columns.texts("event_id")?,
            kind: columns.texts("type")?,
            decision_id: columns.texts(DECISION_ID)?,
            customer_id: columns.texts(CUSTOMER_ID)?,
            offer_id: columns.texts("offer_id")?,
            placement: columns.texts(PLACEMENT)?,
            server: columns.texts(SERVER)?,
            value: columns.numbers("value")?,
            cost: columns.numbers("cost")?,
            offer_value: columns.numbers("offer_value")?,
            attributed: columns.truths("attributed")?,
            late: columns.truths("late")?,
        })
    }
}

impl OutcomeBatch {
    /// Passes its rows to `visit`, until it breaks.
    pub(crate) fn each(&self, visit: &mut dyn FnMut(&OutcomeRow<'_>) -> ControlFlow<()>) -> ControlFlow<()> {
        for row in 0..self.rows {
            let server = text_at(&self.server, row);
            if server.is_empty() {
                continue;
            }
            visit(&OutcomeRow {
                received_at: time_at(&self.received_at, row),
                occurred_at: time_at(&self.occurred_at, row),
                decided_at: time_at(&self.decided_at, row),
                event_id: text_at(&self.event_id, row),
                kind: text_at(&self.kind, row),
                decision_id: text_at(&self.decision_id, row),
                customer_id: text_at(&self.customer_id, row),
                offer_id: text_at(&self.offer_id, row),
                placement: text_at(&self.placement, row),
                server,
                value: self.value.value(row),
                cost: self.cost.value(row),
                offer_value: self.offer_value.value(row),
                attributed: self.attributed.value(row),
                late: self.late.value(row),
            })?;
        }
        ControlFlow::Continue(())
    }
}

/// The columns of a batch, by name.
struct Found<'b>(&'b RecordBatch);

impl Found<'_> {
    fn column(&self, name: &str, cells: Cells) -> Result<ArrayRef, String> {
        find(self.0, name, cells)?.ok_or_else(|| format!("it has no column `{name}`"))
    }

    fn times(&self, name: &str) -> Result<TimestampMicrosecondArray, String> {
        Ok(self.column(name, Cells::Times)?.as_primitive::<TimestampMicrosecondType>().clone())
    }

    fn wholes(&self, name: &str) -> Result<Int64Array, String> {
        Ok(self.column(name, Cells::Wholes)?.as_primitive::<Int64Type>().clone())
    }

    /// Whole numbers of 32 bits.
    fn counts(&self, name: &str) -> Result<Vec<u32>, String> {
        let wholes = self.wholes(name)?;
        wholes.values().iter().map(|number| narrow(*number, name)).collect()
    }

    fn numbers(&self, name: &str) -> Result<Float64Array, String> {
        Ok(self.column(name, Cells::Numbers)?.as_primitive::<Float64Type>().clone())
    }

    fn texts(&self, name: &str) -> Result<StringArray, String> {
        Ok(self.column(name, Cells::Texts)?.as_string::<i32>().clone())
    }

    fn truths(&self, name: &str) -> Result<BooleanArray, String> {
        Ok(self.column(name, Cells::Truths)?.as_boolean().clone())
    }

    fn text_lists(&self, name: &str) -> Result<Lists<StringArray>, String> {
        let column = self.column(name, Cells::TextLists)?;
        Ok(Lists::new(&column, |elements| elements.as_string::<i32>().clone()))
    }

    fn whole_lists(&self, name: &str) -> Result<Lists<Int64Array>, String> {
        let column = self.column(name, Cells::WholeLists)?;
        Ok(Lists::new(&column, |elements| elements.as_primitive::<Int64Type>().clone()))
    }
}

/// A time that is null is unknown, and 0 in the record.
fn time_at(times: &TimestampMicrosecondArray, row: usize) -> i64 {
    if times.is_null(row) { 0 } else { times.value(row) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_is_one_of_its_kind() {
        fn check<B: Narrow>() {
            let columns = B::KIND.table().columns();
            for name in B::NAMES {
                assert!(columns.iter().any(|column| column.name == *name), "{name}");
            }
        }
        check::<DecisionBatch>();
        check::<OutcomeBatch>();
    }
}
