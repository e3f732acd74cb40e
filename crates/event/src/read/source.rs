//! What there is to read: the files of each day and server, and the parts of each that one thread decodes at a time.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use chrono::NaiveDate;

use super::{ListLogs, Query};
use crate::columns::{DECIDED_AT, Entry};
use crate::seal::{LogIndex, OpenLog};
use crate::sealed::{EventStore, GROUP_ROWS, Kind, SealedError, SealedFile, SealedKey};

/// The files of all days and servers, ascending.
pub(super) struct Sources {
    groups: VecDeque<Files>,
    store: EventStore,
}

/// The files of a day and a server, by sequence.
pub(super) struct Files(VecDeque<File>);

enum File {
    Sealed(SealedKey),
    /// The decisions of a day in a log file.
    Log(Arc<OpenLog>, NaiveDate),
}

/// A part of a file: decisions in the order of `decided_at`.
pub(super) struct Part {
    /// When the first of them was made, or before.
    pub(super) lower: i64,
    run: Run,
}

enum Run {
    Group(Arc<SealedFile>, usize),
    Items(Arc<LogIndex>, Range<usize>),
}

impl Sources {
    /// Lists what a query may want. Logs come first: a log that is sealed and deleted after it was opened can still be
    /// read, and one that was sealed before is among the sealed files.
    pub(super) fn list(
        store: &EventStore,
        logs: &[(String, ListLogs)],
        query: &Query,
    ) -> Result<Self, SealedError> {
        let days = query.days();
        let is_wanted = |date: &NaiveDate| days.as_ref().is_none_or(|days| days.contains(date));
        let mut files: BTreeMap<(NaiveDate, String, u64), File> = BTreeMap::new();
        for (server, list) in logs {
            for log in list() {
                let Some(opened) = OpenLog::open(server, &log)? else { continue };
                let opened = Arc::new(opened);
                for date in opened.dates()?.into_iter().filter(&is_wanted) {
                    let key = (date, server.clone(), log.sequence);
                    files.insert(key, File::Log(Arc::clone(&opened), date));
                }
            }
        }
        for (key, _) in store.list(Kind::Decision, days.as_ref())? {
            files.insert((key.date, key.server.clone(), key.sequence), File::Sealed(key));
        }
        let mut groups: BTreeMap<(NaiveDate, String), Files> = BTreeMap::new();
        for ((date, server, _), file) in files {
            groups.entry((date, server)).or_insert_with(|| Files(VecDeque::new())).0.push_back(file);
        }
        Ok(Self { groups: groups.into_values().collect(), store: store.clone() })
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
            return Ok(Some(match files.0.pop_front() {
                None => return Ok(None),
                Some(File::Log(log, date)) => parts_of_log(&Arc::new(log.index()?), date),
                Some(File::Sealed(key)) => match self.store.local(&key)? {
                    // Deleted since it was listed: it is too old to be kept.
                    None => continue,
                    Some(local) => parts_of_file(&Arc::new(SealedFile::open(local)?), query),
                },
            }));
        }
    }
}

fn parts_of_log(log: &Arc<LogIndex>, date: NaiveDate) -> Vec<Part> {
    let day = log.days().into_iter().find(|day| day.date == date);
    let items = day.map_or(0..0, |day| day.items);
    let starts = items.clone().step_by(GROUP_ROWS);
    let part = |start: usize| Part {
        lower: log.decided_at(start),
        run: Run::Items(Arc::clone(log), start..items.end.min(start + GROUP_ROWS)),
    };
    starts.map(part).collect()
}

fn parts_of_file(file: &Arc<SealedFile>, query: &Query) -> Vec<Part> {
    let wanted = (0..file.groups()).filter(|group| query.may_want_group(file, *group));
    let part = |group| Part {
        lower: file.number_bounds(group, DECIDED_AT).map_or(i64::MIN, |(first, _)| first),
        run: Run::Group(Arc::clone(file), group),
    };
    wanted.map(part).collect()
}

impl Part {
    /// Decodes the decisions that a query wants.
    pub(super) fn load(&self, query: &Query) -> Result<Vec<Entry>, SealedError> {
        match &self.run {
            Run::Group(file, group) => file.entries(*group, query),
            Run::Items(log, items) => {
                let mut buffer = Vec::new();
                let mut entries = Vec::new();
                for item in items.clone() {
                    let entry = log.entry(item, &mut buffer)?;
                    if query.wants(&entry.record) {
                        entries.push(entry);
                    }
                }
                Ok(entries)
            }
        }
    }
}
