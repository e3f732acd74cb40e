//! Writing to a store that is a directory: the lock that its writers hold, and files that appear whole.

use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::time::{Duration, Instant};

use super::files::{self, Moved};
use super::objects::Put;
use super::{Staging, StoreError};
use crate::release::fault;

/// The file that writers lock. Readers never do: a store that cannot be written to is served all the same.
const LOCK: &str = ".lock";
/// How long a writer waits for the others, each of whom is done within milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it looks.
const INTERVAL: Duration = Duration::from_millis(2);

/// The lock of a directory; dropping it lets go, and so does the death of the process.
#[derive(Debug)]
pub(super) struct Held(#[expect(dead_code, reason = "closing the file lets the lock go")] File);

impl Held {
    /// Waits for the lock of the store at `root`.
    pub(super) fn take(root: &Path) -> Result<Self, StoreError> {
        let path = root.join(LOCK);
        let failed = |error| StoreError::io(&path, error);
        let file = File::options().create(true).append(true).open(&path).map_err(failed)?;
        let began = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self(file)),
                Err(TryLockError::WouldBlock) if began.elapsed() < PATIENCE => std::thread::sleep(INTERVAL),
                Err(TryLockError::WouldBlock) => {
                    return Err(StoreError::Busy {
                        path: path.display().to_string(),
                        seconds: PATIENCE.as_secs(),
                    });
                }
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
    }
}

/// Puts a file where there must be none. It appears whole, and is on the disk when this returns.
pub(super) fn put_new(staging: &Staging, target: &Path, bytes: &[u8]) -> Result<Put, StoreError> {
    let made = staging.path().join("file");
    files::write(&made, bytes)?;
    Ok(match files::move_to_free(&made, target)? {
        Moved::Done => Put::Done(String::new()),
        Moved::Taken => Put::Taken,
    })
}

/// Puts a file in the place of another, at once. The lock must be held.
pub(super) fn replace(staging: &Staging, target: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let made = staging.path().join("file");
    files::write(&made, bytes)?;
    fault::point("promote.written");
    fs::rename(&made, target).map_err(|error| StoreError::io(target, error))?;
    files::sync(files::parent(target))
}
