//! The threads that serve connections: a connection belongs to one of them, from its first byte to its last.
//!
//! One thread reads, decides and answers what arrives on a connection, in a runtime of its own. It wakes no other
//! thread, and no data moves to the cache of another core. It does one step for all ready connections before the next
//! step, which suits the instruction caches. tokio's multi-threaded runtime runs what a task wakes right after it. It
//! answered a quarter fewer `Rank` calls from the same cores, with work stealing and without. (With an unstable option
//! against this it answered as many, but took a fifth more for a `Score` than independent threads.)
//!
//! The price is that slow work delays the other connections of the thread. So it is done elsewhere: decisions by the
//! workers, long messages and streams by [`super::offload`]. One connection has at most one core for its messages: a
//! client that wants all threads opens as many connections.
//!
//! Fewer threads have more to do at each wake-up and use less CPU per call. (A `Score` of one row took 26 µs with one,
//! 36 with two, on two cores that the client shares.) So there are fewer of them than cores unless the configuration
//! says otherwise.

use std::future::Future;
use std::io;
use std::net::TcpStream;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_util::sync::CancellationToken;

use super::connection::Connection;
use super::guarded::Guarded;
use super::http2::Services;
use super::peers::{AtCapacity, Peers, Presence, SWEEP};

/// Held by a connection while it is open; counting the seats gives the connections of a thread.
pub(super) type Seat = Arc<()>;

/// Pause after a failed accept: with no file descriptor left, the next try would fail as well.
const PAUSE: Duration = Duration::from_millis(50);

/// A thread with a runtime of its own.
struct Thread {
    connections: mpsc::UnboundedSender<(TcpStream, Seat, Presence)>,
    seat: Seat,
    ended: tokio::sync::oneshot::Receiver<()>,
}

impl Thread {
    /// Starts thread `number`. It ends once `stop` is cancelled and its connections are closed, or `leave` is
    /// cancelled.
    fn start(
        number: usize,
        services: Services,
        stop: CancellationToken,
        leave: CancellationToken,
    ) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (connections, accepted) = mpsc::unbounded_channel::<(TcpStream, Seat, Presence)>();
        let (end, ended) = tokio::sync::oneshot::channel();
        let connected = UnboundedReceiverStream::new(accepted).map(|(stream, seat, presence)| {
            stream.set_nonblocking(true)?;
            let connection = Connection::new(tokio::net::TcpStream::from_std(stream)?, seat);
            io::Result::Ok(Guarded::new(connection, presence))
        });
        std::thread::Builder::new().name(format!("grpc-{number}")).spawn(move || {
            runtime.block_on(async move {
                tokio::select! {
                    () = services.serve(connected, stop) => {
                        // The server may have left and dropped the receiver.
                        _ = end.send(());
                    }
                    () = leave.cancelled() => {}
                }
            });
            // A call's blocking query of the store is not awaited either.
            runtime.shutdown_background();
        })?;
        Ok(Self { connections, seat: Seat::default(), ended })
    }

    /// The number of open connections.
    fn taken(&self) -> usize {
        Arc::strong_count(&self.seat) - 1
    }
}

/// Connections refused since the last report: a flood of them must not flood the log.
#[derive(Default)]
struct Refused {
    by_peers: u64,
    by_all: u64,
}

impl Refused {
    fn count(&mut self, crowded: AtCapacity) {
        match crowded {
            AtCapacity::Peer => self.by_peers += 1,
            AtCapacity::All => self.by_all += 1,
        }
    }

    fn tell(&mut self) {
        let Self { by_peers, by_all } = std::mem::take(self);
        if by_peers > 0 {
            tracing::warn!(
                connections = by_peers,
                "refused: a peer has as many connections as limits.peer_share allows"
            );
        }
        if by_all > 0 {
            tracing::warn!(
                connections = by_all,
                "refused: there are as many connections as server.connections allows"
            );
        }
    }
}

/// Serves the connections to `listener` that `peers` accepts, on `count` threads, until `shutdown` resolves. Then it
/// finishes the calls in flight. Dropped before that, it abandons them.
///
/// # Errors
/// When a thread cannot be started, or ends unasked.
pub(super) async fn serve(
    listener: TcpListener,
    count: usize,
    peers: Peers,
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
    let mut sweep = tokio::time::interval(SWEEP);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut refused = Refused::default();
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            _ = sweep.tick() => {
                peers.sweep(Instant::now());
                refused.tell();
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        let (stream, address) = match accepted.and_then(|(stream, address)| {
            stream.set_nodelay(true)?;
            Ok((stream.into_std()?, address))
        }) {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let presence = match peers.arrive(address, Instant::now()) {
            Ok(presence) => presence,
            Err(crowded) => {
                refused.count(crowded);
                continue;
            }
        };
        let Some(thread) = threads.iter().min_by_key(|thread| thread.taken()) else { continue };
        if thread.connections.send((stream, Arc::clone(&thread.seat), presence)).is_err() {
            return Err("a thread that serves connections has ended".into());
        }
    }
    drop(listener);
    stop.cancel();
    for thread in threads {
        drop(thread.connections);
        thread.ended.await?;
    }
    Ok(())
}
