//! The threads that decide and score, and the two bounded queues in front of them.
//!
//! A [`Worker`] is a token that exists once per thread: whoever holds `&Worker` may use the session of that number of
//! every model, so two requests never want the same session. Work is queued up to a limit and refused beyond it, and so is work
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

type Job = Box<dyn FnOnce(&Worker) + Send>;

/// A handle to the worker threads; they end when the last handle is dropped and the queues are empty.
#[derive(Debug, Clone)]
pub struct Workers {
    interactive: Sender<Job>,
    bulk: Sender<Job>,
    count: usize,
    backlog: Arc<Backlog>,
}

impl Workers {
    /// Starts `count` threads behind a queue of at most `queue_limit` waiting pieces of work for each lane.
    ///
    /// # Errors
    /// When the operating system refuses a thread.
    pub fn start(count: usize, queue_limit: usize) -> std::io::Result<Self> {
        let (interactive, interactive_jobs) = bounded::<Job>(queue_limit);
        let (bulk, bulk_jobs) = bounded::<Job>(queue_limit);
        for worker in Worker::tokens(count) {
            let (interactive, bulk) = (interactive_jobs.clone(), bulk_jobs.clone());
            std::thread::Builder::new().name(format!("worker-{}", worker.index)).spawn(move || {
                while let Some(job) = next(&interactive, &bulk) {
                    job(&worker);
                }
            })?;
        }
        Ok(Self { interactive, bulk, count, backlog: Arc::default() })
    }

    /// The number of threads.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// The number of pieces of work that wait.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.interactive.len() + self.bulk.len()
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

    /// Runs `work`, which will cost about `cost` (zero where nobody knows), on a worker. Dropping the future abandons the call: work that has
    /// not begun never begins.
    ///
    /// # Errors
    /// When the queue is full, the call is over before the work begins, or the work panics.
    pub async fn run<T, F>(&self, call: &Call, cost: Duration, work: F) -> Result<T, Refusal>
    where
        T: Send + 'static,
        F: FnOnce(&Worker) -> T + Send + 'static,
    {
        call.check()?;
        let (answer, wait) = oneshot::channel();
        let owed = call.clone();
        // What the work logs belongs to the call.
        let span = tracing::Span::current();
        let taken_on = self.backlog.take_on(call.lane(), cost);
        let job: Job = Box::new(move |worker| {
            let result = match owed.check() {
                Err(stop) => Err(Refusal::Stopped(stop)),
                Ok(()) => {
                    let done = catch_unwind(AssertUnwindSafe(|| span.in_scope(|| work(worker))));
                    done.map_err(|panic| {
                        tracing::error!(panic = panic_message(&*panic), "the work of a call panicked");
                        Refusal::Panicked
                    })
                }
            };
            drop(taken_on);
            // A caller that has gone takes no answer.
            let _ = answer.send(result);
        });
        let queue = match call.lane() {
            Lane::Interactive => &self.interactive,
            Lane::Bulk => &self.bulk,
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

/// The job to do now: an interactive one, else one of the other lane, else whichever comes first; none once all handles are gone.
fn next(interactive: &Receiver<Job>, bulk: &Receiver<Job>) -> Option<Job> {
    // Both lanes end at the same time, but the other may still hold work.
    select_biased! {
        recv(interactive) -> job => job.or_else(|_| bulk.recv()).ok(),
        recv(bulk) -> job => job.or_else(|_| interactive.recv()).ok(),
    }
}
