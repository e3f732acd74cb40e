//! Reports as CSV (RFC 4180), with exact numbers.
//!
//! A text that a spreadsheet would take for a formula gets an apostrophe before it, which spreadsheets do not show.

use super::page::is_mismatch;
use super::words;
use crate::report::{
    ArmCount, ArmValue, Comparison, Effect, ExperimentReport, GuardrailResult, Kind, Limits, MetricResult,
    MetricsReport,
};

/// What stands at the beginning of a text that a spreadsheet takes for a formula.
const FORMULAS: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

/// The columns of an experiment.
const EXPERIMENT: [&str; 40] = [
    "experiment",
    "phase",
    "state",
    "from",
    "to",
    "verdict",
    "about",
    "part",
    "metric",
    "role",
    "kind",
    "better",
    "arm",
    "weight",
    "customers",
    "decisions",
    "outcomes",
    "sum",
    "divided_by",
    "value",
    "value_low",
    "value_high",
    "compared_with",
    "difference",
    "any_time_low",
    "any_time_high",
    "any_time_p",
    "one_look_low",
    "one_look_high",
    "one_look_p",
    "relative",
    "relative_any_time_low",
    "relative_any_time_high",
    "cuped_theta",
    "variance_reduced",
    "tolerate",
    "oriented_low",
    "oriented_high",
    "follows",
    "why_hidden",
];

/// The columns of metrics without an experiment.
const METRICS: [&str; 14] = [
    "placement",
    "by",
    "part",
    "customers",
    "decisions",
    "metric",
    "kind",
    "better",
    "n",
    "sum",
    "divided_by",
    "value",
    "value_low",
    "value_high",
];

/// A line for each arm, then one for each metric and part in each arm. If the split is wrong, those of arms alone.
pub(super) fn experiment(report: &ExperimentReport) -> String {
    let mut lines = Lines::new(&EXPERIMENT);
    for arm in &report.arms {
        lines.add(&[before(report), split(arm)].concat());
    }
    if is_mismatch(report) {
        return lines.text;
    }
    for metric in &report.metrics {
        add(
            &mut lines,
            report,
            About { kind: "metric", part: "", metric },
            &metric.arms,
            &metric.comparisons,
        );
    }
    let Some(metric) = report.metrics.first() else { return lines.text };
    for (about, breakdowns) in [("segment", &report.by_segment), ("placement", &report.by_placement)] {
        for breakdown in breakdowns {
            let about = About { kind: about, part: &breakdown.part, metric };
            add(&mut lines, report, about, &breakdown.arms, &breakdown.comparisons);
        }
    }
    lines.text
}

/// What lines are about.
#[derive(Clone, Copy)]
struct About<'r> {
    kind: &'r str,
    part: &'r str,
    metric: &'r MetricResult,
}

/// What all lines of a report begin with.
fn before(report: &ExperimentReport) -> Vec<String> {
    let verdict = words::verdict(report.verdict.word);
    let texts = [&report.experiment, &report.phase, &report.state, &report.from, &report.to];
    let mut cells = texts.map(|text| safe(text)).to_vec();
    cells.push(verdict.to_owned());
    cells
}

fn split(arm: &ArmCount) -> Vec<String> {
    let mut cells = vec!["split".to_owned()];
    cells.extend(empty(5));
    cells.extend([
        safe(&arm.variant),
        real(arm.weight),
        arm.customers.to_string(),
        arm.decisions.to_string(),
        arm.outcomes.to_string(),
    ]);
    cells.extend(empty(EXPERIMENT.len() - 17));
    cells
}

fn add(
    lines: &mut Lines,
    report: &ExperimentReport,
    about: About<'_>,
    arms: &[ArmValue],
    comparisons: &[Comparison],
) {
    let control = arms.first().map_or("", |arm| arm.variant.as_str());
    for arm in arms {
        let comparison = comparisons.iter().find(|comparison| comparison.variant == arm.variant);
        let mut cells = before(report);
        cells.extend([about.kind, about.part, &about.metric.metric].map(safe));
        cells.extend(
            [words::role(about.metric.role), kind(about.metric.kind), better(about.metric.higher_is_better)]
                .map(safe),
        );
        cells.extend([safe(&arm.variant), String::new()]);
        cells.push(arm.n.to_string());
        cells.extend(empty(2));
        cells.extend(value(arm));
        match comparison {
            Some(comparison) => compared(&mut cells, control, comparison),
            None => cells.extend(empty(EXPERIMENT.len() - 22)),
        }
        lines.add(&cells);
    }
}

/// Sum, divisor, value and its limits.
fn value(arm: &ArmValue) -> [String; 5] {
    let [low, high] = limits(arm.interval);
    [real(arm.numerator), real(arm.denominator), optional(arm.value), low, high]
}

fn compared(cells: &mut Vec<String>, control: &str, comparison: &Comparison) {
    cells.push(safe(control));
    match &comparison.effect {
        Some(effect) => cells.extend(of_effect(effect)),
        None => cells.extend(empty(12)),
    }
    match &comparison.guardrail {
        Some(GuardrailResult { tolerate, oriented, .. }) => {
            cells.push(real(*tolerate));
            cells.extend(limits(*oriented));
        }
        None => cells.extend(empty(3)),
    }
    let follows = comparison.guardrail.as_ref().map_or("", |guardrail| words::decision(guardrail.decision));
    cells.extend([follows.to_owned(), safe(&comparison.hidden)]);
}

fn of_effect(effect: &Effect) -> [String; 12] {
    let [low, high] = limits(Some(effect.sequence));
    let [fixed_low, fixed_high] = limits(Some(effect.fixed));
    let [relative_low, relative_high] = limits(effect.relative_sequence);
    [
        real(effect.delta),
        low,
        high,
        real(effect.sequence_p),
        fixed_low,
        fixed_high,
        real(effect.fixed_p),
        optional(effect.relative),
        relative_low,
        relative_high,
        optional(effect.theta),
        optional(effect.variance_reduced),
    ]
}

/// A line for each row and metric.
pub(super) fn metrics(report: &MetricsReport) -> String {
    let mut lines = Lines::new(&METRICS);
    for row in &report.rows {
        for (metric, arm) in report.metrics.iter().zip(&row.values) {
            let mut cells = [&report.placement, &report.by, &row.part].map(|text| safe(text)).to_vec();
            cells.extend([row.customers.to_string(), row.decisions.to_string()]);
            cells.extend(
                [metric.metric.as_str(), kind(metric.kind), better(metric.higher_is_better)].map(safe),
            );
            cells.push(arm.n.to_string());
            cells.extend(value(arm));
            lines.add(&cells);
        }
    }
    lines.text
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Share => "share",
        Kind::Number => "number",
        Kind::Money => "money",
    }
}

fn better(higher: bool) -> &'static str {
    if higher { "higher" } else { "lower" }
}

/// A number in full; one that is none is missing, as in JSON.
fn real(value: f64) -> String {
    if value.is_finite() { value.to_string() } else { String::new() }
}

fn optional(value: Option<f64>) -> String {
    value.map_or_else(String::new, real)
}

fn limits(limits: Option<Limits>) -> [String; 2] {
    limits.map_or_else(Default::default, |Limits { low, high }| [real(low), real(high)])
}

fn empty(cells: usize) -> impl Iterator<Item = String> {
    std::iter::repeat_n(String::new(), cells)
}

/// A text from elsewhere, which is no formula.
fn safe(text: &str) -> String {
    if text.starts_with(FORMULAS) { format!("'{text}") } else { text.to_owned() }
}

/// Lines of CSV.
struct Lines {
    text: String,
}

impl Lines {
    fn new(header: &[&str]) -> Self {
        Self { text: format!("{}\r\n", header.join(",")) }
    }

    fn add(&mut self, cells: &[String]) {
        for (at, cell) in cells.iter().enumerate() {
            if at > 0 {
                self.text.push(',');
            }
            if cell.contains([',', '"', '\r', '\n']) {
                self.text.push('"');
                self.text.push_str(&cell.replace('"', "\"\""));
                self.text.push('"');
            } else {
                self.text.push_str(cell);
            }
        }
        self.text.push_str("\r\n");
    }
}
