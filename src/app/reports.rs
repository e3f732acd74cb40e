//! Reports on experiments and offers: what was recorded, by the definitions of the store.
//!
//! Crate `analysis` computes them. Here it gets what it needs: the experiment or the metrics of a release
//! (`reports/definitions.rs`), what was done to the experiment, and a reader of what is recorded.

mod definitions;
mod error;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use chrono::{DateTime, Utc};

use self::definitions::Definitions;
pub(super) use self::definitions::{Defined, segments_of};
pub use self::error::ReportError;
pub use crate::grpc::MetricsAsk;
use analysis::render::Planned;
use analysis::report::{ExperimentReport, MetricsReport, StepLine};
use analysis::{Limits, Question, Subject, Wish};
use document::suggestion;
use event::EventReader;
use experiment::{Metric, built_in};
use offer::Catalog;
use release::{Ramps, RegistryError, StepRecord, Store};

/// How many releases are searched for an earlier phase, the one that was promoted last first.
const RELEASES_SEARCHED: usize = 100;

/// How many promotions are looked at for that.
const PROMOTIONS_SEARCHED: usize = 512;

/// What a report of a server is made of at most, since it has other work: up to about a gigabyte.
pub(super) const BESIDE_DECISIONS: Limits =
    Limits { customers: 2_000_000, decisions: 4_000_000, outcomes: 4_000_000, pairs: 4_000_000 };

/// Makes reports; clones share what they read from.
#[derive(Clone)]
pub struct Reports {
    store: Store,
    ramps: Ramps,
    reader: EventReader,
    limits: Limits,
}

impl fmt::Debug for Reports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reports").field(&self.store.location()).finish()
    }
}

impl Reports {
    /// Reports by the definitions of `store`, on what `reader` reads. `ramps` know what was done to experiments.
    #[must_use]
    pub fn new(store: Store, ramps: Ramps, reader: EventReader) -> Self {
        Self { store, ramps, reader, limits: Limits::default() }
    }

    /// The same, made of at most so much.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// What a phase of an experiment has come to; without one, the phase of the current release. What it is judged by is
    /// what the current release says; of an experiment that it does not judge, what that release said which had the
    /// phase.
    ///
    /// # Errors
    /// When there is no such experiment or phase, it is judged by nothing, or something cannot be read.
    pub fn experiment(
        &self,
        id: &str,
        phase: Option<u64>,
        now: DateTime<Utc>,
    ) -> Result<ExperimentReport, ReportError> {
        let current = self.current()?;
        let present = Defined::find(&current.catalog, id);
        let is_present = phase.is_none_or(|phase| present.as_ref().is_some_and(|found| found.phase == phase));
        let asked = match (phase, present) {
            (_, Some(present)) if is_present => present,
            (Some(phase), present) => self.earlier(id, phase)?.judged_as(present),
            (None, _) => return Err(unknown_experiment(id, &current.catalog)),
        };
        let (steps, segments) = (self.steps(id)?, current.segments(&self.store));
        self.report(&asked, steps, &segments, None, now)
    }

    /// What an experiment that runs has come to, in its present phase. Decisions before `since` are not looked at.
    pub(super) fn of_running(
        &self,
        defined: &Defined,
        segments: &BTreeMap<i64, String>,
        since: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Result<ExperimentReport, ReportError> {
        self.report(defined, Vec::new(), segments, since, now)
    }

    fn report(
        &self,
        defined: &Defined,
        steps: Vec<StepLine>,
        segments: &BTreeMap<i64, String>,
        since: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Result<ExperimentReport, ReportError> {
        let subject = subject(defined, steps, segments, since)?;
        Ok(analysis::experiment(&self.reader, &subject, now, &self.limits)?)
    }

    /// How many customers an experiment of the current release needs, from what was recorded at its placements.
    ///
    /// # Errors
    /// When there is no such experiment, it is judged by nothing, nothing is recorded, or something cannot be read.
    pub fn plan(&self, id: &str, wish: &Wish) -> Result<Planned, ReportError> {
        let current = self.current()?;
        let defined = Defined::find(&current.catalog, id);
        let defined = defined.ok_or_else(|| unknown_experiment(id, &current.catalog))?;
        let segments = BTreeMap::new();
        let subject = subject(&defined, Vec::new(), &segments, None)?;
        Ok(analysis::plan(&self.reader, &subject, wish, &self.limits)?)
    }

    /// Metrics of what was decided, by offer, segment or day.
    ///
    /// # Errors
    /// When there is no such metric, or something cannot be read.
    pub fn metrics(&self, ask: &MetricsAsk, now: DateTime<Utc>) -> Result<MetricsReport, ReportError> {
        let current = self.current()?;
        let built_in = built_in();
        let metrics: Vec<&Metric> = if ask.metrics.is_empty() {
            built_in.iter().collect()
        } else {
            chosen(&current.catalog.experiments.metrics, &ask.metrics)?
        };
        let segments = current.segments(&self.store);
        let question = Question {
            placement: &ask.placement,
            by: ask.by,
            from: ask.from,
            to: ask.to,
            metrics: &metrics,
            segments: &segments,
        };
        Ok(analysis::business(&self.reader, &question, now, &self.limits)?)
    }

    fn current(&self) -> Result<Definitions, ReportError> {
        Definitions::of_store(&self.store, self.store.current()?.current.release)
    }

    /// An experiment as the last release that was promoted defines it in which it had a phase.
    fn earlier(&self, id: &str, phase: u64) -> Result<Defined, ReportError> {
        let mut seen = BTreeSet::new();
        for promotion in self.store.promotions_before(u64::MAX, PROMOTIONS_SEARCHED)?.iter().rev() {
            if seen.len() == RELEASES_SEARCHED {
                break;
            }
            if !seen.insert(promotion.release) {
                continue;
            }
            let found = match Definitions::of_store(&self.store, promotion.release) {
                // It was deleted, was damaged, or is refused by this version. Another may have the phase, too.
                Err(
                    ReportError::Definitions(_)
                    | ReportError::Store(RegistryError::Damaged(_) | RegistryError::NotFound(_)),
                ) => continue,
                found => found?,
            };
            if let Some(found) = Defined::find(&found.catalog, id).filter(|found| found.phase == phase) {
                return Ok(found);
            }
        }
        Err(ReportError::NotFound(format!(
            "none of the last {} releases that were promoted has phase {phase:016x} of experiment `{id}`",
            seen.len()
        )))
    }

    /// What was done to an experiment, the latest first. Of one that the current release lacks, it is not known.
    fn steps(&self, id: &str) -> Result<Vec<StepLine>, ReportError> {
        match self.ramps.get(id) {
            Ok(detail) => Ok(detail.steps.into_iter().map(line).collect()),
            Err(RegistryError::NotFound(_)) => Ok(Vec::new()),
            Err(error) => Err(ReportError::Store(error)),
        }
    }
}

/// What a report is asked about.
fn subject<'a>(
    defined: &'a Defined,
    steps: Vec<StepLine>,
    segments: &'a BTreeMap<i64, String>,
    since: Option<DateTime<Utc>>,
) -> Result<Subject<'a>, ReportError> {
    let Defined { id, state, coverage, phase, variants, placements, measured, metrics } = defined;
    Ok(Subject {
        id,
        phase: *phase,
        state: state.name(),
        coverage: *coverage,
        variants: variants.clone(),
        measured: measured.clone().ok_or_else(|| ReportError::NoMetric { experiment: id.clone() })?,
        metrics,
        placements,
        steps,
        segments,
        since,
    })
}

fn line(step: StepRecord) -> StepLine {
    let StepRecord { action, coverage, release, author, reason, time, .. } = step;
    StepLine { time, action: action.word().to_owned(), coverage, release, author, reason }
}

fn unknown_experiment(id: &str, catalog: &Catalog) -> ReportError {
    let hint = suggestion(id, catalog.experiments.all.iter().map(|experiment| experiment.id.as_str()));
    ReportError::NotFound(format!("the current release has no experiment `{id}`{hint}"))
}

/// The metrics with these ids, each once, in this order.
fn chosen<'m>(metrics: &'m [Metric], ids: &[String]) -> Result<Vec<&'m Metric>, ReportError> {
    let mut found: Vec<&Metric> = Vec::with_capacity(ids.len());
    for id in ids {
        let metric = metrics.iter().find(|metric| metric.id == *id).ok_or_else(|| {
            let hint = suggestion(id, metrics.iter().map(|metric| metric.id.as_str()));
            ReportError::NotFound(format!("the current release has no metric `{id}`{hint}"))
        })?;
        if !found.iter().any(|one| one.id == metric.id) {
            found.push(metric);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_found_by_id_each_once_and_others_are_refused_with_what_is_meant() {
        let metrics = built_in();
        let ids = |ids: &[&str]| -> Vec<String> { ids.iter().map(|id| (*id).to_owned()).collect() };
        let found = chosen(&metrics, &ids(&["revenue_per_customer", "conversion", "revenue_per_customer"]));
        let found: Vec<&str> = found.unwrap().iter().map(|metric| metric.id.as_str()).collect();
        assert_eq!(found, ["revenue_per_customer", "conversion"]);
        let refused = chosen(&metrics, &ids(&["convresion"])).unwrap_err();
        assert!(matches!(&refused, ReportError::NotFound(told) if told.contains("conversion")), "{refused}");
    }
}
