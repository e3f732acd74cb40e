//! Evaluates the guardrails of experiments that run, so that ramps may ask what was found.
//!
//! One thread of idle priority makes the report of each experiment that has guardrails, and keeps what follows
//! ([`Judgements`]). Each server does that for itself: it knows its own log, which no other server reads, and no lease
//! is held while it reads. What a server has found decides only in its own turn at the schedules. A judgement grows
//! old: a server that cannot evaluate any more holds the schedule.

mod judgements;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use chrono::{DateTime, TimeDelta, Utc};

use self::judgements::Basis;
pub(super) use self::judgements::Judgements;
use super::AppError;
use super::repeating::Repeating;
use super::reports::{Defined, ReportError, Reports, segments_of};
use analysis::report::ExperimentReport;
use release::Publisher;
use telemetry::Metrics;
use work::catch_panic;
use work::priority::set_idle_priority;

/// Of the time, at most one part in so many goes into evaluations. Where they take longer, they are made less often.
const SHARE: u32 = 10;

/// Decisions so long before the first one that was found of a phase are looked at, too: another server may seal them
/// late. A server that has just started looks at all.
const LATE: TimeDelta = TimeDelta::days(7);

/// What evaluates.
pub(super) struct EvaluatorParts {
    /// Where the serving release is, whose experiments are evaluated.
    pub publisher: Publisher,
    /// Makes the reports.
    pub reports: Reports,
    /// Keeps what follows.
    pub judgements: Arc<Judgements>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// The time between two evaluations, more than zero.
    pub every: Duration,
}

/// Evaluates now, and then regularly until what this returns is dropped.
///
/// # Errors
/// When the operating system refuses a thread.
pub(super) fn start(parts: EvaluatorParts) -> Result<Repeating, AppError> {
    let every = parts.every;
    let evaluator = Evaluator { parts, begun: BTreeMap::new(), due: None, trouble: String::new() };
    let evaluator = Arc::new(Mutex::new(evaluator));
    let evaluate = move || {
        evaluator.lock().unwrap_or_else(PoisonError::into_inner).evaluate_if_due();
    };
    let first = evaluate.clone();
    let begin = move || {
        set_idle_priority();
        if let Err(panicked) = catch_panic(first) {
            tracing::error!(%panicked, "the first evaluation of experiments panicked; it is repeated");
        }
    };
    Repeating::start("evaluate", every, begin, evaluate)
}

struct Evaluator {
    parts: EvaluatorParts,
    /// The phase of each experiment, and its first decision.
    begun: BTreeMap<String, (u64, DateTime<Utc>)>,
    /// When the next evaluation is due; `None`: now.
    due: Option<Instant>,
    /// What went wrong last time; told once.
    trouble: String,
}

impl Evaluator {
    fn evaluate_if_due(&mut self) {
        let began = Instant::now();
        if self.due.is_some_and(|due| began < due) {
            return;
        }
        let done = self.evaluate();
        let took = began.elapsed();
        let pause = pause(self.parts.every, took);
        self.due = Some(Instant::now() + pause);
        self.parts.judgements.come_every(pause);
        let experiments = &self.parts.metrics.experiments;
        experiments.evaluation.set(took.as_secs_f64());
        let trouble = match done {
            Ok(()) => {
                let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                experiments.evaluated.set(since.as_secs_f64());
                String::new()
            }
            Err(trouble) => trouble,
        };
        if !trouble.is_empty() && trouble != self.trouble {
            tracing::warn!(
                error = trouble,
                "guardrails could not be evaluated, and hold schedules until they are; it is tried again"
            );
        }
        self.trouble = trouble;
    }

    /// Evaluates each experiment of the serving release that runs and has guardrails. One that fails does not keep the
    /// others from theirs; it keeps what was found before.
    fn evaluate(&mut self) -> Result<(), String> {
        let (running, segments) = {
            // Not kept for as long as reading takes: a release that is retired meanwhile is to be freed.
            let Some(snapshot) = self.parts.publisher.serving() else { return Ok(()) };
            (Defined::guarded(snapshot.release.catalog()), segments_of(&snapshot.release))
        };
        let is_there = |id: &str| running.iter().any(|defined| defined.id == id);
        self.parts.judgements.retain(is_there);
        self.begun.retain(|id, _| is_there(id));
        let mut failed = Vec::new();
        for defined in &running {
            let (asked, now) = (Instant::now(), Utc::now());
            match self.parts.reports.of_running(defined, &segments, self.since(defined), now) {
                Ok(report) => self.keep(defined, &report, asked),
                Err(error) => failed.push(told(&defined.id, &error)),
            }
        }
        if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
    }

    /// Since when decisions are looked at.
    fn since(&self, defined: &Defined) -> Option<DateTime<Utc>> {
        let (phase, first) = self.begun.get(&defined.id)?;
        if *phase == defined.phase { first.checked_sub_signed(LATE) } else { None }
    }

    fn keep(&mut self, defined: &Defined, report: &ExperimentReport, asked: Instant) {
        match DateTime::parse_from_rfc3339(&report.from) {
            Ok(first) => _ = self.begun.insert(defined.id.clone(), (defined.phase, first.to_utc())),
            // There is no decision yet.
            Err(_) => _ = self.begun.remove(&defined.id),
        }
        let Some(basis) = Basis::of(defined) else { return };
        self.parts.judgements.keep(&defined.id, basis, report, asked);
    }
}

fn told(id: &str, error: &ReportError) -> String {
    format!("experiment `{id}`: {error}")
}

/// How long to wait after an evaluation that took so long.
fn pause(every: Duration, took: Duration) -> Duration {
    every.max(took.saturating_mul(SHARE - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evaluations_that_take_long_are_made_less_often() {
        let [minutes, second, hour] =
            [Duration::from_mins(5), Duration::from_secs(1), Duration::from_hours(1)];
        assert_eq!(pause(minutes, second), minutes);
        assert_eq!(pause(minutes, Duration::ZERO), minutes);
        assert_eq!(pause(minutes, hour), 9 * hour);
    }
}
