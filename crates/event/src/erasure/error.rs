//! Errors of erasing.

use std::io;
use std::path::Path;

use objects::ObjectsError;

use crate::NotRecorded;
use crate::frame::FrameError;
use crate::sealed::SealedError;

/// Why somebody cannot be erased. What was done stays done, and can be repeated.
#[derive(Debug, thiserror::Error)]
pub enum ErasureError {
    /// A file that cannot be understood.
    #[error("{path}: {message}")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong with it, and what to do.
        message: String,
    },
    /// A marker of a format that this version does not know.
    #[error("{path} is in format {format}, which is newer than this version; run a newer one")]
    Newer {
        /// The marker.
        path: String,
        /// Its format.
        format: u32,
    },
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
    /// A log file that cannot be read to its end.
    #[error("{path}: {source}")]
    LogFile {
        /// The log file.
        path: String,
        /// Where its frames end, and why.
        #[source]
        source: FrameError,
    },
    /// The operating system has no random bytes.
    #[error("no random bytes for a salt: {0}")]
    Random(getrandom::Error),
    /// The store, or an object in it.
    #[error(transparent)]
    Objects(#[from] ObjectsError),
    /// Sealed files.
    #[error(transparent)]
    Sealed(#[from] SealedError),
    /// A server still knows in memory who is to be erased.
    #[error("what is to be erased is still in memory: {0}")]
    NotForgotten(String),
    /// The log of a server could not be closed.
    #[error("records are not erased from the log for now: {0}")]
    Log(#[from] NotRecorded),
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

impl ErasureError {
    /// An error of the operating system with a path.
    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.display().to_string();
        |source| Self::Io { path, source }
    }

    /// A file that cannot be understood.
    pub(super) fn damaged(path: &str, message: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), message: message.into() }
    }
}
