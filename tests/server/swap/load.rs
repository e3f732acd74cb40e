//! The load: calls that arrive by a schedule whatever the server does, and callers that ask one after another. Every answer
//! is checked as it arrives.
//!
//! The latency of a call counts from the moment at which it was to be sent, so that waiting for a slow server, or for this
//! client's own thread, is part of it. All calls share one thread of one runtime; another sleeps until the next is due.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tonic::transport::Channel;
use wire::decision_service_client::DecisionServiceClient;

use super::answers::Catalogue;
use super::history::Call;
use super::pipeline;
use super::questions::Question;
use crate::harness::wire;

/// Connections over which calls arrive by the schedule, any number of them at once.
pub(super) const OPEN: usize = 4;

/// Connections that ask one after another.
pub(super) const SEQUENTIAL: usize = 2;

/// The share of all calls that the sequential connections make together.
const SEQUENTIAL_SHARE: f64 = 0.1;

/// Calls under way on each open connection while the peak is measured: more do not raise it.
const DEPTH: usize = 8;

/// Failures that are told.
const EXAMPLES: usize = 20;

const SEED: u64 = 20_261_016;

/// What everyone who asks shares.
pub(super) struct Observer {
    pub catalogue: Catalogue,
    pub questions: Vec<Question>,
    began: Instant,
    newest: AtomicUsize,
    failures: AtomicUsize,
    examples: Mutex<Vec<String>>,
}

impl Observer {
    /// The clock of the run begins now.
    pub(super) fn new(catalogue: Catalogue, questions: Vec<Question>) -> Self {
        Self {
            catalogue,
            questions,
            began: Instant::now(),
            newest: AtomicUsize::new(0),
            failures: AtomicUsize::new(0),
            examples: Mutex::default(),
        }
    }

    /// Since the run began.
    pub(super) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// The newest publication that has answered a call.
    pub(super) fn newest(&self) -> usize {
        self.newest.load(Ordering::Relaxed)
    }

    /// Calls that failed, and answers in which something was wrong.
    pub(super) fn failures(&self) -> usize {
        self.failures.load(Ordering::Relaxed)
    }

    /// The first of them.
    pub(super) fn examples(&self) -> Vec<String> {
        self.examples.lock().unwrap().clone()
    }

    fn fail(&self, why: &str) {
        if self.failures.fetch_add(1, Ordering::Relaxed) < EXAMPLES {
            let now = self.now();
            self.examples.lock().unwrap().push(format!("after {now:.3?}: {why}"));
        }
    }

    /// Asks and checks the answer; returns the release that it names.
    async fn ask(
        &self,
        client: &mut DecisionServiceClient<Channel>,
        question: &Question,
    ) -> Result<u64, String> {
        let failed = |status: tonic::Status| format!("{:?}: {}", status.code(), status.message());
        let release = match question {
            Question::Rank(request) => {
                let answer = client.rank(request.clone()).await.map_err(failed)?.into_inner();
                self.catalogue.check_rank(request, &answer)?
            }
            Question::Score(score) => {
                let answer = client.score(score.request.clone()).await.map_err(failed)?.into_inner();
                self.catalogue.check_score(score, &answer)?
            }
        };
        self.newest.fetch_max(self.catalogue.releases[&release].order, Ordering::Relaxed);
        Ok(release)
    }
}

/// One call to come.
struct Task {
    observer: Arc<Observer>,
    client: DecisionServiceClient<Channel>,
    connection: usize,
    question: usize,
    scheduled: Duration,
}

impl Task {
    /// Makes the call and writes down what became of it.
    async fn run(&mut self, answered: &UnboundedSender<Call>) {
        let observer = &self.observer;
        let question = &observer.questions[self.question % observer.questions.len()];
        let sent = observer.now();
        match observer.ask(&mut self.client, question).await {
            Ok(release) => {
                let (connection, scheduled, ended) = (self.connection, self.scheduled, observer.now());
                // Nobody listens any more when the test has failed already.
                let _ = answered.send(Call { connection, scheduled, sent, ended, release });
            }
            Err(why) => observer.fail(&why),
        }
    }
}

/// The connections and the thread that serves them.
pub(super) struct Client {
    runtime: Runtime,
    observer: Arc<Observer>,
    connections: Vec<DecisionServiceClient<Channel>>,
}

impl Client {
    /// Connects.
    pub(super) fn connect(address: SocketAddr, observer: Arc<Observer>) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mut connections = Vec::new();
        for _ in 0..OPEN + SEQUENTIAL {
            connections.push(runtime.block_on(pipeline::decisions(address)));
        }
        Self { runtime, observer, connections }
    }

    fn task(&self, connection: usize, question: usize) -> Task {
        let (observer, client) = (Arc::clone(&self.observer), self.connections[connection].clone());
        Task { observer, client, connection, question, scheduled: Duration::ZERO }
    }

    /// Calls per second of a closed loop over the open connections, pass by pass.
    pub(super) fn peak(&self, passes: usize, length: Duration) -> Vec<f64> {
        (0..passes).map(|_| self.runtime.block_on(self.saturate(length))).collect()
    }

    async fn saturate(&self, length: Duration) -> f64 {
        let (answered, mut answers) = unbounded_channel();
        let began = Instant::now();
        for caller in 0..OPEN * DEPTH {
            // Each begins elsewhere among the questions.
            let first = caller * self.observer.questions.len() / (OPEN * DEPTH);
            let mut task = self.task(caller % OPEN, first);
            let answered = answered.clone();
            self.runtime.spawn(async move {
                while began.elapsed() < length {
                    task.run(&answered).await;
                    task.question += 1;
                }
            });
        }
        drop(answered);
        let mut calls = 0_usize;
        while answers.recv().await.is_some() {
            calls += 1;
        }
        calls as f64 / began.elapsed().as_secs_f64()
    }

    /// Begins to ask, at `rate` calls per second in all.
    pub(super) fn start(&self, rate: f64) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let (answered, answers) = unbounded_channel();
        for connection in OPEN..OPEN + SEQUENTIAL {
            let gap = Duration::from_secs_f64(SEQUENTIAL as f64 / (rate * SEQUENTIAL_SHARE));
            let first = connection * self.observer.questions.len() / (OPEN + SEQUENTIAL);
            let task = self.task(connection, first);
            self.runtime.spawn(one_after_another(task, gap, Arc::clone(&stop), answered.clone()));
        }
        let arrivals = Arrivals::new(rate * (1.0 - SEQUENTIAL_SHARE), self.observer.now());
        let pacer = self.pace(arrivals, Arc::clone(&stop), answered);
        Load { stop, pacer, answers }
    }

    /// A thread that sends each call when it is due.
    fn pace(
        &self,
        arrivals: Arrivals,
        stop: Arc<AtomicBool>,
        answered: UnboundedSender<Call>,
    ) -> JoinHandle<()> {
        let (observer, connections) = (Arc::clone(&self.observer), self.connections.clone());
        let runtime = self.runtime.handle().clone();
        std::thread::spawn(move || {
            for (number, scheduled) in arrivals.enumerate() {
                // The sleep of the system is exact to some 60 µs, a timer of the runtime to a millisecond.
                std::thread::sleep(scheduled.saturating_sub(observer.now()));
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let (observer, connection) = (Arc::clone(&observer), number % OPEN);
                let client = connections[connection].clone();
                let mut task = Task { observer, client, connection, question: number, scheduled };
                let answered = answered.clone();
                runtime.spawn(async move { task.run(&answered).await });
            }
        })
    }
}

/// Asks, waits for the answer, and asks again, at most once per `gap`.
async fn one_after_another(
    mut task: Task,
    gap: Duration,
    stop: Arc<AtomicBool>,
    answered: UnboundedSender<Call>,
) {
    while !stop.load(Ordering::Relaxed) {
        task.scheduled = task.observer.now();
        task.run(&answered).await;
        task.question += 1;
        let due = task.scheduled + gap;
        tokio::time::sleep(due.saturating_sub(task.observer.now())).await;
    }
}

/// A load that runs.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    pacer: JoinHandle<()>,
    answers: UnboundedReceiver<Call>,
}

impl Load {
    /// Sends no more, waits for what is under way, and returns every call that was answered.
    pub(super) fn finish(mut self) -> Vec<Call> {
        self.stop.store(true, Ordering::Relaxed);
        self.pacer.join().unwrap();
        let mut calls = Vec::new();
        // Ends when the last call has dropped its sender.
        while let Some(call) = self.answers.blocking_recv() {
            calls.push(call);
        }
        calls
    }
}

/// Moments at which calls arrive, independent of each other: gaps with an exponential distribution.
struct Arrivals {
    random: Xoshiro256PlusPlus,
    rate: f64,
    next: Duration,
}

impl Arrivals {
    /// `rate` per second, from a moment on.
    fn new(rate: f64, from: Duration) -> Self {
        Self { random: Xoshiro256PlusPlus::seed_from_u64(SEED), rate, next: from }
    }
}

impl Iterator for Arrivals {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        // The 53 bits of a double, in (0, 1].
        let uniform = ((self.random.next_u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        self.next += Duration::from_secs_f64(-uniform.ln() / self.rate);
        Some(self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_come_at_the_rate_and_keep_no_distance() {
        let from = Duration::from_secs(5);
        let moments: Vec<Duration> = Arrivals::new(500.0, from).take(100_000).collect();
        let length = moments[moments.len() - 1].saturating_sub(from).as_secs_f64();
        assert!((length - 200.0).abs() < 4.0, "{length}");
        let gaps: Vec<f64> =
            moments.windows(2).map(|pair| pair[1].saturating_sub(pair[0]).as_secs_f64()).collect();
        // Of an exponential distribution, 1 − 1/e of the gaps are below the mean.
        let short = gaps.iter().filter(|gap| **gap < 0.002).count() as f64 / gaps.len() as f64;
        assert!((short - 0.632).abs() < 0.01, "{short}");
    }
}
