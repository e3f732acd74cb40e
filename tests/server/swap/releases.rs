//! The preparation before the load begins: all versions and releases, and the damage.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::Path;

use super::answers::{Catalogue, Known};
use super::pipeline::{Draft, Pipeline};
use super::sets::{MODELS, SETS, Set, Version};
use crate::harness::wire;

/// Models with a version that is damaged on disk, and the kind of damage.
const DAMAGES: [(&str, Damage); 3] =
    [("propensity", Damage::Flipped), ("network", Damage::Truncated), ("segments", Damage::Flipped)];

#[derive(Debug, Clone, Copy)]
enum Damage {
    /// One bit in the middle of a file.
    Flipped,
    /// The second half of a file is missing.
    Truncated,
}

/// The created releases, by their purpose.
#[derive(Debug, Default)]
pub(super) struct Releases {
    /// One of each set, to be promoted before the load; the last of them serves when the load begins.
    pub first: Vec<u64>,
    /// To be promoted in this order, each once.
    pub swaps: VecDeque<u64>,
    /// Releases that pin a version which was damaged afterwards.
    pub damaged: VecDeque<u64>,
    /// A valid release that is never promoted.
    pub spare: u64,
}

pub(super) async fn prepare(
    pipeline: &mut Pipeline,
    store: &Path,
    sets: Vec<Set>,
    swaps: usize,
    damaged: usize,
) -> (Releases, Catalogue) {
    let mut versions = Vec::new();
    for set in &sets {
        versions.push(push_all(pipeline, set).await);
    }
    let mut numbers = vec![0; SETS + swaps];
    for (set, versions) in sets.iter().zip(&versions) {
        for serial in (set.number..numbers.len()).step_by(SETS) {
            numbers[serial] = create(pipeline, set, versions, &mark(serial)).await;
            if serial < SETS {
                // While it serves, the models of its set are in memory, so the other releases of the set load none.
                pipeline.promote(numbers[serial], None).await.unwrap();
            }
        }
    }
    let known = |(order, release): (usize, &u64)| {
        // The last of the first releases is publication 0.
        let serial = SETS - 1 + order;
        (*release, Known { set: serial % SETS, mark: mark(serial), order })
    };
    let releases: HashMap<u64, Known> = numbers[SETS - 1..].iter().enumerate().map(known).collect();
    let swaps = numbers.split_off(SETS).into();
    let mut created = Releases { first: numbers, swaps, ..Releases::default() };
    created.spare = create(pipeline, &sets[0], &versions[0], "spare").await;
    created.damaged = damage(pipeline, store, &sets[0], &versions[0], damaged).await;
    (created, Catalogue { sets, versions, releases })
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

/// Creates `count` releases of versions that no other release pins, and damages those versions on disk.
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
        Damage::Truncated => bytes.truncate(middle),
    }
    // The file is replaced, not overwritten, so that an open file or mapping is unaffected.
    let spoiled = file.with_extension("spoiled");
    std::fs::write(&spoiled, bytes).unwrap();
    std::fs::rename(&spoiled, file).unwrap();
}

/// A version that a gate must reject: invalid propensities, or a truncated graph.
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
