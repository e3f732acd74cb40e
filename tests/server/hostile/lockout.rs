//! Attacks that lock others out: calls without messages, paths that do not exist, and connections that send nothing,
//! half a preface or half a request.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::binary::{Process, binary, init, proffer_prints};
use super::super::harness::{admin_get, frame, rank_request, sample_workspace, wire};
use super::{Attack, Driven, Target, open, send, status_of};

/// How much the server's memory may grow, in bytes: for connections and streams, not for messages.
const GROWTH: u64 = 128 << 20;

/// One attack for each way of locking others out.
pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "calls without a message",
        settings: &[],
        growth: GROWTH,
        run: |target| Box::pin(missing_messages(target)),
    },
    Attack {
        name: "calls of unknown methods",
        settings: &[],
        growth: GROWTH,
        run: |target| Box::pin(unknown_methods(target)),
    },
    Attack {
        name: "abandoned streams",
        settings: &[("limits.concurrent_calls", "64")],
        growth: GROWTH,
        run: |target| Box::pin(abandoned_streams(target)),
    },
    Attack {
        name: "connections with half a preface or request",
        settings: &[],
        growth: GROWTH,
        run: |target| Box::pin(incomplete_connections(target)),
    },
];

const RANK: &str = "/proffer.v1.DecisionService/Rank";
const RANK_STREAM: &str = "/proffer.v1.DecisionService/RankStream";
const ROLL_BACK: &str = "/proffer.v1.ReleaseService/RollbackRelease";
const LIST: &str = "/proffer.v1.ReleaseService/ListReleases";

/// A deadline in thousands of years.
const FOREVER: &[(&str, &str)] = &[("grpc-timeout", "99999999H")];

/// Streams per connection: more than the server's SETTINGS allow would be refused.
const STREAMS: usize = 100;

/// Opens `count` calls of a path on as many connections as needed, and sends `sent` on each without ending it.
async fn abandon(target: &Target, path: &str, count: usize, sent: &[u8]) -> Vec<Abandoned> {
    let mut left = Vec::new();
    for first in (0..count).step_by(STREAMS) {
        let (mut client, driven) = target.connect(1 << 16).await;
        let mut streams = Vec::new();
        for _ in first..count.min(first + STREAMS) {
            let (answer, mut sending) = open(&mut client, path, FOREVER).await.unwrap();
            if !sent.is_empty() {
                assert!(send(&mut sending, Bytes::copy_from_slice(sent), false).await);
            }
            streams.push((answer, sending));
        }
        left.push(Abandoned { _streams: streams, _driven: driven });
    }
    left
}

/// Abandoned calls of a connection.
struct Abandoned {
    _streams: Vec<(h2::client::ResponseFuture, h2::SendStream<Bytes>)>,
    _driven: Driven,
}

/// The status of a unary call on its own connection.
async fn ask(target: &Target, path: &str, message: &impl prost::Message) -> Option<u16> {
    let (mut client, _driven) = target.connect(1 << 20).await;
    let (answer, mut sending) = open(&mut client, path, &[]).await?;
    assert!(send(&mut sending, frame(message).into(), true).await);
    status_of(answer).await
}

const OK: Option<u16> = Some(0);
const RESOURCE_EXHAUSTED: Option<u16> = Some(8);
const UNIMPLEMENTED: Option<u16> = Some(12);

/// Open calls without a message, of management and of decisions, must not block a rollback.
async fn missing_messages(target: Target) {
    let server = format!("http://{}", target.address);
    let elsewhere = |arguments: &'static [&'static str]| {
        let server = server.clone();
        let run = move || proffer_prints(arguments.iter().copied().chain(["--server", &server]));
        async { tokio::task::spawn_blocking(run).await.unwrap() }
    };
    elsewhere(&["release", "create", "--base", "1"]).await;
    elsewhere(&["release", "promote", "2"]).await;
    let _rollbacks = abandon(&target, ROLL_BACK, 8, b"").await;
    let _lists = abandon(&target, LIST, 32, b"").await;
    // Half the header of a message is no message yet, and after a whole one the call is still open.
    let _half = abandon(&target, LIST, 40, &[0, 0]).await;
    let whole = frame(&wire::ListReleasesRequest::default());
    let _whole = abandon(&target, LIST, 40, &whole).await;
    let _decisions = abandon(&target, RANK, 1024, b"").await;
    assert_eq!(ask(&target, RANK, &rank_request("app_home", &["C000001"])).await, OK);
    assert_eq!(ask(&target, LIST, &wire::ListReleasesRequest::default()).await, OK);
    let printed = elsewhere(&["release", "rollback", "--reason", "an attack"]).await;
    assert!(printed.contains("release 1"), "{printed}");
    target.hold(50).await;
}

/// They are rejected on arrival and take no permits.
async fn unknown_methods(target: Target) {
    let _left = abandon(&target, "/made/up", 2000, b"").await;
    let _long = abandon(&target, &format!("/{}", "x".repeat(4000)), 200, b"").await;
    target.hold(50).await;
    let message = wire::ListReleasesRequest::default();
    assert_eq!(ask(&target, "/proffer.v1.ReleaseService/Made", &message).await, UNIMPLEMENTED);
    assert_eq!(ask(&target, LIST, &message).await, OK);
}

/// A stream holds its permit from its first message on, but the streams of one connection have only its share.
async fn abandoned_streams(target: Target) {
    let message = frame(&wire::RankStreamRequest { request: Some(rank_request("app_home", &["C000001"])) });
    let (mut client, _driven) = target.connect(1 << 20).await;
    let mut left = Vec::new();
    for _ in 0..STREAMS {
        let (answer, mut sending) = open(&mut client, RANK_STREAM, FOREVER).await.unwrap();
        _ = send(&mut sending, message.clone().into(), false).await;
        left.push((answer, sending));
    }
    target.hold(50).await;
    let (answer, mut sending) = open(&mut client, RANK, &[]).await.unwrap();
    let rank = frame(&rank_request("app_home", &["C000001"]));
    _ = send(&mut sending, rank.into(), true).await;
    assert_eq!(status_of(answer).await, RESOURCE_EXHAUSTED);
    assert_eq!(ask(&target, RANK, &rank_request("app_home", &["C000001"])).await, OK);
}

/// The connection preface of HTTP/2.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long an incomplete connection may stay open: the server's timeouts, with a margin for a busy machine.
const CLOSED_WITHIN: Duration = Duration::from_secs(30);

/// Connections that send only these bytes.
async fn silent(address: SocketAddr, count: usize, sent: &[u8]) -> Vec<TcpStream> {
    let mut connections = Vec::new();
    for _ in 0..count {
        // The server may already have closed it.
        let Ok(mut stream) = TcpStream::connect(address).await else { continue };
        _ = stream.write_all(sent).await;
        connections.push(stream);
    }
    connections
}

/// Waits until the server has closed all connections.
async fn closed(connections: Vec<TcpStream>) {
    for mut stream in connections {
        let mut scratch = [0; 256];
        let end = async { while stream.read(&mut scratch).await.is_ok_and(|bytes| bytes > 0) {} };
        tokio::time::timeout(CLOSED_WITHIN, end).await.expect("the server closes silent connections");
    }
}

/// Connections of every incomplete kind.
async fn all_incomplete(address: SocketAddr, admin: SocketAddr, each: usize) -> Vec<TcpStream> {
    let mut all = Vec::new();
    for sent in [b"", &PREFACE[..12], PREFACE] {
        all.extend(silent(address, each, sent).await);
    }
    for sent in [&b""[..], b"GET /metr", b"GET /metrics HTTP/1.1\r\nhost: x\r\n"] {
        all.extend(silent(admin, each, sent).await);
    }
    all
}

async fn incomplete_connections(target: Target) {
    let half = all_incomplete(target.address, target.admin, 60).await;
    assert_eq!(ask(&target, RANK, &rank_request("app_home", &["C000001"])).await, OK);
    assert!(admin_get(target.admin, "/readyz").unwrap().starts_with("HTTP/1.1 200"));
    closed(half).await;
    target.hold(1).await;
}

#[test]
fn calls_without_a_message_hold_no_permits() {
    ATTACKS[0].must_fail();
}

#[test]
fn unknown_paths_take_no_permits() {
    ATTACKS[1].must_fail();
}

#[test]
fn streams_of_one_connection_leave_a_share_for_others() {
    ATTACKS[2].must_fail();
}

#[test]
fn half_a_preface_or_request_is_closed() {
    ATTACKS[3].must_fail();
}

/// More connections than the process has descriptors: the silent ones are closed, and both addresses still answer.
#[test]
fn a_process_with_few_descriptors_answers_despite_many_silent_connections() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store");
    init(&store, &sample_workspace());
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 256 && exec \"$0\" \"$@\""]).arg(binary());
    limited.env("PROFFER_SERVER_CONNECTION_THREADS", "1");
    let server = Process::start(limited, &store);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let used = || server.address.to_string();
        let mut client =
            wire::decision_service_client::DecisionServiceClient::connect(format!("http://{}", used())).await;
        let client = client.as_mut().unwrap();
        let request = || rank_request("app_home", &["C000001"]);
        client.rank(request()).await.unwrap();
        let mut half = Vec::new();
        for _ in 0..4 {
            half.extend(all_incomplete(server.address, server.admin, 60).await);
            // The open connection stays, and a new one is accepted.
            client.rank(request()).await.unwrap();
            let new =
                wire::decision_service_client::DecisionServiceClient::connect(format!("http://{}", used()));
            new.await.unwrap().rank(request()).await.unwrap();
            assert!(admin_get(server.admin, "/readyz").unwrap().starts_with("HTTP/1.1 200"));
        }
        closed(half).await;
        client.rank(request()).await.unwrap();
    });
    let open = std::fs::read_dir(format!("/proc/{}/fd", server.id())).unwrap().count();
    assert!(open < 100, "{open} descriptors are open");
}
