//! Records of all kinds, log files and stores for tests.

mod compared;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use prost::Message;
use prost_types::Timestamp;
use tempfile::TempDir;
use uuid::{Builder, Uuid};

pub(crate) use self::compared::{any_shadow, shadow, shadows};
use crate::columns::Entry;
use crate::frame;
use crate::keys::KeyName;
use crate::kind::{EventRecord, Kind, Record};
use crate::log::{LogFile, OpenedLog};
use crate::proto::{
    Candidates, DecisionRecord, EncryptedValues, Event, FeatureValues, LogHeader, OutcomeRecord,
    RecordedAssignment, RecordedError, RecordedFactors, RecordedNewcomer, RecordedOffer, RecordedRefusal,
    RecordedReservation, RecordedSegment, RecordedTerms, SeenHistory, event,
};
use crate::seal::{Sealed, seal};
use crate::sealed::EventStore;
use crate::seen::{FullLimit, NamedKind, SeenEvent, SeenName, SeenPacker};

/// A day in microseconds.
pub(crate) const DAY: i64 = 86_400_000_000;
/// 2026-11-30T12:00:00Z.
pub(crate) const NOON: i64 = 1_796_040_000_000_000;

/// A UUIDv7 of a time in microseconds; each is another one.
pub(crate) fn id_at(micros: i64) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut random = [0; 10];
    random[2..].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    Builder::from_unix_timestamp_millis((micros / 1_000) as u64, &random).into_uuid().to_string()
}

/// A decision as a server records it.
pub(crate) fn decision(decided_at: i64) -> DecisionRecord {
    let offer = |id: &str, priority, factors: bool| RecordedOffer {
        offer_id: id.to_owned(),
        priority,
        fallback: !factors,
        selection_probability: 1.0,
        factors: factors.then(|| RecordedFactors {
            score: 0.25,
            propensity: 0.125,
            value: 80.0,
            lever: 1.0,
            model: "propensity".to_owned(),
            model_version: 3,
            ..RecordedFactors::default()
        }),
        ..RecordedOffer::default()
    };
    DecisionRecord {
        format: 1,
        decision_id: id_at(decided_at),
        decided_at,
        server: "server".to_owned(),
        server_version: "0.1.0".to_owned(),
        release: 7,
        request_id: "request".to_owned(),
        placement: "app_home".to_owned(),
        channel: "web".to_owned(),
        customer_id: format!("C{}", decided_at % 97),
        consents: vec!["profiling".to_owned()],
        count: 3,
        explain: 1,
        customer: Some(FeatureValues {
            sources: vec![2, 2, 3, 0, 1],
            floats: vec![0.1, 52_000.0],
            ints: vec![-3],
            ..FeatureValues::default()
        }),
        segment: Some(RecordedSegment { id: 4, distance: 0.5, margin: 0.25 }),
        candidates: Some(Candidates {
            stages: vec![0, 5, 8, 0],
            reasons: vec![0, 7, 12, 0],
            raw_scores: vec![0.25, f32::NAN],
            unscored: vec!["deadline".to_owned()],
        }),
        offers: vec![offer("travel_card", 10.0, true), offer("newsletter", 0.0, false)],
        degraded: vec!["no_features".to_owned()],
        call_us: 813,
        call_customers: 1,
        ..DecisionRecord::default()
    }
}

/// Decisions at times, in the order in which they were appended.
pub(crate) fn decisions(times: impl IntoIterator<Item = i64>) -> Vec<DecisionRecord> {
    times.into_iter().map(decision).collect()
}

/// An outcome as a server records it: a click on an offer that was shown an hour ago.
pub(crate) fn outcome(received_at: i64) -> OutcomeRecord {
    let decided_at = received_at.saturating_sub(3_600_000_000);
    OutcomeRecord {
        format: 1,
        event_id: format!("click-{}", id_at(received_at)),
        received_at,
        server: "server".to_owned(),
        server_version: "0.1.0".to_owned(),
        release: 7,
        decision_id: id_at(decided_at),
        placement: "app_home".to_owned(),
        channel: "web".to_owned(),
        customer_id: format!("C{}", received_at % 97),
        offer_id: "travel_card".to_owned(),
        r#type: "click".to_owned(),
        value: 2.5,
        occurred_at: received_at.saturating_sub(2_000_000),
        attributes: [("page", "home"), ("button", "more")]
            .map(|(name, text)| (name.to_owned(), text.to_owned()))
            .into(),
        attributed: true,
        decided_at,
        cost: 0.25,
        offer_value: 80.0,
        ..OutcomeRecord::default()
    }
}

/// Outcomes at times, in the order in which they were appended.
pub(crate) fn outcomes(times: impl IntoIterator<Item = i64>) -> Vec<OutcomeRecord> {
    times.into_iter().map(outcome).collect()
}

/// A record of each kind by turns, at times in the order in which they were appended.
pub(crate) fn of_all_kinds(times: impl IntoIterator<Item = i64>) -> Vec<Record> {
    let record = |(at, time): (usize, i64)| match Kind::ALL[at % Kind::ALL.len()] {
        Kind::Decision => decision(time).into(),
        Kind::Outcome => outcome(time).into(),
        Kind::Shadow => shadow(time).into(),
    };
    times.into_iter().enumerate().map(record).collect()
}

/// A decision and an outcome by turns, at times in the order in which they were appended.
pub(crate) fn mixed(times: impl IntoIterator<Item = i64>) -> Vec<Record> {
    let turns = times.into_iter().enumerate();
    turns.map(|(at, time)| if at % 2 == 0 { decision(time).into() } else { outcome(time).into() }).collect()
}

/// The bytes of a record, which tell apart what `==` does not: NaN from NaN, and 0 from -0.
pub(crate) fn bytes(record: &impl Message) -> Vec<u8> {
    record.encode_to_vec()
}

/// Entries of records that were appended from a position on.
pub(crate) fn entries_from<R: Clone + Into<Record>>(first: u64, records: &[R]) -> Vec<Entry> {
    let entry = |(record, position): (&R, u64)| {
        let record: Record = record.clone().into();
        Entry { position, recorded_at: record.filed_at().saturating_add(5_000), record }
    };
    records.iter().zip(first..).map(entry).collect()
}

/// The frame of an entry.
pub(crate) fn frame_of(entry: &Entry) -> Vec<u8> {
    let mut frame = Vec::new();
    frame::write(&entry.clone().into_event(), &mut frame);
    frame
}

/// Where events are recorded and sealed.
pub(crate) struct Files {
    root: TempDir,
    logs: TempDir,
    store: EventStore,
}

impl Files {
    pub(crate) fn new() -> Self {
        let (root, logs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let store = EventStore::open(root.path().to_str().unwrap(), None, []).unwrap();
        Self { root, logs, store }
    }

    /// The directory of the store.
    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    /// The directory of log files.
    pub(crate) fn logs(&self) -> &Path {
        self.logs.path()
    }

    pub(crate) fn store(&self) -> &EventStore {
        &self.store
    }

    /// Writes a log file whose first event has the position `first`.
    pub(crate) fn log<R: Clone + Into<Record>>(
        &self,
        server: &str,
        sequence: u64,
        first: u64,
        records: &[R],
    ) -> LogFile {
        self.log_with(server, sequence, first, records, &[])
    }

    /// As [`log`](Self::log), of a server that had these keys for pseudonyms.
    pub(crate) fn log_with<R: Clone + Into<Record>>(
        &self,
        server: &str,
        sequence: u64,
        first: u64,
        records: &[R],
        keys: &[KeyName],
    ) -> LogFile {
        let (of, version, keys) = (server.to_owned(), "0.1.0".to_owned(), KeyName::for_header(keys));
        let header = LogHeader { format: 1, server: of, sequence, version, keys };
        let entries = entries_from(first, records);
        let recorded_at = entries.first().map_or(0, |entry| entry.record.filed_at());
        let mut written = Vec::new();
        let header = Event { position: first, recorded_at, event: Some(event::Event::Header(header)) };
        frame::write(&header, &mut written);
        for entry in entries {
            frame::write(&entry.into_event(), &mut written);
        }
        let path = self.logs.path().join(format!("{server}-{sequence:08}.log"));
        fs::write(&path, &written).unwrap();
        let last = first + records.len() as u64 - 1;
        LogFile { path, sequence, first, last, bytes: written.len() as u64, recorded_at }
    }

    /// Writes a log file and seals it. The log file is still there.
    pub(crate) fn seal<R: Clone + Into<Record>>(
        &self,
        server: &str,
        sequence: u64,
        first: u64,
        records: &[R],
    ) -> Sealed {
        let log = self.log(server, sequence, first, records);
        seal(server, &log, &self.store).unwrap()
    }

    /// The files below `events/`, ascending.
    pub(crate) fn names(&self) -> Vec<String> {
        objects::files::list(&self.root.path().join("events")).unwrap().into_keys().collect()
    }

    /// The path of a file below `events/`.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join("events").join(name)
    }

    /// Changes a byte of a file below `events/`.
    pub(crate) fn change(&self, name: &str, at: usize) {
        let path = self.path(name);
        let mut bytes = fs::read(&path).unwrap();
        bytes[at] ^= 1;
        fs::write(path, bytes).unwrap();
    }
}

/// The log files of a server.
pub(crate) fn opened(server: &str, files: &[LogFile]) -> OpenedLog {
    OpenedLog { server: server.to_owned(), files: files.to_vec(), unread: Vec::new(), sealed: 0 }
}

/// What limits looked at, as a server packs it. Events have their kind, when they were, in milliseconds since 1970, and
/// whether they belong to the decision before.
pub(crate) fn seen(
    decided_at: i64,
    opted_out: bool,
    events: &[(NamedKind<'_>, i64, bool)],
    full: &[FullLimit<'_>],
) -> Option<SeenHistory> {
    let mut packer = SeenPacker::new(decided_at);
    if opted_out {
        packer.opted_out();
    }
    let mut kinds: Vec<NamedKind<'_>> = Vec::new();
    for (kind, at, same_decision) in events {
        let known = kinds.iter().position(|known| known == kind).unwrap_or_else(|| {
            kinds.push(*kind);
            packer.kind(*kind)
        });
        packer.event(SeenEvent { at: *at, kind: known, same_decision: *same_decision });
    }
    for limit in full {
        packer.full(*limit);
    }
    packer.finish()
}

/// A name of three, none, or any.
fn seen_name() -> impl Strategy<Value = SeenName<'static>> {
    let names = ["gold", "app_home", "decision"].map(SeenName::Is);
    prop::sample::select([&names[..], &[SeenName::Nothing, SeenName::Any]].concat())
}

/// Any record: fields of all kinds, set or not, with texts and numbers that no server would write.
#[expect(clippy::too_many_lines, reason = "a line per field")]
pub(crate) fn any_record() -> impl Strategy<Value = DecisionRecord> {
    let text = || prop_oneof![Just(String::new()), "[a-c]{1,2}", ".{0,12}"];
    let texts = move || prop::collection::vec(text(), 0..3);
    let number = || prop_oneof![Just(0.0), Just(-0.0), Just(f64::NAN), Just(f64::INFINITY), any::<f64>()];
    let values = move || {
        let bytes = || prop::collection::vec(any::<u8>(), 0..4);
        let encrypted = (text(), bytes(), bytes()).prop_map(|(key, nonce, ciphertext)| EncryptedValues {
            key,
            nonce,
            ciphertext,
        });
        let lists = (prop::collection::vec(any::<f32>(), 0..3), prop::collection::vec(any::<i64>(), 0..3));
        (bytes(), lists, bytes(), texts(), prop::option::of(encrypted)).prop_map(
            |(sources, (floats, ints), bools, strings, encrypted)| FeatureValues {
                sources,
                floats,
                ints,
                bools,
                strings,
                encrypted,
            },
        )
    };
    let factors = (number(), number(), number(), text(), any::<u64>()).prop_map(
        |(score, propensity, margin, model, model_version)| RecordedFactors {
            score,
            propensity,
            margin,
            model,
            model_version,
            ..RecordedFactors::default()
        },
    );
    let terms = (number(), number()).prop_map(|(cost, value)| RecordedTerms { cost, value });
    let reservation =
        || (text(), any::<u64>()).prop_map(|(outcome, lapses_in)| RecordedReservation { outcome, lapses_in });
    let reserved =
        (prop::option::of(terms), prop::option::of(reservation()), prop::option::of(reservation()));
    let marks = (any::<bool>(), any::<bool>(), any::<bool>());
    let offer = (text(), number(), marks, number(), prop::option::of(factors), reserved).prop_map(
        |(offer_id, priority, marks, selection_probability, factors, (terms, cap_total, budget))| {
            let (fallback, conditional, mandatory) = marks;
            RecordedOffer {
                offer_id,
                priority,
                fallback,
                selection_probability,
                factors,
                terms,
                cap_total,
                budget,
                conditional,
                mandatory,
            }
        },
    );
    let assignment = (text(), text(), any::<u32>(), any::<u64>())
        .prop_map(|(experiment, variant, how, phase)| RecordedAssignment { experiment, variant, how, phase });
    let newcomer =
        (text(), any::<u64>()).prop_map(|(offer_id, impressions)| RecordedNewcomer { offer_id, impressions });
    let arms =
        (prop::collection::vec(assignment, 0..3), any::<bool>(), prop::collection::vec(newcomer, 0..3));
    let refusal = (any::<u32>(), any::<bool>(), text(), any::<u32>(), text(), any::<i64>()).prop_map(
        |(round, fallback, offer_id, reason, limit, frees_in)| RecordedRefusal {
            round,
            fallback,
            offer_id,
            reason,
            limit,
            frees_in,
        },
    );
    let segment = (prop_oneof![Just(0), any::<i64>()], number(), number())
        .prop_map(|(id, distance, margin)| RecordedSegment { id, distance, margin });
    let candidates =
        (prop::collection::vec(any::<u8>(), 0..4), prop::collection::vec(any::<f32>(), 0..4), texts())
            .prop_map(|(stages, raw_scores, unscored)| Candidates {
                reasons: stages.clone(),
                stages,
                raw_scores,
                unscored,
            });
    let error =
        (0_u32..3, text(), text()).prop_map(|(code, message, field)| RecordedError { code, message, field });
    let kind = (seen_name(), seen_name(), seen_name(), seen_name(), any::<bool>()).prop_map(
        |(offer, placement, channel, event_type, many)| NamedKind {
            offer,
            placement,
            channel,
            event_type,
            many,
        },
    );
    let full = (seen_name(), any::<bool>(), prop::option::of(1..DAY));
    let looked_at = (
        any::<bool>(),
        prop::collection::vec((kind, 0..DAY, any::<bool>()), 0..4),
        prop::collection::vec(full, 0..3),
    );
    let as_of = (any::<i64>(), any::<i32>()).prop_map(|(seconds, nanos)| Timestamp { seconds, nanos });
    let time = prop_oneof![8 => NOON - DAY..NOON + DAY, 1 => any::<i64>()];
    let id = prop_oneof![4 => any::<u128>().prop_map(|id| Uuid::from_u128(id).to_string()), 1 => text()];
    let head = (id, time, any::<u64>(), text(), text(), text(), text(), text());
    let lists = (texts(), texts(), texts(), texts());
    let numbers = (any::<u32>(), 0_u32..3, any::<u32>(), any::<u32>(), any::<u64>(), any::<bool>());
    let parts = (
        prop::option::of(values()),
        prop::option::of(values()),
        prop::option::of(segment),
        prop::option::of(candidates),
        prop::collection::vec(offer, 0..4),
        texts(),
        prop::option::of(error),
        prop::option::of(as_of),
        (looked_at, prop::collection::vec(refusal, 0..3), text(), arms),
    );
    (head, lists, numbers, parts).prop_map(|(head, lists, numbers, parts)| {
        let (decision_id, decided_at, release, request_id, placement, channel, customer_id, pseudonym_key) =
            head;
        let (consents, candidate_offer_ids, exclude_offer_ids, ignored) = lists;
        let (count, explain, call_us, call_customers, asked_release, unknown_customer) = numbers;
        let (customer, context, segment, candidates, offers, degraded, error, as_of, limited) = parts;
        let ((opted_out, mut events, full), refusals, default_channel, arms) = limited;
        let (assignments, held_out, newcomers) = arms;
        let decided_in_millis = decided_at.div_euclid(1_000);
        let mut at = decided_in_millis - DAY;
        for (_, since, _) in &mut events {
            at += *since;
            *since = at;
        }
        let full: Vec<FullLimit<'_>> = full
            .into_iter()
            .map(|(offer, is_budget, frees_in)| FullLimit {
                offer,
                is_budget,
                frees_at: frees_in.map(|length| decided_in_millis + length),
            })
            .collect();
        DecisionRecord {
            format: 1,
            decision_id,
            decided_at,
            server: "server".to_owned(),
            server_version: String::new(),
            release,
            request_id,
            placement,
            channel,
            customer_id,
            pseudonym_key,
            consents,
            count,
            explain,
            candidate_offer_ids,
            exclude_offer_ids,
            asked_release,
            as_of,
            ignored,
            default_channel,
            customer,
            context,
            unknown_customer,
            segment,
            history: seen(decided_at, opted_out, &events, &full),
            assignments,
            held_out,
            newcomers,
            candidates,
            offers,
            degraded,
            error,
            refusals,
            call_us,
            call_customers,
            ..DecisionRecord::default()
        }
    })
}

/// Any outcome: with texts and numbers that no server would write.
pub(crate) fn any_outcome() -> impl Strategy<Value = OutcomeRecord> {
    let text = || prop_oneof![Just(String::new()), "[a-c]{1,2}", ".{0,12}"];
    let number = || prop_oneof![Just(0.0), Just(f64::NAN), Just(f64::INFINITY), any::<f64>()];
    let time = || prop_oneof![8 => NOON - DAY..NOON + DAY, 1 => Just(0), 1 => any::<i64>()];
    let id = || prop_oneof![4 => any::<u128>().prop_map(|id| Uuid::from_u128(id).to_string()), 1 => text()];
    let ids = (id(), id(), text(), text(), text(), text(), text(), text());
    let times = (time(), time(), time());
    let rest = (
        any::<u64>(),
        [number(), number(), number()],
        any::<bool>(),
        any::<bool>(),
        prop::collection::btree_map(text(), text(), 0..4),
    );
    (ids, times, rest).prop_map(|(ids, times, rest)| {
        let (event_id, decision_id, placement, channel, customer_id, pseudonym_key, offer_id, r#type) = ids;
        let (received_at, occurred_at, decided_at) = times;
        let (release, [value, cost, offer_value], attributed, late, attributes) = rest;
        OutcomeRecord {
            format: 1,
            event_id,
            received_at,
            server: "server".to_owned(),
            server_version: String::new(),
            release,
            decision_id,
            placement,
            channel,
            customer_id,
            pseudonym_key,
            offer_id,
            r#type,
            value,
            occurred_at,
            attributes,
            attributed,
            late,
            decided_at,
            cost,
            offer_value,
            erased: Vec::new(),
        }
    })
}

/// Any record of any kind.
pub(crate) fn any_event() -> impl Strategy<Value = Record> {
    prop_oneof![
        any_record().prop_map(Record::from),
        any_outcome().prop_map(Record::from),
        any_shadow().prop_map(Record::from),
    ]
}
