//! Outcomes, from what was reported to the log and the history: each is recorded once, and counted once.
//!
//! A call checks its outcomes, claims their ids, finds their decisions, records them, and counts what is recorded.
//! While an id is claimed, other calls with the same id wait for its verdict: so a duplicate is never told before the
//! first is recorded. What a call did not record it withdraws, wherever it ends, so that it can be sent again. Live
//! outcomes are counted by way of their records, as after a restart. Start reading at [`Feedback::record`].

mod attribution;
mod check;
mod claims;
mod config;
mod decisions;
mod tally;
#[cfg(test)]
mod tests;
mod verdict;

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use event::privacy::Pseudonyms;
use event::proto::OutcomeRecord;
use event::{
    Durability, EventReader, IntoEvents, NotRecorded, Receipt, Record, Recorder, Reserved, SealedError,
};
use offer::Catalog;
use telemetry::Metrics;
use tokio::sync::watch;
use uuid::Uuid;

pub use check::{ReportedOutcome, most};
pub use config::FeedbackConfig;
pub use verdict::{AcceptedOutcome, OutcomeProblem, RefusedOutcome, Verdict};

use super::History;
use super::recent::RecentDecisions;
use super::records::outcome_of;
use attribution::Attributing;
use claims::{Claims, Flight};
use decisions::Decisions;
use tally::Tally;

/// The type after which a customer is shown no marketing.
pub(crate) const OPT_OUT: &str = "opt_out";

/// What recording outcomes needs.
pub struct FeedbackParts {
    /// Where outcomes are counted.
    pub history: Arc<History>,
    /// Where decisions are found at once.
    pub recent: Arc<RecentDecisions>,
    /// Where other decisions are found.
    pub reader: EventReader,
    /// Where outcomes are recorded.
    pub log: Recorder,
    /// How records name customers.
    pub pseudonyms: Pseudonyms,
    /// Where outcomes are counted by type and verdict.
    pub metrics: Arc<Metrics>,
}

/// Records outcomes; clones are handles to the same.
#[derive(Clone)]
pub struct Feedback {
    shared: Arc<Shared>,
}

struct Shared {
    history: Arc<History>,
    decisions: Decisions,
    claims: Arc<Claims>,
    log: Recorder,
    pseudonyms: Pseudonyms,
    metrics: Arc<Metrics>,
}

/// What serves while outcomes are recorded.
#[derive(Debug, Clone, Copy)]
pub struct Serving<'a> {
    /// Declares outcome types and attribution windows, and has the terms of offers.
    pub catalog: &'a Catalog,
    /// The number of its release.
    pub release: u64,
}

/// What a call does while the log has no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenNoRoom {
    /// It fails.
    Fails,
    /// It waits.
    Waits,
}

/// Why a call failed as a whole. What of it was recorded is then a duplicate, and it can be sent again.
#[derive(Debug, thiserror::Error)]
pub enum FeedbackError {
    /// There is no room for events.
    #[error("the outcomes cannot be recorded now: the queue of the event log is full")]
    NoRoom,
    /// The outcomes are not in the log.
    #[error("the outcomes cannot be recorded now: {0}")]
    NotRecorded(#[from] NotRecorded),
    /// Decisions cannot be looked up.
    #[error(transparent)]
    Unreadable(#[from] SealedError),
    /// A part of this program failed.
    #[error("{0}")]
    Internal(String),
}

/// An outcome that passed all checks that need nothing else.
struct Open {
    /// Its place in the call.
    place: usize,
    id: Arc<str>,
    decision: Option<Uuid>,
    reported: ReportedOutcome,
}

impl Feedback {
    /// Nothing is recorded before [`Feedback::record`] is called.
    #[must_use]
    pub fn new(parts: FeedbackParts) -> Self {
        let FeedbackParts { history, recent, reader, log, pseudonyms, metrics } = parts;
        let decisions = Decisions::new(recent, reader);
        let shared = Shared { history, decisions, claims: Arc::default(), log, pseudonyms, metrics };
        Self { shared: Arc::new(shared) }
    }

    /// Records and counts outcomes that came at `now`. Returns one verdict each, in their order, once those that are
    /// accepted are as durable as decisions are; an opt-out always is.
    ///
    /// A caller that goes away leaves nothing half done: either an outcome is recorded and counted, or neither.
    ///
    /// # Errors
    /// When the call cannot be recorded, or decisions cannot be looked up.
    pub async fn record(
        &self,
        reported: Vec<ReportedOutcome>,
        serving: Serving<'_>,
        when_no_room: WhenNoRoom,
        now: DateTime<Utc>,
    ) -> Result<Vec<Verdict>, FeedbackError> {
        let shared = &self.shared;
        // What records keep, so that live outcomes are counted as recorded ones.
        let now = whole_micros(now);
        let tally = Tally::new(&reported, serving.catalog);
        let mut verdicts: Vec<Option<Verdict>> = reported.iter().map(|_| None).collect();
        let mut open = Vec::with_capacity(reported.len());
        for (place, reported) in reported.into_iter().enumerate() {
            match check::check(&reported, serving.catalog, &shared.history, now) {
                Ok(decision) => {
                    let id = reported.event_id.as_str().into();
                    open.push(Open { place, id, decision, reported });
                }
                Err(refused) => verdicts[place] = Some(Verdict::Refused(refused)),
            }
        }
        while !open.is_empty() {
            let room = shared.room(&open, when_no_room).await?;
            let (done, ended) = watch::channel(());
            let mut flight = Flight::new(Arc::clone(&shared.history), Arc::clone(&shared.claims), done);
            let (mut claimed, mut later, mut others) =
                (Vec::with_capacity(open.len()), Vec::new(), Vec::new());
            for one in open {
                match flight.claim(&one.id, &ended) {
                    Ok(()) => claimed.push(one),
                    Err(other) => {
                        later.push(one);
                        others.push(other);
                    }
                }
            }
            shared.round(flight, claimed, room, (serving, now), &mut verdicts).await?;
            // Nothing is claimed here, so that calls never wait for each other in a circle.
            for mut other in others {
                // An error says that the call that had claimed the id has ended.
                let _ = other.changed().await;
            }
            open = later;
        }
        let verdicts = verdicts.into_iter().collect::<Option<Vec<_>>>();
        let verdicts =
            verdicts.ok_or_else(|| FeedbackError::Internal("an outcome has no verdict".to_owned()))?;
        tally.count(&verdicts, serving.catalog, &shared.metrics);
        Ok(verdicts)
    }
}

impl Shared {
    /// Room for the records of these outcomes.
    async fn room(&self, open: &[Open], when_no_room: WhenNoRoom) -> Result<Reserved, FeedbackError> {
        let bytes = open.iter().map(|one| one.reported.record_bytes()).sum();
        match when_no_room {
            WhenNoRoom::Fails => self.log.try_reserve(bytes).ok_or(FeedbackError::NoRoom),
            // There is none only where the log cannot be written.
            WhenNoRoom::Waits => Ok(self.log.reserve(bytes).await.ok_or(NotRecorded::Stalled)?),
        }
    }

    /// Gives a verdict on each of these outcomes, whose ids are claimed.
    async fn round(
        self: &Arc<Self>,
        mut flight: Flight,
        claimed: Vec<Open>,
        room: Reserved,
        (serving, now): (Serving<'_>, DateTime<Utc>),
        verdicts: &mut [Option<Verdict>],
    ) -> Result<(), FeedbackError> {
        let mut admitted = Vec::with_capacity(claimed.len());
        for one in claimed {
            if flight.admit(&one.id, one.reported.occurred_at, now) {
                admitted.push(one);
            } else {
                verdicts[one.place] = Some(Verdict::Duplicate);
            }
        }
        let decisions =
            self.decisions.find(admitted.iter().filter_map(|one| one.decision), serving.catalog).await?;
        let attributing = Attributing { serving, pseudonyms: &self.pseudonyms, now };
        let (mut places, mut records) =
            (Vec::with_capacity(admitted.len()), Vec::with_capacity(admitted.len()));
        for Open { place, id, decision, reported } in admitted {
            let known = decision.and_then(|id| decisions.get(&id));
            match attributing.record(reported, decision, known) {
                Ok(record) => {
                    places.push(place);
                    records.push(record);
                }
                Err(refused) => {
                    flight.refuse(&id);
                    verdicts[place] = Some(Verdict::Refused(refused));
                }
            }
        }
        if records.is_empty() {
            return Ok(());
        }
        let accepted = self.settle(flight, records, room).await?;
        for (place, accepted) in places.into_iter().zip(accepted) {
            verdicts[place] = Some(Verdict::Accepted(accepted));
        }
        Ok(())
    }

    /// Records outcomes, and counts them once they are as durable as configured.
    async fn settle(
        self: &Arc<Self>,
        flight: Flight,
        records: Vec<OutcomeRecord>,
        room: Reserved,
    ) -> Result<Vec<AcceptedOutcome>, FeedbackError> {
        let must_last = records.iter().any(|record| record.r#type == OPT_OUT);
        let log = if must_last { self.log.urgent() } else { self.log.clone() };
        let records = Arc::new(records);
        let receipt = log.record(room, Box::new(Batch(Arc::clone(&records))));
        match log.durability() {
            Durability::Background => Ok(self.count(flight, &records)),
            Durability::Awaited => self.count_once_durable(flight, records, receipt).await,
        }
    }

    /// As [`Shared::count`], once the records are durable. It goes on when the caller goes away: records that are in
    /// the log are counted.
    async fn count_once_durable(
        self: &Arc<Self>,
        flight: Flight,
        records: Arc<Vec<OutcomeRecord>>,
        receipt: Receipt,
    ) -> Result<Vec<AcceptedOutcome>, FeedbackError> {
        let shared = Arc::clone(self);
        let counting = tokio::spawn(async move {
            receipt.durable().await?;
            Ok(shared.count(flight, &records))
        });
        counting.await.map_err(|error| FeedbackError::Internal(error.to_string()))?
    }

    /// Counts what is recorded.
    fn count(&self, flight: Flight, records: &[OutcomeRecord]) -> Vec<AcceptedOutcome> {
        let count = |record: &OutcomeRecord| {
            let overshoot = self.history.record_outcome(&outcome_of(record)).overshoot;
            for limit in overshoot.limits() {
                // A limit of an offer is one of a release, so that names of clients make no series.
                self.metrics.overshoots(&record.offer_id, limit.name()).inc();
            }
            AcceptedOutcome { attributed: record.attributed, late: record.late, overshoot }
        };
        let accepted = records.iter().map(count).collect();
        flight.keep();
        accepted
    }
}

/// The outcomes of a call, on their way to the log.
struct Batch(Arc<Vec<OutcomeRecord>>);

impl IntoEvents for Batch {
    fn events(self: Box<Self>, emit: &mut dyn FnMut(Record)) {
        match Arc::try_unwrap(self.0) {
            Ok(records) => records.into_iter().for_each(|record| emit(record.into())),
            // They are to be counted yet.
            Err(records) => records.iter().for_each(|record| emit(record.clone().into())),
        }
    }

    fn count(&self) -> usize {
        self.0.len()
    }
}

fn whole_micros(now: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(now.timestamp_micros()).unwrap_or(now)
}

impl fmt::Debug for Feedback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feedback").finish_non_exhaustive()
    }
}
