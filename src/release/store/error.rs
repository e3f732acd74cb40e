//! What goes wrong with a store.

use std::io;
use std::path::Path;

use crate::release::records::Current;

/// What goes wrong with a store. Every message names the object and, where somebody can do something, what.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no directory or bucket, or it holds no store.
    #[error(
        "{path} is not a store: {reason}; create one with `proffer init --store {path} --from WORKSPACE`"
    )]
    NotAStore {
        /// What was asked for.
        path: String,
        /// What is missing.
        reason: String,
    },
    /// The place of a store cannot be understood.
    #[error("{location} cannot be a store: {message}")]
    Location {
        /// What was asked for.
        location: String,
        /// What is wrong with it.
        message: String,
    },
    /// A new store was asked for where there is one.
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
    /// Where a version belongs there is another of that number.
    #[error(
        "{path} is there already with other files; a version never changes: push under another number (0 takes the next)"
    )]
    Occupied {
        /// The version.
        path: String,
    },
    /// Where a version belongs lies what a push with other files left when it broke off.
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
    /// Somebody else replaced `CURRENT` first.
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
        /// The one that is there.
        present: u64,
    },
    /// A file of ours that does not read.
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
        /// What the release recorded.
        expected: String,
        /// What is there.
        found: String,
    },
    /// Another process holds the store's lock and does not let go.
    #[error("{path} is locked by another process for more than {seconds} s; is one stopped?")]
    Busy {
        /// The lock.
        path: String,
        /// How long was waited.
        seconds: u64,
    },
    /// The store did not answer, or answered that it cannot at the moment. Nothing is known to be wrong with what it holds.
    #[error("{store} cannot be reached: {message}")]
    Unreachable {
        /// The store, or the object in it.
        store: String,
        /// What happened.
        message: String,
    },
    /// The store answered that we may not.
    #[error(
        "{path}: the store refuses the credentials: {message}; see the AWS_* variables of the environment"
    )]
    Refused {
        /// The object.
        path: String,
        /// What it said.
        message: String,
    },
    /// The operating system said no.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl StoreError {
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.display().to_string(), source }
    }

    /// Whether there is no room left on the disk; once there is, the same call works.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let full = |kind| matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        matches!(self, Self::Io { source, .. } if full(source.kind()))
    }

    /// Whether the store could not be asked at all, so that nothing is known of what it holds.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}

fn listed(releases: &[u64]) -> String {
    const SHOWN: usize = 8;
    let numbers: Vec<String> = releases.iter().take(SHOWN).map(u64::to_string).collect();
    let more = if releases.len() > SHOWN { " and others" } else { "" };
    format!("release {}{more}", numbers.join(", "))
}
