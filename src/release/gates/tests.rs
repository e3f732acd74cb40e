//! Each gate: passes what is good, fails what is bad, and says why.

use std::path::PathBuf;

use super::*;
use crate::model::onnx::OnnxRuntime;

/// The sample workspace, every version of which passes.
fn sample() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models")
}

fn cache() -> OnnxCache {
    OnnxCache::new(OnnxRuntime::load().unwrap(), 1)
}

fn sample_schema() -> FeatureSchema {
    FeatureSchema::parse("features.toml", &std::fs::read_to_string(sample().join("features.toml")).unwrap())
        .unwrap()
}

#[test]
fn the_sample_passes_every_gate() {
    let (schema, cache) = (sample_schema(), cache());
    for name in ["affinity", "network", "propensity", "segments"] {
        let directory = sample().join(name).join("1");
        let candidate = Candidate {
            directory: &directory,
            name,
            version: 1,
            schema: &schema,
            segments: Some(6),
            champion: None,
            recent: &[],
            cache: &cache,
        };
        for report in judge(&candidate) {
            println!("{name}: {report:?}");
            assert_ne!(report.outcome, GateOutcome::Failed, "{name}: {report:?}");
        }
    }
}
