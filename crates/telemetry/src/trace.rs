//! The trace of a call: a span named by its RPC, continued from the caller's `traceparent`, with a child per step.
//!
//! Spans, attributes and statuses follow OpenTelemetry's conventions for RPC and gRPC
//! (<https://opentelemetry.io/docs/specs/semconv/rpc/grpc/>). If traces are not exported, or the call is not sampled,
//! a [`Trace`] is empty. A step then costs one comparison, and no clock is read. Start reading at [`begin_call`].

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{Span as _, Status, TraceContextExt, Tracer};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracer;
use tracing::Span;
use tracing::field::Empty;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::rpc::CODES;

/// The most exported steps of one call: a bulk call of a million customers must not drown all other traces.
const MAX_STEPS: usize = 200;

/// Creates the spans if traces are exported. As global as the log, which [`super::logging::init`] sets up with it.
static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// Starts tracing calls.
pub(super) fn export_with(tracer: SdkTracer) {
    // The log can be set up only once, and this runs after it.
    _ = TRACER.set(tracer);
}

/// The trace of a call, or of a step with steps of its own; empty unless the call is sampled.
#[derive(Debug, Clone, Default)]
pub struct Trace(Option<Arc<Sampled>>);

#[derive(Debug)]
struct Sampled {
    tracer: &'static SdkTracer,
    /// The context of the span that is the parent of the steps.
    parent: Context,
    shared: Arc<Shared>,
}

/// State shared by all steps of a call.
#[derive(Debug)]
struct Shared {
    /// How many more steps may be exported.
    left: AtomicUsize,
    /// When the call arrived; taken once its first message was read.
    arrived: Mutex<Option<SystemTime>>,
    /// When the first answer was ready to be written.
    answered: OnceLock<SystemTime>,
}

/// Begins the span and the trace of a call at `path`. All work for the call enters the span. `method_of` maps the
/// path of a known RPC to its name without the first slash. `header` looks up a header of the call.
#[must_use]
pub fn begin_call<'h>(
    path: &str,
    method_of: impl Fn(&str) -> Option<&'static str>,
    header: impl Fn(&str) -> Option<&'h str>,
) -> (Span, Trace) {
    let Some(tracer) = TRACER.get() else {
        return (tracing::info_span!("rpc", %path, request_id = Empty), Trace::default());
    };
    let method = method_of(path);
    // A client could otherwise create any number of span names.
    let name = method.unwrap_or("grpc");
    let span = tracing::info_span!("rpc", %path, request_id = Empty, otel.name = name, otel.kind = "server");
    let headers = Headers([("traceparent", header("traceparent")), ("tracestate", header("tracestate"))]);
    let caller = TraceContextPropagator::new().extract_with_context(&Context::new(), &headers);
    if caller.span().span_context().is_valid() {
        // Fails if the span is not exported, and then the parent does not matter.
        _ = span.set_parent(caller);
    }
    // Attributes must be set before the sampler sees the span.
    span.set_attribute("rpc.system.name", "grpc");
    match method {
        Some(method) => span.set_attribute("rpc.method", method),
        None => {
            span.set_attribute("rpc.method", "_OTHER");
            span.set_attribute("rpc.method_original", path.to_owned());
        }
    }
    // The attribute names before version 1.38 of the conventions, which most dashboards still use.
    span.set_attribute("rpc.system", "grpc");
    if let Some((service, _)) = method.and_then(|method| method.split_once('/')) {
        span.set_attribute("rpc.service", service);
    }
    let parent = span.context();
    if !parent.span().span_context().is_sampled() {
        return (span, Trace::default());
    }
    let shared = Shared {
        left: AtomicUsize::new(MAX_STEPS),
        arrived: Mutex::new(Some(SystemTime::now())),
        answered: OnceLock::new(),
    };
    (span, Trace(Some(Arc::new(Sampled { tracer, parent, shared: Arc::new(shared) }))))
}

/// Records the trace of a call that was answered with this gRPC status code before any work.
pub fn refuse_call<'h>(
    path: &str,
    method_of: impl Fn(&str) -> Option<&'static str>,
    header: impl Fn(&str) -> Option<&'h str>,
    code: i32,
) {
    if TRACER.get().is_some() {
        let (_span, trace) = begin_call(path, method_of, header);
        trace.finish(code);
    }
}

/// The headers that continue a trace.
struct Headers<'h>([(&'static str, Option<&'h str>); 2]);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| *name == key).and_then(|(_, value)| *value)
    }

    fn keys(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| *name).collect()
    }
}

impl Trace {
    /// Whether the call is sampled.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.0.is_some()
    }

    /// The start time of a step; `None` if the call is not sampled.
    #[must_use]
    pub fn now(&self) -> Option<SystemTime> {
        self.is_sampled().then(SystemTime::now)
    }

    /// When reading of the current message began: the arrival of the call, or now for later messages of a stream.
    #[must_use]
    pub fn message_began(&self) -> Option<SystemTime> {
        let sampled = self.0.as_ref()?;
        let arrived = sampled.shared.arrived.lock().unwrap_or_else(PoisonError::into_inner).take();
        arrived.or_else(|| self.now())
    }

    /// Marks the first answer as ready; its writing begins now.
    pub fn answered(&self) {
        if let Some(sampled) = &self.0 {
            sampled.shared.answered.get_or_init(SystemTime::now);
        }
    }

    /// When writing of the answer began; now, unless [`answered`](Self::answered) was called.
    #[must_use]
    pub fn answer_began(&self) -> Option<SystemTime> {
        self.0.as_ref().map(|sampled| *sampled.shared.answered.get_or_init(SystemTime::now))
    }

    /// Records a step from `began` until now.
    pub fn step(&self, name: &'static str, began: Option<SystemTime>) {
        if let (Some(sampled), Some(began)) = (&self.0, began) {
            sampled.step(name, began, SystemTime::now());
        }
    }

    /// Begins a step with steps of its own. It ends when the returned value is dropped.
    #[must_use = "the step ends when it is dropped"]
    pub fn open(&self, name: &'static str) -> Step {
        let Some(sampled) = self.0.as_ref().filter(|sampled| sampled.take_step()) else {
            return Step(Self::default());
        };
        let span = sampled.tracer.start_with_context(name, &sampled.parent);
        let parent = sampled.parent.with_span(span);
        Step(Self(Some(Arc::new(Sampled { parent, shared: Arc::clone(&sampled.shared), ..**sampled }))))
    }

    /// Measures steps that alternate.
    pub fn laps<const N: usize>(&self, names: [&'static str; N]) -> Laps<N> {
        Laps(self.0.as_ref().map(|sampled| {
            let (began, last) = (SystemTime::now(), Instant::now());
            Box::new(Running { sampled: Arc::clone(sampled), names, sums: [Duration::ZERO; N], began, last })
        }))
    }

    /// Records the gRPC status code that the call was answered with.
    pub fn finish(&self, code: i32) {
        let Some(sampled) = &self.0 else { return };
        let name = usize::try_from(code).ok().and_then(|code| CODES.get(code)).copied().unwrap_or("UNKNOWN");
        let span = sampled.parent.span();
        span.set_attribute(KeyValue::new("rpc.response.status_code", name));
        span.set_attribute(KeyValue::new("rpc.grpc.status_code", i64::from(code)));
        if is_error(code) {
            span.set_attribute(KeyValue::new("error.type", name));
            span.set_status(Status::error(name));
        }
    }
}

/// Whether a status code is a failure of the server, by the conventions. A caller error such as `NOT_FOUND` is no
/// error of the server's span.
fn is_error(code: i32) -> bool {
    // UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS.
    matches!(code, 2 | 4 | 12 | 13 | 14 | 15)
}

impl Sampled {
    fn take_step(&self) -> bool {
        let less = |left: usize| left.checked_sub(1);
        self.shared.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    fn step(&self, name: &'static str, began: SystemTime, ended: SystemTime) {
        if self.take_step() {
            let builder = self.tracer.span_builder(name).with_start_time(began);
            self.tracer.build_with_context(builder, &self.parent).end_with_timestamp(ended);
        }
    }
}

/// A step with steps of its own.
#[derive(Debug)]
pub struct Step(Trace);

impl Step {
    /// The trace that records its steps.
    #[must_use]
    pub fn trace(&self) -> &Trace {
        &self.0
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(sampled) = &self.0.0 {
            sampled.parent.span().end();
        }
    }
}

/// Steps that alternate, customer by customer. Each becomes one span with the sum of its times, placed after the
/// previous step.
#[derive(Debug)]
#[must_use = "the steps are recorded when it is dropped"]
pub struct Laps<const N: usize>(Option<Box<Running<N>>>);

#[derive(Debug)]
struct Running<const N: usize> {
    sampled: Arc<Sampled>,
    names: [&'static str; N],
    sums: [Duration; N],
    began: SystemTime,
    last: Instant,
}

impl<const N: usize> Laps<N> {
    /// Adds the time since the last call to the step at `index`.
    pub fn lap(&mut self, index: usize) {
        if let Some(running) = &mut self.0 {
            let now = Instant::now();
            if let Some(sum) = running.sums.get_mut(index) {
                *sum += now - running.last;
            }
            running.last = now;
        }
    }
}

impl<const N: usize> Drop for Laps<N> {
    fn drop(&mut self) {
        let Some(running) = self.0.take() else { return };
        let mut began = running.began;
        for (name, took) in running.names.into_iter().zip(running.sums) {
            let ended = began + took;
            running.sampled.step(name, began, ended);
            began = ended;
        }
    }
}
