//! Verifying what is stored: that every file can be read whole and holds what it says, and that no event is missing.
//!
//! Positions of a server have no gaps, over events of all kinds. So those of each log must be whole, and those of a
//! log must go on where the log before it ended. The first and the last position of a server must be those that the
//! store notes (`sealed/store/extent.rs`), and reach as far as its data directory says. The oldest days of a kind may
//! be gone: retention deletes whole days, the oldest first.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use chrono::NaiveDate;
use work::priority::yield_if_due;

use crate::kind::{EventRecord, Kind};
use crate::log::{LogFile, OpenedLog};
use crate::read::Query;
use crate::seal::{LogIndex, OpenLog, Window};
use crate::sealed::{
    Content, Contents, EventStore, Extent, OfLog, SealedError, SealedFile, SealedKey, date_of,
};

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, or the server.
    pub file: String,
    /// What is wrong with it.
    pub message: String,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verification {
    /// Sealed files that were read.
    pub sealed_files: u64,
    /// Log files that were read.
    pub log_files: u64,
    /// Events in all of them; those of a log that is sealed and not deleted count once.
    pub events: u64,
    /// Bytes of the sealed files.
    pub bytes: u64,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of sealed files that were read.
    pub done: u64,
    /// Bytes of all sealed files.
    pub all: u64,
}

/// Verifies all sealed files of a store, and the log files of servers.
///
/// # Errors
/// When the store cannot be reached, or has files of kinds that this version does not know: positions would seem to be
/// missing. What is wrong with files is no error but a problem.
pub fn verify(
    store: &EventStore,
    logs: &[OpenedLog],
    progress: &mut dyn FnMut(Progress),
) -> Result<Verification, SealedError> {
    store.check_kinds()?;
    let mut servers: BTreeMap<String, Server> = BTreeMap::new();
    let mut verifier = Verifier { store, found: Verification::default(), oldest: BTreeMap::new() };
    // Logs first: what is sealed in the meantime is read twice then, and not missed.
    let mut noted: BTreeMap<String, Noted> = BTreeMap::new();
    for log in logs {
        let of_server = servers.entry(log.server.clone()).or_default();
        for file in &log.files {
            of_server.entry(file.sequence).or_default().log = Some(file.clone());
        }
        for unread in &log.unread {
            verifier.problem(&unread.path.display().to_string(), unread.message.clone());
        }
        let sealed = &mut noted.entry(log.server.clone()).or_default().sealed;
        *sealed = log.sealed.max(*sealed);
    }
    for (server, extent) in store.extents()? {
        servers.entry(server.clone()).or_default();
        match extent {
            Ok(extent) => noted.entry(server).or_default().extent = Some(extent),
            // It names its file.
            Err(error) => verifier.problem(&server, error.to_string()),
        }
    }
    let mut all = 0;
    for kind in Kind::ALL {
        for (key, bytes) in store.list(kind, None)? {
            all += bytes;
            let oldest = verifier.oldest.entry(kind).or_insert(key.date);
            *oldest = key.date.min(*oldest);
            let of_server = servers.entry(key.server.clone()).or_default();
            of_server.entry(key.sequence).or_default().sealed.push((key, bytes));
        }
    }
    progress(Progress { done: 0, all });
    for (server, sequences) in servers {
        let (mut first, mut before) = (None, None);
        let noted = noted.remove(&server).unwrap_or_default();
        let expected = noted.extent.and_then(|extent| extent.first);
        for (sequence, files) in sequences {
            let of_sequence = verifier.sequence((&server, expected), files, &mut |found| {
                progress(Progress { done: found.bytes, all });
            })?;
            let Some(range) = of_sequence else { continue };
            if let Some((earlier, last)) = before {
                verifier.go_on(&server, (earlier, last), (sequence, range.0));
            }
            first.get_or_insert(range.0);
            before = Some((sequence, range.1));
        }
        let there = first.zip(before.map(|(_, last)| last));
        verifier.ends(&server, there, noted)?;
    }
    Ok(verifier.found)
}

/// What is noted of the positions that a server has used.
#[derive(Clone, Copy, Default)]
struct Noted {
    /// In the store.
    extent: Option<Extent>,
    /// In the data directory: the last position that was sealed, or lost.
    sealed: u64,
}

/// The files of a server by sequence.
type Server = BTreeMap<u64, Files>;

/// The files of a sequence.
#[derive(Default)]
struct Files {
    sealed: Vec<(SealedKey, u64)>,
    log: Option<LogFile>,
}

/// What a sealed file holds of a log.
type KindDay = (Kind, NaiveDate);

struct Verifier<'s> {
    store: &'s EventStore,
    found: Verification,
    /// The oldest day of each kind: what was older has been deleted.
    oldest: BTreeMap<Kind, NaiveDate>,
}

/// What was found of the sealed files of a sequence.
#[derive(Default)]
struct OfSequence {
    log: Option<OfLog>,
    positions: Vec<u64>,
    contents: BTreeMap<KindDay, Content>,
    /// What is in the log file and not sealed yet.
    unsealed: BTreeSet<KindDay>,
    is_damaged: bool,
}

impl OfSequence {
    /// The files that the log has become, as far as they are known, and of which there is none.
    fn missing(&self, server: &str) -> Vec<SealedKey> {
        let mut missing = Vec::new();
        let Some(log) = &self.log else { return missing };
        for (kind, dates) in &log.dates {
            let Ok(kind) = kind.parse::<Kind>() else { continue };
            let without = dates.iter().filter(|date| !self.contents.contains_key(&(kind, **date)));
            missing.extend(without.map(|date| SealedKey {
                kind,
                date: *date,
                server: server.to_owned(),
                sequence: log.sequence,
            }));
        }
        missing
    }
}

impl Verifier<'_> {
    fn problem(&mut self, file: &str, message: impl Into<String>) {
        self.found.problems.push(Problem { file: file.to_owned(), message: message.into() });
    }

    /// Verifies the files of a sequence. `expected`: the first position that the store should have. Returns the first
    /// and the last position of its log, if they are known.
    fn sequence(
        &mut self,
        (server, expected): (&str, Option<u64>),
        files: Files,
        progress: &mut dyn FnMut(&Verification),
    ) -> Result<Option<(u64, u64)>, SealedError> {
        let mut of_sequence = OfSequence::default();
        let mut name = String::new();
        for (key, bytes) in &files.sealed {
            name = self.read_sealed(key, &mut of_sequence)?;
            self.found.bytes += bytes;
            progress(&self.found);
        }
        // A log whose sealing had begun when files were listed may have more of them now.
        for key in of_sequence.missing(server) {
            if !files.sealed.iter().any(|(listed, _)| *listed == key) {
                self.read_sealed(&key, &mut of_sequence)?;
            }
        }
        if let Some(log) = &files.log {
            self.log_file(server, log, &mut of_sequence);
        }
        if of_sequence.is_damaged {
            return Ok(of_sequence.log.map(|log| (log.first_position, log.last_position)));
        }
        let Some(log) = of_sequence.log.take() else {
            return Ok(files.log.map(|log| (log.first, log.last)));
        };
        self.whole(&name, (&log, expected), of_sequence);
        Ok(Some((log.first_position, log.last_position)))
    }

    /// Reads a sealed file, and notes what is wrong with it. Returns its name in messages.
    fn read_sealed(&mut self, key: &SealedKey, of_sequence: &mut OfSequence) -> Result<String, SealedError> {
        let name = self.store.shown(key);
        match self.sealed_file(key, of_sequence) {
            Ok(()) => {}
            Err(SealedError::Objects(error)) => return Err(error.into()),
            Err(error) => {
                of_sequence.is_damaged = true;
                self.found.problems.push(problem_of(&name, &error));
            }
        }
        Ok(name)
    }

    /// Reads a sealed file, and holds it against what it says.
    fn sealed_file(&mut self, key: &SealedKey, of_sequence: &mut OfSequence) -> Result<(), SealedError> {
        let Some(local) = self.store.local(key)? else { return Ok(()) };
        self.found.sealed_files += 1;
        let file = SealedFile::open(local)?;
        let wrong = |message: String| Err(SealedError::damaged(file.shown(), message));
        let (Some(description), Some(log)) =
            (file.description(), file.description().and_then(|description| description.log.as_ref()))
        else {
            return wrong("it is no sealed file: it names no log".to_owned());
        };
        if (&log.server, log.sequence, description.kind) != (&key.server, key.sequence, key.kind) {
            return wrong(format!(
                "it says that it is of server {} and sequence {}, and its name is another",
                log.server, log.sequence
            ));
        }
        match &of_sequence.log {
            Some(other) if !other.is_same(log) => {
                return wrong("it is of another log than the file of another day or kind".to_owned());
            }
            _ => of_sequence.log = Some(log.clone()),
        }
        of_sequence.contents.insert((key.kind, key.date), description.content);
        let mut contents = Contents::new();
        let (mut buffer, mut before, mut message) = (Vec::new(), i64::MIN, None);
        let query = Query::default();
        for group in 0..file.groups() {
            let _ = file.visit(group, &query, &mut |entries| {
                for mut entry in entries {
                    let filed_at = entry.record.filed_at();
                    if date_of(filed_at) != key.date {
                        message.get_or_insert(format!("it has an event of {}", date_of(filed_at)));
                    }
                    if filed_at < before {
                        message.get_or_insert("its events are not in the order of their times".to_owned());
                    }
                    before = filed_at;
                    of_sequence.positions.push(entry.position);
                    contents.add(entry.checksum(&mut buffer));
                    yield_if_due();
                }
                ControlFlow::Continue(())
            })?;
        }
        let content = contents.content();
        self.found.events += content.events;
        if content != description.content {
            return wrong(format!("it has {content}, and should have {}", description.content));
        }
        match message {
            Some(message) => wrong(message),
            None => Ok(()),
        }
    }

    /// Reads a log file, and holds it against what is sealed of it.
    fn log_file(&mut self, server: &str, log: &LogFile, of_sequence: &mut OfSequence) {
        let shown = log.path.display().to_string();
        let mut days = || -> Result<Vec<(KindDay, Content)>, SealedError> {
            // It may have been sealed and deleted since it was listed.
            let Some(opened) = OpenLog::open(server, log)? else { return Ok(Vec::new()) };
            self.found.log_files += 1;
            let index = opened.index()?;
            let mut window = Window::default();
            let mut days = Vec::new();
            for day in index.days() {
                days.push(((day.kind, day.date), LogIndex::content(day.items)));
                for item in day.items {
                    opened.entry(*item, &mut window)?;
                    yield_if_due();
                }
            }
            Ok(days)
        };
        match days() {
            Ok(days) => {
                for (day, content) in days {
                    match of_sequence.contents.get(&day) {
                        Some(sealed) if *sealed != content => {
                            let (kind, date) = day;
                            let message = format!(
                                "of kind `{kind}` and {date} it has {content}, and sealed are {sealed}"
                            );
                            self.problem(&shown, message);
                        }
                        Some(_) => {}
                        None => {
                            self.found.events += content.events;
                            of_sequence.unsealed.insert(day);
                        }
                    }
                }
            }
            Err(error) => self.found.problems.push(problem_of(&shown, &error)),
        }
    }

    /// Whether the sealed files of a log hold all of its positions, from `expected` on.
    fn whole(&mut self, name: &str, (log, expected): (&OfLog, Option<u64>), of_sequence: OfSequence) {
        let OfSequence { mut positions, contents, unsealed, .. } = of_sequence;
        // Files of one kind may be deleted before those of another, which are as old.
        let is_expired = expected.is_some_and(|expected| {
            let from = expected.max(log.first_position);
            let kept = positions.iter().filter(|position| **position >= from).count() as u64;
            kept == log.last_position.saturating_add(1).saturating_sub(from)
        });
        let mut is_partial = false;
        for (kind, dates) in &log.dates {
            let oldest = self.oldest_kept(kind);
            let known = kind.parse::<Kind>().ok();
            for date in dates {
                let day = known.map(|kind| (kind, *date));
                if day.is_some_and(|day| contents.contains_key(&day)) {
                    continue;
                }
                let is_unsealed = day.is_some_and(|day| unsealed.contains(&day));
                let is_too_old = is_expired || oldest.is_some_and(|oldest| *date < oldest);
                if !is_unsealed && !is_too_old {
                    let message = format!("the events of kind `{kind}` of its log of {date} are missing");
                    self.problem(name, message);
                    return;
                }
                is_partial = true;
            }
        }
        positions.sort_unstable();
        if let Some([twice, ..]) = positions.windows(2).find(|pair| pair[0] == pair[1]) {
            self.problem(name, format!("position {twice} of its log is there twice"));
        }
        let all = log.last_position - log.first_position.min(log.last_position) + 1;
        let is_within = |position: &u64| (log.first_position..=log.last_position).contains(position);
        if !positions.iter().all(is_within) || (!is_partial && positions.len() as u64 != all) {
            self.problem(
                name,
                format!(
                    "its log had positions {} to {}, and {} of them are there",
                    log.first_position,
                    log.last_position,
                    positions.len()
                ),
            );
        }
    }

    /// The oldest day of a kind that is kept. Where nothing of the kind is left, the oldest of all kinds: it may have
    /// had nothing since.
    fn oldest_kept(&self, kind: &str) -> Option<NaiveDate> {
        let of_kind = self.oldest.iter().find(|(known, _)| known.name() == kind);
        of_kind.map(|(_, oldest)| *oldest).or_else(|| self.oldest.values().min().copied())
    }

    /// Whether the first and the last position that are there are those that are noted.
    fn ends(&mut self, server: &str, there: Option<(u64, u64)>, noted: Noted) -> Result<(), SealedError> {
        let expected = noted.extent.and_then(|extent| extent.first);
        if let (Some((first, _)), Some(expected)) = (there, expected)
            && first > expected
        {
            // What was too old may have been deleted since that was read.
            let now = self.store.extent(server)?.and_then(|extent| extent.first);
            if now.is_none_or(|now| first > now) {
                let message = format!(
                    "its events begin at position {first}: those from {expected} to {} are missing",
                    first - 1
                );
                self.problem(server, message);
            }
        }
        let (is_expired, last) = noted.extent.map_or((false, 0), |extent| (extent.is_expired(), extent.last));
        let (expected, end) = (last.max(noted.sealed), there.map_or(0, |(_, last)| last));
        if end < expected && !(is_expired && noted.sealed <= last) {
            let first =
                if end > 0 { end + 1 } else { noted.extent.and_then(|extent| extent.first).unwrap_or(1) };
            let message = format!(
                "its events end at position {end}: those from {first} to {expected} were sealed, and are missing"
            );
            self.problem(server, message);
        }
        Ok(())
    }

    /// Whether a log begins where the one before it ended.
    fn go_on(&mut self, server: &str, (earlier, last): (u64, u64), (sequence, first): (u64, u64)) {
        if first == last + 1 {
            return;
        }
        let message = format!(
            "log {earlier} ends at position {last}, and log {sequence} begins at {first}: {}",
            if first > last { "events between them are missing" } else { "positions are there twice" }
        );
        self.problem(server, message);
    }
}

/// The problem that an error is. The name of the file is not repeated.
fn problem_of(name: &str, error: &SealedError) -> Problem {
    let message = match error {
        SealedError::Damaged { message, .. } => message.clone(),
        SealedError::Log { source, .. } => source.to_string(),
        SealedError::Io { source, .. } => source.to_string(),
        SealedError::Newer { .. }
        | SealedError::Differs { .. }
        | SealedError::Objects(_)
        | SealedError::Events(_) => error.to_string(),
    };
    Problem { file: name.to_owned(), message }
}

#[cfg(test)]
mod tests;
