//! The charts of the report: each a function from the study to one `<svg>` element, drawn by plotters.
//!
//! Only `canvas` uses plotters. No chart has an id, a script or an external reference.

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
    /// The label of the figure.
    figure: String,
    /// The error of plotters.
    message: String,
}
