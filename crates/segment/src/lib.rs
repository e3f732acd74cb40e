//! Segments: groups of customers who behave alike, trained by `proffer segment train` and assigned at serve time.
//!
//! Owns the artefact `segments.json` ([`Segmentation`]) and the assignment of a customer to a segment.
//! The crate `segment-train` produces the artefact.
//! Training and serving share one path from raw 32-bit floats to coordinates ([`Preparation`]).
//! So the server assigns each customer to the segment that training did.
//! The artefact holds everything that training learned; serving learns nothing from data.
//! Start reading at [`Segmentation::assign`], then `train` in the crate `segment-train`.
//!
//! # The artefact
//!
//! One JSON object in UTF-8, with numbers written so that they read back to the same 64-bit float.
//! Every key is required unless it is marked optional, and no other key is allowed.
//! Keys marked informational play no part in assignment.
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
//! | `format_version` | 1 for this format |
//! | `features[]` | one object per feature; their order is the order of the raw values of a row, of the columns of `pca` and, without `pca`, of the coordinates |
//! | `features[].name` | the feature, as the feature schema names it |
//! | `features[].equals` | optional, for a text feature: the raw value is 1 if the text is exactly this one, else 0; `name` and `equals` together are unique, and features that share a `name` all have `equals` |
//! | `features[].impute` | replaces a missing raw value, in the same unit; 0 or 1 beside `equals` |
//! | `features[].imputed_with` | optional: `impute` is the `median` of the known raw values (the default), their `mean`, or a `constant` from the settings; informational |
//! | `features[].winsor` | optional: `[low, high]`; raw values outside are clamped to these bounds |
//! | `features[].log1p` | whether ln(1 + x) is applied; negative values count as 0 |
//! | `features[].mean`, `deviation` | the value minus `mean`, divided by `deviation`, after the steps above; `deviation` is positive. They are the mean and the population standard deviation over the training rows; with `scale` `min-max`, the minimum and the maximum minus the minimum |
//! | `features[].range` | `[min, max]` of the known raw values in training; informational |
//! | `features[].reference` | optional: histogram of the raw values in training, for drift; informational |
//! | `features[].reference.edges` | at most 9, strictly ascending: the deciles of the known raw values; a decile equal to the minimum moves to the next value above it |
//! | `features[].reference.counts` | known raw values per bin: below the first edge, from each edge (inclusive) to the next, and from the last edge on; one more than edges |
//! | `features[].reference.missing` | training rows without a value; the counts and `missing` add up to `training.rows` |
//! | `pca` | optional: components × features, one component per row. Training writes orthonormal components in descending order of variance, with their largest weight positive |
//! | `segments[]` | one object per segment, `id` equal to its position; training writes the largest segment first |
//! | `segments[].name` | a unique name in plain words |
//! | `segments[].size` | training rows assigned to it; its share is `size / training.rows` |
//! | `segments[].centroid` | coordinates: one per component, or per feature without `pca` |
//! | `inertia` | sum (not mean) over the training rows of the squared Euclidean distance to the nearest centroid |
//! | `training.rows`, `k`, `seed`, `n_init` | rows used, number of segments, random seed, restarts of k-means |
//! | `training.scale` | optional: `z-score` (the default) or `min-max`: what `mean` and `deviation` are; informational |
//! | `training.variance_kept` | optional, with `pca` only: share of the variance of the scaled features that the components explain, above 0 and at most 1 |
//! | `training.dropped[]` | optional: columns left out, each with `feature` (a name, or name=text) and its `reason` |
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
//! The coordinates of a row are `pca · z`, or `z` itself without `pca`.
//! Nothing is centred between the two: a shift would move rows and centroids alike.
//! The row belongs to the segment whose centroid is nearest in Euclidean distance; the lowest id wins a tie.

pub mod artefact;
pub mod assign;
mod golden;
pub mod prepare;
#[cfg(any(test, feature = "test-support"))]
pub mod samples;
pub mod simd;

pub use artefact::{DroppedFeature, FILE_NAME, FORMAT_VERSION, Segment, TrainingNotes};
pub use assign::{Assignment, Scratch, Segmentation};
pub use golden::GOLDEN_FILE;
pub use prepare::{FeaturePreparation, ImputedWith, Preparation, Reference, Scale};
