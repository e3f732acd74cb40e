//! Whether somebody is erased from memory while what the history lacks is being read.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::lock;

/// How often somebody was erased from memory.
#[derive(Debug, Default)]
pub(super) struct ErasedTimes {
    times: AtomicU64,
    /// The markers of the last time.
    last: Mutex<BTreeSet<String>>,
}

impl ErasedTimes {
    /// How often, up to now.
    pub(super) fn get(&self) -> u64 {
        self.times.load(Ordering::Relaxed)
    }

    /// Notes that those are erased whom markers with these ids are about. Returns whether one of them is new: an
    /// erasure that cannot be finished is tried again at each poll, with the same markers.
    pub(super) fn note(&self, markers: BTreeSet<String>) -> bool {
        let mut last = lock(&self.last);
        let is_new = !markers.is_subset(&last);
        *last = markers;
        if is_new {
            self.times.fetch_add(1, Ordering::Relaxed);
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_erasure_that_is_tried_again_counts_once() {
        let erased = ErasedTimes::default();
        let note = |ids: &[&str]| erased.note(ids.iter().map(|id| (*id).to_owned()).collect());
        assert!(note(&["a"]));
        assert!(!note(&["a"]));
        assert_eq!(erased.get(), 1);
        assert!(note(&["a", "b"]));
        assert!(!note(&["b"]));
        assert_eq!(erased.get(), 2);
        // It was done, and is asked for again.
        assert!(note(&["a"]));
        assert_eq!(erased.get(), 3);
    }
}
