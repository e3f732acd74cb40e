//! Metrics that a policy declares, and what experiments are judged by.

use std::fmt::Write as _;
use std::time::Duration;

use super::super::experiments;
use super::super::sample::POLICY;
use super::{check_at, check_whole, line_of};
use crate::{
    Amount, Better, Denominator, Experiments, Guardrail, Measured, Metric, MetricKind, Numerator, Sum,
    built_in,
};

/// Two metrics, and an experiment that is judged by one of them.
pub(super) const METRICS: &str = r#"
[[metric]]
id = "gold_revenue"
numerator = { outcome = "accept", sum = "value" }
denominator = { outcome = ["impression"], sum = "count" }
window = "7d"
better = "higher"

[[metric]]
id = "annoyed"
numerator = { outcome = ["reject", "dismiss", "reject"], sum = "any" }
per = "customer"
better = "lower"

[[experiment]]
id = "judged"
coverage = 1.0
[[experiment.variant]]
id = "a"
weight = 0.5
[[experiment.variant]]
id = "b"
weight = 0.5
[experiment.metric]
primary = "gold_revenue"
guardrails = [
    { metric = "slow_share", tolerate = 0.001 },
    { metric = "annoyed", tolerate = 0 }, # none
]
secondary = ["engagement", "conversion", "engagement"]
alpha = 0.1
planned = 5_000
covariate = "14d"
"#;

fn day(count: u64) -> Duration {
    Duration::from_hours(24 * count)
}

fn sum(outcomes: &[&str], amount: Amount) -> Sum {
    Sum { outcomes: outcomes.iter().map(|outcome| (*outcome).to_owned()).collect(), amount }
}

fn metric(experiments: &Experiments<String>, id: &str) -> usize {
    experiments.find_metric(id).unwrap_or_else(|| panic!("no metric {id}")).0
}

/// What the experiment `judged` is judged by.
fn measured(experiments: &Experiments<String>) -> Measured {
    experiments.find("judged").unwrap().1.measured.clone().unwrap()
}

#[test]
fn the_metrics_say_what_they_say() {
    let read = experiments(METRICS);
    let ids: Vec<&str> = read.metrics.iter().map(|metric| metric.id.as_str()).collect();
    assert!(ids.is_sorted());
    assert_eq!(ids.len(), built_in().len() + 2);
    let (_, revenue) = read.find_metric("gold_revenue").unwrap();
    let expected = Metric {
        id: "gold_revenue".to_owned(),
        title: "gold_revenue".to_owned(),
        says: "Reported value of `accept` divided by number of `impression`; outcomes up to 7d after the decision."
            .to_owned(),
        numerator: Numerator::Outcomes(sum(&["accept"], Amount::Value)),
        denominator: Denominator::Outcomes(sum(&["impression"], Amount::Count)),
        window: Some(day(7)),
        better: Better::Higher,
        kind: MetricKind::Money,
        line: 2,
    };
    assert_eq!(*revenue, expected);
    let (_, annoyed) = read.find_metric("annoyed").unwrap();
    let expected = Metric {
        id: "annoyed".to_owned(),
        title: "annoyed".to_owned(),
        says: "Share of customers with at least one `dismiss` or `reject`; outcomes in time by the policy's attribution."
            .to_owned(),
        numerator: Numerator::Outcomes(sum(&["dismiss", "reject"], Amount::Any)),
        denominator: Denominator::Customers,
        window: None,
        better: Better::Lower,
        kind: MetricKind::Share,
        line: 9,
    };
    assert_eq!(*annoyed, expected);
    assert!(read.find_metric("gold").is_none());
}

#[test]
fn an_experiment_is_judged_by_what_it_names() {
    let read = experiments(METRICS);
    let expected = Measured {
        primary: metric(&read, "gold_revenue"),
        guardrails: vec![
            Guardrail { metric: metric(&read, "slow_share"), tolerate: 0.001 },
            Guardrail { metric: metric(&read, "annoyed"), tolerate: 0.0 },
        ],
        secondary: vec![metric(&read, "conversion"), metric(&read, "engagement")],
        alpha: 0.1,
        planned: 5_000,
        covariate: day(14),
    };
    assert_eq!(measured(&read), expected);
}

#[test]
fn the_primary_metric_is_enough_and_no_metric_at_all_is_fine() {
    let (before, _) = METRICS.split_once("guardrails = [").unwrap();
    let read = experiments(before);
    let found = measured(&read);
    assert_eq!(found, Measured::by(metric(&read, "gold_revenue")));
    assert_eq!((found.planned, found.covariate), (20_000, day(28)));
    assert!((found.alpha - 0.05).abs() < f64::EPSILON);
    assert!(found.guardrails.is_empty() && found.secondary.is_empty());
    let (before, _) = METRICS.split_once("[experiment.metric]").unwrap();
    assert_eq!(experiments(before).find("judged").unwrap().1.measured, None);
    assert!(experiments(POLICY).all.iter().all(|experiment| experiment.measured.is_none()));
}

#[test]
fn a_metric_may_count_an_outcome_that_the_policy_declares() {
    let policy = METRICS.replacen("outcome = \"accept\"", "outcome = \"called_back\"", 1);
    let read = experiments(&policy);
    let (_, found) = read.find_metric("gold_revenue").unwrap();
    assert_eq!(found.numerator, Numerator::Outcomes(sum(&["called_back"], Amount::Value)));
}

#[test]
fn guardrails_may_have_headings_of_their_own() {
    let (before, rest) = METRICS.split_once("guardrails = [").unwrap();
    let (_, rest) = rest.split_once("]\n").unwrap();
    let headings = "[[experiment.metric.guardrails]]\nmetric = \"slow_share\"\ntolerate = 0.001\n\
                    [[experiment.metric.guardrails]]\nmetric = \"annoyed\"\ntolerate = 0\n";
    assert_eq!(measured(&experiments(&format!("{before}{rest}{headings}"))), measured(&experiments(METRICS)));
}

#[test]
fn per_and_a_denominator_exclude_each_other() {
    let policy = METRICS.replacen("window = \"7d\"", "per = \"decision\"", 1);
    check_at(
        &policy,
        "per = \"decision\"",
        "metric `gold_revenue`: `per` and `denominator` exclude each other; keep one",
    );
}

#[test]
fn a_metric_needs_a_numerator() {
    let (before, rest) =
        METRICS.split_once("numerator = { outcome = \"accept\", sum = \"value\" }\n").unwrap();
    check_whole(
        &format!("{before}{rest}"),
        &[
            "policy.toml:2: metric `gold_revenue`: `numerator` is missing; give it outcomes and what they add, such as { \
           outcome = \"accept\", sum = \"count\" }",
        ],
    );
}

#[test]
fn two_metrics_of_one_id_are_refused_at_the_later() {
    let policy = METRICS.replacen("id = \"annoyed\"", "id = \"gold_revenue\"", 1);
    let policy = policy.replacen("{ metric = \"annoyed\", tolerate = 0 }, # none\n", "", 1);
    let line =
        policy.lines().collect::<Vec<_>>().iter().rposition(|line| *line == "id = \"gold_revenue\"").unwrap()
            + 1;
    check_whole(
        &policy,
        &[&format!(
            "policy.toml:{line}: metric `gold_revenue`: `gold_revenue` is already the id of the metric in line 2"
        )],
    );
}

#[test]
fn a_metric_that_is_wrong_is_known_all_the_same() {
    for (valid, broken) in [
        ("sum = \"value\"", "sum = \"values\""),
        ("outcome = \"accept\"", "outcome = \"acept\""),
        ("\"7d\"", "7"),
    ] {
        let found = super::problems(&METRICS.replacen(valid, broken, 1), "");
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("metric `gold_revenue`"), "{found:?}");
    }
}

#[test]
fn mistakes_in_one_line_are_on_that_line() {
    let policy = METRICS.replacen("tolerate = 0 }, # none", "tolerance = 0 }, # none", 1);
    let line = line_of(&policy, "# none");
    let place = format!("policy.toml:{line}: experiment `judged` [metric] [guardrails]: ");
    check_whole(
        &policy,
        &[
            &format!(
                "{place}`tolerate` is missing; give it a loss of at least 0 in the unit of the metric, such as 0.002"
            ),
            &format!("{place}unknown key `tolerance`; did you mean `tolerate`?"),
        ],
    );
}

#[test]
fn too_many_are_refused() {
    let many: String = (0..101).fold(String::new(), |mut text, number| {
        writeln!(
            text,
            "[[metric]]\nid = \"m{number}\"\nper = \"decision\"\nbetter = \"higher\"\n\
             numerator = {{ outcome = \"click\", sum = \"count\" }}"
        )
        .unwrap();
        text
    });
    check_whole(
        &many,
        &["policy.toml:1: 101 metrics; at most 100 are allowed, so remove those that are over"],
    );
    let (before, rest) = METRICS.split_once("guardrails = [").unwrap();
    let (_, rest) = rest.split_once("]\n").unwrap();
    let ids: Vec<String> = built_in().into_iter().map(|metric| metric.id).collect();
    let guardrail = |id: &String| format!("{{ metric = \"{id}\", tolerate = 0.1 }}");
    let guardrails: Vec<String> = ids.iter().take(11).map(guardrail).collect();
    let rest = rest.replacen("secondary = [\"engagement\", \"conversion\", \"engagement\"]\n", "", 1);
    check_at(
        &format!("{before}guardrails = [{}]\n{rest}", guardrails.join(", ")),
        "guardrails = [",
        "experiment `judged` [metric]: `guardrails` has 11 and may have 10: each makes every limit wider",
    );
    let secondary = ["\"engagement\""; 21].join(", ");
    check_at(
        &format!("{before}secondary = [{secondary}]\n{rest}"),
        "secondary = [",
        "experiment `judged` [metric]: `secondary` has 21 metrics and may have 20; remove those that are over",
    );
}
