//! The server is killed (SIGKILL) under load at each step from the call to the sealed file.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;

use super::scene::{Load, Scene, metric, until};
use crate::binary::Process;
use crate::s3::S3;

/// The steps, and how often each is reached before the kill: by then, clients have answers that may be lost.
const STEPS: [(&str, u32); 10] = [
    ("record.created", 3),
    ("record.append", 40),
    ("record.synced", 40),
    ("record.rotate", 3),
    ("seal.staged", 2),
    ("seal.placed", 2),
    ("record.noting", 2),
    ("record.deleting", 2),
    ("record.deleted", 2),
    ("seal.deleted", 2),
];

/// An answer comes after its records are on the disk.
const ALWAYS: [(&str, &str); 1] = [("sync", "always")];

/// Waits until a server is killed, and returns what its clients were told to be recorded.
async fn killed(mut server: Process, load: Load, step: &str) -> BTreeSet<String> {
    let mut ended = None;
    until(&format!("the server is killed at {step}"), async || {
        ended = server.has_ended();
        ended.is_some()
    })
    .await;
    assert_eq!(ended.unwrap().signal(), Some(9), "{step}");
    load.stop().await.recorded
}

/// Starts a server over the data directory of one that was killed, and checks what it finds and does.
async fn goes_on(scene: &Scene, data: &str, acknowledged: &mut BTreeSet<String>, step: &str) {
    assert!(!acknowledged.is_empty(), "{step}: no call was answered");
    let lost = |found: &BTreeSet<String>, acknowledged: &BTreeSet<String>| {
        let lost: Vec<_> = acknowledged.difference(found).cloned().collect();
        assert!(lost.is_empty(), "{step}: {} of {} are lost: {lost:?}", lost.len(), acknowledged.len());
    };
    // Who only reads finds all of it, too.
    lost(&scene.recorded(&[data]), acknowledged);
    let again = scene.serve(data, &ALWAYS);
    let load = Load::on(&again).await;
    load.more(20).await;
    acknowledged.extend(load.stop().await.recorded);
    assert!(again.terminate().success(), "{step}");
    scene.assert_whole(&[data]);
    lost(&scene.recorded(&[data]), acknowledged);
    scene.seal(data);
    lost(&scene.recorded(&[]), acknowledged);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_under_load_at_any_step_to_a_directory() {
    let scene = Scene::in_directory();
    for (step, times) in STEPS {
        let server = scene.serve_with(&format!("{step}=kill:{times}"), step, &ALWAYS);
        let load = Load::on(&server).await;
        let mut acknowledged = killed(server, load, step).await;
        goes_on(&scene, step, &mut acknowledged, step).await;
    }
    scene.assert_whole(&[]);
    assert_eq!(scene.replayed(), scene.recorded(&[]).len());
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_under_load_at_any_step_to_a_bucket() {
    let Some(s3) = S3::shared() else { return };
    let scene = Scene::in_bucket(s3);
    for step in ["seal.staged", "seal.placed", "record.deleting", "seal.deleted"] {
        let server = scene.serve_with(&format!("{step}=kill:2"), step, &ALWAYS);
        let load = Load::on(&server).await;
        let mut acknowledged = killed(server, load, step).await;
        goes_on(&scene, step, &mut acknowledged, step).await;
    }
    scene.assert_whole(&[]);
    assert_eq!(scene.replayed(), scene.recorded(&[]).len());
}

/// A server under load whose sealed file has left for a bucket that does not answer.
async fn uploading(scene: &Scene, s3: &S3, data: &str) -> (Process, Load) {
    let gate = scene.path(&format!("gate of {data}"));
    fs::write(&gate, "").unwrap();
    let server = scene.serve_with(&format!("seal.staged=hold:{}", gate.display()), data, &ALWAYS);
    let load = Load::on(&server).await;
    until("a sealed file is made", async || gate.with_extension("reached").exists()).await;
    s3.hold();
    fs::remove_file(&gate).unwrap();
    // What the server asks for otherwise is shorter.
    until("the upload has begun", async || s3.unread_bytes() > 4_096).await;
    (server, load)
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_of_an_upload() {
    let Some(s3) = S3::start() else { return };
    let scene = Scene::in_bucket(&s3);
    let (server, load) = uploading(&scene, &s3, "data").await;
    server.signal("KILL");
    let mut acknowledged = killed(server, load, "an upload").await;
    // The gateway may still take the file: the next server then finds it there.
    s3.release();
    goes_on(&scene, "data", &mut acknowledged, "an upload").await;
    scene.assert_whole(&[]);
    assert_eq!(scene.replayed(), scene.recorded(&[]).len());
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_server_ends_while_a_bucket_does_not_answer() {
    let Some(s3) = S3::start() else { return };
    let scene = Scene::in_bucket(&s3);
    let (server, load) = uploading(&scene, &s3, "data").await;
    let mut acknowledged = load.stop().await.recorded;
    assert_eq!(metric(&server, "proffer_events_dropped_total"), 0);
    let (status, log) = server.terminate_with_log();
    assert!(status.success(), "{status}");
    let is_told = log.iter().any(|line| line.contains("a log file is still being sealed"));
    assert!(is_told, "{log:#?}");
    s3.release();
    goes_on(&scene, "data", &mut acknowledged, "an upload").await;
}
