//! The figures: each a function from the study to one `<svg>` element, drawn by plotters.
//!
//! `canvas` is the only file that knows the backend. No figure has an id, a script or a reference to anything outside.

mod canvas;
mod choice;
mod matrices;
mod profiles;
mod scatter;
mod silhouettes;

pub(super) use choice::{elbow, silhouette_by_k, stability_by_k};
pub(super) use matrices::{correlation, heat_map};
pub(super) use profiles::{bar_profile, shares};
pub(super) use scatter::{Plane, scatter};
pub(super) use silhouettes::{jaccard, silhouettes};

/// A figure could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("the figure `{figure}` cannot be drawn: {message}")]
pub(super) struct FigureError {
    /// What it would show.
    figure: String,
    /// What plotters says.
    message: String,
}
