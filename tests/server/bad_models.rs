//! Versions that must never serve, for tests of pushes, swaps and the store. Each is written to its own directory and
//! fits any pairwise model of the sample workspace.
//!
//! [`good`] writes one that passes every gate; [`BAD`] lists those that do not, with the gate that fails and part of
//! its reason. Manifests have correct checksums unless a wrong one is the point. So a version may be judged in place,
//! pushed file by file, or copied into a store.

use std::fs;
use std::path::{Path, PathBuf};

use feature::FeatureSchema;
use model::Checksums;
use model::GraphCache;
use model::onnx::OnnxRuntime;
use release::{Candidate, GateOutcome, Sample, judge};

use super::harness::sample_workspace;

/// A version that a gate must reject.
pub(crate) struct Bad {
    /// What is wrong with it.
    pub about: &'static str,
    /// The gate that fails.
    pub gate: &'static str,
    /// Part of the reason.
    pub why: &'static str,
    write: fn(&Path),
}

impl Bad {
    /// Writes the version to `directory`, which is created.
    pub(crate) fn write(&self, directory: &Path) {
        fs::create_dir_all(directory).unwrap();
        (self.write)(directory);
    }
}

/// One bad version for each kind of fault.
pub(crate) const BAD: &[Bad] = &[
    Bad {
        about: "a wrong checksum",
        gate: "checksums",
        why: "its SHA-256 is",
        write: |directory| {
            version(directory, MANIFEST, "pushed_good");
            edit(directory, |manifest| {
                let at = manifest.find("\"model.onnx\" = \"").unwrap() + "\"model.onnx\" = \"".len();
                manifest.replace_range(at..at + 8, "00000000");
            });
        },
    },
    Bad {
        about: "a truncated graph",
        gate: "loads",
        why: "this is not an ONNX model, or only a part of one",
        write: |directory| {
            version(directory, MANIFEST, "pushed_good");
            let whole = fs::read(directory.join("model.onnx")).unwrap();
            fs::write(directory.join("model.onnx"), &whole[..whole.len() - 20]).unwrap();
            seal(directory, MANIFEST);
        },
    },
    Bad {
        about: "a custom operator",
        gate: "loads",
        why: "the operator `Magic` of the domain `acme.operators` is a custom operator",
        write: |directory| version(directory, MANIFEST, "pushed_custom_operator"),
    },
    Bad {
        about: "weights in ../../etc/passwd",
        gate: "loads",
        why: "it must be a relative path without `.` and `..`",
        write: |directory| version(directory, MANIFEST, "pushed_weights_of_the_system"),
    },
    Bad {
        about: "missing weights",
        gate: "loads",
        why: "there is no such file beside the model",
        write: |directory| version(directory, MANIFEST, "pushed_weights_beside"),
    },
    Bad {
        about: "inputs that differ from the manifest",
        gate: "signature",
        why: "`inputs` names 2 features, but the graph's input `features` has 3 columns",
        write: |directory| version(directory, MANIFEST, "pair_logit"),
    },
    Bad {
        about: "a feature that is not in the schema",
        gate: "signature",
        why: "the schema has no feature `balanse`; did you mean `balance`?",
        write: |directory| version(directory, &MANIFEST.replace("balance", "balanse"), "pushed_good"),
    },
    Bad {
        about: "NaN on some rows",
        gate: "finite",
        why: "`propensity` is NaN; the first such row: balance = ",
        write: |directory| version(directory, MANIFEST, "pushed_nan_on_some_rows"),
    },
    Bad {
        about: "log-odds declared as propensities",
        gate: "finite",
        why: "which is no propensity: it must lie in 0..=1, or be calibrated",
        write: |directory| {
            let manifest = MANIFEST
                .replace("[\"balance\", \"annual_fee\"]", "[\"balance\", \"annual_fee\", \"tenure\"]");
            version(directory, &manifest, "pair_logit");
        },
    },
    Bad {
        about: "outputs that differ from the golden rows",
        gate: "golden",
        why: "golden.csv:3: expected 0.9 as `propensity`, found 0.5",
        write: |directory| {
            fs::write(directory.join("golden.csv"), "balance,annual_fee,expected\n0,0,0.5\n10000,100,0.9\n")
                .unwrap();
            version(directory, MANIFEST, "pushed_good");
        },
    },
    Bad {
        about: "far slower than its budget",
        gate: "latency",
        why: "2 of 2 runs took longer than the budget",
        write: |directory| version(directory, &MANIFEST.replace("= 50", "= 1"), "pushed_slow"),
    },
];

const MANIFEST: &str = r#"kind = "propensity"
layout = "pairwise"
inputs = ["balance", "annual_fee"]
accepts_missing = false
latency_budget_ms = 50
[gates] # It has nothing to do with what serves, and need not.
psi_limit = 1000.0
mean_limit = 1000.0
rank_limit = -1.0
"#;

/// Writes a version that passes every gate to `directory`, which is created. Versions with different `salt` have
/// different bytes and the same outputs.
pub(crate) fn good(directory: &Path, salt: u64) {
    fs::create_dir_all(directory).unwrap();
    fs::write(directory.join("golden.csv"), "balance,annual_fee,expected\n0,0,0.5\n10000,100,0.5\n").unwrap();
    version(directory, &format!("{MANIFEST}[training]\nsalt = {salt}\n"), "pushed_good");
}

/// Writes a version whose weights are a symbolic link to a file elsewhere. A push over the network cannot carry a link,
/// but a directory that is judged in place can have one. Its manifest has the digest of the link's target.
pub(crate) fn linked_weights(directory: &Path, elsewhere: &Path) {
    fs::create_dir_all(directory).unwrap();
    fs::write(directory.join("weights.bin"), fs::read(elsewhere).unwrap()).unwrap();
    version(directory, MANIFEST, "pushed_weights_beside");
    fs::remove_file(directory.join("weights.bin")).unwrap();
    std::os::unix::fs::symlink(elsewhere, directory.join("weights.bin")).unwrap();
}

/// The fixture as `model.onnx`, and the manifest with checksums of all files in the directory.
fn version(directory: &Path, manifest: &str, fixture: &str) {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/onnx");
    fs::copy(fixtures.join(format!("{fixture}.onnx")), directory.join("model.onnx")).unwrap();
    seal(directory, manifest);
}

fn seal(directory: &Path, manifest: &str) {
    let checksums = Checksums::compute(directory).unwrap();
    fs::write(directory.join("model.toml"), format!("{manifest}{}", checksums.render())).unwrap();
}

fn edit(directory: &Path, change: impl FnOnce(&mut String)) {
    let path = directory.join("model.toml");
    let mut manifest = fs::read_to_string(&path).unwrap();
    change(&mut manifest);
    fs::write(path, manifest).unwrap();
}

/// Judges the version in `directory` against the schema of the sample.
fn judged(directory: &Path) -> Vec<release::GateReport> {
    let features = fs::read_to_string(sample_workspace().join("features.toml")).unwrap();
    let schema = FeatureSchema::parse("features.toml", &features).unwrap();
    let cache = GraphCache::new(OnnxRuntime::load().unwrap(), 1);
    judge(&Candidate {
        directory,
        name: "propensity",
        version: 2,
        schema: &schema,
        segments: None,
        champion: None,
        sample: &Sample::default(),
        cache: &cache,
    })
}

fn directory() -> (tempfile::TempDir, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let version = parent.path().join("propensity/2");
    (parent, version)
}

#[test]
fn a_good_version_passes_and_each_bad_one_fails_its_gate() {
    let (_parent, path) = directory();
    good(&path, 7);
    for report in judged(&path) {
        assert_ne!(report.outcome, GateOutcome::Failed, "{report:?}");
    }
    for bad in BAD {
        let (_parent, path) = directory();
        bad.write(&path);
        let reports = judged(&path);
        let failed: Vec<_> = reports.iter().filter(|report| report.outcome == GateOutcome::Failed).collect();
        let [report] = failed[..] else { panic!("{}: {reports:?}", bad.about) };
        assert_eq!(report.gate, bad.gate, "{}: {report:?}", bad.about);
        assert!(report.why.contains(bad.why), "{}: {report:?}", bad.about);
    }
}

#[test]
fn a_link_that_leads_out_of_the_version_is_not_followed() {
    let (_parent, path) = directory();
    linked_weights(&path, Path::new("/etc/passwd"));
    let reports = judged(&path);
    assert_eq!(
        (reports[0].gate.as_str(), reports[0].outcome),
        ("checksums", GateOutcome::Failed),
        "{reports:?}"
    );
    assert!(reports[0].why.contains("`weights.bin` is a symbolic link that leads out"), "{reports:?}");
    assert!(reports[1..].iter().all(|report| report.outcome == GateOutcome::Skipped), "{reports:?}");
}
