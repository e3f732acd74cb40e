//! HTTP/2 below the calls: how much a connection may ask for and hold, and when it is closed.
//!
//! `hyper` serves each connection; its settings are here, and the [`Exchange`] that each call gets.
//!
//! Clients that do not read their answers are reset in two steps. A stream is reset when nothing of its answer was
//! taken for `limits.write_time`. After twice that time without progress the connection is reset: only that drops the
//! answers that `h2` holds to their end. From half of a drain on, connections without progress are closed.
//!
//! Start reading at [`Services::serve`].

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};
use tokio_stream::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::service::Routes;
use tower::Service;

use super::admission::Admission;
use super::budget::{Account, Budget};
use super::connection::Connection;
use super::exchange::{Exchange, ResponseBody};
use super::guarded::Guarded;
use super::offload::Offloaded;
use super::peers::Origin;

/// A silent connection is pinged after this long, and closed when it does not respond.
const KEEPALIVE: Duration = Duration::from_mins(1);

/// Bytes that a stream may send before they are read. Later bytes are read once they fit the budget.
const STREAM_WINDOW: u32 = 512 << 10;

/// Bytes that a connection may send before they are read, and so the most that `hyper` holds of unread requests.
const CONNECTION_WINDOW: u32 = 1 << 20;

/// Bytes that `h2` holds of the answer of one stream, beyond the piece that it was handed last.
const SEND_BUFFER: usize = 256 << 10;

/// Bytes of the headers of a call.
const HEADER_BYTES: u32 = 16 << 10;

/// How long a connection that holds up a drain may make no progress.
const DRAIN_STALL: Duration = Duration::from_secs(1);

/// The least time between two checks of a connection.
const CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// The settings of every connection.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// Calls that a connection may have open at once.
    pub streams: u32,
    /// Bytes that a connection may hold.
    pub connection_bytes: usize,
    /// The budget of all connections.
    pub memory: Arc<Budget>,
    /// How long an answer may go unread.
    pub write_time: Duration,
    /// How long a drain may take.
    pub drain: Duration,
}

/// The services of a thread, and the settings of its connections.
pub(super) struct Services {
    /// The layers, and the services beneath them.
    pub layers: Admission<Offloaded<Routes>>,
    /// The terms.
    pub settings: Settings,
}

impl Services {
    /// Serves new connections until `stop` is cancelled, then serves the open ones to their end.
    pub(super) async fn serve(
        self,
        connections: impl Stream<Item = io::Result<Guarded<Connection>>>,
        stop: CancellationToken,
    ) {
        let mut connections = pin!(connections);
        // Each connection holds a sender until it ends.
        let (open, mut ended) = mpsc::channel::<Infallible>(1);
        loop {
            let connection = tokio::select! {
                () = stop.cancelled() => break,
                connection = connections.next() => connection,
            };
            match connection {
                Some(Ok(connection)) => {
                    let (layers, settings) = (self.layers.clone(), self.settings.clone());
                    let (stop, open) = (stop.child_token(), open.clone());
                    tokio::spawn(async move {
                        serve(connection, layers, settings, stop).await;
                        drop(open);
                    });
                }
                Some(Err(error)) => tracing::debug!(%error, "a connection was lost before it was served"),
                None => break,
            }
        }
        drop(open);
        ended.recv().await;
    }
}

/// Serves one connection to its end.
async fn serve(
    connection: Guarded<Connection>,
    layers: Admission<Offloaded<Routes>>,
    settings: Settings,
    stop: CancellationToken,
) {
    let account = Arc::new(Account::new(Arc::clone(&settings.memory), settings.connection_bytes));
    let streams = Streams { begun: Arc::default(), write_time: settings.write_time };
    let calls = Calls {
        layers: RefCell::new(layers),
        origin: connection.origin().clone(),
        account: Arc::clone(&account),
        begun: Arc::clone(&streams.begun),
    };
    let origin = calls.origin.clone();
    let mut builder = http2::Builder::new(streams);
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE)
        .max_concurrent_streams(settings.streams)
        .max_header_list_size(HEADER_BYTES)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(connection), calls));
    let interval = (settings.write_time / 4).max(CHECK_INTERVAL);
    {
        let mut unread = Unchanged::new(&account);
        let mut looking = pin!(tokio::time::sleep(interval));
        loop {
            tokio::select! {
                biased;
                ended = &mut connection => return over(ended),
                () = &mut looking => {
                    if account.unread() > 0 && unread.since(&account) >= settings.write_time * 2 {
                        tracing::debug!(unread = account.unread(), "closing a connection that reads no answers");
                        return;
                    }
                    if account.unread() == 0 {
                        unread = Unchanged::new(&account);
                    }
                    looking.as_mut().reset(Instant::now() + interval);
                }
                () = stop.cancelled() => break,
                () = origin.left() => break,
            }
        }
    }
    connection.as_mut().graceful_shutdown();
    let half = settings.drain / 2;
    if let Ok(ended) = tokio::time::timeout(half, &mut connection).await {
        return over(ended);
    }
    loop {
        let before = account.progress();
        match tokio::time::timeout(DRAIN_STALL.min(half / 8).max(CHECK_INTERVAL), &mut connection).await {
            Ok(ended) => return over(ended),
            Err(_) if account.busy.load(Ordering::Relaxed) == 0 && account.progress() == before => {
                tracing::debug!(unread = account.unread(), "closing a connection that holds up the drain");
                return;
            }
            Err(_) => {}
        }
    }
}

fn over(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended with an error");
    }
}

/// Since when a connection has made no progress.
struct Unchanged {
    progress: u64,
    since: Instant,
}

impl Unchanged {
    fn new(account: &Account) -> Self {
        Self { progress: account.gone.load(Ordering::Relaxed), since: Instant::now() }
    }

    /// How long the connection has made no progress.
    fn since(&mut self, account: &Account) -> Duration {
        if self.progress != account.gone.load(Ordering::Relaxed) {
            *self = Self::new(account);
        }
        self.since.elapsed()
    }
}

/// Hands each call of a connection to the layers.
struct Calls {
    /// Only the task of the connection calls them.
    layers: RefCell<Admission<Offloaded<Routes>>>,
    origin: Origin,
    account: Arc<Account>,
    begun: Arc<LatestCall>,
}

impl hyper::service::Service<Request<Incoming>> for Calls {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn call(&self, request: Request<Incoming>) -> ResponseFuture {
        let exchange = Exchange::begin(&self.account);
        self.begun.put(Arc::clone(&exchange));
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(self.origin.clone());
        request.extensions_mut().insert(Arc::clone(&exchange));
        // The layers are always ready.
        let answer = self.layers.borrow_mut().call(request);
        ResponseFuture { answer, exchange }
    }
}

/// The answer to a call, until its head is ready.
struct ResponseFuture {
    answer: <Admission<Offloaded<Routes>> as Service<Request<Body>>>::Future,
    exchange: Arc<Exchange>,
}

impl Future for ResponseFuture {
    type Output = Result<Response<ResponseBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = match ready!(self.answer.as_mut().poll(context)) {
            Ok(answer) => answer,
            Err(never) => match never {},
        };
        let exchange = Arc::clone(&self.exchange);
        Poll::Ready(Ok(answer.map(|body| ResponseBody::new(body, exchange))))
    }
}

/// The call that began last, on its way from the service to the task that runs it: `hyper` calls the one, then the
/// other.
#[derive(Default)]
struct LatestCall(Mutex<Option<Arc<Exchange>>>);

impl LatestCall {
    fn put(&self, exchange: Arc<Exchange>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(exchange);
    }

    fn take(&self) -> Option<Arc<Exchange>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Runs the streams of a connection, each until it ends or its answer goes unread for too long.
#[derive(Clone)]
struct Streams {
    begun: Arc<LatestCall>,
    write_time: Duration,
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        match self.begun.take() {
            Some(exchange) => drop(tokio::spawn(read_or_reset(stream, exchange, self.write_time))),
            None => drop(tokio::spawn(stream)),
        }
    }
}

/// Runs a stream. Dropping the stream resets it, and frees what `h2` holds of its answer.
async fn read_or_reset(stream: impl Future<Output = ()>, exchange: Arc<Exchange>, write_time: Duration) {
    let mut stream = pin!(stream);
    let mut timer: Option<(u64, Pin<Box<Sleep>>)> = None;
    poll_fn(|context| {
        if stream.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        let Some(gone) = exchange.unread() else {
            timer = None;
            return Poll::Pending;
        };
        let (before, sleep) = timer.get_or_insert_with(|| (gone, Box::pin(tokio::time::sleep(write_time))));
        if *before != gone {
            *before = gone;
            sleep.as_mut().reset(Instant::now() + write_time);
        }
        ready!(sleep.as_mut().poll(context));
        tracing::debug!(?write_time, "resetting a stream whose answer is not read");
        Poll::Ready(())
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    const TIME: Duration = Duration::from_secs(10);

    async fn next(body: &mut ResponseBody) -> prost::bytes::Bytes {
        let frame = poll_fn(|context| http_body::Body::poll_frame(Pin::new(&mut *body), context)).await;
        frame.unwrap().unwrap().into_data().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_is_reset_once_nothing_of_its_answer_is_taken() {
        let account = Arc::new(Account::new(Arc::new(Budget::new(1 << 20)), 1 << 20));
        let exchange = Exchange::begin(&account);
        let mut body = ResponseBody::new(Body::new("x".repeat(300_000)), Arc::clone(&exchange));
        let mut piece = next(&mut body).await;
        let stream = tokio::spawn(read_or_reset(pending(), exchange, TIME));
        for _ in 0..3 {
            tokio::time::sleep(TIME * 9 / 10).await;
            assert!(!stream.is_finished(), "something was taken in between");
            piece = next(&mut body).await;
        }
        // It is checked once per period, so it takes up to twice as long.
        tokio::time::sleep(TIME * 2).await;
        assert!(stream.is_finished());
        drop(piece);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_is_worked_on_may_take_as_long_as_it_likes() {
        let account = Arc::new(Account::new(Arc::new(Budget::new(1 << 20)), 1 << 20));
        let stream = tokio::spawn(read_or_reset(pending(), Exchange::begin(&account), TIME));
        tokio::time::sleep(TIME * 10).await;
        assert!(!stream.is_finished());
    }
}
