//! Schedules that guardrails hold.

use super::*;

#[test]
fn a_step_is_held_until_guardrails_let_it_and_the_last_one_is_the_end() {
    let (setting, guardrails) = guarded(Judgement::Unmeasured);
    assert_eq!(setting.poll_in(31, Some(&guardrails)), (State::Running, 0.05));
    assert_eq!(setting.held(&guardrails), "its guardrails have not been evaluated on this server yet");
    guardrails.say(hold());
    assert_eq!(setting.poll_in(31, Some(&guardrails)), (State::Running, 0.05));
    let schedule = setting.schedule(Some(&guardrails)).unwrap();
    assert_eq!(
        (schedule.coverage, schedule.held.as_str(), schedule.halted.as_str()),
        (0.25, "`opt_out_rate` may be worse by more than 0.002", "")
    );
    assert!(!schedule.at.is_empty());
    // A list says the same, and nothing was written.
    let listed = setting.ramps(&guardrails).list().unwrap();
    assert_eq!(listed.experiments[0].schedule, Some(schedule));
    assert_eq!((listed.release, listed.store_error.as_str()), (1, ""));

    guardrails.say(Judgement::Advance);
    assert_eq!(setting.held(&guardrails), "");
    // What lets it go on makes nothing due.
    assert_eq!(setting.poll_in(28, Some(&guardrails)), (State::Running, 0.05));
    assert_eq!(setting.poll_in(31, Some(&guardrails)), (State::Running, 0.25));
    assert_eq!(setting.poll_in(118, Some(&guardrails)), (State::Running, 0.25));
    assert_eq!(setting.poll_in(121, Some(&guardrails)), (State::Running, 0.5));
    // A person has set the limit.
    assert_eq!(setting.schedule(Some(&guardrails)), None);
    assert_eq!(setting.poll_in(100_000, Some(&guardrails)), (State::Running, 0.5));
    let told: Vec<_> = setting.steps().into_iter().map(|step| (step.action, step.scheduled)).collect();
    assert_eq!(told, [(StepAction::Ramp, true), (StepAction::Ramp, true)]);
}

#[test]
fn a_step_that_was_held_is_taken_by_the_same_process_later() {
    let (setting, guardrails) = guarded(hold());
    let ramps = setting.ramps(&guardrails);
    let coverage = || ramps.get("margins").unwrap().experiment.coverage;
    let due = Utc::now() + TimeDelta::minutes(31);
    ramps.advance(due);
    ramps.advance(due);
    assert_eq!(coverage(), 0.05);
    guardrails.say(Judgement::Advance);
    ramps.advance(due);
    assert_eq!(coverage(), 0.25);
}

#[test]
fn without_anybody_who_looks_a_schedule_with_guardrails_is_held() {
    let (setting, guardrails) = guarded(Judgement::Advance);
    assert_eq!(setting.poll_in(31, None), (State::Running, 0.05));
    let held = setting.schedule(None).unwrap().held;
    assert_eq!(held, "its guardrails are not evaluated on this server");
    assert_eq!(setting.poll_in(31, Some(&guardrails)), (State::Running, 0.25));
}

#[test]
fn an_experiment_without_guardrails_goes_on_whatever_they_say() {
    for lines in ["", "[experiment.metric]\nprimary = \"conversion\"\n"] {
        let (setting, guardrails) =
            (Setting::new(&policy("running", lines, STEPS)), Scripted::new(roll_back()));
        assert_eq!(setting.held(&guardrails), "");
        assert_eq!(setting.poll_in(28, Some(&guardrails)), (State::Running, 0.05));
        assert_eq!(setting.poll_in(31, Some(&guardrails)), (State::Running, 0.25));
        assert_eq!(setting.poll_in(121, None), (State::Running, 0.5));
    }
}

#[test]
fn a_server_judges_only_what_it_serves() {
    let (setting, guardrails) = guarded(Judgement::Advance);
    let (deployer, ramps) = setting.process(Some(&guardrails));
    deployer.start().unwrap();
    // Another server takes a step, which this one has not loaded.
    assert_eq!(setting.poll_in(31, Some(&guardrails)), (State::Running, 0.25));
    guardrails.say(roll_back());
    let schedule = ramps.get("margins").unwrap().experiment.schedule.unwrap();
    assert_eq!(schedule.held, "its guardrails have not been evaluated on this server yet");
    ramps.advance(Utc::now());
    assert_eq!(setting.standing(), (State::Running, 0.25));
    deployer.start().unwrap();
    ramps.advance(Utc::now());
    assert_eq!(setting.standing(), (State::Stopped, 0.25));
}
