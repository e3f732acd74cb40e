//! Where work is done: at once on the thread that asks, or by threads behind bounded queues.
//!
//! A [`Worker`] is a token that exists once per thread: whoever holds `&Worker` may use the session of that number of
//! every model, so two requests never want the same session. What needs no session and is known to be short is done by whoever
//! asks ([`INLINE`]): handing it over would cost as much as the work. Bulk work that needs no session has threads of the lowest
//! priority, so that it takes no core from a call that a person waits for. All other work is queued for the workers.
//!
//! Work is queued up to a limit and refused beyond it, and so is work
//! whose deadline the work before it and its own cost leave no room for. Interactive work goes before bulk work; what has begun is
//! not interrupted, so bulk work comes in small pieces. Each piece carries its [`Call`], whose deadline and cancellation are looked at
//! again before the work begins and whenever the work asks.

mod backlog;
mod call;
#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, select_biased};
use tokio::sync::oneshot;

use self::backlog::Backlog;
pub use self::call::{Call, Lane, Stop};
use crate::priority::{give_way, pause};

/// Work that is known to cost no more than this is done where it is asked for, if it needs no session. About ten times what a
/// hand-over costs, and short enough for a thread that serves connections.
pub const INLINE: Duration = Duration::from_micros(200);

/// The right to use the session of this number in every model; one per thread, never copied.
#[derive(Debug)]
pub struct Worker {
    index: usize,
}

impl Worker {
    /// `count` tokens numbered from 0, for one thread each: what a command-line tool or a bench uses without a queue.
    #[must_use]
    pub fn tokens(count: usize) -> Vec<Worker> {
        (0..count).map(|index| Worker { index }).collect()
    }

    /// The one worker of models that have one session each, for work that runs beside what serves.
    #[must_use]
    pub fn only() -> Worker {
        Worker { index: 0 }
    }

    /// No session of any model: what scores by engines of our own may have it anywhere.
    #[must_use]
    pub fn without_session() -> Worker {
        Worker { index: usize::MAX }
    }

    /// The number of the worker, below the number of workers.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }
}

/// Why a piece of work has no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The queue is full.
    #[error("too much work is queued")]
    Overloaded,
    /// What waits before the work and the work itself need longer than the deadline leaves.
    #[error("the deadline cannot be met: the work needs about {needs:.1?}, and {left:.1?} are left")]
    TooLate {
        /// Until the work would be done, by what such work cost of late.
        needs: Duration,
        /// Until the deadline.
        left: Duration,
    },
    /// The call ended before the work began.
    #[error(transparent)]
    Stopped(#[from] Stop),
    /// The work panicked; the worker goes on.
    #[error("the work panicked")]
    Panicked,
}

/// What a panic said.
#[must_use]
pub fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

/// What is known of work before it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Needs {
    /// What it will cost one thread; zero where nobody knows.
    pub cost: Duration,
    /// Whether it may run a model in ONNX Runtime, and so needs a worker's sessions.
    pub session: bool,
}

impl Needs {
    /// Work that may need a session and whose cost nobody knows.
    #[must_use]
    pub fn session() -> Self {
        Self { cost: Duration::ZERO, session: true }
    }

    /// Whether work of that lane is done by whoever asks for it.
    fn inline(self, lane: Lane) -> bool {
        lane == Lane::Interactive && !self.session && !self.cost.is_zero() && self.cost <= INLINE
    }
}

type Job = Box<dyn FnOnce(&Worker) + Send>;

/// A handle to the threads; they end when the last handle is dropped and the queues are empty.
#[derive(Debug, Clone)]
pub struct Workers {
    interactive: Sender<Job>,
    bulk: Sender<Job>,
    /// Bulk work that needs no session.
    idle: Sender<Job>,
    count: usize,
    backlog: Arc<Backlog>,
}

impl Workers {
    /// Starts `count` workers, and as many threads for bulk work, behind queues of at most `queue_limit` waiting pieces of work each.
    ///
    /// # Errors
    /// When the operating system refuses a thread.
    pub fn start(count: usize, queue_limit: usize) -> std::io::Result<Self> {
        let (interactive, interactive_jobs) = bounded::<Job>(queue_limit);
        let (bulk, bulk_jobs) = bounded::<Job>(queue_limit);
        let (idle, idle_jobs) = bounded::<Job>(queue_limit);
        for worker in Worker::tokens(count) {
            let (interactive, bulk) = (interactive_jobs.clone(), bulk_jobs.clone());
            std::thread::Builder::new().name(format!("worker-{}", worker.index)).spawn(move || {
                while let Some(job) = next(&interactive, &bulk) {
                    job(&worker);
                }
            })?;
        }
        for index in 0..count {
            let jobs = idle_jobs.clone();
            std::thread::Builder::new().name(format!("bulk-{index}")).spawn(move || {
                give_way();
                let none = Worker::without_session();
                jobs.iter().for_each(|job| {
                    job(&none);
                    pause();
                });
            })?;
        }
        Ok(Self { interactive, bulk, idle, count, backlog: Arc::default() })
    }

    /// The number of workers.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// The number of pieces of work that wait.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.interactive.len() + self.bulk.len() + self.idle.len()
    }

    /// Whether work that costs `cost` of one thread, done in `parts` at once, can be done in time. Of work whose cost nobody knows
    /// (zero) this is not asked.
    ///
    /// # Errors
    /// [`Refusal::TooLate`].
    pub fn admit(&self, call: &Call, cost: Duration, parts: usize) -> Result<(), Refusal> {
        let Some(deadline) = call.deadline().filter(|_| !cost.is_zero()) else { return Ok(()) };
        let left = deadline.saturating_duration_since(Instant::now());
        let threads = |wanted: usize| wanted.clamp(1, self.count.max(1)) as u32;
        let needs = self.backlog.ahead(call.lane()) / threads(self.count) + cost / threads(parts);
        if needs > left { Err(Refusal::TooLate { needs, left }) } else { Ok(()) }
    }

    /// Runs `work` here and now where it is short and needs no session, else on a thread that suits it. Dropping the future abandons
    /// the call: work that has not begun never begins.
    ///
    /// # Errors
    /// When the queue is full, the call is over before the work begins, or the work panics.
    pub async fn run<T, F>(&self, call: &Call, needs: Needs, work: F) -> Result<T, Refusal>
    where
        T: Send + 'static,
        F: FnOnce(&Worker) -> T + Send + 'static,
    {
        call.check()?;
        if needs.inline(call.lane()) {
            return guarded(|| work(&Worker::without_session()));
        }
        let (answer, wait) = oneshot::channel();
        let owed = call.clone();
        // What the work logs belongs to the call.
        let span = tracing::Span::current();
        let queued = call.trace().now();
        let taken_on = self.backlog.take_on(call.lane(), needs.cost);
        let job: Job = Box::new(move |worker| {
            let result = match owed.check() {
                Err(stop) => Err(Refusal::Stopped(stop)),
                Ok(()) => {
                    owed.trace().step("queue", queued);
                    span.in_scope(|| guarded(|| work(worker)))
                }
            };
            drop(taken_on);
            // A caller that has gone takes no answer.
            let _ = answer.send(result);
        });
        let queue = match call.lane() {
            Lane::Interactive => &self.interactive,
            Lane::Bulk if needs.session => &self.bulk,
            Lane::Bulk => &self.idle,
        };
        match queue.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => return Err(Refusal::Overloaded),
        }
        let guard = call.abandon_on_drop();
        let result = wait.await.unwrap_or(Err(Refusal::Panicked));
        guard.disarm();
        result
    }
}

/// Does `work`; a panic in it is an answer and no more.
fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, Refusal> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        tracing::error!(panic = panic_message(&*panic), "the work of a call panicked");
        Refusal::Panicked
    })
}

/// The job to do now: an interactive one, else one of the other lane, else whichever comes first; none once all handles are gone.
fn next(interactive: &Receiver<Job>, bulk: &Receiver<Job>) -> Option<Job> {
    // Both lanes end at the same time, but the other may still hold work.
    select_biased! {
        recv(interactive) -> job => job.or_else(|_| bulk.recv()).ok(),
        recv(bulk) -> job => job.or_else(|_| interactive.recv()).ok(),
    }
}
