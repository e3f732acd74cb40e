//! Hostile clients: in each attack, a few kilobytes try to starve or kill the server. Meanwhile a victim calls `Rank`
//! on its own connection, and every one of its calls must succeed. The server's resident memory is bounded, and
//! afterwards everything returns to normal.
//!
//! Owns what the attacks share. `hostile/` has a file for each kind of attack, with a list of attacks. Start reading at
//! [`Attack`].

mod lockout;
mod memory;

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};

use super::binary::{Process, command, init};
use super::harness::{admin_get, rank_request, sample_workspace, wire};
use wire::decision_service_client::DecisionServiceClient;

/// One attack and what must hold while it runs.
pub(crate) struct Attack {
    /// What it does.
    pub name: &'static str,
    /// Configuration of the server over the defaults, with limits that make the attack short.
    pub settings: &'static [(&'static str, &'static str)],
    /// Bytes by which the server's resident memory may grow.
    pub growth: u64,
    /// Runs the attack, and returns once it has had its effect. Its connections are closed on drop.
    pub run: fn(Target) -> Pin<Box<dyn Future<Output = ()>>>,
}

/// The number of calls in a test by which the victim's latency is judged.
const CALLS: usize = 200;

/// How long the server may take to return to normal.
const SETTLED: Duration = Duration::from_secs(30);

/// The longest wait for one call of the victim: on a busy machine it queues behind the work of the attack.
const PATIENCE: Duration = Duration::from_mins(2);

/// Freed memory that the allocator may keep resident, and what is remembered of decisions.
const KEPT: u64 = 64 << 20;

/// What an attack knows of the server.
#[derive(Clone)]
pub(crate) struct Target {
    /// The address of the attacked server.
    pub address: SocketAddr,
    /// The address of its metrics.
    pub admin: SocketAddr,
    calls: Arc<AtomicUsize>,
}

impl Target {
    /// The sum of a metric over its labels.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        metric(self.admin, name)
    }

    /// Waits until the victim has had `calls` more answers; the attack continues meanwhile.
    pub(crate) async fn hold(&self, calls: usize) {
        let mut seen = self.calls.load(Ordering::Relaxed);
        let (until, mut since) = (seen + calls, Instant::now());
        while seen < until {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let now = self.calls.load(Ordering::Relaxed);
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
            assert!(since.elapsed() < PATIENCE, "the victim is no longer answered");
        }
    }

    /// A connection with this initial window per stream, and the task that drives it; it is closed when the task is
    /// dropped.
    pub(crate) async fn connect(&self, window: u32) -> (SendRequest<Bytes>, Driven) {
        let stream = tokio::net::TcpStream::connect(self.address).await.unwrap();
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(window).max_concurrent_streams(0).enable_push(false);
        let (client, connection) = builder.handshake(stream).await.unwrap();
        let driven = tokio::task::spawn(async move {
            // The server may close it, as it should.
            _ = connection.await;
        });
        (client.ready().await.unwrap(), Driven(driven))
    }
}

/// A connection that is driven until this is dropped.
pub(crate) struct Driven(tokio::task::JoinHandle<()>);

impl Drop for Driven {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Begins a call, with `headers` in addition to those that gRPC requires. `None` when the connection accepts no more
/// streams.
pub(crate) async fn open(
    client: &mut SendRequest<Bytes>,
    path: &str,
    headers: &[(&str, &str)],
) -> Option<(ResponseFuture, SendStream<Bytes>)> {
    std::future::poll_fn(|context| client.poll_ready(context)).await.ok()?;
    let head = http::Request::post(format!("http://server{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    let head = headers.iter().fold(head, |head, (name, value)| head.header(*name, *value));
    client.send_request(head.body(()).unwrap(), false).ok()
}

/// Sends bytes as the window allows; `false` if the stream was reset meanwhile.
pub(crate) async fn send(stream: &mut SendStream<Bytes>, mut bytes: Bytes, end: bool) -> bool {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        let Some(Ok(capacity)) = std::future::poll_fn(|context| stream.poll_capacity(context)).await else {
            return false;
        };
        let piece = bytes.split_to(capacity.min(bytes.len()));
        if stream.send_data(piece, end && bytes.is_empty()).is_err() {
            return false;
        }
    }
    true
}

/// The status of an answer, from its head or its trailers; `None` if the stream was reset first.
pub(crate) async fn status_of(answer: ResponseFuture) -> Option<u16> {
    let (head, mut body) = answer.await.ok()?.into_parts();
    let status = |headers: &http::HeaderMap| headers.get("grpc-status")?.to_str().ok()?.parse().ok();
    if let Some(status) = status(&head.headers) {
        return Some(status);
    }
    read_all(&mut body).await?;
    status(&body.trailers().await.ok()??)
}

pub(crate) async fn read_all(body: &mut RecvStream) -> Option<usize> {
    let mut bytes = 0;
    while let Some(some) = body.data().await {
        let some = some.ok()?;
        bytes += some.len();
        body.flow_control().release_capacity(some.len()).ok()?;
    }
    Some(bytes)
}

/// The sum of a metric over its labels.
fn metric(admin: SocketAddr, name: &str) -> f64 {
    let text = admin_get(admin, "/metrics").unwrap();
    let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
    text.lines().filter(of_name).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// Resident memory of a process in bytes; 0 if it has ended.
pub(crate) fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(Path::new("/proc").join(process.to_string()).join("status"));
    let line = |text: &str| -> Option<u64> {
        text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.split_whitespace().next()?.parse().ok()
    };
    status.ok().and_then(|text| line(&text)).unwrap_or(0) << 10
}

/// Work on a thread of its own, until it is stopped.
struct Background<T> {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<T>,
}

impl<T: Send + 'static> Background<T> {
    fn start(work: impl FnOnce(&AtomicBool) -> T + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&stop);
        Self { stop, thread: std::thread::spawn(move || work(&until)) }
    }

    fn stop(self) -> T {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Makes calls on one connection until `until` returns true; returns the duration of each.
fn victim(address: SocketAddr, calls: &AtomicUsize, until: impl Fn(usize) -> bool) -> Vec<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut client = DecisionServiceClient::connect(format!("http://{address}")).await.unwrap();
        let mut times = Vec::new();
        while !until(times.len()) {
            let customer = format!("C{:06}", 1 + times.len() * 7 % 2000);
            let began = Instant::now();
            let answered = client.rank(rank_request("app_home", &[&customer])).await;
            let answered = answered.unwrap_or_else(|status| panic!("a call of the victim failed: {status}"));
            assert_eq!(answered.into_inner().results.len(), 1);
            times.push(began.elapsed());
            calls.fetch_add(1, Ordering::Relaxed);
        }
        times
    })
}

/// The peak memory of a process until `stop` is set. A process that exceeds `most` is killed, to protect the machine.
fn watch(process: u32, most: u64, stop: &AtomicBool) -> u64 {
    let mut peak = 0;
    while !stop.load(Ordering::Relaxed) {
        peak = peak.max(resident(process));
        if peak > most {
            _ = std::process::Command::new("kill").args(["-KILL", &process.to_string()]).status();
            return peak;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    peak
}

/// The effect of an attack.
#[derive(Debug)]
pub(crate) struct Report {
    /// The victim's latencies without and under attack.
    pub alone: Vec<Duration>,
    pub under: Vec<Duration>,
    /// Resident memory in bytes before the attack, at its peak, and afterwards.
    pub before: u64,
    pub peak: u64,
    pub after: u64,
}

impl Report {
    /// The 99th percentile of the victim's latency, without and under attack.
    pub(crate) fn p99(&self) -> [Duration; 2] {
        [&self.alone, &self.under].map(|times| {
            let mut times = times.clone();
            times.sort_unstable();
            times.get(times.len() * 99 / 100).copied().unwrap_or_default()
        })
    }
}

impl Attack {
    /// Runs the attack against a server in a process of its own, and checks its bounds.
    pub(crate) fn must_fail(&self) -> Report {
        self.against(CALLS)
    }

    fn against(&self, calls: usize) -> Report {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("store");
        init(&store, &sample_workspace());
        let mut command = command();
        // What is remembered of decisions is bounded by itself, and is no memory of calls.
        command.env("PROFFER_FEEDBACK_DECISIONS", "1MiB");
        for (key, text) in self.settings {
            command.env(format!("PROFFER_{}", key.replace('.', "_").to_uppercase()), text);
        }
        let server = Process::start(command, &store);
        let (address, process) = (server.address, server.id());
        let counted = Arc::new(AtomicUsize::new(0));
        let alone = victim(address, &counted, |made| made >= calls);
        let before = resident(process);
        let most = before + self.growth;
        let watched = Background::start(move |stop| watch(process, most, stop));
        let counting = Arc::clone(&counted);
        let background = Background::start(move |stop| {
            victim(address, &counting, |made| stop.load(Ordering::Relaxed) && made >= calls)
        });
        let target = Target { address, admin: server.admin, calls: counted };
        let run = self.run;
        // A real attacker has a machine of its own. Here its thread has idle priority, so that the server is not blamed
        // for CPU time that the attacker takes.
        let attacking = std::thread::spawn(move || {
            work::priority::set_idle_priority();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(run(target));
        });
        let attacked = attacking.join();
        let under = background.thread_result(&attacked);
        let peak = watched.stop();
        assert!(
            peak <= most,
            "{}: {} MiB, {} MiB before; at most {} MiB more are allowed",
            self.name,
            peak >> 20,
            before >> 20,
            self.growth >> 20
        );
        let after = settled(&server, before);
        Report { alone, under, before, peak, after }
    }
}

impl Background<Vec<Duration>> {
    /// Stops the victim, and reports a failure of the attack first.
    fn thread_result(self, attacked: &std::thread::Result<()>) -> Vec<Duration> {
        let times = self.stop();
        if let Err(panic) = attacked {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            panic!("the attack: {}", text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("panicked"));
        }
        times
    }
}

/// Waits until no call is in flight, no bytes of requests and answers are held, and the memory is freed; returns the
/// resident memory.
fn settled(server: &Process, before: u64) -> u64 {
    let since = Instant::now();
    loop {
        let left: HashMap<&str, f64> = ["proffer_requests_in_flight", "proffer_held_bytes"]
            .into_iter()
            .map(|name| (name, metric(server.admin, name)))
            .filter(|(_, value)| *value != 0.0)
            .collect();
        let after = resident(server.id());
        if left.is_empty() && after <= before + KEPT {
            return after;
        }
        let since = since.elapsed();
        assert!(
            since < SETTLED,
            "after {since:?}: {left:?}, {} MiB, {} MiB before",
            after >> 20,
            before >> 20
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The victim's p99 alone and under each attack, in turn; fails if the median of their ratios exceeds 2.
#[test]
#[ignore = "measures: make bench-hostile"]
fn latency_under_attack() {
    const CALLS: usize = 3000;
    let mut exceeded = Vec::new();
    for attack in memory::ATTACKS.iter().chain(lockout::ATTACKS) {
        let mut ratios: Vec<f64> = (0..3)
            .map(|_| {
                let report = attack.against(CALLS);
                let [alone, under] = report.p99();
                let [before, peak, after] = [report.before, report.peak, report.after].map(|bytes| bytes >> 20);
                println!("{}: p99 alone {alone:.2?}, under attack {under:.2?}; {before} MiB before, {peak} at peak, {after} after", attack.name);
                under.as_secs_f64() / alone.as_secs_f64()
            })
            .collect();
        ratios.sort_by(f64::total_cmp);
        println!("{}: p99 under attack / alone: {ratios:.2?}; the limit is 2", attack.name);
        if ratios[1] > 2.0 {
            exceeded.push(attack.name);
        }
    }
    assert!(exceeded.is_empty(), "{exceeded:?}");
}
