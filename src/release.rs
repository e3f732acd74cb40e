//! Releases: the numbered bundles of everything that a decision depends on, on disk and in memory.
//!
//! Owns the store, workspaces, loading and the published [`Snapshot`]. A release is loaded beside the one that serves,
//! checked whole and warmed up; publishing it is one pointer store. Knows models, segments, offers and features; nothing of
//! requests or the wire. Start reading at [`Release::load`].

mod error;
pub mod fault;
mod init;
mod load;
mod records;
mod snapshot;
mod store;
mod workspace;

pub use error::RegistryError;
pub use load::{AssignedSegment, Release, ReleaseSource, Scorer, Segmenter};
pub use records::{
    Current, FileChange, GateOutcome, GateReport, ModelChange, ModelSummary, Promotion, PushHeader, Pushed,
    RELEASE_FILES, RefusedRelease, ReleaseDiff, ReleaseDraft, ReleaseFiles, ReleaseList, ReleaseRecord,
    ServingState, Verdict, VersionDetail, VersionFile, VersionState, VersionSummary,
};
pub use snapshot::{Publisher, Snapshot};
pub use store::{NewRelease, Placed, Staging, Stamp, Stamped, Store, StoreError, VersionRecord};
pub use workspace::Workspace;
