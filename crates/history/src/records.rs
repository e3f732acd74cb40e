//! Recorded events as history counts them, and a history built of them when a server starts.
//!
//! An outcome that comes while the server runs is counted by way of its record ([`outcome_of`]), so that a history that
//! is built again is the same. [`recover`] reads as far back as limits of the release look, and no further: opt-outs
//! alone are read from the first on.

mod reach;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use event::proto::{DecisionRecord, OutcomeRecord, RecordedOffer};
use event::{EventReader, Query, Record, SealedError, Since};
use offer::Catalog;
use uuid::Uuid;

use super::event::{Decision, Event, Outcome, ShownOffer};
use super::feedback::OPT_OUT;
use super::recent::{KnownDecision, RecentDecisions};
use super::total::{Spend, micros};
use super::{History, Rebuild};
use reach::{Reach, Reaches};

/// How much further back than needed events are read: a release that is promoted later may look back further.
const MARGIN: TimeDelta = TimeDelta::days(1);

/// Microseconds by which the times differ at which an outcome was received and recorded.
const OVERLAP: i64 = 300_000_000;

/// What a history was built of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Decisions that showed something.
    pub decisions: u64,
    /// Outcomes.
    pub outcomes: u64,
}

/// Adds to `history`, which is new, what `reader` has of the events that the limits of `catalog` look at, and the
/// outcomes that can still be reported again. The decisions among them are added to `recent`. The limits should be
/// resolved before.
///
/// Where decisions count, too, events come in the order in which they were recorded, so that reservations and paced
/// budgets end as they were.
///
/// # Errors
/// When the store cannot be reached, or a file is damaged.
pub fn recover(
    (history, recent): (&History, &RecentDecisions),
    reader: &EventReader,
    catalog: &Catalog,
    deduplicated: TimeDelta,
    now: DateTime<Utc>,
) -> Result<Recovered, SealedError> {
    let reaches = Reaches::of(catalog, deduplicated);
    let (decisions, outcomes) = (first(reaches.decisions, now), first(reaches.outcomes, now));
    let mut rebuild = Rebuild::new(history, now);
    let mut recovered = Recovered::default();
    let mut count = |record: &OutcomeRecord| {
        let is_new = rebuild.apply(&Event::Outcome(outcome_of(record)));
        recovered.outcomes += u64::from(is_new);
        ControlFlow::Continue(())
    };
    let opt_outs = Query {
        to: Some(outcomes.min(decisions)),
        types: BTreeSet::from([OPT_OUT.to_owned()]),
        ..Query::default()
    };
    reader.scan_outcomes(&opt_outs, &mut |record| count(&record))?;
    if outcomes < decisions {
        let alone = Query { from: Some(outcomes), to: Some(decisions), ..Query::default() };
        reader.scan_outcomes(&alone, &mut |record| count(&record))?;
    }
    if reaches.decisions == Reach::Nothing {
        return Ok(recovered);
    }
    // What is read twice is counted once.
    let since = Since { time: Some(decisions.saturating_sub(OVERLAP)), ..Since::default() };
    reader.events_since(&since, &mut |entry| {
        match entry.record {
            Record::Outcome(record) => {
                recovered.outcomes += u64::from(rebuild.apply(&Event::Outcome(outcome_of(&record))));
            }
            Record::Decision(record) if record.decided_at >= decisions => {
                let Ok(id) = Uuid::try_parse(&record.decision_id) else { return ControlFlow::Continue(()) };
                let known = known_decision(&record, catalog);
                let shown = shown_offers(&known);
                if !shown.is_empty() {
                    let decision = Event::Decision(decision_of(id, &known, &shown));
                    recovered.decisions += u64::from(rebuild.apply(&decision));
                    recent.remember_known(id, &known);
                }
            }
            Record::Decision(_) => {}
        }
        ControlFlow::Continue(())
    })?;
    Ok(recovered)
}

/// From when on events are wanted, in microseconds since 1970.
fn first(reach: Reach, now: DateTime<Utc>) -> i64 {
    match reach {
        Reach::Nothing => i64::MAX,
        Reach::Back(length) => {
            now.checked_sub_signed(length + MARGIN).map_or(i64::MIN, |first| first.timestamp_micros())
        }
        Reach::Everything => i64::MIN,
    }
}

/// An outcome as history counts it.
pub(crate) fn outcome_of(record: &OutcomeRecord) -> Outcome<'_> {
    Outcome {
        event_id: &record.event_id,
        decision: Uuid::try_parse(&record.decision_id).ok(),
        customer: &record.customer_id,
        offer: &record.offer_id,
        placement: &record.placement,
        channel: &record.channel,
        outcome: &record.r#type,
        spend: spend(record.cost, record.offer_value),
        occurred_at: moment(record.occurred_at),
        recorded_at: moment(record.received_at),
    }
}

/// A recorded decision, as far as its outcomes need it. `catalog` has what a record leaves out: the default channel of
/// its placement, and the terms of a fallback.
pub(crate) fn known_decision(record: &DecisionRecord, catalog: &Catalog) -> KnownDecision {
    let placement = catalog.policy.find_placement(&record.placement).map(|at| catalog.policy.placement(at));
    let default = placement.and_then(|placement| placement.channels.first());
    let channel = Some(&record.channel).filter(|channel| !channel.is_empty()).or(default);
    let terms = |offer: &RecordedOffer| match &offer.factors {
        Some(factors) => spend(factors.cost, factors.value),
        None => {
            let index = catalog.library.find(&offer.offer_id);
            index.map(|index| Spend::of(catalog.library.get(index))).unwrap_or_default()
        }
    };
    KnownDecision {
        customer: record.customer_id.clone(),
        pseudonym_key: record.pseudonym_key.as_str().into(),
        placement: record.placement.as_str().into(),
        channel: channel.map_or_else(|| "".into(), |channel| channel.as_str().into()),
        decided_at: moment(record.decided_at),
        shown: record.offers.iter().map(|offer| (offer.offer_id.as_str().into(), terms(offer))).collect(),
    }
}

/// What a decision showed.
fn shown_offers(known: &KnownDecision) -> Vec<ShownOffer> {
    let shown = known.shown.iter().map(|(offer, spend)| ShownOffer {
        offer: Arc::clone(offer),
        spend: *spend,
        reservations: Vec::new(),
    });
    shown.collect()
}

fn decision_of<'a>(id: Uuid, known: &'a KnownDecision, shown: &'a [ShownOffer]) -> Decision<'a> {
    let KnownDecision { customer, placement, channel, decided_at, .. } = known;
    Decision { id, customer, placement, channel, decided_at: *decided_at, shown }
}

fn spend(cost: f64, value: f64) -> Spend {
    Spend { cost_micros: micros(cost), value_micros: micros(value) }
}

/// Millionths as money.
pub(crate) fn money(micros: i64) -> f64 {
    micros as f64 / 1e6
}

fn moment(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap_or_default()
}
