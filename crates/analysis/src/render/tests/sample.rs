//! Invented reports.

use crate::report::{
    ArmCount, ArmValue, Breakdown, Comparison, Effect, ExperimentReport, ExposureDay, GuardrailDecision,
    GuardrailResult, Kind, LeftOut, Limits, MetricHead, MetricResult, MetricsReport, MetricsRow,
    MismatchResult, OtherPhase, Role, SequencePoint, Source, StepLine, Verdict, VerdictWord,
};

pub(super) fn limits(low: f64, high: f64) -> Limits {
    Limits { low, high }
}

fn arm(variant: &str, n: u64, numerator: f64) -> ArmValue {
    let value = numerator / n as f64;
    let interval = Some(limits(value - 0.004_1, value + 0.004_3));
    ArmValue {
        variant: variant.to_owned(),
        n,
        numerator,
        denominator: n as f64,
        value: Some(value),
        interval,
    }
}

fn effect(delta: f64) -> Effect {
    let point = |day: u32| SequencePoint {
        day: format!("2026-11-{day:02}"),
        n: 1_234 * u64::from(day),
        delta: delta * f64::from(day) / 3.0,
        low: delta - 0.037 / f64::from(day),
        high: delta + 0.036 / f64::from(day),
        p: 0.9 / f64::from(day),
    };
    Effect {
        delta,
        sequence: Limits { low: delta - 0.009_615_6, high: delta + 0.009_615_7 },
        sequence_p: 0.607_915,
        fixed: Limits { low: delta - 0.006_209_6, high: delta + 0.006_209_5 },
        fixed_p: 0.058_25,
        relative: Some(delta / 0.05),
        relative_sequence: Some(limits(-0.071_3, 0.321_9)),
        theta: Some(0.412_3),
        variance_reduced: Some(0.183_4),
        over_time: (1..=3).map(point).collect(),
    }
}

fn compared(variant: &str, effect: Effect) -> Comparison {
    Comparison { variant: variant.to_owned(), hidden: String::new(), effect: Some(effect), guardrail: None }
}

pub(super) fn hidden(variant: &str) -> Comparison {
    let hidden = format!("`{variant}` has 40 of the 100 customers that are needed");
    Comparison { variant: variant.to_owned(), hidden, effect: None, guardrail: None }
}

fn metric(id: &str, role: Role, kind: Kind, comparisons: Vec<Comparison>) -> MetricResult {
    MetricResult {
        metric: id.to_owned(),
        says: "Share of customers with a conversion".to_owned(),
        role,
        kind,
        higher_is_better: id != "opt_out_rate",
        arms: vec![arm("control", 10_000, 500.0), arm("bold", 10_012, 560.0), arm("shy", 9_988, 491.0)],
        comparisons,
    }
}

fn guarded(variant: &str, decision: GuardrailDecision) -> Comparison {
    let oriented = Some(limits(-0.002_9, 0.001_4));
    let guardrail = Some(GuardrailResult { tolerate: 0.002, oriented, decision });
    Comparison { guardrail, ..compared(variant, effect(0.001_1)) }
}

/// The arms.
const NAMES: [&str; 3] = ["control", "bold", "shy"];

fn arms() -> Vec<ArmCount> {
    let arm = |(name, customers): (&str, u64)| ArmCount {
        variant: name.to_owned(),
        weight: 1.0 / 3.0,
        customers,
        decisions: customers * 3 + 7,
        outcomes: customers / 9,
    };
    NAMES.into_iter().zip([10_000, 10_012, 9_988]).map(arm).collect()
}

fn exposure() -> Vec<ExposureDay> {
    let day = |day: u64| ExposureDay {
        day: format!("2026-11-{day:02}"),
        new: vec![3_300 + day, 3_337 - day, 3_329],
        all: vec![3_301 * day, 3_336 * day, 3_329 * day],
    };
    (1..=3).map(day).collect()
}

fn part(part: &str) -> Breakdown {
    let bold = compared("bold", Effect { over_time: Vec::new(), ..effect(0.003_7) });
    Breakdown {
        part: part.to_owned(),
        arms: NAMES.into_iter().map(|name| arm(name, 3_217, 161.0)).collect(),
        comparisons: vec![bold, hidden("shy")],
    }
}

/// An experiment with a result, a broken guardrail and a hidden comparison.
pub(super) fn sample() -> ExperimentReport {
    let pair = || vec![compared("bold", effect(0.006)), hidden("shy")];
    ExperimentReport {
        experiment: "cards".to_owned(),
        phase: "00000000000000a7".to_owned(),
        state: "running".to_owned(),
        coverage: 0.25,
        other_phases: vec![OtherPhase {
            phase: "00000000000000a6".to_owned(),
            from: "2026-10-01T00:00:00Z".to_owned(),
            to: "2026-10-09T00:00:00Z".to_owned(),
            decisions: 4_711,
        }],
        from: "2026-11-01T00:00:00Z".to_owned(),
        to: "2026-11-03T23:00:00Z".to_owned(),
        sources: vec![Source {
            server: "s1".to_owned(),
            newest: "2026-11-03T23:00:00Z".to_owned(),
            age_seconds: 7_321,
        }],
        alpha: 0.05,
        alpha_each: 0.012_5,
        comparisons: 4,
        planned: 20_000,
        arms: arms(),
        exposure: exposure(),
        mismatch: Some(MismatchResult {
            chi_squared: 0.028_8,
            degrees: 2,
            p: 0.985_7,
            sequential_p: 1.0,
            is_mismatch: false,
        }),
        left_out: LeftOut { unknown_decisions: 17, late_outcomes: 3, ..LeftOut::default() },
        metrics: vec![
            metric("conversion", Role::Primary, Kind::Share, pair()),
            metric(
                "opt_out_rate",
                Role::Guardrail,
                Kind::Share,
                vec![guarded("bold", GuardrailDecision::RollBack), guarded("shy", GuardrailDecision::Hold)],
            ),
            metric("value_per_customer", Role::Secondary, Kind::Money, pair()),
        ],
        by_placement: vec![part("app_home")],
        by_segment: vec![part("travellers"), part("no segment")],
        verdict: Verdict {
            word: VerdictWord::GuardrailBroken,
            sentence: "`bold` breaks a guardrail: `opt_out_rate` is higher.".to_owned(),
        },
        steps: vec![StepLine {
            time: "2026-11-01T00:00:00Z".to_owned(),
            action: "roll_back".to_owned(),
            coverage: 0.1,
            release: 12_345,
            author: "ann".to_owned(),
            reason: "as agreed".to_owned(),
        }],
        warnings: vec!["The decisions span less than 7 days, and days of a week differ.".to_owned()],
        method: vec!["The unit is the customer.".to_owned()],
    }
}

/// The same, and the split is wrong.
pub(super) fn wrong_split() -> ExperimentReport {
    let mismatch = MismatchResult {
        chi_squared: 81.25,
        degrees: 2,
        p: 2.3e-18,
        sequential_p: 4.1e-15,
        is_mismatch: true,
    };
    let sentence = "The arms are not as large as their weights say.".to_owned();
    let verdict = Verdict { word: VerdictWord::Mismatch, sentence };
    ExperimentReport { mismatch: Some(mismatch), verdict, ..sample() }
}

/// Nothing was seen yet.
pub(super) fn empty() -> ExperimentReport {
    ExperimentReport {
        other_phases: Vec::new(),
        from: String::new(),
        to: String::new(),
        sources: Vec::new(),
        arms: Vec::new(),
        exposure: Vec::new(),
        mismatch: None,
        left_out: LeftOut::default(),
        metrics: Vec::new(),
        by_placement: Vec::new(),
        by_segment: Vec::new(),
        verdict: Verdict {
            word: VerdictWord::TooEarly,
            sentence: "There is nothing to compare yet.".to_owned(),
        },
        steps: Vec::new(),
        warnings: Vec::new(),
        method: Vec::new(),
        ..sample()
    }
}

/// Metrics by offer.
pub(super) fn of_offers() -> MetricsReport {
    let head = |metric: &str, kind: Kind| MetricHead {
        metric: metric.to_owned(),
        says: "Clicks divided by impressions".to_owned(),
        kind,
        higher_is_better: true,
    };
    let row = |part: &str, customers: u64| MetricsRow {
        part: part.to_owned(),
        customers,
        decisions: customers * 2 + 1,
        values: vec![
            arm("", customers, 31.0),
            ArmValue { value: None, interval: None, ..arm("", customers, 0.0) },
        ],
    };
    MetricsReport {
        placement: "app_home".to_owned(),
        by: "offer".to_owned(),
        from: "2026-11-01T00:00:00Z".to_owned(),
        to: "2026-11-03T23:00:00Z".to_owned(),
        sources: Vec::new(),
        metrics: vec![head("engagement", Kind::Number), head("revenue_per_customer", Kind::Money)],
        rows: vec![row("gold", 1_200), row("all", 2_345)],
        left_out: LeftOut { unmatched_outcomes: 5, ..LeftOut::default() },
        warnings: Vec::new(),
        method: vec!["Intervals are of 95 %.".to_owned()],
    }
}
