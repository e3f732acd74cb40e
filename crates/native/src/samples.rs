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

use std::path::{Path, PathBuf};

pub mod linear;
pub mod mlp;
pub mod trees;

pub use linear::LinearSample;
pub use mlp::MlpSample;
pub use trees::Sample;

/// The models from public repositories with recorded answers. They are not part of the project; `PROFFER_DATA` names
/// the directory with their folder. `None`, with a note, if it is not available.
pub fn reference_models() -> Option<PathBuf> {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let models = std::env::var_os("PROFFER_DATA").map_or_else(default, PathBuf::from).join("onnx_models");
    if models.join("REFERENCE_RUNS.json").is_file() {
        return Some(models);
    }
    eprintln!("skipped: no {} (point PROFFER_DATA at the data folder)", models.display());
    None
}
