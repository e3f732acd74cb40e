//! The load: an open loop of calls that arrive by a schedule, and a closed loop of sequential calls. Every answer is
//! checked on arrival.
//!
//! The latency of a call counts from its scheduled start, so it includes waiting for a slow server or for this client's
//! own thread. All calls share one thread of one runtime; another thread sleeps until the next call is due.

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

/// Open-loop connections, whose calls arrive by the schedule, any number of them at once.
pub(super) const OPEN: usize = 4;

/// Closed-loop connections with one call after another.
pub(super) const SEQUENTIAL: usize = 2;

/// The fraction of all calls that the sequential connections make together.
const SEQUENTIAL_SHARE: f64 = 0.1;

/// In-flight calls per open-loop connection while the peak is measured: more do not raise it.
const DEPTH: usize = 8;

/// The number of failures that are described.
const EXAMPLES: usize = 20;

const SEED: u64 = 20_261_016;

/// The state that all callers share.
pub(super) struct Observer {
    pub catalogue: Catalogue,
    pub questions: Vec<Question>,
    began: Instant,
    newest: AtomicUsize,
    /// Decisions in each variant of the experiment, the control first.
    in_variants: [AtomicUsize; 2],
    failures: AtomicUsize,
    examples: Mutex<Vec<String>>,
}

impl Observer {
    /// Starts the clock of the run.
    pub(super) fn new(catalogue: Catalogue, questions: Vec<Question>) -> Self {
        Self {
            catalogue,
            questions,
            began: Instant::now(),
            newest: AtomicUsize::new(0),
            in_variants: Default::default(),
            failures: AtomicUsize::new(0),
            examples: Mutex::default(),
        }
    }

    /// The time since the start of the run.
    pub(super) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// The newest publication that has answered a call.
    pub(super) fn newest(&self) -> usize {
        self.newest.load(Ordering::Relaxed)
    }

    /// Decisions in each variant of the experiment, the control first.
    pub(super) fn in_variants(&self) -> [usize; 2] {
        self.in_variants.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    /// The number of failed calls and wrong answers.
    pub(super) fn failures(&self) -> usize {
        self.failures.load(Ordering::Relaxed)
    }

    /// Descriptions of the first failures.
    pub(super) fn examples(&self) -> Vec<String> {
        self.examples.lock().unwrap().clone()
    }

    fn fail(&self, why: &str) {
        if self.failures.fetch_add(1, Ordering::Relaxed) < EXAMPLES {
            let now = self.now();
            self.examples.lock().unwrap().push(format!("after {now:.3?}: {why}"));
        }
    }

    /// Makes a call and checks the answer; returns the release that it names.
    async fn ask(
        &self,
        client: &mut DecisionServiceClient<Channel>,
        question: &Question,
    ) -> Result<u64, String> {
        let failed = |status: tonic::Status| format!("{:?}: {}", status.code(), status.message());
        let release = match question {
            Question::Rank(request) => {
                let answer = client.rank(request.clone()).await.map_err(failed)?.into_inner();
                let release = self.catalogue.check_rank(request, &answer)?;
                let experiment = &self.catalogue.set_of(release).experiment;
                for variant in answer.results.iter().filter_map(|result| experiment.place(result)) {
                    self.in_variants[variant].fetch_add(1, Ordering::Relaxed);
                }
                release
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

/// A call to be made.
struct Task {
    observer: Arc<Observer>,
    client: DecisionServiceClient<Channel>,
    connection: usize,
    question: usize,
    scheduled: Duration,
}

impl Task {
    /// Makes the call and records the result.
    async fn run(&mut self, answered: &UnboundedSender<Call>) {
        let observer = &self.observer;
        let question = &observer.questions[self.question % observer.questions.len()];
        let sent = observer.now();
        match observer.ask(&mut self.client, question).await {
            Ok(release) => {
                let (connection, scheduled, ended) = (self.connection, self.scheduled, observer.now());
                // The receiver is gone if the test has already failed.
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

    /// Calls per second of a closed loop over the same connections, pass by pass.
    pub(super) fn peak(&self, passes: usize, length: Duration) -> Vec<f64> {
        (0..passes).map(|_| self.runtime.block_on(self.saturate(length))).collect()
    }

    async fn saturate(&self, length: Duration) -> f64 {
        let (answered, mut answers) = unbounded_channel();
        let began = Instant::now();
        for caller in 0..OPEN * DEPTH {
            // Each starts at another question.
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

    /// Starts the load, with `rate` calls per second in all.
    pub(super) fn start(&self, rate: f64) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let (answered, answers) = unbounded_channel();
        for connection in OPEN..OPEN + SEQUENTIAL {
            let gap = Duration::from_secs_f64(SEQUENTIAL as f64 / (rate * SEQUENTIAL_SHARE));
            let first = connection * self.observer.questions.len() / (OPEN + SEQUENTIAL);
            let task = self.task(connection, first);
            self.runtime.spawn(sequential(task, gap, Arc::clone(&stop), answered.clone()));
        }
        let arrivals = Arrivals::new(rate * (1.0 - SEQUENTIAL_SHARE), self.observer.now());
        let pacer = self.pace(arrivals, Arc::clone(&stop), answered);
        Load { stop, pacer, answers }
    }

    /// Starts a thread that sends each call when it is due.
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
                // The system's sleep is accurate to some 60 µs, a timer of the runtime to a millisecond.
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

/// Makes one call after another, at most one per `gap`.
async fn sequential(mut task: Task, gap: Duration, stop: Arc<AtomicBool>, answered: UnboundedSender<Call>) {
    while !stop.load(Ordering::Relaxed) {
        task.scheduled = task.observer.now();
        task.run(&answered).await;
        task.question += 1;
        let due = task.scheduled + gap;
        tokio::time::sleep(due.saturating_sub(task.observer.now())).await;
    }
}

/// A running load.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    pacer: JoinHandle<()>,
    answers: UnboundedReceiver<Call>,
}

impl Load {
    /// Stops the load, waits for the in-flight calls, and returns every call that was answered.
    pub(super) fn finish(mut self) -> Vec<Call> {
        self.stop.store(true, Ordering::Relaxed);
        self.pacer.join().unwrap();
        let mut calls = Vec::new();
        // The loop ends when the last call has dropped its sender.
        while let Some(call) = self.answers.blocking_recv() {
            calls.push(call);
        }
        calls
    }
}

/// Arrival times of a Poisson process: the gaps have an exponential distribution.
struct Arrivals {
    random: Xoshiro256PlusPlus,
    rate: f64,
    next: Duration,
}

impl Arrivals {
    /// Arrivals at `rate` per second, starting at `from`.
    fn new(rate: f64, from: Duration) -> Self {
        Self { random: Xoshiro256PlusPlus::seed_from_u64(SEED), rate, next: from }
    }
}

impl Iterator for Arrivals {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        // Uniform in (0, 1], with the 53 bits of a double.
        let uniform = ((self.random.next_u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        self.next += Duration::from_secs_f64(-uniform.ln() / self.rate);
        Some(self.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_have_the_rate_and_exponential_gaps() {
        let from = Duration::from_secs(5);
        let moments: Vec<Duration> = Arrivals::new(500.0, from).take(100_000).collect();
        let length = moments[moments.len() - 1].saturating_sub(from).as_secs_f64();
        assert!((length - 200.0).abs() < 4.0, "{length}");
        let gaps: Vec<f64> =
            moments.windows(2).map(|pair| pair[1].saturating_sub(pair[0]).as_secs_f64()).collect();
        // In an exponential distribution, 1 − 1/e of the gaps are below the mean.
        let short = gaps.iter().filter(|gap| **gap < 0.002).count() as f64 / gaps.len() as f64;
        assert!((short - 0.632).abs() < 0.01, "{short}");
    }
}
