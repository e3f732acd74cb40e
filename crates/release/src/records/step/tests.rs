use super::*;

fn evidence() -> GuardrailEvidence {
    GuardrailEvidence {
        metric: "opt_out_rate".to_owned(),
        variant: "by_margin".to_owned(),
        delta: -0.012_345_6,
        low: -0.020_000_1,
        high: -0.004,
        tolerate: 0.002,
        customers: 12_000,
    }
}

fn step(action: StepAction, evidence: Option<GuardrailEvidence>) -> ExperimentStep {
    ExperimentStep {
        experiment: "margins".to_owned(),
        action,
        base: 3,
        over: 4,
        coverage: 0.25,
        scheduled: true,
        winner: String::new(),
        evidence,
    }
}

#[test]
fn what_a_guardrail_has_found_is_a_sentence_about_losses() {
    assert_eq!(
        evidence().to_string(),
        "guardrail `opt_out_rate`: variant `by_margin` is worse than the control by 0.01235 (0.004 to 0.02, \
         12000 customers), and a loss of 0.002 is tolerated"
    );
    let exact = GuardrailEvidence { delta: -15.5, low: -1234.56, high: -1e-7, tolerate: 0.0, ..evidence() };
    let text = exact.to_string();
    assert!(text.contains("by 15.5 (0.0000001 to 1235, "), "{text}");
    assert!(text.ends_with("a loss of 0 is tolerated"), "{text}");
}

#[test]
fn steps_are_read_as_they_were_written_to_the_last_bit() {
    for (action, evidence) in [(StepAction::RollBack, Some(evidence())), (StepAction::Ramp, None)] {
        let written = step(action, evidence);
        let text = toml::to_string(&written).unwrap();
        assert!(text.contains(&format!("action = \"{}\"\n", action.word())), "{text}");
        assert_eq!(toml::from_str::<ExperimentStep>(&text).unwrap(), written);
    }
}

#[test]
fn a_step_without_evidence_is_written_as_before_there_was_any() {
    let text = toml::to_string(&step(StepAction::Stop, None)).unwrap();
    let before = "experiment = \"margins\"\naction = \"stop\"\nbase = 3\nover = 4\ncoverage = 0.25\nscheduled = true\n";
    assert_eq!(text, before);
    // Of a version that knew less.
    let text = "experiment = \"margins\"\naction = \"ramp\"\nbase = 3\ncoverage = 0.25\n";
    let read: ExperimentStep = toml::from_str(text).unwrap();
    assert_eq!(read, ExperimentStep { over: 0, scheduled: false, ..step(StepAction::Ramp, None) });
}

#[test]
fn each_action_is_written_by_its_word() {
    use StepAction::{Conclude, Pause, Ramp, RollBack, Start, Stop};
    for action in [Start, Ramp, Pause, Stop, Conclude, RollBack] {
        assert_eq!(serde_json::to_value(action).unwrap(), action.word());
        assert_eq!(action.is_skipped(), action != Conclude);
    }
}
