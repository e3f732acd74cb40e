//! Turns at the schedules of experiments: one server of a fleet takes their steps.
//!
//! In a directory a turn is a lock of the operating system, which ends with its process. A bucket has none, so there it
//! is an object with an end, written under conditions. Who finds it past its end takes it over. A server whose clock is
//! wrong could take a turn too early. It does no harm then: a step is promoted only over the release that it was made
//! from.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{Place, Store, StoreError, parse_toml, to_toml};
use objects::{Put, WriteCondition, files};

/// The lock of a directory, and the lease of a bucket.
const LOCK: &str = "ramps/.lock";
const LEASE: &str = "ramps/lease.toml";

/// How long a turn lasts: longer than a step takes, loading included.
const LASTS: TimeDelta = TimeDelta::minutes(10);
/// How long after its end it is taken over: clocks differ.
const GRACE: TimeDelta = TimeDelta::minutes(1);

/// The turn of a server. Dropping it ends the turn.
#[derive(Debug)]
pub struct Lease {
    held: Held,
}

#[derive(Debug)]
enum Held {
    /// Closing the file releases the lock.
    Directory {
        _lock: File,
    },
    Bucket {
        store: Store,
        token: String,
    },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    /// Random: two of the same name are not the same.
    token: String,
    /// Who has it, for people who look into the bucket.
    holder: String,
    until: String,
}

impl Store {
    /// Begins the turn of `holder`; `None` while it is the turn of another.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub fn take_turn(&self, holder: &str, now: DateTime<Utc>) -> Result<Option<Lease>, StoreError> {
        match &self.0.place {
            Place::Directory(root) => {
                let path = root.join(LOCK);
                let failed = |error| StoreError::io(&path, error);
                // Not the directories above it: a store that is away is not made anew.
                match fs::create_dir(files::parent(&path)) {
                    Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(failed(error)),
                    Ok(()) | Err(_) => {}
                }
                let lock = File::options().create(true).append(true).open(&path).map_err(failed)?;
                match lock.try_lock() {
                    Ok(()) => Ok(Some(Lease { held: Held::Directory { _lock: lock } })),
                    Err(TryLockError::WouldBlock) => Ok(None),
                    Err(TryLockError::Error(error)) => Err(failed(error)),
                }
            }
            Place::Bucket => self.take_object(holder, now),
        }
    }

    fn take_object(&self, holder: &str, now: DateTime<Utc>) -> Result<Option<Lease>, StoreError> {
        let objects = &self.0.objects;
        let condition = match objects.get(LEASE)? {
            None => WriteCondition::Absent,
            Some(content) => {
                let tag = content.tag.clone();
                let text = content.text(&objects.shown(LEASE))?;
                // One that cannot be understood has ended.
                let until = parse_toml::<Written>(objects.shown(LEASE), &text)
                    .ok()
                    .and_then(|present| DateTime::parse_from_rfc3339(&present.until).ok());
                if until.is_some_and(|until| now < until.to_utc() + GRACE) {
                    return Ok(None);
                }
                WriteCondition::Matches(tag)
            }
        };
        let token = telemetry::ids::new_id().to_string();
        let until = (now + LASTS).to_rfc3339_opts(SecondsFormat::Secs, true);
        let new = Written { token: token.clone(), holder: holder.to_owned(), until };
        match objects.put(LEASE, to_toml(&new)?, condition)? {
            Put::Done(_) => Ok(Some(Lease { held: Held::Bucket { store: self.clone(), token } })),
            Put::Taken => Ok(None),
        }
    }

    /// Removes the lease of this token, unless it is that of another by now.
    fn end_turn(&self, token: &str) -> Result<(), StoreError> {
        let objects = &self.0.objects;
        let Some(text) = objects.text(LEASE)? else { return Ok(()) };
        let present: Written = parse_toml(objects.shown(LEASE), &text)?;
        if present.token == token {
            objects.delete(LEASE)?;
        }
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Held::Bucket { store, token } = &self.held else { return };
        if let Err(error) = store.end_turn(token) {
            // It ends by itself.
            tracing::warn!(%error, "the turn at the schedules of experiments could not be ended early");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_a_directory_one_has_the_turn_until_they_end_it() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::create(root.path().to_str().unwrap(), None).unwrap();
        let one = store.take_turn("one", DateTime::UNIX_EPOCH).unwrap();
        assert!(one.is_some());
        assert!(store.take_turn("other", DateTime::UNIX_EPOCH + TimeDelta::days(1)).unwrap().is_none());
        drop(one);
        assert!(store.take_turn("other", DateTime::UNIX_EPOCH).unwrap().is_some());
        let path = root.path().to_owned();
        root.close().unwrap();
        assert!(store.take_turn("other", DateTime::UNIX_EPOCH).is_err());
        assert!(!path.exists(), "a store that is away is not made anew");
    }
}
