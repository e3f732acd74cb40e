//! The writer without its thread: what it reported as durable is there once and in order, after every failure.

mod compared;
mod crashes;

use std::path::PathBuf;
use std::pin::Pin;
use std::task::Poll;

use super::*;
use crate::clock::manual::ManualClock;
use crate::disk::memory::MemoryDisk;
use crate::error::{EventError, NotRecorded};
use crate::frame::Frames;
use crate::kind::EventRecord;
use crate::log::{Limits, LogFile, Recovery, Start};
use crate::proto::DecisionRecord;
use crate::queue::tests::{Ids, config, id_of, poll};
use crate::recorder::{IntoEvents, Recorder};

type Durable = Pin<Box<dyn Future<Output = Result<(), NotRecorded>>>>;

/// A log on a disk in memory, whose writer is turned by hand.
struct Machine {
    disk: MemoryDisk,
    clock: Arc<ManualClock>,
    shared: Arc<Shared>,
    recorder: Recorder,
    writer: Writer,
    recovery: Recovery,
}

impl Machine {
    fn start(disk: &MemoryDisk, config: &EventConfig) -> Self {
        Self::try_start(disk, config).unwrap()
    }

    fn try_start(disk: &MemoryDisk, config: &EventConfig) -> Result<Self, EventError> {
        let clock = Arc::<ManualClock>::default();
        let (log, recovery) = Log::open(
            Arc::new(disk.clone()),
            PathBuf::from("/log"),
            "s",
            "1",
            Limits::of(config),
            Start::default(),
        )?;
        let (shared, queue) = Shared::new(config, Arc::default());
        let next = (log, recovery.next_position);
        let writer = Writer::new(config, Arc::clone(&shared), queue, next, Arc::clone(&clock) as _, "1");
        let recorder = Recorder::new(Arc::clone(&shared));
        Ok(Self { disk: disk.clone(), clock, shared, recorder, writer, recovery })
    }

    fn record(&self, ids: &[&str]) -> Durable {
        self.record_batch(Box::new(Ids(ids.iter().map(|id| (*id).to_owned()).collect())))
    }

    fn record_batch(&self, batch: Box<dyn IntoEvents>) -> Durable {
        Self::record_by(&self.recorder, batch)
    }

    fn record_urgently(&self, ids: &[&str]) -> Durable {
        let ids = ids.iter().map(|id| (*id).to_owned()).collect();
        Self::record_by(&self.recorder.urgent(), Box::new(Ids(ids)))
    }

    fn record_by(recorder: &Recorder, batch: Box<dyn IntoEvents>) -> Durable {
        let reserved = recorder.try_reserve(1_000).unwrap();
        Box::pin(recorder.record(reserved, batch).durable())
    }

    /// Lets time pass, then turns the writer until it has nothing to do at once.
    fn turn_after(&mut self, time: Duration) -> Next {
        self.clock.advance(time);
        loop {
            let next = self.writer.turn();
            if next != Next::Turn {
                return next;
            }
        }
    }

    fn turn(&mut self) -> Next {
        self.turn_after(Duration::ZERO)
    }

    fn files(&self) -> Vec<LogFile> {
        self.writer.log.files().all()
    }

    /// Positions, ids and times of all events in the log files.
    fn events(&self) -> Vec<(u64, String, i64)> {
        self.files().iter().flat_map(|file| events_of(&self.disk, file)).collect()
    }

    fn ids(&self) -> Vec<String> {
        self.events().into_iter().map(|(_, id, _)| id).collect()
    }

    fn lost(&self) -> u64 {
        self.shared.metrics.events.lost.get()
    }
}

/// Positions, ids and times of the events of a file. No torn frame is read.
fn events_of(disk: &MemoryDisk, file: &LogFile) -> Vec<(u64, String, i64)> {
    let bytes = disk.content(&file.path);
    let mut frames = Frames::new(&bytes[..file.bytes as usize]);
    let mut found = Vec::new();
    while let Some(frame) = frames.next_frame().unwrap() {
        let (position, recorded_at) = (frame.event.position, frame.event.recorded_at);
        if let Some(record) = frame.event.event.and_then(Record::of_event) {
            assert_eq!(record.server(), "s");
            found.push((position, id_of(&record).to_owned(), recorded_at));
        }
    }
    found
}

fn small(sync: SyncPolicy) -> EventConfig {
    config(1 << 20, sync)
}

const INTERVAL: Duration = Duration::from_millis(100);

#[test]
fn a_group_is_told_durable_after_its_one_sync() {
    let mut machine = Machine::start(&MemoryDisk::default(), &small(SyncPolicy::Always));
    let mut waiting = [machine.record(&["a"]), machine.record(&["b", "c"]), machine.record(&[])];
    assert!(waiting.iter_mut().all(|durable| poll(durable.as_mut()).is_pending()));
    // The write succeeds, the sync does not: neither at first nor when it is tried again.
    machine.disk.set_faults(|faults| faults.syncs = 2);
    assert!(matches!(machine.turn(), Next::Rest(_)));
    for durable in &mut waiting {
        assert_eq!(poll(durable.as_mut()), Poll::Ready(Err(NotRecorded::Stalled)));
    }
    assert_eq!(
        (machine.disk.syncs(), machine.ids().len(), machine.recorder.try_reserve(1).is_none()),
        (0, 0, true)
    );
    let next = machine.turn_after(FIRST_RETRY);
    assert!(matches!(next, Next::Sleep(_)), "{next:?}");
    assert_eq!(
        (machine.disk.syncs(), machine.ids()),
        (1, vec!["a".to_owned(), "b".to_owned(), "c".to_owned()])
    );
    let mut waiting = [machine.record(&["d"]), machine.record(&["e"])];
    machine.turn();
    assert_eq!(machine.disk.syncs(), 2, "one sync for both");
    assert!(waiting.iter_mut().all(|durable| poll(durable.as_mut()) == Poll::Ready(Ok(()))));
    assert_eq!(machine.shared.waiting(), 0);
    assert_eq!(machine.shared.reserved(), 0);
}

#[test]
fn events_gather_for_an_interval() {
    let mut machine = Machine::start(&MemoryDisk::default(), &small(SyncPolicy::Interval));
    assert_eq!(machine.turn(), Next::Sleep(None));
    let mut first = machine.record(&["a"]);
    assert_eq!(machine.turn(), Next::Gather(LONGEST_TICK));
    machine.turn_after(INTERVAL / 2);
    let mut second = machine.record(&["b"]);
    assert_eq!(machine.turn_after(Duration::from_millis(49)), Next::Gather(Duration::from_millis(1)));
    assert!(poll(first.as_mut()).is_pending() && machine.ids().is_empty());
    assert!(matches!(machine.turn_after(Duration::from_millis(1)), Next::Sleep(Some(_))));
    assert_eq!((poll(first.as_mut()), poll(second.as_mut())), (Poll::Ready(Ok(())), Poll::Ready(Ok(()))));
    assert_eq!(machine.disk.syncs(), 1);
}

#[test]
fn a_batch_emits_events_of_any_kind() {
    let mut machine = Machine::start(&MemoryDisk::default(), &small(SyncPolicy::Always));
    let mut durable = machine.record(&["a", "!click", "b", "!accept"]);
    machine.turn();
    assert_eq!(poll(durable.as_mut()), Poll::Ready(Ok(())));
    let events: Vec<_> = machine.events().into_iter().map(|(position, id, _)| (position, id)).collect();
    let expected = [(1, "a"), (2, "!click"), (3, "b"), (4, "!accept")];
    assert_eq!(events, expected.map(|(position, id)| (position, id.to_owned())));
    let files = machine.files();
    let bytes = machine.disk.content(&files[0].path);
    let mut frames = Frames::new(&bytes[..]);
    let mut versions = Vec::new();
    while let Some(frame) = frames.next_frame().unwrap() {
        match frame.event.event.and_then(Record::of_event) {
            Some(Record::Decision(record)) => versions.push(record.server_version),
            Some(Record::Outcome(record)) => versions.push(record.server_version),
            Some(Record::Shadow(record)) => versions.push(record.server_version),
            None => {}
        }
    }
    assert_eq!(versions, ["1"; 4]);
}

#[test]
fn an_urgent_batch_is_synced_at_once_with_what_was_queued_before() {
    for policy in [SyncPolicy::Interval, SyncPolicy::Os, SyncPolicy::Always] {
        let mut machine = Machine::start(&MemoryDisk::default(), &small(policy));
        let mut before = machine.record(&["a"]);
        let mut urgent = machine.record_urgently(&["!b"]);
        assert!(poll(urgent.as_mut()).is_pending());
        machine.turn();
        assert_eq!(poll(urgent.as_mut()), Poll::Ready(Ok(())), "{policy:?}");
        assert_eq!(poll(before.as_mut()), Poll::Ready(Ok(())), "{policy:?}");
        assert_eq!(machine.disk.syncs(), 1, "{policy:?}");
        for seed in 0..10 {
            let disk = machine.disk.after_loss_of_power(seed);
            assert_eq!(Machine::start(&disk, &small(policy)).ids(), ["a", "!b"], "{policy:?}");
        }
        // The next group gathers again.
        let mut later = machine.record(&["c"]);
        let next = machine.turn();
        assert_eq!(matches!(next, Next::Gather(_)), policy != SyncPolicy::Always, "{policy:?}");
        machine.turn_after(INTERVAL);
        assert_eq!(poll(later.as_mut()), Poll::Ready(Ok(())), "{policy:?}");
        assert_eq!(machine.disk.syncs(), if policy == SyncPolicy::Os { 1 } else { 2 }, "{policy:?}");
    }
}

#[test]
fn urgent_batches_that_follow_on_each_other_share_a_sync() {
    let mut machine = Machine::start(&MemoryDisk::default(), &small(SyncPolicy::Interval));
    let mut first = machine.record_urgently(&["a"]);
    machine.turn();
    assert_eq!((poll(first.as_mut()), machine.disk.syncs()), (Poll::Ready(Ok(())), 1));
    let mut later = [machine.record_urgently(&["b"]), machine.record_urgently(&["c"])];
    assert!(matches!(machine.turn(), Next::Gather(time) if time <= LONGEST_BETWEEN_URGENT));
    assert!(later.iter_mut().all(|one| poll(one.as_mut()).is_pending()));
    machine.turn_after(LONGEST_BETWEEN_URGENT);
    assert!(later.iter_mut().all(|one| poll(one.as_mut()) == Poll::Ready(Ok(()))));
    assert_eq!(machine.disk.syncs(), 2);
    // After a pause one is synced at once.
    machine.turn_after(LONGEST_BETWEEN_URGENT);
    let mut last = machine.record_urgently(&["d"]);
    machine.turn();
    assert_eq!((poll(last.as_mut()), machine.disk.syncs()), (Poll::Ready(Ok(())), 3));
}

#[test]
fn the_pause_between_urgent_syncs_follows_what_they_take_within_bounds() {
    let between = |micros| between_urgent(Duration::from_micros(micros));
    assert_eq!(between(700), Duration::from_micros(2_800));
    assert_eq!((between(20), between(900_000)), (SHORTEST_BETWEEN_URGENT, LONGEST_BETWEEN_URGENT));
}

#[test]
fn an_urgent_batch_is_told_that_the_log_stalls() {
    let mut machine = Machine::start(&MemoryDisk::default(), &small(SyncPolicy::Os));
    machine.disk.set_faults(|faults| faults.syncs = 2);
    let mut urgent = machine.record_urgently(&["a"]);
    assert!(matches!(machine.turn(), Next::Rest(_)));
    assert_eq!(poll(urgent.as_mut()), Poll::Ready(Err(NotRecorded::Stalled)));
    assert!(machine.recorder.urgent().try_reserve(1).is_none());
    // Calls that do not wait have room in the queue.
    assert!(machine.recorder.try_reserve(1).is_some());
    assert!(matches!(machine.turn_after(FIRST_RETRY), Next::Sleep(_)));
    assert_eq!((machine.ids(), machine.disk.syncs()), (vec!["a".to_owned()], 1));
}

#[test]
fn turns_follow_on_each_other_sooner_while_they_find_much() {
    let mut machine = Machine::start(&MemoryDisk::default(), &small(SyncPolicy::Interval));
    let _first = machine.record(&["a"]);
    let mut tick = LONGEST_TICK;
    assert_eq!(machine.turn(), Next::Gather(tick));
    let long = "x".repeat(3 * TICK_BYTES);
    while tick > SHORTEST_TICK {
        let _durable = machine.record(&[&long]);
        tick = (tick / 2).max(SHORTEST_TICK);
        assert_eq!(machine.turn(), Next::Gather(tick));
    }
    let _durable = machine.record(&[&long]);
    assert_eq!(machine.turn(), Next::Gather(SHORTEST_TICK));
    let _durable = machine.record(&[&long[..TICK_BYTES]]);
    assert_eq!(machine.turn(), Next::Gather(SHORTEST_TICK));
    assert_eq!(machine.turn(), Next::Gather(2 * SHORTEST_TICK));
    // What the first has not used of its room is there again.
    let most = machine.shared.waiting() as usize * 1_000;
    assert!((most - 1_000..most - 500).contains(&machine.shared.reserved()));
}

#[test]
fn a_group_that_is_large_is_written_before_the_interval() {
    let mut machine = Machine::start(&MemoryDisk::default(), &config(4_000, SyncPolicy::Interval));
    let id = "x".repeat(900);
    let mut durable = machine.record(&[&id, &id]);
    machine.turn();
    assert_eq!(poll(durable.as_mut()), Poll::Ready(Ok(())));
}

#[test]
fn a_queue_that_is_half_full_is_written_before_the_interval() {
    let mut machine = Machine::start(&MemoryDisk::default(), &config(100_000, SyncPolicy::Interval));
    let held = machine.recorder.try_reserve(50_000).unwrap();
    let mut durable = machine.record(&["a"]);
    assert!(matches!(machine.turn(), Next::Sleep(_)), "what a call holds is no reason to turn again");
    assert_eq!(poll(durable.as_mut()), Poll::Ready(Ok(())));
    drop(held);
    let _durable = machine.record(&["b"]);
    assert!(matches!(machine.turn(), Next::Gather(_)));
}

#[test]
fn what_the_system_syncs_is_told_durable_when_it_is_written() {
    let mut machine = Machine::start(&MemoryDisk::default(), &small(SyncPolicy::Os));
    let mut durable = machine.record(&["a"]);
    machine.turn();
    machine.turn_after(INTERVAL);
    assert_eq!((poll(durable.as_mut()), machine.disk.syncs()), (Poll::Ready(Ok(())), 0));
    machine.turn_after(Duration::from_mins(10));
    assert_eq!((machine.disk.syncs(), machine.writer.log.files().closed().len()), (1, 1));
}

#[test]
fn a_file_is_closed_at_its_age_though_nothing_is_added() {
    let mut machine = Machine::start(&MemoryDisk::default(), &small(SyncPolicy::Always));
    let _durable = machine.record(&["a"]);
    let Next::Sleep(Some(left)) = machine.turn() else { panic!("it waits for the age of the file") };
    assert_eq!(left, Duration::from_mins(10));
    // The wall clock jumps, which says nothing of the age.
    let hour = 3_600_000_000;
    for jump in [hour, -2 * hour] {
        machine.clock.jump(jump);
        machine.turn();
        assert!(machine.writer.log.files().closed().is_empty());
    }
    assert_eq!(machine.turn_after(left), Next::Sleep(None));
    assert_eq!(machine.writer.log.files().closed().len(), 1);
}

#[test]
fn times_follow_the_wall_clock_ahead_and_back() {
    let mut machine = Machine::start(&MemoryDisk::default(), &small(SyncPolicy::Always));
    let start = machine.clock.wall();
    let hour = 3_600_000_000;
    for (id, jump) in [("a", 0), ("b", hour), ("c", -2 * hour)] {
        machine.clock.jump(jump);
        let _durable = machine.record(&[id]);
        machine.turn();
    }
    let times: Vec<_> =
        machine.events().into_iter().map(|(position, _, at)| (position, at - start)).collect();
    assert_eq!(times, [(1, 0), (2, hour), (3, -hour)]);
}

#[test]
fn a_disk_that_fails_once_costs_nothing() {
    for fault in ["write", "sync"] {
        let mut machine = Machine::start(&MemoryDisk::default(), &small(SyncPolicy::Always));
        let _first = machine.record(&["a"]);
        machine.turn();
        machine.disk.set_faults(|faults| if fault == "write" { faults.writes = 1 } else { faults.syncs = 1 });
        let mut second = machine.record(&["b"]);
        machine.turn();
        assert_eq!(poll(second.as_mut()), Poll::Ready(Ok(())), "{fault}");
        for seed in 0..10 {
            let disk = machine.disk.after_loss_of_power(seed);
            assert_eq!(Machine::start(&disk, &small(SyncPolicy::Always)).ids(), ["a", "b"], "{fault}");
        }
    }
}

#[test]
fn what_a_failed_sync_left_is_made_durable_by_the_next_start() {
    let disk = MemoryDisk::default();
    let mut machine = Machine::start(&disk, &small(SyncPolicy::Always));
    let _first = machine.record(&["a"]);
    machine.turn();
    // Both files can be read, and the system has forgotten that it did not write them.
    disk.set_faults(|faults| (faults.syncs, faults.cuts) = (2, 2));
    let _second = machine.record(&["b"]);
    assert!(matches!(machine.turn(), Next::Rest(_)));
    drop(machine);
    let mut machine = Machine::start(&disk, &small(SyncPolicy::Always));
    assert_eq!(machine.ids(), ["a", "b"]);
    let _third = machine.record(&["c"]);
    machine.turn();
    for seed in 0..10 {
        let disk = disk.after_loss_of_power(seed);
        assert_eq!(Machine::start(&disk, &small(SyncPolicy::Always)).ids(), ["a", "b", "c"]);
    }
}

#[test]
fn a_full_disk_fills_the_queue_and_is_written_again_when_there_is_room() {
    let mut machine = Machine::start(&MemoryDisk::default(), &config(5_000, SyncPolicy::Interval));
    machine.disk.set_faults(|faults| faults.capacity = Some(300));
    let mut recorded = Vec::new();
    let mut waiting = Vec::new();
    while let Some(reserved) = machine.recorder.try_reserve(200) {
        let id = format!("event-{}-{}", recorded.len(), "x".repeat(200));
        waiting.push(machine.recorder.record(reserved, Box::new(Ids(vec![id.clone()]))));
        recorded.push(id);
        machine.turn_after(Duration::from_millis(20));
    }
    assert!(recorded.len() > 20 && machine.recorder.is_full());
    assert_eq!(machine.shared.waiting(), recorded.len() as u64);
    assert!(machine.shared.reserved() <= 5_000);
    assert_eq!(machine.shared.metrics.events.log_writable.get(), 0);
    // Memory is bounded: a group, and the queue.
    assert!(machine.writer.pending.group.frames.len() < 5_000);
    machine.disk.set_faults(|faults| faults.capacity = None);
    // The longest time until the next try.
    machine.turn_after(LONGEST_RETRY);
    machine.turn_after(INTERVAL);
    assert_eq!(machine.ids(), recorded, "each once and in order");
    assert_eq!((machine.shared.waiting(), machine.shared.reserved(), machine.lost()), (0, 0, 0));
    assert_eq!(machine.shared.metrics.events.log_writable.get(), 1);
    for receipt in waiting {
        assert_eq!(poll(Box::pin(receipt.durable()).as_mut()), Poll::Ready(Ok(())));
    }
}

#[test]
fn tries_become_rarer_and_not_rare() {
    let mut machine = Machine::start(&MemoryDisk::default(), &small(SyncPolicy::Always));
    machine.disk.set_faults(|faults| faults.capacity = Some(0));
    let _durable = machine.record(&["a"]);
    let mut waits = Vec::new();
    let mut next = machine.turn();
    while let Next::Rest(wait) = next
        && waits.len() < 12
    {
        waits.push(wait.as_millis());
        next = machine.turn_after(wait);
    }
    assert_eq!(waits, [10, 20, 40, 80, 160, 320, 640, 1000, 1000, 1000, 1000, 1000]);
}

#[test]
fn a_log_at_its_limit_goes_on_when_a_file_is_deleted() {
    let mut limits = small(SyncPolicy::Interval);
    (limits.log_limit, limits.log_file) = (4_000, 1_000);
    let mut machine = Machine::start(&MemoryDisk::default(), &limits);
    let id = "x".repeat(400);
    let mut recorded = 0;
    let mut rest = Duration::ZERO;
    while rest.is_zero() {
        let _durable = machine.record(&[&id]);
        recorded += 1;
        machine.turn();
        if let Next::Rest(wait) = machine.turn_after(INTERVAL) {
            rest = wait;
        }
    }
    assert!(machine.writer.log.files().bytes() <= 4_000);
    machine.turn_after(LONGEST_RETRY);
    assert_eq!(machine.events().len(), recorded - 1, "the last one waits");
    let files = machine.writer.log.files().clone();
    files.delete(&files.closed()[0]).unwrap();
    let Next::Sleep(_) = machine.turn() else { panic!("it does not wait for the time of the next try") };
    let kept = machine.events();
    assert_eq!(kept.last().unwrap().0, recorded as u64);
    assert!(machine.writer.stall.is_none());
}

#[test]
fn a_call_with_more_than_a_file_may_have_goes_to_several_and_is_told_once() {
    let mut limits = small(SyncPolicy::Always);
    (limits.log_file, limits.log_limit) = (1_000, 3_000);
    let mut machine = Machine::start(&MemoryDisk::default(), &limits);
    let ids: Vec<String> = (0..10).map(|at| format!("{at}-{}", "x".repeat(400))).collect();
    let reserved = machine.recorder.try_reserve(1_000).unwrap();
    let receipt = machine.recorder.record(reserved, Box::new(Ids(ids.clone())));
    let mut sealed = Vec::new();
    for _ in 0..4 {
        machine.turn_after(LONGEST_RETRY);
        if machine.shared.waiting() == 0 {
            break;
        }
        // Sealing makes room for the rest.
        sealed.extend(machine.ids());
        let files = machine.writer.log.files().clone();
        assert!(files.closed().iter().all(|file| file.bytes <= 1_000) && files.bytes() <= 3_000);
        files.closed().iter().for_each(|file| files.delete(file).unwrap());
    }
    sealed.extend(machine.ids());
    assert_eq!((sealed, machine.writer.next_position), (ids, 11));
    assert_eq!(poll(Box::pin(receipt.durable()).as_mut()), Poll::Ready(Ok(())));
    assert_eq!(machine.shared.metrics.events.appended.get(), 10);
    assert_eq!((machine.lost(), machine.shared.waiting(), machine.shared.reserved()), (0, 0, 0));
}

#[test]
fn events_that_cannot_be_encoded_are_lost_alone() {
    struct Panics;
    impl IntoEvents for Panics {
        fn events(self: Box<Self>, emit: &mut dyn FnMut(Record)) {
            emit(DecisionRecord::default().into());
            panic!("on purpose");
        }
        fn count(&self) -> usize {
            2
        }
    }
    let mut machine = Machine::start(&MemoryDisk::default(), &small(SyncPolicy::Always));
    let huge = "x".repeat(MAX_EVENT_BYTES + 1);
    let mut waiting = [
        machine.record(&["a"]),
        machine.record_batch(Box::new(Panics)),
        machine.record(&["b", &huge]),
        machine.record(&["c"]),
    ];
    machine.turn();
    let told: Vec<_> = waiting.iter_mut().map(|durable| poll(durable.as_mut())).collect();
    let failed = Poll::Ready(Err(NotRecorded::Failed));
    assert_eq!(told, [Poll::Ready(Ok(())), failed, failed, Poll::Ready(Ok(()))]);
    let events: Vec<_> = machine.events().into_iter().map(|(position, id, _)| (position, id)).collect();
    assert_eq!(events, [(1, "a".to_owned()), (2, "c".to_owned())]);
    assert_eq!((machine.lost(), machine.shared.waiting(), machine.shared.reserved()), (4, 0, 0));
}

#[test]
fn closing_writes_what_is_queued() {
    let mut machine = Machine::start(&MemoryDisk::default(), &small(SyncPolicy::Interval));
    let mut durable = machine.record(&["a"]);
    machine.shared.closing.set(machine.clock.now() + Duration::from_secs(1)).unwrap();
    assert_eq!(machine.turn(), Next::End);
    assert_eq!(
        (poll(durable.as_mut()), machine.ids(), machine.lost()),
        (Poll::Ready(Ok(())), vec!["a".to_owned()], 0)
    );
    assert_eq!(machine.writer.log.files().closed().len(), 1);
}

#[test]
fn closing_gives_up_in_time_and_says_what_is_lost() {
    let mut machine = Machine::start(&MemoryDisk::default(), &config(4_000, SyncPolicy::Interval));
    machine.disk.set_faults(|faults| faults.capacity = Some(0));
    let id = "x".repeat(900);
    // The last batches do not fit into the group that is tried.
    let mut waiting = [machine.record(&[&id]), machine.record(&[&id, &id]), machine.record(&[&id])];
    machine.shared.closing.set(machine.clock.now() + Duration::from_millis(25)).unwrap();
    assert_eq!(machine.turn(), Next::Rest(Duration::from_millis(10)));
    assert_eq!(machine.turn_after(Duration::from_millis(10)), Next::Rest(Duration::from_millis(15)));
    assert_eq!(machine.turn_after(Duration::from_millis(15)), Next::End);
    let Machine { writer, shared, .. } = machine;
    drop(writer);
    assert_eq!((shared.metrics.events.lost.get(), shared.waiting()), (4, 0));
    for durable in &mut waiting {
        assert_eq!(poll(durable.as_mut()), Poll::Ready(Err(NotRecorded::Closed)));
    }
}
