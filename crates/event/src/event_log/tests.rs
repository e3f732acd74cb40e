//! The whole log on a real disk, with its thread.

#[cfg(debug_assertions)]
mod kills;
mod whole;

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::task::Poll;

use telemetry::Format;

use super::*;
use crate::config::SyncPolicy;
use crate::directory;
use crate::disk::memory::MemoryDisk;
use crate::error::NotRecorded;
use crate::kind::{EventRecord, Record};
use crate::log::{open_read_only, take_over};
use crate::queue::tests::{Ids, config, id_of, poll};
use crate::recorder::IntoEvents;

fn at(root: &Path, sync: SyncPolicy) -> EventConfig {
    EventConfig { directory: root.to_owned(), ..config(4 << 20, sync) }
}

fn start(config: &EventConfig) -> (EventLog, Recovery) {
    EventLog::start(config, "1.2.3", &Arc::default()).unwrap()
}

fn batch(id: &str, count: usize) -> Box<dyn IntoEvents> {
    Box::new(Ids((0..count).map(|at| format!("{id}-{at}")).collect()))
}

/// Positions and ids of all events in files.
fn events(files: &[LogFile]) -> Vec<(u64, String)> {
    let mut found = Vec::new();
    for file in files {
        let mut frames = file.frames().unwrap().unwrap();
        while let Some(frame) = frames.next_frame().unwrap() {
            let position = frame.event.position;
            if let Some(record) = frame.event.event.and_then(Record::of_event) {
                assert!(!record.server().is_empty());
                found.push((position, id_of(&record).to_owned()));
            }
        }
    }
    found
}

const LONG: Duration = Duration::from_mins(1);

#[tokio::test]
async fn what_many_calls_record_is_there_once_and_in_order() {
    for sync in [SyncPolicy::Always, SyncPolicy::Interval, SyncPolicy::Os] {
        let root = tempfile::tempdir().unwrap();
        let mut config = at(root.path(), sync);
        config.interval = Duration::from_millis(1);
        config.log_file = 20_000;
        let (log, recovery) = start(&config);
        assert_eq!(recovery, Recovery { next_position: 1, ..Recovery::default() });
        let mut calls = Vec::new();
        for call in 0..8 {
            let recorder = log.recorder();
            calls.push(tokio::spawn(async move {
                for turn in 0..50 {
                    let reserved = recorder.reserve(4_000).await.unwrap();
                    let receipt = recorder.record(reserved, batch(&format!("{call}-{turn}"), 3));
                    if turn % 10 == 0 {
                        receipt.durable().await.unwrap();
                    }
                }
            }));
        }
        for call in calls {
            call.await.unwrap();
        }
        assert_eq!(log.close(LONG), Closed { lost: 0 });
        let (log, recovery) = start(&config);
        assert_eq!((recovery.events, recovery.next_position, recovery.cut_bytes), (1_200, 1_201, 0));
        let found = events(&log.files());
        assert!(found.iter().zip(1..).all(|((position, _), expected)| *position == expected));
        assert_eq!(found.iter().map(|(_, id)| id).collect::<HashSet<_>>().len(), 1_200);
        for call in 0..8 {
            let own: Vec<_> = found.iter().filter(|(_, id)| id.starts_with(&format!("{call}-"))).collect();
            let expected = (0..50).flat_map(|turn| (0..3).map(move |at| format!("{call}-{turn}-{at}")));
            assert!(own.into_iter().map(|(_, id)| id.clone()).eq(expected), "call {call}");
        }
        assert!(log.closed_files().len() > 2);
    }
}

#[tokio::test]
async fn what_is_urgent_does_not_wait_for_the_interval() {
    for sync in [SyncPolicy::Interval, SyncPolicy::Os] {
        let root = tempfile::tempdir().unwrap();
        let mut config = at(root.path(), sync);
        config.interval = Duration::from_hours(24);
        let (log, _) = start(&config);
        let (recorder, urgent) = (log.recorder(), log.recorder().urgent());
        for turn in 0..20 {
            recorder.record(recorder.try_reserve(100).unwrap(), batch(&format!("a-{turn}"), 1));
            let receipt = urgent.record(urgent.try_reserve(100).unwrap(), batch(&format!("!b-{turn}"), 1));
            receipt.durable().await.unwrap();
            assert_eq!(events(&log.files()).len(), 2 * (turn + 1));
        }
        // So does closing the file.
        recorder.record(recorder.try_reserve(100).unwrap(), batch("c", 1));
        tokio::task::spawn_blocking(move || recorder.close_file(LONG)).await.unwrap().unwrap();
        assert_eq!(log.closed_files().iter().map(LogFile::events).sum::<u64>(), 41);
        assert_eq!(log.close(LONG).lost, 0);
    }
}

#[tokio::test]
async fn positions_go_on_and_deleted_files_are_gone() {
    let root = tempfile::tempdir().unwrap();
    let config = at(root.path(), SyncPolicy::Always);
    for life in 0..4_u64 {
        let (log, recovery) = start(&config);
        assert_eq!(recovery.next_position, 1 + 2 * life);
        let recorder = log.recorder();
        let receipt = recorder.record(recorder.try_reserve(100).unwrap(), batch("a", 2));
        receipt.durable().await.unwrap();
        let files = log.files();
        assert_eq!(
            files.last().map(|file| (file.sequence, file.first, file.last)),
            Some((1 + life, 1 + 2 * life, 2 + 2 * life))
        );
        for file in log.closed_files() {
            log.delete(&file).unwrap();
            assert!(!file.path.exists());
        }
        assert_eq!(log.files().len(), 1);
        assert_eq!(log.close(LONG).lost, 0);
    }
}

#[tokio::test]
async fn a_call_waits_for_room_and_gets_it() {
    let root = tempfile::tempdir().unwrap();
    let mut config = at(root.path(), SyncPolicy::Interval);
    (config.queue, config.interval) = (10_000, Duration::from_mins(1));
    let (log, _) = start(&config);
    let recorder = log.recorder();
    // Each fills the queue, which makes the writer hurry: the interval is long.
    for turn in 0..20 {
        let reserved = recorder.reserve(10_000).await.unwrap();
        recorder.record(reserved, batch(&format!("{turn}-{}", "x".repeat(3_000)), 1));
    }
    assert_eq!(log.close(LONG).lost, 0);
    assert!(recorder.reserve(1).await.is_none() && recorder.is_full());
    assert_eq!(events(&start(&config).0.files()).len(), 20);
}

#[tokio::test]
async fn a_log_that_is_closed_takes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let (log, _) = start(&at(root.path(), SyncPolicy::Always));
    let recorder = log.recorder();
    let reserved = recorder.try_reserve(100).unwrap();
    assert_eq!(log.close(LONG), Closed { lost: 0 });
    let receipt = recorder.record(reserved, batch("late", 1));
    assert_eq!(receipt.durable().await, Err(NotRecorded::Closed));
    assert!(recorder.try_reserve(100).is_none());
}

#[test]
fn a_disk_that_hangs_does_not_keep_the_server_from_ending() {
    let disk = MemoryDisk::default();
    let (log, server) = (PathBuf::from("/log"), "s".to_owned());
    let place = Place { disk: Arc::new(disk.clone()), log, server, start: Start::default(), directory: None };
    let config = config(4 << 20, SyncPolicy::Always);
    let (log, _) = EventLog::start_in(place, &config, "1", &Arc::default(), Arc::new(SystemClock)).unwrap();
    let gate = Arc::new(Mutex::new(()));
    disk.set_faults(|faults| faults.syncs_hang = Some(Arc::clone(&gate)));
    let held = gate.lock().unwrap();
    let recorder = log.recorder();
    let receipt = recorder.record(recorder.try_reserve(100).unwrap(), batch("a", 2));
    let closed = log.close(Duration::ZERO);
    let told = poll(Box::pin(receipt.durable()).as_mut());
    drop(held);
    assert_eq!((closed, told), (Closed { lost: 2 }, Poll::Ready(Err(NotRecorded::Closed))));
}

#[test]
fn one_server_has_the_directory_until_its_log_is_closed() {
    let root = tempfile::tempdir().unwrap();
    let config = at(root.path(), SyncPolicy::Interval);
    let (log, _) = start(&config);
    let refused = EventLog::start(&config, "1", &Arc::default()).unwrap_err();
    assert!(matches!(refused, EventError::Locked { .. }), "{refused}");
    assert!(matches!(take_over(root.path(), "test"), Err(EventError::Locked { .. })));
    // A handle that a call still has holds nothing.
    let recorder = log.recorder();
    assert_eq!(log.close(LONG).lost, 0);
    let (again, _) = start(&config);
    assert_eq!(again.server(), directory::server_id(root.path()).unwrap());
    drop(recorder);
}

#[tokio::test]
async fn a_log_is_read_while_it_is_written_and_taken_over_when_the_server_is_dead() {
    let root = tempfile::tempdir().unwrap();
    let config = at(root.path(), SyncPolicy::Always);
    let (log, _) = start(&config);
    let recorder = log.recorder();
    let record = async |id: &str| {
        let reserved = recorder.try_reserve(100).unwrap();
        recorder.record(reserved, batch(id, 2)).durable().await.unwrap();
    };
    assert!(open_read_only(root.path()).unwrap().files.is_empty());
    record("a").await;
    let opened = open_read_only(root.path()).unwrap();
    assert_eq!((opened.server.as_str(), opened.unread.len()), (log.server(), 0));
    assert_eq!(events(&opened.files).len(), 2);
    // What is written later is not read, what is sealed is gone.
    record("b").await;
    assert_eq!(events(&opened.files).len(), 2);
    assert_eq!(events(&open_read_only(root.path()).unwrap().files).len(), 4);
    assert_eq!(log.close(LONG).lost, 0);
    let path = &opened.files[0].path;
    let torn = fs::metadata(path).unwrap().len();
    fs::OpenOptions::new()
        .append(true)
        .open(path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, b"torn"))
        .unwrap();
    let opened = open_read_only(root.path()).unwrap();
    assert_eq!((opened.files[0].bytes, opened.files[0].last), (torn, 4), "the tail is left alone");
    assert_eq!(fs::metadata(path).unwrap().len(), torn + 4);

    let taken = take_over(root.path(), "test").unwrap();
    assert_eq!((taken.recovery().cut_bytes, taken.recovery().events), (4, 4));
    assert_eq!(events(&taken.files().closed()).len(), 4);
    assert!(matches!(EventLog::start(&config, "1", &Arc::default()), Err(EventError::Locked { .. })));
    taken.files().delete(&taken.files().closed()[0]).unwrap();
    assert!(opened.files[0].frames().unwrap().is_none());
    drop(taken);
    assert_eq!(start(&config).1.next_position, 5);
}

#[test]
fn damage_is_told_to_who_only_reads() {
    let root = tempfile::tempdir().unwrap();
    let config = at(root.path(), SyncPolicy::Interval);
    for _ in 0..2 {
        let (log, _) = start(&config);
        let recorder = log.recorder();
        recorder.record(recorder.try_reserve(100).unwrap(), batch("a", 3));
        assert_eq!(log.close(LONG).lost, 0);
    }
    let first = open_read_only(root.path()).unwrap().files[0].clone();
    let mut bytes = fs::read(&first.path).unwrap();
    let end = bytes.len() - 1;
    bytes[end] ^= 1;
    fs::write(&first.path, &bytes).unwrap();
    let opened = open_read_only(root.path()).unwrap();
    assert_eq!((opened.files[0].last, opened.files[1].first), (2, 4));
    assert_eq!(opened.unread.len(), 1, "{:?}", opened.unread);
    assert!(opened.unread[0].to_string().contains("00000001.log"), "{:?}", opened.unread);
    assert_eq!(fs::read(&first.path).unwrap(), bytes, "nothing was changed");
    let refused = open_read_only(&root.path().join("log")).unwrap_err();
    assert!(matches!(refused, EventError::NotADataDirectory { .. }), "{refused}");
}

#[test]
fn a_hundred_thousand_events_are_counted_at_the_start() {
    let root = tempfile::tempdir().unwrap();
    let mut config = at(root.path(), SyncPolicy::Os);
    config.log_file = 2 << 20;
    let (log, _) = start(&config);
    let recorder = log.recorder();
    for turn in 0..1_000 {
        let reserved = loop {
            match recorder.try_reserve(20_000) {
                Some(reserved) => break reserved,
                None => std::thread::yield_now(),
            }
        };
        recorder.record(reserved, batch(&format!("request-{turn}"), 100));
    }
    assert_eq!(log.close(LONG).lost, 0);
    let (log, recovery) = start(&config);
    assert_eq!((recovery.events, recovery.next_position), (100_000, 100_001));
    assert_eq!(recovery.files, log.closed_files().len());
    assert_eq!(log.files().iter().map(LogFile::events).sum::<u64>(), 100_000);
}

#[test]
fn metrics_tell_what_the_log_holds() {
    let root = tempfile::tempdir().unwrap();
    let metrics = Arc::<Metrics>::default();
    let mut config = at(root.path(), SyncPolicy::Interval);
    config.interval = Duration::from_mins(1);
    let (log, _) = EventLog::start(&config, "1", &metrics).unwrap();
    let recorder = log.recorder();
    let files = log.log_files();
    recorder.record(recorder.try_reserve(5_000).unwrap(), batch("a", 3));
    recorder.dropped(2);
    let text = metrics.encode(Format::OpenMetrics);
    for line in
        ["proffer_event_queue_length 3", "proffer_events_dropped_total 2", "proffer_event_log_writable 1"]
    {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert_eq!(log.close(LONG).lost, 0);
    let text = metrics.encode(Format::OpenMetrics);
    for line in [
        "proffer_events_appended_total 3".to_owned(),
        "proffer_event_log_sync_seconds_count 1".to_owned(),
        format!("proffer_event_log_bytes {}", files.bytes()),
    ] {
        assert!(text.contains(&line), "{line} in {text}");
    }
    let age =
        text.lines().find_map(|line| line.strip_prefix("proffer_oldest_unsealed_event_seconds ")).unwrap();
    assert!(age.parse::<f64>().unwrap() > 0.0, "{age}");
    files.delete(&files.closed()[0]).unwrap();
    let text = metrics.encode(Format::OpenMetrics);
    assert!(text.contains("proffer_oldest_unsealed_event_seconds 0"), "{text}");
}
