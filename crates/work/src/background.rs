//! Threads of idle priority for work that must not take a core from a request: loading, judging, freeing.
//!
//! On Linux they have the policy `SCHED_IDLE`: they run on cores that no request thread wants, and are preempted
//! otherwise. On a machine without idle time they are slow, but serving never waits for them. Each kind of work has
//! one permanent thread: the memory of each new thread's allocations stays in an arena of its own. With new threads,
//! memory would grow with every release.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;
use std::time::Duration;

use super::FOREIGN_STACK;
use super::panic::{Panicked, catch_panic};
use super::priority::set_idle_priority;

/// How often the reclaimer checks whether the last user of a value is done.
const POLL: Duration = Duration::from_millis(20);

/// The background threads of a process. Clones are handles to the same threads.
#[derive(Debug, Clone)]
pub struct Background {
    /// Loads releases, models and customers that are to serve.
    pub load: IdleThread,
    /// Loads what shares its models with what is in memory, and may not wait behind a load.
    pub step: IdleThread,
    /// Runs gates, and checks what may serve later.
    pub judge: IdleThread,
    /// Judges graphs that no release pins.
    pub judge_bare: IdleThread,
    /// Frees what has been replaced.
    pub reclaim: Reclaimer,
}

impl Default for Background {
    /// Threads that start when they are first used.
    fn default() -> Self {
        Self {
            load: IdleThread::new("load"),
            step: IdleThread::new("step"),
            judge: IdleThread::new("judge"),
            judge_bare: IdleThread::new("judge-bare"),
            reclaim: Reclaimer::default(),
        }
    }
}

/// A thread of idle priority that does one task after another. It starts with the first task, and ends after the last
/// one once no handle is left.
#[derive(Debug, Clone)]
pub struct IdleThread(LazyThread<Task>);

type Task = Box<dyn FnOnce() + Send>;

impl IdleThread {
    /// A thread of that name, which starts later.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self(LazyThread::new(name))
    }

    /// Runs `work` after all earlier tasks, and waits for its result.
    ///
    /// # Errors
    /// When the operating system refuses the thread, or the work panics.
    pub fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        let (answer, answered) = channel();
        self.start(move || {
            // The caller waits until it has the result.
            let _ = answer.send(catch_panic(work));
        })?;
        match answered.recv() {
            Ok(done) => done.map_err(io::Error::other),
            Err(_) => Err(gone()),
        }
    }

    /// Runs `work` after all earlier tasks, and does not wait for it.
    ///
    /// # Errors
    /// When the operating system refuses the thread.
    pub fn start(&self, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let span = tracing::Span::current();
        let task: Task = Box::new(move || span.in_scope(work));
        self.0.send(task, |tasks: Receiver<Task>| {
            for task in tasks {
                // A panic that `run` does not catch loses the task, not the thread.
                let _ = catch_panic(task);
            }
        })
    }
}

/// Runs `work` on a new thread with enough stack for graphs, at the caller's priority, and waits for it.
///
/// # Errors
/// As [`IdleThread::run`].
pub fn run_with_foreign_stack<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    let span = tracing::Span::current();
    std::thread::scope(|scope| {
        let thread = Builder::new().name("load-at-once".to_owned()).stack_size(FOREIGN_STACK);
        let done = thread.spawn_scoped(scope, || span.in_scope(work))?.join();
        done.map_err(|panic| io::Error::other(Panicked::from(panic)))
    })
}

/// A thread of idle priority that frees values after their last use.
#[derive(Debug, Clone)]
pub struct Reclaimer(LazyThread<Box<dyn Shared>>);

impl Default for Reclaimer {
    fn default() -> Self {
        Self(LazyThread::new("reclaim"))
    }
}

impl Reclaimer {
    /// Drops `shared` on this thread once nothing else holds it, so that no request thread has to free a release. If
    /// the thread cannot start, the last user drops it: slower for one call, with no other harm.
    pub fn reclaim<T: Send + Sync + 'static>(&self, shared: Arc<T>) {
        if let Err(error) = self.0.send(Box::new(shared), |shared| drop_when_free(&shared)) {
            tracing::warn!(%error, "no thread to free a snapshot");
        }
    }
}

/// A value that other threads may still hold.
trait Shared: Send {
    fn is_free(&self) -> bool;
}

impl<T: Send + Sync> Shared for Arc<T> {
    fn is_free(&self) -> bool {
        Self::strong_count(self) == 1
    }
}

fn drop_when_free(shared: &Receiver<Box<dyn Shared>>) {
    let mut held: Vec<Box<dyn Shared>> = Vec::new();
    loop {
        let next = if held.is_empty() {
            shared.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            shared.recv_timeout(POLL)
        };
        match next {
            Ok(next) => held.push(next),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) if held.is_empty() => return,
            // No more values will come, but some are still in use.
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(POLL),
        }
        held.retain(|shared| !shared.is_free());
    }
}

/// A thread of idle priority that its first message starts.
struct LazyThread<T> {
    name: &'static str,
    sender: Arc<Mutex<Option<Sender<T>>>>,
}

impl<T> LazyThread<T> {
    fn new(name: &'static str) -> Self {
        Self { name, sender: Arc::default() }
    }
}

impl<T> Clone for LazyThread<T> {
    fn clone(&self) -> Self {
        Self { name: self.name, sender: Arc::clone(&self.sender) }
    }
}

impl<T> std::fmt::Debug for LazyThread<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("LazyThread").field(&self.name).finish()
    }
}

impl<T: Send + 'static> LazyThread<T> {
    /// Sends `message` to the thread, which runs `serve`.
    fn send(&self, message: T, serve: impl FnOnce(Receiver<T>) + Send + 'static) -> io::Result<()> {
        let mut slot = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = match slot.take() {
            Some(sender) => slot.insert(sender),
            None => {
                let (sender, receiver) = channel();
                Builder::new().name(self.name.to_owned()).stack_size(FOREIGN_STACK).spawn(move || {
                    set_idle_priority();
                    serve(receiver);
                })?;
                slot.insert(sender)
            }
        };
        sender.send(message).map_err(|_| gone())
    }
}

fn gone() -> io::Error {
    io::Error::other("the background thread has ended")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_done_and_a_panic_in_it_is_an_error() {
        let thread = IdleThread::new("judge");
        assert_eq!(thread.run(|| 6 * 7).unwrap(), 42);
        let panicked = thread.run(|| panic!("on purpose")).unwrap_err();
        assert_eq!(panicked.to_string(), "it panicked: on purpose");
        let name = || std::thread::current().name().map(str::to_owned);
        assert_eq!(thread.run(name).unwrap().unwrap(), "judge");
    }

    #[test]
    fn work_is_done_in_order_and_to_its_end_when_the_last_handle_is_dropped() {
        let (tell, told) = channel();
        let thread = IdleThread::new("load");
        for number in 0..100 {
            let tell = tell.clone();
            thread.clone().start(move || tell.send(number).unwrap()).unwrap();
        }
        drop((thread, tell));
        assert_eq!(told.iter().collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_threads_have_idle_priority() {
        let policy = IdleThread::new("load").run(|| thread_priority::thread_schedule_policy().unwrap());
        let idle = thread_priority::NormalThreadSchedulePolicy::Idle;
        assert_eq!(policy.unwrap(), thread_priority::ThreadSchedulePolicy::Normal(idle));
    }

    #[test]
    fn what_is_reclaimed_is_dropped_elsewhere_once_nothing_else_holds_it() {
        struct Tells(Sender<Option<String>>);
        impl Drop for Tells {
            fn drop(&mut self) {
                let _ = self.0.send(std::thread::current().name().map(str::to_owned));
            }
        }
        let (tell, told) = channel();
        let shared = Arc::new(Tells(tell));
        let call = Arc::clone(&shared);
        Reclaimer::default().reclaim(shared);
        assert!(told.recv_timeout(Duration::from_millis(60)).is_err(), "a call still holds it");
        drop(call);
        assert_eq!(told.recv().unwrap().unwrap(), "reclaim");
    }
}
