//! Graphs that are loaded once and shared by all releases and protocols.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::engine::Engines;
use super::onnx::{Identity, OnnxFile, OnnxModel, OnnxRuntime};
use crate::ModelError;
use work::Worker;

/// A graph in memory: its ONNX Runtime model and the engines chosen for its outputs.
#[derive(Debug)]
pub struct LoadedGraph {
    onnx: OnnxModel,
    engines: Engines,
}

impl LoadedGraph {
    /// The graph's ONNX Runtime model.
    #[must_use]
    pub fn onnx(&self) -> &OnnxModel {
        &self.onnx
    }

    /// The engines chosen so far.
    pub(super) fn engines(&self) -> &Engines {
        &self.engines
    }

    /// Whether the native engine serves every output that releases use.
    #[must_use]
    pub fn is_native(&self) -> bool {
        self.engines.all_native()
    }
}

/// Loaded graphs by file. Each stays as long as something holds it.
#[derive(Debug)]
pub struct GraphCache {
    runtime: OnnxRuntime,
    sessions: usize,
    /// Whether each model has one session more, for the thread beside the workers.
    has_beside: bool,
    slots: Mutex<HashMap<Identity, Slot>>,
}

/// Locked while the graph is loaded. Only loads of the same file wait for each other.
type Slot = Arc<Mutex<Weak<LoadedGraph>>>;

impl GraphCache {
    /// A cache whose models have `sessions` sessions each: one per worker.
    #[must_use]
    pub fn new(runtime: OnnxRuntime, sessions: usize) -> Self {
        Self { runtime, sessions, has_beside: false, slots: Mutex::default() }
    }

    /// The same cache, before it has loaded anything; each of its models may have one session more, of the worker
    /// [`GraphCache::beside`]. Warming up does not make it: it is made when that worker first runs the model.
    #[must_use]
    pub fn with_session_beside(self) -> Self {
        Self { has_beside: true, ..self }
    }

    /// The worker beside those that answer, if its sessions are provided for. One thread may use it.
    #[must_use]
    pub fn beside(&self) -> Option<Worker> {
        self.has_beside.then(|| Worker::beside(self.sessions))
    }

    /// The model at `path`, loaded if it is not in memory. Any thread may call this: the same file is loaded once,
    /// different files concurrently.
    ///
    /// # Errors
    /// As [`OnnxModel::load`]. A failure is not cached.
    pub fn load(&self, path: &Path) -> Result<Arc<LoadedGraph>, ModelError> {
        let identity = Identity::of(&path.metadata()?);
        self.get(identity, || OnnxModel::load(&self.runtime, path, self.sessions_of_model()))
    }

    /// Does what [`GraphCache::load`] does, if the file has this SHA-256 in lower-case hexadecimal. So only a judged
    /// file is loaded.
    ///
    /// # Errors
    /// [`ModelError::NotTheFile`] if it has another digest; else as [`OnnxModel::load`].
    pub fn load_only(&self, path: &Path, sha256: &str) -> Result<Arc<LoadedGraph>, ModelError> {
        let file = OnnxFile::read(path.to_owned())?;
        if file.sha256() != sha256 {
            return Err(ModelError::NotTheFile);
        }
        self.load_file(&file)
    }

    /// Does what [`GraphCache::load`] does for a file in memory.
    ///
    /// # Errors
    /// As [`OnnxModel::load`]. A failure is not cached.
    pub(crate) fn load_file(&self, file: &OnnxFile) -> Result<Arc<LoadedGraph>, ModelError> {
        self.get(file.identity.clone(), || OnnxModel::of_file(&self.runtime, file, self.sessions_of_model()))
    }

    fn get(
        &self,
        identity: Identity,
        load: impl FnOnce() -> Result<OnnxModel, ModelError>,
    ) -> Result<Arc<LoadedGraph>, ModelError> {
        let slot = self.slot(identity);
        let mut kept = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(model) = kept.upgrade() {
            return Ok(model);
        }
        let model = Arc::new(LoadedGraph { onnx: load()?, engines: Engines::default() });
        *kept = Arc::downgrade(&model);
        Ok(model)
    }

    /// The runtime that the models run in, for creating another cache.
    #[must_use]
    pub fn runtime(&self) -> &OnnxRuntime {
        &self.runtime
    }

    /// The number of sessions of each model that answer: one per worker.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.sessions
    }

    fn sessions_of_model(&self) -> usize {
        self.sessions + usize::from(self.has_beside)
    }

    fn slot(&self, identity: Identity) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        // Remove slots that no thread loads into and whose model is dropped.
        slots.retain(|_, slot| {
            Arc::strong_count(slot) > 1 || slot.try_lock().is_ok_and(|model| model.strong_count() > 0)
        });
        Arc::clone(slots.entry(identity).or_default())
    }
}
