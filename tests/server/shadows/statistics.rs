//! The figures of reports are those that SciPy computes from the exported comparisons: what servers have counted
//! (`GetShadowReport`), and what their records add up to, in logs and sealed. Skipped without the Python of the test
//! environment.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::commands::{of, prints, run};
use super::scene::{Ends, UNSEALED, balance, bank_with, one, recorded, settled_at};
use crate::binary::{Ended, Process};
use crate::harness::{Copy, python, rank_request, wire};
use crate::records_faults::{Scene, client, metric, until};

/// The least comparisons with the shadow `same`.
const COMPARED: u64 = 400;

/// Calls between two looks.
const ROUND: usize = 30;

/// Of another model, which has no score for some customers; of another order, on half of the decisions; and one that
/// changes nothing.
const SHADOWS: &str = r#"
[[shadow]]
id = "model"
sample = 1.0
models = { m = 2 }

[[shadow]]
id = "order"
sample = 0.5
strategy = "margin"
category_weights = { loans = 60.0 }

[[shadow]]
id = "same"
sample = 1.0
context_weights = { spring = 10.0 }
"#;

/// The same of the sample, whose customers have segments.
const SHADOWS_OF_SAMPLE: &str = r#"
[[shadow]]
id = "order"
sample = 1.0
strategy = "margin"
category_weights = { travel = -20.0, cashback = 60.0 }

[[shadow]]
id = "same"
sample = 1.0
context_weights = { cash_segments = 10.0 }
"#;

/// What is exactly so of a shadow that changes nothing, as far as there is anything.
const SAME: [(&str, f64); 20] = [
    ("/first_agrees/share", 1.0),
    ("/overlap/mean", 1.0),
    ("/overlap/deviation", 0.0),
    ("/tau_b/mean", 1.0),
    ("/tau_b/deviation", 0.0),
    ("/rbo/mean", 1.0),
    ("/rbo/deviation", 0.0),
    ("/score_change/mean", 0.0),
    ("/score_change/deviation", 0.0),
    ("/score_change/p1/value", 0.0),
    ("/score_change/p50/value", 0.0),
    ("/score_change/p99/value", 0.0),
    ("/score_shift/psi", 0.0),
    ("/score_shift/ks", 0.0),
    ("/score_shift/ks_at_most", 0.0),
    ("/score_shift/ks_p_value", 1.0),
    ("/value_by_champion/change", 0.0),
    ("/value_by_champion/deviation", 0.0),
    ("/value_by_shadow/change", 0.0),
    ("/withheld_differs/share", 0.0),
];

/// A call for one customer. One in ten is a customer for whom `model` has no score. Now and then no offer remains: a
/// letter falls back then, and the app shows nothing.
fn call(number: usize) -> wire::RankRequest {
    let placement = if number.is_multiple_of(3) { "letter" } else { "home" };
    let balance = if number % 10 == 7 { 15_000.0 } else { balance(number) };
    let excluded: &[&str] = match number % 13 {
        3 => &["black", "gold", "green", "loan"],
        5 => &["gold"],
        _ => &[],
    };
    let exclude_offer_ids = excluded.iter().map(|offer| (*offer).to_owned()).collect();
    wire::RankRequest { exclude_offer_ids, ..one(placement, number, balance) }
}

/// A server that has room for all comparisons on their way to its log.
fn serve(scene: &Scene, data: &str) -> Process {
    let mut serve = scene.server(data, &[&UNSEALED[..], &[("queue", "256MiB")][..]].concat());
    serve.env("PROFFER_SHADOW_QUEUE", "10000");
    scene.start(serve)
}

/// Has a server decide until enough decisions are compared. All comparisons are in its log then.
async fn decide(scene: &Scene, server: &Process, data: &str, call: impl Fn(usize) -> wire::RankRequest) {
    let mut client = client(server.address).await;
    let (mut calls, mut decisions) = (0, 0);
    while Ends::at(server.admin, "same").compared < COMPARED {
        assert!(calls < 100_000, "nothing is compared");
        for _ in 0..ROUND {
            let results = client.rank(call(calls)).await.unwrap().into_inner().results;
            calls += 1;
            decisions += results.len() as u64;
        }
        // The last shadow of the policy: the others are counted before it.
        settled_at(server.admin, "same", decisions).await;
    }
    let counted = ["compared", "failed"].map(|name| metric(server, &format!("proffer_shadow_{name}_total")));
    let counted: u64 = counted.iter().sum();
    until("all comparisons are in the log", async || recorded(scene, data).len() as u64 == counted).await;
    assert_eq!(metric(server, "proffer_shadow_unrecorded_total"), 0);
}

/// The report of a server.
fn counted(scene: &Scene, server: &Process) -> String {
    let address = server.address.to_string();
    prints(run(scene, &["shadow", "report", "--server", &address, "--format", "json"]))
}

/// The report on records.
fn of_records(scene: &Scene, more: &[&str]) -> String {
    prints(scene.run(&[&["shadow", "report", "--format", "json"][..], more].concat()))
}

/// Exports comparisons to a file of this name.
fn export(scene: &Scene, name: &str, more: &[&str]) -> PathBuf {
    let out = scene.path(name);
    let words = ["events", "export", "--kind", "shadow", "--format", "jsonl", "--out", out.to_str().unwrap()];
    prints(scene.run(&[&words[..], more].concat()));
    out
}

fn lines(export: &Path) -> usize {
    fs::read_to_string(export).unwrap().lines().count()
}

/// Has SciPy compute what a report says from the exported comparisons, and compares both. How many numbers that were.
#[track_caller]
fn agree(scene: &Scene, export: &Path, report: &str) -> u64 {
    let path = scene.path("report.json");
    fs::write(&path, report).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/shadow_statistics.py");
    let mut compare = Command::new(python().unwrap());
    compare.arg("-B").arg(script).arg(export).arg("--report").arg(path);
    let Ended { code, stdout, stderr } = compare.output().unwrap().into();
    assert_eq!(code, Some(0), "{}: {stdout}{stderr}", export.display());
    stdout.trim().strip_suffix(" numbers").unwrap().parse().unwrap()
}

/// Checks that `same` differs in nothing: at each placement, in each segment, and in all.
#[track_caller]
fn assert_same(report: &Value) {
    let same = of(report, "same");
    let parts = ["placements", "segments", "cells"];
    let parts = parts.iter().flat_map(|name| same[name].as_array().unwrap());
    for (path, _) in SAME {
        assert!(same["all"].pointer(path).is_some(), "there is no {path}");
    }
    for figures in parts.chain([&same["all"]]) {
        assert_eq!((&figures["failed"], same["examples"].as_array().unwrap().len()), (&0.into(), 0));
        for (path, expected) in SAME {
            let found = figures.pointer(path);
            let is_so = found.is_none_or(|found| found.is_null() || *found == expected);
            assert!(is_so, "{path} is {found:?}: {figures:#}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_of_servers_and_of_their_records_have_the_figures_of_scipy() {
    if python().is_none() {
        return;
    }
    let bank = bank_with(SHADOWS, "pushed_nan_on_some_rows", "'balance', 'annual_fee'");
    let scene = Scene::of(bank.path());
    let servers = ["one", "two"].map(|data| (serve(&scene, data), data));
    let mut compared = 0;
    for (number, (server, data)) in servers.iter().enumerate() {
        decide(&scene, server, data, |turn| call(number * 1_000_000 + turn)).await;
        let at = scene.path(data).display().to_string();
        let exported = export(&scene, "of_one.jsonl", &["--data", &at]);
        let told = counted(&scene, server);
        assert!(agree(&scene, &exported, &told) > 500);
        let report: Value = serde_json::from_str(&told).unwrap();
        assert_same(&report);
        assert!(of(&report, "model")["all"]["failed"].as_u64() > Some(0), "{report:#}");
        assert!(of(&report, "same")["all"]["empty"].as_u64() > Some(0), "{report:#}");
        assert_eq!(of(&report, "same")["shed"], Ends::at(server.admin, "same").shed);
        compared += lines(&exported);
    }

    // The parts of both are the whole, of which one is sealed and the other in its log.
    for (server, _) in servers {
        assert!(server.terminate().success());
    }
    scene.seal("one");
    let at = scene.path("two").display().to_string();
    let with_log = ["--data", at.as_str()];
    let whole = export(&scene, "whole.jsonl", &with_log);
    assert_eq!(lines(&whole), compared);
    assert!(agree(&scene, &whole, &of_records(&scene, &with_log)) > 500);

    // So are those of two times, and of two placements.
    let text = fs::read_to_string(&whole).unwrap();
    let middle: Value = serde_json::from_str(text.lines().nth(compared / 2).unwrap()).unwrap();
    let middle = middle["compared_at"].as_str().unwrap();
    for (one, other) in
        [(["--from", middle], ["--to", middle]), (["--placement", "home"], ["--placement", "letter"])]
    {
        let parts = [one, other].map(|part| {
            let selected = [&with_log[..], &part[..]].concat();
            let exported = export(&scene, "part.jsonl", &selected);
            assert!(agree(&scene, &exported, &of_records(&scene, &selected)) > 200);
            lines(&exported)
        });
        assert!(parts[0] > 0 && parts[1] > 0 && parts[0] + parts[1] == compared, "{parts:?} of {compared}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_by_segment_are_those_of_scipy() {
    if python().is_none() {
        return;
    }
    let copy = Copy::new();
    copy.append("policy.toml", SHADOWS_OF_SAMPLE);
    let scene = Scene::of(copy.path());
    let server = serve(&scene, "data");
    let call = |number: usize| {
        let placement = ["app_home", "email_monthly", "call_center"][number % 3];
        let ids: Vec<String> =
            (0..20).map(|at| format!("C{:06}", (number / 3 * 20 + at) % 2_000 + 1)).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        rank_request(placement, &ids)
    };
    decide(&scene, &server, "data", call).await;
    let at = scene.path("data").display().to_string();
    let exported = export(&scene, "all.jsonl", &["--data", &at]);
    let told = counted(&scene, &server);
    assert!(agree(&scene, &exported, &told) > 2_000);
    let report: Value = serde_json::from_str(&told).unwrap();
    assert_same(&report);
    // Three placements, and several segments.
    assert!(of(&report, "order")["cells"].as_array().unwrap().len() > 6, "{report:#}");
    assert!(server.terminate().success());
}
