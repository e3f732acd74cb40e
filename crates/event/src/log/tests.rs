//! Files are begun, closed, abandoned and counted.

use std::path::Path;

use super::*;
use crate::disk::memory::MemoryDisk;
use crate::frame::{FrameError, Frames};
use crate::proto::DecisionRecord;

const DIRECTORY: &str = "/log";

const LIMITS: Limits = Limits { total: 1 << 20, file: 1 << 20, age: Duration::from_mins(10) };

fn open(disk: &MemoryDisk, total: u64, file: u64) -> Log {
    let limits = Limits { total, file, ..LIMITS };
    Log::open(Arc::new(disk.clone()), PathBuf::from(DIRECTORY), "s", "1.2.3", limits, Start::default())
        .unwrap()
        .0
}

fn group(first: u64, events: u64) -> Group {
    let mut group = Group { first, events, recorded_at: 5, frames: Vec::new() };
    for position in first..first + events {
        let record = DecisionRecord { request_id: "r".repeat(100), ..DecisionRecord::default() };
        let event = Some(event::Event::Decision(Box::new(record)));
        frame::write(&Event { position, recorded_at: 5, event }, &mut group.frames);
    }
    group
}

fn commit(log: &mut Log, first: u64, events: u64, now: Instant) -> Result<(), Trouble> {
    commit_group(log, group(first, events), now)
}

fn commit_group(log: &mut Log, mut group: Group, now: Instant) -> Result<(), Trouble> {
    while group.events > 0 {
        let part = log.write(&group, now)?;
        log.sync()?;
        group.drop_part(part);
    }
    Ok(())
}

fn read(disk: &MemoryDisk, name: &str) -> Result<Vec<Event>, FrameError> {
    let bytes = disk.content(&Path::new(DIRECTORY).join(name));
    let (mut frames, mut events) = (Frames::new(&*bytes), Vec::new());
    while let Some(frame) = frames.next_frame()? {
        events.push(frame.event);
    }
    Ok(events)
}

#[test]
fn a_file_begins_with_who_wrote_it() {
    let disk = MemoryDisk::default();
    let mut log = open(&disk, 1 << 20, 1 << 20);
    assert!(disk.names().is_empty(), "a file is made for its first event");
    commit(&mut log, 1, 2, Instant::now()).unwrap();
    let events = read(&disk, "s-00000001.log").unwrap();
    let Some(event::Event::Header(header)) = &events[0].event else { panic!("no header: {events:?}") };
    let expected = LogHeader {
        format: 1,
        server: "s".to_owned(),
        sequence: 1,
        version: "1.2.3".to_owned(),
        keys: Vec::new(),
    };
    assert_eq!((header, events[0].position, events.len()), (&expected, 1, 3));
    let files = log.files().all();
    assert_eq!((files[0].first, files[0].last, files[0].recorded_at, files[0].events()), (1, 2, 5, 2));
    assert_eq!(files[0].bytes, disk.content(&files[0].path).len() as u64);
    assert!(log.files().closed().is_empty());
}

#[test]
fn what_is_not_synced_is_not_listed() {
    let disk = MemoryDisk::default();
    let mut log = open(&disk, 1 << 20, 1 << 20);
    log.write(&group(1, 2), Instant::now()).unwrap();
    assert!(log.files().all().is_empty());
    assert!(log.files().bytes() > 200, "its bytes count");
    log.sync().unwrap();
    let bytes = log.files().all()[0].bytes;
    log.write(&group(3, 1), Instant::now()).unwrap();
    assert_eq!((log.files().all()[0].last, log.files().all()[0].bytes), (2, bytes));
}

#[test]
fn files_are_closed_at_their_size_and_their_age() {
    let disk = MemoryDisk::default();
    let mut log = open(&disk, 1 << 20, 800);
    let now = Instant::now();
    commit(&mut log, 1, 4, now).unwrap();
    commit(&mut log, 5, 4, now).unwrap();
    assert_eq!(log.files().closed().len(), 1, "the second group did not fit");
    // A group that is larger than a file goes to several, and an event that is larger has one of its own.
    commit(&mut log, 9, 20, now).unwrap();
    assert_eq!(log.files().closed().len(), 5);
    let mut large = Group { first: 29, events: 0, recorded_at: 5, frames: Vec::new() };
    for length in [1, 2_000, 1] {
        let record = DecisionRecord { request_id: "r".repeat(length), ..DecisionRecord::default() };
        let (position, event) = (large.first + large.events, event::Event::Decision(Box::new(record)));
        frame::write(&Event { position, recorded_at: 5, event: Some(event) }, &mut large.frames);
        large.events += 1;
    }
    commit_group(&mut log, large, now).unwrap();
    assert!(log.files().all().iter().all(|file| file.bytes <= 800 || file.events() == 1));
    assert_eq!(log.closes_in(now + Duration::from_mins(4)), Some(Duration::from_mins(6)));
    log.close_if_due(now + Duration::from_secs(599));
    assert_eq!(log.files().closed().len(), 7);
    log.close_if_due(now + Duration::from_mins(10));
    assert_eq!(log.closes_in(now), None);
    let positions: Vec<_> = log.files().closed().iter().map(|file| (file.first, file.last)).collect();
    assert_eq!(positions, [(1, 4), (5, 8), (9, 14), (15, 20), (21, 26), (27, 29), (30, 30), (31, 31)]);
    assert_eq!(log.files().bytes(), disk.log_bytes());
}

#[test]
fn the_limit_holds_until_a_file_is_deleted() {
    let disk = MemoryDisk::default();
    let mut log = open(&disk, 2_000, 1_000);
    let now = Instant::now();
    commit(&mut log, 1, 6, now).unwrap();
    commit(&mut log, 7, 6, now).unwrap();
    assert!(matches!(commit(&mut log, 13, 6, now), Err(Trouble::Full { limit: 2_000 })));
    assert_eq!(log.files().closed().len(), 2, "sealing can take all of it");
    log.files().delete(&log.files().closed()[0]).unwrap();
    commit(&mut log, 13, 6, now).unwrap();
    assert!(log.files().bytes() <= 2_000);
    // A group that is larger than the limit is written as room is made for it.
    let (mut group, mut refused) = (group(19, 40), 0);
    while group.events > 0 {
        match log.write(&group, now) {
            Ok(part) => {
                log.sync().unwrap();
                group.drop_part(part);
            }
            Err(trouble) => {
                assert!(matches!(trouble, Trouble::Full { .. }), "{trouble}");
                log.files().closed().iter().for_each(|file| log.files().delete(file).unwrap());
                refused += 1;
            }
        }
        assert!(log.files().bytes() <= 2_000);
    }
    assert_eq!((refused > 0, log.files().all().last().unwrap().last), (true, 58));
}

#[test]
fn after_an_error_the_file_is_cut_to_what_is_certain() {
    for fails in ["write", "sync"] {
        let disk = MemoryDisk::default();
        let mut log = open(&disk, 1 << 20, 1 << 20);
        let now = Instant::now();
        commit(&mut log, 1, 3, now).unwrap();
        disk.set_faults(|faults| if fails == "write" { faults.writes = 1 } else { faults.syncs = 1 });
        assert!(matches!(commit(&mut log, 4, 3, now), Err(Trouble::Io { .. })));
        assert_eq!(read(&disk, "s-00000001.log").unwrap().len(), 4, "{fails}: header and three events");
        assert_eq!((log.files().closed()[0].last, log.files().all().len()), (3, 1));
        commit(&mut log, 4, 3, now).unwrap();
        assert_eq!(disk.names(), ["s-00000001.log", "s-00000002.log"]);
        assert_eq!(read(&disk, "s-00000002.log").unwrap().len(), 4);
    }
}

#[test]
fn a_file_that_never_had_events_is_removed_and_its_number_used_again() {
    let disk = MemoryDisk::default();
    let mut log = open(&disk, 1 << 20, 1 << 20);
    // The header, then the events, then the sync.
    for (writes, syncs) in [(1, 0), (0, 1)] {
        disk.set_faults(|faults| (faults.writes, faults.syncs) = (writes, syncs));
        assert!(commit(&mut log, 1, 3, Instant::now()).is_err());
        assert!(disk.names().is_empty());
        assert_eq!((log.files().bytes(), log.files().all().len()), (0, 0));
    }
    commit(&mut log, 1, 3, Instant::now()).unwrap();
    assert_eq!(disk.names(), ["s-00000001.log"]);
}

#[test]
fn what_could_not_be_cut_is_cut_later() {
    let disk = MemoryDisk::default();
    let mut log = open(&disk, 1 << 20, 1 << 20);
    let now = Instant::now();
    commit(&mut log, 1, 3, now).unwrap();
    disk.set_faults(|faults| (faults.syncs, faults.cuts) = (1, 1));
    assert!(commit(&mut log, 4, 3, now).is_err());
    assert_eq!(read(&disk, "s-00000001.log").unwrap().len(), 7, "the cut failed");
    assert_eq!(log.files().closed()[0].last, 3, "and later bytes are not read");
    commit(&mut log, 4, 3, now).unwrap();
    log.tidy();
    assert_eq!(read(&disk, "s-00000001.log").unwrap().len(), 4);
    assert!(log.uncut.is_empty());
    // One that was sealed and deleted meanwhile.
    disk.set_faults(|faults| (faults.syncs, faults.cuts) = (1, 1));
    assert!(commit(&mut log, 7, 1, now).is_err());
    log.files().closed().iter().for_each(|file| log.files().delete(file).unwrap());
    log.tidy();
    assert!(log.uncut.is_empty());
}

#[test]
fn a_name_that_is_taken_is_skipped() {
    let disk = MemoryDisk::default();
    let mut log = open(&disk, 1 << 20, 1 << 20);
    disk.put(&Path::new(DIRECTORY).join("s-00000001.log"), b"of somebody");
    assert!(commit(&mut log, 1, 1, Instant::now()).is_err());
    commit(&mut log, 1, 1, Instant::now()).unwrap();
    assert_eq!(disk.content(&Path::new(DIRECTORY).join("s-00000001.log")), b"of somebody");
    assert_eq!(read(&disk, "s-00000002.log").unwrap().len(), 2);
}

#[test]
fn a_log_that_the_system_syncs_is_synced_when_a_file_is_closed() {
    let disk = MemoryDisk::default();
    let mut log = open(&disk, 1 << 20, 1 << 20);
    log.write(&group(1, 2), Instant::now()).unwrap();
    log.trust();
    assert_eq!((log.files().all()[0].last, disk.syncs()), (2, 0));
    log.close();
    assert_eq!((log.files().closed()[0].last, disk.syncs()), (2, 1));
    let disk = disk.after_loss_of_power(3);
    assert_eq!(read(&disk, "s-00000001.log").unwrap().len(), 3);
}

/// The names of log files.
fn logs(disk: &MemoryDisk) -> Vec<String> {
    let is_log = |name: &String| Path::new(name).extension().is_some_and(|extension| extension == "log");
    disk.names().into_iter().filter(is_log).collect()
}

/// A log of so many closed files on a disk without room; the position of its next event, and the bytes of the disk.
fn full(disk: &MemoryDisk, files: u64) -> (Log, u64, u64) {
    let mut log = open(disk, 1 << 20, 1 << 20);
    log.files().take_room();
    for file in 0..files {
        commit(&mut log, 1 + 3 * file, 3, Instant::now()).unwrap();
        log.close();
    }
    let used = disk.used();
    disk.set_faults(|faults| faults.capacity = Some(used));
    (log, 1 + 3 * files, used)
}

#[test]
fn a_full_disk_that_holds_nothing_but_logs_frees_itself() {
    for files in [1, 3] {
        let disk = MemoryDisk::default();
        let (mut log, next, _) = full(&disk, files);
        let refused = commit(&mut log, next, 1, Instant::now()).unwrap_err();
        assert!(
            matches!(&refused, Trouble::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull),
            "{refused}"
        );
        for (at, file) in log.files().closed().iter().enumerate() {
            log.files().delete(file).unwrap();
            assert_eq!(logs(&disk).len(), files as usize - at - 1);
        }
        // Files that came into the place of others made no room for more.
        assert_eq!(disk.names(), ["deleted", "deleted.next"]);
        commit(&mut log, next, 1, Instant::now()).unwrap();
        drop(log);
        let log = open(&disk, 1 << 20, 1 << 20);
        assert_eq!((log.files().closed()[0].first, log.next_sequence), (next, files + 2));
    }
}

#[test]
fn a_full_disk_that_loses_power_while_it_frees_itself_forgets_no_number() {
    let whole = MemoryDisk::default();
    let (log, ..) = full(&whole, 2);
    let before = whole.steps();
    log.files().closed().iter().for_each(|file| log.files().delete(file).unwrap());
    for step in before + 1..=whole.steps() + 1 {
        for seed in 0..8 {
            let disk = MemoryDisk::default();
            let (log, next, capacity) = full(&disk, 2);
            disk.set_faults(|faults| faults.power_until = Some(step));
            let deleted: Vec<bool> =
                log.files().closed().iter().map(|file| log.files().delete(file).is_ok()).collect();
            let after = disk.after_loss_of_power(seed);
            after.set_faults(|faults| faults.capacity = Some(capacity));
            let (mut log, recovery) =
                Log::open(Arc::new(after.clone()), DIRECTORY.into(), "s", "1", LIMITS, Start::default())
                    .unwrap();
            assert_eq!((recovery.next_position, log.next_sequence), (next, 3), "{step} {seed}");
            let left = log.files().closed();
            for (file, was_deleted) in [1, 2].into_iter().zip(deleted) {
                let is_left = left.iter().any(|left| left.sequence == file);
                assert!(!(was_deleted && is_left), "{step} {seed}: {file} was deleted for good");
            }
            // What is left can go, and there is room again.
            for file in &left {
                log.files().delete(file).unwrap();
            }
            assert!(logs(&after).is_empty());
            after.set_faults(|faults| faults.capacity = None);
            commit(&mut log, next, 1, Instant::now()).unwrap();
        }
    }
}
