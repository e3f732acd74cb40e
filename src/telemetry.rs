//! What the server says about itself: metrics, logs, traces, and whether it is ready.
//!
//! Every metric is declared in `metrics.rs` with its unit, labels and help; a [`Metrics`] is made by whoever starts the
//! server and handed around, never reached through a global. Labels are names from files and fixed words: a customer, a
//! request or an id that a client chose never becomes one. Anyone may use this module; it knows no other.

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
pub use metrics::{Metrics, ModelMetrics};
pub use offers::OfferCounts;
pub use propensities::PropensityBatch;
pub use readiness::{Readiness, State};
pub use rpc::{RpcCall, RpcMetrics};
pub use trace::{Laps, Step, Trace, begin_call, refuse_call};
