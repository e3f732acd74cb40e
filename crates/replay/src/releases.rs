//! The releases that records name, loaded once and kept while they are needed.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::DateTime;
use feature::store::CustomerTable;
use history::{History, Limits};
use release::{Release, Snapshot};

/// How many releases stay loaded. Records come in the order of time, so few releases take turns.
const KEPT: usize = 4;

/// Loads a release by its number.
type Load = dyn Fn(u64) -> Result<Arc<Release>, String> + Send + Sync;

/// Loads releases, and keeps some of them.
pub struct Releases {
    load: Box<Load>,
    kept: Mutex<Kept>,
    /// Has the names of all of them, and nothing else.
    names: History,
}

#[derive(Default)]
struct Kept {
    /// By number: the release or why it cannot be loaded, and when it was used last.
    releases: HashMap<u64, (Result<Loaded, String>, u64)>,
    uses: u64,
}

/// A release that decides again from records.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The release. What is recorded has all of a customer that a decision needs.
    pub snapshot: Arc<Snapshot>,
    /// Its limits, which look at what is recorded.
    pub limits: Arc<Limits>,
}

impl Loaded {
    /// A release whose limits have their names of `names`.
    ///
    /// # Errors
    /// When there is no room for them.
    pub(crate) fn new(snapshot: Arc<Snapshot>, names: &History) -> Result<Self, String> {
        // Nothing has happened in a history of names.
        let limits = Limits::new(names, snapshot.release.catalog(), DateTime::UNIX_EPOCH);
        let limits = Arc::new(limits.map_err(|error| error.to_string())?);
        Ok(Self { snapshot, limits })
    }
}

impl Releases {
    /// Releases that `load` loads.
    pub fn new(load: impl Fn(u64) -> Result<Arc<Release>, String> + Send + Sync + 'static) -> Self {
        Self { load: Box::new(load), kept: Mutex::default(), names: History::default() }
    }

    /// A release by its number, without customers.
    ///
    /// # Errors
    /// Why it cannot be loaded.
    pub fn get(&self, number: u64) -> Result<Arc<Snapshot>, String> {
        self.loaded(number).map(|loaded| loaded.snapshot)
    }

    /// A release by its number, with its limits. Others wait while one is loaded: they most likely need the same.
    ///
    /// # Errors
    /// Why it cannot be loaded.
    pub fn loaded(&self, number: u64) -> Result<Loaded, String> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.uses += 1;
        let used = kept.uses;
        if let Some((loaded, last)) = kept.releases.get_mut(&number) {
            *last = used;
            return loaded.clone();
        }
        if kept.releases.len() >= KEPT {
            let oldest = kept.releases.iter().min_by_key(|(_, (_, last))| *last).map(|(number, _)| *number);
            oldest.map(|number| kept.releases.remove(&number));
        }
        let loaded = (self.load)(number).map(without_customers);
        let loaded = loaded.and_then(|snapshot| Loaded::new(snapshot, &self.names));
        kept.releases.insert(number, (loaded.clone(), used));
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
