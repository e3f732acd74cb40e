//! Ten offers that 17,000 customers of a public data set received, as an experiment of ten arms.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use analysis::report::{ExperimentReport, VerdictWord};
use analysis::rows::{Rows, VisitDecision, VisitOutcome};
use analysis::{AnalysisError, Limits, Subject, experiment_of};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use event::rows::{Arm, DecisionRow, OutcomeRow};
use experiment::{Guardrail, Measured, built_in};
use serde::Deserialize;

use crate::harness::data;
use crate::pipeline::recent_python;

const PHASE: u64 = 1;

const HOUR: i64 = 3_600_000_000;

/// What the script found.
#[derive(Debug, Deserialize)]
struct Found {
    /// The offer, when it was received, and when completed, in hours.
    units: Vec<(String, i64, Option<i64>)>,
    counts: BTreeMap<String, u64>,
    completed: BTreeMap<String, u64>,
    chi_squared: f64,
    p: f64,
}

/// The units as decisions, and completions as outcomes. Each unit is a customer.
struct Receipts {
    units: Vec<(String, i64, Option<i64>)>,
    start: DateTime<Utc>,
}

impl Receipts {
    fn at(&self, hour: i64) -> i64 {
        self.start.timestamp_micros() + hour * HOUR
    }

    fn day(&self, hour: i64) -> NaiveDate {
        (self.start + TimeDelta::hours(hour)).date_naive()
    }

    fn days(&self, hours: impl Iterator<Item = i64>, from: Option<NaiveDate>) -> Vec<NaiveDate> {
        let days: BTreeSet<NaiveDate> = hours.map(|hour| self.day(hour)).collect();
        days.into_iter().filter(|day| from.is_none_or(|from| *day >= from)).collect()
    }
}

impl Rows for Receipts {
    fn decision_days(&self, from: Option<NaiveDate>) -> Result<Vec<NaiveDate>, AnalysisError> {
        Ok(self.days(self.units.iter().map(|unit| unit.1), from))
    }

    fn outcome_days(&self, from: Option<NaiveDate>) -> Result<Vec<NaiveDate>, AnalysisError> {
        Ok(self.days(self.units.iter().filter_map(|unit| unit.2), from))
    }

    fn decisions(&self, day: NaiveDate, visit: &mut VisitDecision<'_>) -> Result<(), AnalysisError> {
        for (number, (offer, hour, _)) in self.units.iter().enumerate() {
            if self.day(*hour) != day {
                continue;
            }
            let id = format!("{number:08x}");
            let arms = [Arm { experiment: "ten", variant: offer, phase: PHASE, how: 1 }];
            visit(&DecisionRow {
                decided_at: self.at(*hour),
                decision_id: &id,
                server: "one",
                release: 1,
                placement: "app",
                channel: "app",
                customer_id: &id,
                pseudonym_key: "",
                segment: None,
                offers: &[offer.as_str()],
                has_fallback: false,
                failed: false,
                held_out: false,
                call_us: 100,
                call_customers: 1,
                arms: &arms,
            })?;
        }
        Ok(())
    }

    fn outcomes(&self, day: NaiveDate, visit: &mut VisitOutcome<'_>) -> Result<(), AnalysisError> {
        for (number, (offer, received, completed)) in self.units.iter().enumerate() {
            let Some(completed) = completed.filter(|hour| self.day(*hour) == day) else { continue };
            let (id, event) = (format!("{number:08x}"), format!("e{number}"));
            visit(&OutcomeRow {
                received_at: self.at(completed),
                occurred_at: self.at(completed),
                decided_at: self.at(*received),
                event_id: &event,
                kind: "accept",
                decision_id: &id,
                customer_id: &id,
                offer_id: offer,
                placement: "app",
                server: "one",
                value: 0.0,
                cost: 0.0,
                offer_value: 0.0,
                attributed: true,
                late: false,
            })?;
        }
        Ok(())
    }
}

fn reported(offers: &[String], receipts: &Receipts) -> ExperimentReport {
    let metrics = built_in();
    let primary = metrics.iter().position(|metric| metric.id == "acceptance").unwrap();
    let measured = Measured {
        primary,
        guardrails: Vec::<Guardrail>::new(),
        secondary: Vec::new(),
        alpha: 0.05,
        planned: 76_000,
        covariate: std::time::Duration::ZERO,
    };
    let segments = BTreeMap::new();
    let subject = Subject {
        id: "ten",
        phase: PHASE,
        state: "running",
        coverage: 1.0,
        variants: offers.iter().map(|offer| (offer.clone(), 1.0)).collect(),
        measured,
        metrics: &metrics,
        placements: &[],
        steps: Vec::new(),
        segments: &segments,
        since: None,
    };
    let now = receipts.start + TimeDelta::days(40);
    experiment_of(receipts, &subject, now, &Limits::default()).unwrap()
}

#[test]
fn ten_arms_are_counted_as_a_script_counts_them_and_a_wrong_assignment_is_no_result() {
    let (Some(source), Some(python)) = (data("starbucks_offers"), recent_python()) else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/starbucks_arms.py");
    let done = Command::new(python).arg("-B").arg(script).arg(&source).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let found: Found = serde_json::from_slice(&done.stdout).unwrap();
    let known = (found.chi_squared - 1.42849).abs() < 1e-4 && (found.p - 0.99764).abs() < 1e-4;
    assert!(known, "{} {}", found.chi_squared, found.p);
    let offers: Vec<String> = found.counts.keys().cloned().collect();
    let start = DateTime::from_timestamp_micros(1_793_491_200_000_000).unwrap();
    let receipts = Receipts { units: found.units, start };

    let report = reported(&offers, &receipts);
    let mismatch = report.mismatch.as_ref().unwrap();
    assert!((mismatch.chi_squared - found.chi_squared).abs() < 1e-6 * found.chi_squared, "{mismatch:?}");
    assert!((mismatch.p - found.p).abs() < 1e-6 && !mismatch.is_mismatch, "{mismatch:?}");
    assert_eq!(mismatch.degrees, 9);
    for (count, value) in report.arms.iter().zip(&report.metrics[0].arms) {
        let (received, completed) = (found.counts[&count.variant], found.completed[&count.variant]);
        assert_eq!((count.customers, value.n), (received, received));
        assert!((value.numerator - completed as f64).abs() < 1e-9, "{value:?} {completed}");
        // Two offers only inform: nobody can complete them, so nothing is shown of them.
        let rate = (completed > 0).then(|| completed as f64 / received as f64);
        let is_equal = match (value.value, rate) {
            (Some(found), Some(rate)) => (found - rate).abs() < 1e-12,
            (found, rate) => found.is_none() && rate.is_none(),
        };
        assert!(is_equal, "{value:?} {rate:?}");
    }
    let hidden = report.metrics[0].comparisons.iter().filter(|comparison| !comparison.hidden.is_empty());
    let idle = found.completed.values().filter(|completed| **completed == 0).count();
    assert_eq!(idle, 2);
    assert!(hidden.count() >= idle);
    assert_eq!(report.comparisons, 9);

    // A bug in assignment: one in twenty of an arm goes to the next.
    let mut wrong = receipts;
    let mut moved = 0;
    for unit in &mut wrong.units {
        if unit.0 == offers[3] {
            moved += 1;
            if moved % 20 == 0 {
                unit.0.clone_from(&offers[4]);
            }
        }
    }
    let report = reported(&offers, &wrong);
    assert!(report.mismatch.as_ref().unwrap().is_mismatch, "{:?}", report.mismatch);
    assert_eq!(report.verdict.word, VerdictWord::Mismatch);
    assert!(report.metrics.is_empty() && report.by_placement.is_empty() && report.by_segment.is_empty());
}
