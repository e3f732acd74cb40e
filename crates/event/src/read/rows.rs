//! Rows of events with what reports need of them, read faster than whole records: of sealed files, only these columns
//! are decoded. A file that lacks one of them is of an older version, and its records are decoded whole, as are those
//! of logs.
//!
//! Rows are passed on from where they were decoded, on the thread of the caller, while two others decode what follows
//! (`read/threads.rs`). So memory is bounded, however much a store holds. Start reading at
//! [`EventReader::scan_decision_rows`].

use std::collections::VecDeque;
use std::ops::ControlFlow;

use chrono::NaiveDate;

use super::merge::AHEAD;
use super::source::{Loaded, Part, Sources};
use super::threads::{self, Pending};
use super::{EventReader, Query};
use crate::columns::{DecisionBatch, Narrow, OutcomeBatch};
use crate::kind::{EventRecord, Kind, Record};
use crate::proto::{DecisionRecord, OutcomeRecord};
use crate::sealed::SealedError;

/// An arm of a customer, as it was recorded with a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arm<'r> {
    /// The id of the experiment.
    pub experiment: &'r str,
    /// The variant.
    pub variant: &'r str,
    /// The phase of the experiment, a digest of its definition.
    pub phase: u64,
    /// How the customer came there: the number of an `AssignmentHow`.
    pub how: u32,
}

/// What reports need of a decision.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DecisionRow<'r> {
    /// When it was decided, in microseconds since 1970.
    pub decided_at: i64,
    /// Its id.
    pub decision_id: &'r str,
    /// The server that has decided.
    pub server: &'r str,
    /// The release.
    pub release: u64,
    /// The placement.
    pub placement: &'r str,
    /// The channel.
    pub channel: &'r str,
    /// The customer, by id or pseudonym; empty for an unknown visitor.
    pub customer_id: &'r str,
    /// The id of the key that made the pseudonym; empty where there is the id.
    pub pseudonym_key: &'r str,
    /// The segment, if there was one.
    pub segment: Option<i64>,
    /// The ids of the offers that were shown, best first.
    pub offers: &'r [&'r str],
    /// Whether one of them is the fallback.
    pub has_fallback: bool,
    /// Whether there is no decision, but an error.
    pub failed: bool,
    /// Whether the customer was in the holdout.
    pub held_out: bool,
    /// How long the call took until its answer was decided, in microseconds.
    pub call_us: u32,
    /// The customers that the call had.
    pub call_customers: u32,
    /// The customer's arms, one for each experiment at the placement that the customer is in.
    pub arms: &'r [Arm<'r>],
}

/// What reports need of an outcome.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OutcomeRow<'r> {
    /// When a server received it, in microseconds since 1970.
    pub received_at: i64,
    /// When it happened, as reported.
    pub occurred_at: i64,
    /// When the decision was made; 0 if that is not known.
    pub decided_at: i64,
    /// Its id, as reported. Reports of one outcome have the same.
    pub event_id: &'r str,
    /// Its type, as reported.
    pub kind: &'r str,
    /// The decision.
    pub decision_id: &'r str,
    /// The customer, by id or pseudonym.
    pub customer_id: &'r str,
    /// The offer.
    pub offer_id: &'r str,
    /// The placement of the decision.
    pub placement: &'r str,
    /// The server that has received it.
    pub server: &'r str,
    /// The value, as reported.
    pub value: f64,
    /// What the offer cost when it was shown.
    pub cost: f64,
    /// What the offer was worth when it was shown.
    pub offer_value: f64,
    /// Whether the decision is known.
    pub attributed: bool,
    /// Whether the window of the decision had passed.
    pub late: bool,
}

impl EventReader {
    /// Passes what reports need of the decisions that a query wants to `visit`, until it breaks: those of
    /// [`scan`](Self::scan), each once. They come day by day; within a day, those of a server and of a file together,
    /// which is not the order of their times.
    ///
    /// # Errors
    /// As [`scan`](Self::scan).
    pub fn scan_decision_rows(
        &self,
        query: &Query,
        visit: &mut dyn FnMut(&DecisionRow<'_>) -> ControlFlow<()>,
    ) -> Result<(), SealedError> {
        let Some(mut left) = Left::of(query) else { return Ok(()) };
        let mut visit = |row: &DecisionRow<'_>| left.count(visit(row));
        self.scan_narrow::<DecisionBatch>(query, &mut |loaded| match loaded {
            Loaded::Batches(batches) => batches.iter().try_for_each(|batch| batch.each(&mut visit)),
            Loaded::Entries(entries) => entries.iter().try_for_each(|entry| match &entry.record {
                Record::Decision(record) if !record.is_erased() => visit_decision(record, &mut visit),
                Record::Decision(_) | Record::Outcome(_) | Record::Shadow(_) => ControlFlow::Continue(()),
            }),
        })
    }

    /// Passes what reports need of the outcomes that a query wants to `visit`, as
    /// [`scan_decision_rows`](Self::scan_decision_rows) does decisions: by the day on which they were received. Those
    /// that reached several servers are all among them, with the same `event_id`.
    ///
    /// # Errors
    /// As [`scan`](Self::scan).
    pub fn scan_outcome_rows(
        &self,
        query: &Query,
        visit: &mut dyn FnMut(&OutcomeRow<'_>) -> ControlFlow<()>,
    ) -> Result<(), SealedError> {
        let Some(mut left) = Left::of(query) else { return Ok(()) };
        let mut visit = |row: &OutcomeRow<'_>| left.count(visit(row));
        self.scan_narrow::<OutcomeBatch>(query, &mut |loaded| match loaded {
            Loaded::Batches(batches) => batches.iter().try_for_each(|batch| batch.each(&mut visit)),
            Loaded::Entries(entries) => entries.iter().try_for_each(|entry| match &entry.record {
                Record::Outcome(record) if !record.is_erased() => visit(&outcome_row(record)),
                Record::Decision(_) | Record::Outcome(_) | Record::Shadow(_) => ControlFlow::Continue(()),
            }),
        })
    }

    /// The days, ascending, of which there are sealed files or events in logs of a kind, as far as the query may want
    /// something of them. Nothing of sealed files is read but their names: a day may have no event that is wanted.
    ///
    /// # Errors
    /// As [`scan`](Self::scan), but for sealed files that are damaged.
    pub fn recorded_days(&self, kind: Kind, query: &Query) -> Result<Vec<NaiveDate>, SealedError> {
        self.check_logs()?;
        let days = Sources::days(&self.store, &self.opened_logs()?, kind, query)?;
        Ok(days.into_iter().collect())
    }

    /// Passes the wanted events of a kind to `pass`, a part of a file at a time, until it breaks. Those of an erased
    /// person may be among them.
    fn scan_narrow<B: Narrow>(
        &self,
        query: &Query,
        pass: &mut dyn FnMut(Loaded<B>) -> ControlFlow<()>,
    ) -> Result<(), SealedError> {
        self.check_logs()?;
        let mut sources = Sources::by_day(&self.store, &self.opened_logs()?, B::KIND, query, &self.progress)?;
        let load = |part: &Part| part.load_rows::<B>(query);
        threads::run(&load, |decoder| {
            let mut decoding: VecDeque<Pending<Loaded<B>>> = VecDeque::new();
            while let Some(mut files) = sources.next_files() {
                while let Some(parts) = sources.open_next(&mut files, query)? {
                    for part in parts {
                        decoding.push_back(decoder.start(part));
                        if decoding.len() <= AHEAD {
                            continue;
                        }
                        let Some(first) = decoding.pop_front() else { continue };
                        if pass(first.wait()?).is_break() {
                            return Ok(());
                        }
                    }
                }
            }
            for last in decoding {
                if pass(last.wait()?).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }
}

/// How many more events a query wants.
struct Left(u64);

impl Left {
    /// `None` if it wants none.
    fn of(query: &Query) -> Option<Self> {
        Some(query.limit.unwrap_or(u64::MAX)).filter(|left| *left > 0).map(Self)
    }

    /// Counts an event that was visited.
    fn count(&mut self, visited: ControlFlow<()>) -> ControlFlow<()> {
        self.0 -= 1;
        if self.0 == 0 { ControlFlow::Break(()) } else { visited }
    }
}

fn visit_decision(
    record: &DecisionRecord,
    visit: &mut dyn FnMut(&DecisionRow<'_>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let offers: Vec<&str> = record.offers.iter().map(|offer| &*offer.offer_id).collect();
    let arms: Vec<Arm<'_>> = record
        .assignments
        .iter()
        .map(|arm| Arm { experiment: &arm.experiment, variant: &arm.variant, phase: arm.phase, how: arm.how })
        .collect();
    visit(&DecisionRow {
        decided_at: record.decided_at,
        decision_id: &record.decision_id,
        server: &record.server,
        release: record.release,
        placement: &record.placement,
        channel: &record.channel,
        customer_id: &record.customer_id,
        pseudonym_key: &record.pseudonym_key,
        segment: record.segment.as_ref().map(|segment| segment.id),
        offers: &offers,
        has_fallback: record.offers.iter().any(|offer| offer.fallback),
        failed: record.error.is_some(),
        held_out: record.held_out,
        call_us: record.call_us,
        call_customers: record.call_customers,
        arms: &arms,
    })
}

fn outcome_row(record: &OutcomeRecord) -> OutcomeRow<'_> {
    OutcomeRow {
        received_at: record.received_at,
        occurred_at: record.occurred_at,
        decided_at: record.decided_at,
        event_id: &record.event_id,
        kind: &record.r#type,
        decision_id: &record.decision_id,
        customer_id: &record.customer_id,
        offer_id: &record.offer_id,
        placement: &record.placement,
        server: &record.server,
        value: record.value,
        cost: record.cost,
        offer_value: record.offer_value,
        attributed: record.attributed,
        late: record.late,
    }
}
