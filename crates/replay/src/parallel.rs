//! Many records on all cores, with few of them in memory.

use std::error::Error;
use std::fmt;
use std::io;
use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, Scope, ScopedJoinHandle};

use document::plural;
use event::proto::DecisionRecord;
use work::FOREIGN_STACK;

/// The records of a batch.
const BATCH: usize = 256;

/// Batches per thread that wait for it.
const WAITING: usize = 2;

/// Records that go to a thread together.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Its place among the batches of the source, from 0 on.
    pub number: u64,
    /// In the order of the source.
    pub records: Vec<DecisionRecord>,
}

/// Why threads could not do their work.
#[derive(Debug, PartialEq, Eq)]
pub enum ParallelError<E> {
    /// The source of the records has failed.
    Source(E),
    /// There were not enough threads.
    Threads(ThreadError),
}

/// The operating system refused a thread.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot start {}: {reason}; with fewer it may go", plural(*threads, "thread"))]
pub struct ThreadError {
    threads: usize,
    reason: String,
}

impl<E: fmt::Display> fmt::Display for ParallelError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(error) => error.fmt(f),
            Self::Threads(error) => error.fmt(f),
        }
    }
}

impl<E: Error> Error for ParallelError<E> {}

/// Passes the records of `source` to threads, each with a state of its own, and returns the states. `progress` gets
/// the number of records that were passed on, after each batch.
///
/// # Errors
/// That of the source; what was passed on before is lost. When the operating system refuses a thread; nothing was asked
/// of the source then.
pub(crate) fn in_parallel<S: Send, E>(
    source: impl FnOnce(&mut dyn FnMut(DecisionRecord) -> ControlFlow<()>) -> Result<(), E>,
    threads: usize,
    begin: impl Fn() -> S + Sync,
    add: impl Fn(&mut S, Vec<DecisionRecord>) + Sync,
    progress: impl FnMut(u64),
) -> Result<Vec<S>, ParallelError<E>> {
    in_numbered_batches(source, threads, begin, |state, batch| add(state, batch.records), progress)
}

/// As [`in_parallel`]; a thread also learns which batch it has.
///
/// # Errors
/// As [`in_parallel`].
pub(crate) fn in_numbered_batches<S: Send, E>(
    source: impl FnOnce(&mut dyn FnMut(DecisionRecord) -> ControlFlow<()>) -> Result<(), E>,
    threads: usize,
    begin: impl Fn() -> S + Sync,
    add: impl Fn(&mut S, Batch) + Sync,
    mut progress: impl FnMut(u64),
) -> Result<Vec<S>, ParallelError<E>> {
    let threads = thread_count(threads);
    let (batches, taken) = sync_channel(threads * WAITING);
    let taken = Mutex::new(taken);
    let work = |_| {
        let mut state = begin();
        while let Some(batch) = next(&taken) {
            add(&mut state, batch);
        }
        state
    };
    thread::scope(|scope| {
        // Without the sender, which is dropped here, those that have started end.
        let batches = batches;
        let workers = start(scope, threads, &work).map_err(ParallelError::Threads)?;
        let read = send(source, &batches, &mut progress);
        drop(batches);
        let states = joined(workers);
        read.map(|()| states).map_err(ParallelError::Source)
    })
}

/// How many threads were asked for; 0 is one per core.
pub(crate) fn thread_count(threads: usize) -> usize {
    match threads {
        0 => thread::available_parallelism().map_or(1, std::num::NonZero::get),
        some => some,
    }
}

/// Starts threads with the stack that graphs need; each gets its number.
///
/// # Errors
/// When the operating system refuses one. Those before it go on, and are to be told to end.
pub(crate) fn start<'s, S: Send + 's>(
    scope: &'s Scope<'s, '_>,
    threads: usize,
    work: &'s (impl Fn(usize) -> S + Sync),
) -> Result<Vec<ScopedJoinHandle<'s, S>>, ThreadError> {
    let start =
        |number| thread::Builder::new().stack_size(FOREIGN_STACK).spawn_scoped(scope, move || work(number));
    let started: io::Result<_> = (0..threads).map(start).collect();
    started.map_err(|error| ThreadError { threads, reason: error.to_string() })
}

/// What the threads come to, in their order; a panic of one goes on here.
pub(crate) fn joined<S>(threads: Vec<ScopedJoinHandle<'_, S>>) -> Vec<S> {
    let joined = threads.into_iter().map(|thread| match thread.join() {
        Ok(state) => state,
        Err(panic) => std::panic::resume_unwind(panic),
    });
    joined.collect()
}

fn next(taken: &Mutex<Receiver<Batch>>) -> Option<Batch> {
    taken.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

fn send<E>(
    source: impl FnOnce(&mut dyn FnMut(DecisionRecord) -> ControlFlow<()>) -> Result<(), E>,
    batches: &SyncSender<Batch>,
    progress: &mut dyn FnMut(u64),
) -> Result<(), E> {
    let (mut records, mut number) = (Vec::with_capacity(BATCH), 0);
    let read = source(&mut |record| {
        records.push(record);
        if records.len() < BATCH {
            return ControlFlow::Continue(());
        }
        let full = std::mem::replace(&mut records, Vec::with_capacity(BATCH));
        if batches.send(Batch { number, records: full }).is_err() {
            // All threads have panicked.
            return ControlFlow::Break(());
        }
        number += 1;
        progress(number * BATCH as u64);
        ControlFlow::Continue(())
    });
    // Fails only if all threads have panicked.
    let _ = batches.send(Batch { number, records });
    read
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(
        count: u64,
    ) -> impl FnOnce(&mut dyn FnMut(DecisionRecord) -> ControlFlow<()>) -> Result<(), String> {
        move |emit| {
            for number in 0..count {
                let record = DecisionRecord { release: number, ..DecisionRecord::default() };
                assert_eq!(emit(record), ControlFlow::Continue(()));
            }
            if count == 13 { Err("the thirteenth".to_owned()) } else { Ok(()) }
        }
    }

    fn sum(count: u64, threads: usize) -> Result<u64, ParallelError<String>> {
        let add = |sum: &mut u64, batch: Vec<DecisionRecord>| {
            *sum += batch.iter().map(|record| record.release).sum::<u64>();
        };
        Ok(in_parallel(records(count), threads, || 0, add, |_| {})?.into_iter().sum())
    }

    #[test]
    fn every_record_is_taken_once() {
        for threads in [1, 2, 7] {
            for count in [0, 1, 255, 256, 257, 10_000_u64] {
                assert_eq!(sum(count, threads), Ok(count * count.saturating_sub(1) / 2));
            }
        }
    }

    #[test]
    fn an_error_of_the_source_ends_it() {
        assert_eq!(sum(13, 2), Err(ParallelError::Source("the thirteenth".to_owned())));
    }
}
