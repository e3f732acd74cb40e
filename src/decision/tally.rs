//! What a call's decisions come to in the metrics, gathered without touching them and recorded once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::plan::Plan;
use super::withheld::Withheld;
use super::{RankResult, Reason};
use crate::telemetry::{Metrics, PropensityBatch};

/// Counts of one part of a call.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub decisions: u64,
    pub offers: u64,
    pub defaulted: u64,
    /// In the order of [`Reason::ALL`].
    withheld: [u64; Reason::ALL.len()],
    /// Offer and rule gate of each rule that could not be evaluated.
    rule_errors: BTreeMap<(usize, &'static str), u64>,
    /// The model's position in the release, rows, time and propensities of each batch that was scored.
    scored: Vec<(usize, usize, Duration, PropensityBatch)>,
    /// Rows without a usable score, by the model's position in the release.
    unavailable: BTreeMap<usize, usize>,
    /// Scores that rounding led outside 0..=1, by the model's position in the release.
    clamped: BTreeMap<usize, usize>,
}

impl Tally {
    /// Counts one offer that was withheld.
    pub fn withhold(&mut self, one: &Withheld<'_>) {
        self.withheld[one.reason as usize] += 1;
        if one.reason == Reason::RuleError {
            self.rule_error(one.offer, one.stage.as_str());
        }
    }

    /// Counts a rule of the policy that could not be evaluated for an offer.
    pub fn rule_error(&mut self, offer: usize, rule: &'static str) {
        *self.rule_errors.entry((offer, rule)).or_default() += 1;
    }

    /// Counts a batch that a model scored.
    pub fn scored(&mut self, model: usize, rows: usize, took: Duration, propensities: PropensityBatch) {
        self.scored.push((model, rows, took, propensities));
    }

    /// Counts a row that a model could not score.
    pub fn unavailable(&mut self, model: usize) {
        *self.unavailable.entry(model).or_default() += 1;
    }

    /// Counts scores that lie outside 0..=1 by rounding alone.
    pub fn clamped(&mut self, model: usize, scores: usize) {
        if scores > 0 {
            *self.clamped.entry(model).or_default() += scores;
        }
    }

    /// Adds what another part of the call counted.
    pub fn add(&mut self, other: Self) {
        self.decisions += other.decisions;
        self.offers += other.offers;
        self.defaulted += other.defaulted;
        for (count, more) in self.withheld.iter_mut().zip(other.withheld) {
            *count += more;
        }
        for (rule, count) in other.rule_errors {
            *self.rule_errors.entry(rule).or_default() += count;
        }
        self.scored.extend(other.scored);
        for (model, rows) in other.unavailable {
            *self.unavailable.entry(model).or_default() += rows;
        }
        for (model, scores) in other.clamped {
            self.clamped(model, scores);
        }
    }

    /// Records the counts, and what the results show.
    pub fn record(&self, plan: &Plan, results: &[RankResult], metrics: &Metrics) {
        record_offers(plan, results);
        let release = &plan.snapshot.release;
        metrics.decisions(&plan.placement().id).inc_by(self.decisions);
        metrics.offers_returned.inc_by(self.offers);
        metrics.features_defaulted.inc_by(self.defaulted);
        for (reason, count) in Reason::ALL.iter().zip(self.withheld).filter(|(_, count)| *count > 0) {
            metrics.withheld(reason.as_str()).inc_by(count);
        }
        for ((offer, gate), count) in &self.rule_errors {
            let id: &Arc<str> = &release.catalog().library.offers()[*offer].id;
            metrics.rule_errors(id, gate).inc_by(*count);
        }
        for (model, rows, took, propensities) in &self.scored {
            let model = &release.models()[*model];
            let metrics = metrics.model(model.name(), model.version());
            metrics.scored(*rows, *took);
            metrics.propensities(propensities);
        }
        for (model, rows) in &self.unavailable {
            let model = &release.models()[*model];
            metrics.model(model.name(), model.version()).unavailable(*rows);
        }
        for (model, scores) in &self.clamped {
            let model = &release.models()[*model];
            metrics.model(model.name(), model.version()).clamped(*scores);
        }
    }
}

/// Counts the offers that the results show, and whom they were decided for: a few atomic additions, however many are withheld.
fn record_offers(plan: &Plan, results: &[RankResult]) {
    let counts = plan.snapshot.release.offer_counts(plan.placement);
    let decided = || results.iter().filter(|result| result.error.is_none());
    let customers = decided().count() as u64;
    // A request narrows the candidates by leaving some out.
    if plan.candidates().len() == plan.placement().candidates.len() {
        counts.decided(customers);
    } else {
        plan.candidates().iter().for_each(|candidate| counts.decided_among(candidate.offer, customers));
    }
    for shown in decided().flat_map(|result| &result.offers) {
        counts.shown(shown.offer, shown.fallback);
    }
}
