//! One client for all servers: closed loops of pre-encoded requests, whose answers are decoded later.
//!
//! It runs on the server's cores, so it does as little as possible, and the same for all. Start reading at [`run`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes};
use http::uri::PathAndQuery;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::requests::Case;
use crate::{Target, answers};

/// Time before the measurement, in which connections settle and caches fill.
const WARM_UP: Duration = Duration::from_millis(400);

/// How many answers are checked before the measurement.
const CHECKED: usize = 16;

/// Clock ticks per second of the times in `/proc`: 100 on every architecture that Rust supports.
const TICKS_PER_SECOND: f64 = 100.0;

/// Measures, or fetches answers for the check, and prints the result.
pub(crate) fn run(target: &Target) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let result = runtime.block_on(async {
        let requests: Arc<[Bytes]> = target.case.requests(&target.folder).into();
        if target.case == Case::Campaign {
            campaign(target, &requests).await
        } else if target.seconds == 0.0 {
            fetch(target, &requests).await
        } else {
            closed_loop(target, requests).await
        }
    });
    println!("{result}");
}

/// Fetches the first answers for the check.
async fn fetch(target: &Target, requests: &[Bytes]) -> Value {
    let mut client = connect(target).await;
    let mut samples = Vec::with_capacity(CHECKED);
    for (index, request) in requests.iter().take(CHECKED).enumerate() {
        samples.push((index, call(&mut client, target.case, request.clone()).await));
    }
    json!({"samples": decoded(target.case, &samples)})
}

fn decoded(case: Case, samples: &[(usize, Bytes)]) -> Vec<Value> {
    let fetch = |(index, bytes): &(usize, Bytes)| {
        let answer = answers::read(case, bytes);
        json!({"request": index, "bytes": bytes.len(), "answer": answer})
    };
    samples.iter().map(fetch).collect()
}

/// Each connection has one call in flight, and starts at a different request.
async fn closed_loop(target: &Target, requests: Arc<[Bytes]>) -> Value {
    let mut clients = Vec::with_capacity(target.connections);
    for _ in 0..target.connections {
        clients.push(connect(target).await);
    }
    let began = Instant::now() + WARM_UP;
    let until = began + Duration::from_secs_f64(target.seconds);
    let mut loops = JoinSet::new();
    for (connection, mut client) in clients.into_iter().enumerate() {
        let (requests, case) = (Arc::clone(&requests), target.case);
        let mut next = target.first + connection * requests.len() / target.connections;
        loops.spawn(async move {
            let mut latencies = Vec::with_capacity(1 << 14);
            loop {
                let index = next % requests.len();
                next += 1;
                let asked = Instant::now();
                let answer = call(&mut client, case, requests[index].clone()).await;
                let answered = Instant::now();
                if answered >= until {
                    return (latencies, (index, answer));
                }
                if asked >= began {
                    latencies.push(answered - asked);
                }
            }
        });
    }
    let watch = target.pids.clone();
    let cpu = tokio::spawn(async move {
        tokio::time::sleep_until(began.into()).await;
        let before = cpu_seconds(&watch);
        tokio::time::sleep_until(until.into()).await;
        cpu_seconds(&watch) - before
    });
    let (latencies, samples): (Vec<Vec<Duration>>, Vec<_>) = loops.join_all().await.into_iter().unzip();
    let mut latencies: Vec<Duration> = latencies.into_iter().flatten().collect();
    latencies.sort_unstable();
    let quantile = |share: f64| {
        let rank = (share * latencies.len() as f64).ceil() as usize;
        latencies.get(rank.saturating_sub(1)).copied().unwrap_or_default().as_secs_f64() * 1e6
    };
    json!({
        "calls": latencies.len(), "seconds": target.seconds, "cpu_seconds": cpu.await.unwrap(),
        "p50": quantile(0.5), "p99": quantile(0.99), "samples": decoded(target.case, &samples),
    })
}

/// All requests through one stream: once for warm-up, then repeatedly for at least `seconds`.
async fn campaign(target: &Target, requests: &Arc<[Bytes]>) -> Value {
    let mut client = connect(target).await;
    let first = stream(&mut client, target.case, requests).await.remove(0);
    let (before, began) = (cpu_seconds(&target.pids), Instant::now());
    let mut messages = 0;
    while began.elapsed().as_secs_f64() < target.seconds {
        messages += stream(&mut client, target.case, requests).await.len();
    }
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds(&target.pids) - before);
    json!({
        "calls": messages, "seconds": seconds, "cpu_seconds": cpu,
        "samples": decoded(target.case, &[(0, first)]),
    })
}

async fn stream(client: &mut Grpc<Channel>, case: Case, requests: &Arc<[Bytes]>) -> Vec<Bytes> {
    let messages = tokio_stream::iter(requests.to_vec());
    client.ready().await.unwrap();
    let path = PathAndQuery::from_static(case.path());
    let mut answers = client.streaming(Request::new(messages), path, Raw).await.unwrap().into_inner();
    let mut received = Vec::with_capacity(requests.len());
    while let Some(answer) = answers.message().await.unwrap() {
        received.push(answer);
    }
    assert_eq!(received.len(), requests.len());
    received
}

async fn connect(target: &Target) -> Grpc<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{}", target.address)).unwrap().tcp_nodelay(true);
    let channel = endpoint.connect().await.unwrap();
    Grpc::new(channel).max_decoding_message_size(usize::MAX)
}

async fn call(client: &mut Grpc<Channel>, case: Case, request: Bytes) -> Bytes {
    client.ready().await.unwrap();
    let path = PathAndQuery::from_static(case.path());
    client.unary(Request::new(request), path, Raw).await.unwrap().into_inner()
}

/// CPU time of these processes so far, in user and kernel mode.
fn cpu_seconds(pids: &[u32]) -> f64 {
    let ticks = |pid: &u32| -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name of the program is in brackets and may contain anything; user and kernel time are the 14th and 15th
        // field.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
        fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum()
    };
    pids.iter().map(ticks).sum::<f64>() / TICKS_PER_SECOND
}

/// Messages as raw bytes.
#[derive(Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
