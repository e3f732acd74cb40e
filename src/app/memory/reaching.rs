//! Reading what limits of a promoted release look at and the history lacks, while calls go on.
//!
//! A thread of idle priority reads it into a history of its own, and the keeper adds it. Until then limits count too
//! little. What fails is tried again as long as a release serves that looks so far back.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::thread::{self, Builder};
use std::time::{Duration, Instant};

use chrono::Utc;

use super::{Memory, Recorded, lock};
use event::SealedError;
use event::erasure::{Erased, ErasureError};
use history::{Known, Recovered, read_missing};
use offer::Catalog;
use release::Snapshot;
use work::catch_panic;
use work::priority::set_idle_priority;

/// How long it takes until what failed is tried again.
const RETRY: Duration = Duration::from_secs(30);

/// Why what the history lacks is not known.
#[derive(Debug, thiserror::Error)]
enum ReachingError {
    #[error(transparent)]
    Events(#[from] SealedError),
    /// The persons who are being erased must not come back.
    #[error("who is being erased is not known: {0}")]
    Erasures(#[from] ErasureError),
    #[error("the thread of the history has ended")]
    Ended,
}

/// What became of a reading.
enum Reached {
    Added(Recovered),
    /// Somebody was erased meanwhile, and may be in what was read.
    Again,
}

impl Memory {
    /// Has what the history lacks read, unless it is being read.
    pub(super) fn reach_back(self: &Arc<Self>) {
        let Some(recorded) = &self.recorded else { return };
        let mut is_reaching = lock(&recorded.is_reaching);
        if *is_reaching {
            return;
        }
        let memory = Arc::downgrade(self);
        let reach = move || {
            set_idle_priority();
            // It panics only where a file made a reader do so.
            while let Err(panicked) = catch_panic(|| reach_all(&memory)) {
                tracing::error!(%panicked, "reading what the history lacks panicked; it is tried again");
                thread::sleep(RETRY);
            }
        };
        match Builder::new().name("history-reading".to_owned()).spawn(reach) {
            Ok(_) => *is_reaching = true,
            Err(error) => tracing::error!(%error, "what the history lacks is not read: there is no thread"),
        }
    }

    /// The release that serves, and how much is known, if its limits look further back.
    fn lacks(&self, recorded: &Recorded) -> Option<(Arc<Snapshot>, Known)> {
        let (snapshot, known) = (self.publisher.serving()?, (*lock(&recorded.known))?);
        let shortfall = known.shortfall(&self.history, snapshot.release.catalog(), Utc::now());
        shortfall.map(|_| (snapshot, known))
    }

    fn read(
        &self,
        recorded: &Recorded,
        (catalog, known): (&Catalog, Known),
    ) -> Result<Reached, ReachingError> {
        let erased = Arc::clone(&recorded.erased);
        let before = erased.load(Ordering::Relaxed);
        // Those who were erased here before, and may still be in sealed files: also if that ends while they are read.
        let mut markers = recorded.erasures.open()?;
        let (history, now) = (&*self.history, Utc::now());
        let missing = read_missing((history, known), &recorded.reader, catalog, recorded.deduplicated, now)?;
        markers.extend(recorded.erasures.open()?);
        let is_meant = Erased::new(markers, &recorded.pseudonyms);
        missing.forget(|name| is_meant.has_name(name));
        let recovered = missing.recovered();
        let added = self.keeper.ask(move |history| {
            (erased.load(Ordering::Relaxed) == before).then(|| missing.add_to(history, Utc::now()))
        });
        match added.ok_or(ReachingError::Ended)? {
            Some(known) => {
                *lock(&recorded.known) = Some(known);
                Ok(Reached::Added(recovered))
            }
            None => Ok(Reached::Again),
        }
    }
}

/// Reads until nothing is missing, or the server ends.
fn reach_all(memory: &Weak<Memory>) {
    let began = Instant::now();
    let (mut was_read, mut is_told) = (false, false);
    loop {
        let Some(memory) = memory.upgrade() else { return };
        let Some(recorded) = &memory.recorded else { return };
        // A release that is looked at from now on begins anew.
        let mut is_reaching = lock(&recorded.is_reaching);
        let Some((snapshot, known)) = memory.lacks(recorded) else {
            *is_reaching = false;
            memory.metrics.history.incomplete.set(0);
            return;
        };
        drop(is_reaching);
        let trouble = match memory.read(recorded, (snapshot.release.catalog(), known)) {
            Ok(Reached::Added(recovered)) => {
                tracing::info!(
                    release = snapshot.release.number(),
                    ?recovered,
                    took = ?began.elapsed(),
                    "the history reaches as far back as the limits of the release look"
                );
                // Once is enough unless another release serves by now.
                std::mem::replace(&mut was_read, true).then(|| "it was read, and is not enough".to_owned())
            }
            Ok(Reached::Again) => continue,
            Err(error) => Some(error.to_string()),
        };
        drop((snapshot, memory));
        if let Some(error) = trouble {
            if !std::mem::replace(&mut is_told, true) {
                tracing::warn!(
                    error,
                    "what the history lacks cannot be read; limits count too little, and it is tried again"
                );
            }
            thread::sleep(RETRY);
        }
    }
}
