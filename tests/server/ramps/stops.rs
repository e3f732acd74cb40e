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
    assert!(!pending.error.is_empty() && pending.attempts > 0);
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
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert_eq!(experiments.standing("margins").await.0, ExperimentState::Running);
    assert_eq!(management.list().await.current.unwrap().release, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_says_which_stop_it_gives_up() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store");
    assert_eq!(init(&store, workspace("").path()).code, Some(0));
    let server = Process::start(command(), &store);
    let mut experiments = Experiments::over(channel(server.address).await);
    experiments.list().await;
    fs::rename(&store, store.with_extension("away")).unwrap();
    experiments.stop("margins").await.unwrap_err();
    let (_, log) = server.terminate_with_log();
    assert!(log.iter().any(|line| line.contains("gives up the stop of the experiment")), "{log:#?}");
    fs::rename(store.with_extension("away"), &store).unwrap();
    let server = Process::start(command(), &store);
    let mut experiments = Experiments::over(channel(server.address).await);
    let listed = experiments.list().await;
    let [margins] = &listed.experiments[..] else { panic!("{listed:?}") };
    assert_eq!((margins.state(), &margins.pending_stop), (ExperimentState::Running, &None));
    experiments.stop("margins").await.unwrap();
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
