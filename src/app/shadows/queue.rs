//! The bounded queue between calls and the thread that compares.
//!
//! A call never waits here, and never for that thread: of idle priority, it may be preempted while it holds the lock.
//! So a call tries for the lock a bounded number of times, and sheds instead.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use work::Call;

/// How often a call tries for the lock. Who holds it does so for well under a microsecond, unless it is preempted.
const TRIES: usize = 100;

/// How long after its call a job may be compared. What takes longer is shed: it keeps a release in memory that may have
/// been replaced, and data of persons who may have been erased from the store.
const WITHIN: Duration = Duration::from_secs(30);

/// Jobs on their way to one thread.
#[derive(Debug)]
pub(super) struct Queue<T> {
    /// The most jobs that wait.
    jobs: usize,
    /// The most bytes of those that wait and of the one that is done.
    bytes: usize,
    state: Mutex<State<T>>,
    /// Told when a job is done.
    rest: Condvar,
    /// The thread that does the jobs, once it runs.
    thread: OnceLock<Thread>,
}

#[derive(Debug)]
struct State<T> {
    waiting: VecDeque<Waiting<T>>,
    bytes: usize,
    /// The job that is done, with its bytes.
    running: Option<(Call, usize)>,
    /// Jobs that were done.
    done: u64,
    /// Jobs of this time and before may have persons who were erased, in microseconds since 1970.
    cleared: i64,
    ended: bool,
}

#[derive(Debug)]
struct Waiting<T> {
    job: T,
    bytes: usize,
    since: Instant,
}

/// A job that is to be done. [`Queue::done`] follows.
#[derive(Debug)]
pub(super) struct Taken<T> {
    pub(super) job: T,
    /// Is over once it is too late for the job, or when it is cancelled.
    pub(super) call: Call,
    /// Whether more than half of what may wait still does.
    pub(super) is_behind: bool,
}

impl<T> Queue<T> {
    pub(super) fn new(jobs: usize, bytes: usize) -> Self {
        let state = State {
            waiting: VecDeque::new(),
            bytes: 0,
            running: None,
            done: 0,
            cleared: i64::MIN,
            ended: false,
        };
        Self { jobs, bytes, state: Mutex::new(state), rest: Condvar::new(), thread: OnceLock::new() }
    }

    /// Queues a job of a time, in microseconds since 1970, that takes `bytes`, if there is room now.
    ///
    /// # Errors
    /// The job, if there is none, the queue was cleared since, or it has ended.
    pub(super) fn push(&self, job: T, at: i64, bytes: usize) -> Result<(), T> {
        let Some(mut state) = self.try_lock() else { return Err(job) };
        let is_full = state.waiting.len() >= self.jobs || bytes > self.bytes - state.bytes;
        if state.ended || is_full || at <= state.cleared {
            return Err(job);
        }
        state.bytes += bytes;
        state.waiting.push_back(Waiting { job, bytes, since: Instant::now() });
        drop(state);
        self.wake();
        Ok(())
    }

    /// Says that the calling thread does the jobs.
    pub(super) fn serve(&self) {
        // There is one such thread.
        _ = self.thread.set(std::thread::current());
    }

    /// The next job, once there is one; `None` when the queue has ended.
    pub(super) fn next(&self) -> Option<Taken<T>> {
        loop {
            let mut state = self.lock();
            if state.ended {
                return None;
            }
            if let Some(Waiting { job, bytes, since }) = state.waiting.pop_front() {
                let call = Call::new(Some(since + WITHIN));
                state.running = Some((call.clone(), bytes));
                let is_behind = state.waiting.len() > self.jobs / 2 || state.bytes - bytes > self.bytes / 2;
                return Some(Taken { job, call, is_behind });
            }
            drop(state);
            std::thread::park();
        }
    }

    /// The job that was taken is done and gone.
    pub(super) fn done(&self) {
        let mut state = self.lock();
        if let Some((_, bytes)) = state.running.take() {
            state.bytes -= bytes;
        }
        state.done += 1;
        drop(state);
        self.rest.notify_all();
    }

    /// Takes out the first jobs that wait, as long as they do so for too long or are `outdated`.
    pub(super) fn take_outdated(&self, outdated: impl Fn(&T) -> bool) -> Vec<T> {
        let mut state = self.lock();
        let is_over = |waiting: &Waiting<T>| waiting.since.elapsed() > WITHIN || outdated(&waiting.job);
        let count = state.waiting.iter().take_while(|waiting| is_over(waiting)).count();
        let taken: Vec<Waiting<T>> = state.waiting.drain(..count).collect();
        state.bytes -= taken.iter().map(|waiting| waiting.bytes).sum::<usize>();
        taken.into_iter().map(|waiting| waiting.job).collect()
    }

    /// Cancels the job that is done, and returns those that wait. Jobs of `now` and before are not taken any more.
    pub(super) fn clear(&self, now: i64) -> Vec<T> {
        let mut state = self.lock();
        state.cleared = state.cleared.max(now);
        if let Some((call, _)) = &state.running {
            call.abandon();
        }
        let waiting = std::mem::take(&mut state.waiting);
        state.bytes -= waiting.iter().map(|waiting| waiting.bytes).sum::<usize>();
        waiting.into_iter().map(|waiting| waiting.job).collect()
    }

    /// The same; the queue takes no further job, and its thread ends.
    pub(super) fn end(&self) -> Vec<T> {
        self.lock().ended = true;
        let waiting = self.clear(i64::MAX);
        self.wake();
        waiting
    }

    /// Waits until the job that was taken, if there is one, is done, up to `within`. Returns whether it is. Others may
    /// have been taken since.
    pub(super) fn rests(&self, within: Duration) -> bool {
        let state = self.lock();
        let expected = state.done + u64::from(state.running.is_some());
        let waited = self.rest.wait_timeout_while(state, within, |state| state.done < expected);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.done >= expected
    }

    /// How many jobs wait.
    pub(super) fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn try_lock(&self) -> Option<MutexGuard<'_, State<T>>> {
        for _ in 0..TRIES {
            match self.state.try_lock() {
                Ok(state) => return Some(state),
                Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => std::hint::spin_loop(),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_full_queue_returns_what_it_has_no_room_for() {
        let queue = Queue::new(3, 100);
        assert_eq!(queue.push('a', 0, 60), Ok(()));
        assert_eq!(queue.push('b', 0, 41), Err('b'));
        assert_eq!([queue.push('c', 0, 40), queue.push('d', 0, 1)], [Ok(()), Err('d')]);
        // What is done takes memory until it is gone.
        assert_eq!(queue.next().unwrap().job, 'a');
        assert_eq!(queue.push('e', 0, 1), Err('e'));
        queue.done();
        assert_eq!(
            [queue.push('f', 0, 1), queue.push('g', 0, 1), queue.push('h', 0, 1)],
            [Ok(()), Ok(()), Err('h')]
        );
        assert_eq!(queue.len(), 3);
        // What is larger than all that may wait never does.
        assert_eq!(Queue::new(3, 100).push('i', 0, 101), Err('i'));
    }

    #[test]
    fn who_takes_a_job_is_told_whether_many_wait() {
        let queue = Queue::new(4, 100);
        for bytes in [10, 10, 10, 10] {
            queue.push((), 0, bytes).unwrap();
        }
        let next = || {
            let is_behind = queue.next().unwrap().is_behind;
            queue.done();
            is_behind
        };
        assert_eq!([next(), next(), next(), next()], [true, false, false, false]);
        queue.push((), 0, 40).unwrap();
        queue.push((), 0, 60).unwrap();
        assert!(queue.next().unwrap().is_behind);
    }

    #[test]
    fn clearing_cancels_what_is_done_and_lets_others_in() {
        let queue = Queue::new(2, 100);
        queue.push(1, 0, 50).unwrap();
        let running = queue.next().unwrap();
        queue.push(2, 0, 50).unwrap();
        assert!(running.call.check().is_ok() && !queue.rests(Duration::ZERO));
        assert_eq!(queue.clear(7), [2]);
        assert!(running.call.check().is_err());
        // What was decided before may have persons who were erased.
        assert_eq!(
            [queue.push(2, 7, 1), queue.push(3, 8, 51), queue.push(4, 8, 50)],
            [Err(2), Err(3), Ok(())]
        );
        queue.done();
        assert!(queue.rests(Duration::ZERO));
        assert!(queue.next().unwrap().call.check().is_ok());
    }

    #[test]
    fn what_is_outdated_is_taken_out_from_the_front() {
        let queue = Queue::new(8, 100);
        for job in [1, 2, 3, 1] {
            queue.push(job, 0, 10).unwrap();
        }
        let running = queue.next().unwrap();
        assert_eq!(queue.take_outdated(|job| *job < 3), [2]);
        assert_eq!((queue.len(), queue.take_outdated(|job| *job < 3)), (2, Vec::new()));
        // What it took has room again, and what is done goes on.
        assert!(running.call.check().is_ok());
        assert_eq!([queue.push(4, 0, 71), queue.push(5, 0, 70)], [Err(4), Ok(())]);
        assert_eq!(queue.take_outdated(|_| true), [3, 1, 5]);
    }

    #[test]
    fn a_queue_that_ends_wakes_its_thread_and_takes_nothing_more() {
        let queue = Arc::new(Queue::new(8, 100));
        let (tell, told) = std::sync::mpsc::channel();
        let serving = Arc::clone(&queue);
        let thread = std::thread::spawn(move || {
            serving.serve();
            while let Some(taken) = serving.next() {
                tell.send(taken.job).unwrap();
                serving.done();
            }
        });
        for job in 0..3 {
            queue.push(job, 0, 1).unwrap();
            assert_eq!(told.recv(), Ok(job));
        }
        assert!(queue.rests(Duration::from_mins(1)));
        assert!(queue.end().is_empty());
        thread.join().unwrap();
        assert_eq!(queue.push(3, 0, 1), Err(3));
    }

    #[test]
    fn a_call_does_not_wait_for_who_holds_the_lock() {
        let queue = Queue::new(8, 100);
        let held = queue.lock();
        assert_eq!(queue.push('a', 0, 1), Err('a'));
        drop(held);
        assert_eq!(queue.push('a', 0, 1), Ok(()));
    }
}
