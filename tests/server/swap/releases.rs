//! What is made before the load begins: every version, every release, and the damage.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::Path;

use super::answers::{Catalogue, Known};
use super::pipeline::{Draft, Pipeline};
use super::sets::{MODELS, SETS, Set, Version};
use crate::harness::wire;

/// Models of which a version is damaged on disk, and how.
const DAMAGES: [(&str, Damage); 3] =
    [("propensity", Damage::Flipped), ("network", Damage::Cut), ("segments", Damage::Flipped)];

#[derive(Debug, Clone, Copy)]
enum Damage {
    /// One bit in the middle of a file.
    Flipped,
    /// The second half of a file is gone.
    Cut,
}

/// Releases by what will be done with them.
#[derive(Debug, Default)]
pub(super) struct Stock {
    /// One of each set, to be promoted before the load; the last of them serves when it begins.
    pub first: Vec<u64>,
    /// To be promoted in this order, each once.
    pub swaps: VecDeque<u64>,
    /// Releases that pin a version which was damaged since.
    pub damaged: VecDeque<u64>,
    /// A sound release that is never promoted.
    pub spare: u64,
}

/// Makes everything.
pub(super) async fn prepare(
    pipeline: &mut Pipeline,
    store: &Path,
    sets: Vec<Set>,
    swaps: usize,
    damaged: usize,
) -> (Stock, Catalogue) {
    let mut versions = Vec::new();
    for set in &sets {
        versions.push(push_all(pipeline, set).await);
    }
    let mut numbers = vec![0; SETS + swaps];
    for (set, versions) in sets.iter().zip(&versions) {
        for serial in (set.number..numbers.len()).step_by(SETS) {
            numbers[serial] = create(pipeline, set, versions, &mark(serial)).await;
            if serial < SETS {
                // While it serves, the models of its set are in memory, and the further releases of the set load none.
                pipeline.promote(numbers[serial], None).await.unwrap();
            }
        }
    }
    let known = |(order, release): (usize, &u64)| {
        // The last of the first is publication 0.
        let serial = SETS - 1 + order;
        (*release, Known { set: serial % SETS, mark: mark(serial), order })
    };
    let releases: HashMap<u64, Known> = numbers[SETS - 1..].iter().enumerate().map(known).collect();
    let swaps = numbers.split_off(SETS).into();
    let mut stock = Stock { first: numbers, swaps, ..Stock::default() };
    stock.spare = create(pipeline, &sets[0], &versions[0], "spare").await;
    stock.damaged = damage(pipeline, store, &sets[0], &versions[0], damaged).await;
    (stock, Catalogue { sets, versions, releases })
}

fn mark(serial: usize) -> String {
    format!("serial {serial}")
}

/// Pushes every model of a set, which must pass its gates.
async fn push_all(pipeline: &mut Pipeline, set: &Set) -> BTreeMap<String, u64> {
    let mut versions = BTreeMap::new();
    for model in MODELS {
        versions.insert(model.to_owned(), push(pipeline, model, &set.versions[model]).await);
    }
    versions
}

async fn push(pipeline: &mut Pipeline, model: &str, version: &Version) -> u64 {
    let pushed = pipeline.push(model, version).await.unwrap();
    let verdict = pushed.verdict.unwrap_or_default();
    assert!(verdict.passed, "{model}: {:#?}", verdict.gates);
    pushed.version
}

async fn create(pipeline: &mut Pipeline, set: &Set, versions: &BTreeMap<String, u64>, mark: &str) -> u64 {
    let draft = Draft { models: versions, offers: set.offers(mark), policy: set.policy.clone() };
    pipeline.create(draft).await.unwrap()
}

/// Makes `count` releases of versions that nothing else pins, and damages those on disk.
async fn damage(
    pipeline: &mut Pipeline,
    store: &Path,
    set: &Set,
    versions: &BTreeMap<String, u64>,
    count: usize,
) -> VecDeque<u64> {
    let mut pins = Vec::new();
    for (model, _) in DAMAGES {
        let mut version = set.versions[model].clone();
        version.note("to be damaged");
        let number = push(pipeline, model, &version).await;
        let mut pinned = versions.clone();
        pinned.insert(model.to_owned(), number);
        pins.push(pinned);
    }
    let mut releases = VecDeque::new();
    for serial in 0..count {
        let pinned = &pins[serial % pins.len()];
        releases.push_back(create(pipeline, set, pinned, &format!("damaged {serial}")).await);
    }
    for ((model, damage), pinned) in DAMAGES.into_iter().zip(&pins) {
        let directory = store.join("models").join(model).join(pinned[model].to_string());
        let file = if model == "segments" { "segments.json" } else { "model.onnx" };
        spoil(&directory.join(file), damage);
    }
    releases
}

fn spoil(file: &Path, damage: Damage) {
    let mut bytes = std::fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    match damage {
        Damage::Flipped => bytes[middle] ^= 1,
        Damage::Cut => bytes.truncate(middle),
    }
    // The file of the store is replaced, not written into: the disk decayed, no process holds another state of it.
    let spoiled = file.with_extension("spoiled");
    std::fs::write(&spoiled, bytes).unwrap();
    std::fs::rename(&spoiled, file).unwrap();
}

/// A version that a gate must stop: propensities that are none, or a graph of which a part is missing.
pub(super) fn bad_version(set: &Set, number: usize) -> (&'static str, Version) {
    let note = format!("bad {number}");
    if number.is_multiple_of(2) {
        let mut version = set.versions["network"].clone();
        version.note(&note);
        return ("network", version.uncalibrated());
    }
    let mut version = set.versions["propensity"].clone().truncated();
    version.note(&note);
    ("propensity", version)
}

/// The gates that a version failed.
pub(super) fn failed_gates(verdict: &wire::Verdict) -> Vec<&str> {
    let failed = |gate: &&wire::GateResult| gate.outcome() == wire::GateOutcome::Failed;
    verdict.gates.iter().filter(failed).map(|gate| gate.gate.as_str()).collect()
}
