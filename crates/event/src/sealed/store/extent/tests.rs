use std::thread;

use super::*;
use crate::retention::delete_expired;
use crate::sealed::date_of;
use crate::sealed::testing::{DAY, Files, NOON, decisions};

/// Seals a log of so many decisions at a time, and notes that.
fn seal(files: &Files, sequence: u64, first: u64, events: i64, time: i64) -> LogFile {
    let records = decisions(time..time + events);
    files.seal("s", sequence, first, &records);
    let log = files.log("s", sequence, first, &records);
    files.store().note_sealed("s", &log).unwrap();
    log
}

fn extent(files: &Files) -> (Option<u64>, u64, u64) {
    let extent = files.store().extent("s").unwrap().unwrap();
    (extent.first, extent.sequence, extent.last)
}

#[test]
fn it_grows_with_what_is_sealed() {
    let files = Files::new();
    assert_eq!(files.store().extent("s").unwrap(), None);
    assert_eq!(files.store().sealed_up_to("s").unwrap(), LogEnd::default());
    // The first that is sealed may not be the first that was written, as when it goes to another store.
    seal(&files, 3, 40, 5, NOON);
    assert_eq!(extent(&files), (Some(40), 3, 44));
    seal(&files, 5, 50, 2, NOON);
    // One that could not be sealed before.
    seal(&files, 2, 30, 10, NOON);
    assert_eq!(extent(&files), (Some(30), 5, 51));
    assert_eq!(files.store().sealed_up_to("s").unwrap(), LogEnd { sequence: 5, position: 51 });
    assert_eq!(files.store().extents().unwrap().len(), 1);
}

#[test]
fn files_of_an_older_version_are_its_beginning() {
    let files = Files::new();
    files.seal("s", 1, 7, &decisions(NOON..NOON + 3));
    seal(&files, 2, 10, 2, NOON);
    assert_eq!(extent(&files), (Some(7), 2, 11));
    // Before there is an extent, its files tell how far a server was.
    let files = Files::new();
    files.seal("s", 1, 7, &decisions(NOON..NOON + 3));
    files.seal("s", 2, 10, &decisions(NOON..NOON + 6));
    files.seal("other", 9, 1_000, &decisions([NOON]));
    let reached = LogEnd { sequence: 2, position: 15 };
    assert_eq!(files.store().find_sealed_end("s").unwrap(), reached);
    assert_eq!(files.store().find_sealed_end("nobody").unwrap(), LogEnd::default());
    // If they cannot be read, that is not known.
    let files = Files::new();
    files.seal("s", 1, 7, &decisions(NOON..NOON + 3));
    fs::write(files.path("decision/date=2026-11-30/s-00000001.parquet"), "none").unwrap();
    seal(&files, 2, 10, 2, NOON);
    assert_eq!(extent(&files), (None, 2, 11));
}

#[test]
fn what_is_too_old_is_not_expected_any_more() {
    let files = Files::new();
    seal(&files, 1, 1, 5, NOON);
    seal(&files, 2, 6, 4, NOON + DAY);
    let expire = |day: i64| {
        delete_expired(files.store(), Kind::Decision, date_of(NOON + day * DAY), &mut |_| {}).unwrap();
        extent(&files)
    };
    assert_eq!(expire(0), (Some(1), 2, 9));
    assert_eq!(expire(1), (Some(6), 2, 9));
    assert!(!files.store().extent("s").unwrap().unwrap().is_expired());
    assert_eq!(expire(2), (Some(10), 2, 9));
    assert!(files.store().extent("s").unwrap().unwrap().is_expired());
    // Files of an older version have none, and get none.
    files.seal("other", 1, 1, &decisions([NOON]));
    expire(2);
    assert_eq!(files.store().extent("other").unwrap(), None);
}

#[test]
fn processes_that_change_it_at_once_lose_nothing() {
    let files = Files::new();
    let logs: Vec<LogFile> =
        (1..=6).map(|sequence| files.log("s", sequence, sequence * 10, &decisions([NOON]))).collect();
    thread::scope(|scope| {
        for log in &logs {
            scope.spawn(|| files.store().note_sealed("s", log).unwrap());
        }
    });
    assert_eq!(extent(&files), (Some(10), 6, 60));
}

#[test]
fn one_that_cannot_be_understood_is_told_and_written_anew() {
    let files = Files::new();
    let log = seal(&files, 1, 1, 3, NOON);
    let path = files.root().join(key("s"));
    let too_great = "format = 1\nfirst = 1\nsequence = 1\nlast = 9223372036854775807\n";
    for text in ["", "format = 1\nsequence = 1\n", "last = \"x\"", too_great] {
        fs::write(&path, text).unwrap();
        let error = files.store().extent("s").unwrap_err();
        assert!(matches!(error, SealedError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("extents/s.toml"), "{error}");
        assert!(files.store().extents().unwrap()["s"].is_err());
        files.store().note_sealed("s", &log).unwrap();
        assert_eq!(extent(&files), (Some(1), 1, 3));
    }
    // That of a newer version stays.
    let newer = "format = 2\nsequence = 9\nlast = 90\n";
    fs::write(&path, newer).unwrap();
    assert!(matches!(files.store().extent("s"), Err(SealedError::Newer { .. })));
    files.store().note_sealed("s", &log).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), newer);
}
