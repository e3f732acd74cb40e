//! Figures by offer, segment and day.

use super::*;
use crate::report::{MetricsReport, MetricsRow};
use crate::{By, Question, business_of};

fn memory() -> Memory {
    let mut memory = Memory::default();
    for (id, customer, offers, segment, at) in [
        ("d1", "C1", vec!["gold", "loan"], Some(1), 1),
        ("d2", "C1", vec!["gold"], Some(2), DAY + 2),
        ("d3", "C2", vec!["loan"], Some(1), 3),
        ("d4", "C3", vec![], None, 2 * DAY),
        ("d5", "", vec!["gold"], None, 5),
    ] {
        let decided = memory.decide(id, customer, "control", START + at);
        decided.offers = offers.into_iter().map(str::to_owned).collect();
        (decided.segment, decided.arm) = (segment, None);
    }
    for (event, decision, offer, value, at) in [
        ("e1", "d1", "loan", 7.0, DAY),
        ("e1", "d1", "loan", 7.0, 3 * DAY),
        ("e2", "d2", "gold", 2.0, 30 * DAY),
        // An offer that its decision did not show.
        ("e3", "d3", "gold", 4.0, DAY),
    ] {
        let happened = memory.happen(event, "accept", decision, START + at);
        (happened.offer, happened.value) = (offer.to_owned(), value);
    }
    memory
}

fn ask(by: By, placement: &str, to: Option<i64>) -> MetricsReport {
    let metrics = built_in();
    let wanted: Vec<&Metric> = ["revenue_per_customer", "coverage", "retention"]
        .into_iter()
        .map(|id| &metrics[index(&metrics, id)])
        .collect();
    let segments = BTreeMap::from([(1, "Savers".to_owned())]);
    let to = to.map(|to| DateTime::from_timestamp_micros(to).unwrap());
    let question = Question { placement, by, from: None, to, metrics: &wanted, segments: &segments };
    business_of(&memory(), &question, now(), &Limits::default()).unwrap()
}

/// (part, customers, decisions, revenue, decisions with an offer, customers who came back)
fn shown(report: &MetricsReport) -> Vec<(&str, u64, u64, f64, f64, f64)> {
    let row = |row: &MetricsRow| {
        let values: Vec<f64> = row.values.iter().map(|value| value.numerator).collect();
        (values, row.customers, row.decisions)
    };
    let mut shown = Vec::new();
    for found in &report.rows {
        let (values, customers, decisions) = row(found);
        shown.push((found.part.as_str(), customers, decisions, values[0], values[1], values[2]));
    }
    shown
}

#[test]
fn offers_have_the_decisions_that_showed_them_and_the_outcomes_about_them() {
    let report = ask(By::Offer, "", None);
    let all = ("all", 3, 4, 13.0, 3.0, 1.0);
    assert_eq!(shown(&report), [("gold", 1, 2, 2.0, 2.0, 1.0), ("loan", 2, 2, 7.0, 2.0, 1.0), all]);
    assert_eq!((report.left_out.unknown_decisions, report.by.as_str()), (1, "offer"));
    let gold = &report.rows[0].values[0];
    assert_eq!((gold.value, gold.n, gold.variant.as_str()), (Some(2.0), 1, ""));
    assert_eq!(
        report.metrics.iter().map(|head| head.metric.as_str()).collect::<Vec<_>>(),
        ["revenue_per_customer", "coverage", "retention"]
    );
}

#[test]
fn segments_and_days_are_those_of_the_decision() {
    let all = ("all", 3, 4, 13.0, 3.0, 1.0);
    assert_eq!(
        shown(&ask(By::Segment, "", None)),
        [
            ("no segment", 1, 1, 0.0, 0.0, 0.0),
            ("Savers", 2, 2, 11.0, 2.0, 1.0),
            ("segment 2", 1, 1, 2.0, 1.0, 0.0),
            all,
        ]
    );
    assert_eq!(
        shown(&ask(By::Day, "", None)),
        [
            ("2026-11-01", 2, 2, 11.0, 2.0, 1.0),
            ("2026-11-02", 1, 1, 2.0, 1.0, 0.0),
            ("2026-11-03", 1, 1, 0.0, 0.0, 0.0),
            all,
        ]
    );
}

#[test]
fn a_time_and_a_placement_cut_decisions_and_not_their_outcomes() {
    let report = ask(By::Day, "home", Some(START + DAY + 3));
    assert_eq!(
        shown(&report),
        [
            ("2026-11-01", 2, 2, 11.0, 2.0, 1.0),
            ("2026-11-02", 1, 1, 2.0, 1.0, 0.0),
            ("all", 2, 3, 13.0, 3.0, 1.0),
        ]
    );
    assert_eq!((report.from.as_str(), report.placement.as_str()), ("2026-11-01T00:00:00.000Z", "home"));
    let none = ask(By::Day, "elsewhere", None);
    assert_eq!(shown(&none), [("all", 0, 0, 0.0, 0.0, 0.0)]);
    assert_eq!(none.rows[0].values[0].value, None);
    assert!(none.warnings.iter().any(|warning| warning.contains("No decision")));
}
