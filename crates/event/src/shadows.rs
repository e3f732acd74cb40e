//! Comparisons with shadows on their way to the writer.
//!
//! They have a queue and room of their own, and are dropped first: nothing that they take is missing where decisions
//! and outcomes wait. The writer takes some of them behind everything else (`writer/compared.rs`).

use std::iter;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};

use crossbeam_channel::{Receiver, Sender, unbounded};
use prost::Message;
use telemetry::Unrecorded;

use crate::proto::{RecordedModel, ShadowOffer, ShadowRecord};

/// Their room, as a share of that of all other events: an eighth.
const SHARE: usize = 8;

/// A queue of comparisons, within bytes of its own.
pub(crate) struct Comparisons {
    sender: Sender<(ShadowRecord, usize)>,
    receiver: Receiver<(ShadowRecord, usize)>,
    taken: AtomicUsize,
    room: usize,
    /// How many were queued so far.
    queued: AtomicU64,
    /// How many of them were taken out.
    passed: AtomicU64,
    /// Whether the log has space for them.
    is_open: AtomicBool,
    /// Whether the writer has ended.
    has_ended: AtomicBool,
}

impl Comparisons {
    /// A queue beside one of `queue` bytes.
    pub(crate) fn new(queue: usize) -> Self {
        let (sender, receiver) = unbounded();
        Self {
            sender,
            receiver,
            taken: AtomicUsize::new(0),
            room: queue / SHARE,
            queued: AtomicU64::new(0),
            passed: AtomicU64::new(0),
            is_open: AtomicBool::new(true),
            has_ended: AtomicBool::new(false),
        }
    }

    /// Queues a comparison if there is room.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn push(&self, record: ShadowRecord) -> Result<(), Unrecorded> {
        if !self.is_open.load(Ordering::Relaxed) {
            return Err(Unrecorded::LogSpace);
        }
        let bytes = memory(&record);
        let add = |taken: usize| taken.checked_add(bytes).filter(|taken| *taken <= self.room);
        let taken = self.taken.fetch_update(Ordering::SeqCst, Ordering::SeqCst, add);
        taken.map_err(|_| Unrecorded::QueueFull)?;
        // Counted first: who waits for those that were queued waits for it, too.
        self.queued.fetch_add(1, Ordering::SeqCst);
        // The queue has a receiver as long as it exists.
        self.sender.send((record, bytes)).map_err(|_| Unrecorded::Closed)
    }

    /// The next of them, whose room is free again.
    pub(crate) fn next(&self) -> Option<ShadowRecord> {
        let (record, bytes) = self.receiver.try_recv().ok()?;
        self.taken.fetch_sub(bytes, Ordering::SeqCst);
        self.passed.fetch_add(1, Ordering::SeqCst);
        Some(record)
    }

    /// Takes all of them out. How many they were.
    pub(crate) fn drain(&self) -> u64 {
        iter::from_fn(|| self.next()).count() as u64
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.receiver.is_empty()
    }

    /// How many were queued so far. They come out in their order: none of them is left once as many have
    /// [`passed`](Self::passed).
    pub(crate) fn queued(&self) -> u64 {
        self.queued.load(Ordering::SeqCst)
    }

    /// How many were taken out so far.
    pub(crate) fn passed(&self) -> u64 {
        self.passed.load(Ordering::SeqCst)
    }

    /// Whether the log has space for more of them.
    pub(crate) fn open(&self, is_open: bool) {
        self.is_open.store(is_open, Ordering::Relaxed);
    }

    /// Says that the writer has ended. It drains them behind this, and so does a call that has queued one and then
    /// finds this: one of both sees it.
    pub(crate) fn end(&self) {
        self.has_ended.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// Whether the writer has ended.
    pub(crate) fn has_ended(&self) -> bool {
        fence(Ordering::SeqCst);
        self.has_ended.load(Ordering::SeqCst)
    }

    /// The bytes that those in it take.
    #[cfg(test)]
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::SeqCst)
    }
}

/// The bytes that a comparison takes in memory, about: its parts, and at most its texts once more.
pub(crate) fn memory(record: &ShadowRecord) -> usize {
    let ShadowRecord { champion_models, shadow_models, offers, .. } = record;
    let texts = [
        &record.champion_shown,
        &record.shadow_shown,
        &record.withheld_by_champion_only,
        &record.withheld_by_shadow_only,
    ];
    size_of::<ShadowRecord>()
        + (champion_models.len() + shadow_models.len()) * size_of::<RecordedModel>()
        + offers.len() * size_of::<ShadowOffer>()
        + texts.into_iter().map(Vec::len).sum::<usize>() * size_of::<String>()
        + record.encoded_len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sealed::testing::{NOON, shadow};

    #[test]
    fn there_is_no_more_room_than_its_share() {
        let record = shadow(NOON);
        let (bytes, most) = (memory(&record), 5);
        let queue = Comparisons::new(SHARE * (most * bytes + bytes - 1));
        let push = || queue.push(record.clone());
        assert_eq!(((0..9).filter(|_| push().is_ok()).count(), queue.taken()), (most, most * bytes));
        assert!(queue.next().is_some());
        assert_eq!([push(), push()], [Ok(()), Err(Unrecorded::QueueFull)]);
        queue.open(false);
        assert_eq!((push(), queue.drain()), (Err(Unrecorded::LogSpace), most as u64));
        assert_eq!((queue.is_empty(), queue.taken(), push()), (true, 0, Err(Unrecorded::LogSpace)));
        queue.open(true);
        assert_eq!((push(), queue.queued(), queue.passed()), (Ok(()), most as u64 + 2, most as u64 + 1));
    }

    #[test]
    fn what_repeats_takes_memory() {
        let record = shadow(0);
        let usual = memory(&record);
        assert!(usual > size_of::<ShadowRecord>() && usual < 4_096, "{usual}");
        let offers = vec![ShadowOffer::default(); 1_000];
        let many = memory(&ShadowRecord { offers, ..record.clone() });
        assert!(many > 1_000 * size_of::<ShadowOffer>(), "{many}");
        let withheld_by_shadow_only = vec![String::new(); 1_000];
        let many = memory(&ShadowRecord { withheld_by_shadow_only, ..record });
        assert!(many > 1_000 * size_of::<String>(), "{many}");
    }
}
