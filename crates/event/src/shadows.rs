//! Comparisons with shadows on their way to the writer.
//!
//! They have a queue and room of their own, and are dropped first: nothing that they take is missing where decisions and
//! outcomes wait. The writer takes some of them behind everything else, so that they delay an urgent event by a bounded
//! number of bytes alone.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, Sender, unbounded};
use prost::Message;

use crate::proto::{RecordedModel, ShadowOffer, ShadowRecord};

/// Their room, as a share of that of all other events: an eighth.
const SHARE: usize = 8;

/// A queue of comparisons, within bytes of its own.
pub(crate) struct Comparisons {
    sender: Sender<(ShadowRecord, usize)>,
    receiver: Receiver<(ShadowRecord, usize)>,
    taken: AtomicUsize,
    room: usize,
    /// Whether the log has space for them.
    is_open: AtomicBool,
}

impl Comparisons {
    /// A queue beside one of `queue` bytes.
    pub(crate) fn new(queue: usize) -> Self {
        let (sender, receiver) = unbounded();
        let is_open = AtomicBool::new(true);
        Self { sender, receiver, taken: AtomicUsize::new(0), room: queue / SHARE, is_open }
    }

    /// Queues a comparison if there is room. Returns whether it was queued.
    pub(crate) fn push(&self, record: ShadowRecord) -> bool {
        let bytes = memory(&record);
        let add = |taken: usize| taken.checked_add(bytes).filter(|taken| *taken <= self.room);
        let is_taken = self.is_open.load(Ordering::Relaxed)
            && self.taken.fetch_update(Ordering::SeqCst, Ordering::SeqCst, add).is_ok();
        // The queue has a receiver as long as it exists.
        is_taken && self.sender.send((record, bytes)).is_ok()
    }

    /// The next of them, whose room is free again.
    pub(crate) fn next(&self) -> Option<ShadowRecord> {
        let (record, bytes) = self.receiver.try_recv().ok()?;
        self.taken.fetch_sub(bytes, Ordering::SeqCst);
        Some(record)
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.receiver.is_empty()
    }

    /// Whether the log has space for more of them.
    pub(crate) fn open(&self, is_open: bool) {
        self.is_open.store(is_open, Ordering::Relaxed);
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
        let pushed = (0..9).filter(|_| queue.push(record.clone())).count();
        assert_eq!((pushed, queue.taken()), (most, most * bytes));
        assert!(queue.next().is_some() && queue.push(record.clone()) && !queue.push(record.clone()));
        queue.open(false);
        assert_eq!(std::iter::from_fn(|| queue.next()).count(), most);
        assert!(queue.is_empty() && queue.taken() == 0 && !queue.push(record.clone()));
        queue.open(true);
        assert!(queue.push(record.clone()));
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
