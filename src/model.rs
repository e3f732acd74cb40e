//! Models: score a matrix.
//!
//! Owns ONNX Runtime ([`onnx`]), manifests, calibration and the worker threads that score. Knows features; knows nothing
//! of offers, decisions or the wire.

mod error;
pub mod onnx;
mod workers;

pub use error::ModelError;
pub use workers::{Call, Refusal, Stop, Worker, Workers};
