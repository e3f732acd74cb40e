//! The judging process `proffer judge`: it limits itself, reads the question, runs the gates and writes a report of
//! each.

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use std::thread::Builder;

use super::limits::{apply, ends_with, no_more_processes};
use super::messages::{MAX_QUESTION, Message, Question, ServingVersion, Subject};
use crate::gates;
use crate::gates::{Candidate, Champion, Sample};
use crate::records::{Evidence, GateOutcome, GateReport};
use feature::FeatureSchema;
use model::GraphCache;
use model::onnx::{GraphFacts, JUDGE_STACK, OnnxRuntime};
use model::{
    MAX_GRAPH_BYTES, MAX_MANIFEST_BYTES, Manifest, ModelError, read_at_most, read_text_at_most, sha256_of,
};
use work::priority::inherit_idle_priority;
use work::{Panicked, Worker};

/// The gates that a graph without a manifest must pass.
pub(super) const BARE_GATES: [&str; 2] = ["loads", "runs"];

/// Answers the question on standard input; see [`crate::judging`]. The process must have one thread when this is
/// called.
///
/// # Errors
/// When the question cannot be read, the answer cannot be written, or ONNX Runtime is missing. None of these says
/// anything about the version.
pub fn serve(memory: u64, cpu_seconds: u64, parent: u32) -> io::Result<()> {
    if !ends_with(parent) {
        return Err(io::Error::other("the process that asked has ended"));
    }
    let mut limits = apply(memory, cpu_seconds);
    let judge = Builder::new().name("judge".to_owned()).stack_size(JUDGE_STACK).spawn(move || {
        inherit_idle_priority();
        if no_more_processes() {
            limits.push("no further process".to_owned());
        }
        answer(limits)
    })?;
    judge.join().unwrap_or_else(|panic| Err(io::Error::other(Panicked::from(panic))))
}

fn answer(limits: Vec<String>) -> io::Result<()> {
    let mut question = Vec::new();
    io::stdin().lock().take(MAX_QUESTION).read_to_end(&mut question)?;
    let subject: Subject = serde_json::from_slice(&question)?;
    drop(question);
    let runtime = OnnxRuntime::load().map_err(io::Error::other)?;
    let evidence = match subject {
        Subject::Version(asked) => version(*asked, &runtime)?,
        Subject::Bare { file } => bare(file.as_ref(), &runtime)?,
    };
    say(&Message::Done { evidence: Evidence { limits, ..evidence }, used: used() })
}

/// Writes one line of the answer.
fn say(said: &Message) -> io::Result<()> {
    let mut line = serde_json::to_vec(said)?;
    line.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&line)?;
    out.flush()
}

fn version(asked: Question, runtime: &OnnxRuntime) -> io::Result<Evidence> {
    let Question { directory, name, version, features, segments, champion, rows, source } = asked;
    let schema = parsed(&features)?;
    let sample = Sample { rows: rows.unpack(), source };
    let served =
        champion.map(|served| Ok::<_, io::Error>((parsed(&served.features)?, served))).transpose()?;
    let champion = served.as_ref().map(|(schema, ServingVersion { directory, version, facts, .. })| {
        runtime.trust(facts.iter().cloned());
        Champion { directory: directory.as_ref(), version: *version, schema }
    });
    let candidate = Candidate {
        directory: directory.as_ref(),
        name: &name,
        version,
        schema: &schema,
        segments,
        champion,
        sample: &sample,
        cache: &GraphCache::new(runtime.clone(), 1),
    };
    let begins = |gate: &str| say(&Message::Begins(gate.to_owned()));
    gates::judge_each(&candidate, begins, |report| say(&Message::Report(report)))?;
    // An unreadable file has failed a gate already.
    let manifest =
        read_text_at_most(&directory.as_ref().join("model.toml"), MAX_MANIFEST_BYTES).unwrap_or_default();
    let graphs = Manifest::parse("model.toml", &manifest).map(|manifest| facts(&manifest, runtime));
    Ok(Evidence {
        sha256: sha256_of(manifest.as_bytes()),
        graphs: graphs.unwrap_or_default(),
        ..Evidence::default()
    })
}

/// The facts that loading recorded about the graphs of a manifest.
fn facts(manifest: &Manifest, runtime: &OnnxRuntime) -> Vec<GraphFacts> {
    let graphs = manifest
        .checksums
        .iter()
        .filter(|(name, _)| Path::new(name).extension().is_some_and(|ending| ending == "onnx"));
    graphs.filter_map(|(_, sha256)| runtime.facts(sha256)).collect()
}

fn parsed(features: &str) -> io::Result<FeatureSchema> {
    FeatureSchema::parse("features.toml", features).map_err(io::Error::other)
}

/// Loads a graph and runs it once on zeros and empty texts. An error from that run is no failure: without a manifest,
/// the valid inputs are unknown.
fn bare(file: &Path, runtime: &OnnxRuntime) -> io::Result<Evidence> {
    let [loads, runs] = BARE_GATES;
    let report = |gate: &str, outcome, why: String| {
        let (measured, limit) = (String::new(), String::new());
        say(&Message::Report(GateReport { gate: gate.to_owned(), outcome, measured, limit, why }))
    };
    say(&Message::Begins(loads.to_owned()))?;
    let loaded = read_at_most(file, MAX_GRAPH_BYTES).map_err(ModelError::from).and_then(|bytes| {
        let model = GraphCache::new(runtime.clone(), 1).load(file)?;
        Ok((sha256_of(&bytes), model))
    });
    match loaded {
        Ok((sha256, model)) => {
            report(loads, GateOutcome::Passed, String::new())?;
            say(&Message::Begins(runs.to_owned()))?;
            let ran = model.onnx().try_out(&Worker::only());
            report(runs, GateOutcome::Passed, ran.err().map(|error| error.to_string()).unwrap_or_default())?;
            Ok(Evidence { sha256, ..Evidence::default() })
        }
        Err(error) => {
            report(loads, GateOutcome::Failed, error.to_string())?;
            report(runs, GateOutcome::Skipped, format!("the graph failed the gate `{loads}`"))?;
            Ok(Evidence::default())
        }
    }
}

/// What this process used: peak memory and CPU time.
fn used() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let seconds = time.tv_sec as f64 + time.tv_nsec as f64 / 1e9;
    let memory = peak.map(|kib| format!("{:.0} MB, ", kib as f64 * 1024.0 / 1e6)).unwrap_or_default();
    format!("{memory}{seconds:.2} s of CPU time")
}
