//! Observability of the server: metrics, logs, traces and readiness.
//!
//! `metrics.rs` declares every metric with its unit, labels and help. `App` makes the [`Metrics`] and hands them
//! around; there is no global. Labels are names from files and fixed words. A customer, a request or an id that a
//! client chose never becomes a label. Of this workspace only crate `document` is used here.

pub mod foreign;
pub mod ids;
pub mod logging;

mod exposition;
mod labels;
mod metrics;
mod offers;
mod otlp;
mod process;
mod propensities;
mod readiness;
mod rpc;
mod trace;

pub use exposition::Format;
pub use metrics::{LimitUse, Metrics, ModelMetrics, ShadowMetrics, Unrecorded};
pub use offers::OfferCounts;
pub use process::memory_limit;
pub use propensities::PropensityBatch;
pub use readiness::{Readiness, State};
pub use rpc::{RpcCall, RpcMetrics};
pub use trace::{Laps, Step, Trace, begin_call, refuse_call};
