//! Why the store was not changed as somebody asked.

use super::StoreError;
use crate::document::Problems;
use crate::model::Stop;

/// Why a push, a new release, a promotion or a question about them was refused. Whatever it says, nothing has changed.
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
    /// The number is taken by something else.
    #[error("{0}")]
    Exists(String),
    /// What is asked for cannot be done as things stand.
    #[error("{0}")]
    Precondition(String),
    /// The release or the version is wrong; everything that is.
    #[error("{0}")]
    Unsound(Problems),
    /// Somebody else moved `CURRENT` first.
    #[error("{message}; release {current} is current")]
    Overtaken {
        /// The release that is current now.
        current: u64,
        /// What happened.
        message: String,
    },
    /// The disk is full.
    #[error("{0}; make room and repeat the call")]
    NoSpace(String),
    /// The caller has gone or its deadline has passed.
    #[error(transparent)]
    Stopped(#[from] Stop),
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(StoreError),
    /// A model cannot be run at all, which is nobody's fault but ours.
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
            StoreError::Pinned { .. } | StoreError::Deleting { .. } | StoreError::Changed { .. } => {
                Self::Precondition(text)
            }
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
