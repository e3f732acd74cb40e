//! Events: what is recorded of decisions, of outcomes and of shadows, the log of a server, sealed files, and how they
//! are read.
//!
//! The event log is the only truth; everything else is derived from it. Never decides, and knows nothing of releases.

pub mod frame;

// What an event is.
mod kind;
pub mod seen;
mod wire;

pub use kind::{EventRecord, Kind, Record};

// The event log of a server: queue, writer, files.
mod clock;
mod config;
mod data_file;
mod directory;
mod disk;
mod error;
mod event_log;
mod fault;
pub mod log;
mod numbers;
mod queue;
mod receipt;
mod recorder;
mod shadows;
mod writer;

pub use config::{EventConfig, SyncPolicy, WhenFull};
pub use data_file::DataFile;
pub use directory::Holder;
pub use error::{EventError, NotRecorded};
pub use event_log::{Closed, EventLog, LogOptions};
pub use receipt::Receipt;
pub use recorder::{Durability, EVENT_BYTES, IntoEvents, Recorder, Reserved};

// Privacy: keys, pseudonyms, encrypted values.

pub mod erasure;
pub mod keys;
pub mod privacy;

// Sealed files: Parquet in the store, made of log files, read, verified, expired, exported.
mod columns;
pub mod export;
pub mod read;
pub mod retention;
pub mod seal;
pub mod sealed;
pub mod verify;

pub use columns::Entry;
pub use read::{EventReader, OfServer, Query, Since, rows};
pub use sealed::{EventStore, SealedError};

impl proto::FeatureSource {
    /// Where a value came from, as JSON and people read it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Unspecified => "missing",
            Self::Request => "request",
            Self::Store => "store",
            Self::Default => "default",
        }
    }
}

/// The messages of `proto/proffer/v1/record.proto`.
#[allow(missing_docs, clippy::pedantic, reason = "generated; the definition has the documentation")]
pub mod proto {
    include!(concat!(env!("OUT_DIR"), "/proffer.v1.rs"));
}
