//! The distribution gate: nothing to compare with, the same scores, and scores that have moved.

use std::sync::Arc;

use super::*;
use feature::{Row, ValueRef};

/// Recent rows whose balances are spread evenly over 0..20,000.
fn recent(schema: &Arc<FeatureSchema>, rows: usize) -> Vec<RecentRow> {
    let keep = |at: usize| {
        let balance = 20_000.0 * (at as f32 + 0.5) / rows as f32;
        let (customer, offer) = ([ValueRef::Float(balance), ValueRef::Int(3)], [ValueRef::Float(20.0)]);
        let row = Row { customer: &customer, context: &[], offer: &offer, segment: None };
        RecentRow::new(schema, &"gold".into(), &row)
    };
    (0..rows).map(keep).collect()
}

/// The gate's finding on `candidate` as version 2, where `served` serves as `version`, after `rows` recent rows.
fn compared(candidate: &Path, served: &Path, version: u64, rows: usize) -> GateReport {
    let schema = Arc::new(schema());
    let champion = Champion { directory: served, version, schema: &schema };
    let reports = judge_against(candidate, &schema, Some(champion), &recent(&schema, rows));
    reports.into_iter().find(|report| report.gate == "distribution").unwrap()
}

#[track_caller]
fn assert_skipped(report: &GateReport, why: &str) {
    assert_eq!(report.outcome, GateOutcome::Skipped, "{report:?}");
    assert!(report.why.contains(why), "{report:?}");
}

/// A version that reads the fee as the balance, as when two columns of a training table were swapped.
fn shifted(rest_of_manifest: &str) -> TempDir {
    let swapped = PAIRWISE.replace("['balance', 'annual_fee']", "['annual_fee', 'balance']");
    version(&format!("{swapped}{rest_of_manifest}"), &[("model.onnx", "pushed_good")], &[])
}

#[test]
fn without_a_champion_or_enough_rows_there_is_nothing_to_compare() {
    let folder = good("");
    assert_skips(folder.path(), "distribution", "no version of this model serves");
    assert_skipped(&compared(folder.path(), folder.path(), 2, 5000), "this is the version that serves");
    assert_skipped(
        &compared(folder.path(), folder.path(), 1, 999),
        "999 recent rows that both versions can answer; 1000 are needed",
    );
    let other = segmentation(SEGMENTS, &[]);
    assert_skipped(
        &compared(folder.path(), other.path(), 1, 1000),
        "the version that serves is of another kind",
    );
    // A model of offers that no recent row shows.
    let manifest = "kind = 'value'\nlayout = 'multi_offer'\ninputs = ['balance', 'visits']\noffers = ['gold', 'blue', 'red']";
    let gold = version(manifest, &[("model.onnx", "offers_by_column")], &[]);
    let none = version(&manifest.replace("gold", "green"), &[("model.onnx", "offers_by_column")], &[]);
    assert_eq!(compared(gold.path(), gold.path(), 1, 1000).outcome, GateOutcome::Passed);
    assert_skipped(
        &compared(none.path(), gold.path(), 1, 1000),
        "0 recent rows that both versions can answer",
    );
}

#[test]
fn the_same_scores_pass_and_shifted_ones_do_not() {
    let (folder, shifted) = (good(""), shifted(""));
    let same = compared(folder.path(), folder.path(), 1, 2000);
    assert_eq!(
        (same.outcome, same.measured.as_str()),
        (
            GateOutcome::Passed,
            "PSI 0.0000, mean propensity 0.6774, PSI of propensities 0.0000, rank correlation 1.000 over 2000 recent rows"
        )
    );
    assert_eq!(same.limit, "PSI 0.25, 0.3387 to 1.0000, PSI of propensities 0.25, at least 0");
    let moved = compared(shifted.path(), folder.path(), 1, 2000);
    assert_eq!(moved.outcome, GateOutcome::Failed, "{moved:?}");
    assert!(moved.why.starts_with("against version 1, the mean score went from 0.67"), "{moved:?}");
    assert!(moved.why.contains("raise `psi_limit` under [gates]"), "{moved:?}");
}

#[test]
fn the_manifest_may_allow_more_or_less() {
    let folder = good("");
    let lenient = shifted("[gates]\npsi_limit = 50.0\nmean_limit = 1000.0\nrank_limit = -1.0\n");
    let report = compared(lenient.path(), folder.path(), 1, 2000);
    assert_eq!(report.outcome, GateOutcome::Passed, "{report:?}");
    assert!(report.limit.starts_with("PSI 50, ") && report.limit.ends_with("at least -1"), "{report:?}");
}

#[test]
fn a_calibration_that_turns_the_ranking_round_fails_though_the_scores_are_the_same() {
    let folder = good("");
    // 1 / (1 + exp(10 p - 6.7)): falls, and has about the same mean; a manifest may say that it falls.
    let calibration = "[calibration]\nmethod = 'platt'\nfalling = true\na = -10.0\nb = 6.7\n";
    let report = compared(good(calibration).path(), folder.path(), 1, 2000);
    assert_eq!(report.outcome, GateOutcome::Failed, "{report:?}");
    assert!(
        report.measured.starts_with("PSI 0.0000, ") && report.measured.contains("rank correlation -"),
        "{report:?}"
    );
    assert!(report.why.contains("is the calibration upside down"), "{report:?}");
    let meant = good(&format!("{calibration}[gates]\nrank_limit = -1\npsi_limit = 100\n"));
    assert_eq!(compared(meant.path(), folder.path(), 1, 2000).outcome, GateOutcome::Passed);
}

#[test]
fn a_calibration_that_makes_everyone_accept_fails_though_the_scores_are_the_same() {
    let sober = good("[calibration]\nmethod = 'platt'\na = 4.0\nb = -4.0\n");
    let sure = good("[calibration]\nmethod = 'platt'\na = 4.0\nb = 5.0\n");
    let report = compared(sure.path(), sober.path(), 1, 2000);
    assert_eq!(report.outcome, GateOutcome::Failed, "{report:?}");
    assert!(
        report.why.contains("the mean propensity went from 0.2266") && report.why.contains("`mean_limit`"),
        "{report:?}"
    );
    assert!(report.measured.contains("rank correlation 1.000"), "{report:?}");
}

#[test]
fn the_verdict_says_what_the_rows_are() {
    let (folder, schema) = (good(""), Arc::new(schema()));
    let cache = cache();
    let sample =
        Sample { rows: recent(&schema, 1500), source: "rows from 500 customers of the store".to_owned() };
    let champion = Champion { directory: folder.path(), version: 1, schema: &schema };
    let reports = judge(&Candidate {
        directory: folder.path(),
        name: "affinity",
        version: 2,
        schema: &schema,
        segments: None,
        champion: Some(champion),
        sample: &sample,
        cache: &cache,
    });
    let report = reports.into_iter().find(|report| report.gate == "distribution").unwrap();
    assert!(report.measured.ends_with("over 1500 rows from 500 customers of the store"), "{report:?}");
}

#[test]
fn a_champion_that_cannot_be_read_is_no_fault_of_the_candidate() {
    let (folder, gone) = (good(""), version(PAIRWISE, &[], &[]));
    assert_skipped(&compared(folder.path(), gone.path(), 1, 2000), "the version that serves cannot be read");
}

#[test]
fn segments_are_compared_by_their_shares() {
    let folder = segmentation(SEGMENTS, &[]);
    assert_eq!(compared(folder.path(), folder.path(), 1, 1000).outcome, GateOutcome::Passed);
    // The border moves from 5,000 to 15,000: from 75 % of the rows above it to 25 %.
    let moved = segmentation(&SEGMENTS.replace("[1.0]", "[3.0]"), &[]);
    let report = compared(moved.path(), folder.path(), 1, 1000);
    assert_eq!(report.outcome, GateOutcome::Failed, "{report:?}");
    assert!(report.why.contains("segment 1 went from 75.0 % of the rows to 25.0 %"), "{report:?}");
}
