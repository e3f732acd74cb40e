//! Errors of a store.

use std::io;
use std::path::Path;

use crate::records::Current;
use document::Problems;
use objects::ObjectsError;

/// An error of a store. Every message names the object and, where there is a remedy, the remedy.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no directory or bucket, or it holds no store.
    #[error(
        "{path} is not a store: {reason}; create one with `proffer init --store {path} --from WORKSPACE`"
    )]
    NotAStore {
        /// The location that was asked for.
        path: String,
        /// What is missing.
        reason: String,
    },
    /// The location is neither a directory nor an understandable URL of a bucket.
    #[error("{location} cannot be a store: {message}")]
    Location {
        /// The location that was asked for.
        location: String,
        /// What is wrong with it.
        message: String,
    },
    /// A new store was asked for where one exists.
    #[error("{path} already holds release {release}; nothing was changed")]
    AlreadyInitialised {
        /// The store.
        path: String,
        /// Its current release.
        release: u64,
    },
    /// A model's name that cannot be the name of a directory.
    #[error(
        "`{name}` cannot be a model's name: letters, digits, `_`, `-` and `.`, not beginning with a dot, at most 64"
    )]
    BadName {
        /// The name.
        name: String,
    },
    /// Another version has this number.
    #[error(
        "{path} is there already with other files; a version never changes: push under another number (0 takes the next)"
    )]
    Occupied {
        /// The version.
        path: String,
    },
    /// An interrupted push of other files occupies the number.
    #[error(
        "{path} holds the beginning of a push that did not end; push its files again to complete it, delete it, or push \
         under another number (0 takes the next)"
    )]
    HalfWritten {
        /// The version.
        path: String,
    },
    /// The number belonged to a version that was deleted.
    #[error(
        "version {version} of {name} was deleted, and its number is not used again; push under another number (0 takes the \
         next)"
    )]
    Deleted {
        /// The model.
        name: String,
        /// The number.
        version: u64,
    },
    /// A deletion has begun and not ended.
    #[error("version {version} of {name} is being deleted; delete it again if that deletion broke off")]
    Deleting {
        /// The model.
        name: String,
        /// The number.
        version: u64,
    },
    /// No version of this number, or only a part of one.
    #[error("the store has no version {version} of {name}")]
    NoSuchVersion {
        /// The model.
        name: String,
        /// The number.
        version: u64,
    },
    /// A version that a release needs cannot be deleted.
    #[error("version {version} of {name} is pinned by {}; releases are kept, and so is what they pin", listed(.releases))]
    Pinned {
        /// The model.
        name: String,
        /// The number.
        version: u64,
        /// The releases, ascending.
        releases: Vec<u64>,
    },
    /// No release of this number.
    #[error("the store has no release {0}")]
    NoSuchRelease(u64),
    /// Another writer replaced `CURRENT` first.
    #[error("CURRENT was replaced by {} in the meantime: release {} is current", .current.author, .current.release)]
    Overtaken {
        /// What is current now.
        current: Box<Current>,
    },
    /// A `CURRENT` whose sequence does not follow the present one.
    #[error("a CURRENT of sequence {next} cannot follow sequence {present}")]
    OutOfOrder {
        /// The sequence that was to be written.
        next: u64,
        /// The present sequence.
        present: u64,
    },
    /// A file of the store cannot be parsed.
    #[error("{path}: {message}")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong with it.
        message: String,
    },
    /// A file of a release or a version was changed after it was written.
    #[error("{path} was changed after it was released: expected SHA-256 {expected}, found {found}")]
    Changed {
        /// The file.
        path: String,
        /// The SHA-256 that the release recorded.
        expected: String,
        /// The SHA-256 of the file.
        found: String,
    },
    /// A file of customers cannot be read or replaced.
    #[error(transparent)]
    Customers(#[from] Problems),
    /// Another process holds the store's lock and does not release it.
    #[error("{path} is locked by another process for more than {seconds} s; is one stopped?")]
    Busy {
        /// The lock.
        path: String,
        /// How long this process waited.
        seconds: u64,
    },
    /// The store did not answer, or answered that it cannot at the moment. This says nothing about its content.
    #[error("{store} cannot be reached: {message}")]
    Unreachable {
        /// The store, or the object in it.
        store: String,
        /// What happened.
        message: String,
    },
    /// The store refused access.
    #[error(
        "{path}: the store refuses the credentials: {message}; see the AWS_* variables of the environment"
    )]
    Refused {
        /// The object.
        path: String,
        /// The store's answer.
        message: String,
    },
    /// The operating system reported an error.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory.
        path: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl StoreError {
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.display().to_string(), source }
    }

    /// Whether the disk is full; with free space, the same call works.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let full = |kind| matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        matches!(self, Self::Io { source, .. } if full(source.kind()))
    }

    /// Whether the store could not be reached, so that nothing is known about its content.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}

impl From<ObjectsError> for StoreError {
    fn from(error: ObjectsError) -> Self {
        match error {
            ObjectsError::NotFound { place, reason } => Self::NotAStore { path: place, reason },
            ObjectsError::Location { location, message } => Self::Location { location, message },
            ObjectsError::Damaged { path, message } => Self::Damaged { path, message },
            ObjectsError::Busy { path, seconds } => Self::Busy { path, seconds },
            ObjectsError::Unreachable { place, message } => Self::Unreachable { store: place, message },
            ObjectsError::Refused { path, message } => Self::Refused { path, message },
            ObjectsError::Io { path, source } => Self::Io { path, source },
        }
    }
}

fn listed(releases: &[u64]) -> String {
    const SHOWN: usize = 8;
    let numbers: Vec<String> = releases.iter().take(SHOWN).map(u64::to_string).collect();
    let more = if releases.len() > SHOWN { " and others" } else { "" };
    format!("release {}{more}", numbers.join(", "))
}
