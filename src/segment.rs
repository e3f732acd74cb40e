//! Segments: groups of customers who behave alike, trained by `proffer segment train` and assigned at serve time.
//!
//! Owns the artefact `segments.json` ([`Segmentation`]), the assignment of a customer to a segment and the training.
//! Training and serving share one way from raw values to coordinates ([`Preparation`]), which starts from the same
//! 32-bit floats, so the segment that training saw is the segment that the server answers. Nothing is computed from
//! data at serve time: what training learned is in the artefact. Start reading at [`Segmentation::assign`], then
//! [`train::train`].
//!
//! # The artefact
//!
//! One JSON object in UTF-8, numbers written so that they read back to the same 64-bit float. Every key is required
//! unless it is marked optional, and no other key is allowed.
//!
//! ```json
//! {
//!   "format_version": 1,
//!   "features": [
//!     {
//!       "name": "balance",
//!       "impute": 873.4,
//!       "winsor": [0.0, 9000.0],
//!       "log1p": true,
//!       "mean": 6.16,
//!       "deviation": 2.01,
//!       "range": [0.0, 19043.1]
//!     }
//!   ],
//!   "pca": [[1.0]],
//!   "segments": [
//!     { "id": 0, "name": "Transactors", "size": 5000, "centroid": [-0.4] },
//!     { "id": 1, "name": "Revolvers", "size": 3950, "centroid": [0.5] }
//!   ],
//!   "inertia": 71656.4,
//!   "training": { "rows": 8950, "k": 2, "seed": 42, "n_init": 10 }
//! }
//! ```
//!
//! | key | meaning |
//! |---|---|
//! | `format_version` | this layout is version 1 |
//! | `features[]` | one object per feature; their order is the order of the raw values of a row, of the columns of `pca` and, without `pca`, of the coordinates |
//! | `features[].name` | the feature, as the feature schema names it; unique |
//! | `features[].impute` | stands in for a missing raw value, in the unit of the raw value |
//! | `features[].winsor` | optional: `[low, high]`, raw values beyond it count as `low` or `high` |
//! | `features[].log1p` | whether ln(1 + x) is taken; negative values count as 0 there |
//! | `features[].mean`, `deviation` | subtracted, then divided by, after the steps above; the deviation is positive |
//! | `features[].range` | `[min, max]` of the known raw values in training, both reached; a note, not used in assignment |
//! | `pca` | optional: components × features; a row is one component |
//! | `segments[]` | one object per segment, `id` equal to its position, largest segment first as trained |
//! | `segments[].name` | in plain words; unique |
//! | `segments[].size` | training rows assigned to it; its share is `size / training.rows` |
//! | `segments[].centroid` | coordinates: one per component, or per feature without `pca` |
//! | `inertia` | the SUM over the training rows of the squared Euclidean distance to the nearest centroid |
//! | `training` | rows used, number of segments, seed of the random generator, restarts |
//!
//! A raw value `x` (a 32-bit float, widened to 64 bits) becomes a standardised value in this order:
//!
//! ```text
//! x = impute                  where x is missing (NaN) or infinite
//! x = min(max(x, low), high)  where winsor is given
//! x = ln(1 + max(x, 0))       where log1p is true
//! z = (x − mean) / deviation
//! ```
//!
//! The coordinates of a row are `pca · z`, or `z` itself without `pca` (nothing is centred between the two: a shift
//! would move rows and centroids alike). The row belongs to the segment whose centroid is nearest in Euclidean
//! distance; the lowest id wins a tie.

mod assign;
mod layout;
mod prepare;
pub mod report;
pub mod train;
mod write;

pub use assign::{Assignment, Scratch, Segmentation};
pub use layout::{FILE_NAME, FORMAT_VERSION, Segment, TrainingNotes};
pub use prepare::{FeaturePreparation, Preparation};
pub use write::WriteError;
