//! Metrics by offer, segment or day, on a page and for a terminal.

use report::{Column, Header, Page, Section, Table};
use telemetry::foreign;

use super::grid::{table, wrapped};
use super::number::{Style, interval, interval_shown, number, number_or_none, shown, shown_or_none};
use super::page::{self, STYLE};
use super::text::{left_out, sources};
use super::words::{better, code, escape, or_none, prose};
use crate::report::{MetricHead, MetricsReport, MetricsRow};

use Column::{Number, Words};

/// What a report is of, in a few words.
fn title(report: &MetricsReport) -> String {
    let placement = if report.placement.is_empty() { "all placements" } else { &report.placement };
    format!("Metrics of {placement} by {}", report.by)
}

/// The page.
pub(super) fn html(report: &MetricsReport) -> String {
    let title = title(report);
    let all = report.rows.last();
    let tiles = all.map_or_else(Vec::new, |row| {
        vec![
            (number(row.customers, Style::Count), "customers".to_owned()),
            (number(row.decisions, Style::Count), "decisions".to_owned()),
        ]
    });
    let header = Header {
        title: foreign::escaped(&title).into_owned(),
        source: format!(
            "Decisions from {} to {}.",
            escape(or_none(&report.from)),
            escape(or_none(&report.to))
        ),
        lead: format!(
            "A row for each {}, then one for all. Intervals are of 95\u{a0}%, for one look. Differences between rows \
             are no effects: who is shown what was not drawn by lot.",
            escape(&report.by)
        ),
        warnings: report.warnings.iter().map(|warning| prose(warning)).collect(),
        tiles,
    };
    let metrics: String =
        report.metrics.iter().enumerate().map(|(at, metric)| of_metric(report, at, metric)).collect();
    let page = Page {
        title: foreign::escaped(&title).into_owned(),
        style: STYLE,
        header,
        sections: vec![
            Section::new("overview", "Overview", overview(report)),
            Section::new("metrics", "Each metric", metrics),
            Section::new("left-out", "Left out", page::left_out(&report.left_out)),
            Section::new("sources", "Sources", page::servers(&report.sources)),
            Section::new("method", "Method", page::list(&report.method)),
        ],
        footer: "Written by Proffer. The same report as JSON has every number in full.".to_owned(),
    };
    page.html()
}

/// Customers and decisions of each row.
fn overview(report: &MetricsReport) -> String {
    let by = escape(&report.by);
    let mut table = Table::new(&[(by.as_str(), Words), ("customers (n)", Number), ("decisions", Number)]);
    for (at, row) in report.rows.iter().enumerate() {
        let cells =
            [escape(&row.part), number(row.customers, Style::Count), number(row.decisions, Style::Count)];
        table.row(class(report, at), &cells);
    }
    table.wide()
}

/// The row of all stands out.
fn class(report: &MetricsReport, row: usize) -> &'static str {
    if row + 1 == report.rows.len() { "chosen" } else { "" }
}

fn of_metric(report: &MetricsReport, at: usize, metric: &MetricHead) -> String {
    let by = escape(&report.by);
    let mut table = Table::new(&[
        (by.as_str(), Words),
        ("customers (n)", Number),
        ("sum", Number),
        ("divided by", Number),
        ("value", Number),
        ("interval of 95\u{a0}%", Number),
    ]);
    for (place, row) in report.rows.iter().enumerate() {
        let Some(value) = row.values.get(at) else { continue };
        table.row(
            class(report, place),
            &[
                escape(&row.part),
                number(value.n, Style::Count),
                number(value.numerator, Style::Sum),
                number(value.denominator, Style::Sum),
                number_or_none(value.value, Style::Value(metric.kind)),
                interval(value.interval, Style::Value(metric.kind)),
            ],
        );
    }
    format!(
        "<h3>{} <span class=\"id\">{}</span></h3>\n<p>{}</p>\n{}",
        code(&metric.metric),
        better(metric.higher_is_better),
        report::sentence(&foreign::escaped(&metric.says)),
        table.wide()
    )
}

/// The text.
pub(super) fn text(report: &MetricsReport) -> String {
    let source =
        format!("{}; decisions from {} to {}", title(report), or_none(&report.from), or_none(&report.to));
    let mut paragraphs = vec![wrapped(&source)];
    paragraphs.extend(report.warnings.iter().map(|warning| wrapped(&format!("Note: {warning}"))));
    for (at, metric) in report.metrics.iter().enumerate() {
        let columns = [
            (report.by.as_str(), Words),
            ("customers", Number),
            ("decisions", Number),
            ("value", Number),
            ("interval of 95 %", Number),
        ];
        let rows: Vec<Vec<String>> = report.rows.iter().filter_map(|row| text_row(row, at, metric)).collect();
        let heading =
            wrapped(&format!("`{}`, {}: {}", metric.metric, better(metric.higher_is_better), metric.says));
        paragraphs.push(format!("{heading}\n{}", table(&columns, &rows)));
    }
    paragraphs.extend(left_out(&report.left_out));
    paragraphs.extend(sources(&report.sources));
    format!("{}\n", paragraphs.join("\n\n"))
}

fn text_row(row: &MetricsRow, at: usize, metric: &MetricHead) -> Option<Vec<String>> {
    let value = row.values.get(at)?;
    Some(vec![
        row.part.clone(),
        shown(value.n, Style::Count),
        shown(row.decisions, Style::Count),
        shown_or_none(value.value, Style::Value(metric.kind)),
        interval_shown(value.interval, Style::Value(metric.kind)),
    ])
}
