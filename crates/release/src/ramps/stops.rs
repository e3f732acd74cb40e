//! Stops that could not be written, because the store was away.
//!
//! The server that was asked tries again until the stop is done or withdrawn. It remembers it in memory: when it ends,
//! it logs what it gives up. The caller of the stop has an error by then, and nothing has moved. There is no other way
//! to stop an experiment: the store alone says what serves everywhere.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use experiment::State;

use super::{Ramps, lock};
use crate::records::{Change, Order, PendingStop};
use crate::{RegistryError, now};
use work::Call;

/// The longest wait before a pending stop is tried again.
const PATIENCE: Duration = Duration::from_secs(5);

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
        };
        let mut stops = self.stops();
        // The first call says since when; the last one who and why.
        let since = stops.0.get(id).map(|earlier| earlier.since.clone());
        let since = since.unwrap_or_else(|| pending.since.clone());
        stops.0.insert(id.clone(), Pending { since, ..pending });
        self.count(&stops);
        drop(stops);
        tracing::error!(
            experiment = id,
            by = change.author,
            error = cause,
            "the experiment could not be stopped, and nothing has moved; the stop is tried again"
        );
        RegistryError::StopPending { experiment: id.clone(), cause }
    }

    /// Forgets the pending stop of an experiment that is stopped.
    pub(super) fn settle(&self, id: &str) {
        let mut stops = self.stops();
        if stops.0.remove(id).is_some() {
            self.count(&stops);
        }
    }

    /// Gives up a stop that could not be written yet.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`] where none is pending here.
    pub fn withdraw_stop(&self, id: &str, author: &str) -> Result<PendingStop, RegistryError> {
        let mut stops = self.stops();
        let Some(pending) = stops.pending(id) else {
            let message = format!("no stop of experiment `{id}` is pending on this server");
            return Err(RegistryError::NotFound(message));
        };
        stops.0.remove(id);
        self.count(&stops);
        tracing::warn!(experiment = id, by = author, "the pending stop of the experiment is withdrawn");
        Ok(pending)
    }

    /// Tries pending stops again.
    pub(super) fn retry_stops(&self) {
        let due: Vec<Change> = {
            let stops = self.stops();
            let due = stops.0.values().filter(|pending| Instant::now() >= pending.again);
            due.map(|pending| pending.change.clone()).collect()
        };
        for change in due {
            let Change { experiment, author, reason, .. } = &change;
            let by = (author.as_str(), reason.as_str());
            let done = self.step(experiment, by, &Call::default(), |standing| standing.ordered(Order::Stop));
            let mut stops = self.stops();
            match done {
                Ok(_) => {
                    tracing::warn!(
                        experiment,
                        by = author,
                        "the experiment is stopped, as was asked while the store was away"
                    );
                    stops.0.remove(experiment);
                }
                Err(RegistryError::NotFound(message)) => {
                    tracing::warn!(experiment, message, "the pending stop is over: the experiment is gone");
                    stops.0.remove(experiment);
                }
                Err(error) => {
                    // A withdrawal may have come meanwhile.
                    if let Some(pending) = stops.0.get_mut(experiment) {
                        pending.attempts = pending.attempts.saturating_add(1);
                        pending.error = error.to_string();
                        pending.patience = PATIENCE.min(2 * pending.patience + Duration::from_millis(100));
                        pending.again = Instant::now() + pending.patience;
                    }
                    tracing::debug!(experiment, %error, "the pending stop is tried again");
                }
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
