//! Errors of the event log.

use std::io;
use std::path::{Path, PathBuf};

use objects::ObjectsError;

use crate::directory::Holder;

/// Why an event log cannot be opened, read or changed.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// Another process has the data directory.
    #[error(
        "{directory} is in use by {holder}; give each server a directory of its own with `data.directory`"
    )]
    Locked {
        /// The data directory.
        directory: PathBuf,
        /// The process that has it.
        holder: Holder,
    },
    /// The directory was never a data directory.
    #[error("{directory} is not a data directory: it has no {missing}")]
    NotADataDirectory {
        /// The directory.
        directory: PathBuf,
        /// What each data directory has.
        missing: &'static str,
    },
    /// A file that this process does not understand.
    #[error("{path}: {message}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        message: String,
    },
    /// The file is in a format that this version does not know.
    #[error("{path} is in format {format}, which is newer than this version; run a newer one")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u32,
    },
    /// The log is gone, and the store cannot be asked how far it was.
    #[error(
        "{directory} has an id and no log, and the store cannot say how far the log was, so that positions might be used \
         again: {message}"
    )]
    NumbersUnknown {
        /// The data directory.
        directory: PathBuf,
        /// Why the store cannot be asked.
        message: String,
    },
    /// Only a closed log file can be deleted.
    #[error("{path} is not one of the closed log files")]
    NotClosed {
        /// The file.
        path: PathBuf,
    },
    /// The operating system reported an error.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The data directory cannot be made or read.
    #[error(transparent)]
    Objects(#[from] ObjectsError),
}

impl EventError {
    /// An error of the operating system with a path.
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |source| Self::Io { path, source }
    }
}

/// Why events are not durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotRecorded {
    /// Their encoding failed. They are lost.
    #[error("the events could not be encoded")]
    Failed,
    /// The log was closed before they were written. They are lost.
    #[error("the event log was closed before the events were written")]
    Closed,
    /// The log cannot be written for now. The events wait in the queue and may still be written.
    #[error("the event log cannot be written for now")]
    Stalled,
}
