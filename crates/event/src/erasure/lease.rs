//! Turns: only one process at a time replaces sealed files.
//!
//! In a directory it is a lock of the operating system, which ends with its process. A bucket has none, so there it is
//! an object with an end, written under conditions and renewed while the work goes on. Who finds it past its end takes
//! it over. Clocks that differ by more than [`GRACE`] could make two believe that it is their turn; each file is
//! replaced only if it is still the one that was read, as far as the bucket can tell.

use std::fs::{File, TryLockError};

use chrono::{DateTime, TimeDelta, Utc};
use objects::{Put, WriteCondition, files};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::marker::written;
use super::{ErasureError, ErasureStore};
use crate::sealed::SealedError;

/// The lock of a directory, and the lease of a bucket.
const LOCK: &str = "erasures/.lock";
const LEASE: &str = "erasures/lease.toml";

/// How long a lease lasts without being renewed.
const LASTS: TimeDelta = TimeDelta::minutes(10);
/// How much of it is left at least when it is renewed.
const RENEWED: TimeDelta = TimeDelta::minutes(5);
/// How long after its end a lease is taken over: clocks differ.
const GRACE: TimeDelta = TimeDelta::minutes(1);

/// The turn of this process. Dropping it ends the turn.
#[derive(Debug)]
pub(super) struct Lease {
    held: Held,
}

#[derive(Debug)]
enum Held {
    /// Closing the file releases the lock.
    Directory {
        _lock: File,
    },
    Bucket {
        store: ErasureStore,
        token: String,
        tag: String,
        until: DateTime<Utc>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Written {
    /// Random: two of the same name are not the same.
    token: String,
    /// Who has it, for messages.
    holder: String,
    until: String,
}

impl Lease {
    /// Begins the turn of `holder`, which messages name.
    ///
    /// # Errors
    /// [`ErasureError::Busy`] where it is the turn of another.
    pub(super) fn take(store: &ErasureStore, holder: &str, now: DateTime<Utc>) -> Result<Self, ErasureError> {
        match store.root() {
            Some(root) => {
                let path = root.join(LOCK);
                files::make_directory(files::parent(&path))?;
                let failed = || SealedError::io(&path);
                let lock = File::options().create(true).append(true).open(&path).map_err(failed())?;
                match lock.try_lock() {
                    Ok(()) => Ok(Self { held: Held::Directory { _lock: lock } }),
                    Err(TryLockError::WouldBlock) => {
                        Err(busy("another process", "when it has ended".to_owned()))
                    }
                    Err(TryLockError::Error(error)) => Err(failed()(error).into()),
                }
            }
            None => Self::take_object(store, holder, now),
        }
    }

    fn take_object(store: &ErasureStore, holder: &str, now: DateTime<Utc>) -> Result<Self, ErasureError> {
        let condition = match store.get(LEASE)? {
            None => WriteCondition::Absent,
            Some(content) => {
                let tag = content.tag.clone();
                let text = content.text(&store.shown(LEASE))?;
                let present: Written = store.parse(LEASE, &text)?;
                // One that cannot be understood has ended.
                let until =
                    DateTime::parse_from_rfc3339(&present.until).map_or(now - GRACE, |until| until.to_utc());
                let left = until + GRACE - now;
                if left > TimeDelta::zero() {
                    let minutes = left.num_seconds().unsigned_abs().div_ceil(60);
                    let when = format!("when it has ended, or in {minutes} minutes if it was killed");
                    return Err(busy(&present.holder, when));
                }
                WriteCondition::Matches(tag)
            }
        };
        let (token, until) = (Uuid::now_v7().to_string(), now + LASTS);
        let new = Written { token: token.clone(), holder: holder.to_owned(), until: written(until) };
        match store.put(LEASE, store.written(LEASE, &new)?, condition)? {
            Put::Done(tag) => Ok(Self { held: Held::Bucket { store: store.clone(), token, tag, until } }),
            Put::Taken => Err(busy("another process", "when it has ended".to_owned())),
        }
    }

    /// Holds on to the turn. Call it before each file.
    ///
    /// # Errors
    /// [`ErasureError::Overtaken`] where another has taken over.
    pub(super) fn renew(&mut self, holder: &str, now: DateTime<Utc>) -> Result<(), ErasureError> {
        let Held::Bucket { store, token, tag, until } = &mut self.held else { return Ok(()) };
        if *until - now > RENEWED {
            return Ok(());
        }
        let later = now + LASTS;
        let new = Written { token: token.clone(), holder: holder.to_owned(), until: written(later) };
        match store.put(LEASE, store.written(LEASE, &new)?, WriteCondition::Matches(tag.clone()))? {
            Put::Done(next) => {
                (*tag, *until) = (next, later);
                Ok(())
            }
            Put::Taken => Err(ErasureError::Overtaken),
        }
    }
}

fn busy(holder: &str, when: String) -> ErasureError {
    ErasureError::Busy { holder: holder.to_owned(), when }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Held::Bucket { store, token, .. } = &self.held else { return };
        // That of another stays. One that cannot be removed ends by itself.
        let ours =
            store.read::<Written>(LEASE).is_ok_and(|found| found.is_some_and(|found| found.token == *token));
        if ours && let Err(error) = store.delete(LEASE) {
            tracing::warn!(%error, "the lease on sealed files could not be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_a_directory_one_has_the_turn_until_they_end_it() {
        let root = tempfile::tempdir().unwrap();
        let store = ErasureStore::open(root.path().to_str().unwrap(), []).unwrap();
        let mut one = Lease::take(&store, "one", DateTime::UNIX_EPOCH).unwrap();
        let refused = Lease::take(&store, "other", DateTime::UNIX_EPOCH).unwrap_err();
        assert!(matches!(refused, ErasureError::Busy { .. }), "{refused}");
        one.renew("one", DateTime::UNIX_EPOCH + TimeDelta::days(1)).unwrap();
        drop(one);
        Lease::take(&store, "other", DateTime::UNIX_EPOCH).unwrap();
    }
}
