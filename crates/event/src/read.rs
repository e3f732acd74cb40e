//! Reading events: from the sealed files of a store, and from log files that are not sealed yet.
//!
//! Days, row groups and columns that a query does not want are skipped: days by the names of folders, row groups by
//! their statistics, columns by looking at those of the conditions first. What is left is decoded by two threads
//! (`read/threads.rs`), row group by row group, and merged (`read/merge.rs`). So memory is bounded, however much a
//! store holds. Reports read rows of a few columns, which is faster (`read/rows.rs`).
//!
//! A log that was sealed and not deleted yet has the same events as its sealed files. They are given once: a day of a
//! log for which there is a sealed file is not read. Logs are listed and opened first, so that one that is sealed in
//! the meantime is not missed. Start reading at [`EventReader::scan`].
//!
//! A log of which something cannot be read is an error, as a sealed file that cannot be read is: a part is never
//! taken for the whole. Only an event that is found in spite of that is given.

mod merge;
mod oldest;
mod positions;
mod progress;
mod query;
pub mod rows;
mod source;
#[cfg(test)]
mod tests;
mod threads;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

pub use self::oldest::{Oldest, Place};
use self::positions::Positions;
pub use self::progress::ReadProgress;
pub use self::query::{OfServer, Query, Since};
pub(crate) use self::query::{Wants, days_of_ids};
use self::source::{OpenedFile, Part, Sources};
use crate::columns::{Entry, OfRecord};
use crate::keys::KeyName;
use crate::kind::{EventRecord, Kind, Record};
use crate::log::{LogFile, LogFiles, OpenedLog, Unread};
use crate::proto::{DecisionRecord, OutcomeRecord, ShadowRecord, event};
use crate::sealed::{EventStore, LocalFile, SealedError, SealedFile, date_of};

/// Lists the log files of a server as they are now.
type ListLogs = Arc<dyn Fn() -> Vec<LogFile> + Send + Sync>;

/// Reads events.
#[derive(Clone)]
pub struct EventReader {
    store: EventStore,
    /// Servers, and their log files.
    logs: Vec<(String, ListLogs)>,
    /// What keeps events of them from being read.
    unread: Vec<Unread>,
    /// The log files, if they were opened once for all that is read.
    pinned: Option<Arc<Vec<OpenedFile>>>,
    progress: ReadProgress,
}

impl EventReader {
    /// Reads the sealed files of a store.
    #[must_use]
    pub fn new(store: EventStore) -> Self {
        Self { store, logs: Vec::new(), unread: Vec::new(), pinned: None, progress: ReadProgress::default() }
    }

    /// Reads the log files of a running server, too, as far as they are durable.
    #[must_use]
    pub fn with_logs(mut self, logs: LogFiles) -> Self {
        self.logs.push((logs.server().to_owned(), Arc::new(move || logs.all())));
        self
    }

    /// Reads the log files of a data directory, too. If something keeps events of it from being read, that is an error
    /// of everything that is read.
    #[must_use]
    pub fn with_opened(mut self, log: OpenedLog) -> Self {
        self.unread.extend(log.unread);
        self.logs.push((log.server, Arc::new(move || log.files.clone())));
        self
    }

    /// A reader of the logs as they are now. They are opened and gone through here, and not again for each scan, so
    /// that a scan for each day costs little more than one of all days. Logs that it is given later are not read, and
    /// neither is what is recorded later, until it is sealed. Beyond two million events in logs, it does not keep where
    /// they are, and goes through their logs again.
    ///
    /// If an event of a log is erased meanwhile, a scan is an error that says so: make another one then.
    ///
    /// # Errors
    /// When a log cannot be read.
    pub fn pinned(&self) -> Result<Self, SealedError> {
        self.check_logs()?;
        let logs = self.opened_logs()?;
        source::index_logs(&logs)?;
        Ok(Self { pinned: Some(logs), ..self.clone() })
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
    /// When the store cannot be reached, or a file is damaged: a log before anything is passed on, and a sealed file
    /// behind what comes before it.
    pub fn scan(
        &self,
        query: &Query,
        visit: &mut dyn FnMut(DecisionRecord) -> ControlFlow<()>,
    ) -> Result<(), SealedError> {
        self.scan_records(query, visit)
    }

    /// Passes the outcomes that a query wants to `visit`, as [`scan`](Self::scan) does decisions: in the order of
    /// `received_at`. Reports of the same outcome to several servers, or after the time for which a server knows what
    /// it has, are all among them; they have the same `event_id`.
    ///
    /// # Errors
    /// As [`scan`](Self::scan).
    pub fn scan_outcomes(
        &self,
        query: &Query,
        visit: &mut dyn FnMut(OutcomeRecord) -> ControlFlow<()>,
    ) -> Result<(), SealedError> {
        self.scan_records(query, visit)
    }

    /// Passes the comparisons with shadows that a query wants to `visit`, as [`scan`](Self::scan) does decisions: in
    /// the order of `compared_at`.
    ///
    /// # Errors
    /// As [`scan`](Self::scan).
    pub fn scan_shadows(
        &self,
        query: &Query,
        visit: &mut dyn FnMut(ShadowRecord) -> ControlFlow<()>,
    ) -> Result<(), SealedError> {
        self.scan_records(query, visit)
    }

    /// As [`scan`](Self::scan), of any kind, with the places of events in the log.
    ///
    /// # Errors
    /// As [`scan`](Self::scan).
    pub fn scan_entries(
        &self,
        kind: Kind,
        query: &Query,
        visit: &mut dyn FnMut(Entry) -> ControlFlow<()>,
    ) -> Result<(), SealedError> {
        self.check_logs()?;
        self.scan_readable(kind, query, visit)
    }

    /// The log files, open.
    fn opened_logs(&self) -> Result<Arc<Vec<OpenedFile>>, SealedError> {
        match &self.pinned {
            Some(logs) => Ok(Arc::clone(logs)),
            None => source::open_logs(&self.logs).map(Arc::new),
        }
    }

    /// Whether everything in the logs can be read.
    fn check_logs(&self) -> Result<(), SealedError> {
        let [first, others @ ..] = &self.unread[..] else { return Ok(()) };
        let more = match others.len() {
            0 => String::new(),
            others => format!(" (and {others} more; `proffer events verify` names all)"),
        };
        Err(SealedError::damaged(&first.path.display().to_string(), format!("{}{more}", first.message)))
    }

    /// As [`scan_entries`](Self::scan_entries), of what can be read.
    fn scan_readable(
        &self,
        kind: Kind,
        query: &Query,
        visit: &mut dyn FnMut(Entry) -> ControlFlow<()>,
    ) -> Result<(), SealedError> {
        let mut left = query.limit.unwrap_or(u64::MAX);
        if left == 0 {
            return Ok(());
        }
        let sources = Sources::by_day(&self.store, &self.opened_logs()?, kind, query, &self.progress)?;
        threads::run(&|part: &Part| part.load(query), |decoder| {
            merge::all(sources, query, decoder, &mut |entry| {
                if entry.record.is_erased() {
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

    /// The servers of the sealed files of all kinds, each with the greatest sequence of its log files. Days before that
    /// of `time`, in microseconds since 1970, are not looked at.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub fn sealed_servers(&self, time: Option<i64>) -> Result<BTreeMap<String, u64>, SealedError> {
        let days = Since { time, ..Since::default() }.days();
        let mut servers = BTreeMap::new();
        for kind in Kind::ALL {
            for (key, _) in self.store.list(kind, days.as_ref())? {
                let last: &mut u64 = servers.entry(key.server).or_default();
                *last = (*last).max(key.sequence);
            }
        }
        Ok(servers)
    }

    /// The keys of the pseudonyms in events of all kinds, on the days of a query.
    ///
    /// # Errors
    /// As [`scan`](Self::scan).
    pub fn pseudonym_keys(&self, query: &Query) -> Result<BTreeSet<KeyName>, SealedError> {
        self.check_logs()?;
        let mut keys = BTreeSet::new();
        let mut add = |ids: BTreeSet<String>, named: &[KeyName]| {
            let ids = ids.into_iter().filter(|id| !id.is_empty());
            keys.extend(ids.flat_map(|id| KeyName::candidates(&id, named)));
        };
        let days = Kind::ALL.map(|kind| (kind, query.days(kind)));
        for log in self.logs.iter().flat_map(|(_, list)| list()) {
            let Some(mut frames) = log.frames().map_err(SealedError::io(&log.path))? else { continue };
            let failed = |source| SealedError::Log { path: log.path.display().to_string(), source };
            let (mut ids, mut named) = (BTreeSet::new(), Vec::new());
            while let Some(frame) = frames.next_frame().map_err(failed)? {
                if let Some(event::Event::Header(header)) = &frame.event.event {
                    named = KeyName::in_header(&header.keys);
                }
                let Some(record) = frame.event.event.as_ref().and_then(Record::in_event) else { continue };
                let of_kind = days.iter().find(|(kind, _)| *kind == record.kind());
                let days = of_kind.and_then(|(_, days)| days.as_ref());
                let is_wanted = days.is_none_or(|days| days.contains(&date_of(record.filed_at())));
                if is_wanted && !ids.contains(record.pseudonym_key()) {
                    ids.insert(record.pseudonym_key().to_owned());
                }
            }
            add(ids, &named);
        }
        for (kind, days) in &days {
            for (key, _) in self.store.list(*kind, days.as_ref())? {
                let Some(local) = self.store.local(&key)? else { continue };
                let file = SealedFile::open(local)?;
                for group in 0..file.groups() {
                    add(file.pseudonym_keys(group)?, file.log_keys());
                }
            }
        }
        Ok(keys)
    }

    /// Passes events of all kinds that are wanted to `visit`, until it breaks: server by server, and those of a server
    /// in the order of their positions, which is that in which it has recorded them. So a history can be built again.
    /// What is left of events about an erased person is not among them.
    ///
    /// # Errors
    /// As [`scan`](Self::scan).
    pub fn events_since(
        &self,
        since: &Since,
        visit: &mut dyn FnMut(Entry) -> ControlFlow<()>,
    ) -> Result<(), SealedError> {
        self.check_logs()?;
        let sources = Sources::by_server(&self.store, &self.opened_logs()?, since, &self.progress)?;
        threads::run(&|part: &Part| part.load(since), |decoder| {
            merge::all(sources, since, decoder, &mut |entry| {
                if entry.record.is_erased() { ControlFlow::Continue(()) } else { visit(entry) }
            })
        })
    }

    /// The decision of that id, if it is there. Its day is known from the id; the days before and after are searched,
    /// too, as clocks differ.
    ///
    /// # Errors
    /// As [`scan`](Self::scan); but a log that is damaged is none if the decision is found.
    pub fn find(&self, decision_id: &str) -> Result<Option<DecisionRecord>, SealedError> {
        self.first(&Query::of_decision(decision_id))
    }

    /// The outcome of that id, if it is there. Its id tells no day, so that all files are looked at.
    ///
    /// # Errors
    /// As [`scan`](Self::scan).
    pub fn find_outcome(&self, event_id: &str) -> Result<Option<OutcomeRecord>, SealedError> {
        self.first(&Query::of_outcome(event_id))
    }

    fn first<R: OfRecord>(&self, query: &Query) -> Result<Option<R>, SealedError> {
        let mut found = None;
        self.scan_readable(R::KIND, query, &mut |entry| {
            found = R::of(entry.record).map(|record| *record);
            ControlFlow::Break(())
        })?;
        if found.is_none() {
            self.check_logs()?;
        }
        Ok(found)
    }

    fn scan_records<R: OfRecord>(
        &self,
        query: &Query,
        visit: &mut dyn FnMut(R) -> ControlFlow<()>,
    ) -> Result<(), SealedError> {
        self.scan_entries(R::KIND, query, &mut |entry| {
            R::of(entry.record).map_or(ControlFlow::Continue(()), |record| visit(*record))
        })
    }
}

/// Passes the events of an exported Parquet file that a query wants to `visit`, in the order of the file, until it
/// breaks. The file may have been rewritten by another program, as long as its columns are there. `kind`: what it
/// holds. Tells `progress` how far it is.
///
/// # Errors
/// When the file is damaged, of another kind, has an event twice, or exceeds the limits of what is read.
pub fn read_file(
    path: &Path,
    kind: Kind,
    query: &Query,
    progress: &ReadProgress,
    visit: &mut dyn FnMut(Entry) -> ControlFlow<()>,
) -> Result<(), SealedError> {
    let file = SealedFile::open_any(LocalFile::open(path)?, kind)?;
    let mut left = query.limit.unwrap_or(u64::MAX);
    let groups = (0..file.groups()).filter(|group| query.may_want_group(&file, *group));
    progress.begin(groups.clone().map(|group| file.group_bytes(group)).sum());
    let (mut positions, mut repeated) = (Positions::default(), None);
    for group in groups {
        let ended = file.visit(group, query, &mut |entries| {
            for entry in entries.into_iter().filter(|entry| !entry.record.is_erased()) {
                if !positions.insert(entry.record.server(), entry.position) {
                    repeated = Some(format!(
                        "event {} of server {} is there twice; remove one of the rows",
                        entry.position,
                        entry.record.server()
                    ));
                    return ControlFlow::Break(());
                }
                if left == 0 || visit(entry).is_break() {
                    return ControlFlow::Break(());
                }
                left -= 1;
            }
            ControlFlow::Continue(())
        })?;
        if let Some(message) = repeated {
            return Err(SealedError::damaged(file.shown(), message));
        }
        progress.add(file.group_bytes(group));
        if ended.is_break() || left == 0 {
            break;
        }
    }
    Ok(())
}
