//! Killed at each step, and without power at each operation of the disk: begun again, it comes to the same end.

use std::process::Command;

use crate::disk::Disk;
use crate::disk::memory::MemoryDisk;
use crate::erasure::log::blank_all;
use crate::frame;
use crate::log::files::{Deleted, name};
use crate::log::{LogFile, LogFiles};
use crate::proto::{Event, LogHeader, event};

use super::*;

/// Where the process that is killed finds its store.
const ROOT: &str = "PROFFER_TEST_ERASURE_ROOT";

/// What the process does that is killed: a server and the command in one.
#[test]
#[ignore = "run by `killed_at_any_step_it_is_finished_by_the_next_attempt` in a process of its own"]
fn erases_until_it_is_killed() {
    let world = World::at(Path::new(&std::env::var_os(ROOT).unwrap()));
    let [_, _, known] = generations();
    let log = world.start("one");
    let outcome = world.erase(&known, &[(world.server(&known), &log)]);
    assert!(outcome.is_complete());
}

#[test]
fn killed_at_any_step_it_is_finished_by_the_next_attempt() {
    let [_, _, known] = generations();
    for step in STEPS.names() {
        let world = World::new();
        let log = world.start("one");
        let events = fill(&world, &log, std::slice::from_ref(&known));
        let _ = log.close(Duration::from_mins(1));
        let before = world.decisions();
        let killed = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "erasure::tests::crashes::erases_until_it_is_killed"])
            .env(ROOT, world.path())
            .env("PROFFER_FAULT", format!("{step}=kill"))
            .output()
            .unwrap();
        let shown = String::from_utf8_lossy(&killed.stdout);
        assert!(killed.status.code().is_none(), "{step}: it was not killed: {shown}");
        // No other person has lost anything, and nothing is damaged.
        let is_anna = |bytes: &Vec<u8>| {
            Subject::new(ANNA, &known).unwrap().is_of(&DecisionRecord::decode(&**bytes).unwrap())
        };
        let others: BTreeMap<_, _> = before.into_iter().filter(|(_, bytes)| !is_anna(bytes)).collect();
        let left = |found: BTreeMap<String, Vec<u8>>| {
            found.into_iter().filter(|(_, bytes)| !is_anna(bytes)).collect::<BTreeMap<_, _>>()
        };
        assert_eq!(left(world.decisions()), others, "{step}");
        world.verify(events);
        assert!(!world.holding(&[known.of(BERT).text]).is_empty());
        // The server starts again, and the command is run again.
        let log = world.start("one");
        let outcome = world.erase(&known, &[(world.server(&known), &log)]);
        assert!(outcome.is_complete(), "{step}: {outcome}");
        assert!(Erasures::new(world.store.clone()).list().unwrap().is_empty(), "{step}");
        assert_eq!(world.holding(&names_of(ANNA)), Vec::<String>::new(), "{step}");
        assert_eq!(world.decisions(), others, "{step}");
        world.verify(events);
    }
}

/// The bytes of a log file with these records.
fn log_bytes(records: &[DecisionRecord]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let header = LogHeader { format: 1, server: "s".to_owned(), sequence: 1, ..LogHeader::default() };
    let head = Event { position: 1, recorded_at: 1, event: Some(event::Event::Header(header)) };
    frame::write(&head, &mut bytes);
    for (record, position) in records.iter().zip(1..) {
        let event = Some(event::Event::Decision(Box::new(record.clone())));
        frame::write(&Event { position, recorded_at: 1, event }, &mut bytes);
    }
    bytes
}

#[test]
fn without_power_at_any_time_a_log_has_its_former_or_its_new_content() {
    let path = Path::new("/log").join(name("s", 1));
    let records = records(&plain());
    let former = log_bytes(&records);
    let subject = Subject::new(ANNA, &plain()).unwrap();
    let marker = Marker::new(&subject, "desk", now()).unwrap();
    let erased = Erased::new(vec![marker], &plain());
    let blank = |disk: &MemoryDisk| {
        let (sequence, last, bytes) = (1, records.len() as u64, former.len() as u64);
        let file = LogFile { path: path.clone(), sequence, first: 1, last, bytes, recorded_at: 1 };
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let directory = path.parent().unwrap().to_owned();
        let logs = LogFiles::new(disk, directory, "s".to_owned(), vec![file], Deleted::default());
        blank_all(&logs, &erased, &|| false)
    };
    let disk = MemoryDisk::default();
    disk.put(&path, &former);
    assert_eq!(blank(&disk).unwrap().records, [12]);
    let new = disk.content(&path);
    assert_eq!(new.len(), former.len());
    assert!(!new.windows(ANNA.len()).any(|window| window == ANNA.as_bytes()));
    let (mut kept, mut replaced) = (0, 0);
    for last in 1..=disk.steps() {
        for seed in 0..20 {
            let disk = MemoryDisk::default();
            disk.put(&path, &former);
            disk.set_faults(|faults| faults.power_until = Some(last));
            let done = blank(&disk);
            assert!(done.is_err() || last > disk.steps(), "{last}");
            let after = disk.after_loss_of_power(seed);
            let content = after.content(&path);
            assert!(content == former || content == new, "{last} {seed}");
            kept += u64::from(content == former);
            replaced += u64::from(content == new);
            // Once there is power, it is done.
            assert!(blank(&after).is_ok());
            assert_eq!(after.content(&path), new);
            assert_eq!(after.names().len(), 1);
        }
    }
    assert!(kept > 0 && replaced > 0, "{kept} {replaced}");
}
