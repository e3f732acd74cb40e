//! How far a reader is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How far a reader is, in bytes of the files that it reads. Clones show the same.
#[derive(Debug, Clone, Default)]
pub struct ReadProgress(Arc<Bytes>);

#[derive(Debug, Default)]
struct Bytes {
    done: AtomicU64,
    all: AtomicU64,
}

impl ReadProgress {
    /// The bytes of what was read. Some of it may not have been passed on yet.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.0.done.load(Ordering::Relaxed)
    }

    /// The bytes of all files that are read; 0 before they are listed.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.0.all.load(Ordering::Relaxed)
    }

    /// A scan of so many bytes begins.
    pub(super) fn begin(&self, all: u64) {
        self.0.done.store(0, Ordering::Relaxed);
        self.0.all.store(all, Ordering::Relaxed);
    }

    /// So many more bytes were read, or need not be.
    pub(super) fn add(&self, bytes: u64) {
        self.0.done.fetch_add(bytes, Ordering::Relaxed);
    }
}
