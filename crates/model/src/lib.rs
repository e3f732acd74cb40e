//! Models: from rows of features to scores.
//!
//! Owns ONNX Runtime ([`onnx`]), the choice between it and the native engine (the crate `native`), manifests and
//! calibration. Also owns the models that clients may run by name ([`Repository`]). Knows features; knows nothing of
//! offers, decisions or the wire. Start reading at [`Model`], a loaded version.

mod cache;
mod calibration;
mod checksums;
mod engine;
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
mod sizes;
mod version;

pub use cache::{GraphCache, LoadedGraph};
pub use calibration::{Calibration, Direction, FALLING, Isotonic};
use checksums::unhex;
pub use checksums::{Checksums, alike, hex, sha256_of, sha256_of_file};
pub use engine::{Engine, NotNative};
pub use error::ModelError;
pub use manifest::{
    Class, GateLimits, Inputs, Layout, MEAN_LIMIT, Manifest, ModelKind, PSI_LIMIT, RANK_LIMIT,
};
pub use matrix::{InputError, Matrix};
pub use pairing::Pairing;
pub use repository::{Permit, Permits, Repository, RepositoryError, ServedModel};
pub use sizes::{
    MAX_BATCH, MAX_BATCH_VALUES, MAX_GRAPH_BYTES, MAX_MANIFEST_BYTES, MAX_SEGMENTS_BYTES, MAX_TENSOR_BYTES,
    read_at_most, read_text_at_most,
};
pub use version::{Model, Scores};
