//! What can go wrong with a model, as data.

use std::io;
use std::path::PathBuf;

/// Why ONNX Runtime, a model file or a run failed.
///
/// Messages never repeat the path of a model: who asked for the model knows it, and clients need not.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// No library of ONNX Runtime in any of the places that are looked at.
    #[error(
        "ONNX Runtime was not found (looked for {}); fetch it with `make onnxruntime` (python3 \
         scripts/fetch_onnxruntime.py), or point ORT_DYLIB_PATH at the library",
        .looked_for.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    RuntimeNotFound {
        /// The paths, in the order in which they were tried.
        looked_for: Vec<PathBuf>,
    },
    /// A library that cannot be loaded, or is of another version.
    #[error(
        "cannot use the ONNX Runtime at {}: {message}; fetch the right one with `make onnxruntime` (python3 \
         scripts/fetch_onnxruntime.py)",
        .path.display()
    )]
    RuntimeUnusable {
        /// The library.
        path: PathBuf,
        /// What the loader says.
        message: String,
    },
    /// The environment variable that keeps ONNX Runtime silent is missing.
    #[error(
        "ORT_DISABLE_TELEMETRY=1 is not set, and without it ONNX Runtime would write to the home directory and report to \
         its vendor; set it, or call `model::onnx::disable_telemetry` before the first thread starts"
    )]
    TelemetryOn,
    /// The environment variable can no longer be set because threads exist that may read the environment.
    #[error("telemetry must be switched off before the process has {threads} threads")]
    TooLateForTelemetry {
        /// How many there are.
        threads: usize,
    },
    /// The file cannot be read.
    #[error("the file cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// A file of no bytes.
    #[error("the file is empty")]
    EmptyFile,
    /// What git keeps in place of a large file that was not fetched.
    #[error("this is a Git LFS pointer, not a model: run `git lfs pull`")]
    GitLfsPointer,
    /// The bytes are no ONNX model.
    #[error("this is not an ONNX model, or only a part of one: {detail}")]
    NotOnnx {
        /// Where reading stopped.
        detail: String,
    },
    /// A graph from which nothing comes.
    #[error("the graph has no outputs, so there is nothing to score with")]
    NoOutputs,
    /// An operator that only a library of custom operators could provide; none is ever loaded.
    #[error(
        "the operator `{operator}` of the domain `{domain}` is a custom operator; libraries of custom operators are not \
         loaded"
    )]
    CustomOperator {
        /// The operator.
        operator: String,
        /// The domain it comes from.
        domain: String,
    },
    /// Weights in another file that must not, or cannot, be read.
    #[error("the weights in {location:?} are refused: {reason}")]
    ExternalData {
        /// The location as the model writes it.
        location: String,
        /// Why it is refused.
        reason: &'static str,
    },
    /// An input or output of a type that cannot be handled.
    #[error("`{name}` is of a type that is not supported: {kind}")]
    UnsupportedType {
        /// The input or output.
        name: String,
        /// Its type.
        kind: String,
    },
    /// ONNX Runtime refuses the model.
    #[error("ONNX Runtime cannot load the model: {0}")]
    Load(String),
    /// An input that the model does not take in this form.
    #[error("input `{name}`: {message}")]
    Input {
        /// The input.
        name: String,
        /// What is wrong with it.
        message: String,
    },
    /// An output that does not exist, or not in this form.
    #[error("output `{name}`: {message}")]
    Output {
        /// The output.
        name: String,
        /// What is wrong with it.
        message: String,
    },
    /// ONNX Runtime failed while it ran the model.
    #[error("the model failed: {0}")]
    Run(String),
    /// A worker whose number is beyond the sessions of the model.
    #[error("worker {worker} has no session; the model was loaded with {sessions}")]
    NoSession {
        /// The number of the worker.
        worker: usize,
        /// The number of sessions.
        sessions: usize,
    },
}
