//! Pending stops: over restarts, in the first moments of a server, at its end, and while only a part of the store is
//! there.

use std::fs;
use std::path::PathBuf;

use super::super::binary::{Process, command, init};
use super::super::harness::admin_get;
use super::*;

/// A store with an experiment that runs, and the data directory of a server.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { directory: tempfile::tempdir().unwrap() };
        assert_eq!(init(&place.store(), workspace("").path()).code, Some(0));
        place
    }

    fn store(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    fn take_store_away(&self) {
        fs::rename(self.store(), self.directory.path().join("away")).unwrap();
    }

    fn bring_store_back(&self) {
        fs::rename(self.directory.path().join("away"), self.store()).unwrap();
    }

    /// Holds a server at a step while it exists.
    fn gate(&self) -> PathBuf {
        self.directory.path().join("gate")
    }

    fn is_held(&self) -> bool {
        self.gate().with_extension("reached").exists()
    }

    /// A server that is held at this step, with this further setting.
    fn command(&self, step: &str, (name, value): (&str, &str)) -> std::process::Command {
        let mut server = command();
        server.env("PROFFER_DATA_DIRECTORY", self.directory.path().join("data"));
        server.env("PROFFER_FAULT", format!("{step}=hold:{}", self.gate().display())).env(name, value);
        server
    }

    fn start(&self, step: &str) -> Process {
        Process::start(self.command(step, ("PROFFER_SERVER_POLL", "100ms")), &self.store())
    }

    /// A server that is held before it has loaded a release.
    fn launch_held(&self) -> Process {
        Process::launch(self.command("promote.starting", ("PROFFER_SERVER_POLL", "100ms")), &self.store())
    }

    fn kept(&self) -> Option<String> {
        fs::read_to_string(self.directory.path().join("data/pending-stops.toml")).ok()
    }
}

async fn experiments(server: &Process) -> Experiments {
    Experiments::over(channel(server.address).await)
}

const HELD_AT_NONE: &str = "promote.loaded";

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_is_still_pending_after_a_restart() {
    let place = Place::new();
    let server = place.start(HELD_AT_NONE);
    place.take_store_away();
    let status = experiments(&server).await.stop("margins").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(
        status.message().ends_with("tries again until it is done or withdrawn, also after a restart"),
        "{status:?}"
    );
    assert!(place.kept().unwrap().contains("experiment = \"margins\""));
    let (ended, log) = server.terminate_with_log();
    assert!(ended.success());
    assert!(log.iter().any(|line| line.contains("it tries again when it starts with this data directory")));
    place.bring_store_back();
    let server = place.start(HELD_AT_NONE);
    let mut experiments = experiments(&server).await;
    until("the stop is done", async || experiments.standing("margins").await.0 == ExperimentState::Stopped)
        .await;
    assert_eq!(experiments.get("margins").await.steps[0].author, "a tester");
    until("the file is gone", async || place.kept().is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawn_stop_does_not_come_back() {
    let place = Place::new();
    let server = place.start(HELD_AT_NONE);
    place.take_store_away();
    let mut experiments = experiments(&server).await;
    experiments.stop("margins").await.unwrap_err();
    assert!(place.kept().is_some());
    experiments.withdraw("margins").await.unwrap();
    assert_eq!(place.kept(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_remembers_so_many_stops_and_no_more() {
    let place = Place::new();
    fs::write(place.gate(), "").unwrap();
    let server = place.launch_held();
    until("the server is held", async || place.is_held()).await;
    let mut experiments = experiments(&server).await;
    // Before a release is loaded it is not known which there are.
    for number in 0..256 {
        let status = experiments.stop(&format!("e{number}")).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    }
    let status = experiments.stop("margins").await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    assert!(status.message().starts_with("stops of 256 experiments are pending"), "{status:?}");
    // One of those again is no further one.
    assert_eq!(experiments.stop("e7").await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_cannot_be_read_stops_no_server_and_is_replaced() {
    let place = Place::new();
    fs::create_dir(place.directory.path().join("data")).unwrap();
    fs::write(place.directory.path().join("data/pending-stops.toml"), "not TOML").unwrap();
    let server = place.start(HELD_AT_NONE);
    let mut experiments = experiments(&server).await;
    assert_eq!(experiments.list().await.experiments[0].pending_stop, None);
    place.take_store_away();
    experiments.stop("margins").await.unwrap_err();
    assert!(place.kept().unwrap().contains("experiment = \"margins\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_records_nothing_gives_a_stop_up_when_it_ends() {
    let place = Place::new();
    let command = || place.command(HELD_AT_NONE, ("PROFFER_RECORDS_RECORD", "false"));
    let server = Process::start(command(), &place.store());
    place.take_store_away();
    let status = experiments(&server).await.stop("margins").await.unwrap_err();
    assert!(status.message().ends_with("until it is done, withdrawn, or the server ends"), "{status:?}");
    let (_, log) = server.terminate_with_log();
    assert!(log.iter().any(|line| line.contains("gives up the stop of the experiment")), "{log:#?}");
    assert_eq!(place.kept(), None);
    place.bring_store_back();
    let server = Process::start(command(), &place.store());
    let mut experiments = experiments(&server).await;
    let listed = experiments.list().await;
    let [margins] = &listed.experiments[..] else { panic!("{listed:?}") };
    assert_eq!((margins.state(), &margins.pending_stop), (ExperimentState::Running, &None));
    experiments.stop("margins").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_before_the_release_is_loaded_is_done_once_it_is() {
    let place = Place::new();
    fs::write(place.gate(), "").unwrap();
    let server = place.launch_held();
    until("the server is held", async || place.is_held()).await;
    let mut experiments = experiments(&server).await;
    let status = experiments.start("margins").await.unwrap_err();
    assert_eq!(status.message(), "no release is loaded yet; call again soon");
    for id in ["margins", "unknown", "withdrawn"] {
        let status = experiments.stop(id).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        let expected = format!(
            "nothing has moved: experiment `{id}` goes on, since its stop could not be written: no release is loaded \
             yet"
        );
        assert!(status.message().starts_with(&expected), "{status:?}");
    }
    experiments.withdraw("withdrawn").await.unwrap();
    fs::remove_file(place.gate()).unwrap();
    until("it serves", async || server.serves()).await;
    until("the stop is done", async || experiments.standing("margins").await.0 == ExperimentState::Stopped)
        .await;
    // What is not there is not waited for.
    until("no stop is pending", async || {
        let metrics = admin_get(server.admin, "/metrics").unwrap();
        metrics.contains("\nproffer_experiment_stops_pending 0\n")
    })
    .await;
    assert_eq!(place.kept(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_waits_for_an_attempt_at_a_stop() {
    let place = Place::new();
    let mut server = place.start("promote.loaded");
    let mut experiments = experiments(&server).await;
    place.take_store_away();
    experiments.stop("margins").await.unwrap_err();
    fs::write(place.gate(), "").unwrap();
    place.bring_store_back();
    until("the attempt is held", async || place.is_held()).await;
    server.signal("TERM");
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert!(server.has_ended().is_none());
    fs::remove_file(place.gate()).unwrap();
    assert!(server.ended().success());
    let current = fs::read_to_string(place.store().join("CURRENT")).unwrap();
    assert!(current.contains("release = 2\n"), "{current}");
    assert_eq!(place.kept(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_may_have_been_written_is_not_told_to_go_on() {
    let place = Place::new();
    let server = place.start("promote.foreseen");
    let mut experiments = experiments(&server).await;
    experiments.list().await;
    fs::write(place.gate(), "").unwrap();
    let mut other = experiments.clone();
    let stop = tokio::spawn(async move { other.stop("margins").await });
    until("the stop is held", async || place.is_held()).await;
    place.take_store_away();
    fs::remove_file(place.gate()).unwrap();
    let status = stop.await.unwrap().unwrap_err();
    let expected = "it is not known whether experiment `margins` is stopped";
    assert!(status.message().starts_with(expected), "{status:?}");
    let pending = experiments.list().await.experiments[0].pending_stop.clone().unwrap();
    assert!(pending.may_be_stopped, "{pending:?}");
    assert!(experiments.withdraw("margins").await.unwrap().may_be_stopped);
    place.bring_store_back();
    until("the store is back", async || experiments.list().await.store_error.is_empty()).await;
    assert_eq!(experiments.standing("margins").await.0, ExperimentState::Running);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_stays_pending_while_something_else_is_missing() {
    let place = Place::new();
    let server = place.start(HELD_AT_NONE);
    let mut experiments = experiments(&server).await;
    experiments.list().await;
    place.take_store_away();
    experiments.stop("margins").await.unwrap_err();
    let (release, aside) =
        (place.directory.path().join("away/releases/1"), place.directory.path().join("aside"));
    fs::rename(&release, &aside).unwrap();
    place.bring_store_back();
    until("the release is missed", async || {
        let pending = experiments.list().await.experiments[0].pending_stop.clone();
        pending.unwrap().error.contains("the store has no release 1")
    })
    .await;
    fs::rename(&aside, place.store().join("releases/1")).unwrap();
    until("the stop is done", async || experiments.standing("margins").await.0 == ExperimentState::Stopped)
        .await;
}
