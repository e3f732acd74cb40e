//! Where work is done: inline on the caller's thread, or by threads behind bounded queues.
//!
//! A [`Worker`] is a token, one per thread: with `&Worker` comes the right to that worker's session of every model.
//! So two requests never want the same session. Short work without a session runs inline ([`INLINE`]): a hand-over
//! would cost as much as the work. Bulk work without a session runs on threads of idle priority, so that it takes no
//! core from an interactive call. All other work is queued for the workers.
//!
//! A full queue refuses work. So does a deadline that pending work and the work's own cost leave no time for.
//! Interactive work goes before bulk work. Running work is not interrupted, so bulk work comes in small pieces. Each
//! piece carries its [`Call`], and checks its deadline and cancellation before it begins and at each costly step. A
//! graph that runs in ONNX Runtime cannot check; it is stopped from outside (`workers/seat.rs`).

mod backlog;
mod call;
mod seat;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, select_biased};
use tokio::sync::oneshot;

use self::backlog::Backlog;
pub use self::call::{Call, Cancellation, Lane};
pub use self::seat::Stoppable;
use self::seat::{Seat, SeatGuard, TICK};
use crate::panic::catch_panic;
use crate::priority::{set_idle_priority, yield_if_due};

/// Work of at most this known cost runs inline, if it needs no session. About ten times the cost of a hand-over, and
/// short enough for a thread that serves connections.
pub const INLINE: Duration = Duration::from_micros(200);

/// Stack bytes of a thread that runs foreign code. ONNX Runtime recurses into trees, functions and subgraphs, so a
/// model's file decides the depth. The judging process has half as much: a graph that ran there fits here, in
/// addition to what is already on the stack. The system provides memory only for the part of a stack that is used.
pub const FOREIGN_STACK: usize = 16 << 20;

/// The most threads that anybody may ask for. More than there are cores only wait for each other.
pub const MAX_THREADS: usize = 1024;

/// The right to use the session of this number in every model; one per thread, never copied.
#[derive(Debug)]
pub struct Worker {
    index: usize,
    /// What the watch thread observes; `None` for workers without a queue.
    seat: Option<Arc<Seat>>,
}

impl Worker {
    /// `count` tokens numbered from 0, one per thread, for command-line tools and benches without a queue.
    #[must_use]
    pub fn tokens(count: usize) -> Vec<Worker> {
        (0..count).map(|index| Worker { index, seat: None }).collect()
    }

    /// The only worker of models that have one session each, for work outside of serving.
    #[must_use]
    pub fn only() -> Worker {
        Worker { index: 0, seat: None }
    }

    /// The worker of a thread beside `count` workers: it has the next number, and the sessions of that number.
    /// [`Workers::watch`] stops graphs that run for too long.
    #[must_use]
    pub fn beside(count: usize) -> Worker {
        Worker { index: count, seat: Some(Arc::default()) }
    }

    /// A worker without sessions, for the native engine: any number of threads may have one.
    #[must_use]
    pub fn without_session() -> Worker {
        Worker { index: usize::MAX, seat: None }
    }

    /// The number of the worker, below the number of workers.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// Runs `work`, which runs a graph. The watch thread stops it through `run` once the current call is over.
    pub fn watched<T>(&self, run: &Arc<dyn Stoppable>, work: impl FnOnce() -> T) -> T {
        let _guard = self.seat.as_ref().map(|seat| seat.runs(Arc::clone(run)));
        work()
    }

    /// Why the current call is over, if it is.
    #[must_use]
    pub fn over(&self) -> Option<Cancellation> {
        self.seat.as_ref()?.over()
    }

    /// Does `work` for a call, as a thread beside the workers.
    pub fn serve<T>(&self, call: &Call, work: impl FnOnce() -> T) -> T {
        let _guard = self.serves(call);
        work()
    }

    fn serves(&self, call: &Call) -> Option<SeatGuard<'_>> {
        self.seat.as_ref().map(|seat| seat.serves(call))
    }

    fn is_lost(&self) -> bool {
        self.seat.as_ref().is_some_and(|seat| seat.is_lost())
    }
}

/// Why a piece of work has no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The queue is full.
    #[error("too much work is queued")]
    Overloaded,
    /// Pending work and the work itself need longer than the deadline leaves.
    #[error("the deadline cannot be met: the work needs about {needs:.1?}, and {left:.1?} are left")]
    TooLate {
        /// The time until the work would be done, by recent costs.
        needs: Duration,
        /// The time until the deadline.
        left: Duration,
    },
    /// The call ended before the work began.
    #[error(transparent)]
    Cancelled(#[from] Cancellation),
    /// The work panicked; the worker continues.
    #[error("the work panicked")]
    Panicked,
}

/// What is known about work before it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Needs {
    /// Its time on one thread; zero if unknown.
    pub cost: Duration,
    /// Whether it may run a model in ONNX Runtime, and so needs a worker's sessions.
    pub session: bool,
}

impl Needs {
    /// Work of unknown cost that may need a session.
    #[must_use]
    pub fn session() -> Self {
        Self { cost: Duration::ZERO, session: true }
    }

    /// Whether work of that lane runs on the caller's thread.
    fn inline(self, lane: Lane) -> bool {
        lane == Lane::Interactive && !self.session && !self.cost.is_zero() && self.cost <= INLINE
    }
}

/// By default, how long a run may continue after it was told to stop.
const GRACE: Duration = Duration::from_secs(2);

type Job = Box<dyn FnOnce(&Worker) + Send>;

/// The workers' queues of interactive and bulk work.
type Queues = (Receiver<Job>, Receiver<Job>);

/// A handle to the threads; they end when the last handle is dropped and the queues are empty.
#[derive(Debug, Clone)]
pub struct Workers {
    interactive: Sender<Job>,
    bulk: Sender<Job>,
    /// Bulk work that needs no session.
    idle: Sender<Job>,
    count: usize,
    backlog: Arc<Backlog>,
    /// Workers beside these that are watched, too.
    beside: Beside,
}

/// What workers beside the others do right now.
type Beside = Arc<Mutex<Vec<Weak<Seat>>>>;

impl Workers {
    /// Starts `count` workers, and as many threads for bulk work. Each queue holds at most `queue_limit` pieces of
    /// work.
    ///
    /// # Errors
    /// When the operating system refuses a thread.
    pub fn start(count: usize, queue_limit: usize) -> std::io::Result<Self> {
        Self::start_watched(count, queue_limit, GRACE, |_| {})
    }

    /// As [`Workers::start`], with a watch on runs: a worker is replaced if its graph still runs `grace` after it was
    /// told to stop. `lost` is called with the name of the model.
    ///
    /// # Errors
    /// As [`Workers::start`].
    pub fn start_watched(
        count: usize,
        queue_limit: usize,
        grace: Duration,
        lost: impl Fn(&str) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (interactive, interactive_jobs) = bounded::<Job>(queue_limit);
        let (bulk, bulk_jobs) = bounded::<Job>(queue_limit);
        let (idle, idle_jobs) = bounded::<Job>(queue_limit);
        let queues = (interactive_jobs, bulk_jobs);
        let seats =
            (0..count).map(|index| start_worker(index, queues.clone())).collect::<std::io::Result<_>>()?;
        let (backlog, beside) = (Arc::<Backlog>::default(), Beside::default());
        let in_use = Arc::downgrade(&backlog);
        let watch = Watch { seats, queues, grace, in_use, beside: Arc::clone(&beside) };
        std::thread::Builder::new().name("watch".to_owned()).spawn(move || watch.until_unused(lost))?;
        for index in 0..count {
            let jobs = idle_jobs.clone();
            std::thread::Builder::new().name(format!("bulk-{index}")).spawn(move || {
                set_idle_priority();
                let none = Worker::without_session();
                jobs.iter().for_each(|job| {
                    job(&none);
                    yield_if_due();
                });
            })?;
        }
        Ok(Self { interactive, bulk, idle, count, backlog, beside })
    }

    /// From now on, a graph that a worker beside these runs is told to stop once the call that it serves is over
    /// ([`Worker::serve`]). If it goes on, its model stays in service: a thread of idle priority may just get no time.
    pub fn watch(&self, worker: &Worker) {
        let mut beside = self.beside.lock().unwrap_or_else(PoisonError::into_inner);
        beside.extend(worker.seat.as_ref().map(Arc::downgrade));
    }

    /// The number of workers.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// The number of pending pieces of work.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.interactive.len() + self.bulk.len() + self.idle.len()
    }

    /// Whether work that costs `cost` of one thread, split into `parts`, can meet the call's deadline. Work of
    /// unknown cost (zero) is always admitted.
    ///
    /// # Errors
    /// [`Rejection::TooLate`].
    pub fn admit(&self, call: &Call, cost: Duration, parts: usize) -> Result<(), Rejection> {
        let Some(deadline) = call.deadline().filter(|_| !cost.is_zero()) else { return Ok(()) };
        let left = deadline.saturating_duration_since(Instant::now());
        let threads = |wanted: usize| wanted.clamp(1, self.count.max(1)) as u32;
        let needs = self.backlog.ahead(call.lane()) / threads(self.count) + cost / threads(parts);
        if needs > left { Err(Rejection::TooLate { needs, left }) } else { Ok(()) }
    }

    /// Runs `work` inline if it is short and needs no session, else on a thread for its lane. Dropping the future
    /// abandons the call: work that has not begun never begins.
    ///
    /// # Errors
    /// When the queue is full, the call is over before the work begins, or the work panics.
    pub async fn run<T, F>(&self, call: &Call, needs: Needs, work: F) -> Result<T, Rejection>
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
        // Logs of the work belong to the call's span.
        let span = tracing::Span::current();
        let queued = call.trace().now();
        let pending = self.backlog.add(call.lane(), needs.cost);
        let job: Job = Box::new(move |worker| {
            let result = match owed.check() {
                Err(stop) => Err(Rejection::Cancelled(stop)),
                Ok(()) => {
                    owed.trace().step("queue", queued);
                    let _guard = worker.serves(&owed);
                    span.in_scope(|| guarded(|| work(worker)))
                }
            };
            // Before the answer: afterwards a thread of idle priority may get no time for long, and would keep the
            // span open.
            drop((pending, owed, span));
            // Fails if the caller has gone.
            let _ = answer.send(result);
        });
        let queue = match call.lane() {
            Lane::Interactive => &self.interactive,
            Lane::Bulk if needs.session => &self.bulk,
            Lane::Bulk => &self.idle,
        };
        match queue.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => return Err(Rejection::Overloaded),
        }
        let guard = call.abandon_on_drop();
        let result = wait.await.unwrap_or(Err(Rejection::Panicked));
        guard.disarm();
        result
    }
}

/// Starts the worker of that number, and returns its seat.
fn start_worker(index: usize, (interactive, bulk): Queues) -> std::io::Result<Arc<Seat>> {
    let seat = Arc::<Seat>::default();
    let worker = Worker { index, seat: Some(Arc::clone(&seat)) };
    let thread = std::thread::Builder::new().name(format!("worker-{index}")).stack_size(FOREIGN_STACK);
    thread.spawn(move || {
        while !worker.is_lost()
            && let Some(job) = next(&interactive, &bulk)
        {
            job(&worker);
        }
    })?;
    Ok(seat)
}

/// Watches the workers as long as a handle to them exists.
struct Watch {
    seats: Vec<Arc<Seat>>,
    queues: Queues,
    grace: Duration,
    in_use: Weak<Backlog>,
    beside: Beside,
}

impl Watch {
    fn until_unused(mut self, lost: impl Fn(&str)) {
        while self.in_use.strong_count() > 0 {
            std::thread::sleep(TICK);
            self.look_beside();
            for (index, seat) in self.seats.iter_mut().enumerate() {
                let Some(model) = seat.look(self.grace) else { continue };
                tracing::error!(
                    worker = index,
                    model,
                    "a run does not stop: its worker is replaced, and its model is out of service"
                );
                lost(&model);
                match start_worker(index, self.queues.clone()) {
                    Ok(successor) => *seat = successor,
                    Err(error) => tracing::error!(worker = index, %error, "no thread for another worker"),
                }
            }
        }
    }
}

impl Watch {
    /// Stops what runs beside the workers for a call that is over.
    fn look_beside(&self) {
        let mut beside = self.beside.lock().unwrap_or_else(PoisonError::into_inner);
        beside.retain(|seat| seat.upgrade().inspect(|seat| _ = seat.stop_if_over()).is_some());
    }
}

/// Runs `work` and turns a panic into a rejection.
fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, Rejection> {
    catch_panic(work).map_err(|panic| {
        tracing::error!(panic = panic.message, "the work of a call panicked");
        Rejection::Panicked
    })
}

/// The next job: an interactive one first, then a bulk one, else whichever arrives first; `None` once all handles are
/// gone.
fn next(interactive: &Receiver<Job>, bulk: &Receiver<Job>) -> Option<Job> {
    // Both lanes end at the same time, but the other may still hold work.
    select_biased! {
        recv(interactive) -> job => job.or_else(|_| bulk.recv()).ok(),
        recv(bulk) -> job => job.or_else(|_| interactive.recv()).ok(),
    }
}
