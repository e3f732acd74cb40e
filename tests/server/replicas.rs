//! Several servers over one store: a promotion through any of them reaches all.

use std::path::Path;
use std::time::Duration;

use super::binary::{Process, command, init};
use super::harness::{Server, rank_request, sample_workspace, wire};
use super::management::{Management, marked};
use super::s3::S3;
use tonic::Code;
use wire::decision_service_client::DecisionServiceClient;

async fn release_of(address: std::net::SocketAddr) -> u64 {
    let mut client = DecisionServiceClient::connect(format!("http://{address}")).await.unwrap();
    client.rank(rank_request("app_home", &["C000001"])).await.unwrap().into_inner().release
}

async fn converges(address: std::net::SocketAddr, release: u64) {
    for _ in 0..500 {
        if release_of(address).await == release {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{address} does not serve release {release}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_through_either_server_reaches_both() {
    let one = Server::start(&sample_workspace(), &[]);
    let other = Server::over(&one.store, &[]);
    let mut through_one = Management::over(one.channel().await);
    let mut through_other = Management::over(other.channel().await);
    through_one.push("propensity", 2, marked("propensity", "x").path()).await.unwrap();
    assert_eq!(through_other.create(&[("propensity", 2)]).await.unwrap(), 2);
    through_one.promote(2).await.unwrap();
    assert_eq!(release_of(one.address).await, 2);
    converges(other.address, 2).await;
    let back = through_other.rollback().await.unwrap();
    assert_eq!((back.current.unwrap().release, release_of(other.address).await), (1, 1));
    converges(one.address, 1).await;
    let states = [through_one.list().await.serving.unwrap(), through_other.list().await.serving.unwrap()];
    assert_eq!(states.map(|state| (state.release, state.sequence)), [(1, 3); 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_stopped_during_promotions_catches_up() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store");
    assert_eq!(init(&store, &sample_workspace()).code, Some(0));
    let (running, stopped) = (Process::start(command(), &store), Process::start(command(), &store));
    stopped.signal("STOP");
    let mut client = Management::over(connect(running.address).await);
    for release in 2..=4 {
        assert_eq!(client.create(&[]).await.unwrap(), release);
        client.promote(release).await.unwrap();
    }
    stopped.signal("CONT");
    converges(stopped.address, 4).await;
    assert!(stopped.terminate().success() && running.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_rejects_a_release_that_it_cannot_load_and_recovers() {
    let one = Server::start(&sample_workspace(), &[]);
    let mut client = Management::over(one.channel().await);
    client.push("propensity", 2, marked("propensity", "x").path()).await.unwrap();
    client.create(&[("propensity", 2)]).await.unwrap();
    client.create(&[]).await.unwrap();
    client.promote(2).await.unwrap();
    client.promote(3).await.unwrap();
    // The release is still warm in the first server, but damaged for the second.
    let file = one.store.join("models/propensity/2/model.onnx");
    let whole = std::fs::read(&file).unwrap();
    let other = Server::over(&one.store, &[]);
    std::fs::write(&file, "damaged").unwrap();
    let warm = client.promote(2).await.unwrap();
    assert!(warm.warm);
    let mut through_other = Management::over(other.channel().await);
    let mut refused = Vec::new();
    for _ in 0..500 {
        refused = through_other.list().await.serving.unwrap().refused;
        if !refused.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!((refused[0].release, release_of(other.address).await), (2, 3));
    assert!(refused[0].reason.contains("propensity/2/model.onnx"), "{refused:?}");
    assert!(other.admin_get("/metrics").unwrap().contains("proffer_release_wanted 2"));
    // The file is repaired.
    std::fs::write(&file, whole).unwrap();
    converges(other.address, 2).await;
    assert!(through_other.list().await.serving.unwrap().refused.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_does_not_wait_for_a_promotion_that_is_loading() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store");
    assert_eq!(init(&store, &sample_workspace()).code, Some(0));
    let gate = directory.path().join("gate");
    let mut held = command();
    held.env("PROFFER_FAULT", format!("promote.loaded=hold:{}", gate.display()));
    let server = Process::start(held, &store);
    let mut client = Management::over(connect(server.address).await);
    for release in 2..=3 {
        assert_eq!(client.create(&[]).await.unwrap(), release);
    }
    client.promote(2).await.unwrap();
    let at_gate = gate.with_extension("reached");
    std::fs::remove_file(&at_gate).unwrap();
    std::fs::write(&gate, "").unwrap();
    let mut slow = client.clone();
    let promotion = tokio::spawn(async move { slow.promote(3).await });
    // The release is loaded, and the promotion is held before CURRENT moves.
    while !at_gate.exists() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let back = client.rollback().await.unwrap();
    assert!(back.warm);
    assert_eq!((back.current.unwrap().release, release_of(server.address).await), (1, 1));
    std::fs::remove_file(&gate).unwrap();
    let status = promotion.await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Aborted, "{status:?}");
    assert!(status.message().contains("release 1 is current"), "{status:?}");
    assert_eq!((release_of(server.address).await, client.list().await.current.unwrap().sequence), (1, 3));
}

async fn connect(address: std::net::SocketAddr) -> tonic::transport::Channel {
    tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

/// A server over a store on S3, with its own mirror.
pub(crate) struct OnS3 {
    pub server: Process,
    _mirror: tempfile::TempDir,
}

impl OnS3 {
    pub(crate) fn start(s3: &S3, location: &str) -> Self {
        let mirror = tempfile::tempdir().unwrap();
        let mut proffer = command();
        proffer.envs(s3.variables()).env("PROFFER_SERVER_MIRROR", mirror.path().join("mirror"));
        Self { server: Process::start(proffer, Path::new(location)), _mirror: mirror }
    }

    async fn management(&self) -> Management {
        Management::over(connect(self.server.address).await)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_on_s3_serves_a_fleet() {
    let Some(s3) = S3::start() else { return };
    let location = s3.new_location();
    let mut made = command();
    made.envs(s3.variables()).args(["init", "--store", &location, "--from"]).arg(sample_workspace());
    assert!(made.status().unwrap().success());
    let (one, other) = (OnS3::start(&s3, &location), OnS3::start(&s3, &location));
    assert_eq!((release_of(one.server.address).await, release_of(other.server.address).await), (1, 1));

    // A version that is pushed through one is judged, released and promoted through the other.
    let (mut through_one, mut through_other) = (one.management().await, other.management().await);
    let version = marked("propensity", "on S3");
    let pushed = through_one.push("propensity", 0, version.path()).await.unwrap();
    assert!(pushed.created && pushed.verdict.unwrap().passed);
    assert!(!through_other.push("propensity", 2, version.path()).await.unwrap().created);
    assert_eq!(through_other.create(&[("propensity", 2)]).await.unwrap(), 2);
    through_other.promote_over(2, Some(1)).await.unwrap();
    assert_eq!(release_of(other.server.address).await, 2);
    converges(one.server.address, 2).await;

    // Of two promotions that race through different servers, one wins.
    assert_eq!(through_one.create(&[]).await.unwrap(), 3);
    for round in 0..10 {
        let current = through_one.list().await.current.unwrap().release;
        let wanted: Vec<u64> = (1..=3).filter(|release| *release != current).collect();
        let both = tokio::join!(
            through_one.promote_over(wanted[0], Some(current)),
            through_other.promote_over(wanted[1], Some(current))
        );
        let (won, lost) = match both {
            (Ok(won), Err(lost)) | (Err(lost), Ok(won)) => (won, lost),
            both => panic!("round {round}: {both:?}"),
        };
        assert_eq!(lost.code(), Code::Aborted, "{lost:?}");
        let now = won.current.unwrap().release;
        converges(one.server.address, now).await;
        converges(other.server.address, now).await;
    }

    // A server that is stopped during a promotion catches up.
    let before = release_of(one.server.address).await;
    other.server.signal("STOP");
    let next = if before == 1 { 2 } else { 1 };
    through_one.promote(next).await.unwrap();
    other.server.signal("CONT");
    converges(other.server.address, next).await;

    // A store that does not answer does not affect decisions.
    s3.hold();
    let status = through_one.promote(before).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert_eq!(release_of(one.server.address).await, next);
    s3.release();
    converges(one.server.address, next).await;
    through_one.promote(before).await.unwrap();
    converges(other.server.address, before).await;
    assert!(one.server.terminate().success() && other.server.terminate().success());
}
