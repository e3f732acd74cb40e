//! To which decision an outcome belongs, and the record of it.

use chrono::{DateTime, Utc};
use event::keys::KeyName;
use event::privacy::{Pseudonym, Pseudonyms};
use event::proto::OutcomeRecord;
use offer::Catalog;
use uuid::Uuid;

use super::Serving;
use super::check::ReportedOutcome;
use super::verdict::{OutcomeProblem, RefusedOutcome};
use crate::recent::KnownDecision;
use crate::records::money;

/// The format of the records that this version writes.
const FORMAT: u32 = 1;

/// What the outcomes of a call share.
#[derive(Clone, Copy)]
pub(super) struct Attributing<'a> {
    pub serving: Serving<'a>,
    pub pseudonyms: &'a Pseudonyms,
    pub now: DateTime<Utc>,
}

impl Attributing<'_> {
    /// The record of an outcome that names the decision `id`, which is `decision` if that is known.
    pub(super) fn record(
        &self,
        reported: ReportedOutcome,
        id: Option<Uuid>,
        decision: Option<&KnownDecision>,
    ) -> Result<OutcomeRecord, RefusedOutcome> {
        let record = match decision {
            Some(decision) => self.of_decision(reported, decision)?,
            None => self.without(reported)?,
        };
        Ok(OutcomeRecord { decision_id: id.map(|id| id.to_string()).unwrap_or_default(), ..record })
    }

    /// An outcome of a decision that is known.
    fn of_decision(
        &self,
        reported: ReportedOutcome,
        decision: &KnownDecision,
    ) -> Result<OutcomeRecord, RefusedOutcome> {
        let customer = self.customer(&reported.customer_id, decision)?;
        let (offer, spend) = match (&*reported.offer_id, &decision.shown[..]) {
            ("", [only]) => only,
            ("", []) => return Err(mismatch("decision_id", "the decision showed no offer")),
            ("", shown) => {
                let message = format!("is missing, and the decision showed {} offers", shown.len());
                return Err(RefusedOutcome::invalid("offer_id", message));
            }
            (asked, shown) => shown
                .iter()
                .find(|(offer, _)| **offer == *asked)
                .ok_or_else(|| mismatch("offer_id", format!("the decision did not show {asked:?}")))?,
        };
        let catalog = self.serving.catalog;
        let window = window(catalog, &decision.placement, &reported.outcome_type);
        let occurred_at = reported.occurred_at.unwrap_or(self.now);
        Ok(OutcomeRecord {
            offer_id: offer.to_string(),
            customer_id: customer.text,
            pseudonym_key: customer.key,
            placement: decision.placement.to_string(),
            channel: decision.channel.to_string(),
            attributed: true,
            late: window.is_some_and(|window| occurred_at - decision.decided_at > window),
            decided_at: decision.decided_at.timestamp_micros(),
            cost: money(spend.cost_micros),
            offer_value: money(spend.value_micros),
            ..self.of_report(reported)
        })
    }

    /// An outcome of no decision, or of one that is not known.
    fn without(&self, reported: ReportedOutcome) -> Result<OutcomeRecord, RefusedOutcome> {
        if reported.customer_id.is_empty() || reported.offer_id.is_empty() {
            let what = if reported.decision_id.is_empty() { "is missing" } else { "names no known decision" };
            let message = format!("{what}; such an outcome needs `customer_id` and `offer_id`");
            return Err(RefusedOutcome::new(OutcomeProblem::UnknownDecision, "decision_id", message));
        }
        let library = &self.serving.catalog.library;
        let offer = library.find(&reported.offer_id).map(|index| library.get(index));
        let customer = self.pseudonyms.of(&reported.customer_id);
        Ok(OutcomeRecord {
            offer_id: reported.offer_id.clone(),
            customer_id: customer.text,
            pseudonym_key: customer.key,
            cost: offer.map_or(0.0, |offer| offer.cost),
            offer_value: offer.map_or(0.0, |offer| offer.value),
            ..self.of_report(reported)
        })
    }

    /// What a record has of the report alone.
    fn of_report(&self, reported: ReportedOutcome) -> OutcomeRecord {
        OutcomeRecord {
            format: FORMAT,
            event_id: reported.event_id,
            received_at: self.now.timestamp_micros(),
            release: self.serving.release,
            r#type: reported.outcome_type,
            value: reported.value,
            occurred_at: reported.occurred_at.unwrap_or(self.now).timestamp_micros(),
            attributes: reported.attributes,
            ..OutcomeRecord::default()
        }
    }

    /// Who the outcome is of: the customer that is reported, else that of the decision.
    fn customer(&self, asked: &str, decision: &KnownDecision) -> Result<Pseudonym, RefusedOutcome> {
        let KnownDecision { customer, pseudonym_key, .. } = decision;
        if asked.is_empty() {
            return Ok(Pseudonym { key: pseudonym_key.to_string(), text: customer.clone() });
        }
        // A visitor who was not known may be known by now. A pseudonym of a key that is gone tells nothing.
        let is_theirs = match (&**customer, &**pseudonym_key) {
            ("", _) => true,
            (customer, "") => customer == asked,
            (customer, key) => {
                let key = KeyName { id: key.to_owned(), fingerprint: None };
                let names = self.pseudonyms.all_under(&key, asked);
                names.is_empty() || names.iter().any(|name| name.text == *customer)
            }
        };
        if !is_theirs {
            return Err(mismatch("customer_id", "the decision was for another customer"));
        }
        Ok(self.pseudonyms.of(asked))
    }
}

/// How long after its decision an outcome at a placement is on time.
fn window(catalog: &Catalog, placement: &str, outcome_type: &str) -> Option<chrono::TimeDelta> {
    let placement = catalog.policy.find_placement(placement)?;
    catalog.policy.attribution.window(placement, outcome_type)
}

fn mismatch(field: &'static str, message: impl Into<String>) -> RefusedOutcome {
    RefusedOutcome::new(OutcomeProblem::Mismatch, field, message)
}
