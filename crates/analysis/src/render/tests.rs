//! Reports of an invented experiment with three arms.

mod sample;

use std::collections::BTreeSet;

use proptest::prelude::*;
use report::checks::{self_contained, well_formed};
use serde::Serialize;
use serde_json::Value;

use self::sample::{empty, hidden, limits, of_offers, sample, wrong_split};
use super::*;
use crate::report::{Kind, Limits, Role};

/// The bits of all numbers of a report as JSON.
fn numbers(report: &impl Serialize) -> BTreeSet<u64> {
    fn walk(value: &Value, found: &mut BTreeSet<u64>) {
        match value {
            Value::Number(number) => {
                found.insert(number.as_f64().unwrap().to_bits());
            }
            Value::Array(values) => values.iter().for_each(|value| walk(value, found)),
            Value::Object(values) => values.values().for_each(|value| walk(value, found)),
            Value::Null | Value::Bool(_) | Value::String(_) => {}
        }
    }
    let mut found = BTreeSet::new();
    walk(&serde_json::to_value(report).unwrap(), &mut found);
    found
}

/// The numbers of a page with the text that shows them; that of a mark in a picture is its title.
fn values(html: &str) -> Vec<(f64, &str)> {
    let parts = html.split("data-value=\"").skip(1);
    parts
        .map(|part| {
            let (value, rest) = part.split_once('"').unwrap();
            let shown = rest.split_once('>').unwrap().1.split_once("</").unwrap().0;
            (value.parse().unwrap(), shown)
        })
        .collect()
}

fn check_page(html: &str, report: &impl Serialize) {
    assert_eq!(well_formed(html), Ok(()));
    assert_eq!(self_contained(html), Ok(()));
    let numbers = numbers(report);
    for (value, shown) in values(html) {
        assert!(numbers.contains(&value.to_bits()), "{value}, shown as {shown}, is not in the report");
    }
}

/// Columns by name.
fn lines(text: &str) -> Vec<Vec<String>> {
    assert_eq!(text.matches('\n').count(), text.matches("\r\n").count(), "line ends of RFC 4180");
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
    reader.records().map(|record| record.unwrap().iter().map(ToOwned::to_owned).collect()).collect()
}

fn cell<'l>(lines: &'l [Vec<String>], line: &'l [String], column: &str) -> &'l str {
    &line[lines[0].iter().position(|name| name == column).unwrap()]
}

#[test]
fn every_number_of_a_page_is_one_of_the_report() {
    for report in [sample(), wrong_split(), empty()] {
        check_page(&html(&report), &report);
    }
    check_page(&metrics_html(&of_offers()), &of_offers());
}

#[test]
fn every_number_of_a_result_is_on_the_page() {
    let report = sample();
    let page = html(&report);
    let shown: BTreeSet<u64> = values(&page).iter().map(|(value, _)| value.to_bits()).collect();
    for metric in report.metrics.iter().filter(|metric| metric.role == Role::Primary) {
        let missing: Vec<f64> =
            numbers(metric).difference(&shown).map(|bits| f64::from_bits(*bits)).collect();
        assert!(missing.is_empty(), "{missing:?} of {}", metric.metric);
    }
}

#[test]
fn a_page_has_all_sections_in_order() {
    let page = html(&sample());
    let ids = [
        "arms",
        "exposure",
        "split",
        "primary",
        "guardrails",
        "secondary",
        "segments",
        "placements",
        "value",
        "left-out",
        "sources",
        "ramp",
        "method",
    ];
    let places: Vec<usize> =
        ids.iter().map(|id| page.find(&format!("<section id=\"{id}\">")).expect(id)).collect();
    assert!(places.is_sorted(), "{places:?}");
    assert!(page.find("breaks a guardrail").unwrap() < places[0], "the verdict is on top");
    for text in [
        "+0.60\u{a0}pp",
        "−0.36\u{a0}pp",
        "roll back: it loses more",
        "40 of the 100 customers",
        "exploratory",
    ] {
        assert!(page.contains(text), "{text}");
    }
    // Sequences of two comparisons of the guardrail, one of the primary metric, and the picture of days.
    assert_eq!(page.matches("<svg").count(), 4);
    assert!(page.contains("class=\"zero\"") && page.contains("class=\"band\""), "{page}");
}

#[test]
fn with_a_wrong_split_nothing_else_is_shown() {
    let report = wrong_split();
    let page = html(&report);
    for text in [page.as_str(), &text(&report), &csv(&report)] {
        for result in ["conversion", "opt_out_rate", "travellers", "app_home"] {
            assert!(!text.contains(result), "{result}: {text}");
        }
    }
    assert!(page.contains("sample ratio mismatch"), "{page}");
    assert!(
        page.contains("<span data-value=\"81.25\">81.3</span>") || page.contains(">81.2</span>"),
        "{page}"
    );
    assert_eq!(lines(&csv(&report)).len(), 4);
}

#[test]
fn a_hidden_comparison_shows_no_number_of_it() {
    let mut report = sample();
    report.metrics.truncate(1);
    report.metrics[0].comparisons = vec![hidden("bold"), hidden("shy")];
    (report.by_placement, report.by_segment) = (Vec::new(), Vec::new());
    let page = html(&report);
    assert!(!page.contains("class=\"band\""), "{page}");
    assert_eq!(page.matches("Nothing is shown of <code>").count(), 2);
    assert!(text(&report).contains("Nothing is shown of `bold` yet"), "{}", text(&report));
    let lines = lines(&csv(&report));
    let line = lines.iter().rfind(|line| cell(&lines, line, "about") == "metric").unwrap();
    assert_eq!(cell(&lines, line, "difference"), "");
    assert!(cell(&lines, line, "why_hidden").contains("40 of the 100"));
}

#[test]
fn an_empty_report_says_so() {
    let report = empty();
    assert!(html(&report).contains("No customer has been exposed yet."));
    assert!(text(&report).contains("Too early. There is nothing to compare yet."), "{}", text(&report));
    assert_eq!(lines(&csv(&report)).len(), 1);
    let none = MetricsReport { rows: Vec::new(), metrics: Vec::new(), ..of_offers() };
    check_page(&metrics_html(&none), &none);
    assert_eq!(lines(&metrics_csv(&none)).len(), 1);
    assert!(metrics_text(&none).contains("app_home"));
}

#[test]
fn csv_has_a_line_for_each_metric_arm_and_comparison_with_exact_numbers() {
    let report = sample();
    let lines = lines(&csv(&report));
    // The split; three metrics; a placement and two segments; of three arms each.
    assert_eq!(lines.len(), 1 + 3 + 9 + 9);
    assert!(lines.iter().all(|line| line.len() == lines[0].len()));
    let of = |metric: &str, arm: &str| {
        lines
            .iter()
            .find(|line| cell(&lines, line, "metric") == metric && cell(&lines, line, "arm") == arm)
            .unwrap()
    };
    let bold = of("conversion", "bold");
    let effect = report.metrics[0].comparisons[0].effect.as_ref().unwrap();
    for (column, expected) in [
        ("difference", effect.delta),
        ("any_time_low", effect.sequence.low),
        ("any_time_high", effect.sequence.high),
        ("one_look_p", effect.fixed_p),
        ("value", 560.0 / 10_012.0),
        ("variance_reduced", 0.183_4),
    ] {
        let found: f64 = cell(&lines, bold, column).parse().unwrap();
        assert_eq!(found.to_bits(), expected.to_bits(), "{column}");
    }
    assert_eq!(cell(&lines, bold, "compared_with"), "control");
    assert_eq!(cell(&lines, of("conversion", "control"), "difference"), "");
    assert_eq!(cell(&lines, of("opt_out_rate", "bold"), "follows"), "roll back");
    assert_eq!(cell(&lines, of("opt_out_rate", "bold"), "oriented_low"), "-0.0029");
}

#[test]
fn text_fits_a_terminal() {
    let shown = text(&sample());
    for line in shown.lines().chain(metrics_text(&of_offers()).lines()) {
        assert!(line.chars().count() <= 100, "{line}");
    }
    let places: Vec<usize> = [
        "Arms\n",
        "New customers",
        "Split\n",
        "Primary metric:",
        "Guardrail:",
        "Secondary",
        "by segment",
        "Left out",
    ]
    .iter()
    .map(|title| shown.find(title).expect(title))
    .collect();
    assert!(places.is_sorted(), "{shown}");
    assert!(shown.contains("exploratory") && shown.contains("+0.60 pp"), "{shown}");
}

#[test]
fn hostile_names_are_inert() {
    let hostile = "<script>alert(1)</script>\"'&\u{202e}\u{1b}[2J";
    let mut report = sample();
    report.experiment = hostile.to_owned();
    report.arms[1].variant = hostile.to_owned();
    report.steps[0].reason = hostile.to_owned();
    report.sources[0].server = hostile.to_owned();
    report.by_segment[0].part = "=cmd|' /C calc'!A1,\"x\"".to_owned();
    report.metrics[0].says = hostile.to_owned();
    report.verdict.sentence = hostile.to_owned();
    for metric in &mut report.metrics {
        metric.metric = hostile.to_owned();
        metric.arms[1].variant = hostile.to_owned();
        metric.comparisons[0].variant = hostile.to_owned();
    }
    let page = html(&report);
    check_page(&page, &report);
    assert!(page.contains("&lt;script&gt;"), "{page}");
    for shown in [page, text(&report)] {
        assert!(!shown.contains(['\u{202e}', '\u{1b}']), "{shown}");
    }
    let lines = lines(&csv(&report));
    let parts: Vec<&str> = lines.iter().map(|line| cell(&lines, line, "part")).collect();
    assert!(parts.contains(&"'=cmd|' /C calc'!A1,\"x\""), "{parts:?}");
    let mut metrics = of_offers();
    metrics.rows[0].part = "=cmd".to_owned();
    metrics.metrics[0].metric = hostile.to_owned();
    metrics.by = hostile.to_owned();
    check_page(&metrics_html(&metrics), &metrics);
    assert!(metrics_csv(&metrics).contains(",'=cmd,"), "{}", metrics_csv(&metrics));
}

#[test]
fn a_plan_is_text() {
    let found = PlannedEffect {
        difference: 0.005,
        relative: Some(0.1),
        any_time: Some(51_234),
        one_look: Some(31_001),
        any_time_days: Some(17.2),
        one_look_days: None,
    };
    let plan = Planned {
        experiment: "cards".to_owned(),
        metric: "conversion".to_owned(),
        kind: Kind::Share,
        base: 0.05,
        interval: Some(limits(0.048, 0.052)),
        customers: 40_000,
        customers_a_day: 12_000.0,
        coverage: 0.25,
        alpha_each: 0.05,
        power: 0.8,
        planned: 20_000,
        effects: vec![found],
        warnings: vec!["The base is of 3 days.".to_owned()],
    };
    let text = plan_text(&plan);
    for expected in ["5.00 %", "4.80 to 5.20 %", "+0.50 pp", "+10.0 %", "51,234", "31,001", "18", "80 %"] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    assert_eq!(serde_json::from_str::<Value>(&plan_json(&plan)).unwrap()["effects"][0]["any_time"], 51_234);
}

#[test]
fn json_is_the_report() {
    let value: Value = serde_json::from_str(&json(&sample())).unwrap();
    assert_eq!(value, serde_json::to_value(sample()).unwrap());
    let value: Value = serde_json::from_str(&metrics_json(&of_offers())).unwrap();
    assert_eq!(value["rows"][1]["part"], "all");
}

proptest! {
    /// Whatever a report has, its page shows nothing else; a number that is none is shown as missing.
    #[test]
    fn any_number_is_shown_as_it_is(
        reals in prop::collection::vec(prop::num::f64::ANY, 6),
        counts in prop::collection::vec(any::<u64>(), 3),
    ) {
        let mut report = sample();
        let effect = report.metrics[0].comparisons[0].effect.as_mut().unwrap();
        (effect.delta, effect.sequence_p, effect.relative) = (reals[0], reals[1], Some(reals[2]));
        (effect.over_time[0].low, effect.over_time[0].high) = (reals[3], reals[4]);
        effect.sequence = Limits { low: reals[5], high: reals[4] };
        report.arms[0].customers = counts[0];
        report.metrics[0].arms[0].n = counts[1];
        report.sources[0].age_seconds = counts[2];
        check_page(&html(&report), &report);
        prop_assert!(!text(&report).contains("NaN") && !text(&report).contains("inf"));
    }
}
