//! The retraining pipeline of `examples/retrain`, run as its owners would run it, against a serving server. The
//! script's own report is not trusted: the tests also check the server.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tokio::task::JoinSet;

use super::harness::{Server, dense, python, rank_request, sample_workspace, wire};

/// The script, and the directory of its results.
struct Pipeline<'a> {
    python: PathBuf,
    server: &'a Server,
    directory: tempfile::TempDir,
}

/// The result of a run.
struct Ran {
    code: Option<i32>,
    output: String,
}

impl<'a> Pipeline<'a> {
    fn new(python: PathBuf, server: &'a Server) -> Self {
        Self { python, server, directory: tempfile::tempdir().unwrap() }
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/retrain/retrain.py");
        let output = Command::new(&self.python)
            .arg(script)
            .args(["--server", &self.server.address.to_string()])
            .arg("--out")
            .arg(self.directory.path().join("version"))
            .arg("--report")
            .arg(self.directory.path().join("report.json"))
            .args(arguments)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ran { code: output.status.code(), output: text(&output.stdout) + &text(&output.stderr) }
    }

    fn report(&self) -> Value {
        let text = std::fs::read_to_string(self.directory.path().join("report.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// The golden rows that were pushed: names of the features, values in row-major order, expected scores with their
    /// tolerance.
    fn golden(&self) -> (Vec<String>, Vec<f32>, Vec<(f32, f32)>) {
        let mut reader = csv::Reader::from_path(self.directory.path().join("version/golden.csv")).unwrap();
        let mut names: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
        assert_eq!(names.split_off(names.len() - 2), ["expected", "tolerance"]);
        let (mut values, mut expected) = (Vec::new(), Vec::new());
        for row in reader.records() {
            let row = row.unwrap();
            let number = |cell: &str| if cell.is_empty() { f32::NAN } else { cell.parse().unwrap() };
            values.extend(row.iter().take(names.len()).map(number));
            expected.push((number(&row[names.len()]), number(&row[names.len() + 1])));
        }
        (names, values, expected)
    }
}

/// A Python that can run the scripts, or `None` and a message.
pub(crate) fn recent_python() -> Option<PathBuf> {
    let python = python()?;
    let asked = Command::new(&python)
        .args(["-c", "import sys; sys.exit(sys.version_info < (3, 11))"])
        .status()
        .unwrap();
    if !asked.success() {
        eprintln!("skipped: the scripts need Python 3.11");
    }
    asked.success().then_some(python)
}

/// The release that answers, and the versions of `propensity` that scored its offers.
async fn serving(server: &Server) -> (u64, BTreeSet<u64>) {
    let request = rank_request("app_home", &["C000001", "C000002", "C000003"]);
    let response = server.client().await.rank(request).await.unwrap().into_inner();
    let factors =
        response.results.into_iter().flat_map(|result| result.offers).filter_map(|offer| offer.factors);
    let versions =
        factors.filter(|factors| factors.model == "propensity").map(|factors| factors.model_version);
    (response.release, versions.collect())
}

/// Ranks for customers of the sample, one per call: each call may leave one row for the distribution gate.
async fn traffic(server: &Server, calls: usize) {
    let mut connections = JoinSet::new();
    for connection in 0..4 {
        let mut client = server.client().await;
        connections.spawn(async move {
            for customer in (connection..calls).step_by(4) {
                let id = format!("C{:06}", customer + 1);
                client.rank(rank_request("app_home", &[&id])).await.unwrap();
            }
        });
    }
    connections.join_all().await;
}

#[tokio::test]
async fn a_retrained_model_is_pushed_promoted_scored_and_rolled_back() {
    let Some(python) = recent_python() else { return };
    let server = Server::start(&sample_workspace(), &[]);
    let pipeline = Pipeline::new(python, &server);
    assert_eq!(serving(&server).await, (1, BTreeSet::from([1])));

    let ran = pipeline.run(&["--author", "a test"]);
    assert_eq!(ran.code, Some(0), "{}", ran.output);
    let report = pipeline.report();
    assert_eq!(report["passed"], true, "{report}");
    assert_eq!((report["base"].as_u64(), report["old_version"].as_u64()), (Some(1), Some(1)), "{report}");
    assert!(report["rows"].as_u64().unwrap() >= 10_000, "{report}");
    assert!(report["largest_difference"].as_f64().unwrap() <= 1e-5, "{report}");
    // The new version was trained on drifted customers; the old one was not.
    assert!(report["new"]["auc"].as_f64() > report["old"]["auc"].as_f64(), "{report}");
    assert!(report["new"]["lift"].as_f64() > report["old"]["lift"].as_f64(), "{report}");
    let gates: BTreeMap<&str, &str> = ran.output.lines().filter_map(gate).collect();
    for gate in ["checksums", "loads", "signature", "finite", "golden"] {
        assert_eq!(gates.get(gate), Some(&"passed"), "{gate}: {}", ran.output);
    }
    assert!(!gates.values().any(|outcome| *outcome == "failed"), "{}", ran.output);

    let (release, version) = (report["release"].as_u64().unwrap(), report["version"].as_u64().unwrap());
    assert_eq!((release, version), (2, 2));
    assert_eq!(serving(&server).await, (release, BTreeSet::from([version])));

    let (names, values, expected) = pipeline.golden();
    assert!(values.iter().any(|value| value.is_nan()), "no golden row has a missing value");
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let request = wire::ScoreRequest {
        model: Some(wire::ModelRef { name: "propensity".to_owned(), version }),
        features: Some(dense(&names, expected.len(), &values)),
        offer_ids: Vec::new(),
    };
    let answer = server.client().await.score(request).await.unwrap().into_inner();
    assert_eq!((answer.release, answer.version, answer.values.len()), (release, version, 20));
    assert!(answer.calibrated);
    for (row, (found, (expected, tolerance))) in answer.values.iter().zip(expected).enumerate() {
        assert!(
            (found - expected).abs() <= tolerance,
            "golden row {row}: {found}, expected {expected} from Python"
        );
    }

    let back = pipeline.run(&["--rollback"]);
    assert_eq!(back.code, Some(0), "{}", back.output);
    assert_eq!(serving(&server).await, (1, BTreeSet::from([1])));
    let further = pipeline.run(&["--rollback"]);
    assert_eq!(further.code, Some(2), "{}", further.output);
    assert!(further.output.contains("FAILED_PRECONDITION"), "{}", further.output);
    assert_eq!(serving(&server).await.0, 1);
}

#[tokio::test]
async fn a_failed_gate_stops_the_pipeline_with_a_table() {
    let Some(python) = recent_python() else { return };
    let server = Server::start(&sample_workspace(), &[]);
    // The gate needs a minimum of rows, and not every call has offers to score.
    traffic(&server, 1500).await;
    let pipeline = Pipeline::new(python, &server);

    // Extreme drift: the scores are nothing like those of the serving version.
    let ran = pipeline.run(&["--drift", "8", "--customers", "4000"]);
    assert_eq!(ran.code, Some(1), "{}", ran.output);
    let gates: BTreeMap<&str, &str> = ran.output.lines().filter_map(gate).collect();
    assert_eq!(gates.get("distribution"), Some(&"failed"), "{}", ran.output);
    assert_eq!(gates.get("golden"), Some(&"passed"), "{}", ran.output);
    let report = pipeline.report();
    assert_eq!((&report["passed"], &report["live"]), (&Value::Bool(false), &Value::Bool(false)), "{report}");
    assert_eq!(report["release"], Value::Null, "{report}");
    assert_eq!(serving(&server).await, (1, BTreeSet::from([1])));
}

/// A line of the table of gates: the gate and its outcome.
fn gate(line: &str) -> Option<(&str, &str)> {
    let mut words = line.split_whitespace();
    let (gate, outcome) = (words.next()?, words.next()?);
    ["passed", "failed", "skipped"].contains(&outcome).then_some((gate, outcome))
}
