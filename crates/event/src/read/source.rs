//! What there is to read: files in the order in which they are opened, and the parts of each that one thread decodes
//! at a time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use chrono::NaiveDate;

use super::merge::Order;
use super::{ListLogs, Query, ReadProgress, Since, Wants};
use crate::columns::{Entry, Narrow, POSITION};
use crate::kind::Kind;
use crate::log::LogFile;
use crate::seal::{Item, LogIndex, OpenLog, Window};
use crate::sealed::{EventStore, GROUP_ROWS, SealedError, SealedFile, SealedKey};

/// The most events of logs of which it is kept where they are, at 24 bytes each. Logs beyond are gone through once
/// more when their turn comes.
const KEPT_EVENTS: usize = 2_000_000;

/// A log file that is open, and the server that has written it.
pub(super) struct OpenedFile {
    server: String,
    log: LogFile,
    opened: Arc<OpenLog>,
}

/// The files that are read, in groups that are merged one after another.
pub(super) struct Sources {
    groups: VecDeque<Files>,
    store: EventStore,
    order: Order,
    progress: ReadProgress,
}

/// Files that are merged. Those of an element are opened together; the elements follow on each other.
pub(super) struct Files(VecDeque<Vec<File>>);

struct File {
    place: Place,
    bytes: u64,
}

enum Place {
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
    /// Its share of the bytes of the file.
    bytes: u64,
    progress: ReadProgress,
}

/// What a part holds of what is wanted, for rows of a few columns.
pub(super) enum Loaded<B> {
    /// These columns of a sealed file.
    Batches(Vec<B>),
    /// Whole events: of a log, or of a file that lacks some of the columns.
    Entries(Vec<Entry>),
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
        logs: &[OpenedFile],
        kind: Kind,
        query: &Query,
        progress: &ReadProgress,
    ) -> Result<Self, SealedError> {
        let days = query.days(kind);
        let is_wanted = |date: &NaiveDate| days.as_ref().is_none_or(|days| days.contains(date));
        let mut files: BTreeMap<(NaiveDate, String, u64), File> = BTreeMap::new();
        let mut room = KEPT_EVENTS;
        for OpenedFile { server, log, opened } in logs {
            let dates = opened.dates(kind, &mut room)?;
            let bytes = log.bytes / dates.len().max(1) as u64;
            for date in dates.into_iter().filter(&is_wanted) {
                let place = Place::Log(Arc::clone(opened), kind, date);
                files.insert((date, server.clone(), log.sequence), File { place, bytes });
            }
        }
        for (key, bytes) in store.list(kind, days.as_ref())? {
            let place = (key.date, key.server.clone(), key.sequence);
            if let Some(File { place: Place::Log(log, ..), .. }) = files.get(&place) {
                check_same(log, &key, store)?;
            }
            files.insert(place, File { place: Place::Sealed(key), bytes });
        }
        progress.begin(files.values().map(|file| file.bytes).sum());
        let mut groups: BTreeMap<(NaiveDate, String), Files> = BTreeMap::new();
        for ((date, server, _), file) in files {
            groups.entry((date, server)).or_insert_with(Files::none).0.push_back(vec![file]);
        }
        let groups = groups.into_values().collect();
        Ok(Self { groups, store: store.clone(), order: Order::Time, progress: progress.clone() })
    }

    /// Lists what there may be of the wanted kinds since a time, by server. A log that can be opened is read instead of
    /// the sealed files that it has become: it has all of them.
    pub(super) fn by_server(
        store: &EventStore,
        logs: &[OpenedFile],
        since: &Since,
        progress: &ReadProgress,
    ) -> Result<Self, SealedError> {
        let mut sequences: BTreeMap<(String, u64), Vec<File>> = BTreeMap::new();
        for kind in Kind::ALL.into_iter().filter(|kind| since.may_want_kind(*kind)) {
            for (key, bytes) in store.list(kind, since.days().as_ref())? {
                if !since.may_want_log(&key.server, key.sequence) {
                    continue;
                }
                let of_log = sequences.entry((key.server.clone(), key.sequence)).or_default();
                of_log.push(File { place: Place::Sealed(key), bytes });
            }
        }
        for OpenedFile { server, log, opened } in logs {
            if !since.may_want_log(server, log.sequence) {
                continue;
            }
            let file = File { place: Place::WholeLog(Arc::clone(opened)), bytes: log.bytes };
            sequences.insert((server.clone(), log.sequence), vec![file]);
        }
        progress.begin(sequences.values().flatten().map(|file| file.bytes).sum());
        let mut groups: BTreeMap<String, Files> = BTreeMap::new();
        for ((server, _), files) in sequences {
            groups.entry(server).or_insert_with(Files::none).0.push_back(files);
        }
        let groups = groups.into_values().collect();
        Ok(Self { groups, store: store.clone(), order: Order::Position, progress: progress.clone() })
    }

    /// The days of a kind of which there are sealed files or events in logs, as far as a query may want something of
    /// them.
    pub(super) fn days(
        store: &EventStore,
        logs: &[OpenedFile],
        kind: Kind,
        query: &Query,
    ) -> Result<BTreeSet<NaiveDate>, SealedError> {
        let (wanted, mut days, mut room) = (query.days(kind), BTreeSet::new(), KEPT_EVENTS);
        for file in logs {
            days.extend(file.opened.dates(kind, &mut room)?);
        }
        days.retain(|day| wanted.as_ref().is_none_or(|wanted| wanted.contains(day)));
        days.extend(store.list(kind, wanted.as_ref())?.into_iter().map(|(key, _)| key.date));
        Ok(days)
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
        for File { place, bytes } in together {
            let runs = match place {
                Place::Log(log, kind, date) => runs_of_day(&log, kind, date)?,
                Place::WholeLog(log) => runs_in_order(&log)?,
                Place::Sealed(key) => match self.store.local(&key)? {
                    Some(local) => self.runs_of_file(SealedFile::open(local)?, wants),
                    // Deleted since it was listed: it is too old to be kept.
                    None => Vec::new(),
                },
            };
            parts.extend(self.parts(runs, bytes));
        }
        Ok(Some(parts))
    }

    /// What may be wanted of a sealed file, each with where its first event is in the order, or before.
    fn runs_of_file(&self, file: SealedFile, wants: &dyn Wants) -> Vec<(i64, Run)> {
        let column = match self.order {
            Order::Time => file.kind().time(),
            Order::Position => POSITION,
        };
        let file = Arc::new(file);
        let wanted = (0..file.groups()).filter(|group| file.may_be_wanted(*group, wants));
        let run = |group| {
            let lower = file.number_bounds(group, column).map_or(i64::MIN, |(first, _)| first);
            (lower, Run::Group(Arc::clone(&file), group))
        };
        wanted.map(run).collect()
    }

    /// The parts of a file of so many bytes.
    fn parts(&self, runs: Vec<(i64, Run)>, bytes: u64) -> Vec<Part> {
        let share = bytes / runs.len().max(1) as u64;
        // What is not wanted and the rest of the division.
        self.progress.add(bytes - share * runs.len() as u64);
        let progress = || self.progress.clone();
        let part = |(lower, run)| Part { lower, run, order: self.order, bytes: share, progress: progress() };
        runs.into_iter().map(part).collect()
    }
}

/// What there is of a kind and a day in a log, each with the time of its first event.
fn runs_of_day(log: &Arc<OpenLog>, kind: Kind, date: NaiveDate) -> Result<Vec<(i64, Run)>, SealedError> {
    let index = log.index()?;
    let day = index.days().into_iter().find(|day| (day.kind, day.date) == (kind, date));
    let chunks = day.into_iter().flat_map(|day| day.items.chunks(GROUP_ROWS));
    Ok(chunks.map(|items| (items[0].filed_at, Run::Items(Arc::clone(log), items.to_vec()))).collect())
}

/// All that there is in a log, each with the position of its first event.
fn runs_in_order(log: &Arc<OpenLog>) -> Result<Vec<(i64, Run)>, SealedError> {
    let (first, items) = log.in_order()?;
    // Positions have no gaps.
    let starts = (first.cast_signed()..).step_by(GROUP_ROWS);
    let runs = items.chunks(GROUP_ROWS).map(|items| Run::Items(Arc::clone(log), items.to_vec()));
    Ok(starts.zip(runs).collect())
}

/// Checks that a sealed file holds what a log has for it. A server that has lost its log, or another one with a copy of
/// its data directory, may have written other events under the same numbers. Records that were blanked in one of them
/// alone do not count, and a log may have grown before it was sealed.
fn check_same(log: &OpenLog, key: &SealedKey, store: &EventStore) -> Result<(), SealedError> {
    // Deleted since it was listed, or damaged, which is told when it is read.
    let Some(Ok(file)) = store.local(key)?.map(SealedFile::open) else { return Ok(()) };
    let Some(description) = file.description() else { return Ok(()) };
    let index = log.index()?;
    let of_day = index.days().into_iter().find(|day| (day.kind, day.date) == (key.kind, key.date));
    let items = of_day.map_or(&[][..], |day| day.items);
    let in_log = items.first().zip(items.last()).map(|(first, last)| (first.filed_at, last.filed_at));
    let bounds = (0..file.groups()).map(|group| file.number_bounds(group, key.kind.time()));
    let sealed = bounds.reduce(|one, other| {
        let ((first, last), (next, end)) = (one?, other?);
        Some((first.min(next), last.max(end)))
    });
    let (events, of) = (items.len() as u64, description.log.as_ref());
    let is_same = if of.is_some_and(|of| of.last_position > log.last_position()) {
        let is_within = |(first, last)| in_log.is_none_or(|(from, to)| first <= from && to <= last);
        description.content.events >= events && sealed.flatten().is_none_or(is_within)
    } else {
        description.content.events == events && sealed.flatten().is_none_or(|times| Some(times) == in_log)
    };
    if is_same && of.is_some_and(|of| of.first_position == log.first_position()) {
        return Ok(());
    }
    Err(SealedError::Differs {
        log: index.shown().to_owned(),
        sealed: file.shown().to_owned(),
        expected: LogIndex::content(items),
        found: description.content,
    })
}

/// Opens the log files of servers as they are now.
pub(super) fn open_logs(logs: &[(String, ListLogs)]) -> Result<Vec<OpenedFile>, SealedError> {
    let mut all = Vec::new();
    for (server, list) in logs {
        for log in list() {
            if let Some(opened) = OpenLog::open(server, &log)? {
                all.push(OpenedFile { server: server.clone(), log, opened: Arc::new(opened) });
            }
        }
    }
    Ok(all)
}

/// Goes through log files once, so that it is known where their events are: as many as are kept of one scan.
pub(super) fn index_logs(logs: &[OpenedFile]) -> Result<(), SealedError> {
    let mut room = KEPT_EVENTS;
    for file in logs {
        // Of one kind or another, the pass is the same.
        file.opened.dates(Kind::Decision, &mut room)?;
    }
    Ok(())
}

impl Files {
    fn none() -> Self {
        Self(VecDeque::new())
    }
}

impl Part {
    /// Decodes the events that are wanted, in their order.
    pub(super) fn load(&self, wants: &dyn Wants) -> Result<Vec<Entry>, SealedError> {
        let loaded = self.run.load(wants);
        self.progress.add(self.bytes);
        let mut entries = loaded?;
        if self.order == Order::Position {
            // Files are in the order of times.
            entries.sort_by_key(|entry| entry.position);
        }
        Ok(entries)
    }

    /// Decodes what rows of a few columns need of the events that are wanted, in the order of the file.
    pub(super) fn load_rows<B: Narrow>(&self, wants: &dyn Wants) -> Result<Loaded<B>, SealedError> {
        if let Run::Group(file, group) = &self.run
            && let Some(batches) = file.narrow(*group, wants)?
        {
            self.progress.add(self.bytes);
            return Ok(Loaded::Batches(batches));
        }
        self.load(wants).map(Loaded::Entries)
    }
}

impl Run {
    fn load(&self, wants: &dyn Wants) -> Result<Vec<Entry>, SealedError> {
        match self {
            Self::Group(file, group) => file.entries(*group, wants),
            Self::Items(log, items) => {
                let (mut window, mut entries) = (Window::default(), Vec::new());
                for item in items {
                    let entry = log.entry(*item, &mut window)?;
                    if wants.wants(&entry) {
                        entries.push(entry);
                    }
                }
                Ok(entries)
            }
        }
    }
}
