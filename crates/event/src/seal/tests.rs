mod golden;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use telemetry::Metrics;

use super::sealer::Round;
use super::*;
use crate::columns::Entry;
use crate::disk::LocalDisk;
use crate::frame;
use crate::kind::{EventRecord, Kind, Record};
use crate::log::{LogFiles, take_over};
use crate::proto::{EncryptedValues, Event, LogHeader, event};
use crate::read::{EventReader, Query};
use crate::sealed::date_of;
use crate::sealed::testing::{
    DAY, Files, NOON, any_event, decisions, entries_from, frame_of, mixed, outcomes,
};

/// The log files as a running server has them.
fn running(files: &Files, server: &str, closed: Vec<LogFile>) -> LogFiles {
    let deleted = crate::log::files::Deleted::default();
    LogFiles::new(Arc::new(LocalDisk), files.logs().to_owned(), server.to_owned(), closed, deleted)
}

fn read_all(files: &Files) -> Vec<Entry> {
    let mut found = Vec::new();
    let reader = EventReader::new(files.store().clone());
    for kind in Kind::ALL {
        reader
            .scan_entries(kind, &Query::default(), &mut |entry| {
                found.push(entry);
                std::ops::ControlFlow::Continue(())
            })
            .unwrap();
    }
    found
}

fn contents(files: &Files) -> Vec<(String, Vec<u8>)> {
    files.names().into_iter().map(|name| (name.clone(), fs::read(files.path(&name)).unwrap())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_in_a_log_is_in_its_sealed_files(records in prop::collection::vec(any_event(), 1..20)) {
        let files = Files::new();
        let sealed = files.seal("s", 4, 1_000, &records);
        prop_assert_eq!(sealed.events(), records.len() as u64);
        let mut expected = entries_from(1_000, &records);
        expected.sort_by_key(|entry| (entry.record.kind(), entry.record.filed_at(), entry.position));
        let found = read_all(&files);
        prop_assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            prop_assert_eq!(frame_of(found), frame_of(expected));
        }
        let days: Vec<_> = sealed.files.iter().map(|file| (file.key.kind, file.key.date)).collect();
        let mut all: Vec<_> =
            records.iter().map(|record| (record.kind(), date_of(record.filed_at()))).collect();
        all.sort();
        all.dedup();
        prop_assert_eq!(days, all);
    }
}

#[test]
fn a_log_becomes_a_file_per_date_and_is_deleted() {
    let files = Files::new();
    let midnight = NOON + DAY / 2;
    // Not in the order of their times, as calls take different times.
    let log = files.log("s-1", 2, 10, &decisions([midnight - 2, midnight, midnight - 1, midnight + 5]));
    let logs = running(&files, "s-1", vec![log.clone()]);
    let sealed = seal_and_delete(&log, &logs, files.store()).unwrap();
    let names =
        ["decision/date=2026-11-30/s-1-00000002.parquet", "decision/date=2026-12-01/s-1-00000002.parquet"];
    assert_eq!(files.names(), names);
    let parts: Vec<(u64, bool)> = sealed.files.iter().map(|part| (part.events, part.is_new)).collect();
    assert_eq!(parts, [(2, true), (2, true)]);
    assert!(!log.path.exists());
    assert!(logs.closed().is_empty());
    let positions: Vec<u64> = read_all(&files).iter().map(|entry| entry.position).collect();
    assert_eq!(positions, [10, 12, 11, 13]);
    // Nothing is left behind.
    assert_eq!(fs::read_dir(files.root().join(".staging")).unwrap().count(), 0);
    // A repetition finds nothing to do.
    assert_eq!(seal_and_delete(&log, &logs, files.store()).unwrap(), Sealed::default());
    assert_eq!(files.names(), names);
}

#[test]
fn a_log_of_both_kinds_becomes_files_of_both() {
    let files = Files::new();
    let midnight = NOON + DAY / 2;
    let log =
        files.log("s-1", 2, 10, &mixed([midnight - 2, midnight - 1, midnight, midnight + 1, midnight + 2]));
    let logs = running(&files, "s-1", vec![log.clone()]);
    let sealed = seal_and_delete(&log, &logs, files.store()).unwrap();
    let names = [
        "decision/date=2026-11-30/s-1-00000002.parquet",
        "decision/date=2026-12-01/s-1-00000002.parquet",
        "outcome/date=2026-11-30/s-1-00000002.parquet",
        "outcome/date=2026-12-01/s-1-00000002.parquet",
    ];
    assert_eq!(files.names(), names);
    assert_eq!(sealed.files.iter().map(|part| part.events).collect::<Vec<_>>(), [1, 2, 1, 1]);
    assert!(!log.path.exists() && logs.closed().is_empty());
    // A log of outcomes alone.
    files.seal("s-1", 3, 15, &outcomes([midnight + 3]));
    assert_eq!(files.names().last().unwrap(), "outcome/date=2026-12-01/s-1-00000003.parquet");
    assert_eq!(files.names().len(), 5);
    let verified = crate::verify::verify(files.store(), &[], &mut |_| {}).unwrap();
    assert_eq!((verified.problems, verified.events), (Vec::new(), 6));
}

#[test]
fn a_kill_at_any_step_and_a_repetition_end_alike() {
    let midnight = NOON + DAY / 2;
    let records = mixed([midnight - 1, midnight - 1, midnight, midnight]);
    let whole = {
        let files = Files::new();
        files.seal("s", 1, 1, &records);
        contents(&files)
    };
    for steps in 0..6 {
        let files = Files::new();
        let log = files.log("s", 1, 1, &records);
        match steps {
            // Killed at `seal.staged`.
            0 => {
                let staged = files.store().stage().unwrap();
                fs::write(staged.path().join("events.parquet"), "half of it").unwrap();
                std::mem::forget(staged);
            }
            // At `seal.placed` of the first file, of the others, and before the log was gone.
            placed => {
                seal("s", &log, files.store()).unwrap();
                for name in files.names().into_iter().skip(placed) {
                    fs::remove_file(files.path(&name)).unwrap();
                }
            }
        }
        let logs = running(&files, "s", vec![log.clone()]);
        let sealed = seal_and_delete(&log, &logs, files.store()).unwrap();
        let new = sealed.files.iter().filter(|part| part.is_new).count();
        assert_eq!(new, 4_usize.saturating_sub(steps), "{steps}");
        assert_eq!(contents(&files), whole, "{steps}");
        assert!(!log.path.exists());
    }
}

#[test]
fn what_cannot_be_compressed_grows_little() {
    let mut state = 7_u64;
    // SplitMix64.
    let mut random = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    for bytes in [0, 16, 4_096] {
        let files = Files::new();
        let mut records = decisions((0..2_000).map(|at| NOON + at * 7_919));
        for record in &mut records {
            // As pseudonyms and encrypted values are.
            record.customer_id = format!("{:016x}{:016x}", random(), random());
            let ciphertext = (0..bytes).map(|_| random() as u8).collect();
            let encrypted = EncryptedValues { key: "k".to_owned(), nonce: vec![7; 12], ciphertext };
            record.customer.as_mut().unwrap().encrypted = Some(encrypted);
        }
        let log = files.log("s", 1, 1, &records);
        seal("s", &log, files.store()).unwrap();
        let sealed = fs::metadata(files.path(&files.names()[0])).unwrap().len();
        // A log file has at most 96 MiB, and what is sealed must have at most 128 MiB.
        assert!(sealed * 96 <= log.bytes * 128, "{bytes}: {} bytes become {sealed}", log.bytes);
    }
}

#[test]
fn two_sealers_of_a_log_end_alike() {
    let files = Files::new();
    let log = files.log("s", 1, 1, &decisions(NOON..NOON + 500));
    let new = std::thread::scope(|scope| {
        let seal = || seal("s", &log, files.store()).unwrap();
        let both = [scope.spawn(seal), scope.spawn(seal)];
        both.map(|thread| thread.join().unwrap()).iter().filter(|sealed| sealed.files[0].is_new).count()
    });
    assert_eq!(new, 1);
    assert_eq!(read_all(&files).len(), 500);
}

#[test]
fn a_sealed_file_with_other_events_is_an_error_that_names_both() {
    let files = Files::new();
    files.seal("s", 1, 1, &decisions([NOON, NOON + 1]));
    let before = contents(&files);
    for records in [decisions([NOON]), decisions([NOON, NOON + 2])] {
        let log = files.log("s", 1, 1, &records);
        let logs = running(&files, "s", vec![log.clone()]);
        let error = seal_and_delete(&log, &logs, files.store()).unwrap_err();
        assert!(matches!(error, SealedError::Differs { .. }), "{error}");
        let message = error.to_string();
        for part in
            [log.path.to_str().unwrap(), "date=2026-11-30/s-00000001.parquet", "2 events with checksum"]
        {
            assert!(message.contains(part), "{message}");
        }
        assert!(log.path.exists());
    }
    assert_eq!(contents(&files), before);
}

#[test]
fn what_a_newer_version_wrote_is_not_sealed() {
    let files = Files::new();
    let log = files.log("s", 1, 1, &decisions([NOON]));
    let frame_with = |fields: &[u8]| {
        // Field 1000 of an event, a number.
        let length = (fields.len() as u32).to_le_bytes();
        let mut frame = length.to_vec();
        frame.extend(frame::checksum(length, fields).to_le_bytes());
        frame.extend(fields);
        frame
    };
    let entry = Entry { position: 2, recorded_at: 0, record: decisions([NOON]).remove(0).into() };
    let mut newer = frame_of(&entry).split_off(frame::HEAD_BYTES);
    newer.extend([0xc0, 0x3e, 7]);
    let unknown = "a kind that is not known (field 7 of Event)";
    // An event with a field that is not known; one of a kind that is not known, and one without any.
    for (fields, message) in [
        (newer, "fields that this version does not know"),
        (vec![0x08, 2, 0x3a, 2, 0x08, 1], unknown),
        (vec![0x08, 2, 0x10, 7], "a kind that is not known"),
    ] {
        let mut bytes = fs::read(&log.path).unwrap();
        let mut grown = log.clone();
        bytes.truncate(log.bytes as usize);
        bytes.extend(frame_with(&fields));
        grown.bytes = bytes.len() as u64;
        fs::write(&log.path, &bytes).unwrap();
        let error = seal("s", &grown, files.store()).unwrap_err();
        assert!(matches!(error, SealedError::Newer { .. }) && error.to_string().contains(message), "{error}");
    }
    let mut bytes = Vec::new();
    let header = LogHeader { format: 2, server: "s".to_owned(), sequence: 1, ..LogHeader::default() };
    frame::write(
        &Event { position: 1, recorded_at: 0, event: Some(event::Event::Header(header)) },
        &mut bytes,
    );
    fs::write(&log.path, &bytes).unwrap();
    let error = seal("s", &LogFile { bytes: bytes.len() as u64, ..log }, files.store()).unwrap_err();
    assert!(matches!(error, SealedError::Newer { .. }), "{error}");
    assert!(files.names().is_empty());
}

#[test]
fn a_damaged_or_foreign_log_is_not_sealed() {
    let files = Files::new();
    let log = files.log("s", 1, 1, &decisions(NOON..NOON + 9));
    let whole = fs::read(&log.path).unwrap();
    let mut changed = whole.clone();
    changed[whole.len() / 2] ^= 1;
    for bytes in [changed.as_slice(), &whole[..whole.len() - 1], b"", b"no log at all"] {
        fs::write(&log.path, bytes).unwrap();
        assert!(seal("s", &log, files.store()).is_err());
    }
    fs::write(&log.path, &whole).unwrap();
    // A file that was renamed.
    assert!(seal("other", &log, files.store()).unwrap_err().to_string().contains("of server s"));
    assert!(seal("s", &LogFile { sequence: 2, ..log.clone() }, files.store()).is_err());
    assert!(files.names().is_empty());
    // What stands behind its end does not count.
    fs::write(&log.path, [&whole[..], b"torn"].concat()).unwrap();
    assert_eq!(seal("s", &log, files.store()).unwrap().events(), 9);
}

#[test]
fn a_store_that_is_away_is_tried_again_later_and_no_log_is_lost() {
    let files = Files::new();
    let closed = vec![
        files.log("s", 1, 1, &decisions([NOON])),
        files.log("s", 2, 2, &decisions([NOON + 1, NOON + 2])),
    ];
    let logs = running(&files, "s", closed);
    let metrics = Arc::new(Metrics::default());
    let config = SealerConfig::default();
    let mut round = Round::new(logs.clone(), files.store().clone(), Arc::clone(&metrics), config);
    let away = files.root().with_extension("away");
    fs::rename(files.root(), &away).unwrap();
    let mut now = Instant::now();
    for attempt in 1..=9_u32 {
        assert_eq!(round.run(now, &|| false), 0);
        // One attempt in a round, as all of them would fail.
        assert_eq!(metrics.events.sealing_failures.get(), u64::from(attempt));
        // The pause doubles, up to its limit.
        let pause = (config.first_pause * 2_u32.pow(attempt - 1)).min(config.last_pause);
        assert_eq!(round.run(now + (pause.saturating_sub(Duration::from_millis(1))), &|| false), 0);
        assert_eq!(metrics.events.sealing_failures.get(), u64::from(attempt));
        now += pause;
    }
    assert_eq!(logs.closed().len(), 2);
    fs::rename(&away, files.root()).unwrap();
    assert_eq!(round.run(now, &|| false), 2);
    assert_eq!(metrics.events.sealed.get(), 3);
    assert!(logs.closed().is_empty());
    assert_eq!(read_all(&files).len(), 3);
}

#[test]
fn a_log_whose_file_is_away_is_not_taken_for_sealed() {
    let files = Files::new();
    let log = files.log("s", 1, 1, &decisions([NOON, NOON + 1]));
    let logs = running(&files, "s", vec![log.clone()]);
    let away = log.path.with_extension("away");
    fs::rename(&log.path, &away).unwrap();
    let error = seal_and_delete(&log, &logs, files.store()).unwrap_err();
    assert!(error.to_string().starts_with(log.path.to_str().unwrap()), "{error}");
    assert_eq!(logs.closed(), std::slice::from_ref(&log));
    fs::rename(&away, &log.path).unwrap();
    assert_eq!(seal_and_delete(&log, &logs, files.store()).unwrap().events(), 2);
    assert!(logs.closed().is_empty());
}

#[test]
fn a_log_that_cannot_be_sealed_does_not_keep_others() {
    let files = Files::new();
    let closed: Vec<LogFile> = (1..=3)
        .map(|sequence| files.log("s", sequence, sequence, &decisions([NOON + sequence as i64])))
        .collect();
    let whole = fs::read(&closed[0].path).unwrap();
    fs::write(&closed[0].path, "damaged").unwrap();
    let logs = running(&files, "s", closed.clone());
    let metrics = Arc::new(Metrics::default());
    let mut round =
        Round::new(logs.clone(), files.store().clone(), Arc::clone(&metrics), SealerConfig::default());
    let now = Instant::now();
    assert_eq!(round.run(now, &|| false), 2);
    assert_eq!(round.run(now, &|| false), 0);
    assert_eq!(metrics.events.sealing_failures.get(), 1);
    assert_eq!(logs.closed().len(), 1);
    fs::write(&closed[0].path, whole).unwrap();
    assert_eq!(round.run(now + Duration::from_secs(1), &|| false), 1);
    assert!(logs.closed().is_empty());
    assert_eq!(metrics.events.sealed.get(), 3);
}

#[test]
fn a_round_ends_when_the_server_does() {
    let files = Files::new();
    let logs = running(&files, "s", vec![files.log("s", 1, 1, &decisions([NOON]))]);
    let metrics = Arc::new(Metrics::default());
    let mut round = Round::new(logs.clone(), files.store().clone(), metrics, SealerConfig::default());
    assert_eq!(round.run(Instant::now(), &|| true), 0);
    assert_eq!(logs.closed().len(), 1);
}

#[test]
fn the_thread_seals_what_is_closed() {
    let files = Files::new();
    let logs = running(&files, "s", vec![files.log("s", 1, 1, &decisions([NOON]))]);
    let (gone, is_gone) = std::sync::mpsc::channel();
    logs.when_freed(move || gone.send(()).unwrap());
    let sealer = Sealer::start(
        logs.clone(),
        files.store().clone(),
        Arc::new(Metrics::default()),
        SealerConfig::default(),
    );
    is_gone.recv().unwrap();
    sealer.unwrap().stop();
    assert_eq!(read_all(&files).len(), 1);
}

/// A data directory that a server has left.
fn left_behind(logs: &[(u64, u64, Vec<Record>)], files: &Files) -> (tempfile::TempDir, String) {
    let root = tempfile::tempdir().unwrap();
    let server = uuid::Uuid::nil().to_string();
    fs::write(root.path().join("server-id"), format!("{server}\n")).unwrap();
    fs::create_dir(root.path().join("log")).unwrap();
    for (sequence, first, records) in logs {
        let log = files.log(&server, *sequence, *first, records);
        fs::rename(&log.path, root.path().join("log").join(log.path.file_name().unwrap())).unwrap();
    }
    (root, server)
}

fn in_log(root: &Path) -> Vec<String> {
    let names = fs::read_dir(root.join("log")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| Path::new(name).extension().is_some_and(|is| is == "log")).collect()
}

#[test]
fn the_logs_of_a_dead_server_are_sealed() {
    let files = Files::new();
    let logs = [(1, 1, mixed([NOON, NOON + 1])), (2, 3, mixed([NOON + 2, NOON + 3]))];
    let (root, server) = left_behind(&logs, &files);
    // It died while it wrote the last frame.
    let last = root.path().join("log").join(format!("{server}-00000002.log"));
    let bytes = fs::read(&last).unwrap();
    fs::write(&last, &bytes[..bytes.len() - 3]).unwrap();
    let taken = take_over(root.path(), "test").unwrap();
    assert_eq!(taken.files().server(), server);
    assert!(taken.recovery().cut_bytes > 0);
    let sealed = seal_all(&taken, files.store());
    assert!(sealed.failures.is_empty());
    let events: Vec<u64> = sealed.logs.iter().map(|(_, sealed)| sealed.events()).collect();
    assert_eq!(events, [2, 1]);
    assert_eq!(in_log(root.path()), Vec::<String>::new());
    assert_eq!(read_all(&files).len(), 3);
    // A repetition finds nothing.
    drop(taken);
    assert!(seal_all(&take_over(root.path(), "test").unwrap(), files.store()).logs.is_empty());
}

#[test]
fn a_log_of_a_dead_server_that_fails_stays() {
    let files = Files::new();
    let logs = [(1, 1, mixed([NOON])), (2, 2, mixed([NOON + 1]))];
    let (root, server) = left_behind(&logs, &files);
    // The store has other events under its name.
    files.seal(&server, 1, 1, &decisions([NOON + 7]));
    let sealed = seal_all(&take_over(root.path(), "test").unwrap(), files.store());
    assert_eq!(sealed.logs.len(), 1);
    assert!(matches!(sealed.failures[..], [(_, SealedError::Differs { .. })]));
    assert_eq!(in_log(root.path()), [format!("{server}-00000001.log")]);
}
