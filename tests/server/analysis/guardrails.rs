//! A simulated bank: a challenger that does harm is rolled back by itself, one that does none goes to the limit that a
//! person set.

use std::path::Path;

use chrono::{DateTime, SecondsFormat, TimeDelta};
use wire::{ExperimentAction, ExperimentState};

use super::scene::{bank, report, settings, show, some_of, until};
use crate::harness::{Server, wire};

const CUSTOMERS: usize = 4_000;

const GUARDED: &str = "primary = \"conversion\"\nguardrails = [{ metric = \"opt_out_rate\", tolerate = 0.1 }]\n\
                       planned = 1000\nalpha = 0.05";

/// A fifth of the customers takes part, then half of them, which is the limit.
const SCHEDULE: &str = "coverage = 0.2\n[[experiment.step]]\ncoverage = 0.5\nafter = \"1h\"";

fn state(found: &wire::GetExperimentResponse) -> ExperimentState {
    found.experiment.as_ref().unwrap().state()
}

/// Lets customers of both arms opt out: these shares of ten.
async fn opt_out(server: &Server, customers: std::ops::Range<usize>, champion: usize, challenger: usize) {
    let shown = show(server, customers).await;
    for (arm, share) in [("champion", champion), ("challenger", challenger)] {
        let some = some_of(&shown, arm, share);
        assert!(some.len() >= 25, "{arm} has {}", some.len());
        report(server, "opt_out", 0.0, &some).await;
    }
}

/// Moves the last promotion back by an hour and a minute, so that the next step is due.
fn backdate(store: &Path) {
    let path = store.join("CURRENT");
    let text = std::fs::read_to_string(&path).unwrap();
    let line = text.lines().find(|line| line.starts_with("time = ")).unwrap();
    let time =
        DateTime::parse_from_rfc3339(line[7..].trim_matches('"')).unwrap().to_utc() - TimeDelta::minutes(61);
    let moved = format!("time = \"{}\"", time.to_rfc3339_opts(SecondsFormat::Secs, true));
    std::fs::write(&path, text.replace(line, &moved)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_harmful_challenger_is_rolled_back_by_itself_before_many_were_exposed() {
    let bank = bank(SCHEDULE, GUARDED);
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(bank.path(), &settings(data.path().to_str().unwrap()));
    opt_out(&server, 0..CUSTOMERS, 2, 9).await;
    let found = until(&server, |found| state(found) == ExperimentState::Stopped).await;
    let step = &found.steps[0];
    assert_eq!(
        (step.action(), step.author.as_str(), step.scheduled),
        (ExperimentAction::RollBack, "guardrail", true)
    );
    let evidence = step.evidence.as_ref().unwrap();
    assert_eq!((evidence.metric.as_str(), evidence.variant.as_str()), ("opt_out_rate", "challenger"));
    assert!(evidence.high < -evidence.tolerate && evidence.low <= evidence.delta, "{evidence:?}");
    assert!((-0.8..-0.6).contains(&evidence.delta), "{evidence:?}");
    assert!(step.reason.contains("opt_out_rate"), "{}", step.reason);
    // The limit of coverage holds all the time, so no more than a fifth was ever exposed, half of them to the
    // challenger; afterwards nobody is.
    let exposed = usize::try_from(evidence.customers).unwrap();
    assert!((500..=CUSTOMERS / 5 + 100).contains(&exposed), "{exposed}");
    let after = show(&server, 0..CUSTOMERS).await;
    assert!(after.iter().all(|one| one.arm.is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_harmless_challenger_goes_to_the_limit_of_its_schedule_over_two_servers_and_a_restart() {
    let bank = bank(SCHEDULE, GUARDED);
    let store = bank.store();
    let [first_data, second_data] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [first, second] = [&first_data, &second_data]
        .map(|data| Server::over(&store, &settings(data.path().to_str().unwrap())));
    let coverage = |found: &wire::GetExperimentResponse| found.experiment.as_ref().unwrap().coverage;
    let held = |found: &wire::GetExperimentResponse| {
        found.experiment.as_ref().unwrap().schedule.as_ref().is_some_and(|schedule| !schedule.held.is_empty())
    };
    // Nothing is known yet, so a step that is due is held, and says why.
    backdate(&store);
    let found = until(&first, held).await;
    assert!((coverage(&found) - 0.2).abs() < 1e-12, "{found:?}");
    second.shut_down();
    second.join().unwrap();
    // After a restart it is known from what the servers recorded.
    opt_out(&first, 0..CUSTOMERS, 2, 2).await;
    let second = Server::over(&store, &settings(second_data.path().to_str().unwrap()));
    let found = until(&second, |found| coverage(found) > 0.2).await;
    assert!((coverage(&found) - 0.5).abs() < 1e-12, "{found:?}");
    // It is the last step that is written: nothing is left to be done.
    let schedule = &found.experiment.as_ref().unwrap().schedule;
    assert!(schedule.is_none(), "{schedule:?}");
    backdate(&store);
    opt_out(&second, CUSTOMERS..2 * CUSTOMERS, 2, 2).await;
    let found = until(&first, |found| found.steps.len() == 1).await;
    assert_eq!((state(&found), found.steps[0].action()), (ExperimentState::Running, ExperimentAction::Ramp));
    assert!((coverage(&found) - 0.5).abs() < 1e-12, "{found:?}");
}
