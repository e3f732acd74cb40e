//! What was found of the guardrails of experiments, as long as it is new enough.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::app::reports::Defined;
use analysis::report::ExperimentReport;
use experiment::Metric;
use release::{GuardrailEvidence, Guardrails, Judgement, Publisher};

/// After so many times without a new evaluation, a judgement is too old.
const MISSED: u32 = 3;

/// What was found, by experiment.
pub(in crate::app) struct Judgements {
    /// Where the serving release is: a judgement is of what that defines.
    publisher: Publisher,
    kept: Mutex<Kept>,
}

struct Kept {
    by_experiment: BTreeMap<String, Judged>,
    /// The time between two evaluations.
    every: Duration,
}

/// What a judgement depends on besides what was recorded.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Basis {
    phase: u64,
    alpha: f64,
    planned: u64,
    guardrails: Vec<(Metric, f64)>,
}

#[derive(Debug, Clone)]
struct Judged {
    basis: Basis,
    judgement: Judgement,
    /// When what was recorded began to be read.
    at: Instant,
}

impl Basis {
    /// That of an experiment, unless it is judged by nothing.
    pub(super) fn of(defined: &Defined) -> Option<Self> {
        let measured = defined.measured.as_ref()?;
        let guardrail = |guardrail: &experiment::Guardrail| {
            // Where the file has it does not matter.
            let metric = Metric { line: 0, ..defined.metrics.get(guardrail.metric)?.clone() };
            Some((metric, guardrail.tolerate))
        };
        Some(Self {
            phase: defined.phase,
            alpha: measured.alpha,
            planned: measured.planned,
            guardrails: measured.guardrails.iter().filter_map(guardrail).collect(),
        })
    }
}

impl fmt::Debug for Judgements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Judgements").field(&self.lock().by_experiment).finish()
    }
}

impl Judgements {
    /// None yet. `every` is the time between two evaluations.
    pub(in crate::app) fn new(publisher: Publisher, every: Duration) -> Self {
        Self { publisher, kept: Mutex::new(Kept { by_experiment: BTreeMap::new(), every }) }
    }

    /// Keeps what follows from the report of an experiment, for which reading began at `at`.
    pub(super) fn keep(&self, id: &str, basis: Basis, report: &ExperimentReport, at: Instant) {
        let judged = Judged { basis, judgement: judgement(report), at };
        self.lock().by_experiment.insert(id.to_owned(), judged);
    }

    /// Forgets other experiments.
    pub(super) fn retain(&self, is_there: impl Fn(&str) -> bool) {
        self.lock().by_experiment.retain(|id, _| is_there(id));
    }

    /// The time between two evaluations is this from now on.
    pub(super) fn come_every(&self, every: Duration) {
        self.lock().every = every;
    }

    /// What is known at a time of an experiment with this basis.
    fn known(&self, id: &str, basis: &Basis, now: Instant) -> Judgement {
        let kept = self.lock();
        let Some(judged) = kept.by_experiment.get(id).filter(|judged| judged.basis == *basis) else {
            return Judgement::Unmeasured;
        };
        let age = now.saturating_duration_since(judged.at);
        if age > kept.every.saturating_mul(MISSED) {
            let ago = rounded(age);
            return Judgement::Hold {
                why: format!("its guardrails were evaluated {ago} ago, which is too long"),
            };
        }
        judged.judgement.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guardrails for Judgements {
    fn judge(&self, experiment: &str) -> Judgement {
        let Some(snapshot) = self.publisher.serving() else { return Judgement::Unmeasured };
        let defined = Defined::find(snapshot.release.catalog(), experiment);
        match defined.and_then(|defined| Basis::of(&defined)) {
            Some(basis) => self.known(experiment, &basis, Instant::now()),
            None => Judgement::Unmeasured,
        }
    }
}

/// What the guardrails of a report allow, as ramps have it: a difference that is positive is good.
fn judgement(report: &ExperimentReport) -> Judgement {
    match analysis::judge(report) {
        analysis::Judgement::Advance => Judgement::Advance,
        analysis::Judgement::Hold { why } => Judgement::Hold { why },
        analysis::Judgement::RollBack { evidence } => {
            let analysis::Evidence { metric, variant, mut delta, mut low, mut high, tolerate, customers } =
                evidence;
            let found = report.metrics.iter().find(|result| result.metric == metric);
            if found.is_some_and(|result| !result.higher_is_better) {
                (delta, low, high) = (-delta, -high, -low);
            }
            let evidence = GuardrailEvidence { metric, variant, delta, low, high, tolerate, customers };
            Judgement::RollBack { evidence }
        }
    }
}

/// A time in its greatest unit: `90s` is `1m`.
fn rounded(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests;
