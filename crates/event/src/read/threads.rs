//! The threads that decode parts of files. None of them waits for another, so that the merging thread
//! can wait for any of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};

use work::priority::inherit_idle_priority;

use super::source::Part;
use crate::sealed::SealedError;

/// One is not enough for a million decisions in two seconds, and more would take cores from calls.
const THREADS: usize = 2;

type Decoded<D> = Result<D, SealedError>;

/// Where parts are handed in to be decoded as `D`.
pub(super) struct Decoder<D>(Sender<(Part, Sender<Decoded<D>>)>);

/// A part that is being decoded.
pub(super) struct Pending<D>(Receiver<Decoded<D>>);

impl<D> Decoder<D> {
    /// Has a part decoded.
    pub(super) fn start(&self, part: Part) -> Pending<D> {
        let (answer, answered) = channel();
        // Without threads there is no answer, which is an error then.
        let _ = self.0.send((part, answer));
        Pending(answered)
    }
}

impl<D> Pending<D> {
    /// Waits for what is decoded.
    pub(super) fn wait(self) -> Decoded<D> {
        self.0
            .recv()
            .unwrap_or_else(|_| Err(SealedError::damaged("the store", "a thread that decodes has ended")))
    }
}

/// Runs `work` with threads that decode parts, each by `load`. They end with it.
pub(super) fn run<D: Send, T>(
    load: &(dyn Fn(&Part) -> Decoded<D> + Sync),
    work: impl FnOnce(&Decoder<D>) -> Result<T, SealedError>,
) -> Result<T, SealedError> {
    let (sender, receiver) = channel::<(Part, Sender<Decoded<D>>)>();
    let (receiver, is_over) = (Mutex::new(receiver), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for number in 0..THREADS {
            let serve = || {
                inherit_idle_priority();
                loop {
                    let next = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((part, answer)) = next else { return };
                    if !is_over.load(Ordering::Relaxed) {
                        // The receiver may be gone.
                        let _ = answer.send(load(&part));
                    }
                }
            };
            let thread = std::thread::Builder::new().name(format!("read-{number}"));
            let started = thread.spawn_scoped(scope, serve);
            if let Err(source) = started
                && number == 0
            {
                return Err(SealedError::Io { path: "a thread that decodes".to_owned(), source });
            }
        }
        let decoder = Decoder(sender);
        let done = work(&decoder);
        is_over.store(true, Ordering::Relaxed);
        done
    })
}
