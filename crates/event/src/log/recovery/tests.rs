//! However the server ended, its log is in order after it is opened.

use super::*;
use crate::disk::memory::MemoryDisk;
use crate::frame::{Frames, write};
use crate::proto::{DecisionRecord, Event, LogHeader, event};

const DIRECTORY: &str = "/log";
const SERVER: &str = "s";

fn path(sequence: u64) -> PathBuf {
    Path::new(DIRECTORY).join(files::name(SERVER, sequence))
}

fn header(position: u64, header: LogHeader) -> Event {
    Event { position, recorded_at: 1, event: Some(event::Event::Header(header)) }
}

fn decision(position: u64, request: &str) -> Event {
    let record = DecisionRecord { request_id: request.to_owned(), ..DecisionRecord::default() };
    Event { position, recorded_at: 2, event: Some(event::Event::Decision(Box::new(record))) }
}

/// A log file with events at these positions, and where its frames end.
fn file(sequence: u64, positions: std::ops::RangeInclusive<u64>) -> (Vec<u8>, Vec<usize>) {
    let begins = LogHeader { format: 1, server: SERVER.to_owned(), sequence, ..LogHeader::default() };
    let (mut bytes, mut ends) = (Vec::new(), Vec::new());
    for event in [header(*positions.start(), begins)].into_iter().chain(positions.map(|at| decision(at, "r")))
    {
        write(&event, &mut bytes);
        ends.push(bytes.len());
    }
    (bytes, ends)
}

/// A disk with files of these positions.
fn disk(files: &[std::ops::RangeInclusive<u64>]) -> MemoryDisk {
    let disk = MemoryDisk::default();
    for (positions, sequence) in files.iter().zip(1..) {
        disk.put(&path(sequence), &file(sequence, positions.clone()).0);
    }
    disk
}

fn recovered(disk: &MemoryDisk) -> Recovered {
    let recovered = recover(disk, Path::new(DIRECTORY), SERVER, LogEnd::default()).unwrap();
    // Once more finds nothing to do.
    let again = recover(disk, Path::new(DIRECTORY), SERVER, LogEnd::default()).unwrap();
    assert_eq!(again.files, recovered.files);
    assert_eq!((again.report.cut_bytes, again.report.damaged.len()), (0, 0));
    assert_eq!(again.report.next_position, recovered.report.next_position);
    recovered
}

/// The positions in a file, which is whole.
fn positions(disk: &MemoryDisk, file: &LogFile) -> Vec<u64> {
    let bytes = disk.content(&file.path);
    assert_eq!(bytes.len() as u64, file.bytes);
    let mut frames = Frames::new(&*bytes);
    let mut found = Vec::new();
    while let Some(frame) = frames.next_frame().unwrap() {
        found.push(frame.event.position);
    }
    assert_eq!(found.remove(0), file.first, "the header says where the file begins");
    found
}

fn all_positions(disk: &MemoryDisk, recovered: &Recovered) -> Vec<Vec<u64>> {
    recovered.files.iter().map(|file| positions(disk, file)).collect()
}

#[test]
fn an_empty_directory_begins_at_one() {
    let found = recovered(&MemoryDisk::default());
    assert_eq!(found.report, Recovery { next_position: 1, ..Recovery::default() });
    assert_eq!((found.next_sequence, found.files.len()), (1, 0));
}

#[test]
fn whole_files_are_listed_with_their_positions() {
    let disk = disk(&[1..=3, 4..=4, 5..=9]);
    let found = recovered(&disk);
    let expected = Recovery { files: 3, events: 9, next_position: 10, ..Recovery::default() };
    assert_eq!((found.report.clone(), found.next_sequence), (expected, 4));
    assert_eq!(all_positions(&disk, &found), [vec![1, 2, 3], vec![4], vec![5, 6, 7, 8, 9]]);
    assert!(found.files.iter().all(|file| file.recorded_at == 2));
}

#[test]
fn a_torn_tail_of_the_newest_file_is_cut() {
    let (bytes, ends) = file(2, 4..=6);
    for cut in 0..bytes.len() {
        let disk = disk(&[1..=3]);
        disk.put(&path(2), &bytes[..cut]);
        let found = recovered(&disk);
        let whole = ends.iter().filter(|end| **end <= cut).count().saturating_sub(1) as u64;
        let end = ends.iter().copied().filter(|end| *end <= cut).max().unwrap_or(0);
        assert_eq!(found.report.events, 3 + whole, "cut at {cut}");
        assert_eq!(found.report.next_position, 4 + whole);
        assert_eq!(found.report.cut_bytes, (cut - end) as u64);
        assert!(found.report.damaged.is_empty());
        assert_eq!(disk.names().len(), if whole == 0 { 1 } else { 2 }, "a file without events is removed");
        assert_eq!(all_positions(&disk, &found).concat(), (1..=3 + whole).collect::<Vec<_>>());
    }
}

#[test]
fn what_stands_in_the_next_file_again_is_cut() {
    let disk = disk(&[1..=7, 5..=9]);
    let found = recovered(&disk);
    assert_eq!(all_positions(&disk, &found), [vec![1, 2, 3, 4], vec![5, 6, 7, 8, 9]]);
    assert!(found.report.damaged.is_empty() && found.report.cut_bytes > 0);
    // The next file holds all of it, or nothing.
    let disk = self::disk(&[1..=3, 1..=9]);
    assert_eq!(all_positions(&disk, &recovered(&disk)), [(1..=9).collect::<Vec<_>>()]);
    let disk = self::disk(&[1..=3, std::ops::RangeInclusive::new(2, 1)]);
    let found = recovered(&disk);
    assert_eq!(all_positions(&disk, &found), [vec![1, 2, 3]]);
    assert_eq!((found.report.next_position, disk.names().len()), (4, 1));
}

#[test]
fn a_file_that_was_abandoned_within_a_frame_is_cut_and_nothing_is_missing() {
    let (bytes, ends) = file(1, 1..=6);
    for cut in ends[3]..bytes.len() {
        let disk = disk(&[1..=1, 4..=9]);
        disk.put(&path(1), &bytes[..cut]);
        let found = recovered(&disk);
        assert_eq!(all_positions(&disk, &found), [vec![1, 2, 3], vec![4, 5, 6, 7, 8, 9]]);
        assert!(found.report.damaged.is_empty(), "cut at {cut}");
    }
}

#[test]
fn a_file_with_a_damaged_frame_before_others_is_quarantined() {
    for sequence in 1..=2 {
        let disk = disk(&[1..=5, 6..=10]);
        let (mut bytes, ends) = file(sequence, sequence * 5 - 4..=sequence * 5);
        bytes[ends[2] + 12] ^= 1;
        disk.put(&path(sequence), &bytes);
        let found = recovered(&disk);
        let copy = path(sequence).with_added_extension("damaged");
        assert_eq!(found.report.damaged, std::slice::from_ref(&copy));
        assert_eq!(disk.content(&copy), bytes, "as it was");
        let kept = found.files.iter().find(|file| file.sequence == sequence).unwrap();
        assert_eq!(positions(&disk, kept), [sequence * 5 - 4, sequence * 5 - 3]);
        assert_eq!(found.report.next_position, 11, "no position is used again");
        let cut = Cut {
            path: path(sequence),
            at: ends[2] as u64,
            bytes: (bytes.len() - ends[2]) as u64,
            message: "a checksum does not match".to_owned(),
            copy: Some(copy.clone()),
        };
        assert_eq!(found.report.cuts, [cut]);
        assert_eq!(found.report.unread.iter().map(|one| &one.path).collect::<Vec<_>>(), [&copy]);
        assert_eq!(found.report.cut_bytes, (bytes.len() - ends[2]) as u64);
    }
}

#[test]
fn a_tail_that_is_missing_from_an_older_file_is_damage() {
    let disk = disk(&[1..=5, 6..=10]);
    let (bytes, _) = file(1, 1..=5);
    disk.put(&path(1), &bytes[..bytes.len() - 1]);
    let found = recovered(&disk);
    assert_eq!(found.report.damaged.len(), 1);
    assert_eq!(all_positions(&disk, &found), [vec![1, 2, 3, 4], vec![6, 7, 8, 9, 10]]);
}

#[test]
fn a_copy_that_was_kept_before_is_not_replaced() {
    let disk = disk(&[1..=5]);
    let first = path(1).with_added_extension("damaged");
    disk.put(&first, b"earlier");
    let (mut bytes, ends) = file(1, 1..=5);
    bytes[ends[0]] ^= 1;
    disk.put(&path(1), &bytes);
    let found = recovered(&disk);
    let second = path(1).with_added_extension("damaged-2");
    assert_eq!((found.report.damaged, disk.content(&second)), (vec![second], bytes));
    assert_eq!(disk.content(&first), b"earlier");
    assert_eq!((found.report.next_position, found.next_sequence), (6, 2));
}

#[test]
fn numbers_go_on_when_all_files_are_deleted() {
    let disk = disk(&[1..=5, 6..=10]);
    let found = recovered(&disk);
    let log = super::super::LogFiles::new(
        std::sync::Arc::new(disk.clone()),
        PathBuf::from(DIRECTORY),
        SERVER.to_owned(),
        found.files.clone(),
        found.deleted,
    );
    for file in &found.files {
        log.delete(file).unwrap();
    }
    let disk = disk.after_loss_of_power(1);
    assert_eq!(disk.names(), [DELETED, NEXT_DELETED]);
    let found = recovered(&disk);
    assert_eq!((found.report.next_position, found.next_sequence), (11, 3));
    // A deletion that was not finished.
    disk.put(&path(2), &file(2, 6..=10).0);
    let found = recovered(&disk);
    assert_eq!((found.report.next_position, found.next_sequence, found.files.len()), (11, 3, 1));
}

#[test]
fn numbers_go_on_when_the_newest_file_is_deleted_first() {
    let disk = disk(&[1..=5]);
    disk.put(&Path::new(DIRECTORY).join(DELETED), b"sequence = 2\nposition = 10\n");
    let found = recovered(&disk);
    assert_eq!((found.report.next_position, found.next_sequence, found.files.len()), (11, 3, 1));
}

#[test]
fn files_that_were_not_finished_are_removed_and_those_of_others_left_alone() {
    let disk = disk(&[1..=2]);
    let unfinished = ["deleted.new", "deleted.next.new", "s-00000001.log.damaged.new"];
    for name in unfinished.into_iter().chain(["other-00000009.log", "notes.txt", "theirs.new"]) {
        disk.put(&Path::new(DIRECTORY).join(name), b"x");
    }
    let found = recovered(&disk);
    assert_eq!((found.files.len(), found.next_sequence), (1, 2));
    assert_eq!(disk.names(), ["notes.txt", "other-00000009.log", "s-00000001.log", "theirs.new"]);
}

#[test]
fn a_file_of_a_newer_format_or_of_another_server_is_an_error() {
    for (format, server) in [(2, SERVER), (1, "other")] {
        let disk = disk(&[1..=2]);
        let mut bytes = Vec::new();
        write(
            &header(3, LogHeader { format, server: server.to_owned(), ..LogHeader::default() }),
            &mut bytes,
        );
        disk.put(&path(2), &bytes);
        let error = recover(&disk, Path::new(DIRECTORY), SERVER, LogEnd::default()).unwrap_err();
        let is_expected = match format {
            1 => matches!(error, EventError::Damaged { .. }),
            _ => matches!(error, EventError::Newer { format: 2, .. }),
        };
        assert!(is_expected, "{error}");
        assert_eq!(disk.content(&path(2)), bytes, "nothing was changed");
    }
}

#[test]
fn a_full_disk_is_no_reason_not_to_start() {
    let disk = disk(&[1..=3, 4..=6]);
    let (bytes, _) = file(2, 4..=6);
    disk.put(&path(2), &bytes[..bytes.len() - 1]);
    let capacity = disk.used() + 20;
    disk.set_faults(|faults| faults.capacity = Some(capacity));
    let found = recover(&disk, Path::new(DIRECTORY), SERVER, LogEnd::default()).unwrap();
    assert_eq!(all_positions(&disk, &found), [vec![1, 2, 3], vec![4, 5]]);
    assert_eq!(disk.names(), ["s-00000001.log", "s-00000002.log"]);
}

#[test]
fn recovery_itself_may_lose_power_at_any_step() {
    let scene = || {
        let disk = disk(&[1..=5, 4..=8, 9..=12]);
        let (mut bytes, ends) = file(3, 9..=12);
        bytes[ends[1] + 9] ^= 1;
        disk.put(&path(3), &bytes);
        disk
    };
    let whole = scene();
    recovered(&whole);
    let steps = whole.steps();
    for step in 1..=steps {
        for seed in 0..8 {
            let disk = scene();
            disk.set_faults(|faults| faults.power_until = Some(step));
            let _ = recover(&disk, Path::new(DIRECTORY), SERVER, LogEnd::default());
            let disk = disk.after_loss_of_power(seed);
            let found = recovered(&disk);
            assert_eq!(all_positions(&disk, &found), [vec![1, 2, 3], vec![4, 5, 6, 7, 8], vec![9]]);
            let (mut copy, ends) = file(3, 9..=12);
            copy[ends[1] + 9] ^= 1;
            assert_eq!(disk.content(&path(3).with_added_extension("damaged")), copy);
        }
    }
}

/// A disk with files of these positions, of which all were synced.
fn durable_disk(files: &[std::ops::RangeInclusive<u64>]) -> MemoryDisk {
    let disk = disk(files);
    let reached = LogEnd { sequence: files.len() as u64, position: *files.last().unwrap().end() };
    durable::note(&disk, Path::new(DIRECTORY), SERVER, reached).unwrap();
    disk
}

#[test]
fn what_was_on_the_disk_is_not_taken_for_a_torn_tail() {
    let (whole, ends) = file(2, 4..=6);
    let damaged: [(&str, Vec<u8>, u64); 4] = [
        ("zeros", vec![0; whole.len()], 3),
        ("a tail of zeros", [&whole[..ends[1]], &[0; 90]].concat(), 4),
        ("a frame that is cut", whole[..ends[2] + 10].to_vec(), 5),
        ("other bytes", vec![0xa5; 300], 3),
    ];
    for (what, bytes, last) in damaged {
        let disk = durable_disk(&[1..=3, 4..=6]);
        disk.put(&path(2), &bytes);
        let found = recovered(&disk);
        let aside = path(2).with_added_extension("damaged");
        assert_eq!(found.report.damaged, std::slice::from_ref(&aside), "{what}");
        assert_eq!(disk.content(&aside), bytes, "{what}");
        assert_eq!(found.report.missing, [last + 1..=6], "{what}");
        assert_eq!((found.report.next_position, found.next_sequence), (7, 3), "{what}");
        assert_eq!(all_positions(&disk, &found).concat(), (1..=last).collect::<Vec<_>>(), "{what}");
        // The same bytes may be what is left of a write that was never synced.
        let torn = durable_disk(&[1..=3]);
        torn.put(&path(2), &bytes);
        let found = recovered(&torn);
        assert_eq!((found.report.damaged.len(), found.report.missing.len()), (0, 0), "{what}");
        assert_eq!(found.report.next_position, last + 1, "{what}");
    }
}

#[test]
fn files_that_were_cut_short_or_are_gone_are_missed() {
    let (whole, ends) = file(2, 4..=6);
    for (bytes, last) in
        [(Some(&whole[..ends[1]]), 4), (Some(&whole[..ends[0]]), 3), (Some(&[][..]), 3), (None, 3)]
    {
        let disk = durable_disk(&[1..=3, 4..=6]);
        match bytes {
            Some(bytes) => disk.put(&path(2), bytes),
            None => disk.remove(&path(2)).unwrap(),
        }
        let found = recovered(&disk);
        assert_eq!((found.report.missing.clone(), found.report.next_position), (vec![last + 1..=6], 7));
        assert!(found.report.damaged.is_empty() && found.report.unread.is_empty());
        // It is told once, and numbers go on all the same.
        assert!(recovered(&disk).report.missing.is_empty());
    }
    // The whole folder.
    let disk = durable_disk(&[1..=3, 4..=6]);
    (1..=2).for_each(|sequence| disk.remove(&path(sequence)).unwrap());
    let found = recovered(&disk);
    assert_eq!((found.report.missing, found.report.next_position, found.next_sequence), (vec![1..=6], 7, 3));
    // One between others.
    let disk = durable_disk(&[1..=3, 4..=6, 7..=9]);
    disk.remove(&path(2)).unwrap();
    assert_eq!(recovered(&disk).report.missing, [4..=6]);
    // What was deleted once it was sealed is not missed.
    disk.put(&Path::new(DIRECTORY).join(DELETED), b"sequence = 2\nposition = 6\n");
    assert!(recovered(&disk).report.missing.is_empty());
}

#[test]
fn numbers_go_on_behind_what_the_store_has() {
    let at = |sequence, position| LogEnd { position, sequence };
    let disk = disk(&[1..=3]);
    let found = recover(&disk, Path::new(DIRECTORY), SERVER, at(1, 2)).unwrap();
    assert_eq!((found.report.older_than_store, found.report.next_position), (None, 4));
    let found = recover(&disk, Path::new(DIRECTORY), SERVER, at(7, 265)).unwrap();
    assert_eq!(
        (found.report.older_than_store, found.report.next_position, found.next_sequence),
        (Some(265), 266, 8)
    );
    // What is lost of the log and sealed is not missed.
    let lost = durable_disk(&[1..=3, 4..=6]);
    (1..=2).for_each(|sequence| lost.remove(&path(sequence)).unwrap());
    let found = recover(&lost, Path::new(DIRECTORY), SERVER, at(1, 3)).unwrap();
    assert_eq!(
        (found.report.missing, found.report.older_than_store, found.report.next_position),
        (vec![4..=6], None, 7)
    );
    // That outlives the store.
    let found = recovered(&disk.after_loss_of_power(1));
    assert_eq!(
        (found.report.older_than_store, found.report.next_position, found.next_sequence),
        (None, 266, 8)
    );
    assert_eq!(found.files.len(), 1);
}

/// Any number, most of them at the ends of what a number can be.
fn any_number() -> impl proptest::strategy::Strategy<Value = u64> {
    use proptest::prelude::*;
    prop_oneof![
        0..20_u64,
        (0..20_u64).prop_map(|back| u64::MAX - back),
        Just(1 << 62),
        Just(1 << 61),
        any::<u64>()
    ]
}

proptest::proptest! {
    #[test]
    fn no_number_in_a_file_or_its_name_ends_the_process(
        deleted in proptest::option::of((any_number(), any_number())),
        noted in proptest::option::of((any_number(), any_number())),
        files in proptest::collection::vec((any_number(), any_number(), any_number()), 0..4),
        sealed in (0..=crate::numbers::GREATEST, 0..=crate::numbers::GREATEST),
    ) {
        let disk = MemoryDisk::default();
        if let Some((sequence, position)) = deleted {
            let text = format!("sequence = {sequence}\nposition = {position}\n");
            disk.put(&Path::new(DIRECTORY).join(DELETED), text.as_bytes());
        }
        if let Some((sequence, position)) = noted {
            durable::note(&disk, Path::new(DIRECTORY), SERVER, LogEnd { position, sequence }).unwrap();
        }
        for (sequence, first, second) in files {
            let begins = LogHeader { format: 1, server: SERVER.to_owned(), sequence, ..LogHeader::default() };
            let mut bytes = Vec::new();
            for event in [header(first, begins), decision(first, "r"), decision(second, "r")] {
                write(&event, &mut bytes);
            }
            disk.put(&path(sequence), &bytes);
        }
        let sealed = LogEnd { sequence: sealed.0, position: sealed.1 };
        let limits = super::super::Limits { total: 1 << 20, file: 400, age: std::time::Duration::from_secs(9) };
        let start = super::super::Start { sealed, keys: Vec::new() };
        let opened = super::super::Log::open(
            std::sync::Arc::new(disk.clone()), PathBuf::from(DIRECTORY), SERVER, "1", limits, start,
        );
        let Ok((mut log, recovery)) = opened else { return Ok(()) };
        if (recovery.next_position + 4).max(log.next_sequence) > GREATEST_START {
            return Ok(());
        }
        // What it goes on from can be read again.
        let mut frames = Vec::new();
        for at in 0..4 {
            write(&decision(recovery.next_position + at, "r"), &mut frames);
        }
        let group = super::super::Group { frames, first: recovery.next_position, events: 4, recorded_at: 1 };
        let now = std::time::Instant::now();
        log.write(&group, now).unwrap();
        log.sync().unwrap();
        let again = recover(&disk, Path::new(DIRECTORY), SERVER, LogEnd::default()).unwrap();
        proptest::prop_assert_eq!(again.report.next_position, recovery.next_position + 4);
    }
}
