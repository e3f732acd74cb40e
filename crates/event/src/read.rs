//! Reading decisions: from the sealed files of a store, and from log files that are not sealed yet.
//!
//! Days, row groups and columns that a query does not want are skipped: days by the names of folders, row groups by
//! their statistics, columns by looking at those of the conditions first. What is left is decoded by two threads
//! (`read/threads.rs`), row group by row group, and merged (`read/merge.rs`). So memory is bounded whatever a store
//! holds.
//!
//! A log that was sealed and not deleted yet has the same events as its sealed file. They are given once: a day of a
//! log for which there is a sealed file is not read. Logs are listed and opened first, so that one that is sealed in
//! the meantime is not missed. Start reading at [`EventReader::scan`].

mod merge;
mod progress;
mod query;
mod source;
#[cfg(test)]
mod tests;
mod threads;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

pub use self::progress::ReadProgress;
pub use self::query::Query;
use self::source::Sources;
use crate::columns::Entry;
use crate::erasure::is_erased;
use crate::log::{LogFile, LogFiles, OpenedLog};
use crate::proto::{DecisionRecord, event};
use crate::sealed::{EventStore, Kind, LocalFile, SealedError, SealedFile};

/// Lists the log files of a server as they are now.
type ListLogs = Arc<dyn Fn() -> Vec<LogFile> + Send + Sync>;

/// Reads decisions.
#[derive(Clone)]
pub struct EventReader {
    store: EventStore,
    /// Servers, and their log files.
    logs: Vec<(String, ListLogs)>,
    progress: ReadProgress,
}

impl EventReader {
    /// Reads the sealed files of a store.
    #[must_use]
    pub fn new(store: EventStore) -> Self {
        Self { store, logs: Vec::new(), progress: ReadProgress::default() }
    }

    /// Reads the log files of a running server, too, as far as they are durable.
    #[must_use]
    pub fn with_logs(mut self, logs: LogFiles) -> Self {
        self.logs.push((logs.server().to_owned(), Arc::new(move || logs.all())));
        self
    }

    /// Reads the log files of a data directory, too.
    #[must_use]
    pub fn with_opened(mut self, log: OpenedLog) -> Self {
        self.logs.push((log.server, Arc::new(move || log.files.clone())));
        self
    }

    /// Tells `progress` how far a scan is.
    #[must_use]
    pub fn with_progress(mut self, progress: ReadProgress) -> Self {
        self.progress = progress;
        self
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &EventStore {
        &self.store
    }

    /// Passes the decisions that a query wants to `visit`, until it breaks. They come day by day, and of each day
    /// server by server, in the order of `decided_at`. That order is exact unless the server's clock was set back by
    /// more than a log file lasts. What is left of decisions about an erased person is not among them.
    ///
    /// # Errors
    /// When the store cannot be reached, or a file is damaged. What came before it has been passed on.
    pub fn scan(
        &self,
        query: &Query,
        visit: &mut dyn FnMut(DecisionRecord) -> ControlFlow<()>,
    ) -> Result<(), SealedError> {
        self.scan_entries(query, &mut |entry| visit(*entry.record))
    }

    /// As [`scan`](Self::scan), with the places of decisions in the log.
    ///
    /// # Errors
    /// As [`scan`](Self::scan).
    pub fn scan_entries(
        &self,
        query: &Query,
        visit: &mut dyn FnMut(Entry) -> ControlFlow<()>,
    ) -> Result<(), SealedError> {
        let mut left = query.limit.unwrap_or(u64::MAX);
        if left == 0 {
            return Ok(());
        }
        let sources = Sources::list(&self.store, &self.logs, query, &self.progress)?;
        threads::run(query, |decoder| {
            merge::all(sources, query, decoder, &mut |entry| {
                if is_erased(&entry.record) {
                    return ControlFlow::Continue(());
                }
                left -= 1;
                if left == 0 {
                    let _ = visit(entry);
                    return ControlFlow::Break(());
                }
                visit(entry)
            })
        })
    }

    /// The keys of the pseudonyms in all decisions.
    ///
    /// # Errors
    /// As [`scan`](Self::scan).
    pub fn pseudonym_keys(&self) -> Result<BTreeSet<String>, SealedError> {
        let mut keys = BTreeSet::new();
        for log in self.logs.iter().flat_map(|(_, list)| list()) {
            let Some(mut frames) = log.frames().map_err(SealedError::io(&log.path))? else { continue };
            let failed = |source| SealedError::Log { path: log.path.display().to_string(), source };
            while let Some(frame) = frames.next_frame().map_err(failed)? {
                if let Some(event::Event::Decision(record)) = frame.event.event {
                    keys.insert(record.pseudonym_key);
                }
            }
        }
        for (key, _) in self.store.list(Kind::Decision, None)? {
            let Some(local) = self.store.local(&key)? else { continue };
            let file = SealedFile::open(local)?;
            for group in 0..file.groups() {
                keys.extend(file.pseudonym_keys(group)?);
            }
        }
        keys.remove("");
        Ok(keys)
    }

    /// The decision of that id, if it is there. Its day is known from the id; the days before and after are searched,
    /// too, as clocks differ.
    ///
    /// # Errors
    /// As [`scan`](Self::scan).
    pub fn find(&self, decision_id: &str) -> Result<Option<DecisionRecord>, SealedError> {
        let mut found = None;
        self.scan(&Query::of_decision(decision_id), &mut |record| {
            found = Some(record);
            ControlFlow::Break(())
        })?;
        Ok(found)
    }
}

/// Passes the decisions of an exported Parquet file that a query wants to `visit`, in the order of the file, until it
/// breaks. The file may have been rewritten by another program, as long as its columns are there. Tells `progress` how
/// far it is.
///
/// # Errors
/// When the file is damaged, or exceeds the limits of what is read.
pub fn read_file(
    path: &Path,
    query: &Query,
    progress: &ReadProgress,
    visit: &mut dyn FnMut(Entry) -> ControlFlow<()>,
) -> Result<(), SealedError> {
    let file = SealedFile::open_any(LocalFile::open(path)?)?;
    let mut left = query.limit.unwrap_or(u64::MAX);
    let groups = (0..file.groups()).filter(|group| query.may_want_group(&file, *group));
    progress.begin(groups.clone().map(|group| file.group_bytes(group)).sum());
    for group in groups {
        let ended = file.visit(group, query, &mut |entries| {
            for entry in entries.into_iter().filter(|entry| !is_erased(&entry.record)) {
                if left == 0 || visit(entry).is_break() {
                    return ControlFlow::Break(());
                }
                left -= 1;
            }
            ControlFlow::Continue(())
        })?;
        progress.add(file.group_bytes(group));
        if ended.is_break() || left == 0 {
            break;
        }
    }
    Ok(())
}
