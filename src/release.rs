//! Releases: the numbered bundles of everything that a decision depends on, on disk and in memory.
//!
//! Owns the store, workspaces, loading and the published [`Snapshot`]. A release is loaded beside the one that serves,
//! checked whole and warmed up; publishing it is one pointer store. Knows models, segments, offers and features; nothing of
//! requests or the wire. Start reading at [`Release::load`].

mod load;
mod snapshot;
mod store;
mod workspace;

pub use load::{AssignedSegment, Release, ReleaseSource, Scorer, Segmenter};
pub use snapshot::{Publisher, Snapshot};
pub use store::{Current, RELEASE_FILES, ReleaseFiles, ReleaseRecord, Store, StoreError};
pub use workspace::Workspace;
