//! The log never blocks a call, and foreign text in it or in the output of commands never controls a terminal.

use tonic::transport::Endpoint;

use super::binary::{Process, command, init, proffer_prints};
use super::harness::{admin_get, rank_request, sample_workspace, wire};
use wire::decision_service_client::DecisionServiceClient;

/// Calls after which lines must have been lost: each logs hundreds of bytes at `trace`, and the queue holds megabytes.
const MAX_CALLS: u64 = 200_000;

/// The least number of calls.
const CALLS: u64 = 5_000;

fn lines_lost(server: &Process) -> f64 {
    let metrics = admin_get(server.admin, "/metrics").unwrap();
    let line = metrics.lines().find(|line| line.starts_with("proffer_log_lines_lost_total "));
    line.and_then(|line| line.split(' ').nth(1)).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unread_log_blocks_no_call() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store");
    assert_eq!(init(&store, &sample_workspace()).code, Some(0));
    let mut serve = command();
    serve.env("PROFFER_LOG_FILTER", "trace");
    let server = Process::start_unread(serve, &store);
    let channel =
        Endpoint::from_shared(format!("http://{}", server.address)).unwrap().connect().await.unwrap();
    let mut decisions = DecisionServiceClient::new(channel);
    let mut calls = 0;
    while calls < CALLS || lines_lost(&server) < 1.0 {
        for _ in 0..500 {
            let ranked = decisions.rank(rank_request("app_home", &["C000001"])).await.unwrap().into_inner();
            assert_eq!(ranked.results.len(), 1);
        }
        calls += 500;
        assert!(calls < MAX_CALLS, "no line was lost in {calls} calls");
    }
    drop(decisions);
    // It also exits, although its last lines are never read.
    assert!(server.terminate().success());
}

#[test]
fn control_characters_in_a_note_are_escaped() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store");
    assert_eq!(init(&store, &sample_workspace()).code, Some(0));
    let store = store.to_str().unwrap();
    let note = "fine\nrelease 9 is current\u{1b}[2J\u{202e}\u{9b}31m";
    let args = [
        "release",
        "create",
        "--store",
        store,
        "--base",
        "1",
        "--model",
        "propensity=1",
        "--note",
        note,
        "--author",
        note,
    ];
    let printed = [
        proffer_prints(args),
        proffer_prints(["release", "list", "--store", store]),
        proffer_prints(["release", "show", "2", "--store", store]),
        proffer_prints(["release", "list", "--store", store, "--json"]),
        proffer_prints(["release", "show", "2", "--store", store, "--json"]),
    ];
    for text in &printed {
        assert!(
            text.chars().all(|letter| telemetry::foreign::is_shown(letter) || letter == '\n'),
            "{text:?}"
        );
        assert!(!text.lines().any(|line| line.trim_start().starts_with("release 9 is current")), "{text}");
    }
    let listed: serde_json::Value = serde_json::from_str(&printed[3]).unwrap();
    assert_eq!(listed["releases"][0]["note"], note);
}
