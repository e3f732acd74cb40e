//! Records of other kinds are erased as decisions are: from logs, and from sealed files.

use super::*;
use crate::columns::Entry;
use crate::kind::Kind;
use crate::proto::{OutcomeRecord, ShadowRecord};
use crate::sealed::testing::{frame_of, outcome, shadow};

/// Hands records of any kind to the log.
struct Mixed(Vec<Record>);

impl IntoEvents for Mixed {
    fn events(self: Box<Self>, emit: &mut dyn FnMut(Record)) {
        self.0.into_iter().for_each(emit);
    }

    fn count(&self) -> usize {
        self.0.len()
    }
}

/// Decisions, outcomes and comparisons with a shadow of both and of an unknown visitor, on two days.
fn mixed(pseudonyms: &Pseudonyms) -> Vec<Record> {
    let decisions = records(pseudonyms).into_iter();
    let all = decisions.map(|decision| {
        let outcome = OutcomeRecord {
            customer_id: decision.customer_id.clone(),
            pseudonym_key: decision.pseudonym_key.clone(),
            attributes: [("note".to_owned(), decision.customer_id.clone())].into(),
            ..outcome(decision.decided_at + 1)
        };
        let shadow = ShadowRecord {
            customer_id: decision.customer_id.clone(),
            pseudonym_key: decision.pseudonym_key.clone(),
            error: format!("no features of {}", decision.customer_id),
            ..shadow(decision.decided_at + 2)
        };
        [decision.into(), outcome.into(), shadow.into()]
    });
    all.flatten().collect()
}

fn push_mixed(log: &EventLog, records: &[Record]) {
    let recorder = log.recorder();
    let reserved = recorder.try_reserve(64 << 10).unwrap();
    drop(recorder.record(reserved, Box::new(Mixed(records.to_vec()))));
}

/// All that can be read, by kind and position.
fn events(world: &World) -> BTreeMap<(Kind, u64), Entry> {
    let mut reader = EventReader::new(world.events.clone());
    for data in world.data_directories() {
        reader = reader.with_opened(open_read_only(&data).unwrap());
    }
    let mut found = BTreeMap::new();
    for kind in Kind::ALL {
        reader
            .scan_entries(kind, &Query::default(), &mut |entry| {
                found.insert((kind, entry.position), entry);
                ControlFlow::Continue(())
            })
            .unwrap();
    }
    found
}

#[test]
fn nothing_of_the_person_is_left_in_files_of_any_kind() {
    let all = generations();
    let known = &all[2];
    let world = World::new();
    let log = world.start("one");
    let mut count = 0;
    for (stage, pseudonyms) in (0..3).flat_map(|stage| all.iter().map(move |one| (stage, one))) {
        let records = mixed(pseudonyms);
        count += records.len() as u64;
        push_mixed(&log, &records);
        close(&log);
        if stage < 1 {
            seal_all(&world, &log);
        }
    }
    let before = events(&world);
    assert_eq!(before.len() as u64, count);
    let subject = Subject::new(ANNA, known).unwrap();
    let meant =
        |kind| before.iter().filter(|(at, entry)| at.0 == kind && subject.is_of(&entry.record)).count();
    assert!(Kind::ALL.iter().all(|kind| meant(*kind) == meant(Kind::Decision)));
    let outcome = world.erase(known, &[(world.server(known), &log)]);
    assert!(outcome.is_complete(), "{outcome}");
    let in_logs: u64 = outcome.acknowledged.iter().map(|done| done.records).sum();
    assert_eq!(in_logs + outcome.records, Kind::ALL.iter().map(|kind| meant(*kind) as u64).sum::<u64>());
    assert!(in_logs > 0 && outcome.records > 0);
    let names = names_of(ANNA);
    assert_eq!(world.holding(&names), Vec::<String>::new());
    // Everybody else is what they were.
    let others = before.values().filter(|entry| !subject.is_of(&entry.record));
    let others: Vec<_> = others.map(frame_of).collect();
    assert_eq!(events(&world).values().map(frame_of).collect::<Vec<_>>(), others);
    world.verify(count);
    // What is left in the log is sealed as anything else.
    seal_all(&world, &log);
    world.verify(count);
    assert_eq!(world.holding(&names), Vec::<String>::new());
}

#[test]
fn comparisons_that_wait_behind_everything_else_are_erased_with_the_log() {
    let world = World::new();
    let log = world.start("one");
    let subject = Subject::new(ANNA, &plain()).unwrap();
    Erasures::new(world.store.clone()).add(&Marker::new(&subject, "desk", now()).unwrap()).unwrap();
    let of = |id: &str, at| ShadowRecord { customer_id: id.to_owned(), ..shadow(NOON + at) };
    let (mut of_anna, mut of_bert) = (0, 0);
    // The last comparisons before she is forgotten: more than the log takes at once.
    let mut forget = |_: &Erased| {
        for at in 0..150 {
            of_anna += log.recorder().record_shadows(vec![of(ANNA, 2 * at)]) as u64;
            of_bert += log.recorder().record_shadows(vec![of(BERT, 2 * at + 1)]) as u64;
        }
        Ok(())
    };
    let polled = world.server(&plain()).poll(&LiveLog::of(&log), &mut forget, now()).unwrap();
    assert!(of_anna > 100 && of_bert > 100, "{of_anna} {of_bert}");
    assert_eq!(polled.acknowledged[0].1.records, of_anna);
    assert_eq!(world.holding(&[ANNA.to_owned()]), Vec::<String>::new());
    // Nor does anything of her come later, and all others are there.
    assert_eq!(log.close(Duration::from_mins(1)).lost, 0);
    assert_eq!(world.holding(&[ANNA.to_owned()]), Vec::<String>::new());
    world.verify(of_anna + of_bert);
}
