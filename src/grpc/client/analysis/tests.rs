use proptest::prelude::*;
use prost::Message;

use super::*;

fn limits(low: f64) -> Limits {
    Limits { low, high: low + 0.5 }
}

fn arm(variant: &str, value: Option<f64>) -> ArmValue {
    let interval = value.map(limits);
    ArmValue { variant: variant.to_owned(), n: 12, numerator: 3.5, denominator: 7.25, value, interval }
}

/// A comparison with everything that it can have, or with nothing.
fn comparison(variant: &str, decision: Option<GuardrailDecision>) -> Comparison {
    let point =
        SequencePoint { day: "2026-11-30".to_owned(), n: 9, delta: 0.1, low: -0.2, high: 0.4, p: 0.7 };
    let effect = decision.map(|_| Effect {
        delta: 0.1,
        sequence: limits(-0.2),
        sequence_p: 0.5,
        fixed: limits(-0.1),
        fixed_p: 0.25,
        relative: Some(0.03),
        relative_sequence: Some(limits(-0.01)),
        theta: Some(0.8),
        variance_reduced: Some(0.3),
        over_time: vec![point],
    });
    let guardrail =
        decision.map(|decision| GuardrailResult { tolerate: 0.002, oriented: Some(limits(-0.4)), decision });
    Comparison { variant: variant.to_owned(), hidden: "too few customers".to_owned(), effect, guardrail }
}

fn sample(word: VerdictWord) -> ExperimentReport {
    let decisions = [
        None,
        Some(GuardrailDecision::Advance),
        Some(GuardrailDecision::Hold),
        Some(GuardrailDecision::RollBack),
    ];
    let bare =
        Effect { relative: None, relative_sequence: None, theta: None, variance_reduced: None, ..effect() };
    let mut comparisons: Vec<Comparison> =
        decisions.into_iter().map(|decision| comparison("b", decision)).collect();
    comparisons.push(Comparison { effect: Some(bare), ..comparison("c", None) });
    let kinds =
        [(Role::Primary, Kind::Share), (Role::Guardrail, Kind::Number), (Role::Secondary, Kind::Money)];
    let metric = |(role, kind): (Role, Kind)| MetricResult {
        metric: format!("{role:?}"),
        says: "What it measures.".to_owned(),
        role,
        kind,
        higher_is_better: role == Role::Primary,
        arms: vec![arm("a", Some(0.25)), arm("b", None)],
        comparisons: comparisons.clone(),
    };
    let breakdown = |part: &str| Breakdown {
        part: part.to_owned(),
        arms: vec![arm("a", None)],
        comparisons: comparisons.clone(),
    };
    ExperimentReport {
        experiment: "margins".to_owned(),
        phase: "00000000000000ff".to_owned(),
        state: "running".to_owned(),
        coverage: 0.25,
        other_phases: vec![OtherPhase {
            phase: "00000000000000fe".to_owned(),
            from: "2026-10-01T00:00:00Z".to_owned(),
            to: "2026-10-02T00:00:00Z".to_owned(),
            decisions: 5,
        }],
        from: "2026-11-01T00:00:00Z".to_owned(),
        to: "2026-11-30T00:00:00Z".to_owned(),
        sources: vec![source()],
        alpha: 0.05,
        alpha_each: 0.025,
        comparisons: 2,
        planned: 20_000,
        arms: vec![ArmCount {
            variant: "a".to_owned(),
            weight: 0.5,
            customers: 1,
            decisions: 2,
            outcomes: 3,
        }],
        exposure: vec![ExposureDay { day: "2026-11-01".to_owned(), new: vec![1, 2], all: vec![3, 4] }],
        mismatch: Some(MismatchResult {
            chi_squared: 1.5,
            degrees: 1,
            p: 0.2,
            sequential_p: 0.9,
            is_mismatch: word == VerdictWord::Mismatch,
        }),
        left_out: left_out(),
        metrics: kinds.into_iter().map(metric).collect(),
        by_placement: vec![breakdown("home")],
        by_segment: vec![breakdown("Savers"), breakdown("no segment")],
        verdict: Verdict { word, sentence: "What it is.".to_owned() },
        steps: vec![StepLine {
            time: "2026-11-01T00:00:00Z".to_owned(),
            action: "roll_back".to_owned(),
            coverage: 0.25,
            release: 7,
            author: "guardrail".to_owned(),
            reason: "it does harm".to_owned(),
        }],
        warnings: vec!["A warning.".to_owned()],
        method: vec!["A method.".to_owned(), "Another.".to_owned()],
    }
}

fn effect() -> Effect {
    let found = comparison("b", Some(GuardrailDecision::Hold)).effect;
    found.unwrap()
}

fn source() -> Source {
    Source { server: "s-1".to_owned(), newest: "2026-11-30T00:00:00Z".to_owned(), age_seconds: 61 }
}

fn left_out() -> LeftOut {
    LeftOut {
        unknown_decisions: 1,
        forced_decisions: 2,
        crossed_customers: 3,
        late_outcomes: 4,
        unmatched_outcomes: 5,
    }
}

/// What arrives of a report.
fn sent(report: &ExperimentReport) -> Result<ExperimentReport, Unreadable> {
    let bytes = wire::ExperimentReport::from(report.clone()).encode_to_vec();
    wire::ExperimentReport::decode(&bytes[..]).unwrap().try_into()
}

#[test]
fn a_report_arrives_as_it_was_made() {
    use VerdictWord::{Better, GuardrailBroken, Mismatch, TooEarly, Undecided, Worse};
    for word in [Mismatch, TooEarly, Undecided, Better, Worse, GuardrailBroken] {
        let report = sample(word);
        assert_eq!(sent(&report), Ok(report));
    }
    let empty = ExperimentReport { mismatch: None, metrics: Vec::new(), ..sample(TooEarly) };
    assert_eq!(sent(&empty), Ok(empty));
}

#[test]
fn metrics_arrive_as_they_were_made() {
    for kind in [Kind::Share, Kind::Number, Kind::Money] {
        let head = MetricHead {
            metric: "conversion".to_owned(),
            says: "What it measures.".to_owned(),
            kind,
            higher_is_better: kind != Kind::Money,
        };
        let row = MetricsRow {
            part: "all".to_owned(),
            customers: 3,
            decisions: 4,
            values: vec![arm("", Some(0.5)), arm("", None)],
        };
        let report = MetricsReport {
            placement: "home".to_owned(),
            by: "offer".to_owned(),
            from: "2026-11-01T00:00:00Z".to_owned(),
            to: "2026-11-30T00:00:00Z".to_owned(),
            sources: vec![source()],
            metrics: vec![head],
            rows: vec![row],
            left_out: left_out(),
            warnings: vec!["A warning.".to_owned()],
            method: vec!["A method.".to_owned()],
        };
        let bytes = wire::MetricsReport::from(report.clone()).encode_to_vec();
        let read = wire::MetricsReport::decode(&bytes[..]).unwrap();
        assert_eq!(MetricsReport::try_from(read), Ok(report));
    }
}

#[test]
fn an_answer_of_another_version_is_named_by_what_it_lacks() {
    let report = wire::ExperimentReport::from(sample(VerdictWord::Better));
    let told = |report: wire::ExperimentReport| ExperimentReport::try_from(report).unwrap_err().to_string();
    assert!(
        told(wire::ExperimentReport { verdict: None, ..report.clone() }).contains("`verdict` is missing")
    );
    assert!(told(wire::ExperimentReport { left_out: None, ..report.clone() }).contains("`left_out`"));
    let mut unknown = report.clone();
    unknown.metrics[0].role = 77;
    assert!(told(unknown).contains("`role` is 77"));
    let mut unknown = report;
    unknown.metrics[1].kind = 0;
    assert!(told(unknown).contains("`kind` is 0"));
}

proptest! {
    #[test]
    fn numbers_arrive_to_the_last_bit(
        value in proptest::option::of(proptest::num::f64::NORMAL | proptest::num::f64::ZERO),
        low in proptest::num::f64::NORMAL,
        high in proptest::num::f64::ANY.prop_filter("equal to itself", |high| !high.is_nan()),
        n in any::<u64>(),
    ) {
        let mut report = sample(VerdictWord::Undecided);
        report.metrics[0].arms[0] = ArmValue {
            n,
            numerator: low,
            denominator: high,
            value,
            interval: value.map(|_| Limits { low, high }),
            ..arm("a", None)
        };
        prop_assert_eq!(sent(&report), Ok(report));
    }
}
