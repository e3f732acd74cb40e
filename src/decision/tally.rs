//! What a call's decisions come to in the metrics, gathered without touching them and recorded once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::plan::Plan;
use super::{Reason, Rejection};
use crate::telemetry::Metrics;

/// Counts of one part of a call.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub decisions: u64,
    pub offers: u64,
    pub defaulted: u64,
    withheld: BTreeMap<Reason, u64>,
    /// Offer and rule gate of each rule that could not be evaluated.
    rule_errors: BTreeMap<(usize, &'static str), u64>,
    /// The model's position in the release, rows and time of each batch that was scored.
    scored: Vec<(usize, usize, Duration)>,
    /// Rows without a usable score, by the model's position in the release.
    unavailable: BTreeMap<usize, usize>,
}

impl Tally {
    /// Counts one offer that was withheld.
    pub fn withhold(&mut self, offer: usize, rejection: &Rejection) {
        *self.withheld.entry(rejection.reason).or_default() += 1;
        if rejection.reason == Reason::RuleError {
            self.rule_error(offer, rejection.stage.as_str());
        }
    }

    /// Counts a rule of the policy that could not be evaluated for an offer.
    pub fn rule_error(&mut self, offer: usize, rule: &'static str) {
        *self.rule_errors.entry((offer, rule)).or_default() += 1;
    }

    /// Counts a batch that a model scored.
    pub fn scored(&mut self, model: usize, rows: usize, took: Duration) {
        self.scored.push((model, rows, took));
    }

    /// Counts a row that a model could not score.
    pub fn unavailable(&mut self, model: usize) {
        *self.unavailable.entry(model).or_default() += 1;
    }

    /// Records the counts.
    pub fn record(&self, plan: &Plan, metrics: &Metrics) {
        let release = &plan.snapshot.release;
        metrics.decisions(&plan.placement().id).inc_by(self.decisions);
        metrics.offers_returned.inc_by(self.offers);
        metrics.features_defaulted.inc_by(self.defaulted);
        for (reason, count) in &self.withheld {
            metrics.withheld(reason.as_str()).inc_by(*count);
        }
        for ((offer, gate), count) in &self.rule_errors {
            let id: &Arc<str> = &release.catalog().library.offers()[*offer].id;
            metrics.rule_errors(id, gate).inc_by(*count);
        }
        for (model, rows, took) in &self.scored {
            let model = &release.models()[*model];
            metrics.model(model.name(), model.version()).scored(*rows, *took);
        }
        for (model, rows) in &self.unavailable {
            let model = &release.models()[*model];
            metrics.model(model.name(), model.version()).unavailable(*rows);
        }
    }
}
