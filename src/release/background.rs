//! Threads for what must not take a core from a request: loading, judging, taking apart.
//!
//! They are of the lowest priority, on Linux `SCHED_IDLE`: they run where no thread of a request wants the core, and are put aside
//! at once when one does. So on a machine that is busy through and through they are slow; what is warm already needs none of them.
//! There is one of each kind, and it stays: what a new thread allocates for a model lands in an arena of its own, and
//! memory would grow with every release.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;
use std::time::Duration;

use crate::model::panic_message;
use crate::priority::give_way;

/// Work that is done one after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// Releases, models and customers that are to serve.
    Load,
    /// Gates and checks of what may serve one day: nothing that serves waits for them.
    Judge,
}

type Job = Box<dyn FnOnce() + Send>;

/// The thread of each lane, once somebody has used it.
static LANES: [Mutex<Option<Sender<Job>>>; 2] = [const { Mutex::new(None) }; 2];

/// Where what is to be dropped waits until nobody else holds it.
static RETIRED: Mutex<Option<Sender<Box<dyn Retired>>>> = Mutex::new(None);

/// How often it is looked whether the last call that holds something has ended.
const LOOK: Duration = Duration::from_millis(20);

/// Does `work` on the thread of `lane` and waits for it.
///
/// # Errors
/// When the operating system refuses the thread, or the work panics.
pub(super) fn run<T: Send + 'static>(lane: Lane, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let (answer, wait) = channel();
    start(lane, move || {
        // The caller waits for as long as there is an answer to come.
        let _ = answer.send(catch_unwind(AssertUnwindSafe(work)));
    })?;
    match wait.recv() {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(panic)) => Err(io::Error::other(format!("it panicked: {}", panic_message(&*panic)))),
        Err(_) => Err(io::Error::other("the background thread has gone")),
    }
}

/// Does `work` on the thread of `lane` when its turn comes.
///
/// # Errors
/// When the operating system refuses the thread.
pub(super) fn start(lane: Lane, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let span = tracing::Span::current();
    let job: Job = Box::new(move || span.in_scope(work));
    let (slot, name) = match lane {
        Lane::Load => (&LANES[0], "load"),
        Lane::Judge => (&LANES[1], "judge"),
    };
    send(slot, name, job, |jobs: Receiver<Job>| {
        for job in jobs {
            // What `run` does not catch is lost work, not a lost thread.
            let _ = catch_unwind(AssertUnwindSafe(job));
        }
    })
}

/// Waits until nobody else holds `shared`, then drops it on a thread of its own: taking a release apart must not happen on a request's
/// thread. Without that thread it is dropped by its last user instead: slower for one call, and nothing is lost.
pub(super) fn retire<T: Send + Sync + 'static>(shared: Arc<T>) {
    if let Err(error) = send(&RETIRED, "retire", Box::new(shared), |retired| drop_when_free(&retired)) {
        tracing::warn!(%error, "no thread to retire a snapshot on");
    }
}

/// Something that others may still hold.
trait Retired: Send {
    fn is_free(&self) -> bool;
}

impl<T: Send + Sync> Retired for Arc<T> {
    fn is_free(&self) -> bool {
        Self::strong_count(self) == 1
    }
}

fn drop_when_free(retired: &Receiver<Box<dyn Retired>>) {
    let mut held: Vec<Box<dyn Retired>> = Vec::new();
    loop {
        let next = if held.is_empty() {
            retired.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            retired.recv_timeout(LOOK)
        };
        match next {
            Ok(next) => held.push(next),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        held.retain(|retired| !retired.is_free());
    }
}

/// Sends `message` to the thread whose sender is in `slot`, which is started for the first.
fn send<T: Send + 'static>(
    slot: &Mutex<Option<Sender<T>>>,
    name: &str,
    message: T,
    serve: impl FnOnce(Receiver<T>) + Send + 'static,
) -> io::Result<()> {
    let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
    let sender = match slot.take() {
        Some(sender) => slot.insert(sender),
        None => {
            let (sender, receiver) = channel();
            Builder::new().name(name.to_owned()).spawn(move || {
                give_way();
                serve(receiver);
            })?;
            slot.insert(sender)
        }
    };
    sender.send(message).map_err(|_| io::Error::other("the background thread has gone"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_done_and_a_panic_in_it_is_an_error() {
        assert_eq!(run(Lane::Judge, || 6 * 7).unwrap(), 42);
        let panicked = run(Lane::Judge, || panic!("on purpose")).unwrap_err();
        assert_eq!(panicked.to_string(), "it panicked: on purpose");
        assert_eq!(
            run(Lane::Judge, || std::thread::current().name().map(str::to_owned)).unwrap().unwrap(),
            "judge"
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_threads_give_way() {
        let policy = run(Lane::Load, || thread_priority::thread_schedule_policy().unwrap()).unwrap();
        let idle = thread_priority::NormalThreadSchedulePolicy::Idle;
        assert_eq!(policy, thread_priority::ThreadSchedulePolicy::Normal(idle));
    }

    #[test]
    fn what_is_retired_is_dropped_elsewhere_once_nobody_holds_it() {
        struct Tells(std::sync::mpsc::Sender<Option<String>>);
        impl Drop for Tells {
            fn drop(&mut self) {
                let _ = self.0.send(std::thread::current().name().map(str::to_owned));
            }
        }
        let (tell, told) = channel();
        let shared = Arc::new(Tells(tell));
        let call = Arc::clone(&shared);
        retire(shared);
        assert!(told.recv_timeout(Duration::from_millis(60)).is_err(), "a call still holds it");
        drop(call);
        assert_eq!(told.recv().unwrap().unwrap(), "retire");
    }
}
