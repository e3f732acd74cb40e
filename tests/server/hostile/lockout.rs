//! Attacks that keep others out: permits held for messages that never come, paths that do not exist, connections that say nothing, half a
//! greeting or half a request.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::binary::{Process, binary, init, proffer_prints};
use super::super::harness::{admin_get, frame, rank_request, sample_workspace, wire};
use super::{Attack, Driven, Target, open, send, status_of};

/// What the server may take beside what it took before: connections and streams, no messages.
const GROWTH: u64 = 128 << 20;

/// One attack per way of keeping others out.
pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "calls whose messages never come",
        settings: &[],
        growth: GROWTH,
        run: |target| Box::pin(messages_that_never_come(target)),
    },
    Attack {
        name: "calls that do not exist",
        settings: &[],
        growth: GROWTH,
        run: |target| Box::pin(calls_that_do_not_exist(target)),
    },
    Attack {
        name: "streams that are opened and left",
        settings: &[("limits.concurrent_calls", "64")],
        growth: GROWTH,
        run: |target| Box::pin(streams_that_are_left(target)),
    },
    Attack {
        name: "connections that say half of something",
        settings: &[],
        growth: GROWTH,
        run: |target| Box::pin(half_greetings(target)),
    },
];

const RANK: &str = "/proffer.v1.DecisionService/Rank";
const RANK_STREAM: &str = "/proffer.v1.DecisionService/RankStream";
const ROLL_BACK: &str = "/proffer.v1.ReleaseService/RollbackRelease";
const LIST: &str = "/proffer.v1.ReleaseService/ListReleases";

/// A deadline of 11,000 years.
const FOREVER: &[(&str, &str)] = &[("grpc-timeout", "99999999H")];

/// Streams of one connection, at most: more are refused by its SETTINGS.
const STREAMS: usize = 100;

/// Opens `count` calls of a path, as many connections as they need, and says `said` on each without ending it.
async fn leave_open(target: &Target, path: &str, count: usize, said: &[u8]) -> Vec<Left> {
    let mut left = Vec::new();
    for first in (0..count).step_by(STREAMS) {
        let (mut client, driven) = target.connect(1 << 16).await;
        let mut streams = Vec::new();
        for _ in first..count.min(first + STREAMS) {
            let (answer, mut sending) = open(&mut client, path, FOREVER).await.unwrap();
            if !said.is_empty() {
                assert!(send(&mut sending, Bytes::copy_from_slice(said), false).await);
            }
            streams.push((answer, sending));
        }
        left.push(Left { _streams: streams, _driven: driven });
    }
    left
}

/// Calls of a connection that nobody goes on with.
struct Left {
    _streams: Vec<(h2::client::ResponseFuture, h2::SendStream<Bytes>)>,
    _driven: Driven,
}

/// What a call of one message is answered on a connection of its own.
async fn ask(target: &Target, path: &str, message: &impl prost::Message) -> Option<u16> {
    let (mut client, _driven) = target.connect(1 << 20).await;
    let (answer, mut sending) = open(&mut client, path, &[]).await?;
    assert!(send(&mut sending, frame(message).into(), true).await);
    status_of(answer).await
}

const OK: Option<u16> = Some(0);
const RESOURCE_EXHAUSTED: Option<u16> = Some(8);
const UNIMPLEMENTED: Option<u16> = Some(12);

/// Whoever holds every call of management and every decision open without a message keeps nobody from a rollback.
async fn messages_that_never_come(target: Target) {
    let server = format!("http://{}", target.address);
    let elsewhere = |arguments: &'static [&'static str]| {
        let server = server.clone();
        let run = move || proffer_prints(arguments.iter().copied().chain(["--server", &server]));
        async { tokio::task::spawn_blocking(run).await.unwrap() }
    };
    elsewhere(&["release", "create", "--base", "1"]).await;
    elsewhere(&["release", "promote", "2"]).await;
    let _rollbacks = leave_open(&target, ROLL_BACK, 8, b"").await;
    let _lists = leave_open(&target, LIST, 32, b"").await;
    // Half a head of a message is none, and a whole message may be followed by another.
    let _half = leave_open(&target, LIST, 40, &[0, 0]).await;
    let whole = frame(&wire::ListReleasesRequest::default());
    let _whole = leave_open(&target, LIST, 40, &whole).await;
    let _decisions = leave_open(&target, RANK, 1024, b"").await;
    assert_eq!(ask(&target, RANK, &rank_request("app_home", &["C000001"])).await, OK);
    assert_eq!(ask(&target, LIST, &wire::ListReleasesRequest::default()).await, OK);
    let told = elsewhere(&["release", "rollback", "--reason", "an attack"]).await;
    assert!(told.contains("release 1"), "{told}");
    target.hold(50).await;
}

/// They are refused as they come, and take nothing from anybody.
async fn calls_that_do_not_exist(target: Target) {
    let _left = leave_open(&target, "/made/up", 2000, b"").await;
    let _long = leave_open(&target, &format!("/{}", "x".repeat(4000)), 200, b"").await;
    target.hold(50).await;
    let message = wire::ListReleasesRequest::default();
    assert_eq!(ask(&target, "/proffer.v1.ReleaseService/Made", &message).await, UNIMPLEMENTED);
    assert_eq!(ask(&target, LIST, &message).await, OK);
}

/// A stream holds its permit from its first message on, and the streams of one connection no more than its share.
async fn streams_that_are_left(target: Target) {
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

/// The preface of a client of HTTP/2.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long a connection may take to be closed that has said too little: the times of the server, and what a busy machine adds.
const CLOSED_WITHIN: Duration = Duration::from_secs(30);

/// Connections that say so much and no more.
async fn silent(address: SocketAddr, count: usize, said: &[u8]) -> Vec<TcpStream> {
    let mut connections = Vec::new();
    for _ in 0..count {
        // The server may have closed it again before it says anything.
        let Ok(mut stream) = TcpStream::connect(address).await else { continue };
        _ = stream.write_all(said).await;
        connections.push(stream);
    }
    connections
}

/// Waits until the server has closed all of them.
async fn closed(connections: Vec<TcpStream>) {
    for mut stream in connections {
        let mut scratch = [0; 256];
        let end = async { while stream.read(&mut scratch).await.is_ok_and(|bytes| bytes > 0) {} };
        tokio::time::timeout(CLOSED_WITHIN, end).await.expect("the server closes who says nothing");
    }
}

/// All that a client may say half of.
async fn half_of_everything(address: SocketAddr, admin: SocketAddr, each: usize) -> Vec<TcpStream> {
    let mut all = Vec::new();
    for said in [b"", &PREFACE[..12], PREFACE] {
        all.extend(silent(address, each, said).await);
    }
    for said in [&b""[..], b"GET /metr", b"GET /metrics HTTP/1.1\r\nhost: x\r\n"] {
        all.extend(silent(admin, each, said).await);
    }
    all
}

async fn half_greetings(target: Target) {
    let half = half_of_everything(target.address, target.admin, 60).await;
    assert_eq!(ask(&target, RANK, &rank_request("app_home", &["C000001"])).await, OK);
    assert!(admin_get(target.admin, "/readyz").unwrap().starts_with("HTTP/1.1 200"));
    closed(half).await;
    target.hold(1).await;
}

#[test]
fn messages_that_never_come_hold_no_permits() {
    ATTACKS[0].must_fail();
}

#[test]
fn made_up_paths_take_nothing_from_anybody() {
    ATTACKS[1].must_fail();
}

#[test]
fn streams_of_one_connection_leave_a_share_to_others() {
    ATTACKS[2].must_fail();
}

#[test]
fn half_a_greeting_or_a_request_is_closed() {
    ATTACKS[3].must_fail();
}

/// More connections than the process has descriptors: the silent ones go, and both addresses answer whoever asks.
#[test]
fn a_process_with_few_descriptors_answers_beside_more_silent_connections_than_it_could_hold() {
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
            half.extend(half_of_everything(server.address, server.admin, 60).await);
            // Who was there stays, and who comes anew is let in.
            client.rank(request()).await.unwrap();
            let anew =
                wire::decision_service_client::DecisionServiceClient::connect(format!("http://{}", used()));
            anew.await.unwrap().rank(request()).await.unwrap();
            assert!(admin_get(server.admin, "/readyz").unwrap().starts_with("HTTP/1.1 200"));
        }
        closed(half).await;
        client.rank(request()).await.unwrap();
    });
    let open = std::fs::read_dir(format!("/proc/{}/fd", server.id())).unwrap().count();
    assert!(open < 100, "{open} descriptors are open");
}
