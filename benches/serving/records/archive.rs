//! Decisions that were made and recorded: first in the log of a data directory, then sealed in a store.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use event::log::{open_read_only, take_over};
use event::seal::seal_all;
use event::{EventConfig, EventLog, EventReader, EventStore, Query};
use proffer::app::recorder;
use replay::Privacy;
use telemetry::Metrics;
use tempfile::TempDir;
use work::Call;

use super::workspace;
use crate::in_process::Engine;

/// Recorded decisions, and where they are.
pub(crate) struct Archive {
    /// How many.
    pub events: usize,
    directory: TempDir,
}

impl Archive {
    /// Has the engine decide `events` times, and records it.
    pub(crate) fn record(engine: &Engine, events: usize) -> Self {
        let archive = Self { events, directory: tempfile::tempdir().unwrap() };
        let metrics = Arc::new(Metrics::new());
        let (log, _) = EventLog::start(&archive.config(), "bench", &metrics).unwrap();
        let records = log.recorder();
        let decider = engine.decider.clone().with_recorder(recorder(log.recorder(), Privacy::default()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            for number in 0..events {
                // Without room the decision would not be recorded.
                while records.is_full() {
                    std::thread::sleep(Duration::from_micros(200));
                }
                let (_, results) = decider.rank(workspace::request(number), &Call::default()).await.unwrap();
                assert!(results[0].error.is_none(), "{:?}", results[0].error);
            }
        });
        assert_eq!(log.close(Duration::from_mins(1)).lost, 0);
        assert_eq!(metrics.events.appended.get(), events as u64);
        archive
    }

    /// How the log is written: as a server does by default, with room for many.
    pub(crate) fn config(&self) -> EventConfig {
        EventConfig { directory: self.data(), log_limit: 1 << 40, ..EventConfig::reference() }
    }

    /// Reads what is in the log; how many decisions that are.
    pub(crate) fn read_log(&self) -> usize {
        count(&EventReader::new(self.store()).with_opened(open_read_only(&self.data()).unwrap()))
    }

    /// Seals the log.
    pub(crate) fn seal(&self) {
        let sealed = seal_all(&take_over(&self.data(), "serving").unwrap(), &self.store());
        assert!(sealed.failures.is_empty(), "{:?}", sealed.failures);
    }

    /// Reads the sealed files; how many decisions they hold.
    pub(crate) fn read_sealed(&self) -> usize {
        count(&self.reader())
    }

    /// A reader of the sealed files.
    pub(crate) fn reader(&self) -> EventReader {
        EventReader::new(self.store())
    }

    /// The sealed files.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        files_below(&self.directory.path().join("events"))
    }

    /// The bytes of the log files.
    pub(crate) fn log_bytes(&self) -> u64 {
        files_below(&self.data().join("log")).iter().map(|file| bytes_of(file)).sum()
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn store(&self) -> EventStore {
        EventStore::open(self.directory.path().to_str().unwrap(), None, []).unwrap()
    }
}

/// The bytes of a file.
pub(crate) fn bytes_of(file: &Path) -> u64 {
    std::fs::metadata(file).unwrap().len()
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files
}

fn count(reader: &EventReader) -> usize {
    let mut read = 0;
    let count = &mut |record: event::proto::DecisionRecord| {
        std::hint::black_box(&record);
        read += 1;
        ControlFlow::Continue(())
    };
    reader.scan(&Query::default(), count).unwrap();
    read
}
