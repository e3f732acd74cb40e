//! One decision as a person reads it: what was shown, why, and why not the others.

mod limited;

pub use limited::{ViewedEvent, ViewedHistory, ViewedLimit, ViewedRefusal, ViewedReservation};

use chrono::{DateTime, SecondsFormat};
use decision::RankResult;
use event::proto::DecisionRecord;
use feature::Value;
use serde::Serialize;

use super::explain::{Explained, NamedValue};
use super::values::recorded_source;

/// A decision with its reasons. The names are those of the record and of `RankResult`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DecisionView {
    /// The id.
    pub decision_id: String,
    /// RFC 3339, in UTC.
    pub decided_at: String,
    /// The release that decided.
    pub release: u64,
    /// The server, by the id of its data directory, and its version.
    pub server: String,
    /// Its version.
    pub server_version: String,
    /// The id of the call.
    pub request_id: String,
    /// Customers of the call.
    pub call_customers: u32,
    /// Microseconds that the call took.
    pub call_us: u32,
    /// The placement.
    pub placement: String,
    /// As asked; empty: the placement's first.
    pub channel: String,
    /// The channel that was used where none was asked for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub default_channel: String,
    /// The customer's id, or its pseudonym.
    pub customer_id: String,
    /// The key of the pseudonym, if it is one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pseudonym_key: String,
    /// The segment, if there is one.
    pub segment: Option<ViewedSegment>,
    /// The customer's variants.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub assignments: Vec<ViewedAssignment>,
    /// Whether the customer was in the holdout.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub held_out: bool,
    /// What was shown, best first.
    pub offers: Vec<ViewedOffer>,
    /// What was withheld, in the order of the ids.
    pub withheld: Vec<ViewedWithheld>,
    /// What limits looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<ViewedHistory>,
    /// What limits refused when it was to be shown.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refusals: Vec<ViewedRefusal>,
    /// The customer's features.
    pub features: Vec<ViewedValue>,
    /// The features of the context.
    pub context: Vec<ViewedValue>,
    /// Consents that the call claimed.
    pub consents: Vec<String>,
    /// What the decision did without.
    pub degraded: Vec<String>,
    /// Why there was no decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Whether deciding again gives the same bytes; absent if it could not be done.
    pub replayed: Option<bool>,
    /// Why reasons and features cannot be shown.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub unexplained: String,
}

/// A segment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ViewedSegment {
    /// Its number.
    pub id: i64,
    /// Its name; empty if the release is not there.
    pub name: String,
}

/// A variant of an experiment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ViewedAssignment {
    /// The experiment.
    pub experiment: String,
    /// The variant.
    pub variant: String,
    /// `drawn`, `listed` or `requested`.
    pub how: &'static str,
}

/// An offer that was shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ViewedOffer {
    /// Its id.
    pub offer_id: String,
    /// The number it was ranked by.
    pub priority: f64,
    /// Whether it was the fallback.
    pub fallback: bool,
    /// The probability with which it was chosen at its rank.
    pub selection_probability: f64,
    /// Whether that holds given that an offer chosen before could not be shown.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub conditional: bool,
    /// Whether it was shown first because it is mandatory.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub mandatory: bool,
    /// Its factors; none for a fallback.
    pub factors: Option<ViewedFactors>,
    /// What was reserved with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reservations: Vec<ViewedReservation>,
}

/// The factors of a priority, as in `Factors`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(missing_docs, reason = "named and documented as in the contract")]
pub struct ViewedFactors {
    pub score: f64,
    pub propensity: f64,
    pub context_weight: f64,
    pub value: f64,
    pub lever: f64,
    pub cost: f64,
    pub margin: f64,
    pub model: String,
    pub model_version: u64,
}

/// An offer that was withheld.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ViewedWithheld {
    /// Its id.
    pub offer_id: String,
    /// The gate.
    pub stage: String,
    /// The reason.
    pub reason: String,
    /// The rule's text, if a rule withheld it.
    pub rule: String,
    /// A detail.
    pub detail: String,
}

/// The value of a feature.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ViewedValue {
    /// The feature.
    pub name: String,
    /// Its value; null if there was none.
    pub value: serde_json::Value,
    /// `request`, `store`, `default` or `missing`.
    pub source: &'static str,
}

/// A decision in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListedDecision {
    /// The id.
    pub decision_id: String,
    /// RFC 3339, in UTC.
    pub decided_at: String,
    /// The customer's id, or its pseudonym.
    pub customer_id: String,
    /// The placement.
    pub placement: String,
    /// As asked; empty: the placement's first.
    pub channel: String,
    /// The release that decided.
    pub release: u64,
    /// What was shown, best first.
    pub offer_ids: Vec<String>,
    /// Whether that was the fallback.
    pub fallback: bool,
    /// Why there was no decision; empty if there was one.
    pub error: String,
}

impl ListedDecision {
    /// The line of a record.
    #[must_use]
    pub fn of_record(record: &DecisionRecord) -> Self {
        Self {
            decision_id: record.decision_id.clone(),
            decided_at: rfc3339(record.decided_at),
            customer_id: record.customer_id.clone(),
            placement: record.placement.clone(),
            channel: record.channel.clone(),
            release: record.release,
            offer_ids: record.offers.iter().map(|offer| offer.offer_id.clone()).collect(),
            fallback: record.offers.iter().any(|offer| offer.fallback),
            error: record.error.as_ref().map(|error| why(&error.field, &error.message)).unwrap_or_default(),
        }
    }
}

/// Why a customer was not decided: what is wrong, after the field of the request that it is wrong with.
#[must_use]
pub fn why(field: &str, message: &str) -> String {
    if field.is_empty() { message.to_owned() } else { format!("{field}: {message}") }
}

/// A time in microseconds since 1970, in UTC.
#[must_use]
pub fn rfc3339(micros: i64) -> String {
    let time = DateTime::from_timestamp_micros(micros);
    time.map(|time| time.to_rfc3339_opts(SecondsFormat::Micros, true)).unwrap_or_default()
}

impl DecisionView {
    /// What the record itself says.
    #[must_use]
    pub fn of_record(record: &DecisionRecord) -> Self {
        let offers = record.offers.iter().map(|offer| ViewedOffer {
            offer_id: offer.offer_id.clone(),
            priority: offer.priority,
            fallback: offer.fallback,
            selection_probability: offer.selection_probability,
            conditional: offer.conditional,
            mandatory: offer.mandatory,
            factors: offer.factors.as_ref().map(|factors| ViewedFactors {
                score: factors.score,
                propensity: factors.propensity,
                context_weight: factors.context_weight,
                value: factors.value,
                lever: factors.lever,
                cost: factors.cost,
                margin: factors.margin,
                model: factors.model.clone(),
                model_version: factors.model_version,
            }),
            reservations: limited::reservations(offer, record.decided_at),
        });
        let segment = record.segment.as_ref();
        let assignments = record.assignments.iter().map(|one| ViewedAssignment {
            experiment: one.experiment.clone(),
            variant: one.variant.clone(),
            how: match one.how {
                1 => "drawn",
                2 => "listed",
                3 => "requested",
                _ => "unknown",
            },
        });
        Self {
            decision_id: record.decision_id.clone(),
            decided_at: rfc3339(record.decided_at),
            release: record.release,
            server: record.server.clone(),
            server_version: record.server_version.clone(),
            request_id: record.request_id.clone(),
            call_customers: record.call_customers,
            call_us: record.call_us,
            placement: record.placement.clone(),
            channel: record.channel.clone(),
            default_channel: record.default_channel.clone(),
            customer_id: record.customer_id.clone(),
            pseudonym_key: record.pseudonym_key.clone(),
            segment: segment.map(|segment| ViewedSegment { id: segment.id, name: String::new() }),
            assignments: assignments.collect(),
            held_out: record.held_out,
            offers: offers.collect(),
            withheld: Vec::new(),
            history: limited::history(record),
            refusals: limited::refusals(record),
            features: Vec::new(),
            context: Vec::new(),
            consents: record.consents.clone(),
            degraded: record.degraded.clone(),
            error: record.error.as_ref().map(|error| why(&error.field, &error.message)),
            replayed: None,
            unexplained: String::new(),
        }
    }

    /// The record, explained if that was possible.
    #[must_use]
    pub fn of(record: &DecisionRecord, explained: &Result<Explained, String>) -> Self {
        let mut view = Self::of_record(record);
        match explained {
            Ok(explained) => view.explain(explained),
            Err(why) => view.unexplained.clone_from(why),
        }
        view
    }

    fn explain(&mut self, explained: &Explained) {
        self.features = explained.features.iter().map(viewed).collect();
        self.context = explained.context.iter().map(viewed).collect();
        self.replayed = Some(explained.differences.is_empty());
        let RankResult { segment, withheld, .. } = &explained.result;
        self.segment =
            segment.as_ref().map(|segment| ViewedSegment { id: segment.id, name: segment.name.to_string() });
        self.withheld = withheld
            .iter()
            .map(|one| ViewedWithheld {
                offer_id: one.offer_id.to_string(),
                stage: one.stage.to_string(),
                reason: one.reason.to_string(),
                rule: one.rule.as_ref().map(ToString::to_string).unwrap_or_default(),
                detail: one.detail.clone(),
            })
            .collect();
    }
}

fn viewed(value: &NamedValue) -> ViewedValue {
    ViewedValue {
        name: value.name.clone(),
        value: value.value.as_ref().map_or(serde_json::Value::Null, json),
        source: recorded_source(value.source).word(),
    }
}

/// The shortest decimal that is the same 32-bit float, so that 0.1 reads 0.1.
#[must_use]
pub fn shortest(number: f32) -> serde_json::Value {
    number.to_string().parse::<f64>().ok().into()
}

fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::Float(number) => shortest(*number),
        Value::Int(number) => (*number).into(),
        Value::String(text) => text.as_ref().into(),
        Value::Bool(truth) => (*truth).into(),
    }
}
