//! Experiments that guardrails end.

use super::*;

#[test]
fn harm_ends_an_experiment_at_once_with_what_was_found() {
    for steps in [STEPS, ""] {
        let (setting, guardrails) =
            (Setting::new(&policy("running", GUARDED, steps)), Scripted::new(roll_back()));
        // Until it is done, a schedule says why it takes no step.
        let held = setting.schedule(Some(&guardrails)).map(|schedule| schedule.held);
        assert_eq!(held, (!steps.is_empty()).then(|| evidence().to_string()));
        // No step is due yet.
        let ramps = setting.ramps(&guardrails);
        ramps.advance(Utc::now());
        assert_eq!(setting.standing(), (State::Stopped, 0.05));

        let store = setting.store();
        let current = store.current().unwrap().current;
        assert_eq!((current.release, current.sequence, current.author.as_str()), (2, 2, "guardrail"));
        assert_eq!(current.reason, evidence().to_string());
        let record = store.release_record(2).unwrap();
        assert!(record.is_step());
        assert_eq!(
            (record.author.as_str(), record.note.as_str()),
            ("guardrail", format!("experiment margins: roll_back, coverage 0.05: {}", evidence()).as_str())
        );
        assert_eq!(
            record.step,
            Some(ExperimentStep {
                experiment: "margins".to_owned(),
                action: StepAction::RollBack,
                base: 1,
                over: 1,
                coverage: 0.05,
                scheduled: true,
                winner: String::new(),
                evidence: Some(evidence()),
            })
        );
        let expected = store.release(1).unwrap().policy.replace("state = \"running\"", "state = \"stopped\"");
        assert_eq!(store.release(2).unwrap().policy, expected);
        let metrics = ramps.parts().metrics.encode(Format::Text);
        let line = "proffer_experiment_steps_total{action=\"roll_back\",by=\"schedule\"} 1";
        assert!(metrics.contains(line), "{metrics}");

        // A process that starts later knows all of it, and does nothing more.
        let told = setting.steps();
        let [step] = &told[..] else { panic!("{told:?}") };
        assert_eq!(
            (step.action, step.scheduled, step.author.as_str()),
            (StepAction::RollBack, true, "guardrail")
        );
        assert_eq!(
            (step.evidence.as_ref(), step.reason.as_str()),
            (Some(&evidence()), current.reason.as_str())
        );
        assert_eq!(setting.poll_in(100_000, Some(&guardrails)), (State::Stopped, 0.05));
        ramps.advance(Utc::now());
        assert_eq!(store.current().unwrap().current, current);
        assert_eq!(store.releases().unwrap(), [1, 2]);
        // It is for good.
        let refused = setting.order(Order::Start).unwrap_err().to_string();
        assert!(refused.contains("experiment `margins` is stopped: that is for good"), "{refused}");
    }
}

#[test]
fn an_experiment_that_does_not_run_is_not_touched() {
    for state in ["draft", "paused", "stopped"] {
        let (setting, guardrails) =
            (Setting::new(&policy(state, GUARDED, STEPS)), Scripted::new(roll_back()));
        let before = setting.standing();
        assert_eq!(setting.poll_in(31, Some(&guardrails)), before, "{state}");
        assert_eq!(setting.store().releases().unwrap(), [1], "{state}");
    }
    // Nor is one that a person has paused, until it goes on.
    let (setting, guardrails) = guarded(roll_back());
    setting.order(Order::Pause).unwrap();
    assert_eq!(setting.poll_in(31, Some(&guardrails)), (State::Paused, 0.05));
    setting.order(Order::Start).unwrap();
    assert_eq!(setting.poll_in(0, Some(&guardrails)), (State::Stopped, 0.05));
}

#[test]
fn two_processes_that_find_the_same_end_an_experiment_once() {
    let (setting, guardrails) = guarded(roll_back());
    let both = [setting.ramps(&guardrails), setting.ramps(&guardrails)];
    let now = Utc::now();
    std::thread::scope(|scope| {
        for ramps in &both {
            scope.spawn(move || ramps.advance(now));
        }
    });
    for ramps in &both {
        ramps.advance(now);
    }
    let store = setting.store();
    assert_eq!(store.releases().unwrap(), [1, 2]);
    assert_eq!(store.current().unwrap().current.sequence, 2);
    assert_eq!(setting.steps().len(), 1);
}

#[test]
fn nothing_ends_while_it_is_the_turn_of_another_server() {
    let (setting, guardrails) = guarded(roll_back());
    let (store, now) = (setting.store(), Utc::now());
    let turn = store.take_turn("another", now).unwrap().unwrap();
    assert_eq!(setting.poll_in(0, Some(&guardrails)), (State::Running, 0.05));
    drop(turn);
    assert_eq!(setting.poll_in(0, Some(&guardrails)), (State::Stopped, 0.05));
}

#[test]
fn what_a_person_promotes_meanwhile_is_not_undone() {
    let (setting, guardrails) = guarded(roll_back());
    let person = setting.clone();
    // The first time, it takes its turn.
    guardrails.when_asked(2, move || person.person_replaces("count = 1", "count = 2"));
    assert_eq!(setting.poll_in(0, Some(&guardrails)), (State::Stopped, 0.05));
    let store = setting.store();
    let current = store.current().unwrap().current;
    assert_eq!((current.release, current.previous, current.sequence), (3, 2, 3));
    let step = store.release_record(3).unwrap().step.unwrap();
    assert_eq!((step.action, step.base, step.over), (StepAction::RollBack, 2, 2));
    let policy = store.release(3).unwrap().policy;
    assert!(policy.contains("count = 2") && policy.contains("state = \"stopped\""), "{policy}");
}

#[test]
fn what_a_person_has_changed_meanwhile_was_not_judged() {
    // Who is not told of harm asks twice before its turn, and twice in it.
    for (judgement, time) in [(roll_back(), 2), (Judgement::Advance, 4)] {
        let (setting, guardrails) = guarded(judgement);
        let person = setting.clone();
        guardrails.when_asked(time, move || person.person_replaces("coverage = 0.05", "coverage = 0.1"));
        let ramps = setting.ramps(&guardrails);
        ramps.advance(Utc::now() + TimeDelta::minutes(31));
        assert_eq!(setting.standing(), (State::Running, 0.1));
        assert!(lock(&guardrails.meanwhile).is_empty());
    }
    // Nor is one that a person stops meanwhile stopped twice.
    let (setting, guardrails) = guarded(roll_back());
    let person = setting.clone();
    guardrails.when_asked(2, move || {
        person.order(Order::Stop).unwrap();
    });
    assert_eq!(setting.poll_in(0, Some(&guardrails)), (State::Stopped, 0.05));
    let actions: Vec<StepAction> = setting.steps().into_iter().map(|step| step.action).collect();
    assert_eq!(actions, [StepAction::Stop]);
}

#[test]
fn a_past_that_cannot_be_read_keeps_no_guardrail_from_its_work() {
    let (setting, guardrails) = guarded(roll_back());
    setting.order(Order::Ramp { coverage: 0.1 }).unwrap();
    fs::write(setting.directory.path().join("promotions/1.toml"), "not a promotion").unwrap();
    assert_eq!(setting.poll_in(0, Some(&guardrails)), (State::Stopped, 0.1));
}
