//! The values of `release` as messages and back: the services write them, and the client of the command line reads
//! them.
//!
//! An answer that this client cannot read, such as an outcome unknown to its version, is an [`Unreadable`].

mod experiment;

use super::proto::proffer::v1 as wire;
use release::{
    CreatedRelease, Current, FileChange, GateOutcome, GateReport, ModelChange, ModelSummary, Promotion,
    PushHeader, Pushed, RefusedRelease, ReleaseDiff, ReleaseDraft, ReleaseFiles, ReleaseList, ReleaseRecord,
    ServingState, Verdict, VersionDetail, VersionFile, VersionState, VersionSummary,
};

/// An answer that lacks a value, or has one that this version does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the server's answer cannot be read: {0}; is it of another version?")]
pub struct Unreadable(pub(super) String);

/// A value that every answer must have.
fn present<T>(what: &str, value: Option<T>) -> Result<T, Unreadable> {
    value.ok_or_else(|| Unreadable(format!("`{what}` is missing")))
}

fn all<A, B: TryFrom<A>>(list: Vec<A>) -> Result<Vec<B>, B::Error> {
    list.into_iter().map(TryInto::try_into).collect()
}

fn each<A, B: From<A>>(list: Vec<A>) -> Vec<B> {
    list.into_iter().map(Into::into).collect()
}

// Pushing.

impl From<wire::FileInfo> for VersionFile {
    fn from(file: wire::FileInfo) -> Self {
        Self { name: file.name, size: file.size, sha256: file.sha256.to_ascii_lowercase() }
    }
}

impl From<VersionFile> for wire::FileInfo {
    fn from(file: VersionFile) -> Self {
        Self { name: file.name, size: file.size, sha256: file.sha256 }
    }
}

impl From<wire::PushHeader> for PushHeader {
    fn from(header: wire::PushHeader) -> Self {
        Self {
            name: header.name,
            version: header.version,
            manifest: header.manifest,
            files: each(header.files),
            features: Some(header.features_toml).filter(|text| !text.is_empty()),
        }
    }
}

impl From<PushHeader> for wire::PushHeader {
    fn from(header: PushHeader) -> Self {
        Self {
            name: header.name,
            version: header.version,
            manifest: header.manifest,
            files: each(header.files),
            features_toml: header.features.unwrap_or_default(),
        }
    }
}

impl From<Pushed> for wire::PushModelVersionResponse {
    fn from(pushed: Pushed) -> Self {
        Self {
            name: pushed.name,
            version: pushed.version,
            created: pushed.created,
            verdict: Some(pushed.verdict.into()),
        }
    }
}

impl TryFrom<wire::PushModelVersionResponse> for Pushed {
    type Error = Unreadable;

    fn try_from(answer: wire::PushModelVersionResponse) -> Result<Self, Unreadable> {
        let verdict = present("verdict", answer.verdict)?.try_into()?;
        Ok(Self { name: answer.name, version: answer.version, created: answer.created, verdict })
    }
}

impl From<Verdict> for wire::Verdict {
    fn from(verdict: Verdict) -> Self {
        Self {
            passed: verdict.passed,
            gates: each(verdict.gates),
            release: verdict.release,
            time: verdict.time,
        }
    }
}

impl TryFrom<wire::Verdict> for Verdict {
    type Error = Unreadable;

    fn try_from(verdict: wire::Verdict) -> Result<Self, Unreadable> {
        let gates = all(verdict.gates)?;
        Ok(Self { passed: verdict.passed, gates, release: verdict.release, time: verdict.time })
    }
}

impl From<GateReport> for wire::GateResult {
    fn from(report: GateReport) -> Self {
        let outcome = match report.outcome {
            GateOutcome::Passed => wire::GateOutcome::Passed,
            GateOutcome::Failed => wire::GateOutcome::Failed,
            GateOutcome::Skipped => wire::GateOutcome::Skipped,
        };
        Self {
            gate: report.gate,
            outcome: outcome.into(),
            measured: report.measured,
            limit: report.limit,
            why: report.why,
        }
    }
}

impl TryFrom<wire::GateResult> for GateReport {
    type Error = Unreadable;

    fn try_from(result: wire::GateResult) -> Result<Self, Unreadable> {
        let outcome = match wire::GateOutcome::try_from(result.outcome) {
            Ok(wire::GateOutcome::Passed) => GateOutcome::Passed,
            Ok(wire::GateOutcome::Failed) => GateOutcome::Failed,
            Ok(wire::GateOutcome::Skipped) => GateOutcome::Skipped,
            Ok(wire::GateOutcome::Unspecified) | Err(_) => {
                return Err(Unreadable(format!("gate `{}` has the outcome {}", result.gate, result.outcome)));
            }
        };
        Ok(Self {
            gate: result.gate,
            outcome,
            measured: result.measured,
            limit: result.limit,
            why: result.why,
        })
    }
}

// Listing versions.

impl From<ModelSummary> for wire::ModelSummary {
    fn from(model: ModelSummary) -> Self {
        Self { name: model.name, versions: each(model.versions) }
    }
}

impl TryFrom<wire::ModelSummary> for ModelSummary {
    type Error = Unreadable;

    fn try_from(model: wire::ModelSummary) -> Result<Self, Unreadable> {
        Ok(Self { name: model.name, versions: all(model.versions)? })
    }
}

impl From<VersionSummary> for wire::VersionSummary {
    fn from(summary: VersionSummary) -> Self {
        let state = match summary.state {
            VersionState::Passed => wire::VersionState::Passed,
            VersionState::Failed => wire::VersionState::Failed,
            VersionState::Unjudged => wire::VersionState::Unjudged,
        };
        Self {
            version: summary.version,
            kind: summary.kind,
            bytes: summary.bytes,
            state: state.into(),
            current: summary.current,
        }
    }
}

impl TryFrom<wire::VersionSummary> for VersionSummary {
    type Error = Unreadable;

    fn try_from(summary: wire::VersionSummary) -> Result<Self, Unreadable> {
        let state = match wire::VersionState::try_from(summary.state) {
            Ok(wire::VersionState::Passed) => VersionState::Passed,
            Ok(wire::VersionState::Failed) => VersionState::Failed,
            Ok(wire::VersionState::Unjudged) => VersionState::Unjudged,
            Ok(wire::VersionState::Unspecified) | Err(_) => {
                return Err(Unreadable(format!(
                    "version {} has the state {}",
                    summary.version, summary.state
                )));
            }
        };
        Ok(Self {
            version: summary.version,
            kind: summary.kind,
            bytes: summary.bytes,
            state,
            current: summary.current,
        })
    }
}

impl From<VersionDetail> for wire::GetModelVersionResponse {
    fn from(detail: VersionDetail) -> Self {
        Self {
            name: detail.name,
            version: detail.version,
            manifest: detail.manifest,
            files: each(detail.files),
            verdict: detail.verdict.map(Into::into),
            releases: detail.releases,
        }
    }
}

impl TryFrom<wire::GetModelVersionResponse> for VersionDetail {
    type Error = Unreadable;

    fn try_from(answer: wire::GetModelVersionResponse) -> Result<Self, Unreadable> {
        Ok(Self {
            name: answer.name,
            version: answer.version,
            manifest: answer.manifest,
            files: each(answer.files),
            verdict: answer.verdict.map(TryInto::try_into).transpose()?,
            releases: answer.releases,
        })
    }
}

// Releases.

impl From<wire::CreateReleaseRequest> for ReleaseDraft {
    fn from(request: wire::CreateReleaseRequest) -> Self {
        Self {
            base: request.base,
            models: request.models.into_iter().collect(),
            features: request.features_toml,
            offers: request.offers_toml,
            policy: request.policy_toml,
            author: request.author,
            note: request.note,
            step: None,
        }
    }
}

impl From<ReleaseDraft> for wire::CreateReleaseRequest {
    fn from(draft: ReleaseDraft) -> Self {
        Self {
            base: draft.base,
            models: draft.models.into_iter().collect(),
            features_toml: draft.features,
            offers_toml: draft.offers,
            policy_toml: draft.policy,
            author: draft.author,
            note: draft.note,
        }
    }
}

impl From<ReleaseRecord> for wire::ReleaseInfo {
    fn from(record: ReleaseRecord) -> Self {
        Self {
            number: record.number,
            author: record.author,
            note: record.note,
            created: record.created,
            models: record.models.into_iter().collect(),
            hashes: record.hashes.into_iter().collect(),
            step: record.step.map(Into::into),
        }
    }
}

impl TryFrom<wire::ReleaseInfo> for ReleaseRecord {
    type Error = Unreadable;

    fn try_from(info: wire::ReleaseInfo) -> Result<Self, Unreadable> {
        Ok(Self {
            number: info.number,
            author: info.author,
            note: info.note,
            created: info.created,
            models: info.models.into_iter().collect(),
            hashes: info.hashes.into_iter().collect(),
            step: info.step.map(TryInto::try_into).transpose()?,
        })
    }
}

impl From<CreatedRelease> for wire::CreateReleaseResponse {
    fn from(created: CreatedRelease) -> Self {
        Self { release: Some(created.record.into()), warnings: created.warnings }
    }
}

impl TryFrom<wire::CreateReleaseResponse> for CreatedRelease {
    type Error = Unreadable;

    fn try_from(answer: wire::CreateReleaseResponse) -> Result<Self, Unreadable> {
        Ok(Self { record: present("release", answer.release)?.try_into()?, warnings: answer.warnings })
    }
}

impl From<ReleaseFiles> for wire::GetReleaseResponse {
    fn from(files: ReleaseFiles) -> Self {
        Self {
            release: Some(files.record.into()),
            features_toml: files.features,
            offers_toml: files.offers,
            policy_toml: files.policy,
        }
    }
}

impl TryFrom<wire::GetReleaseResponse> for ReleaseFiles {
    type Error = Unreadable;

    fn try_from(answer: wire::GetReleaseResponse) -> Result<Self, Unreadable> {
        Ok(Self {
            record: present("release", answer.release)?.try_into()?,
            features: answer.features_toml,
            offers: answer.offers_toml,
            policy: answer.policy_toml,
        })
    }
}

impl From<ReleaseList> for wire::ListReleasesResponse {
    fn from(list: ReleaseList) -> Self {
        Self {
            releases: each(list.releases),
            current: Some(list.current.into()),
            serving: list.serving.map(Into::into),
        }
    }
}

impl TryFrom<wire::ListReleasesResponse> for ReleaseList {
    type Error = Unreadable;

    fn try_from(answer: wire::ListReleasesResponse) -> Result<Self, Unreadable> {
        Ok(Self {
            releases: all(answer.releases)?,
            current: present("current", answer.current)?.into(),
            serving: answer.serving.map(Into::into),
        })
    }
}

impl From<ReleaseDiff> for wire::DiffReleasesResponse {
    fn from(diff: ReleaseDiff) -> Self {
        let change =
            |change: ModelChange| wire::ModelChange { name: change.name, from: change.from, to: change.to };
        let file = |file: FileChange| wire::FileChange { name: file.name, diff: file.diff };
        Self {
            from: diff.from,
            to: diff.to,
            models: diff.models.into_iter().map(change).collect(),
            files: diff.files.into_iter().map(file).collect(),
            offers_added: diff.offers_added,
            offers_removed: diff.offers_removed,
            offers_changed: diff.offers_changed,
        }
    }
}

impl From<wire::DiffReleasesResponse> for ReleaseDiff {
    fn from(answer: wire::DiffReleasesResponse) -> Self {
        let change =
            |change: wire::ModelChange| ModelChange { name: change.name, from: change.from, to: change.to };
        let file = |file: wire::FileChange| FileChange { name: file.name, diff: file.diff };
        Self {
            from: answer.from,
            to: answer.to,
            models: answer.models.into_iter().map(change).collect(),
            files: answer.files.into_iter().map(file).collect(),
            offers_added: answer.offers_added,
            offers_removed: answer.offers_removed,
            offers_changed: answer.offers_changed,
        }
    }
}

// The serving state.

impl From<Current> for wire::Current {
    fn from(current: Current) -> Self {
        Self {
            release: current.release,
            previous: current.previous,
            sequence: current.sequence,
            author: current.author,
            reason: current.reason,
            time: current.time,
        }
    }
}

impl From<wire::Current> for Current {
    fn from(current: wire::Current) -> Self {
        Self {
            release: current.release,
            previous: current.previous,
            sequence: current.sequence,
            author: current.author,
            reason: current.reason,
            time: current.time,
        }
    }
}

impl From<ServingState> for wire::ServingState {
    fn from(state: ServingState) -> Self {
        let refused = |refused: RefusedRelease| wire::RefusedRelease {
            release: refused.release,
            reason: refused.reason,
            time: refused.time,
        };
        Self {
            release: state.release,
            sequence: state.sequence,
            warm: state.warm,
            loading: state.loading,
            refused: state.refused.into_iter().map(refused).collect(),
            store_error: state.store_error,
        }
    }
}

impl From<wire::ServingState> for ServingState {
    fn from(state: wire::ServingState) -> Self {
        let refused = |refused: wire::RefusedRelease| RefusedRelease {
            release: refused.release,
            reason: refused.reason,
            time: refused.time,
        };
        Self {
            release: state.release,
            sequence: state.sequence,
            warm: state.warm,
            loading: state.loading,
            refused: state.refused.into_iter().map(refused).collect(),
            store_error: state.store_error,
            current: None,
        }
    }
}

impl From<ServingState> for wire::WatchReleasesResponse {
    fn from(state: ServingState) -> Self {
        let current = state.current.clone().map(Into::into);
        Self { serving: Some(state.into()), current }
    }
}

impl TryFrom<wire::WatchReleasesResponse> for ServingState {
    type Error = Unreadable;

    fn try_from(answer: wire::WatchReleasesResponse) -> Result<Self, Unreadable> {
        let state: Self = present("serving", answer.serving)?.into();
        Ok(Self { current: answer.current.map(Into::into), ..state })
    }
}

impl From<Promotion> for wire::PromoteReleaseResponse {
    fn from(promotion: Promotion) -> Self {
        Self {
            current: Some(promotion.current.into()),
            overtaken_by: promotion.overtaken_by,
            warm: promotion.warm,
            warnings: promotion.warnings,
        }
    }
}

impl From<Promotion> for wire::RollbackReleaseResponse {
    fn from(promotion: Promotion) -> Self {
        Self {
            current: Some(promotion.current.into()),
            overtaken_by: promotion.overtaken_by,
            warm: promotion.warm,
            warnings: promotion.warnings,
        }
    }
}

impl TryFrom<wire::PromoteReleaseResponse> for Promotion {
    type Error = Unreadable;

    fn try_from(answer: wire::PromoteReleaseResponse) -> Result<Self, Unreadable> {
        let current = present("current", answer.current)?.into();
        let warnings = answer.warnings;
        Ok(Self { current, overtaken_by: answer.overtaken_by, warm: answer.warm, warnings })
    }
}

impl TryFrom<wire::RollbackReleaseResponse> for Promotion {
    type Error = Unreadable;

    fn try_from(answer: wire::RollbackReleaseResponse) -> Result<Self, Unreadable> {
        let current = present("current", answer.current)?.into();
        let warnings = answer.warnings;
        Ok(Self { current, overtaken_by: answer.overtaken_by, warm: answer.warm, warnings })
    }
}

#[cfg(test)]
mod tests;
