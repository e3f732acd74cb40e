//! The progress of nested steps, which only the outer step reports.

use crate::train::progress::Progress;

/// Forwards requests to stop and reports no progress.
pub(in crate::train) struct StopOnly<'a>(pub(in crate::train) &'a dyn Progress);

impl Progress for StopOnly<'_> {
    fn begin(&self, _step: &str, _units: u64) {}

    fn advance(&self, _units: u64) {}

    fn stopped(&self) -> bool {
        self.0.stopped()
    }
}
