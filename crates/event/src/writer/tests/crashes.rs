//! Random work, random faults, and a loss of power at every step of it.

use proptest::prelude::*;

use super::*;
use crate::queue::tests::OUTCOME;

/// What happens to a log.
#[derive(Debug, Clone)]
enum Act {
    /// A batch of so many events of both kinds, each of so many bytes.
    Record(u8, u16),
    /// The same, and at once.
    RecordUrgently(u8, u16),
    /// Time passes, in milliseconds.
    Pass(u16),
    /// The wall clock jumps by hours.
    Jump(i8),
    FailWrites(u8),
    FailSyncs(u8),
    FailCuts(u8),
    /// The disk has room for so many bytes more, or any number.
    Room(Option<u16>),
    /// The oldest closed file is sealed and deleted.
    Seal,
    /// The server is closed and started again.
    Restart,
    /// The server is killed and started again; the machine lives.
    Kill,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        6 => (0..8_u8, 1..400_u16).prop_map(|(events, bytes)| Act::Record(events, bytes)),
        2 => (0..8_u8, 1..400_u16).prop_map(|(events, bytes)| Act::RecordUrgently(events, bytes)),
        6 => prop_oneof![Just(1), Just(50), Just(100), Just(2_000)].prop_map(Act::Pass),
        1 => (-1..=1_i8).prop_map(Act::Jump),
        1 => (0..3_u8).prop_map(Act::FailWrites),
        1 => (0..4_u8).prop_map(Act::FailSyncs),
        1 => (0..3_u8).prop_map(Act::FailCuts),
        1 => prop_oneof![Just(None), (0..1_000_u16).prop_map(Some)].prop_map(Act::Room),
        2 => Just(Act::Seal),
        1 => Just(Act::Restart),
        1 => Just(Act::Kill),
    ];
    prop::collection::vec(act, 1..20)
}

/// What an observer knows of a log.
#[derive(Default)]
struct Known {
    /// The ids of all events, in the order in which they were recorded.
    recorded: Vec<String>,
    /// Of those, what was told to be durable.
    acknowledged: Vec<String>,
    /// What was in sealed files, by position.
    sealed: Vec<(u64, String)>,
    /// The batches that nothing was told of yet.
    open: Vec<(Vec<String>, Durable)>,
}

impl Known {
    fn hear(&mut self) {
        let acknowledged = &mut self.acknowledged;
        self.open.retain_mut(|(ids, durable)| match poll(durable.as_mut()) {
            Poll::Pending => true,
            Poll::Ready(told) => {
                if told.is_ok() {
                    acknowledged.append(ids);
                }
                false
            }
        });
    }

    /// Checks a log against all that is known.
    fn check(&self, machine: &Machine) {
        let mut found = self.sealed.clone();
        for (position, id, _) in machine.events() {
            match found.last() {
                // It was sealed, and is not deleted yet.
                Some((last, _)) if position <= *last => {
                    assert!(found.contains(&(position, id)), "position {position} is another event");
                }
                _ => found.push((position, id)),
            }
        }
        let positions: Vec<u64> = found.iter().map(|(position, _)| *position).collect();
        assert_eq!(positions, (1..=found.len() as u64).collect::<Vec<_>>(), "no gap");
        let mut recorded = self.recorded.iter();
        for (_, id) in &found {
            assert!(recorded.any(|other| other == id), "{id} is there twice, or out of order");
        }
        for id in &self.acknowledged {
            assert!(found.iter().any(|(_, other)| other == id), "{id} was told durable, and is gone");
        }
        assert_eq!(machine.recovery.next_position, found.len() as u64 + 1);
    }
}

fn limits(sync: SyncPolicy) -> EventConfig {
    let mut config = config(20_000, sync);
    (config.log_file, config.log_limit) = (1_500, 6_000);
    config.log_age = Duration::from_secs(3);
    config
}

/// Nothing fails from now on.
fn repair(disk: &MemoryDisk) {
    disk.set_faults(|faults| (faults.writes, faults.syncs, faults.cuts, faults.capacity) = (0, 0, 0, None));
}

/// Does it all, until the power goes. Returns what is known, and the steps of the disk.
fn run(acts: &[Act], config: &EventConfig, power_until: Option<u64>) -> (Known, MemoryDisk) {
    let disk = MemoryDisk::default();
    disk.set_faults(|faults| faults.power_until = power_until);
    let mut known = Known::default();
    let Ok(mut machine) = Machine::try_start(&disk, config) else { return (known, disk) };
    for act in acts {
        match *act {
            Act::Record(events, bytes) | Act::RecordUrgently(events, bytes) => {
                let is_urgent = matches!(act, Act::RecordUrgently(..));
                let recorder = if is_urgent { machine.recorder.urgent() } else { machine.recorder.clone() };
                let Some(reserved) = recorder.try_reserve(usize::from(events) * 400) else {
                    continue;
                };
                let first = known.recorded.len();
                let pad = "x".repeat(usize::from(bytes));
                let id = |at: usize| {
                    let kind = if at.is_multiple_of(2) { String::new() } else { OUTCOME.to_string() };
                    format!("{kind}{at}-{pad}")
                };
                let ids: Vec<_> = (first..first + usize::from(events)).map(id).collect();
                known.recorded.extend(ids.iter().cloned());
                let receipt = recorder.record(reserved, Box::new(Ids(ids.clone())));
                known.open.push((ids, Box::pin(receipt.durable())));
                machine.turn();
            }
            Act::Pass(millis) => _ = machine.turn_after(Duration::from_millis(millis.into())),
            Act::Jump(hours) => machine.clock.jump(i64::from(hours) * 3_600_000_000),
            Act::FailWrites(count) => disk.set_faults(|faults| faults.writes = count.into()),
            Act::FailSyncs(count) => disk.set_faults(|faults| faults.syncs = count.into()),
            Act::FailCuts(count) => disk.set_faults(|faults| faults.cuts = count.into()),
            Act::Room(room) => {
                let used = machine.disk.used();
                disk.set_faults(|faults| faults.capacity = room.map(|room| used + u64::from(room)));
            }
            Act::Seal => {
                let files = machine.writer.log.files().clone();
                let Some(file) = files.closed().into_iter().next() else { continue };
                let last = known.sealed.last().map_or(0, |(position, _)| *position);
                let events = events_of(&disk, &file).into_iter();
                let new = events.filter(|(position, ..)| *position > last);
                known.sealed.extend(new.map(|(position, id, _)| (position, id)));
                let _ = files.delete(&file);
            }
            Act::Restart | Act::Kill => {
                if matches!(act, Act::Restart) {
                    machine.shared.closing.set(machine.clock.now()).unwrap();
                    machine.turn();
                }
                known.hear();
                drop(machine);
                known.hear();
                // What fails at the start is reported, and the server does not start.
                repair(&disk);
                let Ok(again) = Machine::try_start(&disk, config) else { return (known, disk) };
                machine = again;
                known.check(&machine);
            }
        }
        known.hear();
        if !disk.has_power() {
            break;
        }
    }
    (known, disk)
}

fn survives(acts: &[Act], sync: SyncPolicy, seed: u64) {
    let config = limits(sync);
    let (_, disk) = run(acts, &config, None);
    for step in 1..=disk.steps() + 1 {
        let (known, disk) = run(acts, &config, Some(step));
        let disk = disk.after_loss_of_power(seed ^ step);
        let mut machine = Machine::start(&disk, &config);
        known.check(&machine);
        // And on.
        let before = machine.recovery.next_position;
        let mut again = machine.record(&["again"]);
        machine.turn();
        machine.turn_after(INTERVAL);
        if poll(again.as_mut()) == Poll::Ready(Ok(())) {
            let machine = Machine::start(&disk.after_loss_of_power(seed), &config);
            assert_eq!(
                machine.events().last().map(|(position, id, _)| (*position, id.as_str())),
                Some((before, "again"))
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn a_loss_of_power_at_any_step_takes_nothing_that_was_told_durable(
        acts in acts(), seed in any::<u64>(), always in any::<bool>(),
    ) {
        survives(&acts, if always { SyncPolicy::Always } else { SyncPolicy::Interval }, seed);
    }

    #[test]
    fn a_server_that_is_killed_loses_nothing_that_was_told_durable(
        acts in acts(), sync in prop_oneof![Just(SyncPolicy::Always), Just(SyncPolicy::Interval), Just(SyncPolicy::Os)],
    ) {
        let config = limits(sync);
        let (known, disk) = run(&acts, &config, None);
        repair(&disk);
        known.check(&Machine::start(&disk, &config));
    }
}
