//! Counts calls: one [`RpcMetrics`] per RPC, resolved once, and one [`RpcCall`] per call.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

/// The names of the gRPC status codes, by number.
pub(super) const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

const CANCELLED: i32 = 1;
const UNKNOWN: usize = 2;

type CounterOfCode = Box<dyn Fn(&'static str) -> Counter + Send + Sync>;

/// The resolved metrics of one RPC. A call costs a few atomic operations and the short lock of the histogram.
pub struct RpcMetrics {
    latency: Histogram,
    in_flight: Gauge,
    requests: CounterOfCode,
    resolved: [OnceLock<Counter>; CODES.len()],
}

impl RpcMetrics {
    pub(super) fn new(latency: Histogram, in_flight: Gauge, requests: CounterOfCode) -> Self {
        Self { latency, in_flight, requests, resolved: Default::default() }
    }

    /// Counts a call that arrived at `began`.
    pub fn begin(self: &Arc<Self>, began: Instant) -> RpcCall {
        self.in_flight.inc();
        RpcCall { metrics: Arc::clone(self), began, code: CANCELLED }
    }

    fn end(&self, began: Instant, code: i32) {
        let known = usize::try_from(code).ok().filter(|code| *code < CODES.len());
        let code = known.unwrap_or(UNKNOWN);
        self.resolved[code].get_or_init(|| (self.requests)(CODES[code])).inc();
        self.latency.observe(began.elapsed().as_secs_f64());
        self.in_flight.dec();
    }
}

/// A call in flight. Dropped without an answer, it counts as `CANCELLED`: its caller has given up.
#[must_use = "a call that is dropped at once counts as cancelled"]
pub struct RpcCall {
    metrics: Arc<RpcMetrics>,
    began: Instant,
    code: i32,
}

impl RpcCall {
    /// The call was answered with this gRPC status code; 0 is `OK`, and an unknown number counts as `UNKNOWN`.
    pub fn finish(mut self, code: i32) {
        self.code = code;
    }
}

impl Drop for RpcCall {
    fn drop(&mut self) {
        self.metrics.end(self.began, self.code);
    }
}
