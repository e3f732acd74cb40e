//! Random models as graphs, for tests of this crate and for comparisons with ONNX Runtime.

#![allow(
    missing_docs,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::return_self_not_must_use,
    clippy::unwrap_used,
    clippy::wildcard_imports,
    reason = "builders for tests"
)]

pub mod linear;
pub mod mlp;
pub mod trees;

pub use linear::LinearSample;
pub use mlp::MlpSample;
pub use trees::Sample;
