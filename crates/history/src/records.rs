//! Recorded events as history counts them, and a history built of them when a server starts.
//!
//! An outcome that comes while the server runs is counted by way of its record ([`outcome_of`]), so that a history that
//! is built again is the same. [`recover`] reads as far back as limits of the release look, and no further: opt-outs
//! alone are read from the first on.

mod covers;
mod missing;
mod reach;
mod saved;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use event::proto::{DecisionRecord, OutcomeRecord, RecordedOffer, RecordedReservation};
use event::{EventReader, EventRecord, Kind, Query, Record, SealedError, Since};
use offer::Catalog;
use uuid::Uuid;

pub use covers::{Known, Shortfall};
pub use missing::{Missing, read_missing};
pub use reach::has_limits;
pub use saved::{RecoveredFrom, SaveError, SavedHistory, Started, forget_left_behind};

use super::event::{Decision, Event, Outcome, Reservation, ShownOffer};
use super::feedback::OPT_OUT;
use super::recent::{KnownDecision, RecentDecisions};
use super::total::{Spend, TotalLimit, micros};
use super::{CustomerHistory, History, Limits, Rebuild};
use reach::{Reach, Reaches};

/// How much further back than needed events are read: a release that is promoted later may look back further.
const MARGIN: TimeDelta = TimeDelta::days(1);

/// Microseconds by which the times differ at which an outcome was received and recorded.
const OVERLAP: i64 = 300_000_000;

/// The kinds of events that a history counts. A shadow decides for nobody.
const KINDS: &[Kind] = &[Kind::Decision, Kind::Outcome];

/// What a history was built of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Decisions that showed something.
    pub decisions: u64,
    /// Outcomes.
    pub outcomes: u64,
}

/// Adds to `history`, which is new, what `reader` has of the events that the limits of `catalog` look at, and the
/// outcomes that can still be reported again. The decisions among them are added to `recent`.
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
    let remember = &mut |id, known: &KnownDecision| recent.remember_known(id, known);
    Ok(build(history, reader, &[catalog], deduplicated, (now, None), remember)?.recovered)
}

/// A history as it was at some moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Past {
    /// What it was built of.
    pub recovered: Recovered,
    /// The keys of the pseudonyms by which events name customers; empty where they go by their ids.
    pub pseudonym_keys: BTreeSet<String>,
}

/// As [`recover`], as far back from the moment `at` as the limits of any of `catalogs` look. The first of them
/// completes records. What was recorded at `until` or later is left out; `None`: nothing is.
///
/// # Errors
/// As [`recover`].
pub fn recover_past(
    history: &History,
    reader: &EventReader,
    catalogs: &[&Catalog],
    deduplicated: TimeDelta,
    (at, until): (DateTime<Utc>, Option<DateTime<Utc>>),
) -> Result<Past, SealedError> {
    let until = until.map(|until| until.timestamp_micros());
    build(history, reader, catalogs, deduplicated, (at, until), &mut |_, _| {})
}

/// Adds to a history what the limits of `catalogs` look at from the moment `at`, and was recorded before `until`, in
/// microseconds since 1970. Each decision among it is passed to `remember`.
fn build(
    history: &History,
    reader: &EventReader,
    catalogs: &[&Catalog],
    deduplicated: TimeDelta,
    (at, until): (DateTime<Utc>, Option<i64>),
    remember: &mut dyn FnMut(Uuid, &KnownDecision),
) -> Result<Past, SealedError> {
    let all = catalogs.iter().map(|catalog| Reaches::of(catalog, deduplicated)).reduce(Reaches::max);
    let (Some(reaches), Some(catalog)) = (all, catalogs.first()) else { return Ok(Past::default()) };
    // Budgets that are paced go on as they did: from the first event on.
    let began = moment(first(reaches.earliest(), at)).min(at);
    let limits: Vec<_> = catalogs.iter().map(|catalog| Limits::new(history, catalog, began)).collect();
    let mut recovery = Recovery::new(history, catalog, at);
    recovery.read(reader, reaches, until, remember)?;
    // Meters are kept until a release is resolved that does not have them.
    drop(limits);
    Ok(Past { recovered: recovery.recovered, pseudonym_keys: recovery.pseudonym_keys })
}

/// What history has of one person, of whom records that `is_theirs` are: worked out of what `reader` has. `names` are
/// those that records may have for them. `catalog` completes records.
///
/// # Errors
/// As [`recover`].
pub fn recover_person(
    reader: &EventReader,
    names: &BTreeSet<String>,
    is_theirs: &dyn Fn(&dyn EventRecord) -> bool,
    catalog: &Catalog,
    now: DateTime<Utc>,
) -> Result<CustomerHistory, SealedError> {
    let history = History::default();
    let mut recovery = Recovery::new(&history, catalog, now);
    let query = Query { customers: names.clone(), ..Query::default() };
    reader.scan(&query, &mut |record| {
        if is_theirs(&record) {
            recovery.decision(&record, &mut |_, _| {});
        }
        ControlFlow::Continue(())
    })?;
    reader.scan_outcomes(&query, &mut |record| {
        if is_theirs(&record) { recovery.outcome(&record) } else { ControlFlow::Continue(()) }
    })?;
    let Some(first) = names.first() else { return Ok(CustomerHistory::default()) };
    for name in names {
        history.rename(name, first);
    }
    Ok(history.customer(first).unwrap_or_default())
}

/// A history that is being built.
struct Recovery<'h> {
    rebuild: Rebuild<'h>,
    catalog: &'h Catalog,
    now: DateTime<Utc>,
    recovered: Recovered,
    pseudonym_keys: BTreeSet<String>,
}

impl<'h> Recovery<'h> {
    fn new(history: &'h History, catalog: &'h Catalog, now: DateTime<Utc>) -> Self {
        let rebuild = Rebuild::new(history, now);
        Self { rebuild, catalog, now, recovered: Recovered::default(), pseudonym_keys: BTreeSet::new() }
    }

    /// Reads the events that were recorded before `end`, in microseconds since 1970; `None`: all. Each decision is
    /// passed to `remember`.
    fn read(
        &mut self,
        reader: &EventReader,
        reaches: Reaches,
        end: Option<i64>,
        remember: &mut dyn FnMut(Uuid, &KnownDecision),
    ) -> Result<(), SealedError> {
        let decisions = first(reaches.decisions, self.now);
        let outcomes = first(reaches.outcomes, self.now).min(decisions);
        let before = |moment: i64| Some(end.map_or(moment, |end| moment.min(end)));
        let opt_outs =
            Query { to: before(outcomes), types: BTreeSet::from([OPT_OUT.to_owned()]), ..Query::default() };
        reader.scan_outcomes(&opt_outs, &mut |record| self.outcome(&record))?;
        if outcomes < decisions {
            let alone = Query { from: Some(outcomes), to: before(decisions), ..Query::default() };
            reader.scan_outcomes(&alone, &mut |record| self.outcome(&record))?;
        }
        if reaches.decisions == Reach::Nothing {
            return Ok(());
        }
        // What is read twice is counted once.
        let time = Some(decisions.saturating_sub(OVERLAP));
        let since = Since { time, kinds: Some(KINDS), ..Since::default() };
        reader.events_since(&since, &mut |entry| {
            if end.is_some_and(|end| entry.recorded_at >= end) {
                return ControlFlow::Continue(());
            }
            match entry.record {
                Record::Outcome(record) if record.received_at >= outcomes => self.outcome(&record),
                Record::Decision(record) if record.decided_at >= decisions => {
                    self.decision(&record, remember);
                    ControlFlow::Continue(())
                }
                Record::Outcome(_) | Record::Decision(_) | Record::Shadow(_) => ControlFlow::Continue(()),
            }
        })
    }

    /// Reads the events of a part of a log of one server that stand behind `since` and not behind `until`. Each
    /// decision is passed to `remember`.
    fn read_behind(
        &mut self,
        reader: &EventReader,
        since: &Since,
        until: u64,
        remember: &mut dyn FnMut(Uuid, &KnownDecision),
    ) -> Result<(), SealedError> {
        reader.events_since(since, &mut |entry| {
            if entry.position > until {
                return ControlFlow::Break(());
            }
            match entry.record {
                Record::Outcome(record) => _ = self.outcome(&record),
                Record::Decision(record) => self.decision(&record, remember),
                Record::Shadow(_) => {}
            }
            ControlFlow::Continue(())
        })
    }

    fn outcome(&mut self, record: &OutcomeRecord) -> ControlFlow<()> {
        self.named_by(&record.pseudonym_key);
        let is_new = self.rebuild.apply(&Event::Outcome(outcome_of(record)));
        self.recovered.outcomes += u64::from(is_new);
        ControlFlow::Continue(())
    }

    fn decision(&mut self, record: &DecisionRecord, remember: &mut dyn FnMut(Uuid, &KnownDecision)) {
        let Ok(id) = Uuid::try_parse(&record.decision_id) else { return };
        self.named_by(&record.pseudonym_key);
        let known = known_decision(record, self.catalog);
        let shown = shown_offers(record, &known);
        if !shown.is_empty() {
            let decision = Event::Decision(decision_of(id, &known, &shown));
            self.recovered.decisions += u64::from(self.rebuild.apply(&decision));
            remember(id, &known);
        }
    }

    fn named_by(&mut self, key: &str) {
        if !self.pseudonym_keys.contains(key) {
            self.pseudonym_keys.insert(key.to_owned());
        }
    }
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

/// A recorded decision, as far as its outcomes need it. `catalog` has what a record of an earlier version leaves out:
/// the default channel of its placement, and the terms of a fallback.
pub(crate) fn known_decision(record: &DecisionRecord, catalog: &Catalog) -> KnownDecision {
    let placement = catalog.policy.find_placement(&record.placement).map(|at| catalog.policy.placement(at));
    let default = placement.and_then(|placement| placement.channels.first());
    let named = [&record.channel, &record.default_channel].into_iter().find(|channel| !channel.is_empty());
    let channel = named.or(default);
    let terms = |offer: &RecordedOffer| match (&offer.factors, offer.terms) {
        (Some(factors), _) => spend(factors.cost, factors.value),
        (None, Some(terms)) => spend(terms.cost, terms.value),
        (None, None) => {
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

/// What a decision showed, with what it reserved. `known` is the same decision.
fn shown_offers(record: &DecisionRecord, known: &KnownDecision) -> Vec<ShownOffer> {
    let shown = known.shown.iter().zip(&record.offers).map(|((offer, spend), recorded)| {
        let reserved = [(TotalLimit::Cap, &recorded.cap_total), (TotalLimit::Budget, &recorded.budget)];
        let reservation = |(limit, reserved): (TotalLimit, &Option<RecordedReservation>)| {
            let RecordedReservation { outcome, lapses_in } = reserved.as_ref()?;
            let lapses_in = i64::try_from(*lapses_in).unwrap_or(i64::MAX);
            let until = record.decided_at.div_euclid(1_000).saturating_add(lapses_in);
            let until = DateTime::from_timestamp_millis(until).unwrap_or(DateTime::<Utc>::MAX_UTC);
            Some(Reservation { limit, outcome: outcome.as_str().into(), until })
        };
        let reservations = reserved.into_iter().filter_map(reservation).collect();
        ShownOffer { offer: Arc::clone(offer), spend: *spend, reservations }
    });
    shown.collect()
}

/// What a record says of the reservations of an offer, for a decision at `decided_at`: of its total cap and of its
/// budget.
#[must_use]
pub fn recorded_reservations(
    shown: &ShownOffer,
    decided_at: DateTime<Utc>,
) -> [Option<RecordedReservation>; 2] {
    let decided_at = decided_at.timestamp_micros().div_euclid(1_000);
    TotalLimit::ALL.map(|limit| {
        let reserved = shown.reservations.iter().find(|reserved| reserved.limit == limit)?;
        let lapses_in = (reserved.until.timestamp_millis() - decided_at).max(0).unsigned_abs();
        Some(RecordedReservation { outcome: reserved.outcome.to_string(), lapses_in })
    })
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

/// A moment that no calendar knows is 1970.
fn moment(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap_or_default()
}
