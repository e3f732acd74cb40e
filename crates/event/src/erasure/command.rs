//! What the command does: it writes the marker, waits for servers, and replaces sealed files.
//!
//! Every step can be repeated. A command that was killed is run again for the same person: it finds the marker that is
//! not complete, and goes on with it.

use std::collections::BTreeSet;
use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};

use super::lease::Lease;
use super::{
    Acknowledgement, ErasureError, ErasureStore, Erasures, Heartbeat, Heartbeats, Marker, point, sealed,
};
use crate::privacy::Subject;
use crate::sealed::{EventStore, Kind, SealedKey};

/// Whether the command goes on waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// It does.
    Wait,
    /// It does not: what is pending is reported.
    Stop,
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Awaited {
    /// Servers that live and have not acknowledged.
    pub servers: Vec<Heartbeat>,
    /// How many have.
    pub acknowledged: usize,
}

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// The marker is in the store. `resumed`: it was there from an earlier attempt.
    Marked {
        /// The id of the erasure.
        id: String,
        /// Whether it goes on with an earlier one.
        resumed: bool,
    },
    /// Sealed files were searched.
    Searched {
        /// So many.
        files: u64,
        /// Of so many.
        all: u64,
    },
}

/// What an erasure has come to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// The id of the erasure.
    pub id: String,
    /// What servers have done.
    pub acknowledged: Vec<Acknowledgement>,
    /// Servers that have not acknowledged, whether they live or not.
    pub pending: Vec<Heartbeat>,
    /// Sealed files that were searched.
    pub searched: u64,
    /// Sealed files that were replaced, and records that were blanked in them.
    pub replaced: u64,
    /// Records that were blanked in sealed files.
    pub records: u64,
    /// Sealed files that cannot be read, and why. They may hold the person.
    pub unreadable: Vec<String>,
    /// Keys of pseudonyms that records have and the key file lacks. Records under them cannot be searched.
    pub unknown_keys: BTreeSet<String>,
    /// Copies of damaged log files on servers, to be removed by hand.
    pub left: Vec<String>,
}

impl Outcome {
    /// Whether nothing is pending: every server has acknowledged, and every file was searched.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.pending.is_empty() && self.unreadable.is_empty()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let in_logs: u64 = self.acknowledged.iter().map(|done| done.records).sum();
        writeln!(
            f,
            "erasure {}: {} records blanked in the logs of {} servers, {} in {} of {} sealed files",
            self.id,
            in_logs,
            self.acknowledged.len(),
            self.records,
            self.replaced,
            self.searched
        )?;
        for server in &self.pending {
            writeln!(
                f,
                "  pending: server {}, last seen at {} with {} unsealed log files; it obeys when it runs again, or when \
                 `proffer events seal` seals its data directory",
                server.server, server.seen_at, server.unsealed
            )?;
        }
        for message in &self.unreadable {
            writeln!(f, "  not searched: {message}")?;
        }
        for key in &self.unknown_keys {
            writeln!(f, "  not searched: records with pseudonyms by key `{key}`, which the key file lacks")?;
        }
        for path in &self.left {
            writeln!(f, "  not searched: {path}, the copy of a damaged log file; remove it")?;
        }
        f.write_str(if self.is_complete() { "complete" } else { "not complete; run the command again" })
    }
}

/// Erases persons from the servers and the sealed files of a store.
#[derive(Debug, Clone)]
pub struct Eraser {
    store: ErasureStore,
    erasures: Erasures,
    heartbeats: Heartbeats,
    events: EventStore,
    /// After how long without a heartbeat a server is not waited for.
    alive_within: TimeDelta,
}

impl Eraser {
    /// For one store, as `store` and as `events`. A server without a heartbeat for `alive_within` is not waited for.
    #[must_use]
    pub fn new(store: ErasureStore, events: EventStore, alive_within: TimeDelta) -> Self {
        let (erasures, heartbeats) = (Erasures::new(store.clone()), Heartbeats::new(store.clone()));
        Self { store, erasures, heartbeats, events, alive_within }
    }

    /// Erases a person. `by` is who has asked. `wait` is told who is waited for; it sleeps, or says to stop.
    ///
    /// # Errors
    /// When the store cannot be reached or written to, or another process replaces sealed files. What was done stays
    /// done; running it again goes on.
    pub fn erase(
        &self,
        subject: &Subject,
        by: &str,
        now: &dyn Fn() -> DateTime<Utc>,
        wait: &mut dyn FnMut(&Awaited) -> Patience,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Outcome, ErasureError> {
        let marker = self.mark(subject, by, now(), progress)?;
        loop {
            let awaited = self.awaited(&marker, now())?;
            if awaited.servers.is_empty() || wait(&awaited) == Patience::Stop {
                break;
            }
        }
        // Those of before the search: what a server seals once it has acknowledged holds nothing of the person.
        let acknowledged = self.acknowledged(&marker)?;
        let mut outcome = Outcome { id: marker.id().to_owned(), acknowledged, ..Outcome::default() };
        for done in &outcome.acknowledged {
            outcome.unknown_keys.extend(done.unknown_keys.iter().cloned());
            outcome.left.extend(done.left.iter().cloned());
        }
        self.replace_files(subject, by, now, progress, &mut outcome)?;
        let has_acknowledged = |server: &str| outcome.acknowledged.iter().any(|done| done.server == server);
        let mut pending = self.heartbeats.all()?;
        pending.retain(|heartbeat| !has_acknowledged(&heartbeat.server));
        outcome.pending = pending;
        if outcome.is_complete() {
            point("erase.settling");
            self.erasures.complete(&marker, now())?;
        }
        Ok(outcome)
    }

    /// The marker of an attempt that is not complete, or a new one.
    fn mark(
        &self,
        subject: &Subject,
        by: &str,
        now: DateTime<Utc>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Marker, ErasureError> {
        let open = self.erasures.open()?.into_iter().find(|marker| marker.is_of(subject));
        let resumed = open.is_some();
        let marker = match open {
            Some(marker) => marker,
            None => {
                let marker = Marker::new(subject, by, now)?;
                self.erasures.add(&marker)?;
                marker
            }
        };
        point("erase.marked");
        progress(Progress::Marked { id: marker.id().to_owned(), resumed });
        Ok(marker)
    }

    fn awaited(&self, marker: &Marker, now: DateTime<Utc>) -> Result<Awaited, ErasureError> {
        let done = self.erasures.list()?.remove(marker.id()).unwrap_or_default();
        let mut servers = self.heartbeats.alive(now, self.alive_within)?;
        servers.retain(|heartbeat| !done.contains(&heartbeat.server));
        Ok(Awaited { servers, acknowledged: done.len() })
    }

    fn acknowledged(&self, marker: &Marker) -> Result<Vec<Acknowledgement>, ErasureError> {
        let mut all = Vec::new();
        for server in self.erasures.list()?.remove(marker.id()).unwrap_or_default() {
            all.extend(self.erasures.acknowledged(marker.id(), &server)?);
        }
        Ok(all)
    }

    /// Searches all sealed files, and replaces those with records of the person. What is sealed meanwhile is searched,
    /// too.
    fn replace_files(
        &self,
        subject: &Subject,
        by: &str,
        now: &dyn Fn() -> DateTime<Utc>,
        progress: &mut dyn FnMut(Progress),
        outcome: &mut Outcome,
    ) -> Result<(), ErasureError> {
        let mut lease = Lease::take(&self.store, by, now())?;
        let mut searched: BTreeSet<SealedKey> = BTreeSet::new();
        loop {
            let mut new = Vec::new();
            for kind in Kind::ALL {
                new.extend(self.events.list(kind, None)?.into_iter().map(|(key, _)| key));
            }
            new.retain(|key| !searched.contains(key));
            if new.is_empty() {
                return Ok(());
            }
            let all = (searched.len() + new.len()) as u64;
            for key in new {
                lease.renew(by, now())?;
                match sealed::blank_file(&self.events, &self.store, &key, subject) {
                    Ok(found) => {
                        outcome.replaced += u64::from(found.records > 0);
                        outcome.records += found.records;
                        outcome.unknown_keys.extend(found.unknown_keys);
                    }
                    // A file that is damaged must not keep the person in all others.
                    Err(error @ (ErasureError::Sealed(_) | ErasureError::Damaged { .. }))
                        if !is_of_the_store(&error) =>
                    {
                        outcome.unreadable.push(error.to_string());
                    }
                    Err(error) => return Err(error),
                }
                searched.insert(key);
                outcome.searched = searched.len() as u64;
                progress(Progress::Searched { files: outcome.searched, all });
            }
        }
    }
}

/// Whether the store cannot be reached, so that going on makes no sense.
fn is_of_the_store(error: &ErasureError) -> bool {
    use crate::sealed::SealedError;
    matches!(error, ErasureError::Sealed(SealedError::Objects(_) | SealedError::Io { .. }))
}
