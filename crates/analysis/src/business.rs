//! Metrics of decisions by offer, segment or day, without an experiment.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};
use event::EventReader;
use event::rows::{DecisionRow, OutcomeRow};
use event::sealed::date_of;
use experiment::{Better, BuiltIn, Metric, Numerator};
use statistics::Measure;

use crate::collect::Span;
use crate::compare::value;
use crate::counted::{Counted, note_unmatched};
use crate::id::Names;
use crate::ledger::{Ledger, NO_SEGMENT, Seen};
use crate::plan::Plan;
use crate::report::{LeftOut, MetricHead, MetricsReport, MetricsRow};
use crate::rows::{Rows, time};
use crate::sources::Newest;
use crate::words::{kind, segment_name, stale};
use crate::{AnalysisError, Limits};

/// The level of the intervals.
const ALPHA: f64 = 0.05;

/// Which figures are asked for.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    /// Of this placement; empty: of all.
    pub placement: &'a str,
    /// What a row is.
    pub by: By,
    /// Of decisions at this time or later.
    pub from: Option<DateTime<Utc>>,
    /// Of decisions before this time. Their outcomes count whenever they come.
    pub to: Option<DateTime<Utc>>,
    /// The columns.
    pub metrics: &'a [&'a Metric],
    /// The names of segments. One without a name is called by its number.
    pub segments: &'a BTreeMap<i64, String>,
}

/// What a row of figures is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// An offer: the decisions that showed it, and the outcomes about it.
    Offer,
    /// A segment that customers were in when a decision was made.
    Segment,
    /// A day on which decisions were made, in UTC.
    Day,
}

impl By {
    /// Its word in reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Offer => "offer",
            Self::Segment => "segment",
            Self::Day => "day",
        }
    }
}

/// The metrics of what was decided, from everything that was recorded. `now` is only used to say how old that is.
///
/// # Errors
/// When events cannot be read, or there are more than `limits` allow.
pub fn business(
    reader: &EventReader,
    question: &Question<'_>,
    now: DateTime<Utc>,
    limits: &Limits,
) -> Result<MetricsReport, AnalysisError> {
    business_of(&reader.pinned()?, question, now, limits)
}

/// As [`business()`], of any rows.
///
/// # Errors
/// As [`business()`].
pub fn business_of(
    rows: &dyn Rows,
    question: &Question<'_>,
    now: DateTime<Utc>,
    limits: &Limits,
) -> Result<MetricsReport, AnalysisError> {
    let mut business = Business::new(question, &[], limits);
    business.read(rows)?;
    Ok(business.report(now))
}

/// What decisions add up to, for each part.
pub(crate) struct Business<'a> {
    question: &'a Question<'a>,
    /// More than one placement that decisions are of, where the question has none; none: all.
    placements: &'a [String],
    ledger: Ledger<'a>,
    offers: Names,
    /// Segments and days as numbers, by the numbers that parts have in the ledger, and back.
    parts: Vec<i64>,
    numbers: BTreeMap<i64, u32>,
    /// The decisions of each part.
    decisions: BTreeMap<u32, u64>,
    span: Option<Span>,
    newest: Newest,
    left_out: LeftOut,
    seen: Seen,
}

impl<'a> Business<'a> {
    pub(crate) fn new(question: &'a Question<'a>, placements: &'a [String], limits: &'a Limits) -> Self {
        let plan = || Plan::new(question.metrics.iter().copied());
        Self {
            question,
            placements,
            ledger: Ledger::new(plan(), plan(), limits),
            offers: Names::default(),
            parts: Vec::new(),
            numbers: BTreeMap::new(),
            decisions: BTreeMap::new(),
            span: None,
            newest: Newest::default(),
            left_out: LeftOut::default(),
            seen: Seen::new(limits),
        }
    }

    /// Whether decisions at a placement are asked for.
    fn is_asked(&self, placement: &str) -> bool {
        let question = self.question.placement;
        let is_among = self.placements.is_empty() || self.placements.iter().any(|one| one == placement);
        is_among && (question.is_empty() || placement == question)
    }

    /// What a metric, by its place in the question, adds up to over all customers.
    pub(crate) fn all(&self, metric: usize) -> (Counted, Measure) {
        let (ledger, mut counted) = (&self.ledger, Counted::default());
        for customer in 0..ledger.customers.len() {
            counted.add(ledger.whole.unit(metric, ledger.values(customer)));
        }
        (counted, ledger.whole.measure(metric))
    }

    /// Seconds from the first decision to the last; `None` without one.
    pub(crate) fn seconds(&self) -> Option<f64> {
        self.span.map(|span| (span.to - span.from) as f64 / 1e6)
    }

    pub(crate) fn read(&mut self, rows: &dyn Rows) -> Result<(), AnalysisError> {
        let from = self.question.from.map(|from| from.timestamp_micros());
        let to = self.question.to.map_or(i64::MAX, |to| to.timestamp_micros());
        let mut parts = Vec::new();
        for day in rows.decision_days(from.map(date_of))? {
            if crate::rows::start(day) >= to {
                break;
            }
            rows.decisions(day, &mut |row| {
                let is_in_time = from.is_none_or(|from| row.decided_at >= from) && row.decided_at < to;
                if is_in_time { self.decision(row, day, &mut parts) } else { Ok(()) }
            })?;
        }
        self.ledger.settle();
        (0..self.ledger.decisions.len()).for_each(|decision| self.ledger.add_decision(decision));
        let Some(span) = self.span else { return Ok(()) };
        // A server whose clock is behind has received outcomes before the decision.
        let first = date_of(span.from);
        for day in rows.outcome_days(Some(first.pred_opt().unwrap_or(first)))? {
            rows.outcomes(day, &mut |row| self.outcome(row))?;
        }
        Ok(())
    }

    fn decision(
        &mut self,
        row: &DecisionRow<'_>,
        day: NaiveDate,
        parts: &mut Vec<u32>,
    ) -> Result<(), AnalysisError> {
        self.newest.note(row.server, row.decided_at);
        if !self.is_asked(row.placement) {
            return Ok(());
        }
        if row.customer_id.is_empty() {
            self.left_out.unknown_decisions += 1;
            return Ok(());
        }
        parts.clear();
        match self.question.by {
            By::Offer => {
                let shown: BTreeSet<u32> = row.offers.iter().map(|offer| self.offers.number(offer)).collect();
                parts.extend(shown);
            }
            By::Segment => parts.push(self.number(row.segment.unwrap_or(NO_SEGMENT))),
            By::Day => parts.push(self.number(crate::rows::start(day))),
        }
        let before = self.ledger.decisions.len();
        self.ledger.record(row, 0, parts)?;
        if self.ledger.decisions.len() > before {
            for part in parts {
                *self.decisions.entry(*part).or_default() += 1;
            }
            match &mut self.span {
                Some(span) => span.add(row.decided_at),
                None => self.span = Some(Span::of(row.decided_at)),
            }
        }
        Ok(())
    }

    fn number(&mut self, part: i64) -> u32 {
        let (parts, next) = (&mut self.parts, self.numbers.len() as u32);
        *self.numbers.entry(part).or_insert_with(|| {
            parts.push(part);
            next
        })
    }

    fn outcome(&mut self, row: &OutcomeRow<'_>) -> Result<(), AnalysisError> {
        self.newest.note(row.server, row.received_at);
        let Some(at) = self.ledger.decision(row.decision_id) else {
            if self.is_asked(row.placement) && self.is_of_the_time(row) {
                note_unmatched(&self.ledger, row, &mut self.seen, &mut self.left_out)?;
            }
            return Ok(());
        };
        if !self.seen.is_new(row)? {
            return Ok(());
        }
        self.left_out.late_outcomes += u64::from(row.late);
        let offer = match self.question.by {
            By::Offer => Some(self.offers.find(row.offer_id)),
            By::Segment | By::Day => None,
        };
        self.ledger.add_outcome(at, row, |part| offer.is_none_or(|offer| offer == Some(part)));
        Ok(())
    }

    /// Whether the decision of an outcome should be among those that were read.
    fn is_of_the_time(&self, row: &OutcomeRow<'_>) -> bool {
        row.decided_at == 0 || self.span.is_some_and(|span| (span.from..=span.to).contains(&row.decided_at))
    }

    fn report(&self, now: DateTime<Utc>) -> MetricsReport {
        let (question, metrics) = (self.question, self.question.metrics);
        let head = |metric: &&Metric| MetricHead {
            metric: metric.id.clone(),
            says: metric.says.clone(),
            kind: kind(metric),
            higher_is_better: metric.better == Better::Higher,
        };
        let [from, to] = [0, 1].map(|end| {
            self.span.map_or_else(String::new, |span| time(if end == 0 { span.from } else { span.to }))
        });
        let sources = self.newest.sources(now);
        // Of a time that is over, nothing new is wanted.
        let is_over = question.to.is_some_and(|to| to <= now);
        let mut warnings = if is_over { Vec::new() } else { stale(&sources) };
        if self.span.is_none() {
            warnings.push("No decision of that time and placement is recorded.".to_owned());
        }
        if metrics
            .iter()
            .any(|metric| matches!(metric.numerator, Numerator::BuiltIn(BuiltIn::Retention { .. })))
        {
            warnings.push(
                "Retention counts decisions of the time of the report alone: who came towards its end had less \
                 time to come back."
                    .to_owned(),
            );
        }
        MetricsReport {
            placement: question.placement.to_owned(),
            by: question.by.word().to_owned(),
            from,
            to,
            sources,
            metrics: metrics.iter().map(head).collect(),
            rows: self.rows(),
            left_out: self.left_out.clone(),
            warnings,
            method: method(question.by),
        }
    }

    fn rows(&self) -> Vec<MetricsRow> {
        let (ledger, metrics) = (&self.ledger, self.question.metrics.len());
        let none = || Part { customers: 0, counted: vec![Counted::default(); metrics] };
        let mut parts: BTreeMap<u32, Part> = BTreeMap::new();
        for (number, pair) in ledger.pairs.iter().enumerate() {
            let values = ledger.pair_values(number);
            parts.entry(pair.part).or_insert_with(none).add(&ledger.parts, values);
        }
        let mut all = none();
        for customer in 0..ledger.customers.len() {
            all.add(&ledger.whole, ledger.values(customer));
        }
        let of_metric =
            |(metric, counted): (usize, &Counted)| value("", counted, ledger.whole.measure(metric), ALPHA);
        let row = |name: String, part: &Part, decisions: u64| MetricsRow {
            part: name,
            customers: part.customers,
            decisions,
            values: part.counted.iter().enumerate().map(&of_metric).collect(),
        };
        let mut named: Vec<(i64, String, u32)> = parts.keys().map(|number| self.name(*number)).collect();
        named.sort_unstable();
        let mut rows: Vec<MetricsRow> = Vec::with_capacity(named.len() + 1);
        for (_, name, number) in named {
            if let Some(part) = parts.get(&number) {
                rows.push(row(name, part, self.decisions.get(&number).copied().unwrap_or(0)));
            }
        }
        rows.push(row("all".to_owned(), &all, ledger.decisions.len() as u64));
        rows
    }

    /// The name of a part, and before that its place: offers by name, segments and days by number.
    fn name(&self, number: u32) -> (i64, String, u32) {
        if self.question.by == By::Offer {
            return (0, self.offers.all().get(number as usize).cloned().unwrap_or_default(), number);
        }
        let part = self.parts.get(number as usize).copied().unwrap_or(NO_SEGMENT);
        let name = match self.question.by {
            By::Day => date_of(part).to_string(),
            By::Segment | By::Offer => segment_name(part, self.question.segments),
        };
        (part, name, number)
    }
}

/// Customers of a part, and what they add up to for each metric.
struct Part {
    customers: u64,
    counted: Vec<Counted>,
}

impl Part {
    fn add(&mut self, plan: &Plan, values: &[f64]) {
        self.customers += 1;
        for (metric, counted) in self.counted.iter_mut().enumerate() {
            counted.add(plan.unit(metric, values));
        }
    }
}

fn method(by: By) -> Vec<String> {
    let part = match by {
        By::Offer => {
            "A row is of the decisions that showed an offer and of the outcomes about it. A decision that showed \
             several offers is in the row of each, and once in that of all."
        }
        By::Segment => {
            "A row is of decisions by the segment that a customer was in then; a customer who changed is in both rows."
        }
        By::Day => "A row is of the decisions of a day in UTC, with their outcomes, whenever those came.",
    };
    vec![
        part.to_owned(),
        "An outcome belongs to the decision it names, and counts once for each event id. Late outcomes do not \
         count; a metric with a window counts what occurred within it after the decision."
            .to_owned(),
        "Decisions of customers without an id are left out; those of experiments and of the holdout are in."
            .to_owned(),
        "Intervals are of 95 %, for one look, with the customer as the unit: shares by Wilson, quotients by the \
         delta method. Differences between rows are no effects: who is shown what was not drawn by lot."
            .to_owned(),
        "Whether a customer came back is seen from their first decision of the row on, to whatever row they came back."
            .to_owned(),
    ]
}
