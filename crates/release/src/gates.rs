//! Gates: what a pushed version must pass before a release may pin it.
//!
//! A gate is one small check that returns a [`Finding`]; [`GATES`] lists them in the order in which they run. The
//! first three ask whether the version can be loaded; if one fails, all gates after it are skipped. Each of the
//! others checks one property of the version in memory. Judging changes nothing, uses its own sessions, and belongs
//! on a thread of idle priority. A [`Candidate`] holds the version and what it is judged by; the caller stores the
//! reports as a verdict.
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

use std::convert::Infallible;
use std::path::Path;

use super::load::Loaded;
use super::records::{GateOutcome, GateReport};
use bench::Bench;
pub(crate) use distribution::LEAST_ROWS;
use feature::{FeatureSchema, RecentRow};
use model::GraphCache;
use model::{Engine, MAX_SEGMENTS_BYTES, read_at_most};
use native::{PROBES, TOLERANCE};
use segment::Segmentation;
use work::catch_panic;

/// A version to judge, and what it is judged by.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// The directory of the version.
    pub directory: &'a Path,
    /// The name of the model.
    pub name: &'a str,
    /// The number of the version.
    pub version: u64,
    /// The features that it would receive.
    pub schema: &'a FeatureSchema,
    /// The number of segments; `None` where the current release has no segmentation.
    pub segments: Option<usize>,
    /// The serving version of the same name.
    pub champion: Option<Champion<'a>>,
    /// The rows that both versions score.
    pub sample: &'a Sample,
    /// Sessions for judging. They must not be those that serve, because a gate may keep one busy for long.
    pub cache: &'a GraphCache,
}

/// Rows that the candidate and the serving version both score.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// The rows.
    pub rows: Vec<RecentRow>,
    /// Where they come from, for people: `recent rows`.
    pub source: String,
}

/// The serving version of the same name.
#[derive(Debug, Clone, Copy)]
pub struct Champion<'a> {
    /// The directory of the version.
    pub directory: &'a Path,
    /// The number of the version.
    pub version: u64,
    /// The features that it receives.
    pub schema: &'a FeatureSchema,
}

/// The result of one gate; a [`GateReport`] without the gate's name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    outcome: GateOutcome,
    measured: String,
    limit: String,
    why: String,
}

struct Gate {
    name: &'static str,
    check: Check,
}

/// What a check needs.
enum Check {
    /// The files: if this fails, the version cannot be loaded.
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

/// The name of the report about the judging process; see [`judging`](super::judging).
pub(super) const PROCESS: &str = "process";

/// The names of the gates, in the order in which they run.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    GATES.iter().map(|gate| gate.name)
}

/// Runs every gate, in order, in this process: for trusted versions alone. The version may serve if no report says
/// [`GateOutcome::Failed`].
#[must_use]
pub fn judge(candidate: &Candidate<'_>) -> Vec<GateReport> {
    let mut reports = Vec::with_capacity(GATES.len());
    let report = |report| {
        reports.push(report);
        Ok(())
    };
    let Ok(()) = judge_each::<Infallible>(candidate, |_| Ok(()), report);
    reports
}

/// Runs every gate, in order: calls `begins` before each, `report` after. A check that panics is a failed gate.
///
/// # Errors
/// Those of `begins` and `report`.
pub(super) fn judge_each<E>(
    candidate: &Candidate<'_>,
    begins: impl Fn(&str) -> Result<(), E>,
    mut report: impl FnMut(GateReport) -> Result<(), E>,
) -> Result<(), E> {
    let bench = Bench::new(candidate);
    let mut broken: Option<&str> = None;
    for gate in &GATES {
        begins(gate.name)?;
        let ask = || match (broken, &gate.check) {
            (Some(broken), _) => Finding::skipped(format!("the version failed the gate `{broken}`")),
            (None, Check::Version(check)) => check(&bench),
            (None, Check::Loaded(check)) => match bench.loaded() {
                Ok(loaded) => check(&bench, loaded),
                Err(problems) => Finding::skipped(format!("the version cannot be loaded: {problems}")),
            },
        };
        let finding = catch_panic(ask).unwrap_or_else(|panic| {
            Finding::failed("", "", format!("the check panicked: {}", panic.message))
        });
        if matches!(gate.check, Check::Version(_)) && finding.outcome == GateOutcome::Failed {
            broken = Some(gate.name);
        }
        let Finding { outcome, measured, limit, why } = finding;
        report(GateReport { gate: gate.name.to_owned(), outcome, measured, limit, why })?;
    }
    Ok(())
}

/// The number of segments of the segmentation in a version's directory; `None` for another kind or a damaged one.
pub(super) fn segments_in(directory: &Path) -> Option<usize> {
    let json = read_at_most(&directory.join(segment::FILE_NAME), MAX_SEGMENTS_BYTES).ok()?;
    Some(Segmentation::parse(segment::FILE_NAME, &json).ok()?.segments().len())
}

/// Reports which engine serves the model. Never fails: ONNX Runtime serves every graph that the native engine
/// does not support or scores differently.
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
        (0, layers) => format!("an MLP with {layers} layers"),
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
