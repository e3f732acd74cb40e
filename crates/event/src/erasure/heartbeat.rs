//! Heartbeats: which servers of a store live.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::marker::written;
use super::{ErasureError, ErasureStore};

/// How often a server says that it is there.
pub const BEAT_EVERY: Duration = Duration::from_secs(10);

/// How long a server that was there counts as alive: some beats may fail, and clocks differ.
pub const ALIVE_FOR: TimeDelta = TimeDelta::minutes(1);

/// The folder of heartbeats in a store.
const SERVERS: &str = "servers";
const HEARTBEAT: &str = ".toml";

/// A server of a store, when it was last there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The id of the server, from its data directory.
    pub server: String,
    /// Its version.
    pub version: String,
    /// When it was last there, by its clock (RFC 3339).
    pub seen_at: String,
    /// How many log files it has that are not sealed.
    #[serde(default)]
    pub unsealed: u64,
    /// Whether it has ended since: it was told to, and will not be there until it starts again.
    #[serde(default)]
    pub ended: bool,
}

impl Heartbeat {
    /// That of a server that is there now.
    #[must_use]
    pub fn new(server: &str, version: &str, now: DateTime<Utc>, unsealed: u64) -> Self {
        let (server, version) = (server.to_owned(), version.to_owned());
        Self { server, version, seen_at: written(now), unsealed, ended: false }
    }

    /// The last one of a server that ends.
    #[must_use]
    pub fn and_ends(self) -> Self {
        Self { ended: true, ..self }
    }

    /// Whether it was there within `limit` before `now`, and has not ended. A clock that is ahead, or a time that
    /// cannot be understood, counts as there: who waits for it can be told not to, and who does not wait cannot know.
    #[must_use]
    pub fn is_alive(&self, now: DateTime<Utc>, limit: TimeDelta) -> bool {
        let seen = DateTime::parse_from_rfc3339(&self.seen_at);
        !self.ended && seen.map_or(true, |seen| now.signed_duration_since(seen) <= limit)
    }
}

/// The heartbeats of a store.
#[derive(Debug, Clone)]
pub struct Heartbeats(ErasureStore);

impl Heartbeats {
    /// Those of a store.
    #[must_use]
    pub fn new(store: ErasureStore) -> Self {
        Self(store)
    }

    /// Says that a server is there: before it records anything, and again and again.
    ///
    /// # Errors
    /// When the store cannot be reached or written to.
    pub fn beat(&self, heartbeat: &Heartbeat) -> Result<(), ErasureError> {
        self.0.replace(&key(&heartbeat.server), heartbeat)
    }

    /// All servers that were ever there and not removed.
    ///
    /// # Errors
    /// When the store cannot be reached, or a heartbeat not be understood.
    pub fn all(&self) -> Result<Vec<Heartbeat>, ErasureError> {
        let mut all = Vec::new();
        for name in self.0.list(SERVERS)?.into_keys() {
            let Some(server) = name.strip_suffix(HEARTBEAT).filter(|server| !server.contains('/')) else {
                continue;
            };
            // One that was removed since is not there.
            if let Some(heartbeat) = self.0.read::<Heartbeat>(&key(server))? {
                all.push(Heartbeat { server: server.to_owned(), ..heartbeat });
            }
        }
        Ok(all)
    }

    /// Removes the heartbeat of a server that will not come back: its log is sealed, or its data directory is gone.
    ///
    /// # Errors
    /// When the store cannot be reached or written to.
    pub fn remove(&self, server: &str) -> Result<(), ErasureError> {
        self.0.delete(&key(server))
    }
}

fn key(server: &str) -> String {
    format!("{SERVERS}/{server}{HEARTBEAT}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_live_who_were_there_lately() {
        let root = tempfile::tempdir().unwrap();
        let heartbeats = Heartbeats::new(ErasureStore::open(root.path().to_str().unwrap(), []).unwrap());
        let (now, limit) = (DateTime::from_timestamp_secs(1_796_000_000).unwrap(), TimeDelta::seconds(30));
        assert!(heartbeats.all().unwrap().is_empty());
        for (server, before) in [("late", 31), ("lately", 30), ("ahead", -600)] {
            heartbeats.beat(&Heartbeat::new(server, "1", now - TimeDelta::seconds(before), 2)).unwrap();
        }
        let names = |found: Vec<Heartbeat>| found.into_iter().map(|one| one.server).collect::<Vec<_>>();
        let alive = || {
            let mut all = heartbeats.all().unwrap();
            all.retain(|one| one.is_alive(now, limit));
            names(all)
        };
        assert_eq!(names(heartbeats.all().unwrap()), ["ahead", "late", "lately"]);
        assert_eq!(alive(), ["ahead", "lately"]);
        heartbeats.beat(&Heartbeat::new("late", "1", now, 0)).unwrap();
        assert_eq!(alive(), ["ahead", "late", "lately"]);
        heartbeats.beat(&Heartbeat::new("late", "1", now, 0).and_ends()).unwrap();
        assert_eq!(alive(), ["ahead", "lately"]);
        heartbeats.remove("ahead").unwrap();
        heartbeats.remove("ahead").unwrap();
        assert_eq!(names(heartbeats.all().unwrap()), ["late", "lately"]);
    }

    #[test]
    fn a_time_that_cannot_be_understood_counts_as_alive() {
        let odd = Heartbeat {
            seen_at: "yesterday".to_owned(),
            ..Heartbeat::new("s", "1", DateTime::UNIX_EPOCH, 0)
        };
        assert!(odd.is_alive(DateTime::UNIX_EPOCH, TimeDelta::zero()));
    }
}
