//! What there is to read: files in the order in which they are opened, and the parts of each that one thread decodes
//! at a time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use chrono::NaiveDate;

use super::merge::Order;
use super::{ListLogs, Query, Since, Wants};
use crate::columns::{Entry, POSITION};
use crate::kind::Kind;
use crate::seal::{Item, OpenLog};
use crate::sealed::{EventStore, GROUP_ROWS, SealedError, SealedFile, SealedKey};

/// The files that are read, in groups that are merged one after another.
pub(super) struct Sources {
    groups: VecDeque<Files>,
    store: EventStore,
    order: Order,
}

/// Files that are merged. Those of an element are opened together; the elements follow on each other.
pub(super) struct Files(VecDeque<Vec<File>>);

enum File {
    Sealed(SealedKey),
    /// The events of a kind and a day in a log file.
    Log(Arc<OpenLog>, Kind, NaiveDate),
    /// All events of a log file.
    WholeLog(Arc<OpenLog>),
}

/// A part of a file: events in their order.
pub(super) struct Part {
    /// Where the first of them is in the order, or before.
    pub(super) lower: i64,
    run: Run,
    order: Order,
}

enum Run {
    Group(Arc<SealedFile>, usize),
    Items(Arc<OpenLog>, Vec<Item>),
}

impl Sources {
    /// Lists what a query may want of a kind, by day and server. Logs come first: a log that is sealed and deleted
    /// after it was opened can still be read, and one that was sealed before is among the sealed files.
    pub(super) fn by_day(
        store: &EventStore,
        logs: &[(String, ListLogs)],
        kind: Kind,
        query: &Query,
    ) -> Result<Self, SealedError> {
        let days = query.days(kind);
        let is_wanted = |date: &NaiveDate| days.as_ref().is_none_or(|days| days.contains(date));
        let mut files: BTreeMap<(NaiveDate, String, u64), File> = BTreeMap::new();
        for (server, sequence, opened) in open_logs(logs)? {
            for date in opened.dates(kind)?.into_iter().filter(&is_wanted) {
                files.insert((date, server.clone(), sequence), File::Log(Arc::clone(&opened), kind, date));
            }
        }
        for (key, _) in store.list(kind, days.as_ref())? {
            files.insert((key.date, key.server.clone(), key.sequence), File::Sealed(key));
        }
        let mut groups: BTreeMap<(NaiveDate, String), Files> = BTreeMap::new();
        for ((date, server, _), file) in files {
            groups.entry((date, server)).or_insert_with(Files::none).0.push_back(vec![file]);
        }
        Ok(Self { groups: groups.into_values().collect(), store: store.clone(), order: Order::Time })
    }

    /// Lists what there may be of all kinds since a time, by server. A log that can be opened is read instead of the
    /// sealed files that it has become: it has all of them.
    pub(super) fn by_server(
        store: &EventStore,
        logs: &[(String, ListLogs)],
        since: &Since,
    ) -> Result<Self, SealedError> {
        let opened = open_logs(logs)?;
        let mut sequences: BTreeMap<(String, u64), Vec<File>> = BTreeMap::new();
        for kind in Kind::ALL {
            for (key, _) in store.list(kind, since.days().as_ref())? {
                sequences.entry((key.server.clone(), key.sequence)).or_default().push(File::Sealed(key));
            }
        }
        for (server, sequence, log) in opened {
            sequences.insert((server, sequence), vec![File::WholeLog(log)]);
        }
        let mut groups: BTreeMap<String, Files> = BTreeMap::new();
        for ((server, _), files) in sequences {
            groups.entry(server).or_insert_with(Files::none).0.push_back(files);
        }
        Ok(Self { groups: groups.into_values().collect(), store: store.clone(), order: Order::Position })
    }

    /// The order in which events are merged.
    pub(super) fn order(&self) -> Order {
        self.order
    }

    /// The files that are merged next.
    pub(super) fn next_files(&mut self) -> Option<Files> {
        self.groups.pop_front()
    }

    /// Opens the next files, and returns those of their parts that may be wanted. `None` if there is no file left.
    pub(super) fn open_next(
        &self,
        files: &mut Files,
        wants: &dyn Wants,
    ) -> Result<Option<Vec<Part>>, SealedError> {
        let Some(together) = files.0.pop_front() else { return Ok(None) };
        let mut parts = Vec::new();
        for file in together {
            match file {
                File::Log(log, kind, date) => {
                    let index = log.index()?;
                    let day = index.days().into_iter().find(|day| (day.kind, day.date) == (kind, date));
                    let chunks = day.into_iter().flat_map(|day| day.items.chunks(GROUP_ROWS));
                    let runs =
                        chunks.map(|items| (items[0].filed_at, Run::Items(Arc::clone(&log), items.to_vec())));
                    parts.extend(runs.map(|run| self.part(run)));
                }
                File::WholeLog(log) => {
                    let (first, items) = log.in_order()?;
                    // Positions have no gaps.
                    let starts = (first.cast_signed()..).step_by(GROUP_ROWS);
                    let runs =
                        items.chunks(GROUP_ROWS).map(|items| Run::Items(Arc::clone(&log), items.to_vec()));
                    parts.extend(starts.zip(runs).map(|run| self.part(run)));
                }
                // If it is not there, it was deleted since it was listed: it is too old to be kept.
                File::Sealed(key) => {
                    if let Some(local) = self.store.local(&key)? {
                        parts.extend(self.parts_of_file(SealedFile::open(local)?, wants));
                    }
                }
            }
        }
        Ok(Some(parts))
    }

    fn parts_of_file(&self, file: SealedFile, wants: &dyn Wants) -> Vec<Part> {
        let column = match self.order {
            Order::Time => file.kind().time(),
            Order::Position => POSITION,
        };
        let file = Arc::new(file);
        let wanted = (0..file.groups()).filter(|group| file.may_be_wanted(*group, wants));
        let run = |group| {
            let lower = file.number_bounds(group, column).map_or(i64::MIN, |(first, _)| first);
            self.part((lower, Run::Group(Arc::clone(&file), group)))
        };
        wanted.map(run).collect()
    }

    fn part(&self, (lower, run): (i64, Run)) -> Part {
        Part { lower, run, order: self.order }
    }
}

/// Opens the log files of servers, with their servers and sequences.
fn open_logs(logs: &[(String, ListLogs)]) -> Result<Vec<(String, u64, Arc<OpenLog>)>, SealedError> {
    let mut all = Vec::new();
    for (server, list) in logs {
        for log in list() {
            if let Some(opened) = OpenLog::open(server, &log)? {
                all.push((server.clone(), log.sequence, Arc::new(opened)));
            }
        }
    }
    Ok(all)
}

impl Files {
    fn none() -> Self {
        Self(VecDeque::new())
    }
}

impl Part {
    /// Decodes the events that are wanted, in their order.
    pub(super) fn load(&self, wants: &dyn Wants) -> Result<Vec<Entry>, SealedError> {
        let mut entries = match &self.run {
            Run::Group(file, group) => file.entries(*group, wants)?,
            Run::Items(log, items) => {
                let (mut buffer, mut entries) = (Vec::new(), Vec::new());
                for item in items {
                    let entry = log.entry(*item, &mut buffer)?;
                    if wants.wants(&entry) {
                        entries.push(entry);
                    }
                }
                entries
            }
        };
        if self.order == Order::Position {
            // Files are in the order of times.
            entries.sort_by_key(|entry| entry.position);
        }
        Ok(entries)
    }
}
