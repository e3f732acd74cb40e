//! ONNX Runtime: the only place that names `ort`.
//!
//! Owns the library and its one environment ([`OnnxRuntime`]), the check of a file before the library sees it, sessions
//! and their signatures ([`OnnxModel`]), and tensors. It never loads custom operators, never reads weights from outside
//! the model's directory and never enables telemetry. Start reading at [`OnnxModel::load`].

mod convert;
mod file;
mod known;
mod runtime;
mod tensor;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};

use ort::session::{NoSelectedOutputs, RunOptions, Session};

use super::sizes::{MAX_GRAPH_BYTES, read_at_most};
use crate::ModelError;
pub(super) use file::{Identity, OnnxFile};
pub(super) use known::Known;
pub use known::{Compared, GraphFacts};
pub use runtime::{OnnxRuntime, VERSION, disable_telemetry, find_library};
pub use tensor::{ElementType, LabelKind, OutputValue, Signature, Tensor, TensorData, TensorSpec, ValueKind};
use work::priority::yield_if_due;
use work::{FOREIGN_STACK, Stoppable, Worker};

/// Stack bytes of the thread that runs unjudged graphs. Chains of more than 10,000 splits overflow it.
pub const JUDGE_STACK: usize = FOREIGN_STACK / 2;

/// The most elements of an input when an undescribed graph is tried.
pub const MAX_TRIED: usize = 1 << 24;

/// A model in memory: its signature and a session for each worker that ran it.
///
/// A session is made when its worker needs it. A natively served model needs none.
#[derive(Debug)]
pub struct OnnxModel {
    runtime: OnnxRuntime,
    signature: Signature,
    /// Indices of the outputs that can be converted: the meaning of [`Outputs::All`].
    all: Vec<usize>,
    /// Session `i` belongs to worker `i`. `ort` runs a session through `&mut`, so each has a lock. The lock is never
    /// contended: there is one [`Worker`] of each number.
    sessions: Vec<Mutex<Option<Ready>>>,
    /// Why the model is out of service, once it is.
    out: Arc<OnceLock<String>>,
    path: PathBuf,
    /// Whether the file is the whole model, without weights in other files.
    whole: bool,
}

/// A session and the handle that stops its run.
#[derive(Debug)]
struct Ready {
    session: Session,
    run: Arc<Run>,
}

/// The run of a session. One at a time, since a session runs through `&mut`.
struct Run {
    /// No outputs are selected: only such options may be shared between threads. ONNX Runtime computes the whole graph
    /// for any outputs.
    options: RunOptions<NoSelectedOutputs>,
    /// Whether the current run was told to stop.
    stopped: AtomicBool,
    out: Arc<OnceLock<String>>,
    path: PathBuf,
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").field("stopped", &self.stopped).field("out", &self.out).finish_non_exhaustive()
    }
}

impl Stoppable for Run {
    fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        if let Err(error) = self.options.terminate() {
            tracing::warn!(%error, "a run cannot be told to stop");
        }
    }

    fn take_out_of_service(&self, why: &str) -> String {
        // If it is out of service already, the first reason stays.
        _ = self.out.set(why.to_owned());
        let parts: Vec<_> = self.path.iter().rev().take(3).map(|part| part.to_string_lossy()).collect();
        parts.into_iter().rev().collect::<Vec<_>>().join("/")
    }
}

/// Which outputs a run computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outputs<'a> {
    /// Every output of a supported type, in the order of the signature.
    All,
    /// The outputs at these positions of the signature, in this order.
    Only(&'a [usize]),
}

impl OnnxModel {
    /// Reads and checks the model at `path` and makes one session, unless the native engine is known to serve these
    /// bytes. The other sessions, up to `sessions`, are made when their workers first run the model.
    ///
    /// # Errors
    /// A file that is missing, empty, a Git LFS pointer or no ONNX model. A graph without outputs, with custom
    /// operators, with inputs of unsupported types, or with weights outside its directory. Anything else that ONNX
    /// Runtime refuses.
    pub fn load(runtime: &OnnxRuntime, path: &Path, sessions: usize) -> Result<Self, ModelError> {
        Self::of_file(runtime, &OnnxFile::read(path.to_owned())?, sessions)
    }

    /// Does what [`OnnxModel::load`] does for a file in memory.
    ///
    /// # Errors
    /// As [`OnnxModel::load`].
    pub(super) fn of_file(
        runtime: &OnnxRuntime,
        file: &OnnxFile,
        sessions: usize,
    ) -> Result<Self, ModelError> {
        yield_if_due();
        // Known bytes passed the check and have no weights in other files that could have changed.
        let (first, signature, whole) = match runtime.known().signature(file.digest) {
            Some(signature) => (None, signature, true),
            None => {
                let whole = file::check(&file.bytes, file.directory())?;
                yield_if_due();
                let session = runtime.session(&file.bytes, file.directory())?;
                let signature = convert::signature(&session);
                (Some(session), signature, whole)
            }
        };
        for input in &signature.inputs {
            if let ValueKind::Unsupported(kind) = &input.kind {
                return Err(ModelError::UnsupportedType { name: input.name.clone(), kind: kind.clone() });
            }
        }
        let supported = |output: &TensorSpec| !matches!(output.kind, ValueKind::Unsupported(_));
        let all = (0..signature.outputs.len()).filter(|at| supported(&signature.outputs[*at])).collect();
        let (runtime, path, out) = (runtime.clone(), file.path.clone(), Arc::default());
        let first = first.map(|session| Ready::new(session, &out, &path)).transpose()?;
        let others = (1..sessions.max(1)).map(|_| Mutex::default());
        let sessions = std::iter::once(Mutex::new(first)).chain(others).collect();
        Ok(Self { runtime, signature, all, sessions, out, path, whole })
    }

    /// The same model with a session of its own. It takes an idle session if there is one.
    pub(super) fn with_own_session(&self) -> Result<Self, ModelError> {
        let idle = self.sessions.iter().find_map(|session| session.try_lock().ok()?.take());
        let session = idle.map_or_else(|| self.session(), Ok)?;
        let (runtime, signature, all) = (self.runtime.clone(), self.signature.clone(), self.all.clone());
        let sessions = vec![Mutex::new(Some(session))];
        let (out, path, whole) = (Arc::clone(&self.out), self.path.clone(), self.whole);
        Ok(Self { runtime, signature, all, sessions, out, path, whole })
    }

    /// Makes the missing sessions of the first `count` workers, so that no request waits for them.
    ///
    /// # Errors
    /// As [`OnnxModel::load`].
    pub(super) fn make_first(&self, count: usize) -> Result<(), ModelError> {
        for session in self.sessions.iter().take(count) {
            // A session in use exists already, and may never become idle.
            if let Some(mut session) = idle_session(session)
                && session.is_none()
            {
                *session = Some(self.session()?);
            }
        }
        Ok(())
    }

    /// Drops the idle sessions. A later run makes its own again.
    pub(super) fn drop_sessions(&self) {
        for mut session in self.sessions.iter().filter_map(idle_session) {
            *session = None;
        }
    }

    fn session(&self) -> Result<Ready, ModelError> {
        let directory = self.path.parent().unwrap_or(Path::new("."));
        let bytes = read_at_most(&self.path, MAX_GRAPH_BYTES)?;
        file::check(&bytes, directory)?;
        Ready::new(self.runtime.session(&bytes, directory)?, &self.out, &self.path)
    }

    /// What this process knows of models.
    pub(super) fn known(&self) -> &Known {
        self.runtime.known()
    }

    /// Stores how the native engine compares with this model. `file` is the model's; `asked` is what the answers depend
    /// on besides.
    pub(super) fn learn(&self, file: &OnnxFile, asked: &str, found: Compared) {
        self.known().learn(file.digest, &self.signature, asked, found);
    }

    /// Whether the whole graph is in one file, so that its digest identifies it.
    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }

    /// The model's inputs and outputs.
    #[must_use]
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// The most sessions: one per worker, and one of the worker beside them.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Runs the model in the session of `worker`. Numbers are passed as views, without a copy. `inputs` may come in any
    /// order, but must hold each input of the signature exactly once.
    ///
    /// # Errors
    /// [`ModelError::Input`] for an input that is unknown, missing, given twice, of another type or of a wrong shape.
    /// [`ModelError::Output`] for an output that does not exist or is not supported. [`ModelError::Run`] where ONNX
    /// Runtime fails. As [`OnnxModel::load`] where the session is not made yet. [`ModelError::NoSession`] for a worker
    /// without a session.
    pub fn run(
        &self,
        worker: &Worker,
        inputs: &[Tensor<'_>],
        outputs: Outputs<'_>,
    ) -> Result<Vec<OutputValue>, ModelError> {
        let (index, sessions) = (worker.index(), self.sessions.len());
        let session = self.sessions.get(index).ok_or(ModelError::NoSession { worker: index, sessions })?;
        if let Some(why) = self.out.get() {
            return Err(ModelError::OutOfService(why.clone()));
        }
        self.signature.check_inputs(inputs)?;
        let values = inputs.iter().map(convert::input).collect::<Result<Vec<_>, ModelError>>()?;
        let wanted = match outputs {
            Outputs::All => &self.all,
            Outputs::Only(wanted) => wanted,
        };
        // A panic in an earlier run leaves the session itself intact.
        let mut session = session.lock().unwrap_or_else(PoisonError::into_inner);
        if session.is_none() {
            *session = Some(self.session()?);
        }
        let Some(Ready { session, run }) = session.as_mut() else {
            return Err(ModelError::NoSession { worker: index, sessions });
        };
        run.begin()?;
        let stoppable: Arc<dyn Stoppable> = Arc::clone(run) as Arc<dyn Stoppable>;
        let answer = worker.watched(&stoppable, || session.run_with_options(values, &run.options));
        let answer = answer.map_err(|error| match worker.over().filter(|_| run.was_stopped()) {
            Some(stop) => ModelError::Cancelled(stop),
            None => ModelError::Run(error.to_string()),
        })?;
        let values: Vec<_> = answer.values().collect();
        let read = |at: &usize| match values.get(*at) {
            Some(value) => convert::output(self.output(*at)?, value),
            None => Err(ModelError::Output {
                name: at.to_string(),
                message: "the run returned nothing".to_owned(),
            }),
        };
        wanted.iter().map(read).collect()
    }

    /// Runs the model once on zeros, false and empty texts; open dimensions are 1. This tests whether a run does harm;
    /// its answer is ignored.
    ///
    /// # Errors
    /// [`ModelError::TooLarge`] where an input has more than [`MAX_TRIED`] elements; else as [`OnnxModel::run`].
    pub fn try_out(&self, worker: &Worker) -> Result<(), ModelError> {
        let mut inputs = Vec::with_capacity(self.signature.inputs.len());
        for spec in &self.signature.inputs {
            let shape: Vec<i64> = spec.shape.iter().map(|size| if *size < 0 { 1 } else { *size }).collect();
            let elements =
                shape.iter().try_fold(1_u64, |product, size| product.checked_mul(size.unsigned_abs()));
            let elements = elements.unwrap_or(u64::MAX);
            let count = usize::try_from(elements).unwrap_or(usize::MAX);
            if count > MAX_TRIED {
                let what = format!("input `{}`, in elements,", spec.name);
                return Err(ModelError::TooLarge { what, found: elements, most: MAX_TRIED as u64 });
            }
            let ValueKind::Tensor(element) = &spec.kind else {
                return Err(ModelError::UnsupportedType {
                    name: spec.name.clone(),
                    kind: spec.kind.to_string(),
                });
            };
            inputs.push(Tensor {
                name: spec.name.as_str().into(),
                shape,
                data: TensorData::zeros(*element, count),
            });
        }
        self.run(worker, &inputs, Outputs::All).map(drop)
    }

    fn output(&self, at: usize) -> Result<&TensorSpec, ModelError> {
        self.signature.outputs.get(at).ok_or_else(|| ModelError::Output {
            name: at.to_string(),
            message: format!("the model has {} outputs", self.signature.outputs.len()),
        })
    }
}

impl Ready {
    fn new(session: Session, out: &Arc<OnceLock<String>>, path: &Path) -> Result<Self, ModelError> {
        let options = RunOptions::new().map_err(|error| ModelError::Load(error.to_string()))?;
        let (stopped, out, path) = (AtomicBool::new(false), Arc::clone(out), path.to_owned());
        Ok(Self { session, run: Arc::new(Run { options, stopped, out, path }) })
    }
}

impl Run {
    /// Clears the stop of an earlier run.
    fn begin(&self) -> Result<(), ModelError> {
        if self.stopped.swap(false, Ordering::SeqCst) {
            self.options.unterminate().map_err(|error| ModelError::Run(error.to_string()))?;
        }
        Ok(())
    }

    fn was_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }
}

/// The session's guard, if the session is idle.
fn idle_session(session: &Mutex<Option<Ready>>) -> Option<MutexGuard<'_, Option<Ready>>> {
    match session.try_lock() {
        Ok(session) => Some(session),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

#[cfg(test)]
mod tests;
