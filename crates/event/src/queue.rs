//! What calls and the writer share: the queue, its room in bytes, the bell that wakes the writer.
//!
//! The queue itself is unbounded; space is reserved before anything is added. The room is given back
//! when the events are durable, so it bounds what the writer holds, too. Calls take no lock here: a bulk call has
//! idle priority, and a lock that it holds would stop others for as long as it gets no core.
//!
//! Who waits for room gets all that becomes free. So a share of it is for interactive calls alone, which do not wait:
//! they take of it what the rest has no room for, and what is given back goes there first. Comparisons with shadows have
//! a queue of their own (`shadows.rs`).

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use telemetry::{Metrics, Unrecorded};
use tokio::sync::{Semaphore, TryAcquireError, watch};
use work::Lane;

use crate::config::{EventConfig, SyncPolicy, WhenFull};
use crate::proto::ShadowRecord;
use crate::receipt::Progress;
use crate::recorder::{IntoEvents, Reserved, Urgency};
use crate::shadows::Comparisons;

/// The share of interactive calls: an eighth of the room. With 16 MiB and 100 ms between two syncs it takes 5,000 calls
/// a second.
const SHARE: u32 = 8;
/// The most bytes of a batch that is larger than the queue. Batches are encoded whole.
pub(crate) const MOST_ALONE: usize = 64 << 20;

/// The state of an event log that calls and the writer share.
pub(crate) struct Shared {
    /// Where batches are sent.
    pub(crate) sender: Sender<Queued>,
    /// Comparisons with shadows, which are written behind all else.
    pub(crate) comparisons: Comparisons,
    /// The room in bytes, but for the share of interactive calls.
    pub(crate) room: Semaphore,
    /// The bytes that are taken of that share.
    share_taken: AtomicU32,
    capacity: u32,
    /// The number of the next batch.
    pub(crate) numbers: AtomicU64,
    /// Events that were queued so far.
    pub(crate) accepted: AtomicU64,
    /// Events of those that are durable or lost.
    pub(crate) settled: AtomicU64,
    /// Which batches are durable.
    pub(crate) progress: Progress,
    /// Whether the log cannot be written for now.
    pub(crate) stalled: watch::Sender<bool>,
    /// By when the log is to be closed.
    pub(crate) closing: OnceLock<Instant>,
    /// Who waits until a file is closed behind a batch.
    rotating: Mutex<Waiting>,
    /// Wakes the writer.
    pub(crate) bell: Bell,
    /// Set behind a batch that is to be written at once. The writer clears it before it takes batches.
    pub(crate) urgent: AtomicBool,
    pub(crate) policy: SyncPolicy,
    pub(crate) when_full: WhenFull,
    pub(crate) metrics: Arc<Metrics>,
}

impl Shared {
    /// The shared state, and the writer's end of the queue.
    pub(crate) fn new(config: &EventConfig, metrics: Arc<Metrics>) -> (Arc<Self>, Receiver<Queued>) {
        let (sender, receiver) = unbounded();
        let capacity = u32::try_from(config.queue).unwrap_or(u32::MAX);
        let shared = Self {
            sender,
            comparisons: Comparisons::new(config.queue),
            room: Semaphore::new((capacity - capacity / SHARE) as usize),
            share_taken: AtomicU32::new(0),
            capacity,
            numbers: AtomicU64::new(1),
            accepted: AtomicU64::new(0),
            settled: AtomicU64::new(0),
            progress: Progress::default(),
            stalled: watch::Sender::new(false),
            closing: OnceLock::new(),
            rotating: Mutex::default(),
            bell: Bell::default(),
            urgent: AtomicBool::new(false),
            policy: config.sync,
            when_full: config.when_full,
            metrics,
        };
        (Arc::new(shared), receiver)
    }

    /// What is reserved for a batch of `bytes`: a batch that is larger than the queue has it for itself, but for the
    /// share of interactive calls. `None` for one that is larger than both the queue and [`MOST_ALONE`].
    pub(crate) fn reservation(&self, bytes: usize) -> Option<u32> {
        let fits = bytes <= MOST_ALONE.max(self.capacity as usize);
        fits.then(|| u32::try_from(bytes).unwrap_or(u32::MAX).clamp(1, self.capacity - self.share()))
    }

    /// Takes room if there is any now. Returns whether it did.
    pub(crate) fn take(&self, bytes: u32, lane: Lane) -> bool {
        match self.room.try_acquire_many(bytes) {
            Ok(permits) => {
                permits.forget();
                true
            }
            Err(TryAcquireError::NoPermits) if lane == Lane::Interactive => {
                let add = |taken: u32| taken.checked_add(bytes).filter(|taken| *taken <= self.share());
                self.share_taken.fetch_update(Ordering::SeqCst, Ordering::SeqCst, add).is_ok()
            }
            Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => false,
        }
    }

    /// Gives room back.
    pub(crate) fn give_back(&self, bytes: usize) {
        let mut of_share = 0;
        let sub = |taken: u32| {
            of_share = taken.min(u32::try_from(bytes).unwrap_or(u32::MAX));
            (of_share > 0).then(|| taken - of_share)
        };
        let _ = self.share_taken.fetch_update(Ordering::SeqCst, Ordering::SeqCst, sub);
        self.room.add_permits(bytes - of_share as usize);
    }

    fn share(&self) -> u32 {
        self.capacity / SHARE
    }

    /// The bytes that an interactive call could take at once.
    pub(crate) fn free(&self) -> usize {
        let of_share = self.share().saturating_sub(self.share_taken.load(Ordering::SeqCst));
        self.room.available_permits().max(of_share as usize)
    }

    /// The bytes that are reserved.
    pub(crate) fn reserved(&self) -> usize {
        let all = (self.capacity - self.share()) as usize;
        all.saturating_sub(self.room.available_permits()) + self.share_taken.load(Ordering::SeqCst) as usize
    }

    /// Whether a writer that gathers is to go on at once.
    pub(crate) fn has_urgent_work(&self) -> bool {
        self.urgent.load(Ordering::SeqCst) || self.is_half_full()
    }

    /// Whether half of the room is reserved.
    pub(crate) fn is_half_full(&self) -> bool {
        self.reserved() >= self.half()
    }

    fn half(&self) -> usize {
        self.capacity as usize / 2
    }

    /// Events that are neither durable nor lost.
    pub(crate) fn waiting(&self) -> u64 {
        let settled = self.settled.load(Ordering::Relaxed);
        self.accepted.load(Ordering::Relaxed).saturating_sub(settled)
    }

    /// Queues a comparison if there is room.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn compare(&self, record: ShadowRecord) -> Result<(), Unrecorded> {
        // Counted first: the writer may have it at once.
        self.accepted.fetch_add(1, Ordering::Relaxed);
        let pushed = self.comparisons.push(record);
        if pushed.is_err() {
            self.accepted.fetch_sub(1, Ordering::Relaxed);
        }
        pushed
    }

    /// Drops the comparisons that wait, and counts them.
    pub(crate) fn drop_comparisons(&self, why: Unrecorded) {
        let dropped = self.comparisons.drain();
        if dropped > 0 {
            self.settled.fetch_add(dropped, Ordering::Relaxed);
            self.metrics.shadows.unrecorded(why).inc_by(dropped);
        }
    }

    /// The same once the writer has ended: they are lost.
    pub(crate) fn lose_comparisons(&self) {
        self.lost(self.comparisons.drain());
    }

    /// Who waits until a file is closed. No call does.
    pub(crate) fn waiting_for_close(&self) -> MutexGuard<'_, Waiting> {
        self.rotating.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts events that will not be recorded.
    pub(crate) fn lost(&self, events: u64) {
        self.settled.fetch_add(events, Ordering::Relaxed);
        self.metrics.events.lost.inc_by(events);
    }
}

/// Who waits until a file is closed.
pub(crate) type Waiting = Vec<Closing>;

/// Someone who waits until the file is closed that has all that was queued before.
#[derive(Debug)]
pub(crate) struct Closing {
    /// The number of the last batch.
    pub(crate) number: u64,
    /// How many comparisons were queued. They are behind all else, and so perhaps behind that batch.
    pub(crate) compared: u64,
    /// Hears of it.
    pub(crate) tell: mpsc::Sender<()>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("reserved", &self.reserved()).finish_non_exhaustive()
    }
}

/// Events on their way to the writer.
pub(crate) struct Queued {
    number: u64,
    events: u64,
    urgency: Urgency,
    /// `None` once the writer has it.
    content: Option<(Reserved, Box<dyn IntoEvents>)>,
}

/// What the writer takes out of [`Queued`].
pub(crate) struct Batch {
    pub(crate) number: u64,
    pub(crate) events: u64,
    pub(crate) urgency: Urgency,
    pub(crate) reserved: Reserved,
    pub(crate) content: Box<dyn IntoEvents>,
}

impl Queued {
    pub(crate) fn new(
        number: u64,
        events: u64,
        urgency: Urgency,
        reserved: Reserved,
        content: Box<dyn IntoEvents>,
    ) -> Self {
        Self { number, events, urgency, content: Some((reserved, content)) }
    }

    /// Takes it apart; what happens to its events is then for the caller to tell.
    pub(crate) fn take(mut self) -> Option<Batch> {
        let (reserved, content) = self.content.take()?;
        let Self { number, events, urgency, .. } = self;
        Some(Batch { number, events, urgency, reserved, content })
    }
}

impl Drop for Queued {
    /// An item that is dropped unread is lost.
    fn drop(&mut self) {
        if let Some((reserved, _)) = &self.content {
            reserved.shared().lost(self.events);
        }
    }
}

/// What the writer does, as far as those who ring need to know.
const BUSY: u8 = 0;
/// It sleeps until somebody rings.
const IDLE: u8 = 1;
/// It sleeps for a short time, to gather more.
const GATHERING: u8 = 2;

/// Wakes the writer, and only if that is needed: a wake-up costs the caller a system call.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    state: AtomicU8,
    writer: OnceLock<Thread>,
}

impl Bell {
    /// Makes this thread the one that is woken.
    pub(crate) fn attend(&self) {
        // Only the writer's thread calls this, once.
        let _ = self.writer.set(thread::current());
    }

    /// Tells that there is work. Wakes a writer that is idle, and one that gathers if the work is `urgent`.
    pub(crate) fn ring_for_work(&self, urgent: impl FnOnce() -> bool) {
        // Either this sees that the writer is idle, or the writer sees the work (`Bell::sleep`).
        fence(Ordering::SeqCst);
        let wakes = match self.state.load(Ordering::SeqCst) {
            IDLE => true,
            GATHERING => urgent(),
            _ => false,
        };
        if wakes {
            self.ring();
        }
    }

    /// Wakes the writer.
    pub(crate) fn ring(&self) {
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }

    /// Sleeps until somebody rings for work, for at most `limit`, unless there is something to do already.
    pub(crate) fn sleep(&self, limit: Option<Duration>, has_work: impl FnOnce() -> bool) {
        self.state.store(IDLE, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if !has_work() {
            match limit {
                Some(limit) => thread::park_timeout(limit),
                None => thread::park(),
            }
        }
        self.state.store(BUSY, Ordering::SeqCst);
    }

    /// Sleeps for `time`, or until somebody rings for urgent work.
    pub(crate) fn gather(&self, time: Duration, has_urgent_work: impl FnOnce() -> bool) {
        self.state.store(GATHERING, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if !has_urgent_work() {
            thread::park_timeout(time);
        }
        self.state.store(BUSY, Ordering::SeqCst);
    }

    /// Sleeps for `time`. Work wakes it not, [`Bell::ring`] does.
    pub(crate) fn rest(time: Duration) {
        thread::park_timeout(time);
    }
}

#[cfg(test)]
pub(crate) mod tests;
