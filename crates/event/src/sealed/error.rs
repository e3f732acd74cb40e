//! Errors of sealed files.

use std::io;
use std::path::Path;

use objects::ObjectsError;

use super::Content;
use crate::EventError;
use crate::frame::FrameError;

/// Why events cannot be sealed, read or exported. Every message names the file.
#[derive(Debug, thiserror::Error)]
pub enum SealedError {
    /// A file that cannot be understood.
    #[error("{path}: {message}")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong with it, and what to do.
        message: String,
    },
    /// A log file that cannot be read to its end.
    #[error("{path}: {source}")]
    Log {
        /// The log file.
        path: String,
        /// Where its frames end, and why.
        #[source]
        source: FrameError,
    },
    /// Fields, kinds or formats that this version does not know.
    #[error("{path} is newer than this version: {message}; run a newer one")]
    Newer {
        /// The file.
        path: String,
        /// What is not known.
        message: String,
    },
    /// The store has a file of this name with other events.
    #[error(
        "{log} and {sealed} are of the same server and sequence, and differ: {expected} in the log, {found} sealed; one \
         of them is of another server with a copied data directory, or of the same one after its log was lost. Delete \
         neither: make another store with `proffer init`, seal the data directory of the log into that with `proffer \
         events seal`, and remove its `server-id`, so that its server gets a new id"
    )]
    Differs {
        /// The log file.
        log: String,
        /// The sealed file.
        sealed: String,
        /// What the log has for it.
        expected: Content,
        /// What it holds.
        found: Content,
    },
    /// The store, or an object in it.
    #[error(transparent)]
    Objects(#[from] ObjectsError),
    /// The data directory.
    #[error(transparent)]
    Events(#[from] EventError),
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

impl SealedError {
    /// An error of the operating system with a path.
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.display().to_string();
        |source| Self::Io { path, source }
    }

    /// A file that cannot be understood.
    pub(crate) fn damaged(path: &str, message: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), message: message.into() }
    }
}
