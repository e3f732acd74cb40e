//! The connections and their peers: the caps on both, and which connection is closed when a cap is reached.
//!
//! A connection costs its client a packet and the server a descriptor and some memory, so all connections together have
//! a cap. By default it is what the limit on open files leaves beside files, threads and the admin address. One peer
//! may have a share of it. Beyond the cap, the oldest connection without a call so far is closed; then the one that has
//! been idle for longest. A connection that sends nothing at first, or makes no call for long, is closed by
//! [`Peers::sweep`].
//!
//! Only accepting, closing and the sweep take the lock of the table. A call knows its connection by [`Origin`], which
//! holds the atomics that count its calls.

use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;
use tonic::Status;

use super::permits::{Counts, Permit, Pool, Pools, Shares};
use telemetry::Metrics;

/// How much of the shared resources a caller may take, and for how long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CallerLimits {
    /// Connections at once. `None` derives it from the descriptors left, see [`most_connections`].
    pub connections: Option<usize>,
    /// What one connection and one peer may take.
    pub shares: Shares,
    /// How long a connection may be open without a call in flight.
    pub idle: Duration,
    /// The longest deadline of a unary call, regardless of the caller's timeout. A stream may also wait this long for
    /// its caller's next message.
    pub longest_deadline: Duration,
}

/// How long a client may take for the preface of HTTP/2: it is one packet and follows the connection at once.
const FIRST_BYTES: Duration = Duration::from_secs(5);

/// How long a connection may take that was asked to close by itself; then it is closed.
const LEAVE_GRACE: Duration = Duration::from_mins(1);

/// How often connections are checked.
pub(super) const SWEEP: Duration = Duration::from_secs(1);

/// The default cap of connections: each may cost some 20 kB.
const MAX_CONNECTIONS: usize = 10_000;

/// Descriptors reserved for files, the store, uploads and the admin address.
const RESERVED_DESCRIPTORS: usize = 96;

/// Descriptors of the runtime of a thread that serves connections.
const DESCRIPTORS_OF_A_THREAD: usize = 4;

/// The most connections that were told to close and still have their descriptor. At this number no further connection
/// is let in.
const CLOSING: usize = 16;

/// Connections that only callers on this machine may take.
const RESERVED_CONNECTIONS: usize = 8;

/// A connection with a call within this time is not closed to make room for another.
const RECENT_CALL: Duration = Duration::from_secs(10);

/// The most connections that a limit of `descriptors` allows, beside `threads` that serve them.
#[must_use]
pub fn most_connections(descriptors: Option<u64>, threads: usize) -> usize {
    let Some(descriptors) = descriptors else { return MAX_CONNECTIONS };
    let descriptors = usize::try_from(descriptors).unwrap_or(usize::MAX);
    let left = descriptors.saturating_sub(RESERVED_DESCRIPTORS + threads * DESCRIPTORS_OF_A_THREAD);
    // A limit that leaves nothing is split in halves.
    left.max(descriptors / 2).clamp(1, MAX_CONNECTIONS)
}

/// The connection of a call, cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Origin(Arc<State>);

/// The state of a connection that its calls share.
#[derive(Debug)]
struct State {
    address: Option<SocketAddr>,
    peer: Arc<Peer>,
    pools: Arc<Pools>,
    counts: Counts,
    /// Whether the client's preface has arrived.
    greeted: AtomicBool,
    /// Whether the message of any call has arrived whole.
    called: AtomicBool,
    /// Calls in flight, whether their message has arrived or not.
    in_flight: AtomicUsize,
    /// Calls that were ever begun; it wraps.
    begun: AtomicUsize,
    closing: AtomicBool,
    /// The task of the connection while it waits.
    waiting: AtomicWaker,
    /// Whether the client is to be told to make its next call on another connection.
    leaving: AtomicBool,
    /// Wakes the task that will tell it.
    leave_waker: AtomicWaker,
}

/// All connections of a peer.
#[derive(Debug, Default)]
struct Peer {
    counts: Counts,
    connections: AtomicUsize,
}

impl Origin {
    /// Whether the caller is on this machine; until there are roles, such a caller is an operator.
    pub(super) fn is_local(&self) -> bool {
        self.0.address.is_some_and(|address| address.ip().to_canonical().is_loopback())
    }

    /// Takes a permit of `pool` for a call.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED` where the connection, its peer or all callers have used up their share.
    pub(super) fn take(&self, pool: Pool) -> Result<Permit, Status> {
        self.0.pools.take(self, pool)
    }

    /// A call begins; its message may still be on its way.
    pub(super) fn begin(self) -> InFlight {
        self.0.begun.fetch_add(1, Ordering::Relaxed);
        self.0.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(self)
    }

    /// The message of a call has arrived whole.
    pub(super) fn has_called(&self) {
        // Read first, so that the cache line stays shared with all readers.
        if !self.0.called.load(Ordering::Relaxed) {
            self.0.called.store(true, Ordering::Relaxed);
        }
    }

    /// The client's preface has arrived.
    pub(super) fn has_greeted(&self) {
        self.0.greeted.store(true, Ordering::Relaxed);
    }

    /// Whether the connection is to be closed.
    pub(super) fn is_closing(&self) -> bool {
        self.0.closing.load(Ordering::Acquire)
    }

    /// Wakes the task when the connection is to be closed. Call it before [`Self::is_closing`].
    pub(super) fn wake_when_closing(&self, waker: &Waker) {
        self.0.waiting.register(waker);
    }

    /// Resolves when the client is to be told to make its next call on another connection, because it has been idle for
    /// long.
    pub(super) async fn left(&self) {
        poll_fn(|context| {
            self.0.leave_waker.register(context.waker());
            if self.0.leaving.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// The calls of the connection in flight.
    pub(super) fn counts(&self) -> &Counts {
        &self.0.counts
    }

    /// The calls of all connections of the peer in flight.
    pub(super) fn peer_counts(&self) -> &Counts {
        &self.0.peer.counts
    }

    pub(super) fn pools(&self) -> &Pools {
        &self.0.pools
    }

    fn close(&self) {
        self.0.closing.store(true, Ordering::Release);
        self.0.waiting.wake();
    }

    /// Asks the client to leave; whether this was the first time.
    fn leave(&self) -> bool {
        let first = !self.0.leaving.swap(true, Ordering::Release);
        self.0.leave_waker.wake();
        first
    }

    fn greeted(&self) -> bool {
        self.0.greeted.load(Ordering::Relaxed)
    }

    fn called(&self) -> bool {
        self.0.called.load(Ordering::Relaxed)
    }

    fn is_busy(&self) -> bool {
        self.0.in_flight.load(Ordering::Relaxed) > 0
    }
}

/// A call that has begun, until it is dropped.
#[derive(Debug)]
pub(super) struct InFlight(Origin);

impl InFlight {
    /// Where the call comes from.
    pub(super) fn origin(&self) -> &Origin {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection that was accepted, until it is dropped.
#[derive(Debug)]
pub(super) struct Presence {
    number: u64,
    origin: Origin,
    peers: Peers,
}

impl Presence {
    /// Where the calls of the connection come from.
    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let mut table = self.peers.table();
        table.open -= 1;
        table.remove(self.number);
        self.peers.0.tell(&table);
    }
}

/// All connections, and the caps on them. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Peers(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    pools: Arc<Pools>,
    most: usize,
    most_of_peer: usize,
    idle: Duration,
    metrics: Arc<Metrics>,
    table: Mutex<Table>,
}

impl Shared {
    /// Reports the number of connections to the metrics.
    fn tell(&self, table: &Table) {
        self.metrics.connections.open.set(table.connections.len() as i64);
    }
}

#[derive(Debug, Default)]
struct Table {
    /// By number, which is also by age.
    connections: BTreeMap<u64, Entry>,
    peers: HashMap<IpAddr, Arc<Peer>>,
    next: u64,
    /// Connections that are not dropped yet, including those that were told to close.
    open: usize,
}

/// What the table knows of a connection.
#[derive(Debug)]
struct Entry {
    origin: Origin,
    accepted: Instant,
    /// The time since which no call is known to be in flight, and the count of calls begun by then.
    quiet: Instant,
    begun: usize,
}

/// Why a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AtCapacity {
    /// The peer has reached its share, and all its connections are in use.
    Peer,
    /// The cap is reached, and all connections are in use.
    All,
}

impl Peers {
    /// An empty table. `most`: connections at once.
    pub(super) fn new(
        limits: &CallerLimits,
        most: usize,
        concurrent_calls: usize,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self(Arc::new(Shared {
            pools: Arc::new(Pools::new(concurrent_calls, limits.shares)),
            most,
            most_of_peer: limits.shares.of_peer(most),
            idle: limits.idle,
            metrics,
            table: Mutex::default(),
        }))
    }

    /// The origin of calls that came over none of our connections.
    pub(super) fn nowhere(&self) -> Origin {
        self.origin(None, Arc::default())
    }

    fn origin(&self, address: Option<SocketAddr>, peer: Arc<Peer>) -> Origin {
        Origin(Arc::new(State {
            address,
            peer,
            pools: Arc::clone(&self.0.pools),
            counts: Counts::default(),
            greeted: AtomicBool::new(false),
            called: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            begun: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
            waiting: AtomicWaker::new(),
            leaving: AtomicBool::new(false),
            leave_waker: AtomicWaker::new(),
        }))
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Accepts a connection from `address`; another one may be closed for it.
    ///
    /// # Errors
    /// When the cap or the peer's share is reached and no connection can be closed.
    pub(super) fn arrive(&self, address: SocketAddr, now: Instant) -> Result<Presence, AtCapacity> {
        let mut table = self.table();
        let peer = Arc::clone(table.peers.entry(peer_of(address.ip())).or_default());
        let origin = self.origin(Some(address), Arc::clone(&peer));
        let of_peer = |known: &Entry| Arc::ptr_eq(&known.origin.0.peer, &peer);
        let kept = if origin.is_local() { 0 } else { RESERVED_CONNECTIONS.min(self.0.most / 4) };
        let crowded = if table.open >= self.0.most + CLOSING {
            Some(AtCapacity::All)
        } else if peer.connections.load(Ordering::Relaxed) >= self.0.most_of_peer
            && !self.make_room(&mut table, now, of_peer)
        {
            Some(AtCapacity::Peer)
        } else if table.connections.len() >= self.0.most - kept && !self.make_room(&mut table, now, |_| true)
        {
            Some(AtCapacity::All)
        } else {
            None
        };
        if let Some(crowded) = crowded {
            self.0.metrics.connections.dropped.inc();
            table.forget_idle_peers();
            return Err(crowded);
        }
        let number = table.next;
        table.next += 1;
        table.open += 1;
        peer.connections.fetch_add(1, Ordering::Relaxed);
        let known = Entry { origin: origin.clone(), accepted: now, quiet: now, begun: 0 };
        table.connections.insert(number, known);
        self.0.tell(&table);
        Ok(Presence { number, origin, peers: self.clone() })
    }

    /// Closes the least used connection among `which`; none if all of them are in use.
    fn make_room(&self, table: &mut Table, now: Instant, which: impl Fn(&Entry) -> bool) -> bool {
        let Some(number) = table.least_used(now, which) else { return false };
        self.0.metrics.connections.dropped.inc();
        table.close(number);
        true
    }

    /// Closes connections that sent nothing for too long at first, and asks idle ones to leave. A client that is told
    /// in time loses no call.
    pub(super) fn sweep(&self, now: Instant) {
        let mut table = self.table();
        let (mut gone, mut dropped) = (Vec::new(), 0);
        for (number, known) in &mut table.connections {
            let (state, begun) = (&known.origin, known.origin.0.begun.load(Ordering::Relaxed));
            if state.is_busy() || begun != known.begun {
                (known.quiet, known.begun) = (now, begun);
            }
            let silent = !state.greeted() && now.duration_since(known.accepted) >= FIRST_BYTES;
            let quiet = now.duration_since(known.quiet);
            if silent || quiet >= self.0.idle.saturating_add(LEAVE_GRACE) {
                gone.push(*number);
                dropped += u64::from(state.leave());
            } else if quiet >= self.0.idle {
                dropped += u64::from(state.leave());
            }
        }
        self.0.metrics.connections.dropped.inc_by(dropped);
        for number in gone {
            table.close(number);
        }
        table.forget_idle_peers();
        self.0.tell(&table);
    }

    /// Connections that are open and not told to close.
    #[cfg(test)]
    fn connected(&self) -> usize {
        let connected = self.table().connections.len();
        assert_eq!(usize::try_from(self.0.metrics.connections.open.get()), Ok(connected));
        connected
    }
}

impl Table {
    fn remove(&mut self, number: u64) -> Option<Origin> {
        let known = self.connections.remove(&number)?;
        known.origin.0.peer.connections.fetch_sub(1, Ordering::Relaxed);
        Some(known.origin)
    }

    fn close(&mut self, number: u64) {
        if let Some(origin) = self.remove(number) {
            tracing::debug!(peer = ?origin.0.address, "a connection is closed that makes no calls");
            origin.close();
        }
    }

    /// The least used connection among `which`; none if all of them are in use.
    fn least_used(&self, now: Instant, which: impl Fn(&Entry) -> bool) -> Option<u64> {
        let chosen = self.connections.iter().filter(|(_, known)| which(known));
        let uncalled = |known: &Entry| !known.origin.called();
        let idle = |known: &Entry| !known.origin.is_busy();
        // A call whose message has not arrived does not make its connection a used one.
        let mut worst: Option<((u8, Instant), u64)> = None;
        for (number, known) in chosen {
            let rank = match (uncalled(known), idle(known)) {
                // The table is ordered by age, so no other is less used.
                (true, true) => return Some(*number),
                (true, false) => (0, known.accepted),
                (false, true) if now.duration_since(known.quiet) >= RECENT_CALL => (1, known.quiet),
                (false, _) => continue,
            };
            if worst.is_none_or(|(least, _)| rank < least) {
                worst = Some((rank, *number));
            }
        }
        worst.map(|(_, number)| number)
    }

    /// A peer whose calls outlive its connections stays known until they end, so that reconnecting does not give it a
    /// new share.
    fn forget_idle_peers(&mut self) {
        self.peers.retain(|_, peer| peer.connections.load(Ordering::Relaxed) > 0 || !peer.counts.are_zero());
    }
}

/// What counts as one peer: an IPv4 address, or the 64 bits of an IPv6 address that a network gives to one customer.
fn peer_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)))
        }
        address @ (IpAddr::V4(_) | IpAddr::V6(_)) => address,
    }
}

#[cfg(test)]
pub(super) mod tests;
