//! What can go wrong with a model, as data.

use std::io;
use std::path::PathBuf;

use work::Cancellation;

/// Why ONNX Runtime, a model file or a run failed.
///
/// Messages never repeat the path of a model. Callers know it, and clients do not need it.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// No library of ONNX Runtime in any of the searched places.
    #[error(
        "ONNX Runtime was not found (looked for {}); fetch it with `make onnxruntime` (python3 \
         scripts/fetch_onnxruntime.py), or point ORT_DYLIB_PATH at the library",
        .looked_for.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    RuntimeNotFound {
        /// The paths in search order.
        looked_for: Vec<PathBuf>,
    },
    /// A library that cannot be loaded or has the wrong version.
    #[error(
        "cannot use the ONNX Runtime at {}: {message}; fetch the right one with `make onnxruntime` (python3 \
         scripts/fetch_onnxruntime.py)",
        .path.display()
    )]
    RuntimeUnusable {
        /// The library.
        path: PathBuf,
        /// The loader's message.
        message: String,
    },
    /// The environment variable that disables ONNX Runtime's telemetry is not set.
    #[error(
        "ORT_DISABLE_TELEMETRY=1 is not set, and without it ONNX Runtime would write to the home directory and report to \
         its vendor; set it, or call `model::onnx::disable_telemetry` before the first thread starts"
    )]
    TelemetryOn,
    /// It is too late to set the variable: other threads may read the environment.
    #[error("telemetry must be switched off before the process has {threads} threads")]
    TooLateForTelemetry {
        /// How many there are.
        threads: usize,
    },
    /// The file cannot be read.
    #[error("the file cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// The file is empty.
    #[error("the file is empty")]
    EmptyFile,
    /// The file is not the one that was judged.
    #[error("the file is not the one that passed: it was changed since")]
    NotTheFile,
    /// A file or declared size above the limit.
    #[error("{what} is {found}, and at most {most} is taken")]
    TooLarge {
        /// What is too large.
        what: String,
        /// Its size, actual or declared.
        found: u64,
        /// The limit.
        most: u64,
    },
    /// The model was taken out of service.
    #[error("the model is out of service: {0}")]
    OutOfService(String),
    /// The run was stopped because its caller no longer waits.
    #[error("the model was stopped: {0}")]
    Cancelled(Cancellation),
    /// A Git LFS pointer: the file itself was not fetched.
    #[error("this is a Git LFS pointer, not a model: run `git lfs pull`")]
    GitLfsPointer,
    /// The bytes are not an ONNX model.
    #[error("this is not an ONNX model, or only a part of one: {detail}")]
    NotOnnx {
        /// Where reading stopped.
        detail: String,
    },
    /// A graph without outputs.
    #[error("the graph has no outputs, so there is nothing to score with")]
    NoOutputs,
    /// An operator that needs a library of custom operators. None is ever loaded.
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
    /// Weights in another file that must not or cannot be read.
    #[error("the weights in {location:?} are refused: {reason}")]
    ExternalData {
        /// The location in the model.
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
    /// An input that does not match the model.
    #[error("input `{name}`: {message}")]
    Input {
        /// The input.
        name: String,
        /// What is wrong with it.
        message: String,
    },
    /// An output that does not exist or has another form.
    #[error("output `{name}`: {message}")]
    Output {
        /// The output.
        name: String,
        /// What is wrong with it.
        message: String,
    },
    /// ONNX Runtime failed during a run.
    #[error("the model failed: {0}")]
    Run(String),
    /// A worker with a higher number than the model has sessions.
    #[error("worker {worker} has no session; the model was loaded with {sessions}")]
    NoSession {
        /// The number of the worker.
        worker: usize,
        /// The number of sessions.
        sessions: usize,
    },
}
