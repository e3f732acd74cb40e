//! Erasing from whole stores and data directories: nothing of the person is in any byte afterwards, and everything
//! else is what it was.

mod bucket;
mod crashes;
mod fingerprints;
mod fuzz_decoders;
mod kinds;
mod missed;
mod outcomes;
mod races;

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use chrono::{DateTime, TimeDelta, Utc};
use prost::Message;
use tempfile::TempDir;

use super::*;
use crate::config::{EventConfig, SyncPolicy, WhenFull};
use crate::event_log::{EventLog, LogOptions};
use crate::keys::tests::keys;
use crate::keys::{KeyName, Keys};
use crate::kind::Record;
use crate::log::open_read_only;
use crate::privacy::{Pseudonym, PseudonymMode, Pseudonyms, Subject};
use crate::proto::DecisionRecord;
use crate::read::{EventReader, Query};
use crate::recorder::{IntoEvents, Recorder};
use crate::seal::seal_and_delete;
use crate::sealed::EventStore;
use crate::sealed::testing::{DAY, NOON, decision};
use crate::verify::verify;

/// The person who is erased, and another.
const ANNA: &str = "C-anna-4711";
const BERT: &str = "C-bert-0815";

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp_micros(NOON).unwrap()
}

/// Pseudonyms by no key, by an old one, and by a new one beside the old one.
fn generations() -> [Pseudonyms; 3] {
    let both = [("old-key", 1, "pseudonyms", false), ("new-key", 2, "pseudonyms", true)];
    let of = |mode, listed: &[(&str, u8, &str, bool)]| Pseudonyms::new(mode, &keys(listed)).unwrap();
    [
        of(PseudonymMode::None, &both),
        of(PseudonymMode::HmacSha256, &[("old-key", 1, "pseudonyms", true)]),
        of(PseudonymMode::HmacSha256, &both),
    ]
}

/// Without any key.
fn plain() -> Pseudonyms {
    Pseudonyms::new(PseudonymMode::None, &Keys::default()).unwrap()
}

/// A record about a customer.
fn record(pseudonyms: &Pseudonyms, id: &str, decided_at: i64) -> DecisionRecord {
    let Pseudonym { key, text } = pseudonyms.of(id);
    DecisionRecord { customer_id: text, pseudonym_key: key, ..decision(decided_at) }
}

/// Records of both and of an unknown visitor, on two days.
fn records(pseudonyms: &Pseudonyms) -> Vec<DecisionRecord> {
    let mut all = Vec::new();
    for at in 0..6 {
        let time = NOON + at * 1_000_000;
        for id in [BERT, ANNA, "", ANNA] {
            all.push(record(pseudonyms, id, time + DAY * (at % 2)));
        }
    }
    all
}

/// Hands records to the log.
struct Batch(Vec<DecisionRecord>);

impl IntoEvents for Batch {
    fn events(self: Box<Self>, emit: &mut dyn FnMut(Record)) {
        self.0.into_iter().for_each(|record| emit(record.into()));
    }

    fn count(&self) -> usize {
        self.0.len()
    }
}

/// A store and data directories of servers.
struct World {
    root: Root,
    events: EventStore,
    store: ErasureStore,
}

/// A server polls, and has nothing in memory.
fn poll(server: &ServerErasures, log: &dyn ServerLog) -> Polled {
    server.poll(log, &mut |_| Ok(()), now()).unwrap()
}

/// A directory that goes with the test, or stays for the next process.
enum Root {
    Own(TempDir),
    Given(PathBuf),
}

impl World {
    fn new() -> Self {
        Self::in_root(Root::Own(tempfile::tempdir().unwrap()))
    }

    fn at(path: &Path) -> Self {
        Self::in_root(Root::Given(path.to_owned()))
    }

    fn in_root(root: Root) -> Self {
        let path = match &root {
            Root::Own(own) => own.path().to_owned(),
            Root::Given(path) => path.clone(),
        };
        fs::create_dir_all(path.join("store")).unwrap();
        let location = path.join("store");
        let location = location.to_str().unwrap();
        let events = EventStore::open(location, None, []).unwrap();
        Self { root, events, store: ErasureStore::open(location, []).unwrap() }
    }

    /// With a store in a bucket.
    fn in_bucket(location: &str, variables: Vec<(String, String)>) -> Self {
        let root = tempfile::tempdir().unwrap();
        let scratch = root.path().join("scratch");
        let events = EventStore::open(location, Some(&scratch), variables.clone()).unwrap();
        Self { root: Root::Own(root), events, store: ErasureStore::open(location, variables).unwrap() }
    }

    fn path(&self) -> &Path {
        match &self.root {
            Root::Own(own) => own.path(),
            Root::Given(path) => path,
        }
    }

    fn data(&self, server: &str) -> PathBuf {
        self.path().join(server)
    }

    /// Starts a server's log, and leaves a heartbeat.
    fn start(&self, server: &str) -> EventLog {
        self.start_with(server, Vec::new())
    }

    /// As [`start`](Self::start), of a server with these keys for pseudonyms.
    fn start_with(&self, server: &str, keys: Vec<KeyName>) -> EventLog {
        let config = EventConfig {
            directory: self.data(server),
            record: true,
            queue: 4 << 20,
            when_full: WhenFull::Refuse,
            sync: SyncPolicy::Interval,
            interval: Duration::from_millis(1),
            log_limit: 1 << 30,
            log_file: 1 << 20,
            log_age: Duration::from_hours(1),
            keep: Duration::from_hours(24 * 400),
        };
        let options = LogOptions { keys, store: Some(&self.events) };
        let (log, _) = EventLog::start_with(&config, "1.2.3", &Arc::default(), options).unwrap();
        self.beat(&log, now());
        log
    }

    fn beat(&self, log: &EventLog, now: DateTime<Utc>) {
        let unsealed = log.files().len() as u64;
        let heartbeat = Heartbeat::new(log.server(), "1.2.3", now, unsealed);
        Heartbeats::new(self.store.clone()).beat(&heartbeat).unwrap();
    }

    fn eraser(&self) -> Eraser {
        Eraser::new(self.store.clone(), self.events.clone(), TimeDelta::seconds(30))
    }

    /// Erases Anna. Servers poll whenever they are waited for.
    fn erase(&self, pseudonyms: &Pseudonyms, servers: &[(ServerErasures, &EventLog)]) -> Outcome {
        self.erase_waiting(ANNA, pseudonyms, &mut |awaited: &Awaited| {
            assert!(!awaited.servers.is_empty());
            for (server, log) in servers {
                assert!(poll(server, &LiveLog::of(log)).refused.is_empty());
            }
            Patience::Wait
        })
        .unwrap()
    }

    fn erase_waiting(
        &self,
        id: &str,
        pseudonyms: &Pseudonyms,
        wait: &mut dyn FnMut(&Awaited) -> Patience,
    ) -> Result<Outcome, ErasureError> {
        let (eraser, subject) = (self.eraser(), Subject::new(id, pseudonyms).unwrap());
        let marked = eraser.mark(&subject, "desk", now())?;
        eraser.finish(&subject, &marked, &now, wait, &mut |_, _| {})
    }

    fn server(&self, pseudonyms: &Pseudonyms) -> ServerErasures {
        ServerErasures::new(self.store.clone(), pseudonyms.clone(), "1.2.3")
    }

    /// All that can be read, by decision.
    fn decisions(&self) -> BTreeMap<String, Vec<u8>> {
        let mut reader = EventReader::new(self.events.clone());
        for data in self.data_directories() {
            reader = reader.with_opened(open_read_only(&data).unwrap());
        }
        let mut found = BTreeMap::new();
        reader
            .scan(&Query::default(), &mut |record| {
                found.insert(record.decision_id.clone(), record.encode_to_vec());
                ControlFlow::Continue(())
            })
            .unwrap();
        found
    }

    fn data_directories(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path()).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.join("server-id").exists()).collect()
    }

    /// Nothing is damaged or missing, and so many events are there.
    fn verify(&self, events: u64) {
        let logs: Vec<_> = self.data_directories().iter().map(|data| open_read_only(data).unwrap()).collect();
        let found = verify(&self.events, &logs, &mut |_| {}).unwrap();
        assert_eq!((found.problems, found.events), (Vec::new(), events));
    }

    /// The files, and the values of Parquet files, that hold any of `names`.
    fn holding(&self, names: &[String]) -> Vec<String> {
        Self::holding_in(self.path(), names)
    }

    fn holding_in(root: &Path, names: &[String]) -> Vec<String> {
        let mut found = Vec::new();
        for name in objects::files::list(root).unwrap().into_keys() {
            let path = root.join(&name);
            let mut bytes = fs::read(&path).unwrap();
            if name.ends_with(".parquet") {
                bytes.extend(values(&path));
            }
            bytes.extend(name.as_bytes());
            let has = |text: &String| bytes.windows(text.len()).any(|window| window == text.as_bytes());
            if names.iter().any(has) {
                found.push(name);
            }
        }
        found
    }
}

/// All values of a Parquet file, unpacked: texts and bytes as they are.
fn values(path: &Path) -> Vec<u8> {
    let file = fs::File::open(path).unwrap();
    let mut found = Vec::new();
    for batch in ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap() {
        for column in batch.unwrap().columns() {
            let data = column.to_data();
            let children = data.child_data().iter().flat_map(|child| child.buffers().to_vec());
            for buffer in data.buffers().iter().cloned().chain(children) {
                found.extend_from_slice(buffer.as_slice());
                // The end of one is not the beginning of the next.
                found.push(0);
            }
        }
    }
    found
}

/// The id and the pseudonym under every key.
fn names_of(id: &str) -> Vec<String> {
    let [_, _, both] = generations();
    let names = both.all(id);
    assert_eq!(names.len(), 3);
    names.into_iter().map(|name| name.text).collect()
}

fn push(log: &EventLog, records: &[DecisionRecord]) {
    push_to(&log.recorder(), records);
}

fn push_to(recorder: &Recorder, records: &[DecisionRecord]) {
    let reserved = recorder.try_reserve(64 << 10).unwrap();
    drop(recorder.record(reserved, Box::new(Batch(records.to_vec()))));
}

/// Records are written, and their file is closed.
fn close(log: &EventLog) {
    log.recorder().close_file(Duration::from_mins(1)).unwrap();
}

fn seal_all(world: &World, log: &EventLog) {
    for file in log.closed_files() {
        seal_and_delete(&file, &log.log_files(), &world.events).unwrap();
    }
}

/// A server with sealed files, a closed file, and records that are not in a closed file yet.
fn fill(world: &World, log: &EventLog, pseudonyms: &[Pseudonyms]) -> u64 {
    let mut events = 0;
    for (stage, pseudonyms) in (0..3).flat_map(|stage| pseudonyms.iter().map(move |one| (stage, one))) {
        let records = records(pseudonyms);
        push(log, &records);
        events += records.len() as u64;
        if stage < 2 {
            close(log);
        }
        if stage < 1 {
            seal_all(world, log);
        }
    }
    events
}

#[test]
fn nothing_of_the_person_is_left_in_any_byte_and_others_are_as_they_were() {
    let all = generations();
    for (recorded, known) in [(&all[..], &all[2]), (&[plain()][..], &plain())] {
        let world = World::new();
        let log = world.start("one");
        let events = fill(&world, &log, recorded);
        close(&log);
        let before = world.decisions();
        assert_eq!(before.len() as u64, events);
        assert!(world.holding(&[ANNA.to_owned()]).len() > 2);
        let more = records(&recorded[0]);
        push(&log, &more);
        let outcome = world.erase(known, &[(world.server(known), &log)]);
        assert!(outcome.is_complete(), "{outcome}");
        let anna = |record: &DecisionRecord| Subject::new(ANNA, known).unwrap().is_of(record);
        let in_logs: u64 = outcome.acknowledged.iter().map(|done| done.records).sum();
        let meant = before.values().filter(|bytes| anna(&DecisionRecord::decode(&***bytes).unwrap())).count();
        assert_eq!(
            in_logs + outcome.records,
            meant as u64 + more.iter().filter(|one| anna(one)).count() as u64
        );
        assert!(in_logs > 0 && outcome.records > 0 && outcome.replaced > 0);
        let names = names_of(ANNA);
        assert_eq!(world.holding(&names), Vec::<String>::new());
        // Everybody else is what they were, to the byte.
        let after = world.decisions();
        let of_others = before.iter().filter(|(_, bytes)| !anna(&DecisionRecord::decode(&***bytes).unwrap()));
        for (id, bytes) in of_others {
            assert_eq!(after.get(id), Some(bytes));
        }
        assert!(after.values().all(|bytes| !anna(&DecisionRecord::decode(&**bytes).unwrap())));
        assert!(!world.holding(&names_of(BERT)).is_empty());
        let events = events + more.len() as u64;
        world.verify(events);
        // What is left in the log is sealed as anything else.
        seal_all(&world, &log);
        world.verify(events);
        assert_eq!(world.holding(&names), Vec::<String>::new());
        assert_eq!(world.decisions(), after);
    }
}

#[test]
fn a_server_forgets_in_memory_and_records_what_comes_later() {
    let [_, _, known] = generations();
    let world = World::new();
    let log = world.start("one");
    fill(&world, &log, std::slice::from_ref(&known));
    let server = world.server(&known);
    let mut memory = vec![BERT.to_owned(), ANNA.to_owned(), "C-carl".to_owned()];
    let mut wait = |_: &Awaited| {
        let mut forget = |erased: &Erased| {
            memory.retain(|id| !erased.has_customer(id));
            Ok(())
        };
        let done = server.poll(&LiveLog::of(&log), &mut forget, now()).unwrap();
        assert_eq!(done.acknowledged.len(), 1);
        Patience::Wait
    };
    let outcome = world.erase_waiting(ANNA, &known, &mut wait).unwrap();
    assert!(outcome.is_complete());
    assert_eq!(memory, [BERT, "C-carl"]);
    // They come back, and are a customer as any other.
    push(&log, &[record(&known, ANNA, NOON + 5 * DAY)]);
    close(&log);
    let later = server.poll(&LiveLog::of(&log), &mut |_| panic!("nothing is new"), now()).unwrap();
    assert!(later.acknowledged.is_empty() && later.refused.is_empty());
    seal_all(&world, &log);
    assert_eq!(world.holding(&[known.of(ANNA).text]).len(), 1);
    // A second request is another erasure.
    let again = world.erase(&known, &[(world.server(&known), &log)]);
    assert_ne!(again.id, outcome.id);
    assert_eq!((again.records, world.holding(&names_of(ANNA))), (1, Vec::new()));
}

#[test]
fn sealed_files_keep_their_names_and_a_log_that_was_sealed_before_agrees_again() {
    let known = plain();
    let world = World::new();
    let log = world.start("one");
    push(&log, &records(&known));
    close(&log);
    // Killed between sealing and deleting.
    let file = log.closed_files().remove(0);
    let sealed = crate::seal::seal(log.server(), &file, &world.events).unwrap();
    assert_eq!(sealed.files.len(), 2);
    let names =
        || objects::files::list(&world.path().join("store/events")).unwrap().into_keys().collect::<Vec<_>>();
    let before = names();
    let outcome = world.erase(&known, &[(world.server(&known), &log)]);
    assert_eq!((outcome.replaced, outcome.searched, outcome.records), (2, 2, 12));
    assert_eq!(names(), before);
    world.verify(24);
    // It is sealed again, finds what it has, and the log can go.
    let again = seal_and_delete(&file, &log.log_files(), &world.events).unwrap();
    assert!(again.files.iter().all(|part| !part.is_new));
    world.verify(24);
}
