//! Models: score a matrix.
//!
//! Owns ONNX Runtime ([`onnx`]), the models that anyone may run by name ([`Repository`]), manifests, calibration and the
//! worker threads that score. Knows features; knows nothing of offers, decisions or the wire.

mod error;
pub mod onnx;
mod repository;
mod workers;

pub use error::ModelError;
pub use repository::{Repository, RepositoryError, ServedModel};
pub use workers::{Call, Refusal, Stop, Worker, Workers};
