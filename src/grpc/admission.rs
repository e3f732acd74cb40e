//! What every call passes before its service sees it: the method, the caller's rights, draining, the deadline, the
//! limit of calls in flight, panics. Afterwards the call is counted and logged.
//!
//! Everything that the head of a request decides is decided before a byte of its body is read. The permit is taken when
//! the message has arrived ([`super::arrival`]), so that a message that never comes holds none.
//!
//! `tonic`'s own timeout answers `CANCELLED` and its concurrency limit is per connection, so both are done here.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use http::{HeaderMap, Request, Response};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::Instrument;

use super::arrival::{Arrival, Arrived, Timeouts};
use super::budget::Account;
use super::decision::request_id;
use super::exchange::{Exchange, RequestBody};
use super::head::{refuse_other_http, timeout_of};
use super::limits::Limits;
use super::peers::{CallerLimits, InFlight, Origin, Peers};
use super::permits::{Permit, Pool};
use super::rpc::{Access, Cardinality, OTHER, Offload, RPCS, Rpc};
use super::status;
use super::traced::Ending;
use telemetry::ids::new_id;
use telemetry::{Metrics, Readiness, RpcCall, RpcMetrics, State, begin_call, refuse_call};
use work::{Call, catch_panic};

/// What a service learns of an admitted call, through the request's extensions.
#[derive(Clone, Default)]
pub(super) struct Admitted {
    /// Its deadline, and whether the caller still waits.
    pub call: Call,
    /// Tells when the server drains; `None` where the call did not pass admission.
    pub readiness: Option<Readiness>,
    /// On which threads the call runs.
    pub offload: Offload,
    shared: Arc<Shared>,
}

/// What all parts of a call share.
#[derive(Default)]
struct Shared {
    /// Counts the call as in flight on its connection; `None` where the call did not pass admission.
    in_flight: Option<InFlight>,
    /// Taken when the message has arrived, and held until the answer is written or dropped.
    permit: OnceLock<Permit>,
    counted: Mutex<Option<RpcCall>>,
    own_time: AtomicBool,
}

/// Takes the permit of a call when its message has arrived.
struct TakePermit {
    shared: Arc<Shared>,
    pool: Option<Pool>,
}

impl Arrived for TakePermit {
    fn arrived(&self) -> Result<(), Status> {
        let Some(in_flight) = &self.shared.in_flight else { return Ok(()) };
        let origin = in_flight.origin();
        if let Some(pool) = self.pool {
            // A message arrives once.
            _ = self.shared.permit.set(origin.take(pool)?);
        }
        origin.has_called();
        Ok(())
    }
}

impl Admitted {
    /// What admission decided for this request.
    pub(super) fn of<T>(request: &tonic::Request<T>) -> Self {
        request.extensions().get::<Self>().cloned().unwrap_or_default()
    }

    /// Whether the caller operates this server and may read its internals. Until there are roles, every local caller is
    /// an operator.
    pub(super) fn is_of_operator(&self) -> bool {
        self.shared.in_flight.as_ref().is_some_and(|in_flight| in_flight.origin().is_local())
    }

    /// Whether no release was loaded yet when the call came to its service.
    pub(super) fn is_before_release(&self) -> bool {
        self.readiness.as_ref().is_some_and(|readiness| readiness.state() == State::Starting)
    }

    /// From now on only the caller's deadline bounds the call: its request is complete, and its answer may begin late.
    pub(super) fn take_time(&self) {
        self.shared.own_time.store(true, Ordering::Relaxed);
    }

    /// Resolves with the reason when a call should stop waiting: the server drains, or the deadline passes.
    pub(super) async fn ended(&self) -> Status {
        tokio::select! {
            () = drained(self.readiness.as_ref()) => status::draining(),
            () = passed(&self.call) => status::deadline_exceeded(),
        }
    }

    /// Takes over the counting: the service says when the call ends, not the beginning of its answer.
    pub(super) fn take_count(&self) -> Option<RpcCall> {
        self.shared.counted.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Resolves when the server begins to drain.
async fn drained(readiness: Option<&Readiness>) {
    let Some(readiness) = readiness else { return std::future::pending().await };
    let mut changes = readiness.subscribe();
    if changes.wait_for(|state| *state == State::Draining).await.is_err() {
        // The sender is gone, so a drain can no longer begin.
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

/// Whose writes are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writers {
    /// Peers on loopback.
    Local,
    /// Every peer that reaches the port.
    Everyone,
}

/// Wraps the services of the server.
#[derive(Clone)]
pub(super) struct AdmissionLayer {
    nowhere: Origin,
    /// For calls that came over none of our connections.
    unbounded: Arc<Account>,
    time: Duration,
    timeouts: Timeouts,
    longest_deadline: Duration,
    message_bytes: usize,
    writers: Writers,
    readiness: Readiness,
    rpcs: Arc<Rpcs>,
}

impl AdmissionLayer {
    /// Admits calls whose connections are among `peers`. Each message must arrive within `limits.body_time`. A call
    /// without a deadline must be answered within `limits.time`; a stream must begin its answer by then.
    pub(super) fn new(
        peers: &Peers,
        callers: &CallerLimits,
        limits: &Limits,
        writers: Writers,
        readiness: Readiness,
        metrics: &Metrics,
    ) -> Self {
        Self {
            nowhere: peers.nowhere(),
            unbounded: Account::unbounded(),
            time: limits.time,
            timeouts: Timeouts { message: limits.body_time, next: callers.longest_deadline },
            longest_deadline: callers.longest_deadline,
            message_bytes: limits.message_bytes,
            writers,
            readiness,
            rpcs: Arc::new(Rpcs::new(metrics)),
        }
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

/// The known calls, each with its metrics, resolved once. An unknown path is counted with health and reflection.
struct Rpcs {
    by_path: HashMap<&'static str, (&'static Rpc, Arc<RpcMetrics>)>,
    other: Arc<RpcMetrics>,
}

impl Rpcs {
    fn new(metrics: &Metrics) -> Self {
        let by_path = RPCS.iter().map(|rpc| (rpc.path, (rpc, metrics.rpc(rpc.name)))).collect();
        Self { by_path, other: metrics.rpc(OTHER) }
    }

    fn of(&self, path: &str) -> (Option<&'static Rpc>, &Arc<RpcMetrics>) {
        match self.by_path.get(path) {
            Some((rpc, metrics)) => (Some(rpc), metrics),
            None => (None, &self.other),
        }
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
        let (rpc, metrics) = self.layer.rpcs.of(request.uri().path());
        let counted = metrics.begin(began);
        if let Some(refused) = refuse_other_http(request.method(), request.headers()) {
            counted.finish(Code::Unknown.into());
            tracing::debug!(method = %request.method(), status = refused.status().as_u16(), "no call of gRPC");
            return Box::pin(std::future::ready(Ok(refused)));
        }
        let origin = request.extensions_mut().remove::<Origin>();
        let origin = origin.unwrap_or_else(|| self.layer.nowhere.clone());
        let (rpc, call) = match self.admit(rpc, &origin, request.headers(), began) {
            Ok(admitted) => admitted,
            Err(refused) => {
                counted.finish(refused.code().into());
                let request_id = new_id().to_string();
                let path = request.uri().path();
                tracing::debug!(%path, request_id, code = status::code_name(refused.code()), "refused");
                let method_of = |_: &str| rpc.map(Rpc::method);
                refuse_call(path, method_of, header_of(request.headers()), refused.code().into());
                let refused = status::of_request(refused, &request_id);
                return Box::pin(std::future::ready(Ok(refused.into_http())));
            }
        };
        let method_of = |_: &str| Some(rpc.method());
        let (span, trace) = begin_call(rpc.path, method_of, header_of(request.headers()));
        let call = call.traced(trace.clone());
        let shared = Arc::new(Shared {
            in_flight: Some(origin.begin()),
            counted: Mutex::new(Some(counted)),
            ..Shared::default()
        });
        let exchange = request.extensions().get::<Arc<Exchange>>();
        let exchange = exchange.map_or_else(|| Exchange::begin(&self.layer.unbounded), Arc::clone);
        // The call is in flight until the answer is written.
        exchange.keep(Arc::<Shared>::clone(&shared));
        let take_permit = TakePermit { shared: Arc::clone(&shared), pool: rpc.pool };
        let readiness = Some(self.layer.readiness.clone());
        let admitted = Admitted { call: call.clone(), readiness, offload: rpc.offload, shared };
        request.extensions_mut().insert(admitted.clone());
        let (timeouts, most) = (self.layer.timeouts, self.layer.message_bytes);
        let request = request.map(|body| {
            let body = RequestBody::new(body, rpc, Arc::clone(&exchange), most);
            Body::new(Arrival::new(body, timeouts, take_permit))
        });
        let limit = began.checked_add(self.layer.time);
        let answer = span.in_scope(|| self.inner.call(request));
        let guarded = async move {
            let ending = Ending::of(trace);
            let abandoned = call.abandon_on_drop();
            let response = in_time(limit, call.deadline(), &admitted.shared, guard(answer)).await;
            let response = status::of_caller(response, || request_id(""));
            if rpc.requests == Cardinality::One {
                exchange.release_request();
            }
            abandoned.disarm();
            let code = code_of(&response);
            if let Some(counted) = admitted.take_count() {
                counted.finish(code.into());
            }
            // Neither is computed unless it is logged.
            tracing::debug!(code = status::code_name(code), took = ?began.elapsed(), "answered");
            Ok(ending.answer(response))
        };
        Box::pin(guarded.instrument(span))
    }
}

impl<S> Admission<S> {
    /// Checks the head of a request.
    fn admit(
        &self,
        rpc: Option<&'static Rpc>,
        origin: &Origin,
        headers: &HeaderMap,
        began: Instant,
    ) -> Result<(&'static Rpc, Call), Status> {
        let rpc = rpc.ok_or_else(status::no_such_call)?;
        let asked = timeout_of(headers)?;
        // A unary call holds its permit no longer than this, regardless of the caller's timeout; a stream may last.
        let timeout =
            asked.map(|asked| if rpc.is_unary() { asked.min(self.layer.longest_deadline) } else { asked });
        let call = Call::new(timeout.and_then(|timeout| began.checked_add(timeout)));
        if rpc.access == Access::Writes && self.layer.writers == Writers::Local && !origin.is_local() {
            return Err(status::only_local_writes());
        }
        if rpc.pool.is_none() {
            return Ok((rpc, call));
        }
        match self.layer.readiness.state() {
            // Leaving was announced; clients that have not noticed are still answered.
            State::Ready { .. } | State::Leaving => {}
            State::Starting if rpc.before_release => {}
            State::Starting => return Err(status::starting()),
            State::Draining => return Err(status::draining()),
        }
        if timeout == Some(Duration::ZERO) {
            return Err(status::deadline_exceeded());
        }
        Ok((rpc, call))
    }
}

/// Waits for `answer` until the caller's deadline. Without one it waits until `limit`, or longer if the service has
/// called [`Admitted::take_time`] by then.
async fn in_time(
    limit: Option<Instant>,
    deadline: Option<Instant>,
    shared: &Shared,
    answer: impl Future<Output = Response<Body>>,
) -> Response<Body> {
    let mut answer = pin!(answer);
    let Some(end) = deadline.or(limit) else { return answer.await };
    match tokio::time::timeout_at(end.into(), &mut answer).await {
        Ok(response) => response,
        Err(_) if deadline.is_none() && shared.own_time.load(Ordering::Relaxed) => answer.await,
        Err(_) => status::deadline_exceeded().into_http(),
    }
}

/// Answers a panic in a service, so that it does not end the connection that other calls share.
async fn guard(answer: impl Future<Output = Result<Response<Body>, Infallible>>) -> Response<Body> {
    match caught(answer).await {
        Ok(Ok(response)) => response,
        Ok(Err(never)) => match never {},
        Err(status) => status.into_http(),
    }
}

/// Runs `work` to its end and catches its panic.
///
/// # Errors
/// The status of the panic, which is in the log.
pub(super) async fn caught<T>(work: impl Future<Output = T>) -> Result<T, Status> {
    let mut work = pin!(work);
    poll_fn(|context| match catch_panic(|| work.as_mut().poll(context)) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(done)) => Poll::Ready(Ok(done)),
        Err(panic) => {
            let id = new_id().to_string();
            Poll::Ready(Err(status::internal(&panic.message, &id)))
        }
    })
    .await
}

/// Looks up headers that are plain text.
fn header_of<'h>(headers: &'h HeaderMap) -> impl Fn(&str) -> Option<&'h str> {
    move |name| headers.get(name)?.to_str().ok()
}

/// The status of a response that has no body. A stream's own status comes at its end; here the stream counts as `OK`.
fn code_of(response: &Response<Body>) -> Code {
    Status::from_header_map(response.headers()).map_or(Code::Ok, |status| status.code())
}

#[cfg(test)]
mod tests;
