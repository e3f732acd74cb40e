//! Reading outcomes, and events of all kinds in the order in which they were recorded.

use std::collections::BTreeMap;

use super::*;
use crate::kind::Record;
use crate::proto::OutcomeRecord;
use crate::sealed::testing::{any_event, entries_from, frame_of, mixed, outcome, outcomes};

fn scan_outcomes(reader: &EventReader, query: &Query) -> Vec<OutcomeRecord> {
    let mut found = Vec::new();
    reader
        .scan_outcomes(query, &mut |record| {
            found.push(record);
            ControlFlow::Continue(())
        })
        .unwrap();
    found
}

fn received(records: &[OutcomeRecord]) -> Vec<i64> {
    records.iter().map(|record| record.received_at - NOON).collect()
}

/// All events since then, by position.
fn since(reader: &EventReader, since: &Since) -> Vec<Entry> {
    let mut found = Vec::new();
    reader
        .events_since(since, &mut |entry| {
            found.push(entry);
            ControlFlow::Continue(())
        })
        .unwrap();
    found
}

fn everything(reader: &EventReader) -> Vec<Entry> {
    since(reader, &Since::default())
}

fn positions(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.position).collect()
}

fn set(text: &str) -> BTreeSet<String> {
    BTreeSet::from([text.to_owned()])
}

#[test]
fn each_kind_is_read_by_itself() {
    let files = Files::new();
    files.seal("s", 1, 1, &mixed((0..6).map(|at| NOON + at)));
    let log = files.log("s", 2, 7, &mixed([NOON + 10, NOON + 11]));
    let both = reader(&files).with_opened(opened("s", &[log]));
    assert_eq!(times(&all(&both)), [0, 2, 4, 10]);
    assert_eq!(received(&scan_outcomes(&both, &Query::default())), [1, 3, 5, 11]);
    let limited = Query { limit: Some(2), ..Query::default() };
    assert_eq!(received(&scan_outcomes(&both, &limited)), [1, 3]);
    let later = Query { from: Some(NOON + 3), to: Some(NOON + 11), ..Query::default() };
    assert_eq!(received(&scan_outcomes(&both, &later)), [3, 5]);
}

#[test]
fn outcomes_are_found_by_every_condition() {
    let files = Files::new();
    let mut records = outcomes((0..4).map(|at| NOON + at * DAY));
    let wanted = &mut records[2];
    wanted.r#type = "convert".to_owned();
    wanted.offer_id = "loan".to_owned();
    wanted.customer_id = "C-anna".to_owned();
    wanted.placement = "letter".to_owned();
    wanted.release = 9;
    // It came days after its decision.
    wanted.decision_id = crate::sealed::testing::id_at(NOON);
    let wanted = wanted.clone();
    files.seal("s", 1, 1, &records);
    let queries = [
        Query { types: set("convert"), ..Query::default() },
        Query { offer: Some("loan".to_owned()), ..Query::default() },
        Query { customers: set("C-anna"), ..Query::default() },
        Query { placement: Some("letter".to_owned()), ..Query::default() },
        Query { release: Some(9), ..Query::default() },
        Query { decision_ids: set(&wanted.decision_id), ..Query::default() },
        Query { event_ids: set(&wanted.event_id), ..Query::default() },
    ];
    for query in queries {
        assert_eq!(received(&scan_outcomes(&reader(&files), &query)), [2 * DAY], "{query:?}");
    }
    assert_eq!(reader(&files).find_outcome(&wanted.event_id).unwrap(), Some(wanted));
    assert_eq!(reader(&files).find_outcome("nothing").unwrap(), None);
    // What decisions do not have, no decision fulfils.
    files.seal("s", 2, 5, &decisions([NOON]));
    let typed = Query { types: set("convert"), ..Query::default() };
    assert_eq!(scan(&reader(&files), &typed).unwrap(), []);
}

#[test]
fn events_come_in_the_order_in_which_they_were_recorded() {
    let files = Files::new();
    let midnight = NOON + DAY / 2;
    // A call that took long is recorded behind an outcome that was received after it, on the next day.
    let records: Vec<Record> = vec![
        outcome(midnight + 3).into(),
        decision(midnight - 5).into(),
        outcome(midnight - 1).into(),
        decision(midnight + 1).into(),
    ];
    files.seal("s", 1, 1, &records);
    files.seal("s", 2, 5, &mixed([midnight, midnight + 2]));
    files.seal("a", 1, 1, &outcomes([midnight]));
    let open = files.log("s", 3, 7, &mixed([midnight - 3, midnight - 4, midnight - 2]));
    let with_log = reader(&files).with_opened(opened("s", std::slice::from_ref(&open)));
    // Server by server.
    assert_eq!(positions(&everything(&with_log)), [1, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    let expected: Vec<_> = entries_from(1, &records).iter().map(frame_of).collect();
    let found: Vec<_> = everything(&with_log).iter().skip(1).take(4).map(frame_of).collect();
    assert_eq!(found, expected);
    // A log that was sealed and not deleted, wholly or in part, is read once.
    crate::seal::seal("s", &open, files.store()).unwrap();
    assert_eq!(positions(&everything(&with_log)), [1, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    let outcomes_of_it = files
        .names()
        .into_iter()
        .find(|name| name.starts_with("outcome") && name.ends_with("s-00000003.parquet"));
    fs::remove_file(files.path(&outcomes_of_it.unwrap())).unwrap();
    assert_eq!(positions(&everything(&with_log)), [1, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    // Those that break off early do not wait for the rest.
    let mut seen = Vec::new();
    with_log
        .events_since(&Since::default(), &mut |entry| {
            seen.push(entry.position);
            if seen.len() == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
    assert_eq!(seen, [1, 1, 2]);
}

#[test]
fn many_row_groups_of_both_kinds_are_merged_by_position() {
    let files = Files::new();
    let rows = 5 * GROUP_ROWS as u64;
    // Within a second, calls end in any order.
    let times = (0..rows as i64).map(|at| NOON + (at * 7_919) % 1_000_000 + at);
    files.seal("s", 1, 1, &mixed(times));
    let log = files.log("s", 2, rows + 1, &mixed((0..rows as i64).map(|at| NOON + 2_000_000 - at)));
    let with_log = reader(&files).with_opened(opened("s", &[log]));
    assert_eq!(positions(&everything(&with_log)), (1..=2 * rows).collect::<Vec<_>>());
}

#[test]
fn since_a_time_or_behind_a_position() {
    let files = Files::new();
    let mut records = mixed((0..6).map(|day| NOON + day * DAY));
    for record in &mut records {
        record.sign("s", "0.1.0");
    }
    for (record, at) in records.iter().zip(1..) {
        files.seal("s", at, at, std::slice::from_ref(record));
    }
    let reader = reader(&files);
    let of = |time: Option<i64>, position: Option<u64>| {
        let positions: BTreeMap<_, _> =
            position.into_iter().map(|position| ("s".to_owned(), position)).collect();
        self::positions(&since(&reader, &Since { time, positions, ..Since::default() }))
    };
    assert_eq!(of(Some(NOON + 2 * DAY), None), [3, 4, 5, 6]);
    // It is the time at which they were appended that counts.
    assert_eq!(of(Some(NOON + 2 * DAY + 5_001), None), [4, 5, 6]);
    assert_eq!(of(None, Some(4)), [5, 6]);
    // A clock that was set back: the position counts, on the days that are looked at.
    assert_eq!(of(Some(NOON + 4 * DAY), Some(1)), [4, 5, 6]);
    assert_eq!(of(Some(NOON + 9 * DAY), None), Vec::<u64>::new());
    // Days before are not looked at.
    let first = files.names().remove(0);
    fs::write(files.path(&first), "damaged").unwrap();
    assert_eq!(of(Some(NOON + 2 * DAY), None), [3, 4, 5, 6]);
}

#[test]
fn of_one_server_from_a_log_file_on() {
    let files = Files::new();
    for sequence in 1..=3 {
        files.seal("s", sequence, 2 * sequence - 1, &mixed([NOON, NOON + 1]));
        files.seal("t", sequence, 2 * sequence - 1, &mixed([NOON, NOON + 1]));
    }
    let log = files.log("s", 4, 7, &mixed([NOON + 2, NOON + 3]));
    let reader = reader(&files).with_opened(opened("s", &[log]));
    let of = |sequence| {
        let server = Some(OfServer { id: "s".to_owned(), sequence });
        let positions = BTreeMap::from([("s".to_owned(), 3)]);
        self::positions(&since(&reader, &Since { positions, server, ..Since::default() }))
    };
    assert_eq!(of(0), [4, 5, 6, 7, 8]);
    assert_eq!(of(3), [5, 6, 7, 8]);
    assert_eq!(of(5), Vec::<u64>::new());
    // What is not looked at may be damaged.
    for name in
        files.names().iter().filter(|name| name.contains("t-") || name.ends_with("s-00000001.parquet"))
    {
        fs::write(files.path(name), "damaged").unwrap();
    }
    assert_eq!(of(2), [4, 5, 6, 7, 8]);
    let servers = |time| reader.sealed_servers(time).unwrap();
    assert_eq!(servers(None), BTreeMap::from([("s".to_owned(), 3), ("t".to_owned(), 3)]));
    assert_eq!(servers(Some(NOON + 2 * DAY)), BTreeMap::new());
}

#[test]
fn what_is_left_of_an_erased_person_is_no_event() {
    let files = Files::new();
    let mut records = mixed(NOON..NOON + 6);
    for record in &mut records[2..4] {
        *record = record.blanked(1, vec![0; 90]);
    }
    files.seal("s", 1, 1, &records);
    let log = files.log("s", 2, 7, &records);
    let with_log = reader(&files).with_opened(opened("s", &[log]));
    assert_eq!(positions(&everything(&with_log)), [1, 2, 5, 6, 7, 8, 11, 12]);
    assert_eq!(received(&scan_outcomes(&with_log, &Query::default())), [1, 1, 5, 5]);
    assert!(crate::verify::verify(files.store(), &[], &mut |_| {}).unwrap().problems.is_empty());
}

#[test]
fn a_log_with_events_of_a_newer_version_is_refused_by_name() {
    let files = Files::new();
    let log = files.log("s", 1, 1, &mixed([NOON, NOON + 1]));
    let mut bytes = fs::read(&log.path).unwrap();
    // Position 3, and field 7.
    let event = [0x08, 3, 0x3a, 2, 0x08, 1];
    let length = (event.len() as u32).to_le_bytes();
    bytes.extend(length);
    bytes.extend(crate::frame::checksum(length, &event).to_le_bytes());
    bytes.extend(event);
    fs::write(&log.path, &bytes).unwrap();
    let newer = LogFile { bytes: bytes.len() as u64, last: 3, ..log };
    let reader = reader(&files).with_opened(opened("s", &[newer]));
    let refused = [
        scan(&reader, &Query::default()).map(drop),
        reader.events_since(&Since::default(), &mut |_| ControlFlow::Continue(())),
    ];
    for error in refused.map(|done| done.unwrap_err()) {
        assert!(matches!(error, SealedError::Newer { .. }), "{error}");
        assert!(error.to_string().contains("field 7 of Event"), "{error}");
    }
    // Its sealed files of kinds that are known are read.
    let folder = files.root().join("events/view/date=2026-11-30");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("s-00000009.parquet"), "of a newer version").unwrap();
    files.seal("s", 9, 9, &mixed([NOON, NOON + 1]));
    let store = EventReader::new(files.store().clone());
    assert_eq!(positions(&everything(&store)), [9, 10]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn events_of_sealed_files_and_logs_come_by_position(
        records in prop::collection::vec(any_event(), 2..40),
        cuts in prop::array::uniform2(any::<prop::sample::Index>()),
    ) {
        let files = Files::new();
        let mut cuts = cuts.map(|cut| 1 + cut.index(records.len() - 1));
        cuts.sort_unstable();
        let (sealed, rest) = records.split_at(cuts[0]);
        let (both, logged) = rest.split_at(cuts[1] - cuts[0]);
        files.seal("s", 1, 1, sealed);
        let mut logs = Vec::new();
        for (sequence, records, first) in [(2, both, cuts[0]), (3, logged, cuts[1])] {
            if !records.is_empty() {
                logs.push(files.log("s", sequence, 1 + first as u64, records));
            }
        }
        if !both.is_empty() {
            crate::seal::seal("s", &logs[0], files.store()).unwrap();
        }
        let found = everything(&reader(&files).with_opened(opened("s", &logs)));
        let expected = entries_from(1, &records);
        prop_assert_eq!(
            found.iter().map(frame_of).collect::<Vec<_>>(),
            expected.iter().map(frame_of).collect::<Vec<_>>()
        );
        // Each kind by itself has them, too.
        for kind in Kind::ALL {
            let mut of_kind = Vec::new();
            let reader = reader(&files).with_opened(opened("s", &logs));
            reader.scan_entries(kind, &Query::default(), &mut |entry| {
                of_kind.push(frame_of(&entry));
                ControlFlow::Continue(())
            }).unwrap();
            of_kind.sort();
            let mut expected: Vec<_> =
                expected.iter().filter(|entry| entry.record.kind() == kind).map(frame_of).collect();
            expected.sort();
            prop_assert_eq!(of_kind, expected);
        }
    }
}
