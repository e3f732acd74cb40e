//! The ids of the outcomes that calls are recording now.
//!
//! A call that finds an id claimed waits until the other call has ended, and then looks again whether the id is known.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use tokio::sync::watch;

use crate::History;

/// The ids that are claimed, each with what ends when the call that has claimed it does.
#[derive(Debug, Default)]
pub(super) struct Claims(DashMap<Arc<str>, watch::Receiver<()>>);

/// The ids that one call has claimed, and those of them that it has admitted. When it is dropped, it gives up what it
/// has claimed, and withdraws what it has admitted unless that is kept.
pub(super) struct Flight {
    history: Arc<History>,
    claims: Arc<Claims>,
    claimed: Vec<Arc<str>>,
    admitted: Vec<Arc<str>>,
    /// Dropped last: those who wait find the ids given up.
    _done: watch::Sender<()>,
}

impl Flight {
    pub(super) fn new(history: Arc<History>, claims: Arc<Claims>, done: watch::Sender<()>) -> Self {
        Self { history, claims, claimed: Vec::new(), admitted: Vec::new(), _done: done }
    }

    /// Claims an id. `ended` ends with this flight.
    ///
    /// # Errors
    /// What ends with the flight that has it, which may be this one.
    pub(super) fn claim(
        &mut self,
        id: &Arc<str>,
        ended: &watch::Receiver<()>,
    ) -> Result<(), watch::Receiver<()>> {
        match self.claims.0.entry(Arc::clone(id)) {
            Entry::Occupied(other) => Err(other.get().clone()),
            Entry::Vacant(free) => {
                free.insert(ended.clone());
                self.claimed.push(Arc::clone(id));
                Ok(())
            }
        }
    }

    /// Whether the outcome of a claimed id was not recorded before. It is then taken as recorded.
    pub(super) fn admit(
        &mut self,
        id: &Arc<str>,
        occurred_at: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> bool {
        let is_new = self.history.admit(id, occurred_at.unwrap_or(now), now);
        if is_new {
            self.admitted.push(Arc::clone(id));
        }
        is_new
    }

    /// The outcome of an admitted id is refused after all.
    pub(super) fn refuse(&self, id: &str) {
        self.history.withdraw(id);
    }

    /// Everything that was admitted and not refused is recorded.
    pub(super) fn keep(mut self) {
        self.admitted.clear();
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        // While an id is claimed, no other call admits it.
        for id in &self.admitted {
            self.history.withdraw(id);
        }
        for id in &self.claimed {
            self.claims.0.remove(id);
        }
    }
}
