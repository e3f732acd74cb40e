//! The trace of a call: a span named by its RPC, continued from the caller's `traceparent`, with a child for each step.
//!
//! Spans, attributes and statuses follow OpenTelemetry's conventions for RPC and gRPC
//! (<https://opentelemetry.io/docs/specs/semconv/rpc/grpc/>). Where traces are not exported, or this one was not sampled, a
//! [`Trace`] is empty and a step costs one comparison: no clock is read. Start reading at [`begin_call`].

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

/// The most steps of one call that are exported: a campaign of a million customers must not drown every other trace.
const MOST_STEPS: usize = 200;

/// Makes the spans, where traces are exported. As global as the log that [`super::logging::init`] sets up with it.
static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// From now on calls are traced.
pub(super) fn export_with(tracer: SdkTracer) {
    // The log can be set up once only, and is by then.
    _ = TRACER.set(tracer);
}

/// The trace of a call, or of a step that has steps of its own; empty unless somebody will read it.
#[derive(Debug, Clone, Default)]
pub struct Trace(Option<Arc<Sampled>>);

#[derive(Debug)]
struct Sampled {
    tracer: &'static SdkTracer,
    /// Holds the span whose children the steps are.
    parent: Context,
    shared: Arc<Shared>,
}

/// What all steps of a call share.
#[derive(Debug)]
struct Shared {
    /// How many steps may still be exported.
    left: AtomicUsize,
    /// When the call arrived, until its first message was read.
    arrived: Mutex<Option<SystemTime>>,
    /// When the first answer was ready to be written.
    answered: OnceLock<SystemTime>,
}

/// The span of a call at `path`, entered by whatever is done for it, and its trace. `method_of` has the path of an RPC that
/// exists without its first slash; `header` looks up a header of the call.
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
    // A name that a client made up would make as many kinds of spans as it likes.
    let name = method.unwrap_or("grpc");
    let span = tracing::info_span!("rpc", %path, request_id = Empty, otel.name = name, otel.kind = "server");
    let headers = Headers([("traceparent", header("traceparent")), ("tracestate", header("tracestate"))]);
    let caller = TraceContextPropagator::new().extract_with_context(&Context::new(), &headers);
    if caller.span().span_context().is_valid() {
        // It fails where the span is not exported, which nobody then asks about.
        _ = span.set_parent(caller);
    }
    // What a sampler may look at has to be there before it is asked.
    span.set_attribute("rpc.system.name", "grpc");
    match method {
        Some(method) => span.set_attribute("rpc.method", method),
        None => {
            span.set_attribute("rpc.method", "_OTHER");
            span.set_attribute("rpc.method_original", path.to_owned());
        }
    }
    // The names before version 1.38 of the conventions, which most dashboards still ask for.
    span.set_attribute("rpc.system", "grpc");
    if let Some((service, _)) = method.and_then(|method| method.split_once('/')) {
        span.set_attribute("rpc.service", service);
    }
    let parent = span.context();
    if !parent.span().span_context().is_sampled() {
        return (span, Trace::default());
    }
    let shared = Shared {
        left: AtomicUsize::new(MOST_STEPS),
        arrived: Mutex::new(Some(SystemTime::now())),
        answered: OnceLock::new(),
    };
    (span, Trace(Some(Arc::new(Sampled { tracer, parent, shared: Arc::new(shared) }))))
}

/// The trace of a call that was answered at once with this gRPC status code, before any work.
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
    /// Whether somebody will read it.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.0.is_some()
    }

    /// When a step begins; `None` where nobody will read of it.
    #[must_use]
    pub fn now(&self) -> Option<SystemTime> {
        self.is_sampled().then(SystemTime::now)
    }

    /// When the message began to be read that is read now: the arrival of the call, and for later messages of a stream this
    /// moment.
    #[must_use]
    pub fn message_began(&self) -> Option<SystemTime> {
        let sampled = self.0.as_ref()?;
        let arrived = sampled.shared.arrived.lock().unwrap_or_else(PoisonError::into_inner).take();
        arrived.or_else(|| self.now())
    }

    /// The first answer is ready, and is written from now on.
    pub fn answered(&self) {
        if let Some(sampled) = &self.0 {
            sampled.shared.answered.get_or_init(SystemTime::now);
        }
    }

    /// When the answer began to be written, which is now where nobody said it.
    #[must_use]
    pub fn answer_began(&self) -> Option<SystemTime> {
        self.0.as_ref().map(|sampled| *sampled.shared.answered.get_or_init(SystemTime::now))
    }

    /// A step that began then has ended.
    pub fn step(&self, name: &'static str, began: Option<SystemTime>) {
        if let (Some(sampled), Some(began)) = (&self.0, began) {
            sampled.step(name, began, SystemTime::now());
        }
    }

    /// Begins a step that has steps of its own; it ends when what is handed back is dropped.
    #[must_use = "the step ends when it is dropped"]
    pub fn open(&self, name: &'static str) -> Step {
        let Some(sampled) = self.0.as_ref().filter(|sampled| sampled.may_tell()) else {
            return Step(Self::default());
        };
        let span = sampled.tracer.start_with_context(name, &sampled.parent);
        let parent = sampled.parent.with_span(span);
        Step(Self(Some(Arc::new(Sampled { parent, shared: Arc::clone(&sampled.shared), ..**sampled }))))
    }

    /// Measures what is done by turns.
    pub fn laps<const N: usize>(&self, names: [&'static str; N]) -> Laps<N> {
        Laps(self.0.as_ref().map(|sampled| {
            let (began, last) = (SystemTime::now(), Instant::now());
            Box::new(Running { sampled: Arc::clone(sampled), names, sums: [Duration::ZERO; N], began, last })
        }))
    }

    /// The call was answered with this gRPC status code.
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

/// Whether a status code is the server's failure, by the conventions: a caller who asks for what does not exist is answered, and
/// that is no error of the server's span.
fn is_error(code: i32) -> bool {
    // UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS.
    matches!(code, 2 | 4 | 12 | 13 | 14 | 15)
}

impl Sampled {
    fn may_tell(&self) -> bool {
        let less = |left: usize| left.checked_sub(1);
        self.shared.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    fn step(&self, name: &'static str, began: SystemTime, ended: SystemTime) {
        if self.may_tell() {
            let builder = self.tracer.span_builder(name).with_start_time(began);
            self.tracer.build_with_context(builder, &self.parent).end_with_timestamp(ended);
        }
    }
}

/// A step that has steps of its own.
#[derive(Debug)]
pub struct Step(Trace);

impl Step {
    /// What its steps are told to.
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

/// Steps that are done by turns, customer by customer. Each becomes one span as long as all its turns, after the one before it.
#[derive(Debug)]
#[must_use = "the steps are told when it is dropped"]
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
    /// What was done since the last turn belongs to the step at `index`.
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
