//! Two servers over one store: each writes and seals files of its own, and what a dead one left is sealed by another
//! process, once.

use std::collections::BTreeMap;
use std::fs;

use super::scene::{Load, Scene, metric, until};
use crate::binary::Ended;

/// The id that a server gave its data directory.
fn server_id(scene: &Scene, data: &str) -> String {
    fs::read_to_string(scene.path(data).join("server-id")).unwrap().trim_end().to_owned()
}

/// Runs a command that must be refused, since a server or a sealing process has the directory.
fn assert_in_use(ended: &Ended) {
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("is in use by "), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_server_writes_files_of_its_own_and_a_dead_ones_log_is_sealed_by_another() {
    let scene = Scene::in_directory();
    let always = [("sync", "always")];
    let servers = [scene.serve("a", &always), scene.serve("b", &always)];
    let loads = [Load::on(&servers[0]).await, Load::on(&servers[1]).await];
    for server in &servers {
        until("both seal", async || metric(server, "proffer_sealed_events_total") > 0).await;
    }
    let ([dead, alive], [load, other_load]) = (servers, loads);
    dead.signal("KILL");
    drop(dead);
    let answered = load.stop().await;
    assert!(!scene.log_files("a").is_empty(), "nothing was left to be sealed");

    // While a process seals what it left, no other process has its directory; that of a running server is never taken.
    let (gate, data) = (scene.path("gate"), |name: &str| scene.path(name).display().to_string());
    fs::write(&gate, "").unwrap();
    let mut sealing = scene.proffer();
    sealing.env("PROFFER_FAULT", format!("seal.staged=hold:{}", gate.display()));
    sealing.args(["events", "seal", &data("a"), "--store", scene.location()]);
    let sealing = std::thread::spawn(move || Ended::from(sealing.output().unwrap()));
    until("a log is being sealed", async || gate.with_extension("reached").exists()).await;
    assert_in_use(&scene.run(&["events", "seal", &data("a")]));
    assert_in_use(&scene.run(&["events", "seal", &data("b")]));
    let (free, directory) = ("127.0.0.1:0", data("a"));
    assert_in_use(&scene.run(&["serve", "--listen", free, "--admin", free, "--data", &directory]));
    fs::remove_file(gate).unwrap();
    let sealed = sealing.join().unwrap();
    assert_eq!(sealed.code, Some(0), "{sealed:?}");
    assert_eq!(scene.log_files("a"), Vec::<String>::new());
    // A repetition finds nothing.
    scene.seal("a");

    other_load.more(20).await;
    let other = other_load.stop().await;
    assert!(alive.terminate().success());
    scene.seal("b");
    scene.assert_whole(&[]);
    let recorded = scene.recorded(&[]);
    let ids = ["a", "b"].map(|data| server_id(&scene, data));
    let by: BTreeMap<String, String> =
        scene.records(&[]).into_iter().map(|record| (record.decision_id, record.server)).collect();
    for (answered, id) in [&answered, &other].into_iter().zip(&ids) {
        assert!(!answered.recorded.is_empty() && answered.not_recorded.is_empty());
        assert!(answered.recorded.iter().all(|decision| by[decision] == *id));
    }
    // Each file is named after the server that wrote its events.
    let mut files = BTreeMap::new();
    for day in fs::read_dir(scene.path("store/events/decision")).unwrap() {
        for file in fs::read_dir(day.unwrap().path()).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            let id = ids.iter().find(|id| name.starts_with(id.as_str()));
            *files.entry(id.unwrap_or_else(|| panic!("{name} is of no server"))).or_insert(0) += 1;
        }
    }
    assert_eq!(files.len(), 2, "{files:?}");
    assert_eq!(scene.replayed(), recorded.len());
}
