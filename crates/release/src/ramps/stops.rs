//! Stops that could not be written, because the store was away.
//!
//! The server that was asked tries again until the stop is done or withdrawn. It remembers it in memory: when it ends,
//! it logs what it gives up. The caller of the stop has an error by then. There is no other way to stop an experiment:
//! the store alone says what serves everywhere.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use experiment::State;

use super::{Ramps, lock};
use crate::records::{Change, Order, PendingStop};
use crate::{RegistryError, StoreError, now};
use work::Call;

/// The longest wait before a pending stop is tried again, where the store was away.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest wait after an error that time alone does not mend.
const LONG_PATIENCE: Duration = Duration::from_mins(5);

/// The pending stops by experiment: at most as many as a policy may have experiments.
#[derive(Debug, Default)]
pub(super) struct Stops(BTreeMap<String, Pending>);

#[derive(Debug)]
struct Pending {
    change: Change,
    since: String,
    attempts: u32,
    error: String,
    again: Instant,
    patience: Duration,
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
    /// Notes that an attempt failed, and when the next one is due.
    fn failed(&mut self, error: &RegistryError) {
        let text = error.to_string();
        let (experiment, by) = (&self.change.experiment, &self.change.author);
        let is_damaged = matches!(error, RegistryError::Store(StoreError::Damaged { .. }));
        let is_away = !is_damaged
            && matches!(
                error,
                RegistryError::Store(_) | RegistryError::NoSpace(_) | RegistryError::Overtaken { .. }
            );
        if is_away {
            tracing::debug!(experiment, error = text, "the pending stop is tried again");
            self.patience = PATIENCE.min(2 * self.patience + Duration::from_millis(100));
        } else {
            if text != self.error {
                tracing::error!(experiment, by, error = text, "the experiment cannot be stopped");
            }
            self.patience = LONG_PATIENCE.min(PATIENCE.max(2 * self.patience));
        }
        self.attempts = self.attempts.saturating_add(1);
        self.error = text;
        self.again = Instant::now() + self.patience;
    }
}

impl Stops {
    /// The pending stop of an experiment.
    pub(super) fn pending(&self, id: &str) -> Option<PendingStop> {
        self.0.get(id).map(|pending| PendingStop {
            author: pending.change.author.clone(),
            reason: pending.change.reason.clone(),
            since: pending.since.clone(),
            attempts: pending.attempts,
            error: pending.error.clone(),
        })
    }
}

impl Ramps {
    pub(super) fn stops(&self) -> std::sync::MutexGuard<'_, Stops> {
        lock(&self.shared.stops)
    }

    /// Remembers a stop that failed for what the store said; returns the error that its caller gets.
    pub(super) fn pend(&self, change: &Change, error: RegistryError) -> RegistryError {
        let id = &change.experiment;
        let known = self.known_view();
        let runs = known.as_ref().and_then(|view| view.standing(id).ok());
        if runs.is_none_or(|standing| standing.outline.state == State::Stopped) {
            return error;
        }
        let cause = if let RegistryError::Store(error) = &error {
            error.to_string()
        } else if let RegistryError::NoSpace(message) = &error {
            message.clone()
        } else {
            return error;
        };
        let pending = Pending {
            change: change.clone(),
            since: now(),
            attempts: 1,
            error: cause.clone(),
            again: Instant::now(),
            patience: Duration::ZERO,
            tries: Arc::default(),
        };
        let mut stops = self.stops();
        // The first call says since when; the last one who and why. An attempt may be under way for the first.
        let pending = match stops.0.remove(id) {
            Some(Pending { since, tries, .. }) => Pending { since, tries, ..pending },
            None => pending,
        };
        stops.0.insert(id.clone(), pending);
        self.count(&stops);
        drop(stops);
        tracing::error!(
            experiment = id,
            by = change.author,
            error = cause,
            "the experiment could not be stopped; the stop is tried again"
        );
        let outcome = if self.may_be_stopped(id) {
            format!("it is not known whether experiment `{id}` is stopped")
        } else {
            format!("nothing has moved: experiment `{id}` goes on")
        };
        RegistryError::StopPending { outcome, cause }
    }

    /// Forgets the pending stop of an experiment that is stopped.
    pub(super) fn settle(&self, id: &str) {
        let mut stops = self.stops();
        if stops.0.remove(id).is_some() {
            self.count(&stops);
        }
    }

    /// Gives up a stop that could not be written yet. Waits for an attempt that is under way.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`] where none is pending here; [`RegistryError::Precondition`] where that attempt has
    /// stopped the experiment.
    pub fn withdraw_stop(&self, id: &str, author: &str) -> Result<PendingStop, RegistryError> {
        let mut stops = self.stops();
        let (Some(told), Some(pending)) = (stops.pending(id), stops.0.remove(id)) else {
            let message = format!("no stop of experiment `{id}` is pending on this server");
            return Err(RegistryError::NotFound(message));
        };
        self.count(&stops);
        drop(stops);
        drop(pending.tries.call.abandon_on_drop());
        let stopped_in = *lock(&pending.tries.stopped_in);
        if let Some(release) = stopped_in {
            let message = format!("experiment `{id}` is stopped already, in release {release}");
            return Err(RegistryError::Precondition(message));
        }
        tracing::warn!(experiment = id, by = author, "the pending stop of the experiment is withdrawn");
        Ok(told)
    }

    /// Tries pending stops again.
    pub(super) fn retry_stops(&self) {
        let due: Vec<(Change, Arc<Tries>)> = {
            let stops = self.stops();
            let due = stops.0.values().filter(|pending| Instant::now() >= pending.again);
            due.map(|pending| (pending.change.clone(), Arc::clone(&pending.tries))).collect()
        };
        for (change, tries) in due {
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
                    "the experiment is stopped, as was asked while the store was away"
                );
            }
            let mut stops = self.stops();
            // A withdrawal may have come meanwhile, and another stop after it.
            let Some(pending) = stops.0.get_mut(experiment).filter(|found| Arc::ptr_eq(&found.tries, &tries))
            else {
                continue;
            };
            match done {
                Ok(_) => drop(stops.0.remove(experiment)),
                Err(error) if is_gone => {
                    tracing::warn!(experiment, %error, "the pending stop is over: the experiment is gone");
                    stops.0.remove(experiment);
                }
                Err(error) => pending.failed(&error),
            }
            self.count(&stops);
        }
    }

    /// Logs what a server that ends gives up.
    pub fn give_up(&self) {
        for (experiment, pending) in &self.stops().0 {
            tracing::error!(
                experiment,
                by = pending.change.author,
                since = pending.since,
                "the server ends, and gives up the stop of the experiment: it still runs; stop it again"
            );
        }
    }

    fn count(&self, stops: &Stops) {
        self.parts().metrics.experiments.stops_pending.set(stops.0.len() as i64);
    }
}
