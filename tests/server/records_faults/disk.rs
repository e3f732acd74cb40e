//! The disk of the data directory is full, or away for a while: serving goes on, and what was recorded is sealed.

use std::fs;
use std::path::PathBuf;

use tonic::Code;

use super::scene::{Answered, Load, Scene, batch, client, metric, until, until_sealed};
use crate::binary::Process;
use crate::harness::{may_mount, wire};
use crate::store_trouble::fill;

/// A server whose data directory is on a file system in memory, which only its process has mounted. `None` where
/// that is not allowed.
fn on_a_small_disk(scene: &Scene, records: &[(&str, &str)]) -> Option<Process> {
    if !may_mount() {
        return None;
    }
    let disk = scene.path("disk");
    fs::create_dir(&disk).unwrap();
    let serve = scene.server("disk/data", records);
    let script = "set -e; mount -t tmpfs -o size=8m proffer-test \"$1\"; shift; exec \"$@\"";
    let mut confined = std::process::Command::new("unshare");
    confined.args(["-Urm", "sh", "-c", script, "sh"]).arg(disk).arg(serve.get_program());
    for (name, value) in serve.get_envs() {
        match value {
            Some(value) => confined.env(name, value),
            None => confined.env_remove(name),
        };
    }
    Some(scene.start(confined))
}

/// The path through which this process reaches a file of that disk.
#[cfg(target_os = "linux")]
fn on_the_disk_of(scene: &Scene, server: &Process, name: &str) -> PathBuf {
    let inside = scene.path("disk").join(name);
    PathBuf::from(format!("/proc/{}/root", server.id())).join(inside.strip_prefix("/").unwrap())
}

/// Checks that exactly what was told to be recorded is, or at most what else a client was told to be lost. The disk is
/// gone with the server, so all of it is sealed.
async fn ends_well(scene: &Scene, server: Process, answered: &Answered) {
    until_sealed(&server).await;
    assert_eq!(metric(&server, "proffer_events_lost_total"), 0);
    assert!(server.terminate().success());
    scene.assert_whole(&[]);
    let found = scene.recorded(&[]);
    assert!(answered.recorded.is_subset(&found), "a decision that was told to be recorded is not");
    let others: Vec<_> = found.difference(&answered.recorded).collect();
    // What waited in the queue when its client was answered was written after all.
    assert!(others.len() <= answered.not_recorded.len() + answered.refused, "{others:?}");
    assert_eq!(scene.replayed(), found.len());
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_calls_are_answered_and_not_recorded() {
    let scene = Scene::in_directory();
    let Some(server) = on_a_small_disk(&scene, &[("queue", "4MiB")]) else { return };
    let mut client = client(server.address).await;
    let mut answered = Answered::default();
    answered.add(client.rank(batch(100)).await.unwrap().into_inner());
    let filler = on_the_disk_of(&scene, &server, "filler");
    fill(&filler);
    // The queue takes what it has room for.
    for _ in 0..200 {
        let response = client.rank(batch(100)).await.unwrap().into_inner();
        assert!(response.results.iter().all(|result| !result.offers.is_empty()));
        answered.add(response);
        if !answered.not_recorded.is_empty() {
            break;
        }
    }
    assert_eq!(answered.not_recorded.len(), 100, "the queue is never full");
    until("the disk is reported", async || metric(&server, "proffer_event_log_writable") == 0).await;
    // A stream does not wait for a disk that may stay full.
    let calls = tokio_stream::iter([wire::RankStreamRequest { request: Some(batch(100)) }]);
    let mut stream = client.rank_stream(calls).await.unwrap().into_inner();
    answered.add(stream.message().await.unwrap().unwrap().response.unwrap());
    assert_eq!(answered.not_recorded.len(), 200);
    assert_eq!(metric(&server, "proffer_events_dropped_total"), 200);

    fs::remove_file(&filler).unwrap();
    until("the log is written again", async || metric(&server, "proffer_event_log_writable") == 1).await;
    until("there is room again", async || metric(&server, "proffer_event_queue_length") == 0).await;
    let recorded = answered.recorded.len();
    answered.add(client.rank(batch(100)).await.unwrap().into_inner());
    assert_eq!(answered.recorded.len(), recorded + 100);
    ends_well(&scene, server, &answered).await;
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_calls_are_refused() {
    let scene = Scene::in_directory();
    let keys = [("when_full", "refuse"), ("sync", "always")];
    let Some(server) = on_a_small_disk(&scene, &keys) else { return };
    let mut client = client(server.address).await;
    let mut answered = Answered::default();
    answered.add(client.rank(batch(100)).await.unwrap().into_inner());
    let filler = on_the_disk_of(&scene, &server, "filler");
    fill(&filler);
    // What is decided when the disk turns out to be full is refused, too: it is not durable.
    let refused = loop {
        match client.rank(batch(10)).await {
            Ok(response) => answered.add(response.into_inner()),
            Err(status) => break status,
        }
        assert!(answered.recorded.len() < 8_000, "no call is refused");
    };
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    answered.refused += 10;
    until("the disk is reported", async || metric(&server, "proffer_event_log_writable") == 0).await;
    let decided = metric(&server, "proffer_decisions_total");
    for _ in 0..3 {
        let refused = client.rank(batch(10)).await.unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    }
    assert_eq!(metric(&server, "proffer_decisions_total"), decided, "they are refused before they decide");

    fs::remove_file(&filler).unwrap();
    until("the log is written again", async || {
        let response = client.rank(batch(10)).await;
        response.map(|response| answered.add(response.into_inner())).is_ok()
    })
    .await;
    ends_well(&scene, server, &answered).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_away_comes_back_whole() {
    let scene = Scene::in_directory();
    let server = scene.serve("data", &[("sync", "always")]);
    let load = Load::on(&server).await;
    load.more(50).await;
    let (log, away) = (scene.path("data/log"), scene.path("away"));
    fs::rename(&log, &away).unwrap();
    // Once the open file is old, there is no place for another, and none of them can be sealed.
    until("the log is reported", async || metric(&server, "proffer_event_log_writable") == 0).await;
    until("sealing fails", async || metric(&server, "proffer_sealing_failures_total") > 0).await;
    load.more(50).await;
    assert!(metric(&server, "proffer_events_dropped_total") > 0);
    assert!(!log.exists(), "a log that is away must not be made anew");

    fs::rename(&away, &log).unwrap();
    until("the log is written again", async || metric(&server, "proffer_event_log_writable") == 1).await;
    load.more(50).await;
    let answered = load.stop().await;
    assert!(!answered.not_recorded.is_empty());
    assert_eq!(metric(&server, "proffer_events_dropped_total"), answered.not_recorded.len() as u64);
    ends_well(&scene, server, &answered).await;
}
