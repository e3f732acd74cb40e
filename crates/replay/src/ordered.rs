//! What threads make of batches, taken in the order of the batches.
//!
//! A sum of floats depends on the order of its terms. So that it does not depend on the threads, what they make waits
//! here for what comes before it.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// What is added to `sum` in order.
#[derive(Debug)]
pub(crate) struct Ordered<T, S> {
    state: Mutex<State<T, S>>,
    moved: Condvar,
    /// How many batches beyond the next may wait. A thread that is farther ahead waits with what it has.
    ahead: u64,
}

#[derive(Debug)]
struct State<T, S> {
    /// The number of the batch that is taken next.
    next: u64,
    /// What is there before its turn.
    early: BTreeMap<u64, T>,
    sum: S,
    /// Whether a thread panicked: a batch may never come.
    is_broken: bool,
}

impl<T, S> Ordered<T, S> {
    pub(crate) fn new(sum: S, ahead: usize) -> Self {
        let state = State { next: 0, early: BTreeMap::new(), sum, is_broken: false };
        Self { state: Mutex::new(state), moved: Condvar::new(), ahead: ahead as u64 }
    }

    /// Makes something of the batch with this number, and takes it once all batches before have been. Each batch from 0
    /// on must come, and come once.
    pub(crate) fn add(&self, number: u64, make: impl FnOnce() -> T, take: impl Fn(&mut S, T)) {
        let _watch = Watch(self);
        let made = make();
        let mut state = self.lock();
        // The thread with the next batch never waits here, so all others come to their turn.
        while number > state.next + self.ahead && !state.is_broken {
            state = self.moved.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.early.insert(number, made);
        let State { next, early, sum, .. } = &mut *state;
        while let Some(made) = early.remove(next) {
            take(sum, made);
            *next += 1;
        }
        drop(state);
        self.moved.notify_all();
    }

    /// The sum of all batches.
    pub(crate) fn into_sum(self) -> S {
        self.state.into_inner().unwrap_or_else(PoisonError::into_inner).sum
    }

    fn lock(&self) -> MutexGuard<'_, State<T, S>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells the others if its thread panics: they must not wait for it.
struct Watch<'a, T, S>(&'a Ordered<T, S>);

impl<T, S> Drop for Watch<'_, T, S> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.lock().is_broken = true;
            self.0.moved.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use super::*;

    #[test]
    fn batches_are_taken_in_their_order_and_few_wait() {
        let ordered = Ordered::new(Vec::new(), 3);
        let (taken, made) = (AtomicU64::new(0), AtomicU64::new(0));
        let largest = AtomicU64::new(0);
        thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    loop {
                        let number = taken.fetch_add(1, Ordering::SeqCst);
                        if number >= 200 {
                            return;
                        }
                        let make = || {
                            // Every seventh is late, so that those behind it have to wait.
                            if number.is_multiple_of(7) {
                                thread::sleep(Duration::from_millis(3));
                            }
                            made.fetch_add(1, Ordering::SeqCst);
                            number
                        };
                        ordered.add(number, make, |sum: &mut Vec<u64>, number| {
                            let early = made.load(Ordering::SeqCst) - sum.len() as u64;
                            largest.fetch_max(early, Ordering::SeqCst);
                            sum.push(number);
                        });
                    }
                });
            }
        });
        assert_eq!(ordered.into_sum(), (0..200).collect::<Vec<u64>>());
        // Three wait here, and one with each thread.
        assert!(largest.into_inner() <= 3 + 6 + 1);
    }

    #[test]
    fn nobody_waits_for_a_thread_that_panicked() {
        let ordered = Ordered::new(0, 0);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| ordered.add(1, || 1, |sum: &mut u64, one| *sum += one));
            let broken = catch_unwind(AssertUnwindSafe(|| {
                ordered.add(0, || panic!("it cannot be made"), |sum: &mut u64, one| *sum += one);
            }));
            assert!(broken.is_err());
            waiting.join().unwrap();
        });
        assert_eq!(ordered.into_sum(), 0);
    }
}
