//! The report of an experiment for a terminal: the order of the page, and less of it.

use report::Column::{Number, Words};

use super::grid::{list, table, wrapped};
use super::number::{Style, interval_shown, shown, shown_or_none};
use super::page::is_mismatch;
use super::words::{self, NONE, of_role, or_none};
use crate::report::{
    ArmValue, Breakdown, Comparison, ExperimentReport, ExposureDay, Kind, LeftOut, Limits, MetricResult,
    Role, Source,
};

/// Days of exposure that are shown, and arms of them; a page has all.
const DAYS: usize = 7;
const ARMS: usize = 6;

/// Steps that are shown; a page has all.
const STEPS: usize = 10;

/// The text.
pub(super) fn render(report: &ExperimentReport) -> String {
    let head = wrapped(&format!(
        "`{}`, phase {}, {}, covering {} of those eligible; decisions from {} to {}",
        report.experiment,
        report.phase,
        report.state,
        shown(report.coverage, Style::Share),
        or_none(&report.from),
        or_none(&report.to)
    ));
    let verdict = report::capitalised(words::verdict(report.verdict.word));
    let mut paragraphs =
        vec![format!("{head}\n{}", wrapped(&format!("{verdict}. {}", report.verdict.sentence)))];
    paragraphs.extend(report.warnings.iter().map(|warning| wrapped(&format!("Note: {warning}"))));
    paragraphs.push(format!("Arms\n{}", arms(report)));
    paragraphs.extend(exposure(report));
    paragraphs.push(format!("Split\n{}", split(report)));
    if !is_mismatch(report) {
        results(report, &mut paragraphs);
    }
    paragraphs.extend(left_out(&report.left_out));
    paragraphs.extend(sources(&report.sources));
    paragraphs.extend(steps(report));
    format!("{}\n", paragraphs.join("\n\n"))
}

fn arms(report: &ExperimentReport) -> String {
    let rows: Vec<Vec<String>> = report
        .arms
        .iter()
        .map(|arm| {
            vec![
                arm.variant.clone(),
                shown(arm.weight, Style::Share),
                shown(arm.customers, Style::Count),
                shown(arm.decisions, Style::Count),
                shown(arm.outcomes, Style::Count),
            ]
        })
        .collect();
    let columns = [
        ("arm, the control first", Words),
        ("share", Number),
        ("customers", Number),
        ("decisions", Number),
        ("outcomes", Number),
    ];
    table(&columns, &rows)
}

fn exposure(report: &ExperimentReport) -> Option<String> {
    let mut columns = vec![("day", Words)];
    columns.extend(report.arms.iter().take(ARMS).map(|arm| (arm.variant.as_str(), Number)));
    let latest = report.exposure.iter().skip(report.exposure.len().saturating_sub(DAYS));
    let row = |day: &ExposureDay| {
        let mut row = vec![day.day.clone()];
        row.extend(day.new.iter().take(ARMS).map(|new| shown(*new, Style::Count)));
        row
    };
    let rows: Vec<Vec<String>> = latest.map(row).collect();
    (!rows.is_empty()).then(|| format!("New customers by day, the latest\n{}", table(&columns, &rows)))
}

fn split(report: &ExperimentReport) -> String {
    let Some(mismatch) = &report.mismatch else { return "There is nothing to judge it by yet.".to_owned() };
    let says = if mismatch.is_mismatch {
        "The arms are not as large as their shares say (sample ratio mismatch)"
    } else {
        "The arms are as large as their shares say, as far as chance allows"
    };
    wrapped(&format!(
        "{says}: p {} by the sequential test, χ² {} with {} degrees, p {}.",
        shown(mismatch.sequential_p, Style::P),
        shown(mismatch.chi_squared, Style::Plain),
        shown(mismatch.degrees, Style::Count),
        shown(mismatch.p, Style::P)
    ))
}

fn results(report: &ExperimentReport, paragraphs: &mut Vec<String>) {
    let groups = [
        (Role::Primary, "Primary metric"),
        (Role::Guardrail, "Guardrail"),
        (Role::Secondary, "Secondary metric, exploratory"),
    ];
    for (role, title) in groups {
        for metric in of_role(&report.metrics, role) {
            let mut text =
                wrapped(&format!("{title}: `{}`, {}", metric.metric, words::better(metric.higher_is_better)));
            for part in [values(&metric.arms, metric.kind), effects(metric)] {
                text.push('\n');
                text.push_str(&part);
            }
            paragraphs.push(text);
        }
    }
    if !report.metrics.is_empty() {
        paragraphs.push(wrapped(&format!(
            "α is {} over {} comparisons, {} for each. Differences of shares are in percentage points (pp).",
            shown(report.alpha, Style::Level),
            report.comparisons,
            shown(report.alpha_each, Style::Level)
        )));
    }
    let Some(primary) = report.metrics.first() else { return };
    for (breakdowns, what) in [(&report.by_segment, "segment"), (&report.by_placement, "placement")] {
        if !breakdowns.is_empty() {
            let title = wrapped(&format!("`{}` by {what}, exploratory", primary.metric));
            paragraphs.push(format!("{title}\n{}", parts(breakdowns, what, primary.kind)));
        }
    }
}

fn values(arms: &[ArmValue], kind: Kind) -> String {
    let row = |arm: &ArmValue| {
        vec![
            arm.variant.clone(),
            shown(arm.n, Style::Count),
            shown_or_none(arm.value, Style::Value(kind)),
            interval_shown(arm.interval, Style::Value(kind)),
        ]
    };
    let columns = [("arm", Words), ("n", Number), ("value", Number), ("interval for one look", Number)];
    table(&columns, &arms.iter().map(row).collect::<Vec<_>>())
}

fn effects(metric: &MetricResult) -> String {
    let kind = Style::Difference(metric.kind);
    let rows: Vec<Vec<String>> = metric
        .comparisons
        .iter()
        .filter_map(|comparison| {
            let effect = comparison.effect.as_ref()?;
            let mut row = vec![
                comparison.variant.clone(),
                n(&metric.arms, &comparison.variant),
                shown(effect.delta, kind),
                interval_shown(Some(effect.sequence), kind),
                shown(effect.sequence_p, Style::P),
                interval_shown(Some(effect.fixed), kind),
            ];
            if metric.role == Role::Guardrail {
                row.push(follows(comparison, metric.kind));
            }
            Some(row)
        })
        .collect();
    let mut columns = vec![
        ("challenger", Words),
        ("n", Number),
        ("difference", Number),
        ("limits at any time", Number),
        ("p", Number),
        ("for one look", Number),
    ];
    if metric.role == Role::Guardrail {
        columns.push(("follows", Words));
    }
    let mut parts = if rows.is_empty() { Vec::new() } else { vec![table(&columns, &rows)] };
    parts.extend(metric.comparisons.iter().filter(|comparison| comparison.effect.is_none()).map(hidden));
    parts.join("\n")
}

/// What follows from a guardrail, and by which loss.
fn follows(comparison: &Comparison, kind: Kind) -> String {
    let Some(guardrail) = &comparison.guardrail else { return NONE.to_owned() };
    let decision = words::decision(guardrail.decision);
    format!("{decision} (tolerates {})", shown(guardrail.tolerate, Style::Distance(kind)))
}

fn hidden(comparison: &Comparison) -> String {
    let why = if comparison.hidden.is_empty() { "there is nothing to compare" } else { &comparison.hidden };
    wrapped(&format!("Nothing is shown of `{}` yet: {why}.", comparison.variant))
}

/// The customers of both arms.
fn n(arms: &[ArmValue], variant: &str) -> String {
    let of = |arm: Option<&ArmValue>| arm.map_or_else(|| NONE.to_owned(), |arm| shown(arm.n, Style::Count));
    format!("{} and {}", of(words::arm(arms, variant)), of(arms.first()))
}

fn parts(breakdowns: &[Breakdown], what: &str, kind: Kind) -> String {
    let mut rows = Vec::new();
    for breakdown in breakdowns {
        for comparison in &breakdown.comparisons {
            let effect = comparison.effect.as_ref();
            let limits: Option<Limits> = effect.map(|effect| effect.sequence);
            rows.push(vec![
                breakdown.part.clone(),
                comparison.variant.clone(),
                n(&breakdown.arms, &comparison.variant),
                shown_or_none(effect.map(|effect| effect.delta), Style::Difference(kind)),
                interval_shown(limits, Style::Difference(kind)),
                comparison.hidden.clone(),
            ]);
        }
    }
    let columns = [
        (what, Words),
        ("challenger", Words),
        ("n", Number),
        ("difference", Number),
        ("limits at any time", Number),
        ("hidden because", Words),
    ];
    table(&columns, &rows)
}

/// What is not in the figures; none if everything is.
pub(super) fn left_out(left_out: &LeftOut) -> Option<String> {
    let counts = words::left_out(left_out);
    let some: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{} {what}", shown(*count, Style::Count)))
        .collect();
    (!some.is_empty()).then(|| format!("Left out\n{}", list(some.iter().map(String::as_str))))
}

/// How old the newest event of each server is.
pub(super) fn sources(sources: &[Source]) -> Option<String> {
    let row = |source: &Source| {
        vec![source.server.clone(), source.newest.clone(), shown(source.age_seconds, Style::Age)]
    };
    let columns = [("server", Words), ("its newest event", Words), ("age", Number)];
    let rows: Vec<Vec<String>> = sources.iter().map(row).collect();
    (!rows.is_empty()).then(|| format!("Sources\n{}", table(&columns, &rows)))
}

fn steps(report: &ExperimentReport) -> Option<String> {
    if report.steps.is_empty() {
        return None;
    }
    let rows: Vec<Vec<String>> = report
        .steps
        .iter()
        .take(STEPS)
        .map(|step| {
            vec![
                step.time.clone(),
                step.action.replace('_', " "),
                shown(step.coverage, Style::Share),
                shown(step.release, Style::Id),
                step.author.clone(),
                step.reason.clone(),
            ]
        })
        .collect();
    let columns = [
        ("time", Words),
        ("action", Words),
        ("coverage", Number),
        ("release", Number),
        ("by", Words),
        ("why", Words),
    ];
    let title = if report.steps.len() > STEPS { "The latest steps" } else { "Steps" };
    Some(format!("{title}\n{}", table(&columns, &rows)))
}
