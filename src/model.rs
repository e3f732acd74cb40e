//! Models: score a matrix.
//!
//! Owns ONNX Runtime ([`onnx`]), the native engine for ensembles of trees and linear models ([`trees`]), the models that anyone may run by name ([`Repository`]), manifests, calibration and the
//! worker threads that score. Knows features; knows nothing of offers, decisions or the wire. Start reading at [`Model`], a
//! loaded version.

mod calibration;
mod checksums;
mod cost;
mod error;
mod graph;
mod inputs;
mod manifest;
mod matrix;
pub mod onnx;
mod output;
mod pairing;
mod repository;
mod rounding;
pub mod trees;
mod version;
mod workers;

pub use calibration::{Calibration, Direction, FALLING, Isotonic};
pub use checksums::{Checksums, hex, sha256_of, sha256_of_file};
pub use cost::Cost;
pub use error::ModelError;
pub use graph::{Engine, Why};
pub use manifest::{
    Class, GateLimits, Inputs, Layout, MEAN_LIMIT, Manifest, ModelKind, PSI_LIMIT, RANK_LIMIT,
};
pub use matrix::{InputError, Matrix};
pub use pairing::Pairing;
pub use repository::{Repository, RepositoryError, ServedModel};
pub use version::{Model, Scores};
pub use workers::{Call, INLINE, Lane, Needs, Refusal, Stop, Worker, Workers, panic_message};
