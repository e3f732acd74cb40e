//! Each gate passes a good version, and fails a bad one with the reason. The versions are tiny graphs with answers
//! that can be computed by hand. Whole bad versions, as users would push them, are in `tests/server/bad_models.rs`.

mod distribution;
mod golden;

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use model::Checksums;
use model::onnx::OnnxRuntime;

const FEATURES: &str = r#"
[[feature]]
name = "balance"
type = "float"
entity = "customer"
default = 100.0
range = [0.0, 20000.0]
[[feature]]
name = "visits"
type = "int"
entity = "customer"
range = [0, 9000000000]
[[feature]]
name = "annual_fee"
type = "float"
entity = "offer"
range = [0.0, 100.0]
"#;

const PAIRWISE: &str = "kind = 'propensity'\nlayout = 'pairwise'\ninputs = ['balance', 'annual_fee']\n";

fn schema() -> FeatureSchema {
    FeatureSchema::parse("features.toml", FEATURES).unwrap()
}

fn cache() -> GraphCache {
    GraphCache::new(OnnxRuntime::load().unwrap(), 1)
}

/// A version on disk with checksums: a manifest, copies of fixtures, and files with the given content.
fn version(manifest: &str, fixtures: &[(&str, &str)], contents: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, fixture) in fixtures {
        let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/onnx");
        fs::copy(source.join(format!("{fixture}.onnx")), folder.path().join(name)).unwrap();
    }
    for (name, content) in contents {
        fs::write(folder.path().join(name), content).unwrap();
    }
    let checksums = Checksums::compute(folder.path()).unwrap().render();
    fs::write(folder.path().join("model.toml"), format!("{manifest}\n{checksums}")).unwrap();
    folder
}

/// A pairwise version whose propensity is 1 / (1 + exp(-(`balance` / 10,000 - `annual_fee` / 100))).
fn good(rest_of_manifest: &str) -> TempDir {
    version(&format!("{PAIRWISE}{rest_of_manifest}"), &[("model.onnx", "pushed_good")], &[])
}

fn judge_against(
    directory: &Path,
    schema: &FeatureSchema,
    champion: Option<Champion<'_>>,
    recent: &[RecentRow],
) -> Vec<GateReport> {
    let cache = cache();
    let sample = Sample { rows: recent.to_vec(), source: "recent rows".to_owned() };
    judge(&Candidate {
        directory,
        name: "affinity",
        version: 2,
        schema,
        segments: None,
        champion,
        sample: &sample,
        cache: &cache,
    })
}

fn report_of(directory: &Path, gate: &str) -> GateReport {
    let reports = judge_against(directory, &schema(), None, &[]);
    reports.into_iter().find(|report| report.gate == gate).unwrap()
}

#[track_caller]
fn assert_passes(directory: &Path, gate: &str, measured: &str) {
    let report = report_of(directory, gate);
    assert_eq!(report.outcome, GateOutcome::Passed, "{report:?}");
    assert!(report.measured.contains(measured) && report.why.is_empty(), "{report:?}");
}

#[track_caller]
fn assert_fails(directory: &Path, gate: &str, measured: &str, why: &str) {
    let report = report_of(directory, gate);
    assert_eq!(report.outcome, GateOutcome::Failed, "{report:?}");
    assert!(report.measured.contains(measured) && report.why.contains(why), "{report:?}");
}

#[track_caller]
fn assert_skips(directory: &Path, gate: &str, why: &str) {
    let report = report_of(directory, gate);
    assert_eq!(report.outcome, GateOutcome::Skipped, "{report:?}");
    assert!(report.why.contains(why), "{report:?}");
}

/// A segmentation of `balance` into two segments, around 0 and around 10,000.
const SEGMENTS: &str = r#"{
  "format_version": 1,
  "features": [{ "name": "balance", "impute": 0.0, "log1p": false, "mean": 0.0, "deviation": 10000.0, "range": [0.0, 20000.0] }],
  "segments": [
    { "id": 0, "name": "low", "size": 60, "centroid": [0.0] },
    { "id": 1, "name": "high", "size": 40, "centroid": [1.0] }
  ],
  "inertia": 1.0,
  "training": { "rows": 100, "k": 2, "seed": 1, "n_init": 1 }
}"#;

fn segmentation(segments: &str, contents: &[(&str, &str)]) -> TempDir {
    let files: Vec<_> = contents.iter().copied().chain([("segments.json", segments)]).collect();
    version("kind = 'segmentation'\nlatency_budget_ms = 50", &[], &files)
}

#[test]
fn the_sample_passes_every_gate_that_has_something_to_judge_by() {
    let sample = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../models");
    let features = fs::read_to_string(sample.join("features.toml")).unwrap();
    let (schema, cache) = (FeatureSchema::parse("features.toml", &features).unwrap(), cache());
    for name in ["affinity", "network", "propensity", "segments"] {
        let directory = sample.join(name).join("1");
        let candidate = Candidate {
            directory: &directory,
            name,
            version: 1,
            schema: &schema,
            segments: Some(6),
            champion: None,
            sample: &Sample::default(),
            cache: &cache,
        };
        let reports = judge(&candidate);
        let gates: Vec<&str> = reports.iter().map(|report| report.gate.as_str()).collect();
        let all = [
            "checksums",
            "loads",
            "signature",
            "calibration",
            "finite",
            "golden",
            "latency",
            "distribution",
            "engine",
        ];
        assert_eq!(gates, all);
        for report in reports {
            let expected = match report.gate.as_str() {
                "distribution" => GateOutcome::Skipped,
                "calibration" | "engine" if name == "segments" => GateOutcome::Skipped,
                _ => GateOutcome::Passed,
            };
            assert_eq!(report.outcome, expected, "{name}: {report:?}");
        }
    }
}

#[test]
fn a_version_without_checksums_or_with_a_file_that_differs_is_judged_no_further() {
    let folder = good("");
    assert_passes(folder.path(), "checksums", "1 file");
    fs::write(folder.path().join("extra"), "").unwrap();
    let reports = judge_against(folder.path(), &schema(), None, &[]);
    assert_eq!((reports[0].outcome, reports[0].measured.as_str()), (GateOutcome::Failed, "1 wrong"));
    assert!(reports[0].why.contains("affinity/2/extra: [checksums] does not list it"), "{:?}", reports[0]);
    for report in &reports[1..] {
        assert_eq!(report.outcome, GateOutcome::Skipped);
        assert_eq!(report.why, "the version failed the gate `checksums`");
    }
    fs::write(folder.path().join("model.toml"), PAIRWISE).unwrap();
    assert_fails(folder.path(), "checksums", "no checksums", "affinity/2/model.toml has no [checksums]");
    fs::write(folder.path().join("model.toml"), "kind = 'propensty'").unwrap();
    assert_fails(folder.path(), "checksums", "no manifest", "did you mean `propensity`?");
}

#[test]
fn what_onnx_runtime_must_not_see_does_not_load() {
    assert_passes(good("").path(), "loads", "1 graph");
    for (fixture, why) in [
        (
            "pushed_custom_operator",
            "affinity/2/model.onnx: the operator `Magic` of the domain `acme.operators`",
        ),
        ("pushed_weights_of_the_system", "the weights in \"../../etc/passwd\" are refused"),
        ("pushed_weights_beside", "there is no such file beside the model"),
    ] {
        let folder = version(PAIRWISE, &[("model.onnx", fixture)], &[]);
        assert_fails(folder.path(), "loads", "1 graph refused", why);
        assert_skips(folder.path(), "signature", "the version failed the gate `loads`");
    }
    let per_offer = "kind = 'propensity'\nlayout = 'per_offer'\ninputs = ['balance', 'visits']";
    let files = [("gold.onnx", "pushed_good"), ("blue.onnx", "pushed_custom_operator")];
    let folder = version(per_offer, &files, &[]);
    assert_fails(folder.path(), "loads", "1 graph refused", "affinity/2/blue.onnx");
    let whole = version(per_offer, &[("gold.onnx", "pushed_good"), ("blue.onnx", "pushed_good")], &[]);
    assert_passes(whole.path(), "loads", "2 graphs");
    let without = version(PAIRWISE, &[], &[("notes.txt", "")]);
    assert_fails(without.path(), "loads", "", "affinity/2/model.onnx: the file cannot be read");
}

#[test]
fn a_segmentation_loads_if_its_artefact_parses() {
    assert_passes(segmentation(SEGMENTS, &[]).path(), "loads", "2 segments");
    assert_passes(segmentation(SEGMENTS, &[]).path(), "signature", "1 feature, 2 segments");
    let broken = SEGMENTS.replace("\"deviation\": 10000.0", "\"deviation\": 0.0");
    assert_fails(segmentation(&broken, &[]).path(), "loads", "1 problem", "`deviation` must be positive");
    let unknown = SEGMENTS.replace("\"balance\"", "\"balanse\"");
    let why = "the schema has no feature `balanse`; did you mean `balance`?";
    assert_fails(segmentation(&unknown, &[]).path(), "signature", "1 problem", why);
}

#[test]
fn inputs_that_are_others_than_the_graph_takes_are_refused() {
    assert_passes(good("").path(), "signature", "2 features, 1 column");
    let folder = version(PAIRWISE, &[("model.onnx", "pair_logit")], &[]);
    let why = "`inputs` names 2 features, but the graph's input `features` has 3 columns";
    assert_fails(folder.path(), "signature", "1 problem", why);
    assert_skips(folder.path(), "finite", "the version failed the gate `signature`");
}

#[test]
fn every_generated_row_needs_a_usable_answer() {
    assert_passes(good("").path(), "finite", "0 of 1200 generated rows failed");
    let nan = version(PAIRWISE, &[("model.onnx", "pushed_nan_on_some_rows")], &[]);
    let report = report_of(nan.path(), "finite");
    assert_eq!(report.outcome, GateOutcome::Failed);
    // Half of the range of the balance is beyond 10,000.
    let failed: usize = report.measured.split(' ').next().unwrap().parse().unwrap();
    assert!((400..800).contains(&failed), "{report:?}");
    // The third row has the maximum of everything.
    assert!(
        report.why.starts_with("`propensity` is NaN; the first such row: balance = 20000, annual_fee = 100"),
        "{report:?}"
    );
    // A score outside 0..=1 may still come from a recommendation model, or be calibrated to a propensity.
    let logit = "kind = 'propensity'\nlayout = 'pairwise'\ninputs = ['annual_fee', 'visits', 'balance']\n";
    let of_kind = |manifest: &str| version(manifest, &[("model.onnx", "pair_logit")], &[]);
    assert_fails(
        of_kind(logit).path(),
        "finite",
        "",
        "which is no propensity: it must lie in 0..=1, or be calibrated",
    );
    assert_passes(of_kind(&logit.replace("propensity", "recommendation")).path(), "finite", "0 of");
    let calibrated = format!("{logit}[calibration]\nmethod = 'platt'\na = 0.001\nb = 0.0");
    assert_passes(of_kind(&calibrated).path(), "finite", "0 of");
}

#[test]
fn a_forest_that_rounds_beyond_one_is_a_propensity() {
    // 130 leaves of 1 / 130 add up to 1.0000019 in 32 bits.
    let forest = version(
        PAIRWISE,
        &[("model.onnx", "forest_of_130")],
        &[("golden.csv", "balance,annual_fee,expected\n20000,0,1\n5000,0,0\n")],
    );
    let report = report_of(forest.path(), "finite");
    assert_eq!(report.outcome, GateOutcome::Passed, "{report:?}");
    assert!(
        report.measured.contains("a score outside 0..=1 by rounding alone counts as 0 or 1"),
        "{report:?}"
    );
    assert_passes(forest.path(), "golden", "off by at most 0.0e0 in 2 rows");
    assert_passes(forest.path(), "engine", "130 trees");
}

#[test]
fn a_calibration_that_falls_is_refused_unless_it_says_so() {
    assert_passes(good("").path(), "calibration", "not calibrated");
    assert_passes(
        good("[calibration]\nmethod = 'sklearn_sigmoid'\na = -2.0\nb = 1.0\n").path(),
        "calibration",
        "rising",
    );
    let pasted = "[calibration]\nmethod = 'platt'\na = -2.0\nb = 1.0\n";
    let why = "affinity/2/model.toml:4: the calibration falls";
    assert_fails(good(pasted).path(), "calibration", "falling", why);
    assert_fails(good(pasted).path(), "calibration", "falling", "method = \"sklearn_sigmoid\"");
    let meant = good(&format!("{pasted}falling = true\n"));
    assert_passes(meant.path(), "calibration", "falling, as the manifest says");
}

#[test]
fn an_encoder_that_knows_no_other_texts_can_serve_where_the_schema_lists_them() {
    let features = "[[feature]]\nname = 'plan'\ntype = 'string'\nentity = 'customer'\ndefault = 'basic'\n";
    let manifest = "kind = 'propensity'\nlayout = 'pairwise'\ninputs = ['plan']\n";
    let folder = version(manifest, &[("model.onnx", "one_hot_strict")], &[]);
    let finite = |features: &str| {
        let schema = FeatureSchema::parse("features.toml", features).unwrap();
        let reports = judge_against(folder.path(), &schema, None, &[]);
        reports.into_iter().find(|report| report.gate == "finite").unwrap()
    };
    let open = finite(features);
    assert_eq!(open.outcome, GateOutcome::Failed, "{open:?}");
    assert!(open.why.contains("handle_unknown=\"ignore\"") && open.why.contains("for `plan`"), "{open:?}");
    let listed = format!("{features}values = ['basic', 'plus', 'gold']\n");
    let listed = finite(&listed);
    assert_eq!(
        (listed.outcome, listed.measured.as_str()),
        (GateOutcome::Passed, "0 of 1200 generated rows failed")
    );
    // Loading does not need a default either.
    let schema = listed_without_default(features);
    let model = model::Model::load(folder.path(), "affinity", 2, &schema, &cache()).unwrap();
    model.warm_up(&work::Worker::only()).unwrap();
}

fn listed_without_default(features: &str) -> FeatureSchema {
    let features = features.replace("default = 'basic'", "values = ['plus', 'gold']");
    FeatureSchema::parse("features.toml", &features).unwrap()
}

#[test]
fn gaps_reach_only_models_that_accept_them() {
    // 1 / x: infinite at 0, and NaN where the value is missing.
    let reciprocal = |manifest: &str| version(manifest, &[("model.onnx", "reciprocal")], &[]);
    let generic = "kind = 'generic'\ninputs = ['visits']\n";
    assert_fails(reciprocal(generic).path(), "finite", "", "`score` is inf; the first such row: visits = 0");
    // The first row lacks every value that may be missing.
    let accepting = format!("{generic}accepts_missing = true\n");
    assert_fails(
        reciprocal(&accepting).path(),
        "finite",
        "",
        "`score` is NaN; the first such row: visits = missing",
    );
}

#[test]
fn a_distance_beyond_all_bounds_is_not_finite() {
    assert_passes(segmentation(SEGMENTS, &[]).path(), "finite", "0 of 1200");
    let narrow = SEGMENTS.replace("\"deviation\": 10000.0", "\"deviation\": 1e-300");
    let why = "the distance to `low` overflows; the first such row: balance = 100";
    assert_fails(segmentation(&narrow, &[]).path(), "finite", "", why);
}

#[test]
fn latency_is_held_against_the_budget_of_the_manifest() {
    assert_skips(good("").path(), "latency", "sets no `latency_budget_ms`");
    assert_passes(good("latency_budget_ms = 1000").path(), "latency", "over 100 runs of 100 rows");
    assert_passes(segmentation(SEGMENTS, &[]).path(), "latency", "over 100 runs of 1 row");
    let slow = format!("{PAIRWISE}latency_budget_ms = 1");
    let slow = version(&slow, &[("model.onnx", "pushed_slow")], &[]);
    assert_fails(
        slow.path(),
        "latency",
        "over 2 runs of 100 rows",
        "2 of 2 runs took longer than the budget",
    );
    assert_eq!(report_of(slow.path(), "latency").limit, "1.000 ms");
}

#[test]
fn the_engine_is_told_and_never_blocks() {
    assert_passes(good("").path(), "engine", "linear, ");
    let beside = version(PAIRWISE, &[("model.onnx", "pushed_slow")], &[]);
    assert_skips(beside.path(), "engine", "served by ONNX Runtime");
    assert_skips(segmentation(SEGMENTS, &[]).path(), "engine", "a segmentation has no graph");
}
