//! What every call passes before its service sees it: draining, the limit of calls under way, the deadline, panics; and
//! what is counted and logged of it afterwards.
//!
//! `tonic`'s own timeout answers `CANCELLED` and its concurrency limit is per connection, so both are done here. The timer of
//! this layer is started before tonic's and has the same length, so it is the one that fires.
//!
//! There are four pools of permits ([`Pool`]), so that no flood of decisions keeps anybody from rolling back, and no
//! number of uploads or watchers keeps customers from their offers.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use http::{HeaderMap, Request, Response};
use tokio::sync::Semaphore;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::Instrument;

use super::decision::request_id;
use super::status;
use super::traced::Ending;
use crate::model::{Call, panic_message};
use crate::telemetry::{Metrics, Readiness, RpcCall, RpcMetrics, State, begin_call, refuse_call};

/// What a service is given of a call that was admitted; found in the request's extensions.
#[derive(Clone, Default)]
pub(super) struct Admitted {
    /// Its deadline, and whether anyone still waits.
    pub call: Call,
    /// Whether the server goes away meanwhile; `None` where nobody admitted the call.
    pub readiness: Option<Readiness>,
    shared: Arc<Shared>,
}

/// What all who hold a call share.
#[derive(Default)]
struct Shared {
    /// Held as long as the call is under way.
    #[expect(dead_code, reason = "dropping it is its use")]
    permit: Permit,
    counted: Mutex<Option<RpcCall>>,
    own_time: AtomicBool,
}

impl Admitted {
    /// What admission made of this request.
    pub fn of<T>(request: &tonic::Request<T>) -> Self {
        request.extensions().get::<Self>().cloned().unwrap_or_default()
    }

    /// From now on only the caller's deadline bounds the call: its request is here, and its answer may begin late.
    pub fn take_time(&self) {
        self.shared.own_time.store(true, Ordering::Relaxed);
    }

    /// Resolves when a call should not go on waiting: the server drains, or the deadline passes. Says which.
    pub async fn ended(&self) -> Status {
        tokio::select! {
            () = drained(self.readiness.as_ref()) => status::draining(),
            () = passed(&self.call) => status::deadline_exceeded(),
        }
    }

    /// Takes over the counting: the call ends when the service says so, not when its answer begins.
    pub fn take_count(&self) -> Option<RpcCall> {
        self.shared.counted.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Resolves when the server begins to drain.
async fn drained(readiness: Option<&Readiness>) {
    let Some(readiness) = readiness else { return std::future::pending().await };
    let mut changes = readiness.subscribe();
    if changes.wait_for(|state| *state == State::Draining).await.is_err() {
        // Nobody is left who could begin it.
        std::future::pending::<()>().await;
    }
}

/// Resolves when the deadline of the call passes.
async fn passed(call: &Call) {
    match call.deadline() {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// Calls that take permits from each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pool {
    /// Decisions, scores and inferences.
    Serving,
    /// What moves `CURRENT`: no upload and no slow gate keeps anybody from rolling back.
    Switching,
    /// Pushing, releasing, and questions about versions and releases.
    Management,
    /// Streams that tell of releases, and stay open.
    Watching,
}

/// Calls of management under way at once: each may hold a thread, and an upload a few messages in memory.
const MANAGEMENT_CALLS: usize = 32;

/// Promotions and rollbacks under way at once.
const SWITCHES: usize = 8;

/// Watchers at once.
const WATCHERS: usize = 256;

impl Pool {
    /// The pool of a path; `None` for those who ask how the server is: they must get an answer, above all when it drains or
    /// is full.
    fn of(path: &str) -> Option<Self> {
        match path {
            "/proffer.v1.ReleaseService/WatchReleases" => Some(Self::Watching),
            "/proffer.v1.ReleaseService/PromoteRelease" | "/proffer.v1.ReleaseService/RollbackRelease" => {
                Some(Self::Switching)
            }
            _ if path.starts_with("/proffer.v1.ModelService/") => Some(Self::Management),
            _ if path.starts_with("/proffer.v1.ReleaseService/") => Some(Self::Management),
            _ if path.starts_with("/grpc.") || PROBES.contains(&path) => None,
            _ => Some(Self::Serving),
        }
    }
}

/// The permits of each pool.
#[derive(Clone)]
struct Permits {
    serving: Arc<Semaphore>,
    switching: Arc<Semaphore>,
    management: Arc<Semaphore>,
    watching: Arc<Semaphore>,
}

impl Permits {
    fn new(concurrent_calls: usize) -> Self {
        let pool = |permits| Arc::new(Semaphore::new(permits));
        Self {
            serving: pool(concurrent_calls),
            switching: pool(SWITCHES),
            management: pool(MANAGEMENT_CALLS),
            watching: pool(WATCHERS),
        }
    }

    fn take(&self, pool: Pool) -> Result<Permit, Status> {
        let (permits, refusal) = match pool {
            Pool::Serving => (&self.serving, "too many calls are under way; try again later"),
            Pool::Switching => (&self.switching, "too many promotions are under way; try again later"),
            Pool::Management => {
                (&self.management, "too many calls of management are under way; try again later")
            }
            Pool::Watching => (&self.watching, "too many watchers; try again later"),
        };
        let permit = Arc::clone(permits).try_acquire_owned();
        permit.map(Some).map_err(|_| status::exhausted(refusal))
    }
}

/// Wraps the services of the server.
#[derive(Clone)]
pub(super) struct AdmissionLayer {
    permits: Permits,
    time: Duration,
    readiness: Readiness,
    rpcs: Arc<Rpcs>,
}

impl AdmissionLayer {
    /// At most `concurrent_calls` that serve under way at once, each answered (or, a stream, begun to be) within `time`; calls of
    /// management have pools of their own.
    pub fn new(concurrent_calls: usize, time: Duration, readiness: Readiness, metrics: &Metrics) -> Self {
        let rpcs = Arc::new(Rpcs::new(metrics));
        Self { permits: Permits::new(concurrent_calls), time, readiness, rpcs }
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
const COUNTED: [(&str, &str); 23] = [
    ("/proffer.v1.DecisionService/Rank", "Rank"),
    ("/proffer.v1.DecisionService/RankStream", "RankStream"),
    ("/proffer.v1.DecisionService/Score", "Score"),
    ("/proffer.v1.DecisionService/ScoreStream", "ScoreStream"),
    ("/proffer.v1.DecisionService/AssignSegments", "AssignSegments"),
    ("/proffer.v1.ModelService/PushModelVersion", "PushModelVersion"),
    ("/proffer.v1.ModelService/ListModels", "ListModels"),
    ("/proffer.v1.ModelService/GetModelVersion", "GetModelVersion"),
    ("/proffer.v1.ModelService/DeleteModelVersion", "DeleteModelVersion"),
    ("/proffer.v1.ReleaseService/CreateRelease", "CreateRelease"),
    ("/proffer.v1.ReleaseService/GetRelease", "GetRelease"),
    ("/proffer.v1.ReleaseService/ListReleases", "ListReleases"),
    ("/proffer.v1.ReleaseService/PromoteRelease", "PromoteRelease"),
    ("/proffer.v1.ReleaseService/RollbackRelease", "RollbackRelease"),
    ("/proffer.v1.ReleaseService/WatchReleases", "WatchReleases"),
    ("/proffer.v1.ReleaseService/DiffReleases", "DiffReleases"),
    ("/proffer.v1.ReleaseService/ListPromotions", "ListPromotions"),
    ("/inference.GRPCInferenceService/ServerLive", "ServerLive"),
    ("/inference.GRPCInferenceService/ServerReady", "ServerReady"),
    ("/inference.GRPCInferenceService/ModelReady", "ModelReady"),
    ("/inference.GRPCInferenceService/ServerMetadata", "ServerMetadata"),
    ("/inference.GRPCInferenceService/ModelMetadata", "ModelMetadata"),
    ("/inference.GRPCInferenceService/ModelInfer", "ModelInfer"),
];

/// The other calls that exist, all counted together.
const UNCOUNTED: [&str; 4] = [
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// The service and the method of a path, as traces name them; `None` where a client made it up.
fn method_of(path: &str) -> Option<&'static str> {
    let mut known = COUNTED.into_iter().map(|(known, _)| known).chain(UNCOUNTED);
    known.find(|known| *known == path)?.strip_prefix('/')
}

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
        let counted = self.layer.rpcs.of(&path).begin(began);
        let admitted = self.admit(&path, request.headers(), began);
        let (call, permit) = match admitted {
            Ok(admitted) => admitted,
            Err(refused) => {
                counted.finish(refused.code().into());
                let request_id = uuid::Uuid::now_v7().to_string();
                tracing::debug!(%path, request_id, code = status::code_name(refused.code()), "refused");
                refuse_call(&path, method_of, header_of(request.headers()), refused.code().into());
                let refused = status::of_request(refused, &request_id);
                return Box::pin(std::future::ready(Ok(refused.into_http())));
            }
        };
        let (span, trace) = begin_call(&path, method_of, header_of(request.headers()));
        let call = call.traced(trace.clone());
        let admitted = Admitted {
            call: call.clone(),
            readiness: Some(self.layer.readiness.clone()),
            shared: Arc::new(Shared {
                permit,
                counted: Mutex::new(Some(counted)),
                own_time: AtomicBool::new(false),
            }),
        };
        request.extensions_mut().insert(admitted.clone());
        let limit = began.checked_add(self.layer.time);
        let answer = span.in_scope(|| self.inner.call(request));
        let guarded = async move {
            let ending = Ending::of(trace);
            let abandoned = call.abandon_on_drop();
            let answer = guard(answer);
            let response = match call.deadline() {
                Some(deadline) => until(deadline, answer).await,
                None => within(limit, &admitted.shared.own_time, answer).await,
            };
            let response = status::of_caller(response, || request_id(""));
            abandoned.disarm();
            let code = code_of(&response);
            if let Some(counted) = admitted.take_count() {
                counted.finish(code.into());
            }
            // Neither is worked out unless it is logged.
            tracing::debug!(code = status::code_name(code), took = ?began.elapsed(), "answered");
            Ok(ending.answer(response))
        };
        Box::pin(guarded.instrument(span))
    }
}

type Permit = Option<tokio::sync::OwnedSemaphorePermit>;

impl<S> Admission<S> {
    fn admit(&self, path: &str, headers: &HeaderMap, began: Instant) -> Result<(Call, Permit), Status> {
        let timeout = timeout_of(headers)?;
        let call = Call::new(timeout.and_then(|timeout| began.checked_add(timeout)));
        let Some(pool) = Pool::of(path) else { return Ok((call, None)) };
        match self.layer.readiness.state() {
            // Who leaves has told so, and answers those who have not heard.
            State::Ready { .. } | State::Leaving => {}
            State::Starting => return Err(status::starting()),
            State::Draining => return Err(status::draining()),
        }
        if timeout == Some(Duration::ZERO) {
            return Err(status::deadline_exceeded());
        }
        Ok((call, self.layer.permits.take(pool)?))
    }
}

/// Waits for `answer`, but not beyond the deadline.
async fn until(deadline: Instant, answer: impl Future<Output = Response<Body>>) -> Response<Body> {
    match tokio::time::timeout_at(deadline.into(), answer).await {
        Ok(response) => response,
        Err(_) => status::deadline_exceeded().into_http(),
    }
}

/// Waits for `answer` until `limit`, and longer only when the service has taken the time into its own hands by then: a caller
/// that sends half a message must not be waited for without end.
async fn within(
    limit: Option<Instant>,
    own_time: &AtomicBool,
    answer: impl Future<Output = Response<Body>>,
) -> Response<Body> {
    let Some(limit) = limit else { return answer.await };
    let mut answer = pin!(answer);
    match tokio::time::timeout_at(limit.into(), &mut answer).await {
        Ok(response) => response,
        Err(_) if own_time.load(Ordering::Relaxed) => answer.await,
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

/// Looks headers up that are plain text.
fn header_of<'h>(headers: &'h HeaderMap) -> impl Fn(&str) -> Option<&'h str> {
    move |name| headers.get(name)?.to_str().ok()
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
    use prost::Message;

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

    #[test]
    fn decisions_management_and_watchers_take_no_permits_from_each_other() {
        let permits = Permits::new(1);
        let path = |service: &str, rpc: &str| format!("/proffer.v1.{service}Service/{rpc}");
        let [rank, roll_back, push, watch] = [
            path("Decision", "Rank"),
            path("Release", "RollbackRelease"),
            path("Model", "PushModelVersion"),
            path("Release", "WatchReleases"),
        ]
        .map(|path| Pool::of(&path).unwrap());
        let held = permits.take(rank).unwrap();
        assert_eq!(permits.take(rank).unwrap_err().code(), Code::ResourceExhausted);
        let watchers: Vec<Permit> = (0..WATCHERS).map(|_| permits.take(watch).unwrap()).collect();
        assert_eq!(permits.take(watch).unwrap_err().code(), Code::ResourceExhausted);
        let managing: Vec<Permit> = (0..MANAGEMENT_CALLS).map(|_| permits.take(push).unwrap()).collect();
        assert_eq!(permits.take(push).unwrap_err().code(), Code::ResourceExhausted);
        let switching: Vec<Permit> = (0..SWITCHES).map(|_| permits.take(roll_back).unwrap()).collect();
        assert_eq!(permits.take(roll_back).unwrap_err().code(), Code::ResourceExhausted);
        drop((held, watchers, managing, switching));
        assert!([rank, watch, push, roll_back].into_iter().all(|pool| permits.take(pool).is_ok()));
    }

    #[test]
    fn each_path_has_its_pool_and_every_call_of_ours_is_counted_by_name() {
        assert_eq!(Pool::of("/grpc.health.v1.Health/Check"), None);
        assert_eq!(Pool::of("/inference.GRPCInferenceService/ServerReady"), None);
        assert_eq!(Pool::of("/inference.GRPCInferenceService/ModelInfer"), Some(Pool::Serving));
        assert_eq!(Pool::of("/made/up"), Some(Pool::Serving));
        for (path, rpc) in COUNTED {
            assert!(path.ends_with(&format!("/{rpc}")), "{path}");
        }
        let files = prost_types::FileDescriptorSet::decode(super::super::proto::DESCRIPTORS).unwrap().file;
        let ours = files.iter().filter(|file| file.package() == "proffer.v1");
        for (service, rpc) in ours.flat_map(|file| &file.service).flat_map(|service| {
            service.method.iter().map(|method| (service.name().to_owned(), method.name().to_owned()))
        }) {
            let path = format!("/proffer.v1.{service}/{rpc}");
            assert!(COUNTED.iter().any(|(counted, _)| *counted == path), "{path}");
            let managed = service != "DecisionService";
            assert_eq!(Pool::of(&path) != Some(Pool::Serving), managed, "{path}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_limit_holds_until_the_service_takes_the_time_over() {
        let limit = Instant::now().checked_add(Duration::from_secs(1));
        let late = || async {
            tokio::time::sleep(Duration::from_mins(5)).await;
            Response::new(Body::empty())
        };
        let taken = AtomicBool::new(false);
        assert_eq!(code_of(&within(limit, &taken, late()).await), Code::DeadlineExceeded);
        taken.store(true, Ordering::Relaxed);
        assert_eq!(code_of(&within(limit, &taken, late()).await), Code::Ok);
    }
}
