//! The logs of other servers: one that may be running is read, one that is dead is taken over.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::durable;
use super::files::{Deleted, LogEnd, LogFile, LogFiles};
use super::recovery::{self, Recovery};
use super::unread::{Unread, unread};
use crate::directory::{self, DataDirectory};
use crate::disk::LocalDisk;
use crate::error::EventError;

/// The log of a server that may be running, as it was at one moment.
#[derive(Debug, Clone)]
pub struct OpenedLog {
    /// The id of the server.
    pub server: String,
    /// The files with events, by sequence. Each may be deleted before it is read.
    pub files: Vec<LogFile>,
    /// What keeps events from being read: they may be missing.
    pub unread: Vec<Unread>,
    /// The last position that the data directory says to be sealed.
    pub sealed: u64,
}

/// Lists the log of a data directory. Takes no lock and changes nothing. The events that a running server has not
/// synced yet may be among what is found.
///
/// # Errors
/// When it is not a data directory, a file cannot be read, or it is in a newer format.
pub fn open_read_only(root: &Path) -> Result<OpenedLog, EventError> {
    let server = directory::server_id(root)?;
    let log = directory::log_of(root);
    if !log.is_dir() {
        return Err(EventError::NotADataDirectory { directory: root.to_owned(), missing: "log" });
    }
    // Before the files, which may have more by then, and after them: what was deleted meanwhile is noted.
    let durable =
        durable::read(&LocalDisk, &log, &server).map_err(EventError::io(&durable::path(&log)))?.position;
    let found = recovery::read(&LocalDisk, &log, &server)?;
    let sealed = Deleted::read(&LocalDisk, &log)?.position;
    let mut all = recovery::damage(&found, sealed, durable);
    let is_damaged = !all.is_empty();
    // A file that is not read may have what is missing, so it is named first.
    all.extend(unread(&LocalDisk, &log, &server).map_err(EventError::io(&log))?);
    if !is_damaged {
        let missing = recovery::missing(&found, sealed, durable);
        all.extend(missing.into_iter().map(|positions| Unread {
            path: log.clone(),
            message: format!(
                "positions {} to {} were recorded, and no log file has them",
                positions.start(),
                positions.end()
            ),
        }));
    }
    let files = found.into_iter().filter(|one| one.scan.has_events()).map(|one| one.file).collect();
    Ok(OpenedLog { server, files, unread: all, sealed })
}

/// The log of a dead server, whose lock this process holds.
#[derive(Debug)]
pub struct TakenOver {
    files: LogFiles,
    recovery: Recovery,
    directory: DataDirectory,
}

/// Takes over the data directory of a server that has ended, and recovers its log. Who wants the directory meanwhile is
/// told that this process runs `command`.
///
/// # Errors
/// When it is not a data directory, another process has it, or a file cannot be read or repaired.
pub fn take_over(root: &Path, command: &str) -> Result<TakenOver, EventError> {
    let directory = DataDirectory::take_over(root, command)?;
    let log: PathBuf = directory.log();
    let recovered = recovery::recover(&LocalDisk, &log, directory.server(), LogEnd::default())?;
    let server = directory.server().to_owned();
    let files = LogFiles::new(Arc::new(LocalDisk), log, server, recovered.files, recovered.deleted);
    files.take_room();
    Ok(TakenOver { files, recovery: recovered.report, directory })
}

impl TakenOver {
    /// The data directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.root()
    }

    /// Its files, all of which are closed.
    #[must_use]
    pub fn files(&self) -> &LogFiles {
        &self.files
    }

    /// What was found and done.
    #[must_use]
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }
}
