//! Gates: what a pushed version must pass before a release may pin it.
//!
//! A gate is one small check that answers with a [`Finding`]; [`GATES`] lists them in the order in which they run. The first
//! three ask whether the version can be loaded at all, and what they break off is skipped; each of the others asks one thing
//! of the version in memory. Judging changes nothing, uses sessions of its own, and is meant for a thread of low priority.
//! What is to be judged, and by what, is a [`Candidate`]; who asks stores the reports as a verdict.
//!
//! Start reading at [`judge`], then at any of the gates.

mod bench;
mod calibration;
mod distribution;
mod files;
mod finite;
mod golden;
mod latency;
mod ranks;
mod rows;
#[cfg(test)]
mod tests;

use std::path::Path;

use super::load::Loaded;
use super::records::{GateOutcome, GateReport};
use crate::feature::{FeatureSchema, RecentRow};
use crate::model::Engine;
use crate::model::onnx::OnnxCache;
use crate::model::trees::{PROBES, TOLERANCE};
use crate::segment::Segmentation;
use bench::Bench;
pub use distribution::LEAST_ROWS;

/// A version that wants to serve, and what it is judged by.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// The directory of the version.
    pub directory: &'a Path,
    /// The name of the model.
    pub name: &'a str,
    /// The number of the version.
    pub version: u64,
    /// The features that it would be fed.
    pub schema: &'a FeatureSchema,
    /// How many segments customers may be in; `None` where the release it is judged against has no segmentation.
    pub segments: Option<usize>,
    /// What serves under the same name now.
    pub champion: Option<Champion<'a>>,
    /// What both versions are asked, to compare what they say.
    pub sample: &'a Sample,
    /// Sessions for judging; must not be those that serve, because a gate may keep one busy for long.
    pub cache: &'a OnnxCache,
}

/// Rows that the candidate and the version that serves are both asked.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// The rows.
    pub rows: Vec<RecentRow>,
    /// What they are, for people: `recent rows`.
    pub source: String,
}

/// The version of the same name that serves.
#[derive(Debug, Clone, Copy)]
pub struct Champion<'a> {
    /// The directory of the version.
    pub directory: &'a Path,
    /// The number of the version.
    pub version: u64,
    /// The features that it is fed.
    pub schema: &'a FeatureSchema,
}

/// What one gate found; a [`GateReport`] without the gate's name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    outcome: GateOutcome,
    measured: String,
    limit: String,
    why: String,
}

/// A check by name.
struct Gate {
    name: &'static str,
    check: Check,
}

/// What a check looks at.
enum Check {
    /// The files: what fails here cannot be judged any further.
    Version(fn(&Bench<'_>) -> Finding),
    /// The version in memory.
    Loaded(fn(&Bench<'_>, &Loaded) -> Finding),
}

const GATES: [Gate; 9] = [
    Gate { name: "checksums", check: Check::Version(files::checksums) },
    Gate { name: "loads", check: Check::Version(files::loads) },
    Gate { name: "signature", check: Check::Version(files::signature) },
    Gate { name: "calibration", check: Check::Loaded(calibration::check) },
    Gate { name: "finite", check: Check::Loaded(finite::check) },
    Gate { name: "golden", check: Check::Loaded(golden::check) },
    Gate { name: "latency", check: Check::Loaded(latency::check) },
    Gate { name: "distribution", check: Check::Loaded(distribution::check) },
    Gate { name: "engine", check: Check::Loaded(engine) },
];

/// Asks every gate, in order. The version may serve if none of the reports says [`GateOutcome::Failed`].
#[must_use]
pub fn judge(candidate: &Candidate<'_>) -> Vec<GateReport> {
    let bench = Bench::new(candidate);
    let mut broken: Option<&str> = None;
    let report = |gate: &Gate| {
        let finding = match (broken, &gate.check) {
            (Some(broken), _) => Finding::skipped(format!("the version failed the gate `{broken}`")),
            (None, Check::Version(check)) => check(&bench),
            (None, Check::Loaded(check)) => match bench.loaded() {
                Ok(loaded) => check(&bench, loaded),
                Err(problems) => Finding::skipped(format!("the version cannot be loaded: {problems}")),
            },
        };
        if matches!(gate.check, Check::Version(_)) && finding.outcome == GateOutcome::Failed {
            broken = Some(gate.name);
        }
        let Finding { outcome, measured, limit, why } = finding;
        GateReport { gate: gate.name.to_owned(), outcome, measured, limit, why }
    };
    GATES.iter().map(report).collect()
}

/// How many segments the segmentation in a version's directory has; `None` where it is no segmentation, or a damaged one.
pub(super) fn segments_in(directory: &Path) -> Option<usize> {
    let json = std::fs::read(directory.join(crate::segment::FILE_NAME)).ok()?;
    Some(Segmentation::parse(crate::segment::FILE_NAME, &json).ok()?.segments().len())
}

/// Whether the native engine serves the model. Never blocks: what it does not serve, or says otherwise than ONNX Runtime, ONNX Runtime serves.
fn engine(_: &Bench<'_>, loaded: &Loaded) -> Finding {
    let Loaded::Model(model) = loaded else { return Finding::skipped("a segmentation has no graph") };
    let (mut trees, mut layers, mut bytes) = (0, 0, 0);
    for engine in model.engines() {
        match engine {
            Engine::Native(found) => {
                trees += found.trees();
                layers = layers.max(found.layers());
                bytes += found.memory_bytes();
            }
            Engine::OnnxRuntime(why) => return Finding::skipped(format!("served by ONNX Runtime: {why}")),
        }
    }
    let what = match (trees, layers) {
        (0, 0..=1) => "linear".to_owned(),
        (0, layers) => format!("a perceptron of {layers} layers"),
        (trees, _) => format!("{trees} trees"),
    };
    let measured = format!("{what}, {:.0} kB, as ONNX Runtime on {PROBES} rows", bytes as f64 / 1e3);
    Finding::passed(measured, format!("{TOLERANCE:e} × max(1, |score|)"))
}

impl Finding {
    fn passed(measured: impl Into<String>, limit: impl Into<String>) -> Self {
        let (measured, limit) = (measured.into(), limit.into());
        Self { outcome: GateOutcome::Passed, measured, limit, why: String::new() }
    }

    fn failed(measured: impl Into<String>, limit: impl Into<String>, why: impl Into<String>) -> Self {
        let (measured, limit, why) = (measured.into(), limit.into(), why.into());
        Self { outcome: GateOutcome::Failed, measured, limit, why }
    }

    fn skipped(why: impl Into<String>) -> Self {
        let (measured, limit, why) = (String::new(), String::new(), why.into());
        Self { outcome: GateOutcome::Skipped, measured, limit, why }
    }
}
