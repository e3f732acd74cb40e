//! What the command does: it writes the marker, waits for servers, and replaces sealed files.
//!
//! Every step can be repeated. A command that was killed is run again for the same person: it finds the marker that is
//! not complete, and goes on with it.

use std::collections::BTreeSet;
use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use document::plural;

use super::lease::Lease;
use super::{
    Acknowledgement, ErasureError, ErasureStore, Erasures, Heartbeat, Heartbeats, Marker, point, sealed,
};
use crate::keys::KeyName;
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

/// A marker that is in the store.
#[derive(Debug)]
pub struct Marked {
    marker: Marker,
    /// Those of earlier attempts with fewer keys. They end with this one.
    earlier: Vec<Marker>,
    /// Whether it was there from an earlier attempt.
    pub resumed: bool,
}

impl Marked {
    /// The id of the erasure.
    #[must_use]
    pub fn id(&self) -> &str {
        self.marker.id()
    }
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
    /// Sealed files that were replaced.
    pub replaced: u64,
    /// Records that were blanked in sealed files.
    pub records: u64,
    /// Sealed files that cannot be read, and why. They may hold the person.
    pub unreadable: Vec<String>,
    /// Keys of pseudonyms that records have and the key file lacks. Records under them cannot be searched.
    pub unknown_keys: BTreeSet<KeyName>,
    /// Such keys that are gone for good, as was said.
    pub lost_keys: BTreeSet<KeyName>,
    /// Keys that records were searched under by their ids alone: an older version has sealed them, and has not noted
    /// which secrets the keys had.
    pub unproven_keys: BTreeSet<KeyName>,
    /// Files in the logs of servers that cannot be searched, to be removed by hand, and why.
    pub left: Vec<String>,
}

impl Outcome {
    /// Whether every server has acknowledged, and everything was searched.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.pending.is_empty()
            && self.unreadable.is_empty()
            && self.unknown_keys.is_empty()
            && self.left.is_empty()
    }

    /// How many records were blanked, in logs and in sealed files.
    #[must_use]
    pub fn all_records(&self) -> u64 {
        self.acknowledged.iter().fold(self.records, |all, done| all.saturating_add(done.records))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "erasure {}: {} blanked in the logs of {}, {} in {} of {}",
            self.id,
            plural(self.all_records().saturating_sub(self.records), "record"),
            plural(self.acknowledged.len(), "server"),
            self.records,
            self.replaced,
            plural(self.searched, "sealed file"),
        )?;
        for server in &self.pending {
            write!(
                f,
                "\n  pending: server {}, last seen at {} with {}; it obeys when it runs, and its log says why if it \
                 does not, or when `proffer events seal` seals its data directory",
                server.server,
                server.seen_at,
                plural(server.unsealed, "unsealed log file"),
            )?;
        }
        for message in &self.unreadable {
            write!(f, "\n  not searched: {message}")?;
        }
        for key in &self.unknown_keys {
            write!(
                f,
                "\n  not searched: records with pseudonyms by the key `{key}`, which the key file lacks"
            )?;
        }
        for key in &self.unproven_keys {
            write!(
                f,
                "\n  searched by the id of the key `{key}` alone: an older version has sealed these records, and did not \
                 note its secret"
            )?;
        }
        for file in &self.left {
            write!(f, "\n  not searched: {file}")?;
        }
        Ok(())
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
    alive_for: TimeDelta,
    /// Keys that are gone for good, by their ids or with their fingerprints: who has records under them cannot be told
    /// any more.
    lost_keys: BTreeSet<String>,
}

impl Eraser {
    /// For one store, as `store` and as `events`. A server without a heartbeat for `alive_for` is not waited for.
    #[must_use]
    pub fn new(store: ErasureStore, events: EventStore, alive_for: TimeDelta) -> Self {
        let (erasures, heartbeats) = (Erasures::new(store.clone()), Heartbeats::new(store.clone()));
        Self { store, erasures, heartbeats, events, alive_for, lost_keys: BTreeSet::new() }
    }

    /// With keys that are gone for good. Records under them keep nothing from being complete: it can no longer be
    /// told whose they are.
    #[must_use]
    pub fn with_lost_keys(self, lost_keys: BTreeSet<String>) -> Self {
        Self { lost_keys, ..self }
    }

    /// Puts a marker for a person into the store, unless there is one from an earlier attempt. `by` is who asks.
    ///
    /// # Errors
    /// When the store cannot be reached or written to.
    pub fn mark(&self, subject: &Subject, by: &str, now: DateTime<Utc>) -> Result<Marked, ErasureError> {
        let mut earlier = self.erasures.open()?;
        earlier.retain(|marker| marker.is_of(subject));
        let covering = earlier.iter().position(|marker| marker.covers(subject));
        let resumed = covering.is_some();
        let marker = match covering {
            Some(at) => earlier.remove(at),
            None => {
                let marker = Marker::new(subject, by, now)?;
                self.erasures.add(&marker)?;
                marker
            }
        };
        point("erase.marked");
        if resumed {
            self.ask_again(&marker)?;
        }
        Ok(Marked { marker, earlier, resumed })
    }

    /// Servers that had left copies of damaged files look again: the copies may be gone by now.
    fn ask_again(&self, marker: &Marker) -> Result<(), ErasureError> {
        let servers = self.heartbeats.all()?;
        for done in self.acknowledged(marker)? {
            if !done.left.is_empty() && servers.iter().any(|heartbeat| heartbeat.server == done.server) {
                self.erasures.ask_again(marker.id(), &done.server)?;
            }
        }
        Ok(())
    }

    /// Erases the person of a marker: waits for servers, then replaces sealed files. `wait` is told who is waited for;
    /// it sleeps, or says to stop. `progress` is told how many sealed files were searched, and of how many.
    ///
    /// # Errors
    /// When the store cannot be reached or written to, or another process replaces sealed files. What was done stays
    /// done; marking the person again and finishing that goes on.
    pub fn finish(
        &self,
        subject: &Subject,
        marked: &Marked,
        now: &dyn Fn() -> DateTime<Utc>,
        wait: &mut dyn FnMut(&Awaited) -> Patience,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Outcome, ErasureError> {
        let marker = &marked.marker;
        // Another command may complete it meanwhile; what it has not seen is searched all the same.
        while let Some(awaited) = self.awaited(marker, now())? {
            if awaited.servers.is_empty() || wait(&awaited) == Patience::Stop {
                break;
            }
        }
        // Those of before the search: what a server seals once it has acknowledged holds nothing of the person.
        let acknowledged = self.acknowledged(marker)?;
        let mut outcome = Outcome { id: marker.id().to_owned(), acknowledged, ..Outcome::default() };
        for done in &outcome.acknowledged {
            outcome.unknown_keys.extend(done.unknown_keys.iter().cloned());
            outcome.left.extend(done.left.iter().cloned());
        }
        self.replace_files(subject, &marker.by, now, progress, &mut outcome)?;
        (outcome.lost_keys, outcome.unknown_keys) = outcome
            .unknown_keys
            .into_iter()
            .partition(|key| self.lost_keys.iter().any(|lost| key.is_called(lost)));
        let has_acknowledged = |server: &str| outcome.acknowledged.iter().any(|done| done.server == server);
        let mut pending = self.heartbeats.all()?;
        pending.retain(|heartbeat| !has_acknowledged(&heartbeat.server));
        if self.erasures.get(marker.id())?.is_some() {
            outcome.pending = pending;
        }
        if outcome.is_complete() {
            point("erase.settling");
            for marker in marked.earlier.iter().chain([marker]) {
                self.erasures.complete(marker, now())?;
            }
        }
        Ok(outcome)
    }

    /// Who is waited for; `None` once the erasure is complete.
    fn awaited(&self, marker: &Marker, now: DateTime<Utc>) -> Result<Option<Awaited>, ErasureError> {
        let Some(done) = self.erasures.list()?.remove(marker.id()) else { return Ok(None) };
        let mut servers = self.heartbeats.all()?;
        servers
            .retain(|heartbeat| heartbeat.is_alive(now, self.alive_for) && !done.contains(&heartbeat.server));
        Ok(Some(Awaited { servers, acknowledged: done.len() }))
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
        progress: &mut dyn FnMut(u64, u64),
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
                lease.renew(now())?;
                match sealed::blank_file(&self.events, &self.store, &key, subject) {
                    Ok(found) => {
                        outcome.replaced += u64::from(found.records > 0);
                        outcome.records += found.records;
                        outcome.unknown_keys.extend(found.unknown_keys);
                        outcome.unproven_keys.extend(found.unproven_keys);
                    }
                    // A file that is damaged must not keep the person in all others.
                    Err(error) if error.is_of_content() => outcome.unreadable.push(error.to_string()),
                    Err(error) => return Err(error),
                }
                searched.insert(key);
                outcome.searched = searched.len() as u64;
                progress(outcome.searched, all);
            }
        }
    }
}
