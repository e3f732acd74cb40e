//! ONNX Runtime: the only place that names `ort`.
//!
//! Owns the library and its one environment ([`OnnxRuntime`]), the check of a file before the library sees it, sessions
//! and their signatures ([`OnnxModel`]), and tensors in and out. It never loads a library of custom operators, never
//! reads weights from outside the model's directory and never lets telemetry on. Start reading at [`OnnxModel::load`].

mod attribute;
mod cache;
mod convert;
mod file;
mod known;
pub(in crate::model) mod proto;
mod runtime;
mod tensor;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::session::{OutputSelector, RunOptions, Session};

use super::graph::Engines;
use super::{ModelError, Worker};
use crate::priority::pause;
pub(super) use attribute::Attribute;
pub use cache::OnnxCache;
pub(super) use file::OnnxFile;
pub(super) use known::Known;
pub use runtime::{OnnxRuntime, VERSION, disable_telemetry};
pub use tensor::{
    ElementType, LabelKind, Labels, OutputValue, Signature, Tensor, TensorData, TensorSpec, ValueKind,
};

/// A model in memory: its signature and a session for each worker that has run it.
///
/// A session is made when its worker needs it: a model that an engine of ours serves needs none.
#[derive(Debug)]
pub struct OnnxModel {
    runtime: OnnxRuntime,
    signature: Signature,
    /// Indices of the outputs that can be converted: what [`Outputs::All`] means.
    all: Vec<usize>,
    /// Session `i` belongs to worker `i`. `ort` runs a session through `&mut`, so each sits behind a lock, which is
    /// never contended: there is one [`Worker`] of each number.
    sessions: Vec<Mutex<Option<Session>>>,
    path: PathBuf,
    /// Whether the file is all of it: whether it has no weights in other files.
    whole: bool,
    engines: Engines,
}

/// Which outputs a run computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outputs<'a> {
    /// Every output of a supported type, in the order of the signature.
    All,
    /// The outputs at these positions of the signature, in this order; what only others need is not computed.
    Only(&'a [usize]),
}

impl OnnxModel {
    /// Reads the model at `path`, checks it, and makes a session of it, unless this process knows that an engine of ours serves these
    /// bytes; the others, up to `sessions`, are made when a worker of their number runs the model for the first time.
    ///
    /// # Errors
    /// A file that is missing, empty, a Git LFS pointer or no ONNX model; a graph without outputs, with custom operators,
    /// with inputs of unsupported types, or with weights outside its own directory; whatever ONNX Runtime refuses.
    pub fn load(runtime: &OnnxRuntime, path: &Path, sessions: usize) -> Result<Self, ModelError> {
        Self::of_file(runtime, &OnnxFile::read(path.to_owned())?, sessions)
    }

    /// The same for a file that was read already.
    ///
    /// # Errors
    /// As [`OnnxModel::load`].
    pub(super) fn of_file(
        runtime: &OnnxRuntime,
        file: &OnnxFile,
        sessions: usize,
    ) -> Result<Self, ModelError> {
        pause();
        // What is known passed the check, and has no weights in other files that could have changed since.
        let (first, signature, whole) = match runtime.known().signature(file.digest) {
            Some(signature) => (None, signature, true),
            None => {
                let whole = file::check(&file.bytes, file.directory())?;
                pause();
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
        let others = (1..sessions.max(1)).map(|_| Mutex::default());
        let sessions = std::iter::once(Mutex::new(first)).chain(others).collect();
        let (runtime, path) = (runtime.clone(), file.path.clone());
        Ok(Self { runtime, signature, all, sessions, path, whole, engines: Engines::default() })
    }

    /// The same model in a session that nobody else uses: one that is idle, if there is one, so that it need not be made.
    pub(super) fn apart(&self) -> Result<Self, ModelError> {
        let idle = self.sessions.iter().find_map(|session| session.try_lock().ok()?.take());
        let session = idle.map_or_else(|| self.session(), Ok)?;
        let (runtime, signature, all) = (self.runtime.clone(), self.signature.clone(), self.all.clone());
        let sessions = vec![Mutex::new(Some(session))];
        let (path, whole) = (self.path.clone(), self.whole);
        Ok(Self { runtime, signature, all, sessions, path, whole, engines: Engines::default() })
    }

    /// Makes the sessions that are not there, so that no request waits for them.
    ///
    /// # Errors
    /// As [`OnnxModel::load`].
    pub fn make_sessions(&self) -> Result<(), ModelError> {
        self.make_first(self.sessions.len())
    }

    /// The same for so many workers.
    pub(super) fn make_first(&self, count: usize) -> Result<(), ModelError> {
        for session in self.sessions.iter().take(count) {
            let mut session = session.lock().unwrap_or_else(PoisonError::into_inner);
            if session.is_none() {
                *session = Some(self.session()?);
            }
        }
        Ok(())
    }

    /// Whether an engine of ours serves all that releases want of the graph.
    #[must_use]
    pub fn is_native(&self) -> bool {
        self.engines.all_native()
    }

    /// Gives up the sessions; who runs the model all the same makes its own again.
    pub(super) fn drop_sessions(&self) {
        for session in &self.sessions {
            *session.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    fn session(&self) -> Result<Session, ModelError> {
        let directory = self.path.parent().unwrap_or(Path::new("."));
        let bytes = std::fs::read(&self.path)?;
        file::check(&bytes, directory)?;
        self.runtime.session(&bytes, directory)
    }

    /// What this process has learned of models.
    pub(super) fn known(&self) -> &Known {
        self.runtime.known()
    }

    /// Remembers that an engine of ours answered what was `asked` as this model does, which is that of `file`.
    pub(super) fn learn(&self, file: &OnnxFile, asked: String) {
        // What is in other files may change.
        if self.whole {
            self.known().learn(file.digest, &self.signature, asked);
        }
    }

    /// What else answers for the graph.
    pub(super) fn engines(&self) -> &Engines {
        &self.engines
    }

    /// What goes in and what comes out.
    #[must_use]
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// The number of sessions that it may have, one per worker.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Runs the model in the session of `worker`. Numbers are passed in as views, without a copy; `inputs` may come in any
    /// order, but each of the signature exactly once.
    ///
    /// # Errors
    /// [`ModelError::Input`] for an input that is unknown, missing, given twice, of another type or of a shape that the
    /// signature excludes; [`ModelError::Output`] for an output that is not there or not supported; [`ModelError::Run`]
    /// where ONNX Runtime fails; as [`OnnxModel::load`] where the session is not made yet; [`ModelError::NoSession`] for a worker that the model was not loaded for.
    pub fn run(
        &self,
        worker: &Worker,
        inputs: &[Tensor<'_>],
        outputs: Outputs<'_>,
    ) -> Result<Vec<OutputValue>, ModelError> {
        let (index, sessions) = (worker.index(), self.sessions.len());
        let session = self.sessions.get(index).ok_or(ModelError::NoSession { worker: index, sessions })?;
        self.signature.check_inputs(inputs)?;
        let values = inputs.iter().map(convert::input).collect::<Result<Vec<_>, ModelError>>()?;
        let wanted = match outputs {
            Outputs::All => &self.all,
            Outputs::Only(wanted) => wanted,
        };
        // A panic in a former run left nothing half-done in the session itself.
        let mut session = session.lock().unwrap_or_else(PoisonError::into_inner);
        if session.is_none() {
            *session = Some(self.session()?);
        }
        let Some(session) = session.as_mut() else {
            return Err(ModelError::NoSession { worker: index, sessions });
        };
        if wanted.iter().copied().eq(0..self.signature.outputs.len()) {
            let answer = session.run(values).map_err(|error| ModelError::Run(error.to_string()))?;
            return self.read(wanted, &answer);
        }
        let mut selector = OutputSelector::no_default();
        for at in wanted {
            selector = selector.with(&self.output(*at)?.name);
        }
        let options = RunOptions::new().map_err(|error| ModelError::Run(error.to_string()))?;
        let options = options.with_outputs(selector);
        let answer =
            session.run_with_options(values, &options).map_err(|error| ModelError::Run(error.to_string()))?;
        self.read(wanted, &answer)
    }

    fn read(
        &self,
        wanted: &[usize],
        answer: &ort::session::SessionOutputs<'_>,
    ) -> Result<Vec<OutputValue>, ModelError> {
        wanted
            .iter()
            .zip(answer.values())
            .map(|(at, value)| convert::output(self.output(*at)?, &value))
            .collect()
    }

    fn output(&self, at: usize) -> Result<&TensorSpec, ModelError> {
        self.signature.outputs.get(at).ok_or_else(|| ModelError::Output {
            name: at.to_string(),
            message: format!("the model has {} outputs", self.signature.outputs.len()),
        })
    }
}

#[cfg(test)]
mod tests;
