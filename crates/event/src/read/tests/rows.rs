//! Rows of a few columns: those of the records that a scan gives.

use chrono::NaiveDate;

use super::*;
use crate::kind::{EventRecord, Record};
use crate::proto::OutcomeRecord;
use crate::read::merge::AHEAD;
use crate::read::rows::{Arm, DecisionRow, OutcomeRow};
use crate::sealed::testing::{any_outcome, id_at, mixed, outcome, outcomes};

/// A decision as its row should be.
fn shown(record: &DecisionRecord) -> String {
    let offers: Vec<&str> = record.offers.iter().map(|offer| offer.offer_id.as_str()).collect();
    let mut arms = Vec::new();
    for found in &record.assignments {
        let (experiment, variant) = (found.experiment.as_str(), found.variant.as_str());
        arms.push(Arm { experiment, variant, phase: found.phase, how: found.how });
    }
    let row = DecisionRow {
        decided_at: record.decided_at,
        decision_id: &record.decision_id,
        server: &record.server,
        release: record.release,
        placement: &record.placement,
        channel: &record.channel,
        customer_id: &record.customer_id,
        pseudonym_key: &record.pseudonym_key,
        segment: record.segment.as_ref().map(|segment| segment.id),
        offers: &offers,
        has_fallback: record.offers.iter().any(|offer| offer.fallback),
        failed: record.error.is_some(),
        held_out: record.held_out,
        call_us: record.call_us,
        call_customers: record.call_customers,
        arms: &arms,
    };
    format!("{row:?}")
}

/// An outcome as its row should be.
fn shown_outcome(record: &OutcomeRecord) -> String {
    let row = OutcomeRow {
        received_at: record.received_at,
        occurred_at: record.occurred_at,
        decided_at: record.decided_at,
        event_id: &record.event_id,
        kind: &record.r#type,
        decision_id: &record.decision_id,
        customer_id: &record.customer_id,
        offer_id: &record.offer_id,
        placement: &record.placement,
        server: &record.server,
        value: record.value,
        cost: record.cost,
        offer_value: record.offer_value,
        attributed: record.attributed,
        late: record.late,
    };
    format!("{row:?}")
}

fn rows(reader: &EventReader, query: &Query) -> Vec<String> {
    let mut found = Vec::new();
    let keep = &mut |row: &DecisionRow<'_>| {
        found.push(format!("{row:?}"));
        ControlFlow::Continue(())
    };
    reader.scan_decision_rows(query, keep).unwrap();
    found
}

fn outcome_rows(reader: &EventReader, query: &Query) -> Vec<String> {
    let mut found = Vec::new();
    let keep = &mut |row: &OutcomeRow<'_>| {
        found.push(format!("{row:?}"));
        ControlFlow::Continue(())
    };
    reader.scan_outcome_rows(query, keep).unwrap();
    found
}

/// What a scan gives, as rows should be.
fn scanned(reader: &EventReader, kind: Kind, query: &Query) -> Vec<String> {
    let mut found = Vec::new();
    let keep = &mut |entry: Entry| {
        found.push(match &entry.record {
            Record::Decision(record) => shown(record),
            Record::Outcome(record) => shown_outcome(record),
            Record::Shadow(_) => panic!("a shadow record"),
        });
        ControlFlow::Continue(())
    };
    reader.scan_entries(kind, query, keep).unwrap();
    found
}

fn sorted(mut rows: Vec<String>) -> Vec<String> {
    rows.sort_unstable();
    rows
}

/// The days of records, as far as a query may want something of them.
fn days_of<R: EventRecord>(records: &[R], kind: Kind, query: &Query) -> Vec<NaiveDate> {
    let days: BTreeSet<NaiveDate> = records.iter().map(|record| date_of(record.filed_at())).collect();
    let wanted = query.days(kind);
    days.into_iter().filter(|day| wanted.as_ref().is_none_or(|wanted| wanted.contains(day))).collect()
}

/// A reader of records of which the first are sealed, the next are sealed and still in their log, and the last are in
/// a log alone.
fn parts<R: Clone + Into<Record>>(
    files: &Files,
    records: &[R],
    cuts: [prop::sample::Index; 2],
) -> EventReader {
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
    reader(files).with_opened(opened("s", &logs))
}

/// A query whose conditions some outcomes fulfil.
fn any_outcome_query(records: Vec<OutcomeRecord>) -> impl Strategy<Value = (Vec<OutcomeRecord>, Query)> {
    let one = || prop::option::weighted(0.25, any::<prop::sample::Index>());
    (one(), one(), one(), one(), one(), one(), one()).prop_map(
        move |(from, to, customer, placement, offer, kind, event)| {
            let pick = |index: prop::sample::Index| &records[index.index(records.len())];
            let query = Query {
                from: from.map(|index| pick(index).received_at),
                to: to.map(|index| pick(index).received_at),
                customers: customer.map(|index| pick(index).customer_id.clone()).into_iter().collect(),
                placement: placement.map(|index| pick(index).placement.clone()),
                offer: offer.map(|index| pick(index).offer_id.clone()),
                types: kind.map(|index| pick(index).r#type.clone()).into_iter().collect(),
                event_ids: event.map(|index| pick(index).event_id.clone()).into_iter().collect(),
                ..Query::default()
            };
            (records.clone(), query)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn rows_are_those_of_the_decisions_that_a_scan_gives(
        (mut records, query) in prop::collection::vec(any_record(), 3..24).prop_flat_map(any_query),
        cuts in prop::array::uniform2(any::<prop::sample::Index>()),
        erased in any::<prop::sample::Index>(),
    ) {
        let erased = erased.get_mut(&mut records);
        *erased = DecisionRecord {
            decided_at: erased.decided_at, erased: vec![0; 900], ..DecisionRecord::default()
        };
        let files = Files::new();
        let reader = parts(&files, &records, cuts);
        let unlimited = Query { limit: None, ..query.clone() };
        let expected = sorted(scanned(&reader, Kind::Decision, &unlimited));
        prop_assert_eq!(&sorted(rows(&reader, &unlimited)), &expected);
        prop_assert_eq!(&sorted(rows(&reader.pinned().unwrap(), &unlimited)), &expected);
        // Day by day, they are the same.
        let days = reader.recorded_days(Kind::Decision, &query).unwrap();
        prop_assert_eq!(&days, &days_of(&records, Kind::Decision, &query));
        // As many as there may be, each of them one that is wanted.
        let limited = rows(&reader, &query);
        let limit = query.limit.map_or(usize::MAX, |limit| limit as usize);
        prop_assert_eq!(limited.len(), expected.len().min(limit));
        prop_assert!(limited.iter().all(|row| expected.binary_search(row).is_ok()));
    }

    #[test]
    fn rows_are_those_of_the_outcomes_that_a_scan_gives(
        (mut records, query) in prop::collection::vec(any_outcome(), 3..24).prop_flat_map(any_outcome_query),
        cuts in prop::array::uniform2(any::<prop::sample::Index>()),
        erased in any::<prop::sample::Index>(),
    ) {
        let erased = erased.get_mut(&mut records);
        *erased = OutcomeRecord {
            received_at: erased.received_at, erased: vec![0; 900], ..OutcomeRecord::default()
        };
        let files = Files::new();
        let reader = parts(&files, &records, cuts);
        let expected = sorted(scanned(&reader, Kind::Outcome, &query));
        prop_assert_eq!(&sorted(outcome_rows(&reader, &query)), &expected);
        let days = reader.recorded_days(Kind::Outcome, &query).unwrap();
        prop_assert_eq!(days, days_of(&records, Kind::Outcome, &query));
    }
}

#[test]
fn rows_are_read_without_records() {
    let files = Files::new();
    let mut records = decisions(NOON..NOON + 10);
    for (record, customer) in records.iter_mut().zip(0..) {
        record.customer_id = format!("C{customer}");
    }
    files.seal("s", 1, 1, &records);
    let name = files.names().remove(0);
    let bytes = fs::read(files.path(&name)).unwrap();
    // The last chunk before the footer is that of `record`.
    let footer = u32::from_le_bytes(bytes[bytes.len() - 8..bytes.len() - 4].try_into().unwrap());
    files.change(&name, bytes.len() - 8 - footer as usize - 5);
    assert!(scan(&reader(&files), &Query::default()).is_err());
    let expected: Vec<String> = records.iter().map(shown).collect();
    assert_eq!(rows(&reader(&files), &Query::default()), expected);
    let one = Query { customers: BTreeSet::from(["C3".to_owned()]), ..Query::default() };
    assert_eq!(rows(&reader(&files), &one), expected[3..4]);
}

#[test]
fn what_no_event_of_the_kind_has_none_fulfils() {
    let files = Files::new();
    files.seal("s", 1, 1, &mixed(NOON..NOON + 4));
    let log = files.log("s", 2, 5, &mixed(NOON..NOON + 2));
    let both = reader(&files).with_opened(opened("s", &[log]));
    assert_eq!(rows(&both, &Query::default()).len(), 3);
    assert_eq!(outcome_rows(&both, &Query::default()).len(), 3);
    let typed = Query { types: BTreeSet::from(["click".to_owned()]), ..Query::default() };
    assert_eq!((rows(&both, &typed).len(), outcome_rows(&both, &typed).len()), (0, 3));
    let of_shadow = Query { shadow: Some("s".to_owned()), ..Query::default() };
    assert_eq!((rows(&both, &of_shadow).len(), outcome_rows(&both, &of_shadow).len()), (0, 0));
}

#[test]
fn rows_come_day_by_day_and_end_when_the_visitor_breaks() {
    let files = Files::new();
    files.seal("b", 1, 1, &decisions([NOON + DAY, NOON + DAY + 1, NOON]));
    files.seal("a", 1, 1, &decisions([NOON + DAY, NOON + 2 * DAY]));
    let log = files.log("a", 2, 3, &decisions([NOON + DAY + 5, NOON - DAY]));
    let all = reader(&files).with_opened(opened("a", &[log]));
    let days = |query: &Query| {
        let mut found = Vec::new();
        let keep = &mut |row: &DecisionRow<'_>| {
            found.push((row.decided_at - NOON).div_euclid(DAY));
            if found.len() == 4 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        all.scan_decision_rows(query, keep).unwrap();
        found
    };
    assert_eq!(days(&Query::default()), [-1, 0, 1, 1]);
    assert_eq!(days(&Query { from: Some(NOON + 1), ..Query::default() }), [1, 1, 1, 1]);
    let within = Query { from: Some(NOON + DAY), to: Some(NOON + 2 * DAY), ..Query::default() };
    let named = |query: &Query| all.recorded_days(Kind::Decision, query).unwrap();
    assert_eq!(named(&within), [date_of(NOON + DAY), date_of(NOON + 2 * DAY)]);
    assert_eq!(named(&Query::default()), [-1, 0, 1, 2].map(|day| date_of(NOON + day * DAY)));
    let none = Query { from: Some(NOON), to: Some(NOON - DAY), ..Query::default() };
    assert_eq!((named(&none), days(&none)), (Vec::new(), Vec::new()));
    assert_eq!(all.recorded_days(Kind::Outcome, &Query::default()).unwrap(), []);
}

#[test]
fn few_parts_are_in_memory_at_a_time() {
    let files = Files::new();
    let mut records = decisions(NOON..NOON + 12);
    for record in &mut records {
        // Two of them are more than a row group takes.
        record.consents = vec!["x".repeat(4 << 20)];
    }
    files.seal("s", 1, 1, &records);
    let progress = ReadProgress::default();
    let reader = reader(&files).with_progress(progress.clone());
    let (mut seen, mut at_first) = (0, None);
    let count = &mut |_: &DecisionRow<'_>| {
        at_first = at_first.or(Some(progress.done()));
        seen += 1;
        ControlFlow::Continue(())
    };
    reader.scan_decision_rows(&Query::default(), count).unwrap();
    assert_eq!((seen, progress.done()), (12, progress.all()));
    // What was decoded before the first row was passed on. The rest of the division counts from the beginning.
    let part = progress.all() / 12;
    assert!(at_first.unwrap() <= part * (AHEAD as u64 + 1) + 12, "{at_first:?} of {}", progress.all());
}

#[test]
fn a_pinned_reader_reads_the_logs_that_there_were() {
    let files = Files::new();
    let records = decisions([NOON, NOON + 1, NOON + DAY]);
    let log = files.log("s", 1, 1, &records);
    let unpinned = reader(&files).with_opened(opened("s", std::slice::from_ref(&log)));
    let pinned = unpinned.pinned().unwrap();
    let expected: Vec<String> = records.iter().map(shown).collect();
    let away = log.path.with_extension("away");
    fs::rename(&log.path, &away).unwrap();
    assert!(rows(&unpinned, &Query::default()).is_empty());
    assert_eq!(rows(&pinned, &Query::default()), expected);
    // It is sealed, and then deleted, while the pinned reader goes on.
    fs::rename(&away, &log.path).unwrap();
    crate::seal::seal("s", &log, files.store()).unwrap();
    for _ in 0..2 {
        assert_eq!(pinned.recorded_days(Kind::Decision, &Query::default()).unwrap().len(), 2);
        for (day, expected) in [(0, &expected[..2]), (1, &expected[2..])] {
            let query =
                Query { from: Some(NOON + day * DAY), to: Some(NOON + (day + 1) * DAY), ..Query::default() };
            assert_eq!(rows(&pinned, &query), expected);
            assert_eq!(scanned(&pinned, Kind::Decision, &query), expected);
        }
        let _ = fs::remove_file(&log.path);
    }
}

#[test]
fn outcomes_of_a_decision_that_is_not_known_have_no_time_of_it() {
    let files = Files::new();
    let mut records = outcomes([NOON, NOON + 1]);
    (records[1].attributed, records[1].decided_at) = (false, 0);
    records.push(OutcomeRecord { decision_id: id_at(NOON), late: true, ..outcome(NOON + 2) });
    files.seal("s", 1, 1, &records);
    let mut found = Vec::new();
    let keep = &mut |row: &OutcomeRow<'_>| {
        found.push((row.decided_at, row.attributed, row.late));
        ControlFlow::Continue(())
    };
    reader(&files).scan_outcome_rows(&Query::default(), keep).unwrap();
    let expected = records.iter().map(|record| (record.decided_at, record.attributed, record.late));
    assert_eq!(found, expected.collect::<Vec<_>>());
}
