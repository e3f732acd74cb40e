//! The server is killed (SIGKILL) at each step of a push, a new release and a promotion. After a restart it serves a
//! complete release, and the operation can be repeated.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use tonic::transport::Endpoint;

use super::binary::{Process, command, init};
use super::harness::{rank_request, sample_workspace, wire};
use super::management::{Management, marked};
use wire::decision_service_client::DecisionServiceClient;

/// The steps of a push, and whether the version exists afterwards.
const PUSH: [(&str, bool); 7] = [
    ("push.uploaded", false),
    ("push.staged", false),
    ("push.placing", false),
    ("push.placed", true),
    ("push.judged", true),
    ("verdict.writing", true),
    ("verdict.written", true),
];

/// The steps of creating a release, and whether it exists afterwards.
const CREATE: [(&str, bool); 4] = [
    ("create.checked", false),
    ("release.staged", false),
    ("release.placing", false),
    ("release.placed", true),
];

/// The steps of a promotion, and whether the new release is current afterwards.
const PROMOTE: [(&str, bool); 9] = [
    ("promote.loading", false),
    ("promote.loaded", false),
    ("promote.foreseen", false),
    ("promote.asked", false),
    ("promote.written", false),
    ("promote.moved", true),
    ("promote.copied", true),
    ("promote.switched", true),
    ("promote.published", true),
];

fn serve(store: &Path, fault: Option<&str>) -> Process {
    let mut proffer = command();
    if let Some(step) = fault {
        proffer.env("PROFFER_FAULT", format!("{step}=kill"));
    }
    Process::start(proffer, store)
}

async fn channel(server: &Process) -> tonic::transport::Channel {
    Endpoint::from_shared(format!("http://{}", server.address)).unwrap().connect().await.unwrap()
}

async fn management(server: &Process) -> Management {
    Management::over(channel(server).await)
}

async fn serves(server: &Process) -> u64 {
    let mut client = DecisionServiceClient::new(channel(server).await);
    let answer = client.rank(rank_request("app_home", &["C000001"])).await.unwrap().into_inner();
    assert!(!answer.results[0].offers.is_empty());
    answer.release
}

/// Checks that nothing half-written is left.
fn assert_tidy(store: &Path) {
    let staging = store.join(".staging");
    let left: Vec<_> = std::fs::read_dir(&staging)
        .map(|entries| entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect())
        .unwrap_or_default();
    assert_eq!(left, Vec::<std::path::PathBuf>::new(), "left in {}", staging.display());
}

struct Scene {
    directory: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let made = init(&directory.path().join("store"), &sample_workspace());
        assert_eq!(made.code, Some(0), "{made:?}");
        Self { directory }
    }

    fn store(&self) -> std::path::PathBuf {
        self.directory.path().join("store")
    }

    /// Runs `act` against a server that is killed at `step`, then restarts the server.
    async fn killed_at(&self, step: &str, act: impl AsyncFnOnce(Management) -> bool) -> Process {
        let server = serve(&self.store(), Some(step));
        let answered = act(management(&server).await).await;
        let ended = server.ended();
        assert_eq!(ended.signal(), Some(9), "{step}: {ended:?}");
        assert!(!answered, "{step}: the killed server answered the call");
        let again = serve(&self.store(), None);
        assert_tidy(&self.store());
        again
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_step_of_a_push() {
    for (step, exists) in PUSH {
        let scene = Scene::new();
        let version = marked("propensity", step);
        let server = scene
            .killed_at(step, async |mut client| client.push("propensity", 2, version.path()).await.is_ok())
            .await;
        let mut client = management(&server).await;
        assert_eq!(serves(&server).await, 1, "{step}");
        let listed =
            client.models.list_models(wire::ListModelsRequest::default()).await.unwrap().into_inner();
        let propensity = listed.models.iter().find(|model| model.name == "propensity").unwrap();
        let versions: Vec<u64> = propensity.versions.iter().map(|version| version.version).collect();
        assert_eq!(versions, if exists { vec![1, 2] } else { vec![1] }, "{step}");

        let pushed = client.push("propensity", 2, version.path()).await.unwrap();
        assert_eq!(pushed.created, !exists, "{step}");
        assert!(pushed.verdict.unwrap().passed, "{step}");
        assert_eq!(client.create(&[("propensity", 2)]).await.unwrap(), 2, "{step}");
        client.promote(2).await.unwrap();
        assert_eq!(serves(&server).await, 2, "{step}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_step_of_creating_a_release() {
    for (step, exists) in CREATE {
        let scene = Scene::new();
        let server = scene.killed_at(step, async |mut client| client.create(&[]).await.is_ok()).await;
        let mut client = management(&server).await;
        assert_eq!(serves(&server).await, 1, "{step}");
        assert_eq!(client.list().await.releases.len(), 1 + usize::from(exists), "{step}");
        let release = client.create(&[]).await.unwrap();
        client.promote(release).await.unwrap();
        assert_eq!(serves(&server).await, release, "{step}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_step_of_a_promotion() {
    for (step, moved) in PROMOTE {
        let scene = Scene::new();
        let server = scene
            .killed_at(step, async |mut client| {
                assert_eq!(client.create(&[]).await.unwrap(), 2);
                client.promote_over(2, Some(1)).await.is_ok()
            })
            .await;
        let mut client = management(&server).await;
        let expected = if moved { 2 } else { 1 };
        let listed = client.list().await;
        let (current, serving) = (listed.current.unwrap(), listed.serving.unwrap());
        assert_eq!(
            (current.release, serving.release, serves(&server).await),
            (expected, expected, expected),
            "{step}"
        );
        // The promotion can be repeated, whether or not it had taken effect.
        let promoted = client.promote(2).await.unwrap().current.unwrap();
        assert_eq!((promoted.release, promoted.previous, promoted.sequence), (2, 1, 2), "{step}");
        // The history is complete: a rollback finds the release before.
        assert_eq!(client.rollback().await.unwrap().current.unwrap().release, 1, "{step}");
        assert_eq!(serves(&server).await, 1, "{step}");
        let kept: Vec<bool> = (1..=3)
            .map(|sequence| scene.store().join(format!("promotions/{sequence}.toml")).is_file())
            .collect();
        assert_eq!(kept, [true; 3], "{step}");
    }
}
