//! ONNX Runtime: the only place that names `ort`.
//!
//! Owns the library and its one environment ([`OnnxRuntime`]), the check of a file before the library sees it, sessions
//! and their signatures ([`OnnxModel`]), and tensors in and out. It never loads a library of custom operators, never
//! reads weights from outside the model's directory and never lets telemetry on. Start reading at [`OnnxModel::load`].

mod cache;
mod convert;
mod file;
pub(in crate::model) mod proto;
mod runtime;
mod tensor;

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use ort::session::{OutputSelector, RunOptions, Session};

use super::{ModelError, Worker};
pub use cache::OnnxCache;
pub use runtime::{OnnxRuntime, VERSION, disable_telemetry};
pub use tensor::{
    ElementType, LabelKind, Labels, OutputValue, Signature, Tensor, TensorData, TensorSpec, ValueKind,
};

/// A model in memory: its signature and one session per worker.
#[derive(Debug)]
pub struct OnnxModel {
    signature: Signature,
    /// Indices of the outputs that can be converted: what [`Outputs::All`] means.
    all: Vec<usize>,
    /// Session `i` belongs to worker `i`. `ort` runs a session through `&mut`, so each sits behind a lock, which is
    /// never contended: there is one [`Worker`] of each number.
    sessions: Vec<Mutex<Session>>,
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
    /// Reads the model at `path` once, checks it, and makes `sessions` sessions of the same bytes.
    ///
    /// # Errors
    /// A file that is missing, empty, a Git LFS pointer or no ONNX model; a graph without outputs, with custom operators,
    /// with inputs of unsupported types, or with weights outside its own directory; whatever ONNX Runtime refuses.
    pub fn load(runtime: &OnnxRuntime, path: &Path, sessions: usize) -> Result<Self, ModelError> {
        let directory = path.parent().unwrap_or(Path::new("."));
        let bytes = std::fs::read(path)?;
        file::check(&bytes, directory)?;
        let sessions = (0..sessions.max(1))
            .map(|_| runtime.session(&bytes, directory))
            .collect::<Result<Vec<Session>, ModelError>>()?;
        let signature = convert::signature(&sessions[0]);
        for input in &signature.inputs {
            if let ValueKind::Unsupported(kind) = &input.kind {
                return Err(ModelError::UnsupportedType { name: input.name.clone(), kind: kind.clone() });
            }
        }
        let supported = |output: &TensorSpec| !matches!(output.kind, ValueKind::Unsupported(_));
        let all = (0..signature.outputs.len()).filter(|at| supported(&signature.outputs[*at])).collect();
        Ok(Self { signature, all, sessions: sessions.into_iter().map(Mutex::new).collect() })
    }

    /// What goes in and what comes out.
    #[must_use]
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// The number of sessions, one per worker.
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
    /// where ONNX Runtime fails; [`ModelError::NoSession`] for a worker that the model was not loaded for.
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
