//! The store is full, read-only, missing, damaged, or written with a wrong clock: serving continues, the problem is
//! reported, and nothing is lost.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tonic::Code;
use tonic::transport::Endpoint;

use super::binary::{Process, command};
use super::harness::{Server, may_mount, rank_request, sample_workspace, wire};
use super::management::{Management, marked};
use wire::decision_service_client::DecisionServiceClient;

/// Polls until `holds`, up to a limit.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..500 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("timed out waiting until {what}");
}

async fn serves(server: &Server) -> u64 {
    let request = rank_request("app_home", &["C000001", "C000002"]);
    let answer = server.client().await.rank(request).await.unwrap().into_inner();
    assert!(answer.results.iter().all(|result| !result.offers.is_empty()));
    answer.release
}

#[tokio::test]
async fn a_missing_store_is_reported_and_serving_continues() {
    let server = Server::start(&sample_workspace(), &[]);
    let mut client = Management::over(server.channel().await);
    assert_eq!(client.create(&[]).await.unwrap(), 2);
    let away = server.store.with_extension("away");
    fs::rename(&server.store, &away).unwrap();
    let metric = |line: &str| server.admin_get("/metrics").unwrap().contains(line);
    until("the missing store is reported", async || metric("\nproffer_store_reachable 0\n")).await;
    assert_eq!(serves(&server).await, 1);
    assert!(server.admin_get("/readyz").unwrap().starts_with("HTTP/1.1 200"));
    let status = client.promote(2).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(!server.store.exists(), "the store must not be recreated");

    fs::rename(&away, &server.store).unwrap();
    until("the store is back", async || metric("\nproffer_store_reachable 1\n")).await;
    client.promote(2).await.unwrap();
    assert_eq!(serves(&server).await, 2);
}

#[tokio::test]
async fn a_damaged_current_is_reported_and_serving_continues() {
    let server = Server::start(&sample_workspace(), &[]);
    let mut client = Management::over(server.channel().await);
    let path = server.store.join("CURRENT");
    let before = fs::read(&path).unwrap();
    for damage in ["", "release = 'two'", "\u{0}\u{0}\u{0}"] {
        fs::write(&path, damage).unwrap();
        let reachable = || server.admin_get("/metrics").unwrap().contains("\nproffer_store_reachable 1\n");
        until("the damage is reported", async || !reachable()).await;
        assert_eq!(serves(&server).await, 1);
        let status = client.promote(1).await.unwrap_err();
        assert!(status.message().contains("CURRENT"), "{status:?}");
        fs::write(&path, &before).unwrap();
        until("the repair is noticed", async || reachable()).await;
    }
}

#[tokio::test]
async fn wrong_clocks_do_not_matter() {
    let server = Server::start(&sample_workspace(), &[]);
    let mut client = Management::over(server.channel().await);
    // As if the store had been created in another century.
    for (time, year) in [("2101-01-01T00:00:00Z", 131), ("1999-01-01T00:00:00Z", 29)] {
        let path = server.store.join("CURRENT");
        let text = fs::read_to_string(&path).unwrap();
        let moved: Vec<String> = text
            .lines()
            .map(|line| if line.starts_with("time") { format!("time = \"{time}\"") } else { line.to_owned() })
            .collect();
        fs::write(&path, moved.join("\n")).unwrap();
        let stamp = SystemTime::UNIX_EPOCH + Duration::from_secs(year * 365 * 24 * 3600);
        for file in [path, server.store.join("customers/customers.csv")] {
            fs::File::options().append(true).open(file).unwrap().set_modified(stamp).unwrap();
        }
        let release = client.create(&[]).await.unwrap();
        client.promote(release).await.unwrap();
        assert_eq!(serves(&server).await, release);
        assert_eq!(client.rollback().await.unwrap().current.unwrap().release, release - 1);
        client.promote(release).await.unwrap();
        assert_eq!(serves(&server).await, release);
    }
}

#[tokio::test]
async fn foreign_files_in_a_store_are_ignored() {
    let server = Server::start(&sample_workspace(), &[]);
    let mut client = Management::over(server.channel().await);
    for directory in ["models/propensity/2", "models/half/1", "releases/7", "releases/x", ".staging/dead"] {
        fs::create_dir_all(server.store.join(directory)).unwrap();
    }
    for file in ["models/half/1/model.onnx", "models/README", "releases/notes.txt", "releases/7/offers.toml"]
    {
        fs::write(server.store.join(file), "what is this?").unwrap();
    }
    assert_eq!(client.list().await.releases.len(), 1);
    let models = client.models.list_models(wire::ListModelsRequest::default()).await.unwrap().into_inner();
    assert!(
        models.models.iter().all(|model| model.name != "half" && model.versions.len() == 1),
        "{models:?}"
    );
    // A number that is taken by a foreign directory is skipped.
    assert_eq!(client.create(&[]).await.unwrap(), 8);
    client.promote(8).await.unwrap();
    assert_eq!(serves(&server).await, 8);
    assert!(
        client.push("propensity", 0, marked("propensity", "x").path()).await.unwrap().verdict.unwrap().passed
    );
}

/// A server in its own mount namespace, with its store on a small in-memory file system.
struct Confined {
    server: Process,
    store: PathBuf,
    _directory: tempfile::TempDir,
}

impl Confined {
    /// Runs the shell command `then` after creating the store on the file system at `$1`. Returns `None` and prints a
    /// message if mounts are not allowed.
    fn start(megabytes: usize, then: &str) -> Option<Self> {
        if !may_mount() {
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("disk/store");
        fs::create_dir(directory.path().join("disk")).unwrap();
        let proffer = command();
        let script = format!(
            "set -e; mount -t tmpfs -o size={megabytes}m proffer-test \"$1\"; \
             \"$2\" init --store \"$1/store\" --from \"$3\" >&2; {then}; program=\"$2\"; shift 3; exec \"$program\" \"$@\""
        );
        let mut confined = std::process::Command::new("unshare");
        confined.args(["-Urm", "sh", "-c", &script, "sh"]);
        confined.arg(directory.path().join("disk")).arg(proffer.get_program()).arg(sample_workspace());
        let server = Process::start(confined, &store);
        Some(Self { server, store, _directory: directory })
    }

    /// The path through which this process reaches a file of the namespace.
    fn outside(&self, below: &str) -> PathBuf {
        let inside = self.store.parent().unwrap().join(below);
        Path::new(&format!("/proc/{}/root", self.server.id())).join(inside.strip_prefix("/").unwrap())
    }

    async fn management(&self) -> Management {
        Management::over(self.channel().await)
    }

    async fn channel(&self) -> tonic::transport::Channel {
        Endpoint::from_shared(format!("http://{}", self.server.address)).unwrap().connect().await.unwrap()
    }

    async fn serves(&self) -> u64 {
        let mut client = DecisionServiceClient::new(self.channel().await);
        client.rank(rank_request("app_home", &["C000001"])).await.unwrap().into_inner().release
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_rejects_writes_and_serving_continues() {
    let Some(confined) = Confined::start(24, "true") else { return };
    let mut client = confined.management().await;
    let large = marked("propensity", "large");
    fs::write(large.path().join("notes.bin"), vec![7; 32 << 20]).unwrap();
    let status = client.push("propensity", 2, large.path()).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert!(status.message().contains("make room"), "{status:?}");
    assert!(!confined.outside("store/models/propensity/2").exists());
    // Its partial upload was removed: a version of the usual size fits.
    let small = client.push("propensity", 2, marked("propensity", "small").path()).await.unwrap();
    assert!(small.verdict.unwrap().passed);
    assert_eq!(client.create(&[("propensity", 2)]).await.unwrap(), 2);

    let filler = confined.outside("filler");
    fill(&filler);
    for status in [
        client.push("propensity", 0, marked("propensity", "another").path()).await.unwrap_err(),
        client.create(&[]).await.unwrap_err(),
        client.promote(2).await.unwrap_err(),
    ] {
        assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    }
    assert_eq!(confined.serves().await, 1);
    assert_eq!(client.list().await.current.unwrap().sequence, 1);

    fs::remove_file(&filler).unwrap();
    client.promote(2).await.unwrap();
    assert_eq!((confined.serves().await, client.create(&[]).await.unwrap()), (2, 3));
    assert!(confined.server.terminate().success());
}

/// Fills the disk to the last byte.
pub(crate) fn fill(path: &Path) {
    use std::io::Write;
    let mut file = fs::File::create(path).unwrap();
    for size in [1 << 20, 1 << 12, 1 << 8, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_read_only_store_serves() {
    let then = "mount -o remount,ro proffer-test \"$1\"";
    let Some(confined) = Confined::start(24, then) else { return };
    assert_eq!(confined.serves().await, 1);
    let mut client = confined.management().await;
    assert_eq!(client.list().await.serving.unwrap().release, 1);
    for status in [
        client.push("propensity", 2, marked("propensity", "x").path()).await.unwrap_err(),
        client.create(&[]).await.unwrap_err(),
    ] {
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        assert!(status.message().to_lowercase().contains("read-only"), "{status:?}");
    }
    assert_eq!(confined.serves().await, 1);
    assert!(confined.server.terminate().success());
}
