//! Reading what limits of a promoted release look at and the history lacks, while calls go on.
//!
//! A thread of idle priority reads it into a history of its own, and the keeper adds it. Until then limits count too
//! little. What fails is tried again, after longer and longer pauses, as long as a release serves that looks so far
//! back. Where somebody is erased meanwhile, what was read is dropped at once, and read anew.

use std::sync::{Arc, Weak};
use std::thread::{self, Builder};
use std::time::{Duration, Instant};

use chrono::Utc;

use super::keeper::AskError;
use super::pause::Pause;
use super::{Memory, Recorded, lock};
use event::SealedError;
use event::erasure::{Erased, ErasureError};
use history::{Known, Recovered, read_missing};
use offer::Catalog;
use release::Release;
use work::priority::set_idle_priority;
use work::{Panicked, catch_panic};

/// How long it takes at first, and at most, until what failed is tried again.
const RETRY: Duration = Duration::from_secs(30);
const RETRY_MOST: Duration = Duration::from_hours(1);

/// The same where somebody was erased meanwhile.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_MOST: Duration = Duration::from_mins(4);

/// Why what the history lacks is not known.
#[derive(Debug, thiserror::Error)]
enum ReachingError {
    #[error(transparent)]
    Events(#[from] SealedError),
    /// The persons who are being erased must not come back.
    #[error("who is being erased is not known: {0}")]
    Erasures(#[from] ErasureError),
    /// As where a file makes a reader do so.
    #[error("while it was read, {0}")]
    Panicked(#[from] Panicked),
    /// A part of it may be added.
    #[error("it was read, and could not be added: {0}")]
    NotAdded(#[from] AskError),
}

/// What became of a reading.
enum Reached {
    Added(Recovered),
    /// Somebody was erased meanwhile, and may have been in what was read.
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
            reach_all(&memory);
        };
        match Builder::new().name("history-reading".to_owned()).spawn(reach) {
            Ok(_) => *is_reaching = true,
            Err(error) => tracing::error!(%error, "what the history lacks is not read: there is no thread"),
        }
    }

    /// The release that serves, and how much is known, if its limits look further back.
    fn lacks(&self, recorded: &Recorded) -> Option<(Arc<Release>, Known)> {
        let (release, known) = (self.serving()?, (*lock(&recorded.known))?);
        let shortfall = known.shortfall(&self.history, release.catalog(), Utc::now());
        shortfall.map(|_| (release, known))
    }

    fn read(
        &self,
        recorded: &Recorded,
        (catalog, known): (&Catalog, Known),
    ) -> Result<Reached, ReachingError> {
        // Who erases somebody waits for this, so that nothing of them is left in what was read.
        let _reading = lock(&recorded.reading);
        let erased = Arc::clone(&recorded.erased);
        let before = erased.get();
        // Those who were erased here before, and may still be in sealed files: also if that ends while they are read.
        let is_meant = Erased::new(recorded.erasures.open()?, &recorded.pseudonyms);
        let history = &*self.history;
        let missing = read_missing(
            (history, known),
            &recorded.reader,
            catalog,
            recorded.deduplicated,
            Utc::now(),
            &|name| is_meant.has_name(name),
            &|| erased.get() == before,
        )?;
        let Some(missing) = missing else { return Ok(Reached::Again) };
        let recovered = missing.recovered();
        let added = self
            .keeper
            .ask(move |history| (erased.get() == before).then(|| missing.add_to(history, Utc::now())));
        Ok(match added? {
            Some(known) => {
                *lock(&recorded.known) = Some(known);
                Reached::Added(recovered)
            }
            None => Reached::Again,
        })
    }
}

/// Reads until nothing is missing, or the server ends.
fn reach_all(memory: &Weak<Memory>) {
    let began = Instant::now();
    let pauses = || (Pause::new(RETRY, RETRY_MOST), Pause::new(AGAIN, AGAIN_MOST));
    let (mut failed, mut again) = pauses();
    // The releases that it was tried for, and read for, last.
    let (mut tried, mut was_read) = (None, None);
    loop {
        let Some(serving) = memory.upgrade() else { return };
        let Some(recorded) = &serving.recorded else { return };
        // A release that is looked at from now on begins anew.
        let mut is_reaching = lock(&recorded.is_reaching);
        let Some((release, known)) = serving.lacks(recorded) else {
            *is_reaching = false;
            serving.metrics.history.incomplete.set(0);
            return;
        };
        // It may have been set to 0 for the release before.
        serving.metrics.history.incomplete.set(1);
        drop(is_reaching);
        let number = release.number();
        if tried.replace(number) != Some(number) {
            (failed, again) = pauses();
        }
        let read = catch_panic(|| serving.read(recorded, (release.catalog(), known)));
        drop((release, serving));
        let (pause, trouble) = match read.unwrap_or_else(|panicked| Err(panicked.into())) {
            Ok(Reached::Added(recovered)) => {
                tracing::info!(
                    release = number,
                    ?recovered,
                    took = ?began.elapsed(),
                    "the history reaches as far back as the limits of the release look"
                );
                // Once is enough for a release.
                if was_read.replace(number) != Some(number) {
                    continue;
                }
                (failed.take(), "it was read, and is not enough".to_owned())
            }
            Ok(Reached::Again) => (again.take(), "somebody was erased while it was read".to_owned()),
            Err(ReachingError::NotAdded(AskError::Ended)) => return,
            Err(error @ ReachingError::NotAdded(AskError::Panicked(_))) => {
                // Adding it once more would count twice what was added. `is_reaching` stays, so that it is not begun
                // again.
                tracing::error!(
                    release = number,
                    %error,
                    "what the history lacks is added in part; limits count too little until this server is \
                     restarted"
                );
                return;
            }
            Err(error) => (failed.take(), error.to_string()),
        };
        tracing::warn!(
            release = number,
            error = trouble,
            again_after = ?pause,
            "what the history lacks is not read yet; limits count too little, and it is tried again"
        );
        rest(memory, number, pause);
    }
}

/// Waits for `pause`, or until another release than that of this number serves, or the server ends.
fn rest(memory: &Weak<Memory>, number: u64, pause: Duration) {
    let until = Instant::now() + pause;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let release = memory.upgrade().and_then(|memory| memory.serving());
        if left.is_zero() || release.is_none_or(|release| release.number() != number) {
            return;
        }
        thread::sleep(left.min(RETRY));
    }
}
