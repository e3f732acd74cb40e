//! What there is to read: the files of each day and server, and the parts of each that one thread decodes at a time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::BytesMut;
use chrono::NaiveDate;

use super::{ListLogs, Query, ReadProgress};
use crate::columns::{DECIDED_AT, Entry};
use crate::seal::{LogSpans, OpenLog};
use crate::sealed::{EventStore, Kind, SealedError, SealedFile, SealedKey};

/// The files of all days and servers, ascending.
pub(super) struct Sources {
    groups: VecDeque<Files>,
    store: EventStore,
    progress: ReadProgress,
}

/// The files of a day and a server, by sequence.
pub(super) struct Files(VecDeque<File>);

struct File {
    place: Place,
    bytes: u64,
}

enum Place {
    Sealed(SealedKey),
    /// The decisions of a day in a log file.
    Log(Arc<LogSpans>, NaiveDate),
}

/// A part of a file: decisions in the order of `decided_at`.
pub(super) struct Part {
    /// When the first of them was made, or before.
    pub(super) lower: i64,
    run: Run,
    /// Its share of the bytes of the file.
    bytes: u64,
    progress: ReadProgress,
}

enum Run {
    Group(Arc<SealedFile>, usize),
    /// The decisions of a day in a span of a log.
    Span(Arc<LogSpans>, usize, NaiveDate),
}

impl Sources {
    /// Lists what a query may want. Logs come first: a log that is sealed and deleted after it was opened can still be
    /// read, and one that was sealed before is among the sealed files.
    pub(super) fn list(
        store: &EventStore,
        logs: &[(String, ListLogs)],
        query: &Query,
        progress: &ReadProgress,
    ) -> Result<Self, SealedError> {
        let days = query.days();
        let is_wanted = |date: &NaiveDate| days.as_ref().is_none_or(|days| days.contains(date));
        let mut files: BTreeMap<(NaiveDate, String, u64), File> = BTreeMap::new();
        for (server, list) in logs {
            for log in list() {
                let Some(opened) = OpenLog::open(server, &log)? else { continue };
                let spans = Arc::new(opened.spans()?);
                let dates = spans.dates();
                let bytes = log.bytes / dates.len().max(1) as u64;
                for date in dates.into_iter().filter(&is_wanted) {
                    let key = (date, server.clone(), log.sequence);
                    files.insert(key, File { place: Place::Log(Arc::clone(&spans), date), bytes });
                }
            }
        }
        for (key, bytes) in store.list(Kind::Decision, days.as_ref())? {
            let place = (key.date, key.server.clone(), key.sequence);
            files.insert(place, File { place: Place::Sealed(key), bytes });
        }
        progress.begin(files.values().map(|file| file.bytes).sum());
        let mut groups: BTreeMap<(NaiveDate, String), Files> = BTreeMap::new();
        for ((date, server, _), file) in files {
            groups.entry((date, server)).or_insert_with(|| Files(VecDeque::new())).0.push_back(file);
        }
        let groups = groups.into_values().collect();
        Ok(Self { groups, store: store.clone(), progress: progress.clone() })
    }

    /// The files of the next day and server.
    pub(super) fn next_files(&mut self) -> Option<Files> {
        self.groups.pop_front()
    }

    /// Opens the next file, and returns those of its parts that a query may want. `None` if there is no file left.
    pub(super) fn open_next(
        &self,
        files: &mut Files,
        query: &Query,
    ) -> Result<Option<Vec<Part>>, SealedError> {
        loop {
            let Some(File { place, bytes }) = files.0.pop_front() else { return Ok(None) };
            let runs = match place {
                Place::Log(log, date) => runs_of_log(&log, date),
                Place::Sealed(key) => match self.store.local(&key)? {
                    Some(local) => runs_of_file(&Arc::new(SealedFile::open(local)?), query),
                    // Deleted since it was listed: it is too old to be kept.
                    None => {
                        self.progress.add(bytes);
                        continue;
                    }
                },
            };
            return Ok(Some(self.parts(runs, bytes)));
        }
    }

    /// The parts of a file of so many bytes.
    fn parts(&self, runs: Vec<(i64, Run)>, bytes: u64) -> Vec<Part> {
        let share = bytes / runs.len().max(1) as u64;
        // What is not wanted and the rest of the division.
        self.progress.add(bytes - share * runs.len() as u64);
        let part = |(lower, run)| Part { lower, run, bytes: share, progress: self.progress.clone() };
        runs.into_iter().map(part).collect()
    }
}

/// What there is of a day in a log, each with the time of its first decision.
fn runs_of_log(log: &Arc<LogSpans>, date: NaiveDate) -> Vec<(i64, Run)> {
    let run = |(lower, span)| (lower, Run::Span(Arc::clone(log), span, date));
    log.of_day(date).map(run).collect()
}

/// What a query may want of a sealed file, each with the time of its first decision, or one before.
fn runs_of_file(file: &Arc<SealedFile>, query: &Query) -> Vec<(i64, Run)> {
    let wanted = (0..file.groups()).filter(|group| query.may_want_group(file, *group));
    let run = |group| {
        let lower = file.number_bounds(group, DECIDED_AT).map_or(i64::MIN, |(first, _)| first);
        (lower, Run::Group(Arc::clone(file), group))
    };
    wanted.map(run).collect()
}

impl Part {
    /// Decodes the decisions that a query wants, and passes them to `take` in batches. `buffer` is for what is read.
    pub(super) fn load(
        &self,
        query: &Query,
        buffer: &mut BytesMut,
        take: &mut dyn FnMut(Vec<Entry>),
    ) -> Result<(), SealedError> {
        let loaded = self.run.load(query, buffer, take);
        self.progress.add(self.bytes);
        loaded
    }
}

impl Run {
    fn load(
        &self,
        query: &Query,
        buffer: &mut BytesMut,
        take: &mut dyn FnMut(Vec<Entry>),
    ) -> Result<(), SealedError> {
        match self {
            Self::Group(file, group) => file.pass_entries(*group, query, take),
            Self::Span(log, span, date) => {
                let mut entries = log.entries(*span, *date, buffer)?;
                entries.retain(|entry| query.wants(&entry.record));
                take(entries);
                Ok(())
            }
        }
    }
}
