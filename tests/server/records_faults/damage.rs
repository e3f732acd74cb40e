//! Logs and stores of which something is lost: every command says so, names the file, and ends with 1. What is left is
//! sealed, and no position is used twice.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use event::log::open_read_only;

use super::scene::{Answered, Scene, batch, channel, client, until_sealed};
use crate::binary::{Ended, Process};
use crate::harness::{rank_request, wire};
use wire::feedback_service_client::FeedbackServiceClient;
use wire::outcome_verdict::Verdict;

/// The settings of a server whose log is not sealed while it runs.
const UNSEALED: [(&str, &str); 2] = [("sync", "always"), ("log_age", "1h")];

/// The calls of a server, and the customers of each.
const CALLS: usize = 3;
const CUSTOMERS: usize = 10;

/// What a server records in a few calls, each of which is synced by itself.
async fn record(server: &Process) -> BTreeSet<String> {
    let (mut client, mut answered) = (client(server.address).await, Answered::default());
    for _ in 0..CALLS {
        answered.add(client.rank(batch(CUSTOMERS)).await.unwrap().into_inner());
    }
    assert_eq!(answered.recorded.len(), CALLS * CUSTOMERS);
    answered.recorded
}

/// A scene with the log of a server that has ended, and the decisions in it.
async fn with_a_log() -> (Scene, BTreeSet<String>) {
    let scene = Scene::in_directory();
    let server = scene.serve("data", &UNSEALED);
    let ids = record(&server).await;
    assert!(server.terminate().success());
    (scene, ids)
}

/// The only log file in a data directory.
fn log_file(scene: &Scene, data: &str) -> PathBuf {
    let names = scene.log_files(data);
    assert_eq!(names.len(), 1, "{names:?}");
    scene.path(data).join("log").join(&names[0])
}

/// Where the frames of a log file begin; the first is the header.
fn frames(file: &Path) -> Vec<usize> {
    let (bytes, mut starts, mut at) = (fs::read(file).unwrap(), Vec::new(), 0);
    while at < bytes.len() {
        starts.push(at);
        at += 8 + u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    }
    starts
}

/// Damages the frame of the event at a position.
fn damage(file: &Path, position: usize) {
    let (mut bytes, at) = (fs::read(file).unwrap(), frames(file)[position]);
    bytes[at + 20] ^= 0x20;
    fs::write(file, bytes).unwrap();
}

/// Runs a command that must fail with all of these words.
#[track_caller]
fn fails(scene: &Scene, words: &[&str], expected: &[&str]) -> Ended {
    let ended = scene.run(words);
    assert_eq!(ended.code, Some(1), "{words:?}: {ended:?}");
    let said = format!("{}{}", ended.stdout, ended.stderr);
    for expected in expected {
        assert!(said.contains(expected), "{words:?}: no {expected:?} in {ended:?}");
    }
    ended
}

/// Every command that reads logs fails with these words.
#[track_caller]
fn every_reader_fails(scene: &Scene, expected: &[&str]) {
    let (data, out) = (scene.path("data"), scene.path("out"));
    let (data, out) = (data.to_str().unwrap(), out.to_str().unwrap());
    for words in [
        &["decision", "list"][..],
        &["replay"],
        &["replay", "--release", "1"],
        &["events", "export", "--out", out],
        &["events", "export", "--kind", "outcome", "--out", out],
        &["events", "verify"],
        &["privacy", "export", "--customer", "C000001"],
    ] {
        fails(scene, &[words, &["--data", data]].concat(), expected);
    }
    assert!(!Path::new(out).exists());
}

/// Reports that a customer does not want to hear more.
async fn opt_out(server: &Process, customer: &str) {
    let outcome = wire::Outcome {
        event_id: format!("of {customer}"),
        r#type: "opt_out".to_owned(),
        customer_id: customer.to_owned(),
        offer_id: "travel_gold".to_owned(),
        occurred_at: Some(SystemTime::now().into()),
        ..wire::Outcome::default()
    };
    let mut feedback = FeedbackServiceClient::new(channel(server.address).await);
    let request = wire::RecordOutcomesRequest { outcomes: vec![outcome] };
    let verdicts = feedback.record_outcomes(request).await.unwrap().into_inner().verdicts;
    assert_eq!(verdicts[0].verdict(), Verdict::Accepted, "{verdicts:?}");
}

/// Which of these customers have opted out, as the server knows it.
async fn opted_out(server: &Process, customers: &[&str]) -> Vec<String> {
    let mut request = rank_request("email_monthly", customers);
    for customer in &mut request.customers {
        customer.consents = ["marketing", "profiling", "partners"].map(str::to_owned).into();
    }
    let results = client(server.address).await.rank(request).await.unwrap().into_inner().results;
    let is_out = |result: &wire::RankResult| result.degraded.iter().any(|line| line == "opted_out");
    let found = customers.iter().zip(&results).filter(|(_, result)| is_out(result));
    found.map(|(customer, _)| (*customer).to_owned()).collect()
}

/// Seals the data directory, which must fail with these words.
#[track_caller]
fn sealing_fails(scene: &Scene, expected: &[&str]) {
    let ended = fails(scene, &["events", "seal", scene.path("data").to_str().unwrap()], expected);
    assert!(!ended.stdout.contains("nothing is left"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_log_is_never_taken_for_a_whole_one() {
    let (scene, ids) = with_a_log().await;
    let (file, position) = (log_file(&scene, "data"), 15);
    damage(&file, position);
    let shown = file.display().to_string();
    every_reader_fails(&scene, &[&shown, "it is damaged at byte", "a checksum does not match"]);
    // A decision that is found is shown; whether one is missing is not known.
    let opened = open_read_only(&scene.path("data")).unwrap();
    assert_eq!(opened.files[0].last as usize, position - 1);
    let mut read = opened.files[0].frames().unwrap().unwrap();
    read.next_frame().unwrap();
    let Some(event::proto::event::Event::Decision(first)) = read.next_frame().unwrap().unwrap().event.event
    else {
        panic!("the log does not begin with a decision")
    };
    let data = scene.path("data").display().to_string();
    let found = scene.run(&["decision", "show", &first.decision_id, "--data", &data]);
    assert_eq!(found.code, Some(0), "{found:?}");
    let nobody = uuid::Uuid::now_v7().to_string();
    fails(&scene, &["decision", "show", &nobody, "--data", &data], &[&shown]);

    // What can be read is sealed; what cannot is named, until somebody has taken it away.
    let bytes = fs::metadata(&file).unwrap().len() as usize - frames(&file)[position];
    let copy = format!("{shown}.damaged");
    sealing_fails(
        &scene,
        &["14 events sealed", &format!("{bytes} bytes from byte"), &copy, "run the command again"],
    );
    assert!(!file.exists());
    sealing_fails(&scene, &[&copy]);
    every_reader_fails(&scene, &[&copy, "copy of a damaged log file"]);
    fs::rename(&copy, scene.path("kept")).unwrap();
    let sealed = scene.run(&["events", "seal", &data]);
    assert!(sealed.code == Some(0) && sealed.stdout.contains("nothing is left"), "{sealed:?}");
    let left = scene.recorded(&[]);
    assert!(left.len() == position - 1 && left.is_subset(&ids));
    // The events stay missing, and their positions are not used again.
    fails(&scene, &["events", "verify", "--data", &data], &["those from 15 to 30"]);
    let server = scene.serve("data", &UNSEALED);
    let more = record(&server).await;
    assert!(server.terminate().success());
    scene.seal("data");
    fails(&scene, &["events", "verify"], &["log 1 ends at position 14, and log 2 begins at 31"]);
    assert_eq!(scene.recorded(&[]), left.union(&more).cloned().collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn outcomes_that_are_lost_are_missed_and_count_as_far_as_the_checkpoint_knows_them() {
    let customers = ["C000012", "C000013"];
    let scene = Scene::in_directory();
    let server = scene.serve("data", &UNSEALED);
    record(&server).await;
    for customer in customers {
        opt_out(&server, customer).await;
    }
    assert!(server.terminate().success());
    let (file, data) = (log_file(&scene, "data"), scene.path("data").display().to_string());
    // The first opt-out, behind 30 decisions: the other cannot be read behind it.
    damage(&file, 31);
    let shown = file.display().to_string();
    let damaged = [&shown, "it is damaged at byte"];
    every_reader_fails(&scene, &damaged);
    fails(&scene, &["release", "simulate", "1", "--data", &data], &damaged);
    let erase = ["privacy", "erase", "--customer", customers[0], "--data", &data];
    let copy = format!("{shown}.damaged");
    fails(&scene, &erase, &[&copy, "the erasure is not complete", "that cannot be searched"]);
    fs::rename(&copy, scene.path("kept")).unwrap();
    let erased = scene.run(&erase);
    assert_eq!(erased.code, Some(0), "{erased:?}");

    // The checkpoint of the history has both, and has forgotten whom the erasure is about.
    let server = scene.serve("data", &UNSEALED);
    assert_eq!(opted_out(&server, &customers).await, [customers[1]]);
    assert!(server.terminate().success());
    fails(&scene, &["events", "verify", "--data", &data], &["log 1 ends at position 30", "begins at 33"]);
    // Nothing else has it.
    fs::remove_file(scene.path("data/history.checkpoint")).unwrap();
    let server = scene.serve("data", &UNSEALED);
    assert_eq!(opted_out(&server, &customers).await, Vec::<String>::new());
    assert!(server.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_starts_over_damaged_outcomes_says_what_is_lost_and_serves() {
    let scene = Scene::in_directory();
    let server = scene.serve("data", &UNSEALED);
    for customer in ["C000012", "C000013", "C000014"] {
        opt_out(&server, customer).await;
    }
    assert!(server.terminate().success());
    let file = log_file(&scene, "data");
    damage(&file, 2);
    // A history that is built of the log alone.
    fs::remove_file(scene.path("data/history.checkpoint")).unwrap();
    let server = scene.serve("data", &UNSEALED);
    assert_eq!(opted_out(&server, &["C000012", "C000013", "C000014"]).await, ["C000012"]);
    let (status, log) = server.terminate_with_log();
    assert!(status.success());
    let says = |words: &[&str]| log.iter().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(
        says(&[
            "events were recorded, and no log file has them",
            "limits count",
            "\"first\":2",
            "\"last\":3"
        ]),
        "{log:#?}"
    );
    let copy = format!("{}.damaged", file.display());
    assert!(says(&["a file in the log is not read", &copy]), "{log:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_on_the_disk_is_missed_whatever_became_of_it() {
    for (what, position) in [("zeros", 0), ("cut in a frame", 20), ("cut between frames", 21), ("gone", 0)] {
        let (scene, _) = with_a_log().await;
        let file = log_file(&scene, "data");
        let (bytes, starts) = (fs::read(&file).unwrap(), frames(&file));
        match what {
            "zeros" => fs::write(&file, vec![0; bytes.len()]).unwrap(),
            "cut in a frame" => fs::write(&file, &bytes[..starts[position] + 9]).unwrap(),
            "cut between frames" => fs::write(&file, &bytes[..starts[position]]).unwrap(),
            _ => fs::remove_file(&file).unwrap(),
        }
        let log = scene.path("data/log").display().to_string();
        every_reader_fails(&scene, &[&log]);
        let missing = format!("positions {} to 30 were recorded, and no log file has them", position.max(1));
        sealing_fails(&scene, &[&missing]);
        let server = scene.serve("data", &UNSEALED);
        record(&server).await;
        assert!(server.terminate().success());
        let copy = file.with_added_extension("damaged");
        assert_eq!(copy.exists(), what == "zeros" || what == "cut in a frame", "{what}");
        let _ = fs::remove_file(copy);
        scene.seal("data");
        let verified = scene.run(&["events", "verify"]);
        let begins = format!("begins at {}", 31);
        assert!(position == 0 || verified.stdout.contains(&begins), "{what}: {verified:?}");
        assert_eq!(scene.recorded(&[]).len(), position.saturating_sub(1) + CALLS * CUSTOMERS, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_another_server_is_named_until_it_has_a_directory_of_its_own() {
    let (scene, ids) = with_a_log().await;
    let file = log_file(&scene, "data");
    let id = fs::read_to_string(scene.path("data/server-id")).unwrap();
    fs::write(scene.path("data/server-id"), format!("{}\n", uuid::Uuid::nil())).unwrap();
    let shown = file.display().to_string();
    let expected = [&shown, "it is a log file of the server", id.trim(), "server-id"];
    every_reader_fails(&scene, &expected);
    sealing_fails(&scene, &expected);
    let server = scene.serve("data", &UNSEALED);
    let (_, log) = server.terminate_with_log();
    assert!(
        log.iter().any(|line| line.contains("a file in the log is not read") && line.contains(&shown)),
        "{log:#?}"
    );
    // As the message says.
    fs::create_dir_all(scene.path("other/log")).unwrap();
    fs::write(scene.path("other/server-id"), id).unwrap();
    fs::rename(&file, scene.path("other/log").join(file.file_name().unwrap())).unwrap();
    assert_eq!(scene.recorded(&["data", "other"]), ids);
    scene.seal("other");
    scene.seal("data");
    scene.assert_whole(&["data", "other"]);
    assert_eq!(scene.recorded(&[]), ids);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_has_lost_its_log_goes_on_behind_what_is_sealed() {
    let scene = Scene::in_directory();
    let server = scene.serve("data", &[("sync", "always")]);
    let mut ids = record(&server).await;
    until_sealed(&server).await;
    assert!(server.terminate().success());
    for lost in [&["log", "durable"][..], &["log"]] {
        for name in lost {
            let path = scene.path("data").join(name);
            if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
        }
        let server = scene.serve("data", &[("sync", "always")]);
        ids.extend(record(&server).await);
        until_sealed(&server).await;
        let (status, log) = server.terminate_with_log();
        assert!(status.success());
        // Where it is known how far the log was, nothing of it is lost.
        let is_told = log.iter().any(|line| line.contains("the data directory is older than the store"));
        assert_eq!(is_told, lost.len() > 1, "{log:#?}");
        assert!(log.iter().all(|line| !line.contains("no log file has them")), "{log:#?}");
        scene.assert_whole(&["data"]);
        assert_eq!(scene.recorded(&["data"]), ids);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sealed_files_that_are_missing_at_either_end_are_found() {
    let (scene, mut ids) = with_a_log().await;
    scene.seal("data");
    for _ in 0..2 {
        let server = scene.serve("data", &UNSEALED);
        ids.extend(record(&server).await);
        assert!(server.terminate().success());
        scene.seal("data");
    }
    scene.assert_whole(&["data"]);
    let mut files = Vec::new();
    for day in fs::read_dir(scene.path("store/events/decision")).unwrap() {
        files.extend(fs::read_dir(day.unwrap().path()).unwrap().map(|file| file.unwrap().path()));
    }
    files.sort();
    assert_eq!(files.len(), 3, "a log is of one day");
    let away = scene.path("away");
    let expected = ["those from 1 to 30 are missing", "log 1 ends at position 30", "those from 61 to 90"];
    for (file, expected) in files.iter().zip(expected) {
        fs::rename(file, &away).unwrap();
        fails(&scene, &["events", "verify"], &[expected]);
        fs::rename(&away, file).unwrap();
    }
    assert_eq!(scene.recorded(&[]), ids);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_store_is_told_to_every_reader() {
    let (scene, _) = with_a_log().await;
    let (empty, data, out) = (scene.path("empty"), scene.path("data"), scene.path("out"));
    fs::create_dir(&empty).unwrap();
    let [empty, data, out] = [&empty, &data, &out].map(|path| path.to_str().unwrap());
    for words in [
        &["events", "verify"][..],
        &["events", "export", "--out", out],
        &["events", "seal", data],
        &["decision", "list"],
        &["replay"],
        &["privacy", "export", "--customer", "C000001"],
    ] {
        let ended: Ended = scene.proffer().args(words).args(["--store", empty]).output().unwrap().into();
        assert_eq!(ended.code, Some(1), "{words:?}: {ended:?}");
        assert!(ended.stderr.contains("is not a store: it has no CURRENT"), "{words:?}: {ended:?}");
    }
    assert_eq!(scene.log_files("data").len(), 1);
}
