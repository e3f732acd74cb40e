//! The handle by which calls record events. Nothing here blocks a thread, encodes, or touches a file.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use telemetry::Unrecorded;
use work::Lane;

use crate::config::{SyncPolicy, WhenFull};
use crate::error::NotRecorded;
use crate::kind::Record;
use crate::proto::ShadowRecord;
use crate::queue::{Closing, Queued, Shared};
use crate::receipt::Receipt;

/// The bytes that are reserved for one event before it is known.
pub const EVENT_BYTES: usize = 4 << 10;

/// What becomes events on the writer's thread. It owns all that it needs.
pub trait IntoEvents: Send {
    /// Hands its events to `emit`, in order, of any kind. The writer fills in position, time, server and
    /// version. When it panics, none of its events is recorded.
    fn events(self: Box<Self>, emit: &mut dyn FnMut(Record));

    /// How many events it becomes.
    fn count(&self) -> usize;
}

/// Whether an answer waits until its events are durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It awaits [`Receipt::durable`].
    Awaited,
    /// It does not wait.
    Background,
}

/// When a batch is written and synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// As `records.sync` says.
    AsConfigured,
    /// At once, also where `records.sync` allows later.
    AtOnce,
}

/// A handle to the queue of an event log, cheap to clone.
#[derive(Debug, Clone)]
pub struct Recorder {
    shared: Arc<Shared>,
    urgency: Urgency,
}

impl Recorder {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, urgency: Urgency::AsConfigured }
    }

    /// A handle whose events are written and synced at once, also where `records.sync` allows later: for what must be
    /// durable before it is answered. Its [`durability`](Self::durability) is [`Durability::Awaited`]. What other
    /// handles have queued before is written with them. Room that one handle has reserved can be used with the other.
    #[must_use]
    pub fn urgent(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), urgency: Urgency::AtOnce }
    }

    /// Reserves room for `bytes` of events in memory; `None` if there is none now, or the log is closed. With
    /// [`Durability::Awaited`] there is none while the log cannot be written, either. What is larger than the whole
    /// queue waits until it is empty; for more than 64 MiB besides there is never room.
    ///
    /// It is for interactive calls, which have a share of the room for themselves.
    #[must_use]
    pub fn try_reserve(&self, bytes: usize) -> Option<Reserved> {
        self.try_reserve_in(Lane::Interactive, bytes)
    }

    /// As [`Recorder::try_reserve`], for a call of any lane.
    #[must_use]
    pub fn try_reserve_in(&self, lane: Lane, bytes: usize) -> Option<Reserved> {
        if self.cannot_await() {
            return None;
        }
        let bytes = self.shared.reservation(bytes)?;
        self.shared.take(bytes, lane).then(|| Reserved { shared: Arc::clone(&self.shared), bytes })
    }

    /// Makes room that a call of this lane has reserved enough for `bytes`, if that is possible now. Whether it is;
    /// otherwise the room is as it was.
    #[must_use]
    pub fn try_extend(&self, reserved: &mut Reserved, lane: Lane, bytes: usize) -> bool {
        let Some(needed) = self.shared.reservation(bytes) else { return false };
        let more = needed.saturating_sub(reserved.bytes);
        if more > 0 {
            if !self.shared.take(more, lane) {
                return false;
            }
            reserved.bytes += more;
        }
        true
    }

    /// As [`Recorder::try_reserve_in`] for bulk work, and waits for room. Those who wait get it in the order in which
    /// they came. `None` if there is no room and the log cannot be written, or it is closed, or there is never so much.
    pub async fn reserve(&self, bytes: usize) -> Option<Reserved> {
        if let Some(reserved) = self.try_reserve_in(Lane::Bulk, bytes) {
            return Some(reserved);
        }
        let bytes = self.shared.reservation(bytes)?;
        let mut stalled = self.shared.stalled.subscribe();
        if self.cannot_await() {
            return None;
        }
        tokio::select! {
            biased;
            permits = self.shared.room.acquire_many(bytes) => {
                permits.ok()?.forget();
                Some(Reserved { shared: Arc::clone(&self.shared), bytes })
            }
            _ = stalled.wait_for(|stalled| *stalled) => None,
        }
    }

    /// Room that [`Reserved::into_bytes`] gave away as a number.
    #[must_use]
    pub fn reserved(&self, bytes: usize) -> Reserved {
        Reserved { shared: Arc::clone(&self.shared), bytes: u32::try_from(bytes).unwrap_or(u32::MAX) }
    }

    /// Queues events. What they take in memory should fit into what was reserved.
    #[expect(clippy::must_use_candidate, reason = "most calls do not wait for their events")]
    pub fn record(&self, reserved: Reserved, batch: Box<dyn IntoEvents>) -> Receipt {
        self.queue(self.urgency, reserved, batch)
    }

    /// Queues comparisons with shadows, as far as their own room goes, the log can be written, and its files take less
    /// than half of `records.log_limit`. The others are dropped and counted, also those that still wait when the log
    /// files become as large. Never waits, and takes nothing from decisions and outcomes. Returns how many were queued.
    /// The writer fills in position, time, server and version.
    pub fn record_shadows(&self, records: Vec<ShadowRecord>) -> usize {
        let shared = &self.shared;
        let refused = if shared.room.is_closed() {
            Some(Unrecorded::Closed)
        } else {
            self.is_stalled().then_some(Unrecorded::NotWritable)
        };
        let mut queued = 0;
        for record in records {
            match refused.map_or_else(|| shared.compare(record), Err) {
                Ok(()) => queued += 1,
                Err(why) => _ = shared.metrics.shadows.unrecorded(why).inc(),
            }
        }
        if shared.comparisons.has_ended() {
            shared.lose_comparisons();
        }
        if queued > 0 {
            shared.bell.ring_for_work(|| false);
        }
        queued
    }

    fn queue(&self, urgency: Urgency, reserved: Reserved, batch: Box<dyn IntoEvents>) -> Receipt {
        let shared = Arc::clone(&self.shared);
        let number = shared.numbers.fetch_add(1, Ordering::Relaxed);
        let events = batch.count() as u64;
        shared.accepted.fetch_add(events, Ordering::Relaxed);
        // A closed log refuses; dropping what it refuses counts it.
        let _ = shared.sender.send(Queued::new(number, events, urgency, reserved, batch));
        self.ring(urgency);
        Receipt::new(shared, number)
    }

    /// Waits until what was queued before is in the log, comparisons with shadows, too, and the open file is closed,
    /// which can be sealed then. Blocks the thread.
    ///
    /// # Errors
    /// When that takes longer than `within`, as the log cannot be written. The file is closed as soon as it can be.
    pub fn close_file(&self, within: Duration) -> Result<(), NotRecorded> {
        self.ask_to_close_file().recv_timeout(within).map_err(|error| match error {
            RecvTimeoutError::Timeout => NotRecorded::Stalled,
            RecvTimeoutError::Disconnected => NotRecorded::Closed,
        })
    }

    /// The same without waiting: what is returned hears of it.
    pub(crate) fn ask_to_close_file(&self) -> Receiver<()> {
        let shared = Arc::clone(&self.shared);
        let number = shared.numbers.fetch_add(1, Ordering::Relaxed);
        let (tell, told) = mpsc::channel();
        let compared = shared.comparisons.queued();
        shared.waiting_for_close().push(Closing { number, compared, tell });
        let reserved = Reserved { shared: Arc::clone(&shared), bytes: 0 };
        let queued = Queued::new(number, 0, Urgency::AtOnce, reserved, Box::new(Nothing));
        if shared.sender.send(queued).is_err() {
            shared.waiting_for_close().clear();
        }
        self.ring(Urgency::AtOnce);
        told
    }

    /// Counts events that were not recorded, since there was no room.
    pub fn dropped(&self, events: usize) {
        self.shared.metrics.events.dropped.inc_by(events as u64);
    }

    /// Whether [`Recorder::try_reserve`] has no room for another event of [`EVENT_BYTES`].
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.shared.room.is_closed() || self.shared.free() < EVENT_BYTES || self.cannot_await()
    }

    /// Whether the log cannot be written for now, so that nothing becomes durable.
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        *self.shared.stalled.borrow()
    }

    /// Whether answers wait until their events are durable.
    #[must_use]
    pub fn durability(&self) -> Durability {
        match (self.urgency, self.shared.policy) {
            (Urgency::AtOnce, _) | (Urgency::AsConfigured, SyncPolicy::Always) => Durability::Awaited,
            (Urgency::AsConfigured, SyncPolicy::Interval | SyncPolicy::Os) => Durability::Background,
        }
    }

    /// What happens to a decision for whose events there is no room.
    #[must_use]
    pub fn when_full(&self) -> WhenFull {
        self.shared.when_full
    }

    /// Wakes the writer if a batch that was queued needs it.
    fn ring(&self, urgency: Urgency) {
        let shared = &self.shared;
        let is_first = urgency == Urgency::AtOnce && !shared.urgent.swap(true, Ordering::SeqCst);
        shared.bell.ring_for_work(|| is_first || shared.is_half_full());
    }

    /// Whether answers would wait for a log that cannot be written.
    fn cannot_await(&self) -> bool {
        self.durability() == Durability::Awaited && self.is_stalled()
    }
}

/// A batch without events.
struct Nothing;

impl IntoEvents for Nothing {
    fn events(self: Box<Self>, _emit: &mut dyn FnMut(Record)) {}

    fn count(&self) -> usize {
        0
    }
}

/// Room for events in memory. Dropping it gives the room back.
pub struct Reserved {
    shared: Arc<Shared>,
    bytes: u32,
}

impl Reserved {
    /// The bytes of it.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes as usize
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Its bytes, which stay reserved until [`Recorder::reserved`] takes them back.
    #[must_use]
    pub fn into_bytes(mut self) -> usize {
        std::mem::take(&mut self.bytes) as usize
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.shared.give_back(self.bytes as usize);
        }
    }
}

impl fmt::Debug for Reserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reserved").field(&self.bytes).finish()
    }
}
