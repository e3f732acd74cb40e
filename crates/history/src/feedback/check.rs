//! What can be said of a reported outcome without looking for its decision.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use document::suggestion;
use event::proto::OutcomeRecord;
use offer::Catalog;
use uuid::Uuid;

use super::verdict::{OutcomeProblem, RefusedOutcome};
use crate::{History, moment};

/// What an outcome may take.
pub mod most {
    /// Bytes of an id.
    pub const ID_BYTES: usize = 256;

    /// Attributes.
    pub const ATTRIBUTES: usize = 32;

    /// Bytes of the name of an attribute.
    pub const NAME_BYTES: usize = 64;

    /// Bytes of an attribute.
    pub const ATTRIBUTE_BYTES: usize = 1 << 10;
}

/// How far ahead of the server's clock an outcome may be: clocks differ.
const AHEAD: TimeDelta = TimeDelta::seconds(5);

/// An outcome as it was reported.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReportedOutcome {
    /// By which a duplicate is recognised.
    pub event_id: String,
    /// The decision that showed the offer; empty if it is not known.
    pub decision_id: String,
    /// The offer; empty for the only one of the decision.
    pub offer_id: String,
    /// The customer; empty for that of the decision.
    pub customer_id: String,
    /// The type.
    pub outcome_type: String,
    /// What it was worth, in money.
    pub value: f64,
    /// When it happened; `None` if that is missing, or no moment that a calendar knows.
    pub occurred_at: Option<DateTime<Utc>>,
    /// What else was reported.
    pub attributes: BTreeMap<String, String>,
}

impl ReportedOutcome {
    /// The bytes that its record takes in memory, at most.
    pub(super) fn record_bytes(&self) -> usize {
        let ids = [&self.event_id, &self.decision_id, &self.offer_id, &self.customer_id, &self.outcome_type];
        let ids: usize = ids.iter().map(|id| id.len()).sum();
        let attributes = self.attributes.iter();
        let attributes: usize = attributes.map(|(name, text)| PAIR_BYTES + name.len() + text.len()).sum();
        RECORD_BYTES + ids + attributes
    }
}

/// The bytes of a record with placement, channel, pseudonym, and the customer and the offer of a decision.
const RECORD_BYTES: usize = size_of::<OutcomeRecord>() + 4 * most::ID_BYTES;

/// The bytes of a name and a text in a map.
const PAIR_BYTES: usize = 64;

/// Checks an outcome that came at `now`. Returns the decision that it names.
pub(super) fn check(
    reported: &ReportedOutcome,
    catalog: &Catalog,
    history: &History,
    now: DateTime<Utc>,
) -> Result<Option<Uuid>, RefusedOutcome> {
    if reported.event_id.is_empty() {
        return Err(RefusedOutcome::invalid("event_id", "is missing; give each outcome an id of its own"));
    }
    let ids = [
        ("event_id", &reported.event_id),
        ("decision_id", &reported.decision_id),
        ("offer_id", &reported.offer_id),
        ("customer_id", &reported.customer_id),
        ("type", &reported.outcome_type),
    ];
    for (field, id) in ids {
        at_most(field, id.len(), most::ID_BYTES, "bytes")?;
    }
    check_type(&reported.outcome_type, catalog)?;
    if !reported.value.is_finite() {
        return Err(RefusedOutcome::invalid("value", "is not a finite number"));
    }
    check_time(reported.occurred_at, history, now)?;
    check_attributes(&reported.attributes)?;
    if reported.decision_id.is_empty() {
        return Ok(None);
    }
    let decision = Uuid::try_parse(&reported.decision_id);
    decision
        .map(Some)
        .map_err(|_| RefusedOutcome::invalid("decision_id", "is not a UUID as in `RankResult.decision_id`"))
}

/// The place of a type among those of the policy.
pub(super) fn find_type(catalog: &Catalog, outcome_type: &str) -> Option<usize> {
    catalog.policy.outcomes.binary_search_by(|known| known.id.as_str().cmp(outcome_type)).ok()
}

fn check_type(outcome_type: &str, catalog: &Catalog) -> Result<(), RefusedOutcome> {
    if outcome_type.is_empty() {
        return Err(RefusedOutcome::invalid("type", "is missing; give a type such as `click`"));
    }
    if find_type(catalog, outcome_type).is_some() {
        return Ok(());
    }
    let hint = suggestion(outcome_type, catalog.policy.outcomes.iter().map(|known| known.id.as_str()));
    let message = format!("{outcome_type:?} is neither built in nor an [[outcome]] of policy.toml{hint}");
    Err(RefusedOutcome::new(OutcomeProblem::UnknownType, "type", message))
}

fn check_time(
    occurred_at: Option<DateTime<Utc>>,
    history: &History,
    now: DateTime<Utc>,
) -> Result<(), RefusedOutcome> {
    let Some(occurred_at) = occurred_at else {
        let message = "is missing, or is not a moment that a calendar knows";
        return Err(RefusedOutcome::invalid("occurred_at", message));
    };
    if occurred_at > now + AHEAD {
        let message = format!("is more than {} s ahead of the server's clock", AHEAD.num_seconds());
        return Err(RefusedOutcome::new(OutcomeProblem::FromTheFuture, "occurred_at", message));
    }
    // The same look as that of what recognises duplicates, to the millisecond.
    if !history.seen.remembers(moment::millis(occurred_at), moment::millis(now)) {
        let message = "is longer ago than duplicates are recognised (`feedback.dedup`)";
        return Err(RefusedOutcome::new(OutcomeProblem::TooOld, "occurred_at", message));
    }
    Ok(())
}

fn check_attributes(attributes: &BTreeMap<String, String>) -> Result<(), RefusedOutcome> {
    at_most("attributes", attributes.len(), most::ATTRIBUTES, "entries")?;
    for (name, text) in attributes {
        if name.is_empty() {
            return Err(RefusedOutcome::invalid("attributes", "an entry has no name"));
        }
        at_most("attributes", name.len(), most::NAME_BYTES, "bytes of a name")?;
        at_most("attributes", text.len(), most::ATTRIBUTE_BYTES, "bytes of a text")?;
    }
    Ok(())
}

fn at_most(field: &'static str, count: usize, most: usize, what: &str) -> Result<(), RefusedOutcome> {
    if count <= most {
        return Ok(());
    }
    Err(RefusedOutcome::invalid(field, format!("{count} {what} are more than {most}")))
}
