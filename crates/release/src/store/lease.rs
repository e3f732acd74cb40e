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
                let present = parse_toml::<Written>(objects.shown(LEASE), &text);
                if present.is_ok_and(|present| is_held(&present.until, now)) {
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
            // A write whose answer was lost is repeated, and finds itself there.
            Put::Taken if self.lease_tagged(&token)?.is_some() => {
                Ok(Some(Lease { held: Held::Bucket { store: self.clone(), token } }))
            }
            Put::Taken => Ok(None),
        }
    }

    /// The lease of this token with its tag; `None` if it is that of another by now.
    fn lease_tagged(&self, token: &str) -> Result<Option<(Written, String)>, StoreError> {
        let objects = &self.0.objects;
        let Some(content) = objects.get(LEASE)? else { return Ok(None) };
        let tag = content.tag.clone();
        let present: Written = parse_toml(objects.shown(LEASE), &content.text(&objects.shown(LEASE))?)?;
        Ok((present.token == token).then_some((present, tag)))
    }

    /// Ends the lease of this token, unless it is that of another by now. A bucket deletes without a condition, so it
    /// is replaced by one that has ended.
    fn end_turn(&self, token: &str) -> Result<(), StoreError> {
        let Some((present, tag)) = self.lease_tagged(token)? else { return Ok(()) };
        let until = DateTime::UNIX_EPOCH.to_rfc3339_opts(SecondsFormat::Secs, true);
        let ended = to_toml(&Written { until, ..present })?;
        // If another took it over just now, theirs stays.
        self.0.objects.put(LEASE, ended, WriteCondition::Matches(tag)).map(drop)?;
        Ok(())
    }
}

/// Whether a lease that ends at `until`, RFC 3339, is held at `now`. One that ends later than any could that was taken
/// by now is from a wrong clock, and would block all schedules until then.
fn is_held(until: &str, now: DateTime<Utc>) -> bool {
    let Ok(until) = DateTime::parse_from_rfc3339(until) else { return false };
    let left = until.to_utc().signed_duration_since(now);
    left > -GRACE && left <= LASTS + GRACE
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

    #[test]
    fn a_lease_is_held_until_its_end_and_one_of_a_wrong_clock_is_not() {
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        let held = |minutes: i64| is_held(&(now + TimeDelta::minutes(minutes)).to_rfc3339(), now);
        let cases =
            [(-60, false), (-1, false), (0, true), (10, true), (11, true), (12, false), (60_000, false)];
        for (minutes, expected) in cases {
            assert_eq!(held(minutes), expected, "it ends in {minutes} minutes");
        }
        assert!(!is_held("soon", now));
        assert!(!is_held(&DateTime::UNIX_EPOCH.to_rfc3339(), now));
    }
}
