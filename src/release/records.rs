//! What the store holds and what is told of it: plain values, written as TOML or JSON and printed by the command line.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The three files of a release that people edit, in the order in which they are read.
pub const RELEASE_FILES: [&str; 3] = ["features.toml", "offers.toml", "policy.toml"];

/// `CURRENT`: which release serves, and how it came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Current {
    /// The release that serves.
    pub release: u64,
    /// What a rollback promotes; 0: nothing.
    pub previous: u64,
    /// Counts promotions and rollbacks from 1; never goes back.
    pub sequence: u64,
    /// Who promoted.
    pub author: String,
    /// Why.
    pub reason: String,
    /// When, RFC 3339 in UTC.
    pub time: String,
}

/// `release.toml`: what a release pins, and what its files were when it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseRecord {
    /// The number of the release.
    pub number: u64,
    /// Who made it.
    pub author: String,
    /// What for.
    pub note: String,
    /// When, RFC 3339 in UTC.
    pub created: String,
    /// Model name → version.
    pub models: BTreeMap<String, u64>,
    /// File → SHA-256 in hex, for the release's own files.
    pub hashes: BTreeMap<String, String>,
}

/// A release that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CreatedRelease {
    /// Its record.
    pub record: ReleaseRecord,
    /// What is sound and most likely a mistake, each with file and line.
    pub warnings: Vec<String>,
}

/// The texts of a release's files, checked against their hashes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReleaseFiles {
    /// Its record.
    pub record: ReleaseRecord,
    /// `features.toml`.
    pub features: String,
    /// `offers.toml`.
    pub offers: String,
    /// `policy.toml`.
    pub policy: String,
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

/// `verdicts/<name>/<version>.json`: what the gates said of a version, written once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Whether no gate failed: only then can a release pin the version.
    pub passed: bool,
    /// One report per gate, in the order in which they ran.
    pub gates: Vec<GateReport>,
    /// The release whose features and models it was judged against; 0 where there was none.
    pub release: u64,
    /// When, RFC 3339 in UTC.
    pub time: String,
}

impl Verdict {
    /// What follows from the reports of the gates, judged against `release`.
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

/// What one gate said.
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
    /// For people: what is wrong and what to do, or why there was nothing to judge.
    pub why: String,
}

/// How a gate ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GateOutcome {
    /// The version may pass.
    Passed,
    /// The version cannot serve.
    Failed,
    /// There was nothing to judge by. Never blocks.
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
    /// There is no verdict: its push was cut before the gates had ended.
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
    /// As the manifest says; empty where it cannot be read.
    pub kind: String,
    /// Of all its files.
    pub bytes: u64,
    /// Whether it may serve.
    pub state: VersionState,
    /// Whether the current release pins it.
    pub current: bool,
}

/// Everything that is known of a version.
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
    /// What the gates said, where they have ended.
    pub verdict: Option<Verdict>,
    /// The releases that pin it, ascending.
    pub releases: Vec<u64>,
}

/// What a push begins with.
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
    /// The `features.toml` to judge by; the current release's where there is none.
    pub features: Option<String>,
}

/// How a push ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pushed {
    /// The model's name.
    pub name: String,
    /// The number that the version has.
    pub version: u64,
    /// False where the same bytes were there already.
    pub created: bool,
    /// What the gates said.
    pub verdict: Verdict,
}

/// A release that is to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReleaseDraft {
    /// The release to begin from; 0: the current one.
    pub base: u64,
    /// Model name → version, over those of the base; 0 as the version takes the model out.
    pub models: BTreeMap<String, u64>,
    /// `features.toml`; the base's where there is none.
    pub features: Option<String>,
    /// `offers.toml`, likewise.
    pub offers: Option<String>,
    /// `policy.toml`, likewise.
    pub policy: Option<String>,
    /// Who makes it.
    pub author: String,
    /// What for.
    pub note: String,
}

/// What a promotion or a rollback did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Promotion {
    /// What was written.
    pub current: Current,
    /// The release of a later promotion that has been made current since; 0: none.
    pub overtaken_by: u64,
    /// Whether the release was loaded already.
    pub warm: bool,
}

/// A release that a server could not serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefusedRelease {
    /// The release.
    pub release: u64,
    /// Everything that is wrong with it.
    pub reason: String,
    /// When, RFC 3339 in UTC.
    pub time: String,
}

/// What one server serves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ServingState {
    /// The release that answers calls; 0 before the first.
    pub release: u64,
    /// The promotion that brought it.
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

/// Releases with what is current and what serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReleaseList {
    /// Newest first.
    pub releases: Vec<ReleaseRecord>,
    /// What the store says is current.
    pub current: Current,
    /// What the server that answered does with it; `None` where a store was asked and no server.
    pub serving: Option<ServingState>,
}

/// What changes from one release to another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ReleaseDiff {
    /// The release that was begun from.
    pub from: u64,
    /// The release that was compared with it.
    pub to: u64,
    /// Models that differ, by name.
    pub models: Vec<ModelChange>,
    /// Files that differ.
    pub files: Vec<FileChange>,
    /// Offers that only `to` has, by id.
    pub offers_added: Vec<String>,
    /// Offers that only `from` has, by id.
    pub offers_removed: Vec<String>,
    /// Offers that both have and that are not the same, by id.
    pub offers_changed: Vec<String>,
}

/// A model whose version differs; 0: not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModelChange {
    /// The model.
    pub name: String,
    /// Before.
    pub from: u64,
    /// After.
    pub to: u64,
}

/// A file that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileChange {
    /// Its name.
    pub name: String,
    /// The difference in unified form.
    pub diff: String,
}
