//! Verifying what is stored: that every file can be read whole and holds what it says, and that no event is missing.
//!
//! Positions of a server have no gaps. So those of each log must be whole, and those of a log must go on where the
//! log before it ended. The oldest days may be gone: retention deletes whole days, the oldest first.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use chrono::NaiveDate;
use work::priority::yield_if_due;

use crate::log::{LogFile, OpenedLog};
use crate::read::Query;
use crate::seal::{OpenLog, Window};
use crate::sealed::{
    Content, Contents, EventStore, Kind, OfLog, SealedError, SealedFile, SealedKey, date_of,
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
/// When the store cannot be reached. What is wrong with files is no error but a problem.
pub fn verify(
    store: &EventStore,
    logs: &[OpenedLog],
    progress: &mut dyn FnMut(Progress),
) -> Result<Verification, SealedError> {
    let mut servers: BTreeMap<String, Server> = BTreeMap::new();
    let mut verifier = Verifier { store, found: Verification::default(), oldest: BTreeMap::new() };
    // Logs first: what is sealed in the meantime is read twice then, and not missed.
    for log in logs {
        let of_server = servers.entry(log.server.clone()).or_default();
        for file in &log.files {
            of_server.entry(file.sequence).or_default().log = Some(file.clone());
        }
        for message in &log.damage {
            verifier.problem(&log.server, message.clone());
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
        let mut before = None;
        for (sequence, files) in sequences {
            let of_sequence = verifier.sequence(&server, files, &mut |found| {
                progress(Progress { done: found.bytes, all });
            })?;
            let Some(range) = of_sequence else { continue };
            if let Some((earlier, last)) = before {
                verifier.go_on(&server, (earlier, last), (sequence, range.0));
            }
            before = Some((sequence, range.1));
        }
    }
    Ok(verifier.found)
}

/// The files of a server by sequence.
type Server = BTreeMap<u64, Files>;

/// The files of a sequence.
#[derive(Default)]
struct Files {
    sealed: Vec<(SealedKey, u64)>,
    log: Option<LogFile>,
}

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
    dates: BTreeSet<(Kind, NaiveDate)>,
    contents: BTreeMap<NaiveDate, Content>,
    is_damaged: bool,
}

impl Verifier<'_> {
    fn problem(&mut self, file: &str, message: impl Into<String>) {
        self.found.problems.push(Problem { file: file.to_owned(), message: message.into() });
    }

    /// Verifies the files of a sequence. Returns the first and the last position of its log, if they are known.
    fn sequence(
        &mut self,
        server: &str,
        files: Files,
        progress: &mut dyn FnMut(&Verification),
    ) -> Result<Option<(u64, u64)>, SealedError> {
        let mut of_sequence = OfSequence::default();
        let mut name = String::new();
        for (key, bytes) in &files.sealed {
            name = self.store.shown(key);
            match self.sealed_file(key, &mut of_sequence) {
                Ok(()) => {}
                Err(SealedError::Objects(error)) => return Err(error.into()),
                Err(error) => {
                    of_sequence.is_damaged = true;
                    self.found.problems.push(problem_of(&name, &error));
                }
            }
            self.found.bytes += bytes;
            progress(&self.found);
        }
        if let Some(log) = &files.log {
            self.log_file(server, log, &of_sequence);
        }
        if of_sequence.is_damaged {
            return Ok(of_sequence.log.map(|log| (log.first_position, log.last_position)));
        }
        let Some(log) = of_sequence.log.take() else {
            return Ok(files.log.map(|log| (log.first, log.last)));
        };
        self.whole(&name, &log, of_sequence);
        Ok(Some((log.first_position, log.last_position)))
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
                "it is of server {} and sequence {}, as it says",
                log.server, log.sequence
            ));
        }
        match &of_sequence.log {
            Some(other) if other != log => {
                return wrong("it is of another log than the file of another day".to_owned());
            }
            _ => of_sequence.log = Some(log.clone()),
        }
        of_sequence.dates.insert((key.kind, key.date));
        of_sequence.contents.insert(key.date, description.content);
        let mut contents = Contents::new();
        let (mut buffer, mut before, mut message) = (Vec::new(), i64::MIN, None);
        let query = Query::default();
        for group in 0..file.groups() {
            let _ = file.visit(group, &query, &mut |entries| {
                for mut entry in entries {
                    let decided_at = entry.record.decided_at;
                    if date_of(decided_at) != key.date {
                        message.get_or_insert(format!("it has a decision of {}", date_of(decided_at)));
                    }
                    if decided_at < before {
                        message.get_or_insert("its decisions are not in the order of their times".to_owned());
                    }
                    before = decided_at;
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
    fn log_file(&mut self, server: &str, log: &LogFile, of_sequence: &OfSequence) {
        let shown = log.path.display().to_string();
        let mut days = || -> Result<Vec<(NaiveDate, Content)>, SealedError> {
            // It may have been sealed and deleted since it was listed.
            let Some(opened) = OpenLog::open(server, log)? else { return Ok(Vec::new()) };
            self.found.log_files += 1;
            let index = opened.index()?;
            let mut window = Window::default();
            let mut days = Vec::new();
            for day in index.days() {
                days.push((day.date, index.content(day.items.clone())));
                for item in day.items {
                    index.entry(item, &mut window)?;
                    yield_if_due();
                }
            }
            Ok(days)
        };
        match days() {
            Ok(days) => {
                for (date, content) in days {
                    match of_sequence.contents.get(&date) {
                        Some(sealed) if *sealed != content => {
                            self.problem(
                                &shown,
                                format!("it has {content} of {date}, and sealed are {sealed}"),
                            );
                        }
                        Some(_) => {}
                        None => self.found.events += content.events,
                    }
                }
            }
            Err(error) => self.found.problems.push(problem_of(&shown, &error)),
        }
    }

    /// Whether the sealed files of a log hold all of its positions.
    fn whole(&mut self, name: &str, log: &OfLog, of_sequence: OfSequence) {
        let OfSequence { mut positions, dates, .. } = of_sequence;
        let mut is_partly_deleted = false;
        for (kind, oldest) in self.oldest.clone() {
            for date in log.dates.iter().filter(|date| !dates.contains(&(kind, **date))) {
                if *date < oldest {
                    is_partly_deleted = true;
                } else {
                    self.problem(name, format!("the events of its log of {date} are missing"));
                    return;
                }
            }
        }
        positions.sort_unstable();
        if let Some([twice, ..]) = positions.windows(2).find(|pair| pair[0] == pair[1]) {
            self.problem(name, format!("position {twice} of its log is there twice"));
        }
        let all = log.last_position - log.first_position.min(log.last_position) + 1;
        let is_within = |position: &u64| (log.first_position..=log.last_position).contains(position);
        if !positions.iter().all(is_within) || (!is_partly_deleted && positions.len() as u64 != all) {
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
