//! The lock that writers of a directory hold.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::ObjectsError;

/// The file that writers lock. Readers never do: a read-only store can be served.
const LOCK: &str = ".lock";
/// How long a writer waits for the others, each of which takes milliseconds.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How often a waiting writer tries again.
const INTERVAL: Duration = Duration::from_millis(2);

/// The lock of a directory; dropping it releases it, and so does the death of the process.
#[derive(Debug)]
pub struct DirectoryLock(#[expect(dead_code, reason = "closing the file releases the lock")] File);

impl DirectoryLock {
    /// Waits for the lock of the directory `root`.
    ///
    /// # Errors
    /// [`ObjectsError::Busy`] where another process holds it for too long; those of the operating system.
    pub fn take(root: &Path) -> Result<Self, ObjectsError> {
        let path = root.join(LOCK);
        let failed = |error| ObjectsError::io(&path, error);
        let file = File::options().create(true).append(true).open(&path).map_err(failed)?;
        let began = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self(file)),
                Err(TryLockError::WouldBlock) if began.elapsed() < TIMEOUT => std::thread::sleep(INTERVAL),
                Err(TryLockError::WouldBlock) => {
                    return Err(ObjectsError::Busy {
                        path: path.display().to_string(),
                        seconds: TIMEOUT.as_secs(),
                    });
                }
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
    }
}
