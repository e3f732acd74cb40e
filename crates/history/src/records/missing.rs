//! What a history lacks for a release that looks further back than all before, read while calls go on.
//!
//! A history knows some events ([`Known`]), and has dropped what nothing looked at. [`read_missing`] reads
//! what is before into a history of its own, and touches the one that serves not at all; [`Missing::add_to`] adds it.
//! Of totals that is what was never counted, since what was is kept. Of customers it is also what was dropped: what
//! both have is added once.

use std::ops::ControlFlow;

use chrono::{DateTime, TimeDelta, Utc};
use event::proto::{DecisionRecord, OutcomeRecord};
use event::{EventReader, Record, SealedError, Since};
use offer::Catalog;
use uuid::Uuid;

use super::covers::Known;
use super::reach::{Reach, Reaches};
use super::{
    KINDS, OVERLAP, Recovered, decision_of, first, known_decision, moment as moment_of, outcome_of,
    shown_offers,
};
use crate::event::Event;
use crate::feedback::OPT_OUT;
use crate::moment::{self, Millis};
use crate::{History, Limits, Rebuild};

/// What a history lacks.
#[derive(Debug)]
pub struct Missing {
    history: History,
    /// What is known with it.
    known: Known,
    /// The first moment of which customers have everything, once it is added.
    since: Millis,
    recovered: Recovered,
}

/// Reads what `history` lacks of what the limits of `catalog` look at from `now`. It knows so much: `known`. An outcome
/// that comes again within `deduplicated` is a duplicate. Customers that `is_erased` are left out. Where it no longer
/// `goes_on`, what was read is dropped, and nothing is returned.
///
/// # Errors
/// When the store cannot be reached, or a file is damaged.
pub fn read_missing(
    (history, known): (&History, Known),
    reader: &EventReader,
    catalog: &Catalog,
    deduplicated: TimeDelta,
    now: DateTime<Utc>,
    is_erased: &dyn Fn(&str) -> bool,
    goes_on: &dyn Fn() -> bool,
) -> Result<Option<Missing>, SealedError> {
    let reaches = Reaches::of(catalog, deduplicated);
    // Both kinds, so that one moment says how far back customers are known.
    let first = first(reaches.earliest(), now).min(now.timestamp_micros());
    let dropped_before = history.kept_since().map_or(0, moment::millis);
    let kept = history.expires_before(now, TimeDelta::zero());
    let since = match reaches.earliest() {
        Reach::Everything => kept,
        Reach::Nothing | Reach::Back(_) => kept.max(moment::millis(moment_of(first))),
    };
    let own = History::new(deduplicated);
    // Decisions may come behind their outcomes, which only meters have remembered.
    let limits = Limits::new(&own, catalog, moment_of(first).min(now));
    let mut reading = Reading {
        rebuild: Rebuild::new(&own, now),
        history: &own,
        catalog,
        known,
        dropped_before,
        since,
        is_erased,
        recovered: Recovered::default(),
    };
    let mut is_whole = true;
    let time = Some(first.saturating_sub(OVERLAP));
    let events = Since { time, kinds: Some(KINDS), ..Since::default() };
    reader.events_since(&events, &mut |entry| {
        if !goes_on() {
            is_whole = false;
            return ControlFlow::Break(());
        }
        match &entry.record {
            Record::Decision(record) if record.decided_at >= first => {
                reading.decision(record, entry.position);
            }
            Record::Outcome(record) if record.received_at >= first => {
                reading.outcome(record, entry.position);
            }
            Record::Decision(_) | Record::Outcome(_) | Record::Shadow(_) => {}
        }
        ControlFlow::Continue(())
    })?;
    let recovered = reading.recovered;
    drop(limits);
    let known = known.further(first);
    Ok(is_whole.then_some(Missing { history: own, known, since, recovered }))
}

impl Missing {
    /// What was read and is not known yet.
    #[must_use]
    pub fn recovered(&self) -> Recovered {
        self.recovered
    }

    /// Adds it to the history that it was read for, at `now`. Returns how much that knows then. The thread needs normal
    /// priority, and nothing may be dropped meanwhile.
    pub fn add_to(self, history: &History, now: DateTime<Utc>) -> Known {
        history.unite(&self.history, moment::millis(now));
        history.has_since(self.since);
        self.known
    }
}

/// Events that become what is missing.
struct Reading<'h> {
    rebuild: Rebuild<'h>,
    history: &'h History,
    catalog: &'h Catalog,
    /// What is counted already.
    known: Known,
    /// Of customers, what is before this moment was dropped.
    dropped_before: Millis,
    /// Of customers, nothing before this moment is looked at.
    since: Millis,
    is_erased: &'h dyn Fn(&str) -> bool,
    recovered: Recovered,
}

impl Reading<'_> {
    fn decision(&mut self, record: &DecisionRecord, position: u64) {
        let Ok(id) = Uuid::try_parse(&record.decision_id) else { return };
        let known = known_decision(record, self.catalog);
        let shown = shown_offers(record, &known);
        let event = Event::Decision(decision_of(id, &known, &shown));
        if shown.is_empty() || !self.rebuild.is_new(&event) {
            return;
        }
        let is_unknown = !self.known.has_decision((record.server.as_str(), position), record.decided_at);
        if is_unknown {
            self.history.count_in_totals(&event);
        }
        let is_of_customer = self.of_customer(&event, moment::millis(known.decided_at), is_unknown);
        self.recovered.decisions += u64::from(is_unknown || is_of_customer);
    }

    fn outcome(&mut self, record: &OutcomeRecord, position: u64) {
        let outcome = outcome_of(record);
        let event = Event::Outcome(outcome);
        if !self.rebuild.is_new(&event) {
            return;
        }
        // Every opt-out was counted when the history was built.
        let is_unknown = !self.known.has_outcome((record.server.as_str(), position), record.received_at)
            && outcome.outcome != OPT_OUT;
        if is_unknown {
            self.history.count_in_totals(&event);
        } else {
            self.history.settle(&outcome);
        }
        let is_of_customer = self.of_customer(&event, moment::millis(outcome.occurred_at), is_unknown);
        self.recovered.outcomes += u64::from(is_unknown || is_of_customer);
    }

    /// Adds an event of `at` to what is missing of its customer, if it is.
    fn of_customer(&self, event: &Event<'_>, at: Millis, is_unknown: bool) -> bool {
        let customer = match event {
            Event::Decision(decision) => decision.customer,
            Event::Outcome(outcome) => outcome.customer,
        };
        let is_looked_at = (is_unknown || at < self.dropped_before) && at >= self.since;
        let is_missing = is_looked_at && !self.leaves_out(customer);
        if is_missing {
            self.history.count_for_customer(event);
        }
        is_missing
    }

    /// Whether a customer is left out. To find out takes long, and who is there already is not.
    fn leaves_out(&self, customer: &str) -> bool {
        !self.history.customers.contains(customer) && (self.is_erased)(customer)
    }
}
