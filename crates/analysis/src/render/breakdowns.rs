//! Breakdowns on a page: the primary metric by segment and placement, and what all metrics of money say.

use report::{Column, Table};

use super::number::{Style, interval, number, number_or_none};
use super::results::customers;
use super::words::{self, NONE, code, escape, prose};
use crate::report::{Breakdown, ExperimentReport, Kind, MetricResult};

use Column::{Number, Words};

/// The primary metric by part; empty without parts. `what` is the word for a part.
pub(super) fn parts(breakdowns: &[Breakdown], primary: &MetricResult, what: &str) -> String {
    if breakdowns.is_empty() {
        return String::new();
    }
    let kind = primary.kind;
    let mut values = Table::new(&[
        (what, Words),
        ("arm", Words),
        ("customers (n)", Number),
        ("value", Number),
        ("interval for one look", Number),
    ]);
    let mut effects = Table::new(&[
        (what, Words),
        ("challenger", Words),
        ("customers (n), challenger and control", Number),
        ("difference", Number),
        ("limits at any time", Number),
        ("limits for one look", Number),
        ("why nothing is shown", Words),
    ]);
    for breakdown in breakdowns {
        for arm in &breakdown.arms {
            values.row(
                "",
                &[
                    escape(&breakdown.part),
                    code(&arm.variant),
                    number(arm.n, Style::Count),
                    number_or_none(arm.value, Style::Value(kind)),
                    interval(arm.interval, Style::Value(kind)),
                ],
            );
        }
        for comparison in &breakdown.comparisons {
            let effect = comparison.effect.as_ref();
            let difference = Style::Difference(kind);
            effects.row(
                if effect.is_some() { "" } else { "out" },
                &[
                    escape(&breakdown.part),
                    code(&comparison.variant),
                    customers(&breakdown.arms, &comparison.variant),
                    number_or_none(effect.map(|effect| effect.delta), difference),
                    interval(effect.map(|effect| effect.sequence), difference),
                    interval(effect.map(|effect| effect.fixed), difference),
                    prose(words::or_none(&comparison.hidden)),
                ],
            );
        }
    }
    format!(
        "<p class=\"note\">Exploratory: the more parts one looks at, the more of them differ by chance. \
         Take what stands out as a question for the next experiment, and decide by {} over all.</p>\n{}{}",
        code(&primary.metric),
        effects.wide(),
        values.wide()
    )
}

/// What metrics of money say of each challenger.
pub(super) fn value(report: &ExperimentReport) -> String {
    let money = || report.metrics.iter().filter(|metric| metric.kind == Kind::Money);
    if money().next().is_none() {
        return "<p>No metric of this experiment is about money. Add <code>value_per_customer</code> or \
                <code>revenue_per_customer</code> to its <code>secondary</code> metrics to see one here.</p>\n"
            .to_owned();
    }
    let mut table = Table::new(&[
        ("metric", Words),
        ("role", Words),
        ("challenger", Words),
        ("customers (n), challenger and control", Number),
        ("difference", Number),
        ("limits at any time", Number),
        ("relative", Number),
        ("its limits at any time", Number),
    ]);
    let mut hidden = String::new();
    for metric in money() {
        for comparison in &metric.comparisons {
            let effect = comparison.effect.as_ref();
            let difference = Style::Difference(metric.kind);
            table.row(
                if effect.is_some() { "" } else { "out" },
                &[
                    code(&metric.metric),
                    words::role_labelled(metric.role).to_owned(),
                    code(&comparison.variant),
                    customers(&metric.arms, &comparison.variant),
                    number_or_none(effect.map(|effect| effect.delta), difference),
                    interval(effect.map(|effect| effect.sequence), difference),
                    effect.map_or_else(
                        || NONE.to_owned(),
                        |effect| number_or_none(effect.relative, Style::Relative),
                    ),
                    interval(effect.and_then(|effect| effect.relative_sequence), Style::Relative),
                ],
            );
        }
        hidden.push_str(&super::results::hidden(&metric.comparisons));
    }
    format!("<p>In the unit of money that the policy has.</p>\n{}{hidden}", table.wide())
}
