mod outcomes;
mod rows;
mod shadows;

use std::collections::BTreeSet;
use std::fs;

use proptest::prelude::*;

use super::*;
use crate::columns::Columnar;
use crate::kind::Kind;
use crate::proto::DecisionRecord;
use crate::seal::OpenLog;
use crate::sealed::GROUP_ROWS;
use crate::sealed::testing::{DAY, Files, NOON, any_record, bytes, decision, decisions, opened};

fn scan(reader: &EventReader, query: &Query) -> Result<Vec<DecisionRecord>, SealedError> {
    let mut found = Vec::new();
    reader.scan(query, &mut |record| {
        found.push(record);
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

fn all(reader: &EventReader) -> Vec<DecisionRecord> {
    scan(reader, &Query::default()).unwrap()
}

fn reader(files: &Files) -> EventReader {
    EventReader::new(files.store().clone())
}

fn times(records: &[DecisionRecord]) -> Vec<i64> {
    records.iter().map(|record| record.decided_at - NOON).collect()
}

#[test]
fn decisions_come_by_day_then_server_then_time() {
    let files = Files::new();
    let of = |server: &str, times: &[i64]| {
        let mut records = decisions(times.iter().map(|time| NOON + time));
        for record in &mut records {
            server.clone_into(&mut record.server);
        }
        records
    };
    // The files of a server overlap: a call that took long is in the next log.
    files.seal("b", 1, 1, &of("b", &[0, 30, 20, DAY]));
    files.seal("b", 2, 5, &of("b", &[25, 40, DAY + 1]));
    files.seal("b", 3, 8, &of("b", &[35, 50]));
    files.seal("a", 7, 1, &of("a", &[45, 10]));
    let found = all(&reader(&files));
    let servers: String = found.iter().map(|record| &*record.server).collect();
    assert_eq!(servers, "aabbbbbbbbb");
    assert_eq!(times(&found), [10, 45, 0, 20, 25, 30, 35, 40, 50, DAY, DAY + 1]);
}

#[test]
fn the_oldest_decisions_of_all_servers_come_page_by_page() {
    let files = Files::new();
    let of = |server: &str, times: &[i64]| {
        let mut records = decisions(times.iter().map(|time| NOON + time));
        for (record, at) in records.iter_mut().zip(0..) {
            server.clone_into(&mut record.server);
            // Against the order of the log.
            record.decision_id = format!("{server}{}", 9 - at);
        }
        records
    };
    files.seal("b", 1, 1, &of("b", &[0, 30, 30, DAY]));
    files.seal("a", 1, 1, &of("a", &[45, 10, 30, DAY - 1, DAY + 1]));
    let reader = reader(&files);
    let list = |query: &Query, oldest: &Oldest| -> Vec<Place> {
        let found = reader.oldest(query, oldest, &|| true, &mut |record| record.decision_id).unwrap();
        assert!(found.iter().all(|((_, id), kept)| id == kept));
        found.into_iter().map(|(place, _)| place).collect()
    };
    let all = list(&Query::default(), &Oldest { after: None, most: 100 });
    let expected = [
        (0, "b9"),
        (10, "a8"),
        (30, "a7"),
        (30, "b7"),
        (30, "b8"),
        (45, "a9"),
        (DAY - 1, "a6"),
        (DAY, "b6"),
        (DAY + 1, "a5"),
    ];
    let found: Vec<(i64, &str)> = all.iter().map(|(time, id)| (time - NOON, id.as_str())).collect();
    assert_eq!(found, expected);
    for most in 1..10 {
        let (mut pages, mut after) = (Vec::new(), None);
        loop {
            // The limit is that of a scan, in which servers come one after another.
            let page = list(&Query { limit: Some(1), ..Query::default() }, &Oldest { after, most });
            after = page.last().cloned();
            pages.extend(page);
            if after.is_none() {
                break;
            }
        }
        assert_eq!(pages, all, "{most}");
    }
    let query = Query { from: Some(NOON + 30), to: Some(NOON + DAY), ..Query::default() };
    assert_eq!(list(&query, &Oldest { after: Some((NOON, "x".to_owned())), most: 3 }), all[2..5]);
}

#[test]
fn decisions_of_a_moment_come_in_the_order_of_the_log() {
    let files = Files::new();
    let records = decisions([NOON; 40]);
    files.seal("s", 1, 1, &records[..30]);
    files.seal("s", 2, 31, &records[30..]);
    let ids = |records: &[DecisionRecord]| -> Vec<String> {
        records.iter().map(|record| record.decision_id.clone()).collect()
    };
    assert_eq!(ids(&all(&reader(&files))), ids(&records));
}

#[test]
fn many_row_groups_of_many_files_are_merged() {
    let files = Files::new();
    let rows = 3 * GROUP_ROWS as i64;
    // Two logs whose times alternate, and one behind them.
    files.seal("s", 1, 1, &decisions((0..rows).map(|time| NOON + 2 * time)));
    files.seal("s", 2, 1 + rows as u64, &decisions((0..rows).map(|time| NOON + 2 * time + 1)));
    files.seal("s", 3, 1 + 2 * rows as u64, &decisions((0..10).map(|time| NOON + 2 * rows + time)));
    let found = times(&all(&reader(&files)));
    assert_eq!(found, (0..2 * rows + 10).collect::<Vec<_>>());
    // Those that break off early do not wait for the rest.
    let mut count = 0;
    let visited = reader(&files).scan(&Query::default(), &mut |_| {
        count += 1;
        if count == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    visited.unwrap();
    assert_eq!(count, 3);
}

#[test]
fn a_long_log_whose_times_jump_is_read_and_sealed_in_their_order() {
    let files = Files::new();
    // Some are of calls that took long, and some of the next day.
    let time = |at: i64| match at {
        at if at % 7 == 0 => NOON + DAY + at,
        at if at % 3 == 0 => NOON + at - 2_000,
        at => NOON + at,
    };
    let records = decisions((0..3_000).map(time));
    let log = files.log("s", 1, 1, &records);
    let mut expected = times(&records);
    expected.sort_unstable();
    let logged = reader(&files).with_opened(opened("s", std::slice::from_ref(&log)));
    assert_eq!(times(&all(&logged)), expected);
    crate::seal::seal("s", &log, files.store()).unwrap();
    assert_eq!(times(&all(&reader(&files))), expected);
}

#[test]
fn where_events_are_is_kept_while_there_is_room() {
    let files = Files::new();
    let log = files.log("s", 1, 1, &decisions([NOON, NOON + DAY, NOON + 1]));
    for (room, left) in [(2, 2), (3, 0), (10, 7)] {
        let opened = OpenLog::open("s", &log).unwrap().unwrap();
        let mut found = room;
        assert_eq!(opened.dates(Kind::Decision, &mut found).unwrap().len(), 2);
        assert_eq!(found, left);
        let index = opened.index().unwrap();
        let items: Vec<usize> = index.days().iter().map(|day| day.items.len()).collect();
        assert_eq!(items, [2, 1], "with room for {room}");
    }
}

#[test]
fn progress_ends_at_the_bytes_of_what_is_read() {
    let files = Files::new();
    files.seal("s", 1, 1, &decisions((0..3 * GROUP_ROWS as i64).map(|time| NOON + time)));
    let log = files.log("s", 2, 1 + 3 * GROUP_ROWS as u64, &decisions([NOON + DAY, NOON + DAY + 1]));
    let sealed = fs::metadata(files.path(&files.names()[0])).unwrap().len();
    let progress = ReadProgress::default();
    let reader =
        reader(&files).with_opened(opened("s", std::slice::from_ref(&log))).with_progress(progress.clone());
    assert_eq!((progress.done(), progress.all()), (0, 0));
    let mut seen = BTreeSet::new();
    let mut scan = |query: &Query| {
        reader
            .scan(query, &mut |_| {
                seen.insert(progress.done());
                ControlFlow::Continue(())
            })
            .unwrap();
        (progress.done(), progress.all())
    };
    let all = sealed + log.bytes;
    assert_eq!(scan(&Query::default()), (all, all));
    // Of one day, and of a placement that no file has.
    assert_eq!(scan(&Query { from: Some(NOON + DAY), ..Query::default() }), (log.bytes, log.bytes));
    assert_eq!(scan(&Query { placement: Some("gone".to_owned()), ..Query::default() }), (all, all));
    assert!(seen.iter().any(|done| (1..all).contains(done)), "{seen:?}");

    let exported = files.logs().join("out.parquet");
    fs::copy(files.path(&files.names()[0]), &exported).unwrap();
    read_file(&exported, Kind::Decision, &Query::default(), &progress, &mut |_| ControlFlow::Continue(()))
        .unwrap();
    assert_eq!(progress.done(), progress.all());
    assert!((1..sealed).contains(&progress.all()));
}

#[test]
fn a_log_that_was_sealed_and_not_deleted_is_read_once() {
    let files = Files::new();
    let records = decisions([NOON, NOON + 1, NOON + DAY]);
    let sealed = files.log("s", 1, 1, &records);
    crate::seal::seal("s", &sealed, files.store()).unwrap();
    let open = files.log("s", 2, 4, &decisions([NOON + DAY + 1, NOON + DAY + 1]));
    let with_logs = reader(&files).with_opened(opened("s", &[sealed.clone(), open.clone()]));
    assert_eq!(times(&all(&with_logs)), [0, 1, DAY, DAY + 1, DAY + 1]);
    // One of its days is not sealed yet.
    fs::remove_file(files.path(&files.names()[0])).unwrap();
    assert_eq!(times(&all(&with_logs)), [0, 1, DAY, DAY + 1, DAY + 1]);
    // Without logs.
    assert_eq!(times(&all(&reader(&files))), [DAY]);
    // What is deleted since it was listed is not read.
    fs::remove_file(&open.path).unwrap();
    assert_eq!(times(&all(&with_logs)), [0, 1, DAY]);
}

#[test]
fn a_log_may_grow_and_be_sealed_after_it_was_listed() {
    let files = Files::new();
    let listed = files.log("s", 1, 1, &decisions([NOON, NOON + 1]));
    let grown = files.log("s", 1, 1, &decisions([NOON, NOON + 1, NOON + 2]));
    assert!(listed.bytes < grown.bytes && listed.last < grown.last);
    let with_logs = reader(&files).with_opened(opened("s", std::slice::from_ref(&listed)));
    crate::seal::seal("s", &grown, files.store()).unwrap();
    assert_eq!(times(&all(&with_logs)), [0, 1, 2]);
    // Other events with the same numbers are no such thing.
    let other = files.log("s", 1, 1, &decisions([NOON + 7, NOON + 8]));
    let with_others = reader(&files).with_opened(opened("s", &[other]));
    let error = scan(&with_others, &Query::default()).unwrap_err();
    assert!(matches!(error, SealedError::Differs { .. }), "{error}");
}

#[test]
fn what_is_not_durable_of_a_log_is_not_read() {
    let files = Files::new();
    let log = files.log("s", 1, 1, &decisions([NOON, NOON + 1]));
    let one = files.log("s", 1, 1, &decisions([NOON]));
    let whole = files.log("s", 1, 1, &decisions([NOON, NOON + 1]));
    assert!(one.bytes < log.bytes);
    let durable = LogFile { bytes: one.bytes, ..whole };
    assert_eq!(times(&all(&reader(&files).with_opened(opened("s", &[durable])))), [0]);
}

#[test]
fn a_decision_is_found_by_its_id() {
    let files = Files::new();
    let midnight = NOON + DAY / 2;
    let mut record = decision(midnight);
    // The clock of the id was a moment behind that of the decision.
    record.decision_id = crate::sealed::testing::id_at(midnight - 1_000);
    files.seal("s", 1, 1, &[record.clone(), decision(midnight + 1)]);
    let id = &record.decision_id;
    let found = reader(&files).find(id).unwrap().unwrap();
    assert_eq!(bytes(&found), bytes(&record));
    assert_eq!(reader(&files).find(&crate::sealed::testing::id_at(midnight)).unwrap(), None);
    assert_eq!(reader(&files).find("not an id").unwrap(), None);
    // In a log, too.
    let logged = decision(midnight);
    let log = files.log("s", 2, 3, std::slice::from_ref(&logged));
    let with_logs = reader(&files).with_opened(opened("s", &[log]));
    assert_eq!(with_logs.find(&logged.decision_id).unwrap().unwrap().decided_at, midnight);
}

#[test]
fn what_a_query_does_not_want_is_not_read() {
    let files = Files::new();
    let records = decisions((0..2 * GROUP_ROWS as i64).map(|time| NOON + time));
    files.seal("s", 1, 1, &records);
    files.seal("s", 2, 1 + records.len() as u64, &decisions([NOON + 2 * DAY]));
    let names = files.names();
    // The day after tomorrow is damaged, and so is the first row group of today.
    fs::write(files.path(&names[1]), "damaged").unwrap();
    files.change(&names[0], 100);
    assert!(scan(&reader(&files), &Query::default()).is_err());
    let last = records.last().unwrap();
    let found = reader(&files).find(&last.decision_id).unwrap().unwrap();
    assert_eq!(found.decided_at, last.decided_at);
    let second_half =
        Query { from: Some(NOON + GROUP_ROWS as i64), to: Some(NOON + DAY), ..Query::default() };
    assert_eq!(scan(&reader(&files), &second_half).unwrap().len(), GROUP_ROWS);
    assert!(reader(&files).find(&records[0].decision_id).is_err());
}

#[test]
fn records_of_rows_that_are_not_wanted_are_not_read() {
    let files = Files::new();
    let mut records = decisions(NOON..NOON + 10);
    for (record, customer) in records.iter_mut().zip(0..) {
        // Their bounds do not tell.
        record.customer_id = format!("{}", 2 * customer);
    }
    files.seal("s", 1, 1, &records);
    let name = files.names().remove(0);
    let bytes = fs::read(files.path(&name)).unwrap();
    // The last chunk before the footer is that of `record`.
    let footer = u32::from_le_bytes(bytes[bytes.len() - 8..bytes.len() - 4].try_into().unwrap());
    files.change(&name, bytes.len() - 8 - footer as usize - 5);
    let of = |customer: &str| Query { customers: BTreeSet::from([customer.to_owned()]), ..Query::default() };
    assert_eq!(scan(&reader(&files), &of("3")).unwrap(), []);
    let error = scan(&reader(&files), &of("4")).unwrap_err().to_string();
    assert!(error.contains("column `record` does not match its checksum"), "{error}");
}

#[test]
fn what_is_left_of_an_erased_person_is_no_decision() {
    let files = Files::new();
    let mut records = decisions([NOON, NOON + 1, NOON + 2]);
    records[1] = DecisionRecord { decided_at: NOON + 1, erased: vec![0; 900], ..DecisionRecord::default() };
    files.seal("s", 1, 1, &records);
    let log = files.log("s", 2, 4, &records);
    let with_logs = reader(&files).with_opened(opened("s", &[log]));
    assert_eq!(times(&all(&with_logs)), [0, 0, 2, 2]);
    let limited = Query { limit: Some(2), ..Query::default() };
    assert_eq!(times(&scan(&reader(&files), &limited).unwrap()), [0, 2]);
    // Its position is still there.
    assert!(crate::verify::verify(files.store(), &[], &mut |_| {}).unwrap().problems.is_empty());
}

#[test]
fn the_limit_is_the_most_decisions() {
    let files = Files::new();
    files.seal("s", 1, 1, &decisions(NOON..NOON + 9));
    for limit in [0, 1, 5, 9, 100] {
        let found = scan(&reader(&files), &Query { limit: Some(limit), ..Query::default() }).unwrap();
        assert_eq!(times(&found), (0..limit.min(9) as i64).collect::<Vec<_>>());
    }
}

#[test]
fn an_empty_store_has_no_decisions() {
    let files = Files::new();
    assert!(all(&reader(&files)).is_empty());
    assert_eq!(reader(&files).find(&crate::sealed::testing::id_at(NOON)).unwrap(), None);
}

#[test]
fn a_damaged_file_is_an_error_that_names_it() {
    let files = Files::new();
    files.seal("s", 1, 1, &decisions([NOON]));
    let name = files.names().remove(0);
    fs::write(files.path(&name), "PAR1").unwrap();
    let error = scan(&reader(&files), &Query::default()).unwrap_err().to_string();
    assert!(error.contains(&name), "{error}");
}

/// A query whose conditions some decisions fulfil.
fn any_query(records: Vec<DecisionRecord>) -> impl Strategy<Value = (Vec<DecisionRecord>, Query)> {
    let one = || prop::option::weighted(0.25, any::<prop::sample::Index>());
    let several = || prop::collection::vec(any::<prop::sample::Index>(), 0..3);
    let chosen = (one(), one(), one(), one(), one());
    (chosen, several(), several(), prop::option::of(0_u64..12)).prop_map(
        move |((from, to, placement, offer, release), customers, ids, limit)| {
            let pick = |index: prop::sample::Index| &records[index.index(records.len())];
            let offer =
                offer.and_then(|index| pick(index).offers.first().map(|offer| offer.offer_id.clone()));
            let query = Query {
                from: from.map(|index| pick(index).decided_at),
                to: to.map(|index| pick(index).decided_at),
                customers: customers.into_iter().map(|index| pick(index).customer_id.clone()).collect(),
                placement: placement.map(|index| pick(index).placement.clone()),
                offer,
                release: release.map(|index| pick(index).release),
                decision_ids: ids.into_iter().map(|index| pick(index).decision_id.clone()).collect(),
                limit,
                ..Query::default()
            };
            (records.clone(), query)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_query_gives_what_it_wants_of_sealed_files_and_logs(
        (records, query) in prop::collection::vec(any_record(), 3..24).prop_flat_map(any_query),
        cuts in prop::array::uniform2(any::<prop::sample::Index>()),
    ) {
        // An id of another time than the decision's is found within a day of its own alone.
        let has_own_time = |id: &String| uuid::Uuid::parse_str(id).is_ok_and(|id| id.get_version_num() == 7);
        prop_assume!(!query.decision_ids.iter().any(has_own_time));
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
        let found = scan(&reader(&files).with_opened(opened("s", &logs)), &query).unwrap();
        let wanted = records.iter().filter(|record| DecisionRecord::wants(&query, record));
        let mut expected: Vec<&DecisionRecord> = wanted.collect();
        expected.sort_by_key(|record| record.decided_at);
        let limit = query.limit.map_or(usize::MAX, |limit| limit as usize);
        prop_assert_eq!(found.len(), expected.len().min(limit));
        // Each of them is there; in which order, other tests say: these times jump by more than a log lasts.
        let mut left: Vec<Vec<u8>> = expected.into_iter().map(bytes).collect();
        for record in &found {
            let at = left.iter().position(|wanted| *wanted == bytes(record));
            prop_assert!(at.is_some());
            left.swap_remove(at.unwrap());
        }
    }

    #[test]
    fn decisions_of_neighbouring_logs_come_in_the_order_of_their_times(
        late in prop::collection::vec(0_i64..12, 10..60), cuts in prop::collection::btree_set(1_usize..59, 0..4),
    ) {
        // A call takes up to twelve, and a log lasts longer.
        let times: Vec<i64> = late.iter().zip(0..).map(|(late, at)| NOON + at - late).collect();
        let files = Files::new();
        let (mut start, mut sequence) = (0, 1);
        let mut logs = Vec::new();
        for cut in cuts.into_iter().chain([times.len()]) {
            if cut >= start + 12 || cut == times.len() {
                let records = decisions(times[start..cut.min(times.len())].iter().copied());
                if sequence % 2 == 0 {
                    logs.push(files.log("s", sequence, 1 + start as u64, &records));
                } else {
                    files.seal("s", sequence, 1 + start as u64, &records);
                }
                (start, sequence) = (cut.min(times.len()), sequence + 1);
            }
            if start == times.len() {
                break;
            }
        }
        let found = all(&reader(&files).with_opened(opened("s", &logs)));
        let mut expected = times.clone();
        expected.sort_unstable();
        prop_assert_eq!(found.iter().map(|record| record.decided_at).collect::<Vec<_>>(), expected);
    }
}
