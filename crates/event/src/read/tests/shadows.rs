//! Reading comparisons with shadows, and leaving them out.

use super::*;
use crate::kind::Record;
use crate::proto::ShadowRecord;
use crate::sealed::testing::{of_all_kinds, shadow, shadows};

fn scan_shadows(reader: &EventReader, query: &Query) -> Vec<ShadowRecord> {
    let mut found = Vec::new();
    reader
        .scan_shadows(query, &mut |record| {
            found.push(record);
            ControlFlow::Continue(())
        })
        .unwrap();
    found
}

fn compared(records: &[ShadowRecord]) -> Vec<i64> {
    records.iter().map(|record| record.compared_at - NOON).collect()
}

/// The positions of all events of some kinds.
fn positions(reader: &EventReader, kinds: Option<&'static [Kind]>) -> Vec<u64> {
    let mut found = Vec::new();
    reader
        .events_since(&Since { kinds, ..Since::default() }, &mut |entry| {
            found.push(entry.position);
            ControlFlow::Continue(())
        })
        .unwrap();
    found
}

fn set(text: &str) -> BTreeSet<String> {
    BTreeSet::from([text.to_owned()])
}

#[test]
fn comparisons_are_read_by_themselves() {
    let files = Files::new();
    files.seal("s", 1, 1, &of_all_kinds((0..6).map(|at| NOON + at)));
    let log = files.log("s", 2, 7, &of_all_kinds((10..13).map(|at| NOON + at)));
    let all_files = reader(&files).with_opened(opened("s", &[log]));
    assert_eq!(times(&all(&all_files)), [0, 3, 10]);
    assert_eq!(compared(&scan_shadows(&all_files, &Query::default())), [2, 5, 12]);
    let later = Query { from: Some(NOON + 3), to: Some(NOON + 12), ..Query::default() };
    assert_eq!(compared(&scan_shadows(&all_files, &later)), [5]);
}

#[test]
fn comparisons_are_found_by_every_condition() {
    let files = Files::new();
    let mut records = shadows((0..4).map(|at| NOON + at * DAY));
    let wanted = &mut records[2];
    wanted.shadow = "cheaper".to_owned();
    wanted.offers[1].offer_id = "mortgage".to_owned();
    wanted.customer_id = "C-anna".to_owned();
    wanted.placement = "letter".to_owned();
    wanted.release = 9;
    let decision_id = wanted.decision_id.clone();
    files.seal("s", 1, 1, &records);
    let queries = [
        Query { shadow: Some("cheaper".to_owned()), ..Query::default() },
        Query { offer: Some("mortgage".to_owned()), ..Query::default() },
        Query { customers: set("C-anna"), ..Query::default() },
        Query { placement: Some("letter".to_owned()), ..Query::default() },
        Query { release: Some(9), ..Query::default() },
        Query { decision_ids: set(&decision_id), ..Query::default() },
    ];
    for query in queries {
        assert_eq!(compared(&scan_shadows(&reader(&files), &query)), [2 * DAY], "{query:?}");
    }
    // What a comparison does not have, none fulfils; and no decision is one of a shadow.
    let typed = Query { types: set("click"), ..Query::default() };
    assert_eq!(scan_shadows(&reader(&files), &typed), []);
    files.seal("s", 2, 5, &decisions([NOON]));
    let of_shadow = Query { shadow: Some("propensity_v8".to_owned()), ..Query::default() };
    assert_eq!(scan(&reader(&files), &of_shadow).unwrap(), []);
}

#[test]
fn kinds_that_are_not_wanted_are_not_looked_at() {
    let files = Files::new();
    files.seal("s", 1, 1, &of_all_kinds(NOON..NOON + 6));
    let log = files.log("s", 2, 7, &of_all_kinds(NOON + 6..NOON + 9));
    let all_files = reader(&files).with_opened(opened("s", &[log]));
    assert_eq!(positions(&all_files, None), (1..=9).collect::<Vec<_>>());
    let counted: &[Kind] = &[Kind::Decision, Kind::Outcome];
    assert_eq!(positions(&all_files, Some(counted)), [1, 2, 4, 5, 7, 8]);
    // Their sealed files may be damaged.
    let names = files.names().into_iter().filter(|name| name.starts_with("shadow/"));
    for name in names {
        fs::write(files.path(&name), "damaged").unwrap();
    }
    assert_eq!(positions(&all_files, Some(counted)), [1, 2, 4, 5, 7, 8]);
}

#[test]
fn what_is_left_of_an_erased_person_is_no_comparison() {
    let files = Files::new();
    let blanked = Record::from(shadow(NOON + 1)).blanked(1, vec![0; 90]);
    let records: [Record; 3] = [shadow(NOON).into(), blanked, shadow(NOON + 2).into()];
    files.seal("s", 1, 1, &records);
    let log = files.log("s", 2, 4, &records);
    let with_log = reader(&files).with_opened(opened("s", &[log]));
    assert_eq!(compared(&scan_shadows(&with_log, &Query::default())), [0, 0, 2, 2]);
    assert!(crate::verify::verify(files.store(), &[], &mut |_| {}).unwrap().problems.is_empty());
}
