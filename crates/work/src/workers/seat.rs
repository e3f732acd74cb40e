//! What each worker does right now, so that a run for a call that is over can be stopped from outside.
//!
//! A graph may run on after its call's deadline: ONNX Runtime checks only between two nodes whether it was told to
//! stop. A watch thread checks the seats every [`TICK`] and tells a run to stop once its call is over. If the run
//! does not stop within a grace period, its model goes out of service and another worker takes the number. A worker
//! that runs no graph in ONNX Runtime only pays for an uncontended lock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Call, Cancellation};

/// How often the watch thread checks the seats, and so the longest delay before a run is told to stop.
pub(super) const TICK: Duration = Duration::from_millis(20);

/// A run of a graph that can be told to stop.
pub trait Stoppable: Send + Sync {
    /// Asks it to stop as soon as it can.
    fn stop(&self);

    /// Called if it did not stop: from now on, callers of the model are refused with this reason. Returns the model's
    /// name for people.
    fn take_out_of_service(&self, why: &str) -> String;
}

/// What a worker does right now, as the watch thread sees it.
#[derive(Default)]
pub(super) struct Seat(Mutex<State>);

#[derive(Default)]
struct State {
    call: Option<Call>,
    run: Option<Arc<dyn Stoppable>>,
    /// When the run was told to stop.
    told: Option<Instant>,
    /// Whether another worker has taken the number.
    lost: bool,
}

impl State {
    /// Tells a run to stop if its call is over. Returns it, and since when it has been told so. The caller holds the
    /// lock, so that the next run on this worker is not stopped by mistake.
    fn stop_if_over(&mut self) -> Option<(Arc<dyn Stoppable>, Duration)> {
        let over = self.call.as_ref()?.check().is_err();
        let run = Arc::clone(self.run.as_ref().filter(|_| over)?);
        let told = self.told.map_or(Duration::ZERO, |told| told.elapsed());
        if self.told.is_none() {
            self.told = Some(Instant::now());
            run.stop();
        }
        Some((run, told))
    }
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.state();
        f.debug_struct("Seat").field("busy", &state.call.is_some()).field("lost", &state.lost).finish()
    }
}

/// Clears what a seat records when it is dropped.
pub(super) struct SeatGuard<'a> {
    seat: &'a Seat,
    end: fn(&mut State),
}

impl Drop for SeatGuard<'_> {
    fn drop(&mut self) {
        (self.end)(&mut self.seat.state());
    }
}

impl Seat {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that work for `call` runs, until the guard is dropped.
    pub(super) fn serves(&self, call: &Call) -> SeatGuard<'_> {
        self.state().call = Some(call.clone());
        SeatGuard { seat: self, end: |state| state.call = None }
    }

    /// Records that a graph runs, until the guard is dropped.
    pub(super) fn runs(&self, run: Arc<dyn Stoppable>) -> SeatGuard<'_> {
        let mut state = self.state();
        (state.run, state.told) = (Some(run), None);
        SeatGuard { seat: self, end: |state| (state.run, state.told) = (None, None) }
    }

    /// Why the current call is over, if it is.
    pub(super) fn over(&self) -> Option<Cancellation> {
        self.state().call.as_ref()?.check().err()
    }

    /// Whether another worker has taken the number.
    pub(super) fn is_lost(&self) -> bool {
        self.state().lost
    }

    /// Tells a run to stop if its call is over. Returns since when it has been told so.
    pub(super) fn stop_if_over(&self) -> Option<Duration> {
        self.state().stop_if_over().map(|(_, since)| since)
    }

    /// Tells a run to stop if its call is over. If it was told so `grace` ago and still runs, the worker is lost;
    /// returns its model.
    pub(super) fn look(&self, grace: Duration) -> Option<String> {
        let mut state = self.state();
        if state.lost {
            return None;
        }
        match state.stop_if_over()? {
            (_, told) if told < grace => None,
            (run, told) => {
                state.lost = true;
                drop(state);
                let why = format!("a run did not stop within {grace:?} after it was told to");
                tracing::debug!(?told, "a worker is replaced");
                Some(run.take_out_of_service(&why))
            }
        }
    }
}
