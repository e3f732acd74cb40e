//! The threads that decode parts of files. None of them waits for another, so that the merging thread
//! can wait for any of them. What is decoded is handed over in batches: most of it is still in the cache then.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};

use bytes::BytesMut;
use work::priority::inherit_idle_priority;

use super::Query;
use super::source::Part;
use crate::columns::Entry;
use crate::sealed::SealedError;

/// One is not enough for a million decisions in two seconds, and more would take cores from calls.
const THREADS: usize = 2;

/// A batch of decisions; `None` behind the last of a part.
type Decoded = Result<Option<Vec<Entry>>, SealedError>;

/// Where parts are handed in to be decoded.
pub(super) struct Decoder(Sender<(Part, Sender<Decoded>)>);

/// A part that is being decoded.
pub(super) struct Pending(Receiver<Decoded>);

impl Decoder {
    /// Has a part decoded.
    pub(super) fn start(&self, part: Part) -> Pending {
        let (answer, answered) = channel();
        // Without threads there is no answer, which is an error then.
        let _ = self.0.send((part, answer));
        Pending(answered)
    }
}

impl Pending {
    /// Waits for the next batch of decisions; `None` behind the last.
    pub(super) fn wait(&self) -> Decoded {
        self.0
            .recv()
            .unwrap_or_else(|_| Err(SealedError::damaged("the store", "a thread that decodes has ended")))
    }
}

/// Runs `work` with threads that decode. They end with it.
pub(super) fn run<T>(
    query: &Query,
    work: impl FnOnce(&Decoder) -> Result<T, SealedError>,
) -> Result<T, SealedError> {
    let (sender, receiver) = channel::<(Part, Sender<Decoded>)>();
    let (receiver, is_over) = (Mutex::new(receiver), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for number in 0..THREADS {
            let serve = || {
                inherit_idle_priority();
                let mut buffer = BytesMut::new();
                loop {
                    let next = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((part, answer)) = next else { return };
                    if !is_over.load(Ordering::Relaxed) {
                        // The receiver may be gone.
                        let hand_over = |decoded| _ = answer.send(decoded);
                        let loaded = part.load(query, &mut buffer, &mut |batch| hand_over(Ok(Some(batch))));
                        hand_over(loaded.map(|()| None));
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
