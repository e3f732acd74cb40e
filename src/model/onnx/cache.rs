//! Models that are loaded once, however many releases and protocols use them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::file::{Identity, OnnxFile};
use super::{OnnxModel, OnnxRuntime};
use crate::model::ModelError;

/// Loaded models by file, for as long as anyone holds them.
#[derive(Debug)]
pub struct OnnxCache {
    runtime: OnnxRuntime,
    sessions: usize,
    slots: Mutex<HashMap<Identity, Slot>>,
}

/// Who loads a model holds its slot, so that another who wants the same model waits, and nobody else does.
type Slot = Arc<Mutex<Weak<OnnxModel>>>;

impl OnnxCache {
    /// A cache whose models have `sessions` sessions each: one per worker.
    #[must_use]
    pub fn new(runtime: OnnxRuntime, sessions: usize) -> Self {
        Self { runtime, sessions, slots: Mutex::default() }
    }

    /// The model at `path`, loaded now unless somebody holds it. Safe to call from many threads: the same file is loaded
    /// once, and different files at the same time.
    ///
    /// # Errors
    /// As [`OnnxModel::load`]; a failure is not remembered.
    pub fn load(&self, path: &Path) -> Result<Arc<OnnxModel>, ModelError> {
        let identity = Identity::of(&path.metadata()?);
        self.get(identity, || OnnxModel::load(&self.runtime, path, self.sessions))
    }

    /// The same for a file that was read already.
    ///
    /// # Errors
    /// As [`OnnxModel::load`]; a failure is not remembered.
    pub(in crate::model) fn load_file(&self, file: &OnnxFile) -> Result<Arc<OnnxModel>, ModelError> {
        self.get(file.identity.clone(), || OnnxModel::of_file(&self.runtime, file, self.sessions))
    }

    fn get(
        &self,
        identity: Identity,
        load: impl FnOnce() -> Result<OnnxModel, ModelError>,
    ) -> Result<Arc<OnnxModel>, ModelError> {
        let slot = self.slot(identity);
        let mut kept = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(model) = kept.upgrade() {
            return Ok(model);
        }
        let model = Arc::new(load()?);
        *kept = Arc::downgrade(&model);
        Ok(model)
    }

    /// The library that the models run in, for a cache of somebody's own.
    #[must_use]
    pub fn runtime(&self) -> &OnnxRuntime {
        &self.runtime
    }

    /// The number of sessions of each model.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.sessions
    }

    fn slot(&self, identity: Identity) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        // Slots that nobody loads into and whose model is gone.
        slots.retain(|_, slot| {
            Arc::strong_count(slot) > 1 || slot.try_lock().is_ok_and(|model| model.strong_count() > 0)
        });
        Arc::clone(slots.entry(identity).or_default())
    }
}
