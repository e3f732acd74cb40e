//! `proffer experiment`, on a server and on a store.

use std::sync::Arc;

use super::super::binary::{Ended, init, proffer};
use super::super::harness::make_store;
use super::*;
use model::Engine;
use proffer::app::App;
use release::Store;

/// Runs `proffer experiment` with these words, and `place`.
fn run(place: &[&str], line: &str) -> Ended {
    let words = ["experiment"].into_iter().chain(line.split_whitespace()).chain(place.iter().copied());
    proffer(words)
}

fn prints(place: &[&str], line: &str) -> String {
    let ended = run(place, line);
    assert_eq!(ended.code, Some(0), "{line}: {ended:?}");
    ended.stdout
}

/// The life of an experiment, wherever the commands work.
fn lives(place: &[&str]) {
    let listed = prints(place, "list");
    for part in ["margins", "draft", "5 %", "app_home", "as_is, by_margin"] {
        assert!(listed.contains(part), "no {part:?} in {listed}");
    }
    let started = prints(place, "start margins --author anna --reason monday");
    assert!(
        started.starts_with(
            "experiment margins is running with coverage 5 %: release 2 is current, promotion 2"
        ),
        "{started}"
    );
    assert!(started.contains("a rollback goes to release 1"), "{started}");
    let again = prints(place, "start margins");
    assert_eq!(again.trim_end(), "experiment margins is running with coverage 5 % already, in release 2");
    let ramped: serde_json::Value = serde_json::from_str(&prints(place, "ramp margins 0.25 --json")).unwrap();
    assert_eq!((&ramped["state"], &ramped["coverage"]), (&"running".into(), &0.25.into()));
    assert_eq!((&ramped["changed"], &ramped["current"]["release"]), (&true.into(), &3.into()));
    let shown = prints(place, "show margins");
    for part in
        ["experiment margins of release 3: running, coverage 25 %", "strategy = \"margin\"", "monday", "anna"]
    {
        assert!(shown.contains(part), "no {part:?} in {shown}");
    }
    let shown: serde_json::Value = serde_json::from_str(&prints(place, "show margins --json")).unwrap();
    assert_eq!(shown["steps"].as_array().unwrap().len(), 2);
    prints(place, "pause margins");
    prints(place, "stop margins --reason complaints");
    let concluded = prints(place, "conclude margins --winner by_margin");
    let made = "release 6 is made; it does not serve yet: proffer release promote 6 --expect 5";
    // Warnings about the sample follow.
    assert_eq!(concluded.lines().next(), Some(made));
    let again = prints(place, "conclude margins --winner by_margin");
    assert!(again.starts_with("release 6 was made for this before"), "{again}");
    for (line, expected) in [
        ("start margins", "experiment `margins` is stopped"),
        ("show margin", "did you mean `margins`?"),
        ("conclude margins --winner none", "has no variant `none`"),
    ] {
        let ended = run(place, line);
        assert!(ended.code == Some(1) && ended.stderr.contains(expected), "{line}: {ended:?}");
    }
    assert_eq!(run(place, "ramp margins 2").code, Some(2));
}

#[test]
fn on_a_server() {
    let server = server(DRAFT);
    let address = server.address.to_string();
    lives(&["--server", &address]);
    let ended = run(&["--server", &address], "stop margins --withdraw");
    assert!(
        ended.code == Some(1) && ended.stderr.contains("no stop of experiment `margins` is pending"),
        "{ended:?}"
    );
    // A step says in the list of releases what it is.
    let shown = proffer(["release", "show", "3", "--server", &address]).stdout;
    assert!(shown.contains("experiment margins: ramp from release 2, coverage 0.25"), "{shown}");
}

#[test]
fn on_a_store() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store");
    assert_eq!(init(&store, workspace(DRAFT).path()).code, Some(0));
    lives(&["--store", store.to_str().unwrap()]);
    let rolled = proffer(["release", "rollback", "--store", store.to_str().unwrap()]);
    assert!(rolled.stdout.starts_with("release 1 is current"), "{rolled:?}");
}

/// The native engines of a release.
fn engines(release: &release::Release) -> Vec<Arc<native::NativeModel>> {
    let engines = release.models().iter().flat_map(|model| model.engines());
    engines
        .filter_map(|engine| match engine {
            Engine::Native(native) => Some(Arc::clone(native)),
            Engine::OnnxRuntime(_) => None,
        })
        .collect()
}

#[test]
fn on_a_store_the_models_of_a_step_are_those_of_its_check() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    make_store(&path, workspace("").path()).unwrap();
    let (registry, deployer, _) = App::offline(Store::open(path.to_str().unwrap(), None).unwrap()).unwrap();
    let files = registry.release(1).unwrap();
    let checked = deployer.check_policy(&files, &files.policy).unwrap();
    let loaded = deployer.release(1).unwrap();
    let (first, again) = (engines(&checked), engines(&loaded));
    assert!(!first.is_empty());
    assert!(first.iter().zip(&again).all(|(first, again)| Arc::ptr_eq(first, again)));
}

#[test]
fn a_workspace_without_experiments_says_so() {
    let server = Server::start(without_experiments().path(), &[]);
    let listed = prints(&["--server", &server.address.to_string()], "list");
    assert_eq!(listed.trim_end(), "release 1, which is current, has no experiments");
}
