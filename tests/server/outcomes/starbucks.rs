//! What 17,000 customers did with ten offers, as an independent script counts it: in sealed files, in an export, and in
//! the history that limits look at.

use std::fs;
use std::path::Path;
use std::process::Command;

use chrono::{SubsecRound, TimeDelta, Utc};
use serde_json::{Value, json};

use super::{answers, command, workspace};
use crate::binary::proffer_prints;
use crate::harness::{Server, data, make_store};
use crate::pipeline::recent_python;

#[tokio::test(flavor = "multi_thread")]
async fn a_public_stream_is_counted_as_an_independent_script_counts_it() {
    let (Some(source), Some(python)) = (data("starbucks_offers"), recent_python()) else { return };
    let directory = tempfile::tempdir().unwrap();
    let place = |name: &str| directory.path().join(name);
    let script = |command: &str, more: &[&str]| -> Value {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/outcomes_starbucks.py");
        let mut run = Command::new(&python);
        run.args(["-B".as_ref(), script.as_os_str(), command.as_ref()]);
        let done = run.arg(&source).arg(directory.path()).args(more).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        serde_json::from_slice(&done.stdout).unwrap()
    };
    let until = (Utc::now() - TimeDelta::hours(1)).trunc_subsecs(0).to_rfc3339();
    let made = script("make", &["--until", &until]);
    let written = |file: &str| fs::read_to_string(place(file)).unwrap();
    workspace::write(&place("workspace"), &written("offers.toml"), &written("policy.toml"));
    make_store(&directory.path().join("store"), &place("workspace")).unwrap();
    let data = place("data").display().to_string();
    let settings = [("data.directory", data.as_str()), ("feedback.dedup", "40d")];
    let server = Server::over(&place("store"), &settings);

    let ended = command(&server, &place("outcomes.csv.gz"), &["--json"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let (all, again) = (made["outcomes"].as_u64().unwrap(), made["again"].as_u64().unwrap());
    let summary: Value = serde_json::from_str(&ended.stdout).unwrap();
    let expected = json!({
        "accepted": all - again, "late": 0, "unattributed": all - again, "limit_overshoot": 0, "duplicates": again,
        "refused": 0, "problems": {}, "unread": 0,
    });
    assert_eq!(summary, expected);

    let customers = made["customers"].as_array().unwrap().iter().map(|id| id.as_str().unwrap());
    let (customers, _) = answers::ask(server.channel().await, "app", "app", customers).await;
    let answers = json!({ "until": until, "customers": customers });
    fs::write(place("answers.json"), answers.to_string()).unwrap();
    server.join_quietly();
    let store = place("store").display().to_string();
    proffer_prints(["events", "seal", &data, "--store", &store]);
    let export = place("outcomes.csv").display().to_string();
    let words = ["events", "export", "--kind", "outcome", "--format", "csv", "--store", &store, "--out"];
    proffer_prints(words.into_iter().chain([export.as_str()]));
    fs::rename(place("store/events"), place("events")).unwrap();
    let compared = script("check", &[]);
    assert_eq!(compared["outcomes"], all - again, "{compared}");
    assert_eq!(
        (&compared["offers"], &compared["customers"]),
        (&10.into(), &answers["customers"].as_array().unwrap().len().into())
    );
    assert!(compared["reached"].as_u64() >= Some(100), "hardly a customer has reached a limit: {compared}");
    println!("{compared}");
}
