//! Errors of erasing.

use objects::ObjectsError;

use crate::NotRecorded;
use crate::sealed::SealedError;

/// Why somebody cannot be erased. What was done stays done, and can be repeated.
#[derive(Debug, thiserror::Error)]
pub enum ErasureError {
    /// A file: of the store, as a marker or a sealed file, or of a log.
    #[error(transparent)]
    File(#[from] SealedError),
    /// A server cannot tell who is meant.
    #[error(
        "erasure {id} names a customer by the keys {}, and there are none of them here; give the key file of the \
         erasure: `records.keys` of a server, --keys of a command", keys.join(", ")
    )]
    NoKey {
        /// The erasure.
        id: String,
        /// The ids of its keys.
        keys: Vec<String>,
    },
    /// Another process rewrites sealed files.
    #[error("{holder} is rewriting sealed files; try again {when}")]
    Busy {
        /// Who does.
        holder: String,
        /// When it will have ended.
        when: String,
    },
    /// Another process took over, since this one was silent for too long.
    #[error("another process has begun to rewrite sealed files, since this one was held up; try again")]
    Overtaken,
    /// The operating system has no random bytes.
    #[error("no random bytes for a salt: {0}")]
    Random(getrandom::Error),
    /// A server still knows in memory who is to be erased.
    #[error("what is to be erased is still in memory: {0}")]
    NotForgotten(String),
    /// The log of a server could not be closed.
    #[error("records are not erased from the log for now: {0}")]
    Log(#[from] NotRecorded),
}

impl From<ObjectsError> for ErasureError {
    fn from(error: ObjectsError) -> Self {
        Self::File(error.into())
    }
}

impl ErasureError {
    /// Whether it is about what one file holds: other files can still be read and written.
    pub(super) fn is_of_content(&self) -> bool {
        let Self::File(error) = self else { return false };
        matches!(
            error,
            SealedError::Damaged { .. }
                | SealedError::Newer { .. }
                | SealedError::Log { .. }
                | SealedError::Differs { .. }
                | SealedError::Objects(ObjectsError::Damaged { .. })
        )
    }
}
