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
//!       "range": [0.0, 19043.1],
//!       "reference": { "edges": [50.5, 2910.0], "counts": [3000, 3000, 2948], "missing": 2 }
//!     },
//!     {
//!       "name": "job",
//!       "equals": "admin.",
//!       "impute": 0.0,
//!       "imputed_with": "constant",
//!       "log1p": false,
//!       "mean": 0.25,
//!       "deviation": 0.43,
//!       "range": [0.0, 1.0]
//!     }
//!   ],
//!   "pca": [[0.8, 0.6]],
//!   "segments": [
//!     { "id": 0, "name": "Transactors", "size": 5000, "centroid": [-0.4] },
//!     { "id": 1, "name": "Revolvers", "size": 3950, "centroid": [0.5] }
//!   ],
//!   "inertia": 71656.4,
//!   "training": {
//!     "rows": 8950, "k": 2, "seed": 42, "n_init": 10, "variance_kept": 0.91,
//!     "dropped": [{ "feature": "limit", "reason": "correlates with `balance` (r = 0.97)" }]
//!   }
//! }
//! ```
//!
//! | key | meaning |
//! |---|---|
//! | `format_version` | this layout is version 1 |
//! | `features[]` | one object per feature; their order is the order of the raw values of a row, of the columns of `pca` and, without `pca`, of the coordinates |
//! | `features[].name` | the feature, as the feature schema names it |
//! | `features[].equals` | optional, of a feature that is text: the raw value is 1 where the text is this one, letter by letter, else 0; no two features have the same `name` and `equals`, and a `name` is text everywhere or nowhere |
//! | `features[].impute` | stands in for a missing raw value, in the unit of the raw value; 0 or 1 beside `equals` |
//! | `features[].imputed_with` | optional: whether `impute` is the `median` of the known raw values (also where the key is absent), their `mean` or a `constant` that a person gave; a note, not used in assignment |
//! | `features[].winsor` | optional: `[low, high]`, raw values beyond it count as `low` or `high` |
//! | `features[].log1p` | whether ln(1 + x) is taken; negative values count as 0 there |
//! | `features[].mean`, `deviation` | subtracted, then divided by, after the steps above; the deviation is positive. Mean and population standard deviation over the training rows; with `scale` `min-max` the least value, and the distance from it to the greatest |
//! | `features[].range` | `[min, max]` of the known raw values in training, both reached; a note, not used in assignment |
//! | `features[].reference` | optional: the raw values of training, counted, to hold later ones against; a note, not used in assignment |
//! | `features[].reference.edges` | at most 9, ascending, none twice: the deciles of the known raw values, those at the least value moved to the next value above it |
//! | `features[].reference.counts` | known raw values below the first edge, from each edge (included) to the next, from the last edge on: one more than edges |
//! | `features[].reference.missing` | training rows without a value; with the counts it adds up to `training.rows` |
//! | `pca` | optional: components × features; a row is one component, as trained of length 1, at right angles to the others, its largest weight positive, and of more variance than the next |
//! | `segments[]` | one object per segment, `id` equal to its position, largest segment first as trained |
//! | `segments[].name` | in plain words; unique |
//! | `segments[].size` | training rows assigned to it; its share is `size / training.rows` |
//! | `segments[].centroid` | coordinates: one per component, or per feature without `pca` |
//! | `inertia` | the SUM over the training rows of the squared Euclidean distance to the nearest centroid |
//! | `training.rows`, `k`, `seed`, `n_init` | rows used, number of segments, seed of the random generator, restarts |
//! | `training.scale` | optional: `z-score` (also where the key is absent) or `min-max`: what `mean` and `deviation` are; a note, not used in assignment |
//! | `training.variance_kept` | optional, with `pca` only: the share of the variance of the scaled features that the components hold, above 0, at most 1 |
//! | `training.dropped[]` | optional: columns that were left out, each `feature` (a name, or name=text) with its `reason` |
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
pub mod drift;
mod golden;
mod lanes;
mod layout;
mod percent;
mod prepare;
pub mod report;
pub mod train;
pub mod write;

pub use assign::{Assignment, Scratch, Segmentation};
pub use golden::GOLDEN_FILE;
pub use layout::{DroppedFeature, FILE_NAME, FORMAT_VERSION, Segment, TrainingNotes};
pub use prepare::{FeaturePreparation, ImputedWith, Preparation, Reference, Scale};
pub use write::WriteError;
