//! What serves: a release in memory together with the customers, behind one atomic pointer.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::{Release, background};
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
    /// answer calls that began with it: keep it, or [`retire`] it.
    #[must_use = "dropping it here would take it apart here"]
    pub fn publish(&self, snapshot: Arc<Snapshot>) -> Option<Arc<Snapshot>> {
        self.current.swap(Some(snapshot))
    }
}

/// Waits on a thread of its own until nobody else holds `shared`, then drops it there: taking a release apart must not happen on
/// a request's thread.
pub(super) fn retire<T: Send + Sync + 'static>(shared: Arc<T>) {
    let wait = move || {
        while Arc::strong_count(&shared) > 1 {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        drop(shared);
    };
    // Without a thread it is dropped by its last user instead: slower for one call, and nothing is lost.
    if let Err(error) = background::spawn("retire", wait) {
        tracing::warn!(%error, "no thread to retire a snapshot on");
    }
}
