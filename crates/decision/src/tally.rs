//! The metrics of a call's decisions: counted locally, recorded once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::plan::Plan;
use super::withheld::Withheld;
use super::{RankResult, Reason};
use offer::OfferIndex;
use release::{ModelIndex, Release};
use telemetry::{Metrics, PropensityBatch};

/// The counts of a part of a call.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub decisions: u64,
    pub offers: u64,
    pub defaulted: u64,
    /// By [`Reason`], in the order of [`Reason::ALL`].
    withheld: [u64; Reason::ALL.len()],
    /// By offer and rule gate: rules that could not be evaluated.
    rule_errors: BTreeMap<(OfferIndex, &'static str), u64>,
    /// By experiment: rules of eligibility that could not be evaluated.
    experiment_errors: BTreeMap<usize, u64>,
    scored: Vec<ScoredBatch>,
    /// Rows without a usable score, by model.
    unavailable: BTreeMap<ModelIndex, usize>,
    /// Scores that rounding moved outside 0..=1, by model.
    clamped: BTreeMap<ModelIndex, usize>,
}

/// A batch that a model scored.
#[derive(Debug)]
struct ScoredBatch {
    model: ModelIndex,
    rows: usize,
    took: Duration,
    propensities: PropensityBatch,
}

impl Tally {
    /// Counts a withheld offer.
    pub(crate) fn withhold(&mut self, one: &Withheld<'_>) {
        self.withheld[one.reason as usize] += 1;
        if one.reason == Reason::RuleError {
            self.rule_error(one.offer, one.stage.as_str());
        }
    }

    /// Counts a rule of the policy that could not be evaluated for an offer.
    pub(crate) fn rule_error(&mut self, offer: OfferIndex, rule: &'static str) {
        *self.rule_errors.entry((offer, rule)).or_default() += 1;
    }

    /// Counts a rule of an experiment that could not be evaluated for a customer.
    pub(crate) fn experiment_error(&mut self, experiment: usize) {
        *self.experiment_errors.entry(experiment).or_default() += 1;
    }

    /// Counts a batch that a model scored.
    pub(crate) fn scored(
        &mut self,
        model: ModelIndex,
        rows: usize,
        took: Duration,
        propensities: PropensityBatch,
    ) {
        self.scored.push(ScoredBatch { model, rows, took, propensities });
    }

    /// Counts a row that a model could not score.
    pub(crate) fn unavailable(&mut self, model: ModelIndex) {
        *self.unavailable.entry(model).or_default() += 1;
    }

    /// Counts scores that lie outside 0..=1 only by rounding.
    pub(crate) fn clamped(&mut self, model: ModelIndex, scores: usize) {
        if scores > 0 {
            *self.clamped.entry(model).or_default() += scores;
        }
    }

    /// Adds the counts of another part of the call.
    pub(crate) fn add(&mut self, other: Self) {
        self.decisions += other.decisions;
        self.offers += other.offers;
        self.defaulted += other.defaulted;
        for (count, more) in self.withheld.iter_mut().zip(other.withheld) {
            *count += more;
        }
        for (rule, count) in other.rule_errors {
            *self.rule_errors.entry(rule).or_default() += count;
        }
        for (experiment, count) in other.experiment_errors {
            *self.experiment_errors.entry(experiment).or_default() += count;
        }
        self.scored.extend(other.scored);
        for (model, rows) in other.unavailable {
            *self.unavailable.entry(model).or_default() += rows;
        }
        for (model, scores) in other.clamped {
            self.clamped(model, scores);
        }
    }

    /// Records the counts and the results in the metrics.
    pub(crate) fn record(&self, plan: &Plan, results: &[RankResult], metrics: &Metrics) {
        record_offers(plan, results);
        let release = &plan.snapshot.release;
        metrics.decisions(&plan.placement().id).inc_by(self.decisions);
        metrics.decisions.offers_returned.inc_by(self.offers);
        metrics.decisions.features_defaulted.inc_by(self.defaulted);
        for (reason, count) in Reason::ALL.iter().zip(self.withheld).filter(|(_, count)| *count > 0) {
            metrics.withheld(reason.as_str()).inc_by(count);
        }
        for ((offer, gate), count) in &self.rule_errors {
            let id: &Arc<str> = &release.catalog().library.get(*offer).id;
            metrics.rule_errors(id, gate).inc_by(*count);
        }
        record_arms(&self.experiment_errors, release, results, metrics);
        for ScoredBatch { model, rows, took, propensities } in &self.scored {
            let model = release.model(*model);
            let metrics = metrics.model(model.name(), model.version());
            metrics.scored(*rows, *took);
            metrics.propensities(propensities);
        }
        for (model, rows) in &self.unavailable {
            let model = release.model(*model);
            metrics.model(model.name(), model.version()).unavailable(*rows);
        }
        for (model, scores) in &self.clamped {
            let model = release.model(*model);
            metrics.model(model.name(), model.version()).clamped(*scores);
        }
    }
}

/// Counts the offers shown and the customers decided for. Costs a few atomic additions, however many offers are
/// withheld.
fn record_offers(plan: &Plan, results: &[RankResult]) {
    let counts = plan.snapshot.release.offer_counts(plan.placement);
    let decided = || results.iter().filter(|result| result.error.is_none());
    let customers = decided().count() as u64;
    // A request only removes candidates, so equal numbers mean equal sets.
    if plan.candidates().len() == plan.placement().candidates.len() {
        counts.decided(customers);
    } else {
        plan.candidates().iter().for_each(|candidate| counts.decided_among(candidate.offer.get(), customers));
    }
    for shown in decided().flat_map(|result| &result.offers) {
        counts.shown(shown.offer.get(), shown.fallback);
    }
}

/// Counts the decisions of each arm, and of the holdout.
fn record_arms(errors: &BTreeMap<usize, u64>, release: &Release, results: &[RankResult], metrics: &Metrics) {
    let held_out = results.iter().filter(|result| result.held_out).count();
    metrics.decisions.held_out.inc_by(held_out as u64);
    let mut arms: BTreeMap<(usize, usize), u64> = BTreeMap::new();
    for assignment in results.iter().flat_map(|result| &result.assignments) {
        *arms.entry((assignment.experiment, assignment.variant)).or_default() += 1;
    }
    let experiments = &release.experiments().all;
    for ((experiment, variant), count) in arms {
        let Some(experiment) = experiments.get(experiment) else { continue };
        let Some(variant) = experiment.variants.get(variant) else { continue };
        metrics.arm(&experiment.id, &variant.id).inc_by(count);
    }
    for (experiment, count) in errors {
        let Some(experiment) = experiments.get(*experiment) else { continue };
        metrics.experiment_errors(&experiment.id).inc_by(*count);
    }
}
