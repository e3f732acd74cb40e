//! What serves: a release in memory together with the customers, behind one atomic pointer.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::Release;
use crate::feature::store::CustomerTable;

/// Everything that a call looks at. A call takes one and keeps it to its end.
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
    /// The pointer, for those who read it.
    #[must_use]
    pub fn pointer(&self) -> Arc<ArcSwapOption<Snapshot>> {
        Arc::clone(&self.current)
    }

    /// What calls beginning now are answered from.
    #[must_use]
    pub fn serving(&self) -> Option<Arc<Snapshot>> {
        self.current.load_full()
    }

    /// Makes `snapshot` what calls beginning from now on are answered from, and hands back the one before, which may still
    /// answer calls that began with it: keep it, or [retire](super::background::retire) it.
    #[must_use = "dropping it here would take it apart here"]
    pub fn publish(&self, snapshot: Arc<Snapshot>) -> Option<Arc<Snapshot>> {
        self.current.swap(Some(snapshot))
    }
}
