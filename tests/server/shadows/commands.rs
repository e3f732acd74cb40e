//! The commands about shadows: what is listed, what is reported by a server and from its records, and what a replay of
//! the same requests finds.

use std::fs;
use std::time::Duration;

use serde_json::Value;
use wire::decision_service_client::DecisionServiceClient;

use super::scene::{balance, one, shadow};
use crate::binary::{Ended, Process};
use crate::experiments::scene::Bank;
use crate::harness::{admin_get, wire};
use crate::records_faults::{Scene, channel};

/// The decisions of a server, each for one customer, half of them at each placement.
const DECISIONS: usize = 300;

/// How long a test waits for what must happen.
const LIMIT: Duration = Duration::from_mins(2);

/// A shadow called `s` on all decisions, and one called `margins` on a quarter of them.
fn shadows() -> String {
    let margins = shadow("strategy = \"margin\"").replace("\"s\"", "\"margins\"").replace("1.0", "0.25");
    format!("{}{margins}", shadow("models = { m = 2 }"))
}

/// A store of a bank whose policy ends so, and a server over it that has decided.
async fn decided(policy: &str) -> (Bank, Scene, Process) {
    let bank = Bank::new(policy);
    let scene = Scene::of(bank.path());
    let server = scene.serve("data", &[]);
    let mut client = DecisionServiceClient::new(channel(server.address).await);
    for number in 0..DECISIONS {
        let placement = ["home", "letter"][number % 2];
        client.rank(one(placement, number, balance(number))).await.unwrap();
    }
    (bank, scene, server)
}

/// A metric of a server, by its name with its labels.
fn metric(server: &Process, series: &str) -> u64 {
    let page = admin_get(server.admin, "/metrics").unwrap();
    let value = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.map_or(0, |value| value.parse::<f64>().unwrap() as u64)
}

/// How many decisions of a shadow were compared, failed and shed.
fn ends(server: &Process, shadow: &str) -> [u64; 3] {
    ["compared", "failed", "shed"]
        .map(|name| metric(server, &format!("proffer_shadow_{name}_total{{shadow=\"{shadow}\"}}")))
}

/// Waits until each decision is compared with `s`, and recorded.
async fn settle(server: &Process) {
    let waited = tokio::time::timeout(LIMIT, async {
        let is_settled = || {
            ends(server, "s").iter().sum::<u64>() == DECISIONS as u64
                && metric(server, "proffer_shadow_queued") == 0
                && metric(server, "proffer_event_queue_length") == 0
        };
        while !is_settled() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // The last comparisons are on their way to the log.
        tokio::time::sleep(Duration::from_millis(500)).await;
    });
    assert!(waited.await.is_ok(), "{:?} of {DECISIONS}", ends(server, "s"));
}

/// Runs a command without `--store`.
pub(super) fn run(scene: &Scene, words: &[&str]) -> Ended {
    scene.proffer().args(words).output().unwrap().into()
}

/// What a command prints, which must succeed.
#[track_caller]
pub(super) fn prints(ended: Ended) -> String {
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended.stdout
}

#[track_caller]
fn json(ended: Ended) -> Value {
    serde_json::from_str(&prints(ended)).unwrap()
}

#[track_caller]
fn assert_fails(ended: &Ended, code: i32, expected: &str) {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    assert!(ended.stderr.contains(expected), "no {expected:?} in {ended:?}");
}

/// The report on a shadow.
pub(super) fn of<'a>(report: &'a Value, shadow: &str) -> &'a Value {
    let all = report["shadows"].as_array().unwrap();
    all.iter().find(|one| one["shadow"] == shadow).unwrap_or_else(|| panic!("{report:#}"))
}

/// What does not depend on the clock, nor on the order of sums.
fn agreement(report: &Value) -> Vec<Value> {
    let all = &report["all"];
    let exact =
        ["compared", "failed", "empty", "first_agrees", "withheld_differs", "unvalued", "score_shift"];
    let mut found: Vec<Value> = exact.iter().map(|name| all[name].clone()).collect();
    found.push(all["score_change"]["pairs"].clone());
    found.push(all["tau_b"]["n"].clone());
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_its_records_and_a_replay_report_the_same() {
    let (_bank, scene, server) = decided(&shadows()).await;
    settle(&server).await;
    let (address, data) = (server.address.to_string(), scene.path("data").display().to_string());
    let asked = ["shadow", "report", "--server", &address, "--format", "json"];
    let live = json(run(&scene, &asked));
    let [compared, failed, shed] = ends(&server, "s");
    let of_s = of(&live, "s");
    assert_eq!(
        (of_s["all"]["compared"].as_u64(), of_s["all"]["failed"].as_u64()),
        (Some(compared), Some(failed))
    );
    assert!(compared > 0 && failed == 0, "{of_s:#}");
    assert!(of(&live, "margins")["all"]["compared"].as_u64() < Some(compared));

    // What is recorded is what was counted: from the log of the server, and from sealed files.
    let recorded = json(scene.run(&["shadow", "report", "--format", "json", "--data", &data]));
    for shadow in ["s", "margins"] {
        assert_eq!(agreement(of(&recorded, shadow)), agreement(of(&live, shadow)), "{shadow}");
    }
    assert!(server.terminate().success());
    scene.seal("data");
    let sealed = json(scene.run(&["shadow", "report", "--format", "json"]));
    for shadow in ["s", "margins"] {
        assert_eq!(agreement(of(&sealed, shadow)), agreement(of(&recorded, shadow)), "{shadow}");
    }
    let one =
        json(scene.run(&["shadow", "report", "--format", "json", "--shadow", "s", "--placement", "home"]));
    let placements: Vec<&str> = of(&one, "s")["placements"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["placement"].as_str().unwrap())
        .collect();
    assert_eq!((one["shadows"].as_array().unwrap().len(), placements), (1, vec!["home"]));

    // All requests are there, so that a replay compares those that were shed, too.
    let replayed = json(scene.run(&["replay", "--shadow", "--format", "json"]));
    for shadow in ["s", "margins"] {
        assert_eq!(of(&replayed, shadow)["all"]["compared"], DECISIONS, "{shadow}");
    }
    let sampled = json(scene.run(&["replay", "--shadow", "margins", "--sampled", "--format", "json"]));
    if shed == 0 {
        assert_eq!(agreement(of(&replayed, "s")), agreement(of(&recorded, "s")));
        assert_eq!(agreement(of(&sampled, "margins")), agreement(of(&recorded, "margins")));
    }
    assert_eq!(sampled["shadows"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_is_a_text_and_a_page_and_an_empty_one_is_an_error() {
    let (_bank, scene, server) = decided(&shadows()).await;
    settle(&server).await;
    let address = server.address.to_string();
    let text = prints(run(&scene, &["shadow", "report", "--server", &address, "--shadow", "s"]));
    assert!(text.contains("home") && text.contains("letter"), "{text}");
    assert!(server.terminate().success());
    scene.seal("data");
    let page = scene.path("page.html").display().to_string();
    let words = ["shadow", "report", "--format", "html", "--out", &page];
    assert_eq!(prints(scene.run(&words)), "");
    let html = fs::read_to_string(&page).unwrap();
    assert!(html.starts_with("<!DOCTYPE html>") && html.contains("<svg"), "{html}");
    let printed = prints(scene.run(&["shadow", "report", "--format", "html"]));
    assert_eq!(printed, html);

    assert_fails(
        &scene.run(&["shadow", "report", "--shadow", "nope"]),
        1,
        "no comparison with shadow `nope` was found",
    );
    assert_fails(
        &scene.run(&["shadow", "report", "--to", "2026-01-01"]),
        1,
        "name its data directory with --data",
    );
    assert_fails(&run(&scene, &["shadow", "report", "--from", "2026-01-01"]), 2, "--store");
    let inside = scene.path("store/page.html").display().to_string();
    let over = ["shadow", "report", "--format", "html", "--out", &inside];
    assert_fails(&scene.run(&over), 1, "write to another place");
}

#[tokio::test(flavor = "multi_thread")]
async fn shadows_are_listed_with_their_state() {
    let bank = Bank::new(&shadows());
    let scene = Scene::of(bank.path());
    let server = scene.serve("data", &[]);
    let address = server.address.to_string();
    let told = json(run(&scene, &["shadow", "list", "--json", "--server", &address]));
    assert_eq!(json(scene.run(&["shadow", "list", "--json"])), told);
    let listed = &told["shadows"];
    assert_eq!((&listed[0]["id"], &listed[0]["ready"]), (&"s".into(), &true.into()));
    assert_eq!(listed[0]["changes"], serde_json::json!(["models = { m = 2 }"]));
    assert_eq!((&listed[1]["id"], &listed[1]["sample"]), (&"margins".into(), &0.25.into()));
    let text = prints(scene.run(&["shadow", "list"]));
    assert!(text.contains("ready") && text.contains("25 %") && text.contains("all placements"), "{text}");
    assert!(server.terminate().success());

    // A server serves without a shadow whose version is gone, and the commands say why.
    fs::remove_file(scene.path("store/models/m/2/model.onnx")).unwrap();
    let text = prints(scene.run(&["shadow", "list"]));
    assert!(text.contains("UNAVAILABLE") && text.contains("s is not scored"), "{text}");
    let server = scene.serve("data", &[]);
    let address = server.address.to_string();
    let told = json(run(&scene, &["shadow", "list", "--json", "--server", &address]));
    assert_eq!(told["shadows"][0]["ready"], false);
    assert!(told["shadows"][0]["reason"].as_str().unwrap().contains("model.onnx"), "{told}");
    let report = run(&scene, &["shadow", "report", "--server", &address, "--shadow", "s"]);
    assert!(report.code == Some(0) && report.stderr.contains("`s` is not scored: "), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_says_what_is_missing_and_tries_a_policy_that_is_not_released() {
    let (_bank, scene, server) = decided("").await;
    assert!(server.terminate().success());
    scene.seal("data");
    assert_fails(&scene.run(&["replay", "--shadow"]), 1, "release 1 has no shadows");
    assert_fails(&scene.run(&["replay", "--sampled"]), 2, "--shadow");
    assert_fails(&scene.run(&["replay", "--shadow", "--rescore"]), 2, "cannot be used with");
    assert_fails(&scene.run(&["replay", "--shadow="]), 2, "--shadow");

    let policy = scene.path("policy.toml");
    let released = fs::read_to_string(scene.path("store/releases/1/policy.toml")).unwrap();
    fs::write(&policy, released + &shadow("strategy = \"margin\"")).unwrap();
    let policy = policy.display().to_string();
    let tried = ["replay", "--shadow", "--policy", &policy, "--format", "json"];
    let report = json(scene.run(&tried));
    assert_eq!(of(&report, "s")["all"]["compared"], DECISIONS);
    assert!(of(&report, "s")["all"]["first_agrees"]["share"].as_f64() < Some(1.0), "{report:#}");
    let other = ["replay", "--shadow", "other", "--policy", &policy];
    assert_fails(&scene.run(&other), 1, "has no shadow `other`; it has s");
    let none = ["replay", "--shadow", "--policy", &policy, "--to", "2026-01-01"];
    assert_fails(&scene.run(&none), 1, "no recorded decision was compared with a shadow");
}
