//! Errors of the registry and the deployer.

use super::StoreError;
use document::Problems;
use work::Cancellation;

/// Why a push, a new release, a promotion or a query was refused. After any of these errors, nothing has changed,
/// unless the store failed while it was written: then it is not known.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The request itself is wrong.
    #[error("{field}: {message}")]
    Invalid {
        /// The field of the request.
        field: String,
        /// What is wrong and what is allowed.
        message: String,
    },
    /// There is no such model, version or release.
    #[error("{0}")]
    NotFound(String),
    /// The number belongs to something else.
    #[error("{0}")]
    Exists(String),
    /// The state of the store does not allow it.
    #[error("{0}")]
    Precondition(String),
    /// A file of a version or a release differs from its record.
    #[error("{0}")]
    Damaged(String),
    /// The release or the version is wrong; lists every problem.
    #[error("{0}")]
    Unsound(Problems),
    /// Another writer moved `CURRENT` first.
    #[error("{message}; release {current} is current")]
    Overtaken {
        /// The release that is current now.
        current: u64,
        /// What happened.
        message: String,
    },
    /// An experiment could not be stopped, because the store is away. The server tries again.
    #[error("{outcome}, since its stop could not be written: {cause}; this server tries again until {until}")]
    StopPending {
        /// The experiment, and what is known of it: that it goes on, or nothing.
        outcome: String,
        /// What the store said.
        cause: String,
        /// How long the server tries.
        until: &'static str,
    },
    /// The disk is full.
    #[error("{0}; make room and repeat the call")]
    NoSpace(String),
    /// The call was cancelled, or its deadline has passed.
    #[error(transparent)]
    Cancelled(#[from] Cancellation),
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(StoreError),
    /// A fault of the server, for example a judging process that cannot be started.
    #[error("{0}")]
    Internal(String),
}

impl From<StoreError> for RegistryError {
    fn from(error: StoreError) -> Self {
        let text = error.to_string();
        if error.is_full() {
            return Self::NoSpace(text);
        }
        match error {
            StoreError::BadName { .. } => Self::Invalid { field: "name".to_owned(), message: text },
            StoreError::NoSuchRelease(_) | StoreError::NoSuchVersion { .. } => Self::NotFound(text),
            StoreError::Occupied { .. } | StoreError::HalfWritten { .. } | StoreError::Deleted { .. } => {
                Self::Exists(text)
            }
            StoreError::Pinned { .. } | StoreError::Deleting { .. } => Self::Precondition(text),
            StoreError::Changed { .. } => Self::Damaged(text),
            StoreError::Customers(problems) => Self::Unsound(problems),
            StoreError::Overtaken { current } => Self::Overtaken {
                current: current.release,
                message: "another release was made current first".to_owned(),
            },
            StoreError::NotAStore { .. }
            | StoreError::Location { .. }
            | StoreError::AlreadyInitialised { .. }
            | StoreError::OutOfOrder { .. }
            | StoreError::Damaged { .. }
            | StoreError::Busy { .. }
            | StoreError::Unreachable { .. }
            | StoreError::Refused { .. }
            | StoreError::Io { .. } => Self::Store(error),
        }
    }
}
