//! Reports of rows in memory: made by hand, and at random against what their definition says.

mod alone;
mod arms;
mod guardrails;
mod naive;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};
use event::rows::{Arm, DecisionRow, OutcomeRow};
use event::sealed::date_of;
use experiment::{Guardrail, Measured, Metric, built_in};

use crate::report::{Comparison, ExperimentReport, MetricResult};
use crate::rows::{Rows, VisitDecision, VisitOutcome};
use crate::{AnalysisError, Limits, Subject, experiment_of};

const DAY: i64 = 24 * 3_600 * 1_000_000;

const PHASE: u64 = 7;

/// 2026-11-01T00:00:00Z.
const START: i64 = 1_793_491_200_000_000;

/// A decision in one experiment.
#[derive(Debug, Clone)]
struct Decided {
    at: i64,
    id: String,
    server: String,
    placement: String,
    customer: String,
    key: String,
    segment: Option<i64>,
    offers: Vec<String>,
    has_fallback: bool,
    call: [u32; 2],
    arm: Option<(String, u64, u32)>,
}

/// An outcome.
#[derive(Debug, Clone)]
struct Happened {
    at: i64,
    after: i64,
    decided_at: i64,
    event: String,
    kind: String,
    decision: String,
    customer: String,
    offer: String,
    value: f64,
    late: bool,
}

/// Rows in memory.
#[derive(Debug, Clone, Default)]
struct Memory {
    decided: Vec<Decided>,
    happened: Vec<Happened>,
}

impl Memory {
    /// A decision of a customer at the time, in an arm, drawn.
    fn decide(&mut self, id: &str, customer: &str, variant: &str, at: i64) -> &mut Decided {
        self.decided.push(Decided {
            at,
            id: id.to_owned(),
            server: "s1".to_owned(),
            placement: "home".to_owned(),
            customer: customer.to_owned(),
            key: String::new(),
            segment: None,
            offers: vec!["gold".to_owned()],
            has_fallback: false,
            call: [1_000, 1],
            arm: Some((variant.to_owned(), PHASE, crate::collect::DRAWN)),
        });
        self.decided.last_mut().unwrap()
    }

    /// An outcome of a decision, received so long after the start.
    fn happen(&mut self, event: &str, kind: &str, decision: &str, at: i64) -> &mut Happened {
        let of = self.decided.iter().find(|decided| decided.id == decision);
        self.happened.push(Happened {
            at,
            after: 0,
            decided_at: of.map_or(0, |of| of.at),
            event: event.to_owned(),
            kind: kind.to_owned(),
            decision: decision.to_owned(),
            customer: of.map_or(String::new(), |of| of.customer.clone()),
            offer: "gold".to_owned(),
            value: 0.0,
            late: false,
        });
        self.happened.last_mut().unwrap()
    }

    /// So many customers in each arm with one decision on the first day, of which so many have an outcome on the next.
    fn arms(kind: &str, arms: [(&str, u32, u32); 2]) -> Self {
        let mut memory = Self::default();
        for (variant, customers, hits) in arms {
            for customer in 0..customers {
                let id = format!("{variant}{customer}");
                memory.decide(&id, &id, variant, START + i64::from(customer));
                if customer < hits {
                    memory.happen(&format!("{id}-{kind}"), kind, &id, START + DAY + i64::from(customer));
                }
            }
        }
        memory
    }
}

fn days(times: impl Iterator<Item = i64>, from: Option<NaiveDate>) -> Vec<NaiveDate> {
    let days: BTreeSet<NaiveDate> = times.map(date_of).collect();
    days.into_iter().filter(|day| from.is_none_or(|from| *day >= from)).collect()
}

impl Rows for Memory {
    fn decision_days(&self, from: Option<NaiveDate>) -> Result<Vec<NaiveDate>, AnalysisError> {
        Ok(days(self.decided.iter().map(|decided| decided.at), from))
    }

    fn outcome_days(&self, from: Option<NaiveDate>) -> Result<Vec<NaiveDate>, AnalysisError> {
        Ok(days(self.happened.iter().map(|happened| happened.at), from))
    }

    fn decisions(&self, day: NaiveDate, visit: &mut VisitDecision<'_>) -> Result<(), AnalysisError> {
        for decided in self.decided.iter().filter(|decided| date_of(decided.at) == day) {
            let offers: Vec<&str> = decided.offers.iter().map(String::as_str).collect();
            let arms: Vec<Arm<'_>> = decided
                .arm
                .iter()
                .map(|(variant, phase, how)| Arm { experiment: "e", variant, phase: *phase, how: *how })
                .collect();
            visit(&DecisionRow {
                decided_at: decided.at,
                decision_id: &decided.id,
                server: &decided.server,
                release: 1,
                placement: &decided.placement,
                channel: "app",
                customer_id: &decided.customer,
                pseudonym_key: &decided.key,
                segment: decided.segment,
                offers: &offers,
                has_fallback: decided.has_fallback,
                failed: false,
                held_out: false,
                call_us: decided.call[0],
                call_customers: decided.call[1],
                arms: &arms,
            })?;
        }
        Ok(())
    }

    fn outcomes(&self, day: NaiveDate, visit: &mut VisitOutcome<'_>) -> Result<(), AnalysisError> {
        for happened in self.happened.iter().filter(|happened| date_of(happened.at) == day) {
            visit(&OutcomeRow {
                received_at: happened.at,
                occurred_at: happened.decided_at + happened.after,
                decided_at: happened.decided_at,
                event_id: &happened.event,
                kind: &happened.kind,
                decision_id: &happened.decision,
                customer_id: &happened.customer,
                offer_id: &happened.offer,
                placement: "home",
                server: "s2",
                value: happened.value,
                cost: 1.0,
                offer_value: 5.0,
                attributed: happened.decided_at != 0,
                late: happened.late,
            })?;
        }
        Ok(())
    }
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp_micros(START + 40 * DAY).unwrap()
}

fn index(metrics: &[Metric], id: &str) -> usize {
    metrics.iter().position(|metric| metric.id == id).unwrap()
}

/// What is asked of rows: the primary metric, guardrails with what they tolerate, others.
#[derive(Debug, Clone)]
struct Asked {
    metrics: Vec<Metric>,
    measured: Measured,
    variants: Vec<(String, f64)>,
    limits: Limits,
    segments: BTreeMap<i64, String>,
}

impl Asked {
    fn of(primary: &str) -> Self {
        let metrics = built_in();
        Self {
            measured: Measured { planned: 5_000, ..Measured::by(index(&metrics, primary)) },
            metrics,
            variants: vec![("control".to_owned(), 1.0), ("b".to_owned(), 1.0)],
            limits: Limits::default(),
            segments: BTreeMap::new(),
        }
    }

    fn with_guardrail(mut self, metric: &str, tolerate: f64) -> Self {
        let metric = index(&self.metrics, metric);
        self.measured.guardrails.push(Guardrail { metric, tolerate });
        self
    }

    fn with_all_others(mut self) -> Self {
        let primary = self.measured.primary;
        self.measured.secondary = (0..self.metrics.len()).filter(|metric| *metric != primary).collect();
        self
    }

    fn try_report(&self, rows: &dyn Rows) -> Result<ExperimentReport, AnalysisError> {
        let subject = Subject {
            id: "e",
            phase: PHASE,
            state: "running",
            coverage: 0.5,
            variants: self.variants.clone(),
            measured: self.measured.clone(),
            metrics: &self.metrics,
            placements: &[],
            steps: Vec::new(),
            segments: &self.segments,
            since: None,
        };
        experiment_of(rows, &subject, now(), &self.limits)
    }

    fn report(&self, rows: &dyn Rows) -> ExperimentReport {
        self.try_report(rows).unwrap()
    }
}

/// The comparison of the primary metric.
fn primary(report: &ExperimentReport) -> &Comparison {
    &report.metrics[0].comparisons[0]
}

#[track_caller]
fn near(found: f64, expected: f64) {
    assert!((found - expected).abs() <= 1e-9 * expected.abs().max(1.0), "{found} {expected}");
}
