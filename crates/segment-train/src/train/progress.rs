//! The progress of a long computation, and its cancellation.
//!
//! Training never prints; it reports to a [`Progress`]. The implementation may ask it to stop.
//! The computation then ends at its next step, before anything is written.

/// Receives progress and may ask to stop. Called from several threads.
pub trait Progress: Sync {
    /// A step of `units` units of similar cost begins.
    fn begin(&self, step: &str, units: u64);

    /// `units` more units of the current step are done.
    fn advance(&self, units: u64);

    /// Whether the computation should end as soon as possible.
    fn stopped(&self) -> bool;
}

/// Ignores progress and never stops.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _step: &str, _units: u64) {}

    fn advance(&self, _units: u64) {}

    fn stopped(&self) -> bool {
        false
    }
}

/// The computation was stopped by its [`Progress`] and has no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stopped before the end; nothing was written")]
pub struct Stopped;
