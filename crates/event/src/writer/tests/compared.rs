//! Comparisons with shadows in the log: behind decisions, in slices, and in the file that is closed behind them.

use std::sync::mpsc::TryRecvError;

use proptest::prelude::*;
use telemetry::Unrecorded;

use super::*;
use crate::proto::ShadowRecord;
use crate::sealed::testing::{NOON, shadow, shadows};

fn unrecorded(machine: &Machine, why: Unrecorded) -> u64 {
    machine.shared.metrics.shadows.unrecorded(why).get()
}

/// The bytes of its first event in a log of the machine.
fn frame_bytes(record: &ShadowRecord) -> usize {
    let mut record = Record::from(record.clone());
    record.sign("s", "1");
    let mut frames = Vec::new();
    frame::write(&Event { position: 1, recorded_at: NOON, event: Some(record.into_event()) }, &mut frames);
    frames.len()
}

#[test]
fn comparisons_with_shadows_wait_for_the_interval() {
    let mut machine = Machine::start(&MemoryDisk::default(), &small(SyncPolicy::Interval));
    let records = shadows(NOON..NOON + 3);
    assert_eq!(machine.recorder.urgent().record_shadows(records.clone()), 3);
    assert_eq!(machine.turn(), Next::Gather(LONGEST_TICK));
    assert_eq!((machine.disk.syncs(), machine.ids().len()), (0, 0));
    machine.turn_after(INTERVAL);
    let ids: Vec<_> = records.into_iter().map(|record| record.decision_id).collect();
    assert_eq!((machine.disk.syncs(), machine.ids()), (1, ids));
    assert_eq!((machine.shared.waiting(), machine.shared.reserved()), (0, 0));
}

#[test]
fn an_urgent_batch_waits_for_a_slice_of_comparisons_alone() {
    for policy in [SyncPolicy::Interval, SyncPolicy::Os, SyncPolicy::Always] {
        let config = EventConfig { queue: 16 << 20, ..small(policy) };
        let mut machine = Machine::start(&MemoryDisk::default(), &config);
        let queued = machine.recorder.record_shadows(shadows(NOON..NOON + 2_000)) as u64;
        assert!(queued > 1_000, "{queued}");
        let mut urgent = machine.record_urgently(&["a"]);
        machine.writer.turn();
        assert_eq!(poll(urgent.as_mut()), Poll::Ready(Ok(())), "{policy:?}");
        let ids = machine.ids();
        // It stands before them, and most of them are not there yet.
        assert_eq!(ids[0], "a", "{policy:?}");
        assert!(ids.len() > 1 && ids.len() < 1_000, "{policy:?}: {}", ids.len());
        // The others follow, and each is settled once.
        for _ in 0..100 {
            machine.turn_after(INTERVAL);
        }
        assert_eq!(machine.ids().len() as u64, 1 + queued, "{policy:?}");
        assert_eq!((machine.shared.waiting(), machine.shared.comparisons.taken()), (0, 0), "{policy:?}");
    }
}

#[test]
fn comparisons_are_not_recorded_where_log_files_are_half_full() {
    let config = EventConfig {
        queue: 16 << 20,
        log_limit: 256 << 10,
        log_file: 64 << 10,
        ..small(SyncPolicy::Interval)
    };
    let mut machine = Machine::start(&MemoryDisk::default(), &config);
    let mut queued = 0;
    for _ in 0..1_000 {
        queued += machine.recorder.record_shadows(shadows(NOON..NOON + 10));
        machine.turn_after(INTERVAL);
    }
    let (bytes, most) = (machine.disk.log_bytes(), config.log_limit / 2);
    let beyond = config.log_file + machine.writer.compared_bytes as u64;
    assert!(bytes > most / 2 && bytes < most + beyond, "{bytes}");
    assert!(queued < 10_000 && unrecorded(&machine, Unrecorded::LogSpace) > 0, "{queued}");
    // Decisions have the other half.
    let mut decision = machine.record(&["a"]);
    machine.turn();
    machine.turn_after(INTERVAL);
    assert_eq!(poll(decision.as_mut()), Poll::Ready(Ok(())));
}

/// What happens between two turns of a writer, and how long after the last one the next is.
#[derive(Debug, Clone)]
enum Act {
    Compare(usize),
    Decide,
    DecideUrgently,
    /// A turn after so many milliseconds.
    Turn(u64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        3 => (1..60_usize).prop_map(Act::Compare),
        2 => Just(Act::Decide),
        2 => Just(Act::DecideUrgently),
        6 => prop_oneof![Just(0), Just(1), Just(3), Just(100)].prop_map(Act::Turn),
    ];
    prop::collection::vec(act, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Also where the event comes while a group is being written, which is as if it came before that turn.
    #[test]
    fn what_is_awaited_waits_for_one_slice_of_comparisons_at_most(
        policy in prop_oneof![Just(SyncPolicy::Interval), Just(SyncPolicy::Os), Just(SyncPolicy::Always)],
        acts in acts(),
    ) {
        let config = EventConfig { log_file: 8 << 10, ..small(policy) };
        let mut machine = Machine::start(&MemoryDisk::default(), &config);
        let (record, slice) = (shadow(NOON), machine.writer.compared_bytes);
        let most = (slice / frame_bytes(&record) + 1) as u64;
        prop_assert!(slice == 8 << 10 && most > 4, "{}", most);
        // Comparisons in the log, now and before the last turn; those that were queued; decisions in the log.
        let (mut written, mut before, mut queued, mut decided) = (0, 0, 0, 0);
        let mut waiting: Vec<(Durable, Option<u64>)> = Vec::new();
        let all = acts.into_iter().chain(std::iter::repeat_n(Act::Turn(100), 200));
        for act in all {
            match act {
                Act::Compare(count) => {
                    queued += machine.recorder.record_shadows(vec![record.clone(); count]) as u64;
                }
                Act::Decide => {
                    let is_awaited = policy == SyncPolicy::Always;
                    waiting.push((machine.record(&["a"]), is_awaited.then_some(before)));
                }
                Act::DecideUrgently => waiting.push((machine.record_urgently(&["b"]), Some(before))),
                Act::Turn(millis) => {
                    before = written;
                    machine.clock.advance(Duration::from_millis(millis));
                    machine.writer.turn();
                    let mut told = Vec::new();
                    waiting.retain_mut(|(durable, since)| {
                        let is_pending = poll(durable.as_mut()).is_pending();
                        if !is_pending {
                            told.push(*since);
                        }
                        is_pending
                    });
                    decided += told.len() as u64;
                    written = machine.shared.metrics.events.appended.get() - decided;
                    for since in told.into_iter().flatten() {
                        prop_assert!(written - since <= most, "{} comparisons went before", written - since);
                    }
                }
            }
        }
        // None is kept back for good, or written twice.
        prop_assert_eq!((waiting.len(), written, machine.lost()), (0, queued, 0));
        prop_assert_eq!((machine.shared.waiting(), machine.shared.comparisons.taken()), (0, 0));
    }
}

#[test]
fn a_group_has_one_slice_of_comparisons_however_long_it_gathers() {
    let config = EventConfig { queue: 16 << 20, ..small(SyncPolicy::Interval) };
    let mut machine = Machine::start(&MemoryDisk::default(), &config);
    assert!(machine.recorder.record_shadows(shadows(NOON..NOON + 2_000)) > 1_000);
    let (slice, tick) = (machine.writer.compared_bytes, Duration::from_millis(10));
    let mut sizes = Vec::new();
    for _ in 0..9 {
        machine.clock.advance(tick);
        assert!(matches!(machine.writer.turn(), Next::Gather(_)));
        sizes.push(machine.writer.pending.compared);
    }
    assert!(sizes[0] < slice / 2 && sizes.is_sorted(), "{sizes:?}");
    let last = sizes[8];
    assert!(last >= slice && last < slice + 4_096 && sizes[4] == last, "{sizes:?}");
    // They make no group large, and so decisions are written when they would be without.
    assert_eq!((machine.writer.pending.decided(), machine.disk.syncs()), (0, 0));
}

#[test]
fn a_file_is_closed_behind_the_comparisons_that_were_queued_before() {
    for policy in [SyncPolicy::Interval, SyncPolicy::Os, SyncPolicy::Always] {
        let config = EventConfig { queue: 16 << 20, ..small(policy) };
        let mut machine = Machine::start(&MemoryDisk::default(), &config);
        let queued = machine.recorder.record_shadows(shadows(NOON..NOON + 2_000)) as u64;
        let mut decision = machine.record(&["a"]);
        let told = machine.recorder.ask_to_close_file();
        // It does not wait for those that come later, in every turn.
        let mut turns = 0;
        while told.try_recv() == Err(TryRecvError::Empty) {
            machine.writer.turn();
            machine.recorder.record_shadows(shadows(NOON..NOON + 8));
            turns += 1;
            assert!(turns < 100, "{policy:?}");
        }
        assert!(turns > 3, "{policy:?}: they are taken in slices");
        assert_eq!(poll(decision.as_mut()), Poll::Ready(Ok(())), "{policy:?}");
        let closed = machine.writer.log.files().closed();
        assert!(closed.iter().map(LogFile::events).sum::<u64>() > queued, "{policy:?}");
        // Where none waits, the file is closed at once.
        machine.turn_after(INTERVAL * 1_000);
        let told = machine.recorder.ask_to_close_file();
        machine.turn();
        assert_eq!(told.try_recv(), Ok(()), "{policy:?}");
    }
}

#[test]
fn comparisons_that_wait_while_log_files_become_half_full_are_dropped() {
    let config = EventConfig {
        queue: 16 << 20,
        log_limit: 256 << 10,
        log_file: 64 << 10,
        ..small(SyncPolicy::Interval)
    };
    let mut machine = Machine::start(&MemoryDisk::default(), &config);
    let queued = machine.recorder.record_shadows(shadows(NOON..NOON + 1_000)) as u64;
    let mut large = machine.record(&[&"x".repeat(140 << 10)]);
    let told = machine.recorder.ask_to_close_file();
    machine.turn();
    machine.turn_after(INTERVAL);
    assert_eq!((poll(large.as_mut()), told.try_recv()), (Poll::Ready(Ok(())), Ok(())));
    let written = machine.shared.metrics.events.appended.get() - 1;
    assert!(written > 0 && written < queued, "{written} of {queued}");
    assert_eq!((unrecorded(&machine, Unrecorded::LogSpace), machine.lost()), (queued - written, 0));
    assert_eq!((machine.shared.waiting(), machine.shared.comparisons.taken()), (0, 0));
    // There is space again once a file is sealed.
    assert_eq!(machine.recorder.record_shadows(vec![shadow(NOON)]), 0);
    let files = machine.writer.log.files().clone();
    files.closed().iter().for_each(|file| files.delete(file).unwrap());
    machine.turn();
    assert_eq!(machine.recorder.record_shadows(vec![shadow(NOON)]), 1);
}

#[test]
fn comparisons_that_nobody_takes_any_more_are_lost_and_counted() {
    let machine = Machine::start(&MemoryDisk::default(), &small(SyncPolicy::Interval));
    assert_eq!(machine.recorder.record_shadows(shadows(NOON..NOON + 3)), 3);
    let Machine { writer, shared, recorder, .. } = machine;
    drop(writer);
    assert_eq!((shared.metrics.events.lost.get(), shared.waiting()), (3, 0));
    assert_eq!(recorder.record_shadows(vec![shadow(NOON)]), 0);
    assert_eq!(shared.metrics.shadows.unrecorded(Unrecorded::Closed).get(), 1);
    // One that was on its way when the writer ended.
    assert_eq!(shared.compare(shadow(NOON)), Ok(()));
    assert_eq!(recorder.record_shadows(Vec::new()), 0);
    assert_eq!((shared.metrics.events.lost.get(), shared.waiting()), (4, 0));
}
