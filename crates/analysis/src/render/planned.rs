//! How many customers an experiment needs, for a terminal.

use report::Column::Number;
use serde::Serialize;

use super::grid::{list, table, wrapped};
use super::number::{Style, interval_shown, shown};
use super::pretty;
use super::words::NONE;
use crate::report::{Kind, Limits};

/// What an experiment needs before it starts. It is what JSON has.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Planned {
    /// Its id.
    pub experiment: String,
    /// The primary metric.
    pub metric: String,
    /// How its values are written.
    pub kind: Kind,
    /// Its value in what was recorded.
    pub base: f64,
    /// The interval of that, for one look.
    pub interval: Option<Limits>,
    /// The customers that it is of.
    pub customers: u64,
    /// New customers of the placements in a day, of those recorded.
    pub customers_a_day: f64,
    /// The share of those eligible that are to take part, 0..=1.
    pub coverage: f64,
    /// `alpha` of one comparison, by Bonferroni.
    pub alpha_each: f64,
    /// The probability with which a difference is to be found.
    pub power: f64,
    /// The number of customers at which sequences are tightest.
    pub planned: u64,
    /// What it takes to find each of some differences.
    pub effects: Vec<PlannedEffect>,
    /// What a reader must know, one sentence each.
    pub warnings: Vec<String>,
}

/// What it takes to find a difference.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlannedEffect {
    /// The difference, in the unit of the metric.
    pub difference: f64,
    /// The same as a share of the base value.
    pub relative: Option<f64>,
    /// Customers of the two arms that are compared, if one looks at any time; absent if no number is enough.
    pub any_time: Option<u64>,
    /// Customers of the two arms that are compared, if one looks once.
    pub one_look: Option<u64>,
    /// Days until all arms together have as many as it takes at any time.
    pub any_time_days: Option<f64>,
    /// Days for one look.
    pub one_look_days: Option<f64>,
}

/// The plan of an experiment as JSON.
#[must_use]
pub fn plan_json(plan: &Planned) -> String {
    pretty(plan)
}

/// The plan of an experiment for a terminal of 100 columns.
#[must_use]
pub fn plan_text(plan: &Planned) -> String {
    let value = Style::Value(plan.kind);
    let head = wrapped(&format!(
        "`{}` is judged by `{}`: {} (interval {}) over {} customers that were recorded.",
        plan.experiment,
        plan.metric,
        shown(plan.base, value),
        interval_shown(plan.interval, value),
        shown(plan.customers, Style::Count)
    ));
    let level = wrapped(&format!(
        "Differences are to be found with a probability of {}, at α {} for each comparison. {} new customers come in a \
         day, of whom {} take part.",
        shown(plan.power, Style::Level),
        shown(plan.alpha_each, Style::Level),
        shown(plan.customers_a_day, Style::Plain),
        shown(plan.coverage, Style::Share)
    ));
    let mut paragraphs = vec![format!("{head}\n{level}")];
    paragraphs.extend(plan.warnings.iter().map(|warning| wrapped(&format!("Note: {warning}"))));
    let columns = [
        ("difference", Number),
        ("relative", Number),
        ("customers, at any time", Number),
        ("days", Number),
        ("customers, for one look", Number),
        ("days", Number),
    ];
    let rows: Vec<Vec<String>> = plan.effects.iter().map(|effect| row(effect, plan.kind)).collect();
    if !rows.is_empty() {
        paragraphs.push(table(&columns, &rows));
    }
    let planned = format!(
        "Sequences are tightest at {} customers of both arms; set `planned` to the number that you choose here.",
        shown(plan.planned, Style::Count)
    );
    paragraphs.push(list([
        "Customers are those of the challenger and of the control together.",
        "At any time: you may look as often as you like. For one look: once, when all of them are there.",
        planned.as_str(),
    ]));
    format!("{}\n", paragraphs.join("\n\n"))
}

fn row(effect: &PlannedEffect, kind: Kind) -> Vec<String> {
    let count =
        |count: Option<u64>| count.map_or_else(|| NONE.to_owned(), |count| shown(count, Style::Count));
    let days =
        |days: Option<f64>| days.map_or_else(|| NONE.to_owned(), |days| shown(days.ceil(), Style::Count));
    vec![
        shown(effect.difference, Style::Difference(kind)),
        effect.relative.map_or_else(|| NONE.to_owned(), |relative| shown(relative, Style::Relative)),
        count(effect.any_time),
        days(effect.any_time_days),
        count(effect.one_look),
        days(effect.one_look_days),
    ]
}
