//! The releases that records name, loaded once and kept while they are needed.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use feature::store::CustomerTable;
use release::{Release, Snapshot};

/// How many releases stay loaded. Records come in the order of time, so few releases take turns.
const KEPT: usize = 4;

/// Loads a release by its number.
type Load = dyn Fn(u64) -> Result<Arc<Release>, String> + Send + Sync;

/// Loads releases; clones share what is loaded.
pub struct Releases {
    load: Box<Load>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// By number: the release or why it cannot be loaded, and when it was used last.
    releases: HashMap<u64, (Arc<Loaded>, u64)>,
    uses: u64,
}

/// A release without customers: what is recorded has all of a customer that a decision needs.
type Loaded = Result<Arc<Snapshot>, String>;

impl Releases {
    /// Releases that `load` loads.
    pub fn new(load: impl Fn(u64) -> Result<Arc<Release>, String> + Send + Sync + 'static) -> Self {
        Self { load: Box::new(load), kept: Mutex::default() }
    }

    /// A release by its number. Others wait while one is loaded: they most likely need the same.
    ///
    /// # Errors
    /// Why it cannot be loaded.
    pub fn get(&self, number: u64) -> Result<Arc<Snapshot>, String> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.uses += 1;
        let used = kept.uses;
        if let Some((loaded, last)) = kept.releases.get_mut(&number) {
            *last = used;
            return (**loaded).clone();
        }
        if kept.releases.len() >= KEPT {
            let oldest = kept.releases.iter().min_by_key(|(_, (_, last))| *last).map(|(number, _)| *number);
            oldest.map(|number| kept.releases.remove(&number));
        }
        let loaded = (self.load)(number).map(without_customers);
        kept.releases.insert(number, (Arc::new(loaded.clone()), used));
        loaded
    }
}

/// A release without customers.
#[must_use]
pub fn without_customers(release: Arc<Release>) -> Arc<Snapshot> {
    let customers = Arc::new(CustomerTable::empty(release.schema()));
    Arc::new(Snapshot { release, customers })
}

impl fmt::Debug for Releases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Releases").finish_non_exhaustive()
    }
}
