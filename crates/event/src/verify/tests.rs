use std::fs;

use super::*;
use crate::log::Unread;
use crate::sealed::testing::{DAY, Files, NOON, decisions, mixed, of_all_kinds, opened, outcomes};

/// Two servers, whose days and logs overlap.
fn stored() -> Files {
    let files = Files::new();
    let midnight = NOON + DAY / 2;
    files.seal("a", 1, 1, &decisions([NOON, NOON + 1, NOON + 2]));
    files.seal("a", 2, 4, &decisions([NOON + 3, midnight, NOON + 4, midnight + 1]));
    files.seal("a", 3, 8, &decisions([midnight + 2]));
    files.seal("b", 9, 20, &decisions([NOON + 7, midnight + 9]));
    files
}

fn found(files: &Files, logs: &[OpenedLog]) -> Verification {
    verify(files.store(), logs, &mut |_| {}).unwrap()
}

/// Whether there is one problem, of that file, with those words.
fn has_problem(files: &Files, file: &str, words: &str) {
    let problems = found(files, &[]).problems;
    let [problem] = &problems[..] else { panic!("{problems:?}") };
    assert!(problem.file.ends_with(file) && problem.message.contains(words), "{problem:?}");
}

const DAYS: [&str; 2] = ["decision/date=2026-11-30", "decision/date=2026-12-01"];

#[test]
fn what_is_whole_has_no_problem() {
    let files = stored();
    let log = files.log("a", 4, 9, &decisions([NOON + DAY, NOON + DAY + 1]));
    let mut last = None;
    let verification =
        verify(files.store(), &[opened("a", &[log])], &mut |progress| last = Some(progress)).unwrap();
    assert_eq!(verification.problems, []);
    assert_eq!((verification.sealed_files, verification.log_files, verification.events), (6, 1, 12));
    let Progress { done, all } = last.unwrap();
    assert!(done == all && all == verification.bytes && all > 0);
    assert_eq!(found(&Files::new(), &[]), Verification::default());
}

#[test]
fn a_log_that_was_sealed_and_not_deleted_counts_once() {
    let files = stored();
    let midnight = NOON + DAY / 2;
    let log = files.log("b", 10, 22, &decisions([midnight + 10]));
    crate::seal::seal("b", &log, files.store()).unwrap();
    let verification = found(&files, &[opened("b", &[log])]);
    assert_eq!((verification.problems.len(), verification.events), (0, 11));
    // Another log of that name.
    let other = files.log("b", 10, 22, &decisions([midnight + 10]));
    let problems = found(&files, &[opened("b", &[other])]).problems;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].message.contains("and sealed are"), "{problems:?}");
}

#[test]
fn changed_bytes_are_found() {
    for at in [0, 10, 2_000] {
        let files = stored();
        files.change(&format!("{}/a-00000001.parquet", DAYS[0]), at);
        has_problem(&files, "a-00000001.parquet", "");
    }
    let files = stored();
    let path = files.path(&format!("{}/a-00000001.parquet", DAYS[0]));
    fs::write(&path, &fs::read(&path).unwrap()[..3_000]).unwrap();
    has_problem(&files, "a-00000001.parquet", "not a whole Parquet file");
}

#[test]
fn a_missing_file_is_found() {
    // The day of a log of which another day is there.
    let files = stored();
    fs::remove_file(files.path(&format!("{}/a-00000002.parquet", DAYS[1]))).unwrap();
    has_problem(&files, "a-00000002.parquet", "of 2026-12-01 are missing");
    // All of a log.
    for day in DAYS {
        let _ = fs::remove_file(files.path(&format!("{day}/a-00000002.parquet")));
    }
    has_problem(
        &files,
        "a",
        "log 1 ends at position 3, and log 3 begins at 8: events between them are missing",
    );
}

#[test]
fn a_file_under_another_name_is_found() {
    let files = stored();
    let [from, to] = [1, 5].map(|sequence| files.path(&format!("{}/a-0000000{sequence}.parquet", DAYS[0])));
    fs::copy(&from, to).unwrap();
    has_problem(
        &files,
        "a-00000005.parquet",
        "it says that it is of server a and sequence 1, and its name is another",
    );
    let files = stored();
    let path = files.path(&format!("{}/a-00000003.parquet", DAYS[1]));
    fs::rename(path, files.path(&format!("{}/a-00000003.parquet", DAYS[0]))).unwrap();
    let problems = found(&files, &[]).problems;
    assert!(problems[0].message.contains("it has an event of 2026-12-01"), "{problems:?}");
}

#[test]
fn positions_that_are_there_twice_are_found() {
    let files = stored();
    files.seal("a", 4, 8, &decisions([NOON + DAY]));
    has_problem(&files, "a", "log 3 ends at position 8, and log 4 begins at 8: positions are there twice");
}

#[test]
fn a_gap_before_the_log_files_is_found() {
    let files = stored();
    let log = files.log("a", 6, 11, &decisions([NOON + DAY]));
    let problems = found(&files, &[opened("a", std::slice::from_ref(&log))]).problems;
    assert!(problems[0].message.contains("log 3 ends at position 8, and log 6 begins at 11"), "{problems:?}");
    // Damage that was found when the log was opened.
    let unread = vec![Unread { path: "c.log".into(), message: "byte 17".to_owned() }];
    let problems = found(&files, &[OpenedLog { unread, ..opened("c", &[]) }]).problems;
    assert_eq!((&*problems[0].file, &*problems[0].message), ("c.log", "byte 17"));
    // A frame that is damaged.
    let mut bytes = fs::read(&log.path).unwrap();
    let end = bytes.len() - 1;
    bytes[end] ^= 1;
    fs::write(&log.path, bytes).unwrap();
    let problems = found(&files, &[opened("d", &[LogFile { sequence: 1, ..log }])]).problems;
    assert!(problems.iter().any(|problem| problem.file.ends_with("a-00000006.log")), "{problems:?}");
}

#[test]
fn days_that_are_too_old_to_be_kept_are_not_missed() {
    let files = stored();
    let first = date_of(NOON + DAY);
    crate::retention::delete_expired(files.store(), Kind::Decision, first, &mut |_| {}).unwrap();
    assert_eq!(files.names().len(), 3);
    let verification = found(&files, &[]);
    assert_eq!((verification.problems.len(), verification.events), (0, 4));
}

#[test]
fn events_that_are_missing_within_a_file_are_found() {
    let files = Files::new();
    // A log that lost an event before it was sealed.
    let log = files.log("a", 1, 1, &decisions([NOON, NOON + 1]));
    crate::seal::seal("a", &LogFile { last: 3, ..log }, files.store()).unwrap();
    has_problem(&files, "a-00000001.parquet", "its log had positions 1 to 3, and 2 of them are there");
}

/// A server whose logs have both kinds, on two days.
fn stored_mixed() -> Files {
    let files = Files::new();
    let midnight = NOON + DAY / 2;
    files.seal("a", 1, 1, &mixed([NOON, NOON + 1, NOON + 2]));
    files.seal("a", 2, 4, &mixed([midnight - 2, midnight - 1, midnight, midnight + 1]));
    files.seal("a", 3, 8, &outcomes([midnight + 2]));
    files
}

#[test]
fn positions_are_counted_over_all_kinds() {
    let files = stored_mixed();
    let log = files.log("a", 4, 9, &mixed([NOON + DAY, NOON + DAY + 1]));
    let verification = found(&files, &[opened("a", &[log])]);
    assert_eq!(verification.problems, []);
    assert_eq!((verification.sealed_files, verification.log_files, verification.events), (7, 1, 10));
    // A log that was sealed in part.
    let log = files.log("a", 4, 9, &mixed([NOON + DAY, NOON + DAY + 1]));
    crate::seal::seal("a", &log, files.store()).unwrap();
    fs::remove_file(files.path(&format!("outcome/{}/a-00000004.parquet", &DAYS[1][9..]))).unwrap();
    let verification = found(&files, &[opened("a", &[log])]);
    assert_eq!((verification.problems.len(), verification.events), (0, 10));
}

#[test]
fn a_missing_file_of_one_kind_is_found() {
    let files = stored_mixed();
    fs::remove_file(files.path("outcome/date=2026-12-01/a-00000002.parquet")).unwrap();
    has_problem(&files, "a-00000002.parquet", "kind `outcome` of its log of 2026-12-01 are missing");
    // A log of one kind alone.
    let files = stored_mixed();
    files.seal("a", 4, 9, &decisions([NOON + DAY]));
    fs::remove_file(files.path("outcome/date=2026-12-01/a-00000003.parquet")).unwrap();
    has_problem(&files, "a", "log 2 ends at position 7, and log 4 begins at 9");
    // All files of a kind.
    let files = stored_mixed();
    fs::remove_dir_all(files.path("outcome")).unwrap();
    let problems = found(&files, &[]).problems;
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems.iter().all(|problem| problem.message.contains("kind `outcome`")), "{problems:?}");
}

#[test]
fn files_of_different_logs_are_found() {
    let files = stored_mixed();
    let others = Files::new();
    // Another server with a copied data directory.
    others.seal("a", 1, 1, &mixed([NOON, NOON + 1, NOON + 2, NOON + 3]));
    let name = "outcome/date=2026-11-30/a-00000001.parquet";
    fs::copy(others.path(name), files.path(name)).unwrap();
    has_problem(&files, "a-00000001.parquet", "of another log than the file of another day or kind");
}

#[test]
fn a_kind_that_is_kept_for_a_shorter_time_is_not_missed() {
    let files = stored_mixed();
    files.seal("a", 4, 9, &mixed([NOON + DAY, NOON + DAY + 1]));
    let first = date_of(NOON + DAY);
    crate::retention::delete_expired(files.store(), Kind::Outcome, first, &mut |_| {}).unwrap();
    assert_eq!(files.names().iter().filter(|name| name.starts_with("outcome")).count(), 3);
    assert_eq!(found(&files, &[]).problems, []);
    // Both, at last.
    crate::retention::delete_expired(files.store(), Kind::Decision, first, &mut |_| {}).unwrap();
    assert_eq!(found(&files, &[]).problems, []);
}

#[test]
fn kinds_that_are_not_known_are_refused_by_name() {
    let files = stored_mixed();
    let folder = files.root().join("events/view/date=2026-11-30");
    fs::create_dir_all(&folder).unwrap();
    // Other files are left alone.
    fs::write(folder.join("notes.txt"), "not ours").unwrap();
    assert_eq!(found(&files, &[]).problems, []);
    fs::write(folder.join("a-00000001.parquet"), "of a newer version").unwrap();
    let error = verify(files.store(), &[], &mut |_| {}).unwrap_err();
    assert!(matches!(error, SealedError::Newer { .. }), "{error}");
    assert!(error.to_string().contains("events/view is newer than this version"), "{error}");
}

/// A server with a file per log, of which the store knows the extent.
fn noted(logs: u64) -> Files {
    let files = Files::new();
    for sequence in 1..=logs {
        let records = decisions([NOON + sequence as i64, NOON + 100 + sequence as i64]);
        let log = files.log("a", sequence, 2 * sequence - 1, &records);
        crate::seal::seal("a", &log, files.store()).unwrap();
        files.store().note_sealed("a", &log).unwrap();
    }
    files
}

#[test]
fn files_that_are_missing_at_either_end_are_found() {
    let remove = |files: &Files, sequence: u64| {
        fs::remove_file(files.path(&format!("{}/a-0000000{sequence}.parquet", DAYS[0]))).unwrap();
    };
    let files = noted(3);
    assert_eq!(found(&files, &[]).problems, []);
    remove(&files, 1);
    has_problem(&files, "a", "its events begin at position 3: those from 1 to 2 are missing");
    let files = noted(3);
    remove(&files, 3);
    has_problem(&files, "a", "its events end at position 4: those from 5 to 6 were sealed, and are missing");
    // All of them.
    let files = noted(1);
    remove(&files, 1);
    has_problem(&files, "a", "its events end at position 0: those from 1 to 2 were sealed, and are missing");
    // What is not sealed yet goes on behind it.
    let files = noted(3);
    let log = files.log("a", 4, 7, &decisions([NOON]));
    assert_eq!(found(&files, &[opened("a", &[log])]).problems, []);
}

#[test]
fn a_data_directory_tells_what_its_server_has_sealed() {
    let files = stored();
    let directory = |sealed| OpenedLog { sealed, ..opened("a", &[]) };
    assert_eq!(found(&files, &[directory(8)]).problems, []);
    let problems = found(&files, &[directory(11)]).problems;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].message.contains("end at position 8: those from 9 to 11 were sealed"),
        "{problems:?}"
    );
    let problems = found(&Files::new(), &[directory(11)]).problems;
    assert!(problems[0].message.contains("those from 1 to 11"), "{problems:?}");
}

#[test]
fn what_was_deleted_since_it_is_too_old_is_not_missed_at_the_beginning() {
    let files = Files::new();
    for (sequence, time) in [(1, NOON), (2, NOON + DAY), (3, NOON + 2 * DAY)] {
        let log = files.log("a", sequence, 2 * sequence - 1, &mixed([time, time + 1]));
        crate::seal::seal("a", &log, files.store()).unwrap();
        files.store().note_sealed("a", &log).unwrap();
    }
    for day in 1..=3 {
        for kind in Kind::ALL {
            crate::retention::delete_expired(files.store(), kind, date_of(NOON + day * DAY), &mut |_| {})
                .unwrap();
            assert_eq!(
                found(&files, &[OpenedLog { sealed: 6, ..opened("a", &[]) }]).problems,
                [],
                "{day} {kind}"
            );
        }
    }
    assert!(files.names().is_empty());
}

#[test]
fn comparisons_with_shadows_are_missed_and_may_go_first() {
    let sealed = || {
        let files = Files::new();
        for (sequence, time) in [(1, NOON), (2, NOON + DAY)] {
            let records = of_all_kinds(time..time + 3);
            let log = files.log("a", sequence, 3 * sequence - 2, &records);
            crate::seal::seal("a", &log, files.store()).unwrap();
            files.store().note_sealed("a", &log).unwrap();
        }
        files
    };
    let files = sealed();
    let whole = found(&files, &[]);
    assert_eq!((whole.problems, whole.sealed_files, whole.events), (Vec::new(), 6, 6));
    // They are kept for a shorter time than decisions.
    crate::retention::delete_expired(files.store(), Kind::Shadow, date_of(NOON + DAY), &mut |_| {}).unwrap();
    assert_eq!(found(&files, &[]).problems, []);
    let files = sealed();
    fs::remove_file(files.path("shadow/date=2026-12-01/a-00000002.parquet")).unwrap();
    assert!(!found(&files, &[]).problems.is_empty());
}

#[test]
fn an_extent_that_cannot_be_understood_is_a_problem() {
    let files = noted(2);
    fs::write(files.root().join("extents/a.toml"), "last = 4").unwrap();
    has_problem(&files, "a", "extents/a.toml: missing field");
}
