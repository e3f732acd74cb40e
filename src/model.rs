//! Models: score a matrix.
//!
//! Owns ONNX Runtime ([`onnx`]), the models that anyone may run by name ([`Repository`]), manifests, calibration and the
//! worker threads that score. Knows features; knows nothing of offers, decisions or the wire. Start reading at [`Model`], a
//! loaded version.

mod calibration;
mod checksums;
mod cost;
mod error;
mod inputs;
mod manifest;
mod matrix;
pub mod onnx;
mod output;
mod repository;
mod version;
mod workers;

pub use calibration::{Calibration, Isotonic};
pub use checksums::{Checksums, hex, sha256_of};
pub use cost::Cost;
pub use error::ModelError;
pub use manifest::{Class, Inputs, Layout, Manifest, ModelKind, PSI_LIMIT};
pub use matrix::{InputError, Matrix};
pub use repository::{Repository, RepositoryError, ServedModel};
pub use version::{Model, Scores};
pub use workers::{Call, Lane, Refusal, Stop, Worker, Workers, panic_message};
