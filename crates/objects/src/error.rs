//! Errors of objects.

use std::io;
use std::path::Path;

/// An error of objects. Every message names the object and, where there is a remedy, the remedy.
#[derive(Debug, thiserror::Error)]
pub enum ObjectsError {
    /// There is no such directory or bucket, or an object disappeared.
    #[error("{place}: {reason}")]
    NotFound {
        /// The directory or bucket.
        place: String,
        /// What is missing.
        reason: String,
    },
    /// The location is not understandable.
    #[error("{location} cannot hold objects: {message}")]
    Location {
        /// The location that was asked for.
        location: String,
        /// What is wrong with it.
        message: String,
    },
    /// An object that cannot be decoded, or an invalid key.
    #[error("{path}: {message}")]
    Damaged {
        /// The object.
        path: String,
        /// What is wrong with it.
        message: String,
    },
    /// Another process holds the lock of a directory and does not release it.
    #[error("{path} is locked by another process for more than {seconds} s; is one stopped?")]
    Busy {
        /// The lock.
        path: String,
        /// How long this process waited.
        seconds: u64,
    },
    /// There was no answer, or the answer was a temporary failure. This says nothing about the objects.
    #[error("{place} cannot be reached: {message}")]
    Unreachable {
        /// The directory or bucket, or the object in it.
        place: String,
        /// What happened.
        message: String,
    },
    /// The credentials do not suffice.
    #[error(
        "{path}: the store refuses the credentials: {message}; see the AWS_* variables of the environment"
    )]
    Refused {
        /// The object.
        path: String,
        /// The bucket's answer.
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

impl ObjectsError {
    /// An error of the operating system with a path.
    #[must_use]
    pub fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.display().to_string(), source }
    }
}
