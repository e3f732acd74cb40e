//! The report of an experiment.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use event::EventReader;
use experiment::{Better, Metric};

use crate::collect::Collected;
use crate::compare::{Both, Level, comparison, guardrail, value_if_shown};
use crate::counted::Counted;
use crate::days::Days;
use crate::ledger::{Ledger, NO_SEGMENT};
use crate::plan::Plan;
use crate::report::{ArmCount, Breakdown, Comparison, ExperimentReport, MetricResult, Role};
use crate::rows::{Rows, time};
use crate::verdict::verdict;
use crate::words::{self, kind, segment_name};
use crate::{AnalysisError, Limits, Subject};

/// The split is wrong if the least p of the sequential test is below.
pub const MISMATCH: f64 = 0.01;

/// The split is wrong if p of χ² is below.
pub const MISMATCH_AT_ONCE: f64 = 0.001;

/// A metric and what it is for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Judged<'m> {
    pub metric: &'m Metric,
    pub role: Role,
    /// The loss that is tolerated, of a guardrail.
    pub tolerate: f64,
}

/// What a phase of an experiment has come to, from everything that was recorded. `now` is only used to say how old that
/// is.
///
/// # Errors
/// When events cannot be read, there are more than `limits` allow, or the subject means a metric that there is not.
pub fn experiment(
    reader: &EventReader,
    subject: &Subject<'_>,
    now: DateTime<Utc>,
    limits: &Limits,
) -> Result<ExperimentReport, AnalysisError> {
    experiment_of(&reader.pinned()?, subject, now, limits)
}

/// As [`experiment()`], of any rows.
///
/// # Errors
/// As [`experiment()`].
pub fn experiment_of(
    rows: &dyn Rows,
    subject: &Subject<'_>,
    now: DateTime<Utc>,
    limits: &Limits,
) -> Result<ExperimentReport, AnalysisError> {
    let judged = judged(subject)?;
    let (alpha, comparisons) = (subject.measured.alpha, comparisons(subject, &judged));
    let level = Level { alpha: alpha_each(subject, &judged), planned: subject.measured.planned };
    let whole = Plan::new(judged.iter().map(|judged| judged.metric));
    let parts = Plan::new([judged[0].metric]);
    let collected = Collected::read(rows, subject, Ledger::new(whole, parts, limits))?;
    let days = Days::read(rows, collected, judged[0].metric, level, limits)?;
    let is_mismatch = days.mismatch.as_ref().is_some_and(|mismatch| mismatch.is_mismatch);
    // Where customers are missing from an arm, nobody knows which: no difference means anything.
    let (mut metrics, mut by_placement, mut by_segment) = (Vec::new(), Vec::new(), Vec::new());
    if !is_mismatch {
        metrics = judged.iter().enumerate().map(|(at, judged)| result(&days, at, *judged, level)).collect();
        by_placement = placements(&days, level);
        by_segment = segments(&days, level);
    }
    let verdict = verdict(&days, &metrics, alpha, level);
    let collected = &days.collected;
    let [from, to] = [0, 1].map(|end| {
        collected.span.map_or_else(String::new, |span| time(if end == 0 { span.from } else { span.to }))
    });
    Ok(ExperimentReport {
        experiment: subject.id.to_owned(),
        phase: format!("{:016x}", subject.phase),
        state: subject.state.to_owned(),
        coverage: subject.coverage,
        other_phases: collected.other_phases(),
        from,
        to,
        sources: collected.newest.sources(now),
        alpha,
        alpha_each: level.alpha,
        comparisons,
        planned: level.planned,
        arms: arms(&days),
        warnings: words::warnings(&days, &judged, now),
        method: words::method(subject, &judged, comparisons, level),
        exposure: days.exposure,
        mismatch: days.mismatch,
        left_out: days.left_out,
        metrics,
        by_placement,
        by_segment,
        verdict,
        steps: subject.steps.clone(),
    })
}

/// Over how many comparisons `alpha` is divided.
fn comparisons(subject: &Subject<'_>, judged: &[Judged<'_>]) -> usize {
    let guardrails = judged.iter().filter(|judged| judged.role == Role::Guardrail).count();
    subject.variants.len().saturating_sub(1) * (1 + guardrails)
}

/// `alpha` of one comparison, by Bonferroni.
pub(crate) fn alpha_each(subject: &Subject<'_>, judged: &[Judged<'_>]) -> f64 {
    subject.measured.alpha / comparisons(subject, judged).max(1) as f64
}

/// The primary metric, guardrails, then the others.
pub(crate) fn judged<'m>(subject: &Subject<'m>) -> Result<Vec<Judged<'m>>, AnalysisError> {
    let measured = &subject.measured;
    let primary = [(measured.primary, Role::Primary, 0.0)];
    let guardrails = measured.guardrails.iter().map(|of| (of.metric, Role::Guardrail, of.tolerate));
    let secondary = measured.secondary.iter().map(|metric| (*metric, Role::Secondary, 0.0));
    let metrics = subject.metrics;
    let of = |(index, role, tolerate): (usize, Role, f64)| match metrics.get(index) {
        Some(metric) => Ok(Judged { metric, role, tolerate }),
        None => Err(AnalysisError::NoMetric { index, metrics: metrics.len() }),
    };
    primary.into_iter().chain(guardrails).chain(secondary).map(of).collect()
}

fn arms(days: &Days<'_>) -> Vec<ArmCount> {
    let variants = &days.collected.subject.variants;
    let all: f64 = variants.iter().map(|(_, weight)| weight).sum();
    let arm = |((variant, weight), arm): (&(String, f64), &crate::days::Arm)| ArmCount {
        variant: variant.clone(),
        weight: if all > 0.0 { weight / all } else { 0.0 },
        customers: arm.customers,
        decisions: arm.decisions,
        outcomes: arm.outcomes,
    };
    variants.iter().zip(&days.arms).map(arm).collect()
}

fn result(days: &Days<'_>, at: usize, judged: Judged<'_>, level: Level) -> MetricResult {
    let Judged { metric, role, tolerate } = judged;
    let measure = days.collected.ledger.whole.measure(at);
    let (variants, counted) = (&days.collected.subject.variants, &days.counted[at]);
    let higher_is_better = metric.better == Better::Higher;
    let compare = |challenger: usize| {
        let arms = [&counted[0], &counted[challenger]];
        let names = [variants[0].0.as_str(), variants[challenger].0.as_str()];
        let points = &days.sequences[at][challenger - 1];
        let mut found = comparison(&Both { arms, names, measure }, level, points);
        if role == Role::Guardrail {
            found.guardrail = Some(guardrail(found.effect.as_ref(), higher_is_better, tolerate));
        }
        found
    };
    let value =
        |(arm, (variant, _)): (&Counted, &(String, f64))| value_if_shown(variant, arm, measure, level.alpha);
    MetricResult {
        metric: metric.id.clone(),
        says: metric.says.clone(),
        role,
        kind: kind(metric),
        higher_is_better,
        arms: counted.iter().zip(variants).map(value).collect(),
        comparisons: (1..variants.len()).map(compare).collect(),
    }
}

/// The primary metric by placement: of customers in what they did there.
fn placements(days: &Days<'_>, level: Level) -> Vec<Breakdown> {
    let ledger = &days.collected.ledger;
    let mut parts: BTreeMap<&str, Vec<Counted>> = BTreeMap::new();
    let names = days.collected.placements.all();
    for (number, pair) in ledger.pairs.iter().enumerate() {
        let arms = parts.entry(&names[pair.part as usize]).or_insert_with(|| none(days));
        let arm = usize::from(ledger.customers[pair.customer as usize].arm);
        arms[arm].add(ledger.parts.unit(0, ledger.pair_values(number)));
    }
    parts.into_iter().map(|(part, arms)| breakdown(days, part.to_owned(), &arms, level)).collect()
}

/// The primary metric by the segment that customers were in when they came.
fn segments(days: &Days<'_>, level: Level) -> Vec<Breakdown> {
    let ledger = &days.collected.ledger;
    let mut parts: BTreeMap<i64, Vec<Counted>> = BTreeMap::new();
    for (number, customer) in ledger.customers.iter().enumerate() {
        let arms = parts.entry(customer.segment).or_insert_with(|| none(days));
        arms[usize::from(customer.arm)].add(ledger.whole.unit(0, ledger.values(number)));
    }
    // Without segmentation, there is nothing to tell apart.
    if parts.keys().all(|segment| *segment == NO_SEGMENT) {
        return Vec::new();
    }
    let names = days.collected.subject.segments;
    let part =
        |(segment, arms): (i64, Vec<Counted>)| breakdown(days, segment_name(segment, names), &arms, level);
    parts.into_iter().map(part).collect()
}

fn none(days: &Days<'_>) -> Vec<Counted> {
    vec![Counted::default(); days.collected.subject.variants.len()]
}

fn breakdown(days: &Days<'_>, part: String, counted: &[Counted], level: Level) -> Breakdown {
    let variants = &days.collected.subject.variants;
    let measure = days.collected.ledger.parts.measure(0);
    let compare = |challenger: usize| -> Comparison {
        let arms = [&counted[0], &counted[challenger]];
        let names = [variants[0].0.as_str(), variants[challenger].0.as_str()];
        comparison(&Both { arms, names, measure }, level, &[])
    };
    let value =
        |(arm, (variant, _)): (&Counted, &(String, f64))| value_if_shown(variant, arm, measure, level.alpha);
    Breakdown {
        part,
        arms: counted.iter().zip(variants).map(value).collect(),
        comparisons: (1..variants.len()).map(compare).collect(),
    }
}
