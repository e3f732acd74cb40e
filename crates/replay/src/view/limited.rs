//! What limits looked at, refused and reserved, as a person reads it.

use chrono::{DateTime, SecondsFormat, TimeDelta};
use decision::{Reason, in_words};
use event::proto::{DecisionRecord, RecordedOffer, RecordedRefusal};
use event::seen::Seen;
use serde::Serialize;

/// What limits looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ViewedHistory {
    /// Whether the customer had opted out of all marketing.
    pub opted_out: bool,
    /// The customer's events, the oldest first.
    pub events: Vec<ViewedEvent>,
    /// Limits over all customers that had no room.
    pub full: Vec<ViewedLimit>,
}

/// An event of a customer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ViewedEvent {
    /// RFC 3339, in UTC.
    pub at: String,
    /// `decision`, or the type of an outcome.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The offer; empty if there is none.
    pub offer: String,
    /// Where it was shown; empty if that is not known.
    pub placement: String,
    /// Over what; empty if that is not known.
    pub channel: String,
    /// Whether it belongs to the same decision as the event before it.
    pub same_decision: bool,
    /// Whether it stands for any number of such events, none of them later.
    pub many: bool,
}

/// A limit of an offer without room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ViewedLimit {
    /// The offer.
    pub offer_id: String,
    /// The key of the limit, or the id of a suppression or contact limit.
    pub limit: String,
    /// When it has room if nothing else happens: RFC 3339, in UTC. Absent: never.
    pub frees_at: Option<String>,
    /// The same for people: `frees in 3 d 4 h`.
    pub frees: String,
}

/// An offer that was to be shown and was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ViewedRefusal {
    /// How often the slate had been filled before; absent for a fallback.
    pub round: Option<u32>,
    /// The reason, as in `RejectedOffer`.
    pub reason: String,
    /// Of which offer, by which limit, and until when.
    #[serde(flatten)]
    pub limit: ViewedLimit,
}

/// Room that was kept for an outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ViewedReservation {
    /// `cap_total` or `budget`.
    pub limit: &'static str,
    /// The type of the outcome.
    pub outcome: String,
    /// When it lapses: RFC 3339, in UTC.
    pub until: String,
}

/// What limits looked at; `None` if that was nothing, or makes no sense.
pub(super) fn history(record: &DecisionRecord) -> Option<ViewedHistory> {
    let history = record.history.as_ref()?;
    let Seen { kinds, events, full } = history.unpacked(record.decided_at).ok()?;
    let decided_at = millis(record.decided_at);
    let events = events.iter().map(|event| {
        let kind = &kinds[event.kind];
        ViewedEvent {
            at: moment(event.at),
            event_type: kind.event_type.text().to_owned(),
            offer: kind.offer.text().to_owned(),
            placement: kind.placement.text().to_owned(),
            channel: kind.channel.text().to_owned(),
            same_decision: event.same_decision,
            many: kind.many,
        }
    });
    let full = full.iter().map(|one| {
        let limit = if one.is_budget { "budget" } else { "cap_total" };
        limit_of(one.offer.text(), limit, one.frees_at.map(|at| at.saturating_sub(decided_at)), decided_at)
    });
    Some(ViewedHistory { opted_out: history.opted_out, events: events.collect(), full: full.collect() })
}

/// What was refused.
pub(super) fn refusals(record: &DecisionRecord) -> Vec<ViewedRefusal> {
    let decided_at = millis(record.decided_at);
    let refusal = |refusal: &RecordedRefusal| {
        let RecordedRefusal { round, fallback, offer_id, reason, limit, frees_in } = refusal;
        let known = (*reason as usize).checked_sub(1).and_then(|number| Reason::ALL.get(number));
        let limit = match known.and_then(|reason| reason.limit_key()) {
            Some(key) => key,
            None => limit,
        };
        ViewedRefusal {
            round: (!fallback).then_some(*round),
            reason: known.map_or_else(|| reason.to_string(), Reason::to_string),
            limit: limit_of(offer_id, limit, Some(*frees_in).filter(|length| *length != 0), decided_at),
        }
    };
    record.refusals.iter().map(refusal).collect()
}

/// What was reserved with an offer of a decision.
pub(super) fn reservations(offer: &RecordedOffer, decided_at: i64) -> Vec<ViewedReservation> {
    let reserved = [("cap_total", &offer.cap_total), ("budget", &offer.budget)];
    let viewed = reserved.into_iter().filter_map(|(limit, reserved)| {
        let reserved = reserved.as_ref()?;
        let lapses_in = i64::try_from(reserved.lapses_in).unwrap_or(i64::MAX);
        let until = moment(millis(decided_at).saturating_add(lapses_in));
        Some(ViewedReservation { limit, outcome: reserved.outcome.clone(), until })
    });
    viewed.collect()
}

/// A limit that frees so many milliseconds after the decision.
fn limit_of(offer: &str, limit: &str, frees_in: Option<i64>, decided_at: i64) -> ViewedLimit {
    let length = frees_in.and_then(TimeDelta::try_milliseconds);
    ViewedLimit {
        offer_id: offer.to_owned(),
        limit: limit.to_owned(),
        frees_at: frees_in.map(|length| moment(decided_at.saturating_add(length))),
        frees: match length {
            Some(length) => format!("frees in {}", in_words(length)),
            None => "does not free".to_owned(),
        },
    }
}

fn millis(micros: i64) -> i64 {
    micros.div_euclid(1_000)
}

/// Milliseconds since 1970 as a moment.
fn moment(millis: i64) -> String {
    let time = DateTime::from_timestamp_millis(millis);
    time.map(|time| time.to_rfc3339_opts(SecondsFormat::Millis, true)).unwrap_or_default()
}
