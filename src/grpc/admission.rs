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
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::{HeaderMap, Request, Response};
use tokio::sync::Semaphore;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::Instrument;

use super::status;
use crate::model::Call;
use crate::telemetry::{Metrics, Readiness, RpcMetrics, State};

/// Wraps the services of the server.
#[derive(Clone)]
pub(super) struct AdmissionLayer {
    permits: Arc<Semaphore>,
    readiness: Readiness,
    rpcs: Arc<Rpcs>,
}

impl AdmissionLayer {
    /// At most `concurrent_calls` under way at once.
    pub fn new(concurrent_calls: usize, readiness: Readiness, metrics: &Metrics) -> Self {
        let rpcs = Arc::new(Rpcs::new(metrics));
        Self { permits: Arc::new(Semaphore::new(concurrent_calls)), readiness, rpcs }
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
        request.extensions_mut().insert(call.clone());
        let span = tracing::info_span!("rpc", path, request_id = tracing::field::Empty);
        let answer = self.inner.call(request);
        let guarded = async move {
            let _permit = permit;
            let abandoned = call.abandon_on_drop();
            let response = until(call.deadline(), guard(answer)).await;
            abandoned.disarm();
            let code = code_of(&response);
            counted.finish(code.into());
            let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            tracing::debug!(code = status::code_name(code), micros, "answered");
            Ok(response)
        };
        Box::pin(guarded.instrument(span))
    }
}

type Permit = Option<tokio::sync::OwnedSemaphorePermit>;

impl<S> Admission<S> {
    fn admit(&self, path: &str, headers: &HeaderMap, began: Instant) -> Result<(Call, Permit), Status> {
        let timeout = timeout_of(headers)?;
        let call = Call::new(timeout.and_then(|timeout| began.checked_add(timeout)));
        // Whoever asks how the server is must get an answer, above all when it drains or is full.
        if path.starts_with("/grpc.") {
            return Ok((call, None));
        }
        if self.layer.readiness.state() == State::Draining {
            return Err(Status::unavailable("the server is shutting down; call another replica"));
        }
        if timeout == Some(Duration::ZERO) {
            return Err(status::deadline_exceeded());
        }
        match Arc::clone(&self.layer.permits).try_acquire_owned() {
            Ok(permit) => Ok((call, Some(permit))),
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
    let mut answer = pin!(answer);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(context))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(Ok(response))) => Poll::Ready(response),
        Ok(Poll::Ready(Err(never))) => match never {},
        Err(_) => {
            let id = uuid::Uuid::now_v7().to_string();
            Poll::Ready(status::internal("a service panicked", &id).into_http())
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
