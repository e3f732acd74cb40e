//! Leases: one process at a time does some work on a directory or a bucket.
//!
//! In a directory a lease is a lock of the operating system, which ends with its process. A bucket has none, so there
//! it is an object with an end: it is written under conditions, and renewed while the work goes on. Who finds it past
//! its end takes it over. A bucket deletes without a condition, so a lease is ended by another write, and stays.
//!
//! Clocks that differ by more than [`GRACE`] could make two processes believe that they hold it. So each step of the
//! work needs a condition of its own.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Content, Objects, ObjectsError, Put, WriteCondition, files};

/// How long after its end a lease is taken over: clocks differ.
const GRACE: TimeDelta = TimeDelta::minutes(1);
/// How often a renewal is written: again if the answer to the first write was lost.
const RENEWALS: usize = 2;

/// What a lease is on, and how long it lasts.
#[derive(Debug)]
pub struct LeaseTerms {
    /// What it is on, for logs: "the turn at something".
    pub name: &'static str,
    /// In a directory, the file that is locked. Its folder is made if need be, but none above it.
    pub lock: &'static str,
    /// In a bucket, the object.
    pub object: &'static str,
    /// How long it lasts in a bucket without being renewed.
    pub lasts: TimeDelta,
    /// How much of that is left when [`Lease::renew`] renews it.
    pub renewed: TimeDelta,
}

/// A lease that is held. Dropping it ends it.
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
    Bucket(Leased),
}

/// The answer to who asks for a lease.
#[derive(Debug)]
pub enum Claim {
    /// They hold it now.
    Granted(Lease),
    /// Another holds it: who, if that is known. The lock of a directory names nobody.
    Refused(Option<Holder>),
}

/// Who holds a lease in a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The name that they gave.
    pub name: String,
    /// When another can take it over, unless it is ended or renewed before.
    pub frees: DateTime<Utc>,
}

/// Whether a lease is still held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Renewal {
    /// It is.
    Held,
    /// Another has taken it over.
    Overtaken,
}

impl Lease {
    /// Asks for a lease for `holder`, the name that is told to others.
    ///
    /// # Errors
    /// When the directory or the bucket is away, or cannot be read or written.
    pub fn claim(
        objects: &Arc<Objects>,
        terms: &'static LeaseTerms,
        holder: &str,
        now: DateTime<Utc>,
    ) -> Result<Claim, ObjectsError> {
        match &objects.root {
            Some(root) => claim_lock(&root.join(terms.lock)),
            None => claim_object(objects, terms, holder, now),
        }
    }

    /// Holds on to the lease. Call it before each step of the work.
    ///
    /// # Errors
    /// When the bucket is away, or cannot be read or written.
    pub fn renew(&mut self, now: DateTime<Utc>) -> Result<Renewal, ObjectsError> {
        match &mut self.held {
            Held::Directory { .. } => Ok(Renewal::Held),
            Held::Bucket(leased) => leased.renew(now),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Held::Bucket(leased) = &self.held else { return };
        if let Err(error) = leased.end() {
            // It ends by itself.
            tracing::warn!(%error, "{} could not be ended early", leased.terms.name);
        }
    }
}

fn claim_lock(path: &Path) -> Result<Claim, ObjectsError> {
    let failed = |error| ObjectsError::io(path, error);
    let folder = files::parent(path);
    // Not the directories above it: what is away is not made anew.
    match fs::create_dir(folder) {
        Ok(()) => files::sync(files::parent(folder))?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(error)),
    }
    let lock = File::options().create(true).append(true).open(path).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(Claim::Granted(Lease { held: Held::Directory { _lock: lock } })),
        Err(TryLockError::WouldBlock) => Ok(Claim::Refused(None)),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

fn claim_object(
    objects: &Arc<Objects>,
    terms: &'static LeaseTerms,
    holder: &str,
    now: DateTime<Utc>,
) -> Result<Claim, ObjectsError> {
    let condition = match objects.get(terms.object)? {
        None => WriteCondition::Absent,
        Some(content) => match Written::parse(&content).and_then(|present| present.holder(terms, now)) {
            Some(holder) => return Ok(Claim::Refused(Some(holder))),
            None => WriteCondition::Matches(content.tag),
        },
    };
    let (token, holder) = (Uuid::now_v7().to_string(), holder.to_owned());
    let tag = String::new();
    let leased = Leased { objects: Arc::clone(objects), terms, token, holder, tag, until: now };
    leased.begin(condition, now)
}

/// A lease in a bucket.
#[derive(Debug)]
struct Leased {
    objects: Arc<Objects>,
    terms: &'static LeaseTerms,
    token: String,
    holder: String,
    /// That of the last write whose answer has come.
    tag: String,
    until: DateTime<Utc>,
}

impl Leased {
    /// Writes the lease for the first time.
    fn begin(mut self, condition: WriteCondition, now: DateTime<Utc>) -> Result<Claim, ObjectsError> {
        let until = now + self.terms.lasts;
        self.tag = match self.put(until, condition)? {
            Put::Done(tag) => tag,
            Put::Taken => match self.present()? {
                // A write whose answer was lost is repeated, and finds itself there.
                Some((present, tag)) if present.token == self.token => tag,
                present => {
                    let holder = present.and_then(|(present, _)| present.holder(self.terms, now));
                    return Ok(Claim::Refused(holder));
                }
            },
        };
        self.until = until;
        Ok(Claim::Granted(Lease { held: Held::Bucket(self) }))
    }

    fn renew(&mut self, now: DateTime<Utc>) -> Result<Renewal, ObjectsError> {
        if self.until.signed_duration_since(now) > self.terms.renewed {
            return Ok(Renewal::Held);
        }
        let until = now + self.terms.lasts;
        for _ in 0..RENEWALS {
            if let Put::Done(tag) = self.put(until, WriteCondition::Matches(self.tag.clone()))? {
                (self.tag, self.until) = (tag, until);
                return Ok(Renewal::Held);
            }
            // As in `begin`.
            match self.present()? {
                Some((present, tag)) if present.token == self.token => self.tag = tag,
                Some(_) | None => break,
            }
        }
        Ok(Renewal::Overtaken)
    }

    /// Ends the lease, unless it is that of another by now.
    fn end(&self) -> Result<(), ObjectsError> {
        match self.present()? {
            // If another takes it over at this moment, theirs stays.
            Some((present, tag)) if present.token == self.token => {
                self.put(DateTime::UNIX_EPOCH, WriteCondition::Matches(tag)).map(drop)
            }
            Some(_) | None => Ok(()),
        }
    }

    fn put(&self, until: DateTime<Utc>, condition: WriteCondition) -> Result<Put, ObjectsError> {
        let until = until.to_rfc3339_opts(SecondsFormat::Millis, true);
        let written = Written { token: self.token.clone(), holder: self.holder.clone(), until };
        let text = toml::to_string(&written).map_err(|error| ObjectsError::Damaged {
            path: self.objects.shown(self.terms.object),
            message: error.to_string(),
        })?;
        self.objects.put(self.terms.object, text, condition)
    }

    /// What is in the bucket, with its tag; `None` if it cannot be understood.
    fn present(&self) -> Result<Option<(Written, String)>, ObjectsError> {
        let content = self.objects.get(self.terms.object)?;
        Ok(content.and_then(|content| Some((Written::parse(&content)?, content.tag))))
    }
}

/// The object of a lease.
#[derive(Debug, Serialize, Deserialize)]
struct Written {
    /// Random: two of the same name are not the same.
    token: String,
    /// Who has it, for messages, and for people who look into the bucket.
    holder: String,
    /// RFC 3339.
    until: String,
}

impl Written {
    /// `None`: it cannot be understood, which counts as ended.
    fn parse(content: &Content) -> Option<Self> {
        toml::from_str(str::from_utf8(&content.bytes).ok()?).ok()
    }

    /// Who holds it at `now`, if anybody does.
    fn holder(self, terms: &LeaseTerms, now: DateTime<Utc>) -> Option<Holder> {
        Some(Holder { frees: frees(&self.until, terms.lasts, now)?, name: self.holder })
    }
}

/// When a lease that ends at `until`, RFC 3339, can be taken over; `None`: at `now`. One that ends later than any could
/// that was taken by now is from a wrong clock, and would refuse all others until then.
fn frees(until: &str, lasts: TimeDelta, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let until = DateTime::parse_from_rfc3339(until).ok()?.to_utc();
    let left = until.signed_duration_since(now);
    (left > -GRACE && left <= lasts + GRACE).then(|| until + GRACE)
}

#[cfg(test)]
mod tests;
