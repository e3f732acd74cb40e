//! What serves: a release in memory together with the customers, behind one atomic pointer.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::Release;
use feature::store::CustomerTable;

/// Everything that a call reads. A call takes one and keeps it to its end.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The release that decides.
    pub release: Arc<Release>,
    /// The embedded feature store, read under the release's schema.
    pub customers: Arc<CustomerTable>,
}

/// The pointer that publishing moves.
#[derive(Debug, Clone, Default)]
pub struct Publisher {
    current: Arc<ArcSwapOption<Snapshot>>,
}

impl Publisher {
    /// The pointer, for readers.
    #[must_use]
    pub fn pointer(&self) -> Arc<ArcSwapOption<Snapshot>> {
        Arc::clone(&self.current)
    }

    /// The snapshot that new calls use.
    #[must_use]
    pub fn serving(&self) -> Option<Arc<Snapshot>> {
        self.current.load_full()
    }

    /// Makes `snapshot` the one that new calls use, and returns the one before, which running calls may still use.
    /// Keep that one, or hand it to a [`Reclaimer`](work::Reclaimer).
    #[must_use = "dropping it here would take it apart here"]
    pub fn publish(&self, snapshot: Arc<Snapshot>) -> Option<Arc<Snapshot>> {
        self.current.swap(Some(snapshot))
    }
}
