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

    /// Makes `snapshot` what calls beginning from now on are answered from. The one before is dropped on a thread of its own
    /// once its last call ends: taking a release apart must not happen on a request's thread.
    pub fn publish(&self, snapshot: Snapshot) {
        let previous = self.current.swap(Some(Arc::new(snapshot)));
        if let Some(previous) = previous {
            retire(previous);
        }
    }
}

/// Waits until nobody else holds the snapshot, then drops it here.
fn retire(snapshot: Arc<Snapshot>) {
    let wait = move || {
        while Arc::strong_count(&snapshot) > 1 {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        drop(snapshot);
    };
    // Without a thread the snapshot is dropped by its last user instead: slower for one call, and nothing is lost.
    if let Err(error) = std::thread::Builder::new().name("retire".to_owned()).spawn(wait) {
        tracing::warn!(%error, "no thread to retire a snapshot on");
    }
}
