//! Room for events is bounded, handed out in order, and given back.

use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::sync::atomic::AtomicUsize;
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;

use super::*;
use crate::kind::Record;
use crate::proto::{DecisionRecord, OutcomeRecord};
use crate::recorder::{Durability, Recorder};
use crate::sealed::testing::{NOON, shadow, shadows};

/// A configuration with a small queue.
pub(crate) fn config(queue: usize, sync: SyncPolicy) -> EventConfig {
    EventConfig {
        directory: PathBuf::from("/data"),
        record: true,
        queue,
        when_full: WhenFull::Drop,
        sync,
        interval: Duration::from_millis(100),
        log_limit: 1 << 30,
        log_file: 64 << 20,
        log_age: Duration::from_mins(10),
        keep: Duration::from_hours(24),
    }
}

/// The shared state of a log without a writer.
pub(crate) fn shared() -> Arc<Shared> {
    Shared::new(&config(1 << 20, SyncPolicy::Interval), Arc::default()).0
}

/// Events with these ids: decisions with ids of requests, and outcomes where the id begins with
/// [`OUTCOME`].
pub(crate) struct Ids(pub(crate) Vec<String>);

pub(crate) const OUTCOME: char = '!';

impl IntoEvents for Ids {
    fn events(self: Box<Self>, emit: &mut dyn FnMut(Record)) {
        for id in self.0 {
            emit(if id.starts_with(OUTCOME) {
                OutcomeRecord { event_id: id, ..OutcomeRecord::default() }.into()
            } else {
                DecisionRecord { request_id: id, ..DecisionRecord::default() }.into()
            });
        }
    }

    fn count(&self) -> usize {
        self.0.len()
    }
}

/// The id of an event of [`Ids`].
pub(crate) fn id_of(record: &Record) -> &str {
    match record {
        Record::Decision(record) => &record.request_id,
        Record::Outcome(record) => &record.event_id,
        Record::Shadow(record) => &record.decision_id,
    }
}

fn ids(count: usize) -> Box<dyn IntoEvents> {
    Box::new(Ids(vec!["r".to_owned(); count]))
}

fn recorder(queue: usize, sync: SyncPolicy) -> (Recorder, Arc<Shared>, Receiver<Queued>) {
    let (shared, receiver) = Shared::new(&config(queue, sync), Arc::default());
    (Recorder::new(Arc::clone(&shared)), shared, receiver)
}

pub(crate) fn poll<T>(future: Pin<&mut (impl Future<Output = T> + ?Sized)>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn there_is_no_more_room_than_was_configured() {
    let (recorder, shared, receiver) = recorder(10_000, SyncPolicy::Interval);
    let (first, second) = (recorder.try_reserve(4_000).unwrap(), recorder.try_reserve(4_000).unwrap());
    assert!(recorder.try_reserve(4_000).is_none());
    assert!(recorder.is_full(), "less than one event fits");
    drop(first);
    assert!(!recorder.is_full());
    // What is queued keeps its room until the writer gives it back.
    recorder.record(second, ids(1));
    assert_eq!((shared.reserved(), shared.waiting()), (4_000, 1));
    drop(receiver.try_recv().unwrap().take().unwrap().reserved);
    assert_eq!(shared.reserved(), 0);
    // A batch larger than the queue has it for itself but for a share, and no bytes are some bytes.
    let all = recorder.try_reserve_in(Lane::Bulk, MOST_ALONE).unwrap();
    assert_eq!((all.bytes(), recorder.try_reserve_in(Lane::Bulk, 0).is_none()), (8_750, true));
    let share = recorder.try_reserve(1_250).unwrap();
    assert!(recorder.try_reserve(0).is_none());
    assert_eq!(shared.reserved(), 10_000);
    drop((all, share));
    // One that would take far more memory is never taken.
    assert!(recorder.try_reserve(MOST_ALONE + 1).is_none() && recorder.try_reserve(1 << 40).is_none());
    assert!(matches!(poll(pin!(recorder.reserve(MOST_ALONE + 1))), Poll::Ready(None)));
    assert_eq!(shared.reserved(), 0);
}

#[test]
fn who_waits_for_room_leaves_interactive_calls_their_share() {
    let (recorder, shared, _receiver) = recorder(8_000, SyncPolicy::Interval);
    let held = [4_000, 3_000].map(|bytes| recorder.try_reserve_in(Lane::Bulk, bytes).unwrap());
    let mut waits = pin!(recorder.reserve(6_000));
    assert!(poll(waits.as_mut()).is_pending());
    let calls = [500, 500].map(|bytes| recorder.try_reserve(bytes).unwrap());
    assert_eq!((recorder.try_reserve(1).is_none(), shared.reserved()), (true, 8_000));
    // Their share first, whichever of them gives room back.
    let [first, second] = held;
    drop(first);
    assert!(poll(waits.as_mut()).is_pending());
    let again = recorder.try_reserve(1_000).unwrap();
    assert!(recorder.try_reserve(1).is_none());
    drop((again, calls));
    assert!(poll(waits.as_mut()).is_pending(), "5,000 bytes are free, and 1,000 of their share");
    drop(second);
    let Poll::Ready(Some(waited)) = poll(waits.as_mut()) else { panic!("there is room") };
    drop(waited);
    assert_eq!(shared.reserved(), 0);
    // While no stream waits, they have all of it.
    let all = [7_000, 1_000].map(|bytes| recorder.try_reserve(bytes));
    assert!(all.iter().all(Option::is_some));
}

#[test]
fn comparisons_with_shadows_take_no_room_from_others() {
    let (recorder, shared, receiver) = recorder(80_000, SyncPolicy::Interval);
    let each = crate::shadows::memory(&shadow(NOON));
    let unrecorded = |why| shared.metrics.shadows.unrecorded(why).get();
    let most = 10_000 / each;
    assert_eq!(recorder.record_shadows(shadows(NOON..NOON + 100)), most);
    assert_eq!((unrecorded(Unrecorded::QueueFull), shared.waiting()), (100 - most as u64, most as u64));
    // Others have all of theirs, are not woken for them, and are not behind them.
    assert_eq!((shared.reserved(), shared.has_urgent_work(), receiver.is_empty()), (0, false, true));
    assert!(recorder.try_reserve_in(Lane::Bulk, 70_000).is_some());
    // Room that is given back is theirs again.
    assert!(shared.comparisons.next().is_some());
    assert_eq!(
        (recorder.record_shadows(shadows(NOON..NOON + 2)), recorder.record_shadows(Vec::new())),
        (1, 0)
    );
    assert!(shared.comparisons.next().is_some());
    // There is none while the log cannot be written, and once it is closed.
    shared.stalled.send_replace(true);
    assert_eq!(recorder.record_shadows(vec![shadow(NOON)]), 0);
    assert_eq!(unrecorded(Unrecorded::NotWritable), 1);
    shared.stalled.send_replace(false);
    assert_eq!(recorder.urgent().record_shadows(vec![shadow(NOON)]), 1);
    assert!(!shared.has_urgent_work());
    shared.room.close();
    assert!(shared.comparisons.next().is_some());
    assert_eq!((recorder.record_shadows(vec![shadow(NOON)]), unrecorded(Unrecorded::Closed)), (0, 1));
    assert_eq!(shared.metrics.events.dropped.get(), 0);
}

/// What calls and the writer do with the queue. Numbers choose among what is held.
#[derive(Debug, Clone)]
enum Act {
    Reserve(bool, usize),
    Extend(bool, usize, usize),
    GiveBack(usize),
    Record(usize, bool),
    /// The writer takes a batch, and gives its room back.
    Write,
    Compare(usize),
    /// The writer takes so many comparisons.
    WriteComparisons(usize),
    Stall(bool),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let bytes = || prop_oneof![1..200_usize, 1_000..9_000_usize];
    let act = prop_oneof![
        4 => (any::<bool>(), bytes()).prop_map(|(is_bulk, bytes)| Act::Reserve(is_bulk, bytes)),
        1 => (any::<bool>(), 0..8_usize, bytes()).prop_map(|(is_bulk, at, to)| Act::Extend(is_bulk, at, to)),
        1 => (0..8_usize).prop_map(Act::GiveBack),
        3 => (0..8_usize, any::<bool>()).prop_map(|(at, is_urgent)| Act::Record(at, is_urgent)),
        2 => Just(Act::Write),
        4 => (1..30_usize).prop_map(Act::Compare),
        1 => (1..9_usize).prop_map(Act::WriteComparisons),
        1 => any::<bool>().prop_map(Act::Stall),
    ];
    prop::collection::vec(act, 1..80)
}

/// A queue, with the room that is held.
struct World {
    recorder: Recorder,
    shared: Arc<Shared>,
    receiver: Receiver<Queued>,
    held: Vec<Reserved>,
}

impl World {
    fn new(queue: usize) -> Self {
        let (recorder, shared, receiver) = recorder(queue, SyncPolicy::Interval);
        Self { recorder, shared, receiver, held: Vec::new() }
    }

    /// Whether it was possible. Comparisons are left to the caller.
    fn act(&mut self, act: &Act) -> bool {
        let lane = |is_bulk| if is_bulk { Lane::Bulk } else { Lane::Interactive };
        let place = |at: usize| (!self.held.is_empty()).then(|| at % self.held.len());
        match *act {
            Act::Reserve(is_bulk, bytes) => {
                let reserved = self.recorder.try_reserve_in(lane(is_bulk), bytes);
                reserved.map(|reserved| self.held.push(reserved)).is_some()
            }
            Act::Extend(is_bulk, at, bytes) => {
                place(at).is_some_and(|at| self.recorder.try_extend(&mut self.held[at], lane(is_bulk), bytes))
            }
            Act::GiveBack(at) => place(at).map(|at| drop(self.held.swap_remove(at))).is_some(),
            Act::Record(at, is_urgent) => place(at).is_some_and(|at| {
                let reserved = self.held.swap_remove(at);
                let urgent = if is_urgent { self.recorder.urgent() } else { self.recorder.clone() };
                drop(urgent.record(reserved, ids(1)));
                true
            }),
            Act::Write => self.receiver.try_recv().is_ok_and(|queued| queued.take().is_some()),
            Act::Stall(is_stalled) => self.shared.stalled.send_replace(is_stalled),
            Act::Compare(_) | Act::WriteComparisons(_) => true,
        }
    }

    /// What a call or the writer can see of the room.
    fn room(&self) -> (usize, usize, bool, bool, usize) {
        let shared = &self.shared;
        let is_full = (self.recorder.is_full(), self.recorder.urgent().is_full());
        (shared.reserved(), shared.free(), is_full.0, is_full.1, self.receiver.len())
    }
}

proptest! {
    /// Of two queues, one has comparisons besides: everybody else finds the same in both, whatever comes in between.
    #[test]
    fn comparisons_with_shadows_are_not_felt_by_others(acts in acts()) {
        const QUEUE: usize = 32_000;
        let (mut with, mut without) = (World::new(QUEUE), World::new(QUEUE));
        let record = shadow(NOON);
        for act in &acts {
            prop_assert_eq!(with.act(act), without.act(act), "{:?}", act);
            if let Act::Compare(count) = act {
                with.recorder.record_shadows(vec![record.clone(); *count]);
            } else if let Act::WriteComparisons(count) = act {
                (0..*count).for_each(|_| drop(with.shared.comparisons.next()));
            }
            prop_assert_eq!(with.room(), without.room(), "{:?}", act);
            prop_assert_eq!(with.shared.has_urgent_work(), without.shared.has_urgent_work());
            prop_assert!(with.shared.comparisons.taken() <= QUEUE / 8);
        }
    }
}

#[test]
fn all_room_is_there_while_comparisons_flood() {
    const QUEUE: usize = 80_000;
    let (recorder, shared, _receiver) = recorder(QUEUE, SyncPolicy::Interval);
    let (ended, most) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut refused = 0;
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let records = shadows(NOON..NOON + 4);
                while !ended.load(Ordering::SeqCst) {
                    recorder.record_shadows(records.clone());
                    most.fetch_max(shared.comparisons.taken(), Ordering::SeqCst);
                }
            });
        }
        scope.spawn(|| {
            while !ended.load(Ordering::SeqCst) {
                shared.comparisons.drain();
                std::thread::yield_now();
            }
        });
        while most.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        for _ in 0..5_000 {
            let parts = [(Lane::Bulk, 70_000), (Lane::Interactive, 10_000)];
            let all = parts.map(|(lane, bytes)| recorder.try_reserve_in(lane, bytes));
            refused += all.iter().filter(|reserved| reserved.is_none()).count();
        }
        ended.store(true, Ordering::SeqCst);
    });
    assert_eq!((refused, shared.reserved()), (0, 0));
    let most = most.load(Ordering::SeqCst);
    assert!(most <= QUEUE / 8, "{most}");
}

#[test]
fn room_is_extended_where_there_is_more() {
    let (recorder, shared, _receiver) = recorder(8_000, SyncPolicy::Interval);
    let mut first = recorder.try_reserve_in(Lane::Bulk, 3_000).unwrap();
    let mut extend = |lane, bytes| recorder.try_extend(&mut first, lane, bytes).then(|| first.bytes());
    assert_eq!((extend(Lane::Bulk, 2_000), extend(Lane::Bulk, 5_000)), (Some(3_000), Some(5_000)));
    assert_eq!(shared.reserved(), 5_000);
    let second = recorder.try_reserve_in(Lane::Bulk, 1_000).unwrap();
    // 1,000 are left, and 1,000 of the share of interactive calls.
    assert_eq!((extend(Lane::Bulk, 6_001), extend(Lane::Interactive, MOST_ALONE + 1)), (None, None));
    assert_eq!((extend(Lane::Bulk, 6_000), extend(Lane::Bulk, 6_001)), (Some(6_000), None));
    assert_eq!(extend(Lane::Interactive, 6_500), Some(6_500));
    assert_eq!(shared.reserved(), 7_500);
    drop(second);
    // One that is larger than the queue has it for itself, but for the share.
    assert_eq!(extend(Lane::Bulk, MOST_ALONE), Some(7_000));
    drop(first);
    assert_eq!(shared.reserved(), 0);
}

#[test]
fn those_who_wait_get_room_in_their_order() {
    let (recorder, ..) = recorder(10_000, SyncPolicy::Interval);
    let held = recorder.try_reserve(10_000).unwrap();
    let (mut large, mut small) = (pin!(recorder.reserve(7_750)), pin!(recorder.reserve(1_000)));
    assert!(poll(large.as_mut()).is_pending() && poll(small.as_mut()).is_pending());
    drop(held);
    assert!(recorder.try_reserve_in(Lane::Bulk, 500).is_none(), "later calls do not overtake waiting ones");
    let Poll::Ready(Some(large)) = poll(large.as_mut()) else { panic!("there is room") };
    let Poll::Ready(Some(small)) = poll(small.as_mut()) else { panic!("there is room") };
    assert_eq!((large.bytes(), small.bytes()), (7_750, 1_000));
}

#[test]
fn nobody_waits_for_a_log_that_is_closed_or_cannot_be_written() {
    let (recorder, shared, _receiver) = recorder(10_000, SyncPolicy::Interval);
    let held = recorder.try_reserve(10_000).unwrap();
    let mut waits = Box::pin(recorder.reserve(10));
    assert!(poll(waits.as_mut()).is_pending());
    shared.stalled.send_replace(true);
    assert!(matches!(poll(waits.as_mut()), Poll::Ready(None)));
    // The queue takes what it has room for: it may still be written.
    drop(held);
    assert!(recorder.try_reserve(10).is_some());
    shared.stalled.send_replace(false);
    let held = recorder.try_reserve(10_000).unwrap();
    let mut waits = Box::pin(recorder.reserve(10));
    assert!(poll(waits.as_mut()).is_pending());
    shared.room.close();
    assert!(matches!(poll(waits.as_mut()), Poll::Ready(None)));
    drop(held);
    assert!(recorder.try_reserve(10).is_none() && recorder.is_full());
}

#[test]
fn who_would_await_a_log_that_cannot_be_written_gets_no_room() {
    let (recorder, shared, _receiver) = recorder(10_000, SyncPolicy::Always);
    shared.stalled.send_replace(true);
    assert!(recorder.try_reserve(10).is_none() && recorder.is_full());
    assert!(matches!(poll(pin!(recorder.reserve(10))), Poll::Ready(None)));
    shared.stalled.send_replace(false);
    assert!(recorder.try_reserve(10).is_some() && !recorder.is_full());
}

#[test]
fn an_urgent_handle_awaits_whatever_the_policy() {
    for policy in [SyncPolicy::Interval, SyncPolicy::Os, SyncPolicy::Always] {
        let (recorder, shared, receiver) = recorder(10_000, policy);
        let urgent = recorder.urgent();
        assert_eq!(urgent.durability(), Durability::Awaited);
        // Room that the other has reserved will do.
        urgent.record(recorder.try_reserve(100).unwrap(), ids(1));
        assert!(shared.has_urgent_work());
        assert_eq!(receiver.try_recv().unwrap().take().unwrap().urgency, Urgency::AtOnce);
        recorder.record(urgent.try_reserve(100).unwrap(), ids(1));
        assert_eq!(receiver.try_recv().unwrap().take().unwrap().urgency, Urgency::AsConfigured);
        // It gets no room while the log cannot be written.
        shared.stalled.send_replace(true);
        assert!(urgent.try_reserve(10).is_none() && urgent.is_full());
        assert_eq!(recorder.try_reserve(10).is_none(), policy == SyncPolicy::Always);
    }
}

#[test]
fn events_that_nobody_takes_are_counted_once() {
    let (recorder, shared, receiver) = recorder(10_000, SyncPolicy::Interval);
    let record = |count| recorder.record(recorder.try_reserve(100).unwrap(), ids(count));
    record(3);
    record(4);
    receiver.try_recv().unwrap().take().unwrap();
    let late = recorder.try_reserve(100).unwrap();
    drop(receiver);
    assert_eq!(shared.metrics.events.lost.get(), 4, "the first batch was taken, the second was not");
    recorder.record(late, ids(5));
    assert_eq!(shared.metrics.events.lost.get(), 9);
    assert_eq!(shared.reserved(), 0);
}

#[test]
fn the_bound_holds_under_threads() {
    const CAPACITY: usize = 100_000;
    let (recorder, shared, receiver) = recorder(CAPACITY, SyncPolicy::Interval);
    let (held, most, ended) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let mut taken = 0;
    std::thread::scope(|scope| {
        for thread in 0..4_usize {
            let (recorder, held, most, ended) = (recorder.clone(), &held, &most, &ended);
            scope.spawn(move || {
                for turn in 0..5_000_usize {
                    let bytes = 1 + (thread * 7_919 + turn * 104_729) % 40_000;
                    let lane = if turn % 3 == 0 { Lane::Bulk } else { Lane::Interactive };
                    // Some that fit into the share.
                    let bytes = if turn % 4 == 0 { bytes / 10 + 1 } else { bytes };
                    let Some(reserved) = recorder.try_reserve_in(lane, bytes) else { continue };
                    let now = held.fetch_add(bytes, Ordering::SeqCst) + bytes;
                    most.fetch_max(now, Ordering::SeqCst);
                    held.fetch_sub(bytes, Ordering::SeqCst);
                    if turn % 2 == 0 {
                        recorder.record(reserved, ids(1));
                    }
                }
                ended.fetch_add(1, Ordering::SeqCst);
            });
        }
        while ended.load(Ordering::SeqCst) < 4 || !receiver.is_empty() {
            match receiver.try_recv() {
                Ok(queued) => taken += queued.take().map_or(0, |batch| batch.events),
                Err(_) => std::thread::yield_now(),
            }
        }
    });
    assert!(taken > 0 && most.load(Ordering::SeqCst) > 0);
    assert!(most.load(Ordering::SeqCst) <= CAPACITY, "{most:?}");
    assert_eq!(shared.reserved(), 0, "all room was given back");
}

#[test]
fn the_bell_wakes_a_writer_that_sleeps() {
    let bell = Arc::new(Bell::default());
    let (work, done) = crossbeam_channel::unbounded::<u32>();
    let rings = Arc::clone(&bell);
    let writer = std::thread::spawn(move || {
        rings.attend();
        let mut sum = 0;
        while sum < 10_000 {
            rings.sleep(None, || !done.is_empty());
            sum += done.try_iter().sum::<u32>();
        }
        sum
    });
    // Each piece of work alone, so that a lost wake-up would stop the test.
    for _ in 0..10_000 {
        work.send(1).unwrap();
        bell.ring_for_work(|| false);
        std::thread::yield_now();
    }
    assert_eq!(writer.join().unwrap(), 10_000);
}
