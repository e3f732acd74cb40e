//! Models: score a matrix.
//!
//! Owns ONNX Runtime, manifests, calibration and the worker threads that score. Knows features; knows nothing of offers,
//! decisions or the wire.

mod workers;

pub use workers::{Call, Refusal, Stop, Worker, Workers};
