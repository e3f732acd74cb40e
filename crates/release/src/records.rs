//! The store's content and the answers about it: plain values, written as TOML or JSON and printed by the command
//! line.

mod experiment;
mod step;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use experiment::{
    Change, ChangedExperiment, ConcludedExperiment, ExperimentDetail, ExperimentList, ExperimentSummary,
    Order, PendingStop, Schedule, StepRecord, VariantSummary,
};
use model::onnx::GraphFacts;
pub use step::{ExperimentStep, GuardrailEvidence, StepAction};

/// The three files of a release that people edit, in the order in which they are read.
pub const RELEASE_FILES: [&str; 3] = ["features.toml", "offers.toml", "policy.toml"];

/// `CURRENT`: which release serves, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Current {
    /// The release that serves.
    pub release: u64,
    /// The target of a rollback; 0: none.
    pub previous: u64,
    /// Counts promotions and rollbacks from 1; never decreases.
    pub sequence: u64,
    /// The person or job that promoted it.
    pub author: String,
    /// The reason given.
    pub reason: String,
    /// The time of the promotion, RFC 3339 in UTC.
    pub time: String,
}

/// `release.toml`: the versions that a release pins, and the hashes of its files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseRecord {
    /// The number of the release.
    pub number: u64,
    /// The person or job that made it.
    pub author: String,
    /// The purpose given.
    pub note: String,
    /// The time of creation, RFC 3339 in UTC.
    pub created: String,
    /// Model name → version.
    pub models: BTreeMap<String, u64>,
    /// File → SHA-256 in hex, for the release's own files.
    pub hashes: BTreeMap<String, String>,
    /// What it does to an experiment; `None` for a release of a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<ExperimentStep>,
}

impl ReleaseRecord {
    /// Whether it is a step of a ramp, which a rollback skips.
    #[must_use]
    pub fn is_step(&self) -> bool {
        self.step.as_ref().is_some_and(|step| step.action.is_skipped())
    }
}

/// The result of creating a release.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CreatedRelease {
    /// Its record.
    pub record: ReleaseRecord,
    /// What is sound and most likely a mistake, each with file and line.
    pub warnings: Vec<String>,
}

/// The texts of a release's files, checked against their hashes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReleaseFiles {
    /// Its record.
    pub record: ReleaseRecord,
    /// The text of `features.toml`.
    pub features: String,
    /// The text of `offers.toml`.
    pub offers: String,
    /// The text of `policy.toml`.
    pub policy: String,
}

impl ReleaseFiles {
    /// The versions that it needs, each once: those that it pins, and those of variants and shadows.
    #[must_use]
    pub fn versions(&self) -> BTreeSet<(String, u64)> {
        super::store::needed(&self.record.models, &self.policy)
    }

    /// Those of them that its answers need: all but those of shadows alone.
    #[must_use]
    pub fn answering_versions(&self) -> BTreeSet<(String, u64)> {
        super::store::needed_to_answer(&self.record.models, &self.policy)
    }
}

/// A file of a model version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VersionFile {
    /// Its path within the version's directory, with `/` between folders.
    pub name: String,
    /// In bytes.
    pub size: u64,
    /// SHA-256 in lower-case hexadecimal.
    pub sha256: String,
}

/// `verdicts/<name>/<version>.json`: the gates' verdict on a version, written once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Whether no gate failed: only then can a release pin the version.
    pub passed: bool,
    /// One report per gate, in the order in which they ran.
    pub gates: Vec<GateReport>,
    /// The release whose features and models it was judged against; 0: none.
    pub release: u64,
    /// The time of the verdict, RFC 3339 in UTC.
    pub time: String,
}

impl Verdict {
    /// The verdict that follows from the gates' reports, judged against `release`.
    #[must_use]
    pub fn of(gates: Vec<GateReport>, release: u64) -> Self {
        let passed = gates.iter().all(|report| report.outcome != GateOutcome::Failed);
        Self { passed, gates, release, time: super::now() }
    }

    /// The gates that failed, each with the reason.
    #[must_use]
    pub fn failures(&self) -> String {
        let failed = self.gates.iter().filter(|gate| gate.outcome == GateOutcome::Failed);
        failed.map(|gate| format!("{}: {}", gate.gate, gate.why)).collect::<Vec<_>>().join("; ")
    }
}

/// What was judged and what the gates found, stored beside the verdict for servers that load the version. Verdicts of
/// older servers have none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Evidence {
    /// The SHA-256 of `model.toml`, which contains those of the other files. Without a manifest, the SHA-256 of the
    /// graph.
    pub sha256: String,
    /// The limits that applied, in words.
    pub limits: Vec<String>,
    /// Facts about the graphs that the native engine was verified on.
    pub graphs: Vec<GraphFacts>,
}

impl Evidence {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sha256.is_empty()
    }
}

/// The report of one gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateReport {
    /// The gate's name.
    pub gate: String,
    /// How it ended.
    pub outcome: GateOutcome,
    /// What was found, with its unit; may be empty.
    pub measured: String,
    /// What is allowed, with its unit; may be empty.
    pub limit: String,
    /// For people: what is wrong and what to do, or why the gate was skipped.
    pub why: String,
}

/// The beginning of a skipped gate's reason that a person should read.
pub(super) const WARNING: &str = "warning: ";

impl GateReport {
    /// The warning of a skipped gate that a person should read, if there is one.
    #[must_use]
    pub fn warning(&self) -> Option<&str> {
        if self.outcome == GateOutcome::Skipped { self.why.strip_prefix(WARNING) } else { None }
    }
}

/// How a gate ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GateOutcome {
    /// The version may pass.
    Passed,
    /// The version cannot serve.
    Failed,
    /// The gate did not apply, or its data were missing. Never blocks.
    Skipped,
}

impl GateOutcome {
    /// The outcome as it is written.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

/// Whether a version may serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum VersionState {
    /// It passed its gates.
    Passed,
    /// It failed a gate.
    Failed,
    /// It has no verdict: its push was interrupted before the gates had ended.
    Unjudged,
}

/// A model and its versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModelSummary {
    /// Its name.
    pub name: String,
    /// Ascending.
    pub versions: Vec<VersionSummary>,
}

/// A version in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VersionSummary {
    /// Its number.
    pub version: u64,
    /// The manifest's `kind`; empty where the manifest cannot be read.
    pub kind: String,
    /// The size of all its files.
    pub bytes: u64,
    /// Whether it may serve.
    pub state: VersionState,
    /// Whether the current release pins it.
    pub current: bool,
}

/// Everything that is known about a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VersionDetail {
    /// The model's name.
    pub name: String,
    /// The number.
    pub version: u64,
    /// The text of `model.toml`.
    pub manifest: String,
    /// The other files, by name.
    pub files: Vec<VersionFile>,
    /// The verdict, once the gates have ended.
    pub verdict: Option<Verdict>,
    /// The releases that pin it, ascending.
    pub releases: Vec<u64>,
}

/// The announcement at the beginning of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushHeader {
    /// The model's name.
    pub name: String,
    /// The number; 0: the next.
    pub version: u64,
    /// The text of `model.toml`, with or without checksums.
    pub manifest: String,
    /// The other files, in the order in which their bytes follow.
    pub files: Vec<VersionFile>,
    /// The `features.toml` to judge against; by default, the current release's.
    pub features: Option<String>,
}

/// The result of a push.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pushed {
    /// The model's name.
    pub name: String,
    /// The number that the version has.
    pub version: u64,
    /// False where the same bytes were there already.
    pub created: bool,
    /// The gates' verdict.
    pub verdict: Verdict,
}

/// A release to be made.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReleaseDraft {
    /// The release to begin from; 0: the current one.
    pub base: u64,
    /// Model name → version, changes to those of the base; version 0 removes the model.
    pub models: BTreeMap<String, u64>,
    /// The text of `features.toml`; by default, the base's.
    pub features: Option<String>,
    /// The text of `offers.toml`; by default, the base's.
    pub offers: Option<String>,
    /// The text of `policy.toml`; by default, the base's.
    pub policy: Option<String>,
    /// The person or job that makes it.
    pub author: String,
    /// The purpose.
    pub note: String,
    /// What it does to an experiment; `None` for a release of a person.
    pub step: Option<ExperimentStep>,
}

/// The result of a promotion or a rollback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Promotion {
    /// The `CURRENT` that was written.
    pub current: Current,
    /// The release of a later promotion that is current by now; 0: none.
    pub overtaken_by: u64,
    /// Whether the release was loaded already.
    pub warm: bool,
    /// Experiments that run again, though they were stopped or paused in the release that was current before.
    pub warnings: Vec<String>,
}

/// A release that a server could not serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefusedRelease {
    /// The release.
    pub release: u64,
    /// Everything that is wrong with it.
    pub reason: String,
    /// The time of the attempt, RFC 3339 in UTC.
    pub time: String,
}

/// What one server serves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ServingState {
    /// The release that answers calls; 0 before the first.
    pub release: u64,
    /// The sequence of its promotion.
    pub sequence: u64,
    /// Releases that are still loaded, the last to serve first.
    pub warm: Vec<u64>,
    /// The release that is being loaded; 0: none.
    pub loading: u64,
    /// Releases that this server could not serve, the latest first.
    pub refused: Vec<RefusedRelease>,
    /// Why the store cannot be read or followed now; empty: it can.
    pub store_error: String,
    /// `CURRENT` as this server last read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<Current>,
}

/// Releases, with the current and the serving one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReleaseList {
    /// Newest first.
    pub releases: Vec<ReleaseRecord>,
    /// The store's `CURRENT`.
    pub current: Current,
    /// The state of the server that answered; `None` where a store was read without a server.
    pub serving: Option<ServingState>,
}

/// What changes from one release to another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ReleaseDiff {
    /// The release before.
    pub from: u64,
    /// The release after.
    pub to: u64,
    /// Models that differ, by name.
    pub models: Vec<ModelChange>,
    /// Files that differ.
    pub files: Vec<FileChange>,
    /// Offers that only `to` has, by id.
    pub offers_added: Vec<String>,
    /// Offers that only `from` has, by id.
    pub offers_removed: Vec<String>,
    /// Offers that both have and that differ, by id.
    pub offers_changed: Vec<String>,
}

/// A model whose version differs; version 0: absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModelChange {
    /// The model.
    pub name: String,
    /// The version before.
    pub from: u64,
    /// The version after.
    pub to: u64,
}

/// A file that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileChange {
    /// Its name.
    pub name: String,
    /// The difference in unified format.
    pub diff: String,
}
