//! A metric on a page: its values by arm, each challenger against the control, sequences over time.

use report::{Column, Table, append};

use super::figures::{Drawn, sequence};
use super::number::{Style, interval, number, number_or_none};
use super::words::{self, NONE, code, prose};
use crate::report::{ArmValue, Comparison, Effect, GuardrailDecision, Kind, MetricResult, SequencePoint};

use Column::{Number, Words};

/// What a metric is, how it went, and its sequence over time.
pub(super) fn metric(metric: &MetricResult) -> String {
    let mut html = heading(metric);
    html.push_str(&values(&metric.arms, metric.kind));
    html.push_str(&effects(&metric.arms, &metric.comparisons, metric.kind));
    html.push_str(&adjusted(&metric.comparisons));
    html.push_str(&over_time(metric));
    html
}

/// A guardrail: as any metric, and what follows from it.
pub(super) fn guardrail(metric: &MetricResult) -> String {
    let mut html = heading(metric);
    html.push_str(&what_follows(metric));
    html.push_str(&values(&metric.arms, metric.kind));
    html.push_str(&effects(&metric.arms, &metric.comparisons, metric.kind));
    html.push_str(&over_time(metric));
    html
}

/// An exploratory metric, without its sequence over time.
pub(super) fn secondary(metric: &MetricResult) -> String {
    let mut html = heading(metric);
    html.push_str(&values(&metric.arms, metric.kind));
    html.push_str(&effects(&metric.arms, &metric.comparisons, metric.kind));
    html
}

fn heading(metric: &MetricResult) -> String {
    format!(
        "<h3>{} <span class=\"id\">{}, {}</span></h3>\n<p>{}</p>\n",
        code(&metric.metric),
        words::role_labelled(metric.role),
        words::better(metric.higher_is_better),
        report::sentence(&telemetry::foreign::escaped(&metric.says))
    )
}

/// The values of a metric by arm.
pub(super) fn values(arms: &[ArmValue], kind: Kind) -> String {
    let mut table = Table::new(&[
        ("arm", Words),
        ("customers (n)", Number),
        ("sum", Number),
        ("divided by", Number),
        ("value", Number),
        ("interval for one look", Number),
    ]);
    for arm in arms {
        table.row(
            "",
            &[
                code(&arm.variant),
                number(arm.n, Style::Count),
                number(arm.numerator, Style::Sum),
                number(arm.denominator, Style::Sum),
                number_or_none(arm.value, Style::Value(kind)),
                interval(arm.interval, Style::Value(kind)),
            ],
        );
    }
    table.wide()
}

/// Challengers against the control. A paragraph says of each that is hidden why it is.
pub(super) fn effects(arms: &[ArmValue], comparisons: &[Comparison], kind: Kind) -> String {
    let mut table = Table::new(&[
        ("challenger", Words),
        ("customers (n), challenger and control", Number),
        ("difference", Number),
        ("limits at any time", Number),
        ("p at any time", Number),
        ("relative", Number),
        ("its limits at any time", Number),
        ("limits for one look", Number),
        ("p for one look", Number),
    ]);
    for comparison in comparisons {
        let n = customers(arms, &comparison.variant);
        let class = if comparison.effect.is_some() { "" } else { "out" };
        let mut cells = vec![code(&comparison.variant), n];
        match &comparison.effect {
            Some(effect) => cells.extend(of_effect(effect, kind)),
            None => cells.extend(std::iter::repeat_n(NONE.to_owned(), 7)),
        }
        table.row(class, &cells);
    }
    format!("{}{}", table.wide(), hidden(comparisons))
}

fn of_effect(effect: &Effect, kind: Kind) -> [String; 7] {
    let difference = Style::Difference(kind);
    [
        number(effect.delta, difference),
        interval(Some(effect.sequence), difference),
        number(effect.sequence_p, Style::P),
        number_or_none(effect.relative, Style::Relative),
        interval(effect.relative_sequence, Style::Relative),
        interval(Some(effect.fixed), difference),
        number(effect.fixed_p, Style::P),
    ]
}

/// The customers of a challenger and of the control.
pub(super) fn customers(arms: &[ArmValue], variant: &str) -> String {
    let n = |arm: Option<&ArmValue>| arm.map_or_else(|| NONE.to_owned(), |arm| number(arm.n, Style::Count));
    format!("{} and {}", n(words::arm(arms, variant)), n(arms.first()))
}

/// Why comparisons are hidden.
pub(super) fn hidden(comparisons: &[Comparison]) -> String {
    let mut html = String::new();
    for comparison in comparisons.iter().filter(|comparison| comparison.effect.is_none()) {
        let why =
            if comparison.hidden.is_empty() { "there is nothing to compare" } else { &comparison.hidden };
        append(
            &mut html,
            format_args!(
                "<p class=\"note\">Nothing is shown of {} yet: {}.</p>\n",
                code(&comparison.variant),
                prose(why)
            ),
        );
    }
    html
}

/// What customers did before, and how much it helped.
fn adjusted(comparisons: &[Comparison]) -> String {
    let mut html = String::new();
    for comparison in comparisons {
        let Some(Effect { theta: Some(theta), variance_reduced, .. }) = &comparison.effect else { continue };
        append(
            &mut html,
            format_args!(
                "<p class=\"note\">The difference of {} is adjusted by what customers did before (CUPED): \
                 θ is {}, and the variance is less by {}.</p>\n",
                code(&comparison.variant),
                number(*theta, Style::Plain),
                number_or_none(*variance_reduced, Style::Value(Kind::Share))
            ),
        );
    }
    html
}

fn what_follows(metric: &MetricResult) -> String {
    let mut table = Table::new(&[
        ("challenger", Words),
        ("customers (n), challenger and control", Number),
        ("loss that is tolerated", Number),
        ("limits, turned so that more is better", Number),
        ("what follows", Words),
    ]);
    for comparison in &metric.comparisons {
        let Some(guardrail) = &comparison.guardrail else { continue };
        let follows = match guardrail.decision {
            GuardrailDecision::Advance => "advance: it loses less than that",
            GuardrailDecision::Hold => "hold: not known yet",
            GuardrailDecision::RollBack => "roll back: it loses more than that",
        };
        let class = if guardrail.decision == GuardrailDecision::RollBack { "chosen" } else { "" };
        table.row(
            class,
            &[
                code(&comparison.variant),
                customers(&metric.arms, &comparison.variant),
                number(guardrail.tolerate, Style::Distance(metric.kind)),
                interval(guardrail.oriented, Style::Difference(metric.kind)),
                follows.to_owned(),
            ],
        );
    }
    table.wide()
}

/// A picture for each challenger, and its points as a table.
fn over_time(metric: &MetricResult) -> String {
    let (mut pictures, mut tables) = (String::new(), String::new());
    for comparison in &metric.comparisons {
        let Some(effect) = &comparison.effect else { continue };
        let tolerated = comparison
            .guardrail
            .as_ref()
            .map(|guardrail| if metric.higher_is_better { -guardrail.tolerate } else { guardrail.tolerate });
        let drawn =
            Drawn { metric: &metric.metric, variant: &comparison.variant, kind: metric.kind, tolerated };
        let picture = sequence(&effect.over_time, drawn);
        if picture.is_empty() {
            continue;
        }
        pictures.push_str(&picture);
        append(
            &mut tables,
            format_args!(
                "<details><summary>{} of {} by day</summary>\n{}</details>\n",
                code(&metric.metric),
                code(&comparison.variant),
                points(&effect.over_time, metric.kind)
            ),
        );
    }
    if pictures.is_empty() {
        return String::new();
    }
    format!("<div class=\"pair\">\n{pictures}</div>\n{tables}")
}

fn points(points: &[SequencePoint], kind: Kind) -> String {
    let mut table = Table::new(&[
        ("day", Words),
        ("customers of both arms (n)", Number),
        ("difference", Number),
        ("limits at any time", Number),
        ("least p so far", Number),
    ]);
    for point in points {
        let limits = crate::report::Limits { low: point.low, high: point.high };
        table.row(
            "",
            &[
                words::escape(&point.day),
                number(point.n, Style::Count),
                number(point.delta, Style::Difference(kind)),
                interval(Some(limits), Style::Difference(kind)),
                number(point.p, Style::P),
            ],
        );
    }
    table.wide()
}
