//! Attacks on memory: incomplete requests, answers that are not read, countless streams, and a client that reads
//! nothing during a drain.

use std::io::Write;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::binary::{Process, command, init};
use super::super::harness::{frame, rank_request, sample_workspace, wire};
use super::{Attack, Target, open, send, status_of};

/// The budget in bytes for all requests and answers, in these attacks.
const HELD: u64 = 64 << 20;

/// How much memory may grow beyond the budget: answers that are not encoded yet, the windows of connections, and what
/// the allocator keeps.
const OVERHEAD: u64 = 128 << 20;

/// Limits that make an attack short. One connection may not take the whole budget.
const TIGHT: &[(&str, &str)] = &[
    ("limits.memory", "64MiB"),
    ("limits.connection_memory", "32MiB"),
    ("limits.body_time", "2s"),
    ("limits.write_time", "2s"),
];

/// One attack for each way of making the server hold bytes.
pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "unread answers",
        settings: TIGHT,
        growth: HELD + OVERHEAD,
        run: |target| Box::pin(unread_answers(target, RANK, frame(&large_rank()).into(), 20)),
    },
    Attack {
        name: "streams of unread answers",
        settings: TIGHT,
        growth: HELD + OVERHEAD,
        run: |target| {
            let message = frame(&wire::RankStreamRequest { request: Some(large_rank()) });
            Box::pin(unread_answers(target, RANK_STREAM, message.repeat(4).into(), 10))
        },
    },
    Attack {
        name: "long messages to probes",
        settings: TIGHT,
        growth: OVERHEAD,
        run: |target| Box::pin(long_probes(target)),
    },
    Attack {
        name: "truncated bodies",
        settings: TIGHT,
        growth: HELD + OVERHEAD,
        run: |target| Box::pin(truncated_bodies(target)),
    },
    Attack {
        name: "messages that decompress to a thousand times their length",
        settings: TIGHT,
        growth: HELD + OVERHEAD,
        run: |target| Box::pin(compressed_messages(target)),
    },
    Attack {
        name: "20,000 streams on one connection",
        settings: TIGHT,
        growth: OVERHEAD,
        run: |target| Box::pin(countless_streams(target)),
    },
];

const CANCELLED: u16 = 1;
const DEADLINE_EXCEEDED: u16 = 4;
const RESOURCE_EXHAUSTED: u16 = 8;
const OUT_OF_RANGE: u16 = 11;

const RANK: &str = "/proffer.v1.DecisionService/Rank";
const RANK_STREAM: &str = "/proffer.v1.DecisionService/RankStream";

/// A request of a few kilobytes whose answer has more than a megabyte.
fn large_rank() -> wire::RankRequest {
    let customers: Vec<String> = (1..=400).map(|customer| format!("C{customer:06}")).collect();
    let ids: Vec<&str> = customers.iter().map(String::as_str).collect();
    rank_request("app_home", &ids)
}

/// The header of a message of `length` bytes.
fn head_of(compressed: bool, length: usize) -> Vec<u8> {
    [&[u8::from(compressed)], &(length as u32).to_be_bytes()[..]].concat()
}

/// Makes `calls` calls on each of several connections, and reads no byte of the answers.
async fn unread_answers(target: Target, path: &'static str, message: Bytes, calls: usize) {
    const CONNECTIONS: usize = 4;
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS {
        let (mut client, driven) = target.connect(0).await;
        let mut answers = Vec::new();
        for _ in 0..calls {
            let Some((answer, mut stream)) = open(&mut client, path, &[]).await else { break };
            if send(&mut stream, message.clone(), true).await {
                answers.push(answer);
            }
        }
        held.push((client, driven, answers));
    }
    // They are decided while the victim is served.
    target.hold(100).await;
    let bytes = target.metric("proffer_held_bytes");
    assert!(bytes <= HELD as f64, "{bytes} bytes are held");
    // Each is reset, rejected, out of time on a slow machine, or ended with its connection; the client cannot keep any
    // of them alive.
    for (_client, _driven, answers) in held {
        for answer in answers {
            let ended = tokio::time::timeout(super::PATIENCE, status_of(answer)).await;
            let status = ended.expect("an unread answer is kept");
            let ends = [None, Some(CANCELLED), Some(RESOURCE_EXHAUSTED), Some(DEADLINE_EXCEEDED)];
            assert!(ends.contains(&status), "{status:?}");
        }
    }
}

async fn long_probes(target: Target) {
    const MESSAGE: usize = 16 << 20;
    const CALLS: usize = 60;
    let (mut client, _driven) = target.connect(1 << 20).await;
    let bytes = Bytes::from([head_of(false, MESSAGE), vec![0; MESSAGE - 100]].concat());
    for call in 0..CALLS {
        let path = [
            "/inference.GRPCInferenceService/ServerLive",
            "/inference.GRPCInferenceService/ServerReady",
            "/inference.GRPCInferenceService/ServerMetadata",
            "/grpc.health.v1.Health/Check",
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        ][call % 5];
        let (answer, mut stream) = open(&mut client, path, &[]).await.unwrap();
        let status = tokio::join!(send(&mut stream, bytes.clone(), false), status_of(answer)).1;
        // Reflection ends without an error when its messages do.
        let expected = if path.contains("reflection") { 0 } else { OUT_OF_RANGE };
        assert_eq!(status, Some(expected), "{path}");
    }
    // Short messages are answered as usual.
    for path in ["/inference.GRPCInferenceService/ServerLive", "/grpc.health.v1.Health/Check"] {
        let (answer, mut stream) = open(&mut client, path, &[]).await.unwrap();
        assert!(send(&mut stream, head_of(false, 0).into(), true).await);
        assert_eq!(status_of(answer).await, Some(0), "{path}");
    }
    target.hold(10).await;
}

async fn truncated_bodies(target: Target) {
    const MESSAGE: usize = 16 << 20;
    const CONNECTIONS: usize = 4;
    const CALLS: usize = 15;
    let bytes = Bytes::from([head_of(false, MESSAGE), vec![0; MESSAGE - 100]].concat());
    let mut calls = tokio::task::JoinSet::new();
    let mut driven = Vec::new();
    for _ in 0..CONNECTIONS {
        let (mut client, drives) = target.connect(1 << 20).await;
        driven.push(drives);
        for _ in 0..CALLS {
            let (answer, mut stream) = open(&mut client, RANK, &[]).await.unwrap();
            let bytes = bytes.clone();
            calls.spawn(async move { tokio::join!(send(&mut stream, bytes, false), status_of(answer)).1 });
        }
    }
    target.hold(50).await;
    let bytes = target.metric("proffer_held_bytes");
    assert!(bytes <= HELD as f64, "{bytes} bytes are held");
    while let Some(status) = calls.join_next().await {
        let status = status.unwrap();
        assert!(matches!(status, Some(DEADLINE_EXCEEDED | RESOURCE_EXHAUSTED)), "{status:?}");
    }
}

async fn compressed_messages(target: Target) {
    const CALLS: usize = 100;
    let mut compressed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    compressed.write_all(&vec![0; (16 << 20) - 1]).unwrap();
    let compressed = compressed.finish().unwrap();
    let bytes = Bytes::from([head_of(true, compressed.len()), compressed].concat());
    let (mut client, _driven) = target.connect(1 << 20).await;
    let mut answers = Vec::new();
    for _ in 0..CALLS {
        let (answer, mut stream) = open(&mut client, RANK, &[("grpc-encoding", "gzip")]).await.unwrap();
        assert!(send(&mut stream, bytes.clone(), true).await);
        answers.push(answer);
    }
    target.hold(50).await;
    for answer in answers {
        // Each is decompressed, one after another, and is not a valid message.
        let status = status_of(answer).await;
        assert!(status.is_some_and(|status| status != 0), "{status:?}");
    }
}

/// A frame of HTTP/2 as it goes over the wire (RFC 9113, section 4.1).
fn raw(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = &(payload.len() as u32).to_be_bytes()[1..];
    [length, &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The headers of a call, in HPACK without a dynamic table (RFC 7541).
fn raw_headers(path: &str) -> Vec<u8> {
    let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    [
        // POST, http, the path, the authority, content-type, te.
        vec![0x83, 0x86, 0x04],
        text(path),
        vec![0x01],
        text("server"),
        vec![0x0f, 0x10],
        text("application/grpc"),
        vec![0x00],
        text("te"),
        text("trailers"),
    ]
    .concat()
}

async fn countless_streams(target: Target) {
    const STREAMS: u32 = 20_000;
    const SETTINGS: u8 = 4;
    const HEADERS: u8 = 1;
    const RESET: u8 = 3;
    const GO_AWAY: u8 = 7;
    const REFUSED: u32 = 7;
    let stream = tokio::net::TcpStream::connect(target.address).await.unwrap();
    let (mut reads, mut writes) = stream.into_split();
    let reading = tokio::spawn(async move {
        let (mut allowed, mut refused) = (None, 0);
        let mut head = [0; 9];
        while refused < STREAMS - 200 && reads.read_exact(&mut head).await.is_ok() {
            let [_, a, b, c] = [0, head[0], head[1], head[2]];
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            if reads.read_exact(&mut payload).await.is_err() || head[3] == GO_AWAY {
                break;
            }
            let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
            match head[3] {
                // Each setting has a name of two bytes and a value of four; 3 is SETTINGS_MAX_CONCURRENT_STREAMS.
                SETTINGS if head[4] == 0 => {
                    allowed = payload.chunks(6).find(|one| one[..2] == [0, 3]).map(|one| number(&one[2..]));
                }
                RESET if number(&payload) == REFUSED => refused += 1,
                _ => {}
            }
        }
        (allowed, refused)
    });
    writes.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    writes.write_all(&raw(SETTINGS, 0, 0, &[])).await.unwrap();
    let headers = raw_headers(RANK);
    for number in 0..STREAMS {
        // The server may close the connection, which ends the attack.
        if writes.write_all(&raw(HEADERS, 4, 2 * number + 1, &headers)).await.is_err() {
            break;
        }
    }
    target.hold(50).await;
    let in_flight = target.metric("proffer_requests_in_flight");
    assert!(in_flight <= 201.0, "{in_flight} calls are in flight");
    drop(writes);
    let (allowed, refused) = reading.await.unwrap();
    assert_eq!(allowed, Some(200), "SETTINGS_MAX_CONCURRENT_STREAMS");
    println!("{refused} of {STREAMS} streams were refused individually");
}

/// Runs the attack of this name.
fn must_fail(name: &str) {
    let attack = ATTACKS.iter().find(|attack| attack.name == name).unwrap();
    let report = attack.must_fail();
    let [alone, under] = report.p99();
    println!("{name}: p99 of the victim {under:.2?}, alone {alone:.2?}; {} MiB at peak", report.peak >> 20);
}

#[test]
fn unread_answers_are_held_within_the_budget_and_reset() {
    must_fail("unread answers");
}

#[test]
fn unread_streams_cause_no_work() {
    must_fail("streams of unread answers");
}

#[test]
fn probes_reject_long_messages() {
    must_fail("long messages to probes");
}

#[test]
fn truncated_bodies_end_with_a_status() {
    must_fail("truncated bodies");
}

#[test]
fn messages_are_decompressed_within_the_budget() {
    must_fail("messages that decompress to a thousand times their length");
}

#[test]
fn a_connection_has_no_more_than_its_streams() {
    must_fail("20,000 streams on one connection");
}

/// A client that reads nothing has answers pending; they must not hold up the drain.
#[tokio::test]
async fn a_drain_does_not_wait_for_a_client_that_reads_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store");
    init(&store, &sample_workspace());
    let mut command = command();
    // The log shows whether the drain was cut short.
    command.env("PROFFER_SERVER_DRAIN", "20s").env("PROFFER_LOG_FILTER", "info,proffer=debug");
    let server = Process::start(command, &store);
    let (address, admin) = (server.address, server.admin);
    let target = Target { address, admin, calls: std::sync::Arc::default() };
    let (mut client, _driven) = target.connect(0).await;
    let (_answer, mut stream) = open(&mut client, RANK, &[]).await.unwrap();
    assert!(send(&mut stream, frame(&large_rank()).into(), true).await);
    let (mut silent, _driven) = target.connect(0).await;
    let (_unanswered, _stream) = open(&mut silent, RANK, &[]).await.unwrap();
    while target.metric("proffer_held_bytes") == 0.0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let began = Instant::now();
    let (status, log) = tokio::task::spawn_blocking(|| server.terminate_with_log()).await.unwrap();
    assert!(status.success(), "{log:#?}");
    let logged = |text: &str| log.iter().any(|line| line.contains(text));
    assert!(logged("holds up the drain"), "after {:?}: {log:#?}", began.elapsed());
    assert!(!logged("leaving without them"), "after {:?}: {log:#?}", began.elapsed());
}
