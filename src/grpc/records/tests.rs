use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::*;
use release::{ExperimentStep, GuardrailEvidence, StepAction};

pub(super) fn text() -> impl Strategy<Value = String> {
    "\\PC{0,8}"
}

prop_compose! {
    fn report()(
        gate in text(), measured in text(), limit in text(), why in text(),
        outcome in prop_oneof![Just(GateOutcome::Passed), Just(GateOutcome::Failed), Just(GateOutcome::Skipped)],
    ) -> GateReport {
        GateReport { gate, outcome, measured, limit, why }
    }
}

prop_compose! {
    fn verdict()(passed: bool, gates in vec(report(), 0..4), release: u64, time in text()) -> Verdict {
        Verdict { passed, gates, release, time }
    }
}

prop_compose! {
    fn file()(name in text(), size: u64, sha256 in "[0-9a-f]{64}") -> VersionFile {
        VersionFile { name, size, sha256 }
    }
}

prop_compose! {
    fn summary()(
        version: u64, kind in text(), bytes: u64, current: bool,
        state in prop_oneof![Just(VersionState::Passed), Just(VersionState::Failed), Just(VersionState::Unjudged)],
    ) -> VersionSummary {
        VersionSummary { version, kind, bytes, state, current }
    }
}

prop_compose! {
    pub(super) fn evidence()(
        metric in text(), variant in text(), delta in -1.0..1.0, low in -1.0..1.0, high in -1.0..1.0,
        tolerate in 0.0..1.0, customers: u64,
    ) -> GuardrailEvidence {
        GuardrailEvidence { metric, variant, delta, low, high, tolerate, customers }
    }
}

prop_compose! {
    pub(super) fn step()(
        experiment in text(), action in action(), base: u64, over: u64, coverage in 0.0..=1.0, scheduled: bool,
        winner in text(), evidence in option::of(evidence()),
    ) -> ExperimentStep {
        ExperimentStep { experiment, action, base, over, coverage, scheduled, winner, evidence }
    }
}

pub(super) fn action() -> impl Strategy<Value = StepAction> {
    use StepAction::{Conclude, Pause, Ramp, RollBack, Start, Stop};
    prop::sample::select(vec![Start, Ramp, Pause, Stop, Conclude, RollBack])
}

prop_compose! {
    pub(super) fn record()(
        number: u64, author in text(), note in text(), created in text(),
        models in btree_map(text(), any::<u64>(), 0..4), hashes in btree_map(text(), text(), 0..4),
        step in option::of(step()),
    ) -> ReleaseRecord {
        ReleaseRecord { number, author, note, created, models, hashes, step }
    }
}

prop_compose! {
    pub(super) fn current()(
        release: u64, previous: u64, sequence: u64, author in text(), reason in text(), time in text(),
    ) -> Current {
        Current { release, previous, sequence, author, reason, time }
    }
}

prop_compose! {
    fn refused()(release: u64, reason in text(), time in text()) -> RefusedRelease {
        RefusedRelease { release, reason, time }
    }
}

prop_compose! {
    fn state()(
        release: u64, sequence: u64, warm: Vec<u64>, loading: u64, refused in vec(refused(), 0..3),
        store_error in text(), current in option::of(current()),
    ) -> ServingState {
        ServingState { release, sequence, warm, loading, refused, store_error, current }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_push_is_read_as_it_was_written(
        name in text(), version: u64, manifest in text(), files in vec(file(), 0..4),
        features in option::of("\\PC{1,8}"), created: bool, verdict in verdict(),
    ) {
        let header = PushHeader { name: name.clone(), version, manifest, files, features };
        prop_assert_eq!(PushHeader::from(wire::PushHeader::from(header.clone())), header);
        let pushed = Pushed { name, version, created, verdict };
        let read = Pushed::try_from(wire::PushModelVersionResponse::from(pushed.clone()));
        prop_assert_eq!(read, Ok(pushed));
    }

    #[test]
    fn versions_are_read_as_they_were_written(
        name in text(), version: u64, versions in vec(summary(), 0..4), manifest in text(),
        files in vec(file(), 0..4), verdict in option::of(verdict()), releases: Vec<u64>,
    ) {
        let model = ModelSummary { name: name.clone(), versions };
        prop_assert_eq!(ModelSummary::try_from(wire::ModelSummary::from(model.clone())), Ok(model));
        let detail = VersionDetail { name, version, manifest, files, verdict, releases };
        let read = VersionDetail::try_from(wire::GetModelVersionResponse::from(detail.clone()));
        prop_assert_eq!(read, Ok(detail));
    }

    #[test]
    fn releases_are_read_as_they_were_written(
        base: u64, models in btree_map(text(), any::<u64>(), 0..4), features in option::of(text()),
        offers in option::of(text()), policy in option::of(text()), author in text(), note in text(),
        record in record(), list in vec(record(), 0..3), current in current(), state in option::of(state()),
        warnings in vec(text(), 0..3),
    ) {
        let draft = ReleaseDraft { base, models, features, offers, policy, author, note, step: None };
        prop_assert_eq!(ReleaseDraft::from(wire::CreateReleaseRequest::from(draft.clone())), draft.clone());
        let created = CreatedRelease { record: record.clone(), warnings };
        let read = CreatedRelease::try_from(wire::CreateReleaseResponse::from(created.clone()));
        prop_assert_eq!(read, Ok(created));
        let [features, offers, policy] = [draft.features, draft.offers, draft.policy].map(Option::unwrap_or_default);
        let files = ReleaseFiles { record, features, offers, policy };
        prop_assert_eq!(ReleaseFiles::try_from(wire::GetReleaseResponse::from(files.clone())), Ok(files));
        // In a list, CURRENT appears once, beside the serving state.
        let serving = state.map(|state| ServingState { current: None, ..state });
        let list = ReleaseList { releases: list, current, serving };
        prop_assert_eq!(ReleaseList::try_from(wire::ListReleasesResponse::from(list.clone())), Ok(list));
    }

    #[test]
    fn what_serves_is_read_as_it_was_written(
        state in state(), current in current(), overtaken_by: u64, warm: bool,
        from: u64, to: u64, name in text(), diff in text(), offers in vec(text(), 0..4),
    ) {
        let read = ServingState::try_from(wire::WatchReleasesResponse::from(state.clone()));
        prop_assert_eq!(read, Ok(state));
        let promotion = Promotion { current, overtaken_by, warm, warnings: offers.clone() };
        let promoted = Promotion::try_from(wire::PromoteReleaseResponse::from(promotion.clone()));
        prop_assert_eq!(promoted, Ok(promotion.clone()));
        let back = Promotion::try_from(wire::RollbackReleaseResponse::from(promotion.clone()));
        prop_assert_eq!(back, Ok(promotion));
        let diff = ReleaseDiff {
            from,
            to,
            models: vec![ModelChange { name: name.clone(), from, to }],
            files: vec![FileChange { name, diff }],
            offers_added: offers.clone(),
            offers_removed: offers.iter().rev().cloned().collect(),
            offers_changed: offers,
        };
        prop_assert_eq!(ReleaseDiff::from(wire::DiffReleasesResponse::from(diff.clone())), diff);
    }
}

#[test]
fn an_answer_that_lacks_something_or_is_of_another_version_is_not_made_up() {
    let nothing = Pushed::try_from(wire::PushModelVersionResponse::default()).unwrap_err();
    assert!(nothing.to_string().contains("`verdict` is missing"), "{nothing}");
    assert!(ServingState::try_from(wire::WatchReleasesResponse::default()).is_err());
    assert!(ReleaseList::try_from(wire::ListReleasesResponse::default()).is_err());
    for outcome in [0, 99] {
        let result = wire::GateResult { gate: "golden".to_owned(), outcome, ..Default::default() };
        let unknown = GateReport::try_from(result).unwrap_err().to_string();
        assert!(unknown.contains(&format!("gate `golden` has the outcome {outcome}")), "{unknown}");
    }
}

#[test]
fn digests_are_compared_in_lower_case() {
    let file = wire::FileInfo { sha256: "AB".repeat(32), ..Default::default() };
    assert_eq!(VersionFile::from(file).sha256, "ab".repeat(32));
}
