//! Several servers and several people.

use std::collections::BTreeMap;

use super::super::binary::{Process, command, init};
use super::super::harness::rank_request;
use super::*;
use wire::decision_service_client::DecisionServiceClient;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_promotes_during_a_step_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store");
    assert_eq!(init(&store, workspace(DRAFT).path()).code, Some(0));
    let gate = directory.path().join("gate");
    let mut held = command();
    held.env("PROFFER_FAULT", format!("promote.loaded=hold:{}", gate.display()));
    let (slow, other) = (Process::start(held, &store), Process::start(command(), &store));
    let (mut ramping, mut management) =
        (Experiments::over(channel(slow.address).await), Management::over(channel(other.address).await));
    ramping.start("margins").await.unwrap();
    let at_gate = gate.with_extension("reached");
    std::fs::remove_file(&at_gate).unwrap();
    std::fs::write(&gate, "").unwrap();
    let step = tokio::spawn(async move { ramping.ramp("margins", 0.5).await });
    // The step is made of release 2 and loaded, and held before CURRENT moves.
    until("the step is loaded", async || at_gate.exists()).await;
    let person = person_replaces(&mut management, "count = 3", "count = 2").await;
    std::fs::remove_file(&gate).unwrap();
    let ramped = step.await.unwrap().unwrap().current.unwrap();
    assert!(ramped.release > person, "{ramped:?}");
    assert_eq!(ramped.previous, person);
    let after = release(&mut management, 0).await;
    assert_eq!(after.release.unwrap().step.unwrap().base, person);
    assert!(after.policy_toml.contains("count = 2") && after.policy_toml.contains("coverage = 0.5 "));
    // And the other way round: the experiment is gone, and no step brings it back.
    let mut experiments = Experiments::over(channel(other.address).await);
    let policy = after.policy_toml.split_once("\n[[experiment]]").unwrap().0.to_owned();
    let request = wire::CreateReleaseRequest { policy_toml: Some(policy), ..Default::default() };
    let made =
        management.releases.create_release(request).await.unwrap().into_inner().release.unwrap().number;
    management.promote(made).await.unwrap();
    let status = experiments.ramp("margins", 1.0).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound, "{status:?}");
    assert_eq!(release(&mut management, 0).await.release.unwrap().number, made);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_promotes_during_a_promotion_is_where_a_rollback_from_it_goes() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store");
    assert_eq!(init(&store, workspace(DRAFT).path()).code, Some(0));
    let gate = directory.path().join("gate");
    let mut held = command();
    held.env("PROFFER_FAULT", format!("promote.foreseen=hold:{}", gate.display()));
    let (slow, other) = (Process::start(held, &store), Process::start(command(), &store));
    let (mut late, mut management) =
        (Management::over(channel(slow.address).await), Management::over(channel(other.address).await));
    let made = management.create(&[]).await.unwrap();
    Experiments::over(channel(other.address).await).start("margins").await.unwrap();
    std::fs::write(&gate, "").unwrap();
    let promotion = tokio::spawn(async move { late.promote(made).await });
    // By then a step is current, and a rollback would go to release 1.
    until("the target is read", async || gate.with_extension("reached").exists()).await;
    let person = person_replaces(&mut management, "count = 3", "count = 2").await;
    std::fs::remove_file(&gate).unwrap();
    let promoted = promotion.await.unwrap().unwrap().current.unwrap();
    assert_eq!((promoted.release, promoted.previous), (made, person));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_is_made_again_if_its_release_was_promoted_again_meanwhile() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store");
    assert_eq!(init(&store, workspace("").path()).code, Some(0));
    let gate = directory.path().join("gate");
    let mut held = command();
    held.env("PROFFER_FAULT", format!("promote.loaded=hold:{}", gate.display()));
    let (slow, other) = (Process::start(held, &store), Process::start(command(), &store));
    let (mut ramping, mut management) =
        (Experiments::over(channel(slow.address).await), Management::over(channel(other.address).await));
    std::fs::write(&gate, "").unwrap();
    let step = tokio::spawn(async move { ramping.ramp("margins", 0.5).await });
    until("the step is loaded", async || gate.with_extension("reached").exists()).await;
    let made = management.create(&[]).await.unwrap();
    for release in [made, 1] {
        management.promote(release).await.unwrap();
    }
    std::fs::remove_file(&gate).unwrap();
    let current = step.await.unwrap().unwrap().current.unwrap();
    let step = release(&mut management, current.release).await.release.unwrap().step.unwrap();
    assert_eq!((step.base, step.over, current.sequence), (1, 3, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_for_another_release_that_is_being_loaded() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store");
    assert_eq!(init(&store, workspace("").path()).code, Some(0));
    let gate = directory.path().join("gate");
    let mut held = command();
    held.env("PROFFER_FAULT", format!("promote.loading=hold:{}", gate.display()));
    let server = Process::start(held, &store);
    let channel = channel(server.address).await;
    let (mut experiments, mut management) = (Experiments::over(channel.clone()), Management::over(channel));
    let made = management.create(&[]).await.unwrap();
    std::fs::write(&gate, "").unwrap();
    let mut person = management.clone();
    let promotion = tokio::spawn(async move { person.promote(made).await });
    until("the release is being loaded", async || gate.with_extension("reached").exists()).await;
    assert_eq!(management.list().await.serving.unwrap().loading, made);
    let stopped = experiments.stop("margins").await.unwrap().current.unwrap();
    assert_eq!((stopped.release, management.list().await.serving.unwrap().release), (3, 3));
    assert!(arms(server.address).await.1.values().all(Option::is_none));
    // As after any later call, the promotion that was under way undoes nothing.
    std::fs::remove_file(&gate).unwrap();
    let status = promotion.await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Aborted, "{status:?}");
    assert!(status.message().contains("release 3 is current"), "{status:?}");
    assert_eq!(experiments.standing("margins").await.0, ExperimentState::Stopped);
}

/// What a person changes: the number of offers at one placement.
fn home(count: usize) -> String {
    format!("count = {count}\nstrategy = \"priority\"\nmodel = \"propensity\"")
}

#[tokio::test(flavor = "multi_thread")]
async fn people_who_promote_all_the_time_lose_nothing_to_a_ramp() {
    let one = server(DRAFT);
    let other = Server::over(&one.store, &[]);
    let (mut experiments, _) = clients(&one).await;
    let (_, mut management) = clients(&other).await;
    experiments.start("margins").await.unwrap();
    let people = tokio::spawn(async move {
        for count in 4..12 {
            // As careful people do: they begin again if a step came first.
            loop {
                let text = release(&mut management, 0).await;
                let base = text.release.unwrap().number;
                let policy = Some(text.policy_toml.replace(&home(count - 1), &home(count)));
                let request = wire::CreateReleaseRequest { base, policy_toml: policy, ..Default::default() };
                let made = management.releases.create_release(request).await.unwrap().into_inner();
                if management.promote_over(made.release.unwrap().number, Some(base)).await.is_ok() {
                    break;
                }
            }
        }
        management
    });
    let mut coverage = 0.05;
    while !people.is_finished() && coverage < 0.95 {
        coverage += 0.05;
        experiments.ramp("margins", coverage).await.unwrap();
    }
    let mut management = people.await.unwrap();
    experiments.ramp("margins", 1.0).await.unwrap();
    let policy = release(&mut management, 0).await.policy_toml;
    assert!(policy.contains(&home(11)), "{policy}");
    assert!(policy.contains("coverage = 1.0 # of all\nstate = \"running\""), "{policy}");
}

/// The arm of each customer of the sample, by its answers.
async fn arms(address: std::net::SocketAddr) -> (u64, BTreeMap<String, Option<String>>) {
    let ids: Vec<String> = (1..=400).map(|number| format!("C{number:06}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let mut client = DecisionServiceClient::new(channel(address).await).max_decoding_message_size(usize::MAX);
    let request = wire::RankRequest {
        explain: wire::Explain::None.into(),
        dry_run: true,
        ..rank_request("app_home", &ids)
    };
    let answer = client.rank(request).await.unwrap().into_inner();
    let arm = |result: wire::RankResult| {
        let of = result.assignments.into_iter().find(|assignment| assignment.experiment == "margins");
        (result.customer_id, of.map(|assignment| assignment.variant))
    };
    (answer.release, answer.results.into_iter().map(arm).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_changes_arm_during_a_ramp_on_any_replica_or_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store");
    assert_eq!(init(&store, workspace(DRAFT).path()).code, Some(0));
    let (mut one, other) = (Process::start(command(), &store), Process::start(command(), &store));
    let mut experiments = Experiments::over(channel(other.address).await);
    assert!(arms(one.address).await.1.values().all(Option::is_none), "nobody is in an arm of a draft");
    experiments.start("margins").await.unwrap();
    let mut before: BTreeMap<String, Option<String>> = BTreeMap::new();
    for (step, coverage) in [0.1, 0.25, 0.5, 0.75, 1.0].into_iter().enumerate() {
        if step == 2 {
            // In the middle of it, one server restarts.
            assert!(one.terminate().success());
            one = Process::start(command(), &store);
        }
        let current = experiments.ramp("margins", coverage).await.unwrap().current.unwrap().release;
        let mut here = arms(one.address).await;
        until("the replica follows", async || {
            here = arms(one.address).await;
            here.0 == current
        })
        .await;
        let there = arms(other.address).await;
        assert_eq!(here, there);
        for (customer, arm) in &before {
            assert!(arm.is_none() || here.1[customer] == *arm, "{customer} was in {arm:?}");
        }
        let share = here.1.values().flatten().count() as f64 / here.1.len() as f64;
        assert!((share - coverage).abs() < 0.1, "{share} of the customers at {coverage}");
        before = here.1;
    }
    // A pause and a start put everyone where they were; a stop nobody anywhere.
    experiments.pause("margins").await.unwrap();
    assert!(arms(other.address).await.1.values().all(Option::is_none));
    experiments.start("margins").await.unwrap();
    assert_eq!(arms(other.address).await.1, before);
    let stopped = experiments.stop("margins").await.unwrap().current.unwrap().release;
    assert!(arms(other.address).await.1.values().all(Option::is_none));
    until("the replica stops, too", async || arms(one.address).await.0 == stopped).await;
    assert!(arms(one.address).await.1.values().all(Option::is_none));
}
