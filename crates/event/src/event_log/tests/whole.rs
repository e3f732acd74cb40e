//! However the files of a log are damaged: who reads it gets all that was told durable, or is told that something is
//! missing. No position is used again.

use std::ops::ControlFlow;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::kind::Kind;
use crate::queue::tests::OUTCOME;
use crate::read::{EventReader, Query, Since};
use crate::sealed::EventStore;

/// What becomes of a file.
#[derive(Debug, Clone)]
enum Act {
    /// A byte changes.
    Change(u8),
    /// It ends here.
    Cut,
    /// It is zeros from here on.
    Zero,
    /// It is other bytes from here on.
    Spoil(u8),
    /// Other bytes follow it.
    Append(Vec<u8>),
    Remove,
    /// It gets the name of another server's, or one that is none.
    Rename(bool),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        (1_u8..=255).prop_map(Act::Change),
        Just(Act::Cut),
        Just(Act::Zero),
        any::<u8>().prop_map(Act::Spoil),
        prop::collection::vec(any::<u8>(), 1..60).prop_map(Act::Append),
        Just(Act::Remove),
        any::<bool>().prop_map(Act::Rename),
    ]
}

/// Does it to a file, at a byte of it.
fn apply(act: &Act, path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    match act {
        Act::Change(change) => bytes[at] ^= change,
        Act::Cut => bytes.truncate(at),
        Act::Zero => bytes[at..].fill(0),
        Act::Spoil(byte) => bytes[at..].fill(*byte),
        Act::Append(more) => bytes.extend(more),
        Act::Remove => return fs::remove_file(path).unwrap(),
        Act::Rename(is_log) => {
            let name = if *is_log { "other-00000001.log" } else { "copy of a.log" };
            return fs::rename(path, path.with_file_name(name)).unwrap();
        }
    }
    fs::write(path, bytes).unwrap();
}

/// The positions of all events that a reader gives, kind by kind.
fn scanned(reader: &EventReader) -> Option<Vec<u64>> {
    let mut found = Vec::new();
    let mut visit = |entry: crate::columns::Entry| {
        found.push(entry.position);
        ControlFlow::Continue(())
    };
    for kind in Kind::ALL {
        reader.scan_entries(kind, &Query::default(), &mut visit).ok()?;
    }
    found.sort_unstable();
    Some(found)
}

/// The positions of all events as a history reads them.
fn in_order(reader: &EventReader) -> Option<Vec<u64>> {
    let mut found = Vec::new();
    let read = reader.events_since(&Since::default(), &mut |entry| {
        found.push(entry.position);
        ControlFlow::Continue(())
    });
    read.ok().map(|()| found)
}

/// A data directory with a log of some files, in each of them the events of up to two batches: of decisions, and every
/// other file ends with outcomes. Returns the positions, and the files.
fn recorded(root: &Path, batches: &[u8]) -> (Vec<u64>, Vec<PathBuf>) {
    let (log, _) = start(&at(root, SyncPolicy::Always));
    let recorder = log.recorder();
    for (number, events) in batches.iter().enumerate() {
        let reserved = recorder.try_reserve(10_000).unwrap();
        let of_kind = if number % 4 == 1 { format!("{OUTCOME}{number}") } else { number.to_string() };
        drop(recorder.record(reserved, batch(&of_kind, usize::from(*events))));
        if number % 2 == 1 {
            recorder.close_file(LONG).unwrap();
        }
    }
    assert_eq!(log.close(LONG).lost, 0);
    let files = open_read_only(root).unwrap();
    assert_eq!(files.unread, []);
    let last: u64 = batches.iter().map(|events| u64::from(*events)).sum();
    ((1..=last).collect(), files.files.into_iter().map(|file| file.path).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn nobody_takes_a_part_of_a_log_for_all_of_it(
        batches in prop::collection::vec(1_u8..5, 1..5),
        act in act(),
        file in any::<prop::sample::Index>(),
        byte in any::<prop::sample::Index>(),
    ) {
        let (root, store) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (positions, files) = recorded(root.path(), &batches);
        let path = file.get(&files);
        apply(&act, path, byte.index(fs::metadata(path).unwrap().len() as usize));

        let store = EventStore::open(store.path().to_str().unwrap(), None, []).unwrap();
        let is_whole = match open_read_only(root.path()) {
            Ok(opened) => {
                let reader = EventReader::new(store.clone()).with_opened(opened.clone());
                let read = scanned(&reader);
                prop_assert_eq!(read.is_some(), opened.unread.is_empty());
                prop_assert_eq!(&read, &in_order(&reader));
                read.is_none_or(|read| read == positions)
            }
            // A file that cannot be understood.
            Err(_) => true,
        };
        prop_assert!(is_whole, "a part was read without a word");

        // A server that starts, or who seals the log, is told, too; and so is who reads it afterwards.
        let last = positions.len() as u64;
        let Ok(taken) = take_over(root.path(), "test") else { return Ok(()) };
        let recovery = taken.recovery().clone();
        let is_told = !recovery.missing.is_empty() || !recovery.unread.is_empty();
        prop_assert!(is_told || recovery.events == last, "{:?}", recovery);
        prop_assert!(recovery.next_position > last, "{:?}", recovery);
        drop(taken);
        let again = take_over(root.path(), "test").unwrap();
        prop_assert_eq!(again.recovery().next_position, recovery.next_position);
    }
}
