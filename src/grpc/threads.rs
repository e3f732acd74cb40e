//! The threads that serve connections: a connection belongs to one of them, from its first byte to its last.
//!
//! What arrives on a connection is read, decided and answered by one thread, in a runtime of its own: it wakes no other, and nothing moves to the
//! cache of another core. It does one step for all connections that have something before it does the next step, which the caches of
//! instructions like: tokio's other runtime, which runs what a task wakes right after it, answered a quarter fewer `Rank` calls from the
//! same cores, whether its threads could take work from each other or not. (Told not to, by an option that is not stable, it answered as many, but
//! took a fifth more for a `Score` than threads that are each for themselves.)
//! The price is that whatever takes long holds up the other connections of the thread, so what may take long is done elsewhere:
//! decisions by the workers, long messages and streams by [`super::aside`]. And one connection has at most one core for its
//! messages: who wants all threads opens as many connections.
//!
//! Fewer threads have more to do at each waking and take less of the machine per call (a `Score` of one row: 26 µs with one, 36 with two, on two
//! cores that the client shares), so there are fewer of them than cores unless the configuration says otherwise.

use std::future::Future;
use std::io;
use std::net::TcpStream;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Router;
use tower::layer::util::{Identity, Stack};

use super::admission::AdmissionLayer;
use super::aside::AsideLayer;
use super::connection::Connection;

/// What each thread serves.
pub(super) type Services = Router<Stack<AsideLayer, Stack<AdmissionLayer, Identity>>>;

/// Held by a connection while it is open; how many there are tells how many connections a thread has.
pub(super) type Seat = Arc<()>;

/// How long nothing is accepted after the operating system could not: with no file descriptor left, the next try would fail as well.
const PAUSE: Duration = Duration::from_millis(50);

/// A thread with a runtime of its own.
struct Thread {
    connections: mpsc::UnboundedSender<(TcpStream, Seat)>,
    seat: Seat,
    ended: tokio::sync::oneshot::Receiver<Result<(), tonic::transport::Error>>,
}

impl Thread {
    /// Starts thread `number`. It ends once `stop` is cancelled and its connections are closed, or `leave` is cancelled.
    fn start(
        number: usize,
        services: Services,
        stop: CancellationToken,
        leave: CancellationToken,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (connections, accepted) = mpsc::unbounded_channel::<(TcpStream, Seat)>();
        let (end, ended) = tokio::sync::oneshot::channel();
        let connected = UnboundedReceiverStream::new(accepted).map(|(stream, seat)| {
            stream.set_nonblocking(true)?;
            io::Result::Ok(Connection::new(tokio::net::TcpStream::from_std(stream)?, seat))
        });
        std::thread::Builder::new().name(format!("grpc-{number}")).spawn(move || {
            runtime.block_on(async move {
                tokio::select! {
                    served = services.serve_with_incoming_shutdown(connected, stop.cancelled_owned()) => {
                        // Nobody waits for it any more when the server has left.
                        _ = end.send(served);
                    }
                    () = leave.cancelled() => {}
                }
            });
            // Nor for a look at the store that a call was waiting for.
            runtime.shutdown_background();
        })?;
        Ok(Self { connections, seat: Seat::default(), ended })
    }

    /// Connections that are open.
    fn taken(&self) -> usize {
        Arc::strong_count(&self.seat) - 1
    }
}

/// Serves what connects to `listener`, on `count` threads, until `shutdown` resolves; then finishes the calls that are under way. Dropped
/// before that, it leaves them.
///
/// # Errors
/// When a thread cannot be started, or ended though nobody asked it to.
pub(super) async fn serve(
    listener: TcpListener,
    count: usize,
    services: impl Fn() -> Result<Services, Box<dyn std::error::Error + Send + Sync>>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let (stop, leave) = (CancellationToken::new(), CancellationToken::new());
    let _leaving = leave.clone().drop_guard();
    let mut threads = Vec::with_capacity(count);
    for number in 0..count {
        threads.push(Thread::start(number, services()?, stop.clone(), leave.clone())?);
    }
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted.and_then(|(stream, _)| {
            stream.set_nodelay(true)?;
            stream.into_std()
        }) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let Some(thread) = threads.iter().min_by_key(|thread| thread.taken()) else { continue };
        if thread.connections.send((stream, Arc::clone(&thread.seat))).is_err() {
            return Err("a thread that serves connections has ended".into());
        }
    }
    drop(listener);
    stop.cancel();
    for thread in threads {
        drop(thread.connections);
        thread.ended.await??;
    }
    Ok(())
}
