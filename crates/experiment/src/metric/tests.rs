//! The metrics that every policy has, and the sentences of those that a policy declares.

use super::*;

/// The types of outcomes that every policy has.
const OUTCOMES: [&str; 8] =
    ["impression", "click", "dismiss", "accept", "convert", "reject", "opt_out", "complaint"];

fn sum(outcome: &str, amount: Amount) -> Sum {
    Sum { outcomes: vec![outcome.to_owned()], amount }
}

#[test]
fn the_metrics_that_are_built_in_are_those_of_the_guide() {
    let guide = include_str!("../../../../docs/guide/experiments.md");
    let all = built_in();
    for metric in &all {
        let row = format!("| `{}` | ", metric.id);
        assert!(guide.contains(&row), "{row} is not in the guide");
        assert!(guide.contains(metric.says.trim_end_matches('.')), "{} is not in the guide", metric.says);
    }
    let ids: Vec<&str> = all.iter().map(|metric| metric.id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "acceptance",
            "complaint_rate",
            "conversion",
            "coverage",
            "diversity",
            "engagement",
            "margin_per_customer",
            "margin_per_decision",
            "opt_out_rate",
            "relevance",
            "retention",
            "revenue_per_customer",
            "revenue_per_decision",
            "slow_share",
            "value_per_customer",
            "value_per_decision",
        ]
    );
}

#[test]
fn each_is_told_in_a_sentence_and_counts_outcomes_that_exist() {
    for metric in built_in() {
        assert!(metric.says.starts_with(|letter: char| letter.is_ascii_uppercase()), "{}", metric.says);
        assert!(metric.says.ends_with('.') && !metric.title.contains('_'), "{metric:?}");
        let sums = [
            match &metric.numerator {
                Numerator::Outcomes(sum) => Some(sum),
                Numerator::BuiltIn(_) => None,
            },
            match &metric.denominator {
                Denominator::Outcomes(sum) => Some(sum),
                Denominator::Customers | Denominator::Decisions => None,
            },
        ];
        for sum in sums.into_iter().flatten() {
            assert!(!sum.outcomes.is_empty() && sum.outcomes.is_sorted(), "{metric:?}");
            assert!(sum.outcomes.iter().all(|outcome| OUTCOMES.contains(&outcome.as_str())), "{metric:?}");
        }
    }
    let lower: Vec<String> = built_in()
        .into_iter()
        .filter(|metric| metric.better == Better::Lower)
        .map(|metric| metric.id)
        .collect();
    assert_eq!(lower, ["complaint_rate", "opt_out_rate", "slow_share"]);
}

#[test]
fn relevance_weighs_each_reaction_and_no_impression() {
    let all = built_in();
    let relevance = &all[find(&all, "relevance").unwrap()];
    let Denominator::Outcomes(reactions) = &relevance.denominator else { panic!("{relevance:?}") };
    for outcome in OUTCOMES {
        let weight = BuiltIn::relevance(outcome);
        assert_eq!(weight.is_some(), reactions.outcomes.iter().any(|known| known == outcome), "{outcome}");
        assert!(weight.is_none_or(|weight| (-1.0..=1.0).contains(&weight)), "{outcome}");
    }
    assert_eq!(BuiltIn::relevance("impression"), None);
    assert_eq!(BuiltIn::relevance("called_back"), None);
}

#[test]
fn how_a_value_is_written_follows_from_what_is_divided_by_what() {
    use Amount::{Any, Count, Margin, OfferValue, Value};
    let of = |amount| Denominator::Outcomes(sum("impression", amount));
    for (numerator, denominator, expected) in [
        (Any, Denominator::Customers, MetricKind::Share),
        (Count, Denominator::Customers, MetricKind::Mean),
        (Count, Denominator::Decisions, MetricKind::Mean),
        (Value, Denominator::Customers, MetricKind::Money),
        (OfferValue, Denominator::Decisions, MetricKind::Money),
        (Margin, of(Count), MetricKind::Money),
        (Value, of(Any), MetricKind::Money),
        (Value, of(OfferValue), MetricKind::Ratio),
        (Any, of(Any), MetricKind::Ratio),
        (Count, of(Count), MetricKind::Ratio),
    ] {
        assert_eq!(kind(numerator, &denominator), expected, "{numerator:?} {denominator:?}");
    }
}

#[test]
fn a_declared_metric_says_what_it_measures() {
    let day = Some(Duration::from_hours(24));
    let clicks = sum("click", Amount::Count);
    assert_eq!(
        says(&clicks, &Denominator::Decisions, day),
        "Number of `click` per decision; outcomes up to 1d after the decision."
    );
    assert_eq!(
        says(&sum("accept", Amount::Margin), &Denominator::Customers, None),
        "Value less cost of the offers of `accept` per customer; outcomes in time by the policy's attribution."
    );
    assert_eq!(
        says(&sum("accept", Amount::OfferValue), &Denominator::Outcomes(sum("click", Amount::Any)), day),
        "Value of the offers of `accept` divided by customers with at least one `click`; outcomes up to 1d after the \
         decision."
    );
}
