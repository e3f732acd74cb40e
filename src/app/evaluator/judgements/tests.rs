use analysis::report::{
    ArmValue, Comparison, Effect, GuardrailDecision, GuardrailResult, Kind, LeftOut, Limits, MetricResult,
    Role, Verdict, VerdictWord,
};
use experiment::built_in;

use super::*;

const MINUTES: Duration = Duration::from_mins(5);

/// A report with one guardrail, which found this difference.
fn report(
    decision: GuardrailDecision,
    higher_is_better: bool,
    [low, delta, high]: [f64; 3],
) -> ExperimentReport {
    let limits = Limits { low, high };
    let effect = Effect {
        delta,
        sequence: limits,
        sequence_p: 0.01,
        fixed: limits,
        fixed_p: 0.001,
        relative: None,
        relative_sequence: None,
        theta: None,
        variance_reduced: None,
        over_time: Vec::new(),
    };
    let arm = |variant: &str| ArmValue {
        variant: variant.to_owned(),
        n: 500,
        numerator: 50.0,
        denominator: 500.0,
        value: Some(0.1),
        interval: None,
    };
    let guardrail = GuardrailResult { tolerate: 0.002, oriented: Some(limits), decision };
    let comparison = Comparison {
        variant: "b".to_owned(),
        hidden: String::new(),
        effect: Some(effect),
        guardrail: Some(guardrail),
    };
    let metric = MetricResult {
        metric: "opt_out_rate".to_owned(),
        says: String::new(),
        role: Role::Guardrail,
        kind: Kind::Share,
        higher_is_better,
        arms: vec![arm("a"), arm("b")],
        comparisons: vec![comparison],
    };
    ExperimentReport {
        experiment: "margins".to_owned(),
        phase: "0000000000000007".to_owned(),
        state: "running".to_owned(),
        coverage: 0.1,
        other_phases: Vec::new(),
        from: String::new(),
        to: String::new(),
        sources: Vec::new(),
        alpha: 0.05,
        alpha_each: 0.025,
        comparisons: 2,
        planned: 20_000,
        arms: Vec::new(),
        exposure: Vec::new(),
        mismatch: None,
        left_out: LeftOut::default(),
        metrics: vec![metric],
        by_placement: Vec::new(),
        by_segment: Vec::new(),
        verdict: Verdict { word: VerdictWord::Undecided, sentence: String::new() },
        steps: Vec::new(),
        warnings: Vec::new(),
        method: Vec::new(),
    }
}

fn basis(phase: u64, tolerate: f64) -> Basis {
    let metric = Metric { line: 0, ..built_in().remove(0) };
    Basis { phase, alpha: 0.05, planned: 20_000, guardrails: vec![(metric, tolerate)] }
}

fn advancing() -> ExperimentReport {
    report(GuardrailDecision::Advance, true, [-0.001, 0.0, 0.001])
}

#[test]
fn a_judgement_is_of_the_phase_and_the_guardrails_that_were_evaluated() {
    let judgements = Judgements::new(Publisher::default(), MINUTES);
    let now = Instant::now();
    assert_eq!(judgements.known("margins", &basis(7, 0.002), now), Judgement::Unmeasured);
    judgements.keep("margins", basis(7, 0.002), &advancing(), now);
    assert_eq!(judgements.known("margins", &basis(7, 0.002), now), Judgement::Advance);
    assert_eq!(judgements.known("margins", &basis(8, 0.002), now), Judgement::Unmeasured);
    assert_eq!(judgements.known("margins", &basis(7, 0.001), now), Judgement::Unmeasured);
    assert_eq!(judgements.known("order", &basis(7, 0.002), now), Judgement::Unmeasured);
    judgements.retain(|id| id != "margins");
    assert_eq!(judgements.known("margins", &basis(7, 0.002), now), Judgement::Unmeasured);
    // Nothing serves, so nothing is known of what it defines.
    judgements.keep("margins", basis(7, 0.002), &advancing(), now);
    assert_eq!(judgements.judge("margins"), Judgement::Unmeasured);
}

#[test]
fn a_judgement_that_is_too_old_holds_the_schedule() {
    let judgements = Judgements::new(Publisher::default(), MINUTES);
    let began = Instant::now();
    let known = |age: Duration| judgements.known("margins", &basis(7, 0.002), began + age);
    let why = |age: Duration| {
        let judgement = known(age);
        let Judgement::Hold { why } = judgement else { panic!("{judgement:?}") };
        why
    };
    judgements.keep("margins", basis(7, 0.002), &advancing(), began);
    assert_eq!(known(3 * MINUTES), Judgement::Advance);
    let late = 3 * MINUTES + Duration::from_secs(1);
    assert_eq!(why(late), "its guardrails were evaluated 15m ago, which is too long");
    assert!(why(Duration::from_hours(50)).contains("2d ago"));
    // What is found to do harm is as old.
    let harm = report(GuardrailDecision::RollBack, true, [-0.02, -0.012, -0.004]);
    judgements.keep("margins", basis(7, 0.002), &harm, began);
    assert!(matches!(known(MINUTES), Judgement::RollBack { .. }));
    assert!(why(late).contains("15m ago"));
    // Where evaluations take long, they come less often, and what they find lasts longer.
    judgements.come_every(4 * MINUTES);
    assert!(matches!(known(12 * MINUTES), Judgement::RollBack { .. }));
    judgements.keep("margins", basis(7, 0.002), &advancing(), began + late);
    assert_eq!(known(late), Judgement::Advance);
}

#[test]
fn a_loss_is_negative_whichever_is_better() {
    let evidence = |higher_is_better, difference: [f64; 3]| {
        let judgement = judgement(&report(GuardrailDecision::RollBack, higher_is_better, difference));
        let Judgement::RollBack { evidence } = judgement else { panic!("{judgement:?}") };
        evidence
    };
    let (more, less) = (evidence(true, [-0.02, -0.012, -0.004]), evidence(false, [0.004, 0.012, 0.02]));
    assert_eq!(more, less);
    assert_eq!((more.low, more.delta, more.high, more.customers), (-0.02, -0.012, -0.004, 1000));
    assert!(more.to_string().contains("worse than the control by 0.012 "), "{more}");
}

#[test]
fn times_are_told_in_their_greatest_unit() {
    let told = |seconds| rounded(Duration::from_secs(seconds));
    assert_eq!(
        [0, 59, 60, 3599, 3600, 86_399, 86_400].map(told),
        ["0s", "59s", "1m", "59m", "1h", "23h", "1d"]
    );
}
