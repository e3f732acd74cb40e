//! What every call passes before its service sees it: draining, the limit of calls under way, the deadline, panics; and
//! what is counted and logged of it afterwards.
//!
//! `tonic`'s own timeout answers `CANCELLED` and its concurrency limit is per connection, so both are done here. The timer of
//! this layer is started before tonic's and has the same length, so it is the one that fires.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::{HeaderMap, Request, Response};
use tokio::sync::Semaphore;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::Instrument;

use super::status;
use crate::model::{Call, panic_message};
use crate::telemetry::{Metrics, Readiness, RpcCall, RpcMetrics, State};

/// What a service is given of a call that was admitted; found in the request's extensions.
#[derive(Clone, Default)]
pub(super) struct Admitted {
    /// Its deadline, and whether anyone still waits.
    pub call: Call,
    /// Whether the server goes away meanwhile; `None` where nobody admitted the call.
    pub readiness: Option<Readiness>,
    /// Held as long as the call is under way.
    #[expect(dead_code, reason = "dropping it is its use")]
    permit: Permit,
    counted: Arc<Mutex<Option<RpcCall>>>,
}

impl Admitted {
    /// Takes over the counting: the call ends when the service says so, not when its answer begins.
    pub fn take_count(&self) -> Option<RpcCall> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Wraps the services of the server.
#[derive(Clone)]
pub(super) struct AdmissionLayer {
    permits: Arc<Semaphore>,
    time: Duration,
    readiness: Readiness,
    rpcs: Arc<Rpcs>,
}

impl AdmissionLayer {
    /// At most `concurrent_calls` under way at once, each answered (or, a stream, begun to be) within `time`.
    pub fn new(concurrent_calls: usize, time: Duration, readiness: Readiness, metrics: &Metrics) -> Self {
        let rpcs = Arc::new(Rpcs::new(metrics));
        Self { permits: Arc::new(Semaphore::new(concurrent_calls)), time, readiness, rpcs }
    }
}

impl<S> Layer<S> for AdmissionLayer {
    type Service = Admission<S>;

    fn layer(&self, inner: S) -> Admission<S> {
        Admission { inner, layer: self.clone() }
    }
}

/// See [`AdmissionLayer`].
#[derive(Clone)]
pub(super) struct Admission<S> {
    inner: S,
    layer: AdmissionLayer,
}

/// The paths of the calls that are counted by name.
const COUNTED: [(&str, &str); 11] = [
    ("/proffer.v1.DecisionService/Rank", "Rank"),
    ("/proffer.v1.DecisionService/RankStream", "RankStream"),
    ("/proffer.v1.DecisionService/Score", "Score"),
    ("/proffer.v1.DecisionService/ScoreStream", "ScoreStream"),
    ("/proffer.v1.DecisionService/AssignSegments", "AssignSegments"),
    ("/inference.GRPCInferenceService/ServerLive", "ServerLive"),
    ("/inference.GRPCInferenceService/ServerReady", "ServerReady"),
    ("/inference.GRPCInferenceService/ModelReady", "ModelReady"),
    ("/inference.GRPCInferenceService/ServerMetadata", "ServerMetadata"),
    ("/inference.GRPCInferenceService/ModelMetadata", "ModelMetadata"),
    ("/inference.GRPCInferenceService/ModelInfer", "ModelInfer"),
];

/// What probes of other servers ask.
const PROBES: [&str; 4] = [
    "/inference.GRPCInferenceService/ServerLive",
    "/inference.GRPCInferenceService/ServerReady",
    "/inference.GRPCInferenceService/ServerMetadata",
    "/inference.GRPCInferenceService/ModelReady",
];

/// The metrics of each call, resolved once. A path that a client made up is counted with health and reflection.
struct Rpcs {
    by_path: HashMap<&'static str, Arc<RpcMetrics>>,
    other: Arc<RpcMetrics>,
}

impl Rpcs {
    fn new(metrics: &Metrics) -> Self {
        let by_path = COUNTED.into_iter().map(|(path, rpc)| (path, metrics.rpc(rpc))).collect();
        Self { by_path, other: metrics.rpc("other") }
    }

    fn of(&self, path: &str) -> &Arc<RpcMetrics> {
        self.by_path.get(path).unwrap_or(&self.other)
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl<S> Service<Request<Body>> for Admission<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Answer {
        let began = Instant::now();
        let path = request.uri().path().to_owned();
        let counted = self.layer.rpcs.of(&path).begin();
        let admitted = self.admit(&path, request.headers(), began);
        let (call, permit) = match admitted {
            Ok(admitted) => admitted,
            Err(refused) => {
                counted.finish(refused.code().into());
                return Box::pin(std::future::ready(Ok(refused.into_http())));
            }
        };
        let admitted = Admitted {
            call: call.clone(),
            readiness: Some(self.layer.readiness.clone()),
            permit,
            counted: Arc::new(Mutex::new(Some(counted))),
        };
        request.extensions_mut().insert(admitted.clone());
        let span = tracing::info_span!("rpc", path, request_id = tracing::field::Empty);
        // Without a bound, a caller that sends half a message would be waited for without end.
        let bound = call.deadline().or_else(|| began.checked_add(self.layer.time));
        let answer = span.in_scope(|| self.inner.call(request));
        let guarded = async move {
            let abandoned = call.abandon_on_drop();
            let response = status::of_caller(until(bound, guard(answer)).await);
            abandoned.disarm();
            let code = code_of(&response);
            if let Some(counted) = admitted.take_count() {
                counted.finish(code.into());
            }
            let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            tracing::debug!(code = status::code_name(code), micros, "answered");
            Ok(response)
        };
        Box::pin(guarded.instrument(span))
    }
}

type Permit = Option<Arc<tokio::sync::OwnedSemaphorePermit>>;

impl<S> Admission<S> {
    fn admit(&self, path: &str, headers: &HeaderMap, began: Instant) -> Result<(Call, Permit), Status> {
        let timeout = timeout_of(headers)?;
        let call = Call::new(timeout.and_then(|timeout| began.checked_add(timeout)));
        // Whoever asks how the server is must get an answer, above all when it drains or is full.
        if path.starts_with("/grpc.") || PROBES.contains(&path) {
            return Ok((call, None));
        }
        match self.layer.readiness.state() {
            State::Ready { .. } => {}
            State::Starting => return Err(Status::unavailable("no release is loaded yet; call again soon")),
            State::Draining => return Err(status::draining()),
        }
        if timeout == Some(Duration::ZERO) {
            return Err(status::deadline_exceeded());
        }
        match Arc::clone(&self.layer.permits).try_acquire_owned() {
            Ok(permit) => Ok((call, Some(Arc::new(permit)))),
            Err(_) => Err(Status::resource_exhausted("too many calls are under way; try again later")),
        }
    }
}

/// Waits for `answer`, but not beyond the deadline.
async fn until(deadline: Option<Instant>, answer: impl Future<Output = Response<Body>>) -> Response<Body> {
    let Some(deadline) = deadline else { return answer.await };
    match tokio::time::timeout_at(deadline.into(), answer).await {
        Ok(response) => response,
        Err(_) => status::deadline_exceeded().into_http(),
    }
}

/// A panic in a service is answered, not carried into the connection that other calls share.
async fn guard(answer: impl Future<Output = Result<Response<Body>, Infallible>>) -> Response<Body> {
    match caught(answer).await {
        Ok(Ok(response)) => response,
        Ok(Err(never)) => match never {},
        Err(status) => status.into_http(),
    }
}

/// Runs `work` to its end; a panic in it is our fault.
///
/// # Errors
/// The status of the panic, which is in the log.
pub(super) async fn caught<T>(work: impl Future<Output = T>) -> Result<T, Status> {
    let mut work = pin!(work);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(done)) => Poll::Ready(Ok(done)),
        Err(panic) => {
            let id = uuid::Uuid::now_v7().to_string();
            Poll::Ready(Err(status::internal(panic_message(&*panic), &id)))
        }
    })
    .await
}

/// The status of a response that has no body; a stream's own status comes at its end and counts as `OK` here.
fn code_of(response: &Response<Body>) -> Code {
    Status::from_header_map(response.headers()).map_or(Code::Ok, |status| status.code())
}

/// The caller's `grpc-timeout`: up to eight digits and a unit
/// (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>).
fn timeout_of(headers: &HeaderMap) -> Result<Option<Duration>, Status> {
    let Some(value) = headers.get("grpc-timeout") else { return Ok(None) };
    let parsed = value.to_str().ok().and_then(|text| {
        let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let amount: u64 = (digits.len() <= 8).then(|| digits.parse().ok())??;
        Some(match unit {
            "H" => Duration::from_secs(amount * 3600),
            "M" => Duration::from_secs(amount * 60),
            "S" => Duration::from_secs(amount),
            "m" => Duration::from_millis(amount),
            "u" => Duration::from_micros(amount),
            "n" => Duration::from_nanos(amount),
            _ => return None,
        })
    });
    match parsed {
        Some(timeout) => Ok(Some(timeout)),
        None => Err(status::invalid("grpc-timeout", "must be up to eight digits and a unit of HMSmun")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Option<Duration>, Code> {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-timeout", text.parse().unwrap());
        timeout_of(&headers).map_err(|status| status.code())
    }

    #[test]
    fn timeouts_are_read_in_every_unit_and_refused_in_none() {
        assert_eq!(parse("5S"), Ok(Some(Duration::from_secs(5))));
        assert_eq!(parse("20m"), Ok(Some(Duration::from_millis(20))));
        assert_eq!(parse("7u"), Ok(Some(Duration::from_micros(7))));
        assert_eq!(parse("1H"), Ok(Some(Duration::from_hours(1))));
        for wrong in ["", "S", "5", "5x", "-5S", "123456789S", "5 S"] {
            assert_eq!(parse(wrong), Err(Code::InvalidArgument), "{wrong:?}");
        }
        assert_eq!(timeout_of(&HeaderMap::new()).unwrap(), None);
    }
}
