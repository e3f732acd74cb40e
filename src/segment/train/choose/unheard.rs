//! Steps within a step, which only the outer one tells of.

use crate::segment::train::progress::Progress;

/// Hears nothing, and still says when to stop: what a piece of a larger step is given.
pub(in crate::segment::train) struct Unheard<'a>(pub(in crate::segment::train) &'a dyn Progress);

impl Progress for Unheard<'_> {
    fn begin(&self, _step: &str, _units: u64) {}

    fn advance(&self, _units: u64) {}

    fn stopped(&self) -> bool {
        self.0.stopped()
    }
}
