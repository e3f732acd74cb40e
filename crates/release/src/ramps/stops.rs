//! Stops that could not be written, because the store was away or no release is loaded yet.
//!
//! The server that was asked tries again until the stop is done or withdrawn. It keeps it in a file of its data
//! directory, if it has one, so that it also tries after a restart ([`super::kept`]); else it logs what it gives up
//! when it ends. The caller of the stop has an error by then. There is no other way to stop an experiment: the store
//! alone says what serves everywhere.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use experiment::State;

use super::kept::{Kept, KeptStop};
use super::patience::{Patience, may_pass};
use super::{Ramps, lock};
use crate::records::{Change, Order, PendingStop};
use crate::{RegistryError, now};
use work::Call;

/// The longest wait before a pending stop is tried again, where the store was away.
const PATIENCE: Duration = Duration::from_secs(5);

/// The most pending stops: more than a policy may have experiments. While the store is away it may not be known which
/// there are.
pub(super) const MOST_PENDING: usize = 256;

/// How long a stop is tried again, as a message has it.
const UNTIL_DONE: &str = "it is done or withdrawn, also after a restart";
const UNTIL_THE_END: &str = "it is done, withdrawn, or the server ends";

/// The pending stops by experiment: at most [`MOST_PENDING`].
#[derive(Debug, Default)]
pub(super) struct Stops {
    pending: BTreeMap<String, Pending>,
    /// `None`: they are in memory alone.
    kept: Option<Kept>,
    /// Whether the file has all of them.
    is_kept: bool,
}

#[derive(Debug)]
struct Pending {
    change: Change,
    since: String,
    attempts: u32,
    /// Empty: it was not tried since the server started.
    error: String,
    /// Whether the experiment may be stopped without this server knowing.
    may_be_stopped: bool,
    patience: Patience,
    tries: Arc<Tries>,
}

/// What a withdrawal shares with the attempts at a stop.
#[derive(Debug, Default)]
struct Tries {
    /// Abandoned by a withdrawal.
    call: Call,
    /// The release in which the experiment is stopped. Held during an attempt.
    stopped_in: Mutex<Option<u64>>,
}

impl Pending {
    fn new(change: Change, since: String) -> Self {
        Self {
            change,
            since,
            attempts: 0,
            error: String::new(),
            may_be_stopped: false,
            patience: Patience::default(),
            tries: Arc::default(),
        }
    }

    /// Notes that an attempt failed, and when the next one is due.
    fn failed(&mut self, error: &RegistryError, may_be_stopped: bool) {
        let (experiment, by) = (&self.change.experiment, &self.change.author);
        let is_new = self.patience.failed(error, PATIENCE);
        if may_pass(error) {
            tracing::debug!(experiment, %error, "the pending stop is tried again");
        } else if is_new {
            tracing::error!(experiment, by, %error, "the experiment cannot be stopped");
        }
        self.attempts = self.attempts.saturating_add(1);
        (self.error, self.may_be_stopped) = (error.to_string(), may_be_stopped);
    }
}

impl Stops {
    /// None but those that an earlier process left in this file.
    pub(super) fn left_in(kept: Option<Kept>) -> Self {
        let mut stops = Self { pending: BTreeMap::new(), kept, is_kept: false };
        let left = stops.kept.as_ref().map(Kept::read).unwrap_or_default();
        stops.is_kept = stops.kept.is_some();
        for KeptStop { experiment, author, reason, since } in left {
            tracing::warn!(
                experiment,
                by = author,
                since,
                "a stop of the experiment was pending when the server ended; it is tried again"
            );
            let change = Change { experiment: experiment.clone(), order: Order::Stop, author, reason };
            stops.pending.insert(experiment, Pending::new(change, since));
        }
        stops
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    /// The pending stop of an experiment.
    pub(super) fn pending(&self, id: &str) -> Option<PendingStop> {
        self.pending.get(id).map(|pending| PendingStop {
            author: pending.change.author.clone(),
            reason: pending.change.reason.clone(),
            since: pending.since.clone(),
            attempts: pending.attempts,
            error: pending.error.clone(),
            may_be_stopped: pending.may_be_stopped,
        })
    }

    /// Writes the file anew, after a stop has come or gone.
    fn keep(&mut self) {
        let Some(kept) = &self.kept else { return };
        let stop = |(experiment, pending): (&String, &Pending)| KeptStop {
            experiment: experiment.clone(),
            author: pending.change.author.clone(),
            reason: pending.change.reason.clone(),
            since: pending.since.clone(),
        };
        let written = kept.write(self.pending.iter().map(stop).collect());
        self.is_kept = written.is_ok();
        if let Err(error) = written {
            tracing::error!(
                %error,
                "the pending stops of experiments cannot be kept in the data directory; a restart forgets them, or \
                 tries those that the file has"
            );
        }
    }

    fn until(&self) -> &'static str {
        if self.is_kept { UNTIL_DONE } else { UNTIL_THE_END }
    }
}

impl Ramps {
    pub(super) fn stops(&self) -> std::sync::MutexGuard<'_, Stops> {
        lock(&self.shared.stops)
    }

    /// Remembers a stop that cannot be tried yet, since no release is loaded. Returns the error that its caller gets.
    #[must_use]
    pub fn stop_later(&self, change: &Change) -> RegistryError {
        self.remember(change, "no release is loaded yet".to_owned(), 0)
    }

    /// Remembers a stop that failed for what the store said; returns the error that its caller gets.
    pub(super) fn pend(&self, change: &Change, error: RegistryError) -> RegistryError {
        if self.needs_no_stop(&change.experiment) {
            return error;
        }
        let cause = if let RegistryError::Store(error) = &error {
            error.to_string()
        } else if let RegistryError::NoSpace(message) = &error {
            message.clone()
        } else {
            return error;
        };
        self.remember(change, cause, 1)
    }

    /// Whether the experiment is not there or stopped, as far as this server knows what is current.
    fn needs_no_stop(&self, id: &str) -> bool {
        let Some(view) = self.known_view() else { return false };
        // It follows `CURRENT`, and may know of a later promotion whose experiments it has not looked at.
        let followed = self.parts().deployer.state().borrow().current.as_ref().map(|now| now.sequence);
        let is_of_now = followed.is_none_or(|sequence| sequence <= view.current.sequence);
        is_of_now && view.standing(id).ok().is_none_or(|standing| standing.outline.state == State::Stopped)
    }

    fn remember(&self, change: &Change, cause: String, attempts: u32) -> RegistryError {
        let id = &change.experiment;
        let may_be_stopped = self.may_be_stopped(id);
        let mut stops = self.stops();
        if stops.len() >= MOST_PENDING && !stops.pending.contains_key(id) {
            let message = format!(
                "stops of {MOST_PENDING} experiments are pending on this server, and it remembers no more; stop \
                 experiment `{id}` again later"
            );
            return RegistryError::Precondition(message);
        }
        let pending = Pending::new(change.clone(), now());
        // The first call says since when; the last one who and why. An attempt may be under way for the first.
        let (since, tries) = match stops.pending.remove(id) {
            Some(Pending { since, tries, .. }) => (since, tries),
            None => (pending.since.clone(), Arc::default()),
        };
        let pending = Pending { since, tries, attempts, error: cause.clone(), may_be_stopped, ..pending };
        stops.pending.insert(id.clone(), pending);
        stops.keep();
        self.count(&stops);
        let until = stops.until();
        drop(stops);
        tracing::error!(
            experiment = id,
            by = change.author,
            error = cause,
            "the experiment could not be stopped; the stop is tried again"
        );
        let outcome = if may_be_stopped {
            format!("it is not known whether experiment `{id}` is stopped")
        } else {
            format!("nothing has moved: experiment `{id}` goes on")
        };
        RegistryError::StopPending { outcome, cause, until }
    }

    /// Forgets the pending stop of an experiment that is stopped.
    pub(super) fn settle(&self, id: &str) {
        self.forget_stop(&mut self.stops(), id);
    }

    fn forget_stop(&self, stops: &mut Stops, id: &str) {
        if stops.pending.remove(id).is_some() {
            stops.keep();
            self.count(stops);
        }
    }

    /// Gives up a stop that could not be written yet. Waits for an attempt that is under way. The answer says whether
    /// the stop may be written all the same.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`] where none is pending here; [`RegistryError::Precondition`] where an attempt has
    /// stopped the experiment.
    pub fn withdraw_stop(&self, id: &str, author: &str) -> Result<PendingStop, RegistryError> {
        let mut stops = self.stops();
        let Some(told) = stops.pending(id) else {
            let message = format!("no stop of experiment `{id}` is pending on this server");
            return Err(RegistryError::NotFound(message));
        };
        let tries = stops.pending.get(id).map(|pending| Arc::clone(&pending.tries)).unwrap_or_default();
        self.forget_stop(&mut stops, id);
        drop(stops);
        drop(tries.call.abandon_on_drop());
        let mut stopped_in = *lock(&tries.stopped_in);
        let mut may_be_stopped = self.may_be_stopped(id);
        // What could not be read before may be readable by now.
        if may_be_stopped && let Ok(view) = self.read_view() {
            self.keep_unpromoted(&view.current);
            let is_stopped = view.standing(id).is_ok_and(|standing| standing.outline.state == State::Stopped);
            stopped_in = stopped_in.or(is_stopped.then_some(view.current.release));
            // In a directory, a write is over once it has failed.
            may_be_stopped = self.parts().store.local_root().is_none() && self.may_be_stopped(id);
        }
        if let Some(release) = stopped_in {
            let message = format!("experiment `{id}` is stopped already, in release {release}");
            return Err(RegistryError::Precondition(message));
        }
        tracing::warn!(
            experiment = id,
            by = author,
            may_be_stopped,
            "the pending stop of the experiment is withdrawn"
        );
        Ok(PendingStop { may_be_stopped, ..told })
    }

    /// Tries pending stops again. A server calls it at regular intervals, from one thread.
    pub fn retry_stops(&self) {
        let due: Vec<(Change, Arc<Tries>)> = {
            let stops = self.stops();
            let due = stops.pending.values().filter(|pending| pending.patience.may_try());
            due.map(|pending| (pending.change.clone(), Arc::clone(&pending.tries))).collect()
        };
        for (change, tries) in due {
            if self.shared.is_leaving.load(Ordering::SeqCst) {
                return;
            }
            let Change { experiment, author, reason, .. } = &change;
            let by = (author.as_str(), reason.as_str());
            let mut stopped_in = lock(&tries.stopped_in);
            let done = self.step(experiment, by, &tries.call, |standing| standing.ordered(Order::Stop));
            *stopped_in = done.as_ref().ok().map(|done| done.current.release);
            drop(stopped_in);
            // Something else may be missing, and the experiment still runs.
            let is_gone = matches!(done, Err(RegistryError::NotFound(_)))
                && self.read_view().is_ok_and(|view| view.standing(experiment).is_err());
            if done.is_ok() {
                tracing::warn!(
                    experiment,
                    by = author,
                    "the experiment is stopped, as was asked when it could not be written"
                );
            }
            let may_be_stopped = self.may_be_stopped(experiment);
            let mut stops = self.stops();
            // A withdrawal may have come meanwhile, and another stop after it.
            let Some(pending) =
                stops.pending.get_mut(experiment).filter(|found| Arc::ptr_eq(&found.tries, &tries))
            else {
                continue;
            };
            match done {
                Ok(_) => self.forget_stop(&mut stops, experiment),
                Err(error) if is_gone => {
                    tracing::warn!(experiment, %error, "the pending stop is over: the experiment is gone");
                    self.forget_stop(&mut stops, experiment);
                }
                Err(error) => pending.failed(&error, may_be_stopped),
            }
        }
    }

    /// Begins no attempt any more: the server is about to end.
    pub fn leave(&self) {
        self.shared.is_leaving.store(true, Ordering::SeqCst);
    }

    /// Logs what a server that ends leaves undone. From now on the data directory may belong to another process.
    pub fn give_up(&self) {
        self.leave();
        let mut stops = self.stops();
        if let Some(kept) = &mut stops.kept {
            kept.end();
        }
        for (experiment, pending) in &stops.pending {
            let (by, since) = (&pending.change.author, &pending.since);
            let is_under_way = pending.tries.stopped_in.try_lock().is_err();
            let may_be_stopped = pending.may_be_stopped || is_under_way;
            if stops.is_kept {
                tracing::error!(
                    experiment,
                    by,
                    since,
                    may_be_stopped,
                    "the server ends before it could stop the experiment; it tries again when it starts with this data \
                     directory"
                );
            } else {
                tracing::error!(
                    experiment,
                    by,
                    since,
                    may_be_stopped,
                    "the server ends, and gives up the stop of the experiment: stop it again if it still runs"
                );
            }
        }
    }

    pub(super) fn count(&self, stops: &Stops) {
        self.parts().metrics.experiments.stops_pending.set(stops.len() as i64);
    }
}
