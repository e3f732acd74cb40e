//! The threads that decide and score, and the bounded queue in front of them.
//!
//! A [`Worker`] is a token that exists once per thread: whoever holds `&Worker` may use the session of that number of
//! every model, so two requests never want the same session. Work is queued up to a limit and refused beyond it; each
//! piece carries its [`Call`], whose deadline and cancellation are looked at again before the work begins and whenever
//! the work asks.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use tokio::sync::oneshot;

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

/// What a piece of work owes its caller: when it must be done, and whether anyone still waits.
#[derive(Debug, Clone, Default)]
pub struct Call {
    deadline: Option<Instant>,
    abandoned: Arc<AtomicBool>,
}

/// Why work should not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// The caller's deadline has passed.
    #[error("the deadline has passed")]
    DeadlineExceeded,
    /// The caller has gone.
    #[error("the caller has gone")]
    Abandoned,
}

impl Call {
    /// A call that must be answered by `deadline`, if there is one.
    #[must_use]
    pub fn new(deadline: Option<Instant>) -> Self {
        Self { deadline, abandoned: Arc::default() }
    }

    /// When the answer is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Looked at before each costly step.
    ///
    /// # Errors
    /// The reason to stop.
    pub fn check(&self) -> Result<(), Stop> {
        if self.abandoned.load(Ordering::Relaxed) {
            return Err(Stop::Abandoned);
        }
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(Stop::DeadlineExceeded),
            _ => Ok(()),
        }
    }

    /// Marks the call as abandoned when the guard is dropped, as a future is when its caller goes away.
    #[must_use]
    pub fn abandon_on_drop(&self) -> AbandonOnDrop {
        AbandonOnDrop(Some(Arc::clone(&self.abandoned)))
    }
}

/// See [`Call::abandon_on_drop`].
#[derive(Debug)]
pub struct AbandonOnDrop(Option<Arc<AtomicBool>>);

impl AbandonOnDrop {
    /// The call was answered: nothing is abandoned.
    pub fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for AbandonOnDrop {
    fn drop(&mut self) {
        if let Some(abandoned) = &self.0 {
            abandoned.store(true, Ordering::Relaxed);
        }
    }
}

/// Why a piece of work has no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The queue is full.
    #[error("too much work is queued")]
    Overloaded,
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

/// A handle to the worker threads; they end when the last handle is dropped and the queue is empty.
#[derive(Debug, Clone)]
pub struct Workers {
    queue: Sender<Job>,
    count: usize,
}

impl Workers {
    /// Starts `count` threads behind a queue of at most `queue_limit` waiting pieces of work.
    ///
    /// # Errors
    /// When the operating system refuses a thread.
    pub fn start(count: usize, queue_limit: usize) -> std::io::Result<Self> {
        let (queue, jobs) = bounded::<Job>(queue_limit);
        for worker in Worker::tokens(count) {
            let jobs: Receiver<Job> = jobs.clone();
            std::thread::Builder::new().name(format!("worker-{}", worker.index)).spawn(move || {
                for job in jobs {
                    job(&worker);
                }
            })?;
        }
        Ok(Self { queue, count })
    }

    /// The number of threads.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// The number of pieces of work that wait.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Runs `work` on a worker. Dropping the future abandons the call: work that has not begun never begins.
    ///
    /// # Errors
    /// When the queue is full, the call is over before the work begins, or the work panics.
    pub async fn run<T, F>(&self, call: &Call, work: F) -> Result<T, Refusal>
    where
        T: Send + 'static,
        F: FnOnce(&Worker) -> T + Send + 'static,
    {
        call.check()?;
        let (answer, wait) = oneshot::channel();
        let owed = call.clone();
        // What the work logs belongs to the call.
        let span = tracing::Span::current();
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
            // A caller that has gone takes no answer.
            let _ = answer.send(result);
        });
        match self.queue.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => return Err(Refusal::Overloaded),
        }
        let guard = call.abandon_on_drop();
        let result = wait.await.unwrap_or(Err(Refusal::Panicked));
        guard.disarm();
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::time::Duration;

    #[tokio::test]
    async fn work_is_done_by_numbered_workers() {
        let workers = Workers::start(2, 8).unwrap();
        let index = workers.run(&Call::default(), Worker::index).await.unwrap();
        assert!(index < 2);
    }

    #[tokio::test]
    async fn a_panic_is_answered_and_the_worker_goes_on() {
        let workers = Workers::start(1, 8).unwrap();
        let panicked: Result<(), Refusal> = workers.run(&Call::default(), |_| panic!("on purpose")).await;
        assert_eq!(panicked, Err(Refusal::Panicked));
        assert_eq!(workers.run(&Call::default(), |_| 7).await, Ok(7));
    }

    #[tokio::test]
    async fn work_beyond_the_limit_is_refused_and_late_work_never_begins() {
        let workers = Workers::start(1, 1).unwrap();
        let (entered, leave) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
        let blocked = tokio::spawn({
            let (workers, entered, leave) = (workers.clone(), Arc::clone(&entered), Arc::clone(&leave));
            async move {
                workers
                    .run(&Call::default(), move |_| {
                        entered.wait();
                        leave.wait();
                    })
                    .await
            }
        });
        tokio::task::spawn_blocking(move || entered.wait()).await.unwrap();
        let call = Call::default();
        let queued = tokio::spawn({
            let (workers, call) = (workers.clone(), call.clone());
            async move { workers.run(&call, |_| 1).await }
        });
        while workers.queued() == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(workers.run(&Call::default(), |_| 2).await, Err(Refusal::Overloaded));
        queued.abort();
        let _ = queued.await;
        assert_eq!(call.check(), Err(Stop::Abandoned));
        leave.wait();
        blocked.await.unwrap().unwrap();
        let past = Call::new(Some(Instant::now().checked_sub(Duration::from_secs(1)).unwrap()));
        let late = workers.run(&past, |_| 3).await;
        assert_eq!(late, Err(Refusal::Stopped(Stop::DeadlineExceeded)));
    }
}
