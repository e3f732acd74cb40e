//! Releases: the numbered bundles of everything that a decision depends on, on disk and in memory.
//!
//! Owns the store, workspaces, gates, loading, the published [`Snapshot`] and the [`Deployer`] that moves it. A
//! release is loaded in the background, checked whole and warmed up; publishing it is one pointer store. Knows
//! models, segments, offers and features; nothing of requests or the wire. Everything here may wait for a disk: call
//! it on threads that may block. Start reading at [`Release::load`], then [`Registry`] (how versions and releases
//! come in), [`Deployer`] (what serves) and [`Ramps`] (experiments).

mod config;
mod customers;
mod deployer;
mod error;
mod fault;
mod gates;
mod history;
mod init;
mod judging;
mod load;
mod ramps;
mod records;
mod registry;
mod review;
mod snapshot;
mod store;
mod workspace;

pub use config::ReleaseConfig;
pub use deployer::{Deployer, DeployerParts, Follower, PromotionRequest};
pub use error::RegistryError;
pub use gates::{Candidate, Champion, Sample, judge};
pub use init::{JudgedWorkspace, init, init_judged};
pub use judging::{JudgeLimits, Judges, Permits, serve as serve_judge};
pub use load::{
    AssignedSegment, CONSENT_PREFIX, ConsentFeature, FeatureUsage, LoadedShadow, ModelIndex, Release,
    ReleaseSource, Replacement, Scorer, Segmenter, UsedFeatures,
};
pub use ramps::{Guardrails, Judgement, Ramps, RampsParts};
pub use records::{
    Change, ChangedExperiment, ConcludedExperiment, CreatedRelease, Current, Evidence, ExperimentDetail,
    ExperimentList, ExperimentStep, ExperimentSummary, FileChange, GateOutcome, GateReport,
    GuardrailEvidence, ModelChange, ModelSummary, Order, PendingStop, Promotion, PushHeader, Pushed,
    RELEASE_FILES, RefusedRelease, ReleaseDiff, ReleaseDraft, ReleaseFiles, ReleaseList, ReleaseRecord,
    Schedule, ServingState, StepAction, StepRecord, VariantSummary, Verdict, VersionDetail, VersionFile,
    VersionState, VersionSummary,
};
pub use registry::{Registry, RegistryParts, UPLOAD_BYTES, Upload};
use review::refusals;
pub use review::{Kind, Lines, Review, ShownWarnings, review};
pub use snapshot::{Publisher, Snapshot};
pub use store::{
    Exchanged, Lease, NewRelease, Placed, Staging, Stamp, Stamped, Store, StoreError, SyncedCustomers,
    VersionRecord,
};
pub use workspace::Workspace;

/// The time as records have it: RFC 3339 in UTC, to the second.
fn now() -> String {
    chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}
