//! How far a long computation is, for whoever watches, and whether it should go on.
//!
//! Training never prints; it tells a [`Progress`]. A watcher may ask it to stop: the computation then ends at its next
//! step, before anything is written.

/// Told what is done; asked whether to go on. Called from several threads.
pub trait Progress: Sync {
    /// A step begins that consists of `units` pieces of about the same cost.
    fn begin(&self, step: &str, units: u64);

    /// So many pieces of the step that began last are done.
    fn advance(&self, units: u64);

    /// Whether the computation should end as soon as it can.
    fn stopped(&self) -> bool;
}

/// Nobody watches.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _step: &str, _units: u64) {}

    fn advance(&self, _units: u64) {}

    fn stopped(&self) -> bool {
        false
    }
}

/// Why a computation has no result: whoever watched asked it to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stopped before the end; nothing was written")]
pub struct Stopped;
