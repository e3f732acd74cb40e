//! Stopping while the store is away.

use std::fs;
use std::path::Path;

use super::super::binary::{Process, command, init};
use super::super::replicas::OnS3;
use super::super::s3::S3;
use super::*;

fn has_metric(server: &Server, line: &str) -> bool {
    server.admin_get("/metrics").unwrap().contains(line)
}

/// Stops while the store does not work, as `broken` says, and checks what is told until it does.
async fn stops_once_repaired(server: &Server, break_it: impl Fn(), repair: impl Fn()) {
    let (mut experiments, _) = clients(server).await;
    experiments.list().await;
    break_it();
    let status = experiments.stop("margins").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(status.message().starts_with("nothing has moved: experiment `margins` goes on"), "{status:?}");
    let listed = experiments.list().await;
    let pending = listed.experiments[0].pending_stop.clone().unwrap();
    assert_eq!(
        (listed.experiments[0].state(), pending.author.as_str()),
        (ExperimentState::Running, "a tester")
    );
    assert!(!pending.error.is_empty());
    until("the stop is tried again", async || {
        let listed = experiments.list().await;
        listed.experiments[0].pending_stop.as_ref().is_some_and(|pending| pending.attempts > 1)
    })
    .await;
    assert_eq!(
        experiments.get("margins").await.experiment.unwrap().pending_stop.unwrap().since,
        pending.since
    );
    assert!(has_metric(server, "\nproffer_experiment_stops_pending 1\n"));
    repair();
    until("the stop is done", async || {
        has_metric(server, "\nproffer_experiment_stops_pending 0\n")
            && experiments.standing("margins").await.0 == ExperimentState::Stopped
    })
    .await;
    let told = experiments.get("margins").await;
    assert_eq!((told.experiment.unwrap().pending_stop, told.steps[0].author.as_str()), (None, "a tester"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_while_the_store_is_missing_is_done_once_it_is_back() {
    let server = server("");
    let away = server.store.with_extension("away");
    let moved = |from: &Path, to: &Path| fs::rename(from, to).unwrap();
    stops_once_repaired(&server, || moved(&server.store, &away), || moved(&away, &server.store)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_while_the_store_cannot_be_written_is_done_once_it_can() {
    let server = server("");
    // A file in place of the staging directory: everything can be read, and nothing written, also by root.
    let (staging, away) = (server.store.join(".staging"), server.store.with_extension("staging"));
    let breaks = || {
        let _ = fs::rename(&staging, &away);
        fs::write(&staging, "").unwrap();
    };
    let repairs = || {
        fs::remove_file(&staging).unwrap();
        let _ = fs::rename(&away, &staging);
    };
    stops_once_repaired(&server, breaks, repairs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_stop_can_be_withdrawn() {
    let server = server("");
    let (mut experiments, mut management) = clients(&server).await;
    experiments.list().await;
    let away = server.store.with_extension("away");
    fs::rename(&server.store, &away).unwrap();
    experiments.stop("margins").await.unwrap_err();
    // Nobody waits for one of an experiment that does not exist.
    let unknown = experiments.stop("other").await.unwrap_err();
    assert!(unknown.code() == Code::Unavailable && !unknown.message().contains("tries again"), "{unknown:?}");
    assert_eq!(experiments.withdraw("margins").await.unwrap().reason, "a test");
    assert!(has_metric(&server, "\nproffer_experiment_stops_pending 0\n"));
    fs::rename(&away, &server.store).unwrap();
    until("the store is back", async || has_metric(&server, "\nproffer_store_reachable 1\n")).await;
    // Longer than the longest wait before another attempt.
    tokio::time::sleep(std::time::Duration::from_secs(6)).await;
    assert_eq!(experiments.standing("margins").await.0, ExperimentState::Running);
    assert_eq!(management.list().await.current.unwrap().release, 1);
}

/// Withdraws a stop while an attempt at it is held: after `CURRENT` has moved where `moved`, else before.
async fn withdraws_during_an_attempt(moved: bool) {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store");
    assert_eq!(init(&store, workspace("").path()).code, Some(0));
    let gate = directory.path().join("gate");
    let mut held = command();
    // A stop that is written already cannot be withdrawn.
    let step = if moved { "promote.switched" } else { "promote.loaded" };
    held.env("PROFFER_FAULT", format!("{step}=hold:{}", gate.display()));
    let server = Process::start(held, &store);
    let mut experiments = Experiments::over(channel(server.address).await);
    experiments.list().await;
    let away = store.with_extension("away");
    fs::rename(&store, &away).unwrap();
    experiments.stop("margins").await.unwrap_err();
    fs::write(&gate, "").unwrap();
    fs::rename(&away, &store).unwrap();
    let at_gate = gate.with_extension("reached");
    until("the attempt is held", async || at_gate.exists()).await;
    let mut other = experiments.clone();
    let withdrawal = tokio::spawn(async move { other.withdraw("margins").await });
    // The withdrawal takes the stop off the list, and then waits.
    until("the stop is not pending", async || experiments.list().await.experiments[0].pending_stop.is_none())
        .await;
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert!(!withdrawal.is_finished());
    fs::remove_file(&gate).unwrap();
    let withdrawn = withdrawal.await.unwrap();
    let state = experiments.standing("margins").await.0;
    if moved {
        let status = withdrawn.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
        assert_eq!(status.message(), "experiment `margins` is stopped already, in release 2");
        assert_eq!(state, ExperimentState::Stopped);
    } else {
        assert_eq!(withdrawn.unwrap().reason, "a test");
        assert_eq!(state, ExperimentState::Running);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_is_withdrawn_during_an_attempt_is_not_carried_out() {
    withdraws_during_an_attempt(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_was_done_while_it_was_withdrawn_is_told() {
    withdraws_during_an_attempt(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_experiment_with_a_pending_stop_does_not_cover_more() {
    let server = server("");
    let (mut experiments, _) = clients(&server).await;
    experiments.list().await;
    let (staging, away) = (server.store.join(".staging"), server.store.with_extension("staging"));
    let _ = fs::rename(&staging, &away);
    fs::write(&staging, "").unwrap();
    experiments.stop("margins").await.unwrap_err();
    let status = experiments.ramp("margins", 0.5).await.unwrap_err();
    let expected = "a stop of experiment `margins` is pending on this server; withdraw it first";
    assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, expected));
    experiments.withdraw("margins").await.unwrap();
    fs::remove_file(&staging).unwrap();
    let _ = fs::rename(&away, &staging);
    assert!(experiments.ramp("margins", 0.5).await.unwrap().changed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_with_a_pending_stop_does_not_start() {
    let server = server(DRAFT);
    let (mut experiments, _) = clients(&server).await;
    experiments.list().await;
    let (staging, away) = (server.store.join(".staging"), server.store.with_extension("staging"));
    let _ = fs::rename(&staging, &away);
    fs::write(&staging, "").unwrap();
    experiments.stop("margins").await.unwrap_err();
    let status = experiments.start("margins").await.unwrap_err();
    let expected = "a stop of experiment `margins` is pending on this server; withdraw it first";
    assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, expected));
    experiments.withdraw("margins").await.unwrap();
    fs::remove_file(&staging).unwrap();
    let _ = fs::rename(&away, &staging);
    assert!(experiments.start("margins").await.unwrap().changed);
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_at_a_stop_promote_the_release_that_the_first_one_made() {
    let server = server("");
    let (mut experiments, mut management) = clients(&server).await;
    experiments.list().await;
    // A file in place of the copies of `CURRENT`: releases can be made, and not be promoted.
    let (copies, away) = (server.store.join("promotions"), server.store.with_extension("promotions"));
    fs::rename(&copies, &away).unwrap();
    fs::write(&copies, "").unwrap();
    let status = experiments.stop("margins").await.unwrap_err();
    // It can be seen that `CURRENT` has not moved.
    let expected = "nothing has moved: experiment `margins` goes on";
    assert!(status.message().starts_with(expected), "{status:?}");
    until("the stop is tried again", async || {
        let listed = experiments.list().await;
        listed.experiments[0].pending_stop.as_ref().is_some_and(|pending| pending.attempts > 2)
    })
    .await;
    fs::remove_file(&copies).unwrap();
    fs::rename(&away, &copies).unwrap();
    until("the stop is done", async || experiments.standing("margins").await.0 == ExperimentState::Stopped)
        .await;
    let listed = management.list().await;
    assert_eq!((listed.current.unwrap().release, listed.releases.len()), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_at_each_change_promote_the_release_that_the_first_one_made() {
    let server = server("");
    let (mut experiments, mut management) = clients(&server).await;
    let (copies, away) = (server.store.join("promotions"), server.store.with_extension("promotions"));
    fs::rename(&copies, &away).unwrap();
    fs::write(&copies, "").unwrap();
    for _ in 0..2 {
        for refused in [
            experiments.ramp("margins", 0.5).await,
            experiments.pause("margins").await,
            experiments.ramp("margins", 0.25).await,
        ] {
            assert_eq!(refused.unwrap_err().code(), Code::Unavailable);
        }
    }
    assert_eq!(management.list().await.releases.len(), 4);
    fs::remove_file(&copies).unwrap();
    fs::rename(&away, &copies).unwrap();
    assert_eq!(experiments.ramp("margins", 0.5).await.unwrap().current.unwrap().release, 2);
    // Over another promotion they are of no use.
    assert_eq!(experiments.pause("margins").await.unwrap().current.unwrap().release, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_while_a_bucket_does_not_answer_is_done_once_it_does() {
    let Some(s3) = S3::start() else { return };
    let location = s3.new_location();
    let (mut made, workspace) = (command(), workspace(""));
    made.envs(s3.variables()).args(["init", "--store", &location, "--from"]).arg(workspace.path());
    assert!(made.status().unwrap().success());
    let on_s3 = OnS3::start(&s3, &location);
    let mut experiments = Experiments::over(channel(on_s3.server.address).await);
    experiments.list().await;
    s3.hold();
    let status = experiments.stop("margins").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(status.message().starts_with("nothing has moved"), "{status:?}");
    assert!(experiments.list().await.experiments[0].pending_stop.is_some());
    s3.release();
    until("the stop is done", async || experiments.standing("margins").await.0 == ExperimentState::Stopped)
        .await;
    assert!(on_s3.server.terminate().success());
}
