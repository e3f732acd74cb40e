//! Reports as text, JSON, CSV and HTML.
//!
//! JSON has all of a report; the others show it. Every number that they show is one of the JSON's: `number.rs` rounds
//! it, and in HTML its exact value stands beside it as `data-value`. Nothing here computes a statistic.
//!
//! Start reading at [`html`], then `page.rs`; `figures.rs` draws, `grid.rs` makes tables for the terminal.

mod breakdowns;
mod figures;
mod grid;
mod metrics;
mod number;
mod page;
mod planned;
mod results;
mod separated;
#[cfg(test)]
mod tests;
mod text;
mod words;

use serde::Serialize;

pub use self::planned::{Planned, PlannedEffect, plan_json, plan_text};
use crate::report::{ExperimentReport, MetricsReport};

/// The report of an experiment for a terminal of 100 columns.
#[must_use]
pub fn text(report: &ExperimentReport) -> String {
    text::render(report)
}

/// The report of an experiment as CSV (RFC 4180): a line for each arm, and for each metric and part in each arm.
#[must_use]
pub fn csv(report: &ExperimentReport) -> String {
    separated::experiment(report)
}

/// The report of an experiment as one HTML page, which needs no network.
#[must_use]
pub fn html(report: &ExperimentReport) -> String {
    page::render(report)
}

/// The report of an experiment as JSON, with all that it has.
#[must_use]
pub fn json(report: &ExperimentReport) -> String {
    pretty(report)
}

/// Metrics by offer, segment or day for a terminal of 100 columns.
#[must_use]
pub fn metrics_text(report: &MetricsReport) -> String {
    metrics::text(report)
}

/// Metrics by offer, segment or day as CSV (RFC 4180): a line for each row and metric.
#[must_use]
pub fn metrics_csv(report: &MetricsReport) -> String {
    separated::metrics(report)
}

/// Metrics by offer, segment or day as one HTML page, which needs no network.
#[must_use]
pub fn metrics_html(report: &MetricsReport) -> String {
    metrics::html(report)
}

/// Metrics by offer, segment or day as JSON, with all that the report has.
#[must_use]
pub fn metrics_json(report: &MetricsReport) -> String {
    pretty(report)
}

/// Plain data can be written: a number that is none becomes `null`.
fn pretty(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}
