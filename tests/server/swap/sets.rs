//! The sets of models, offers and policy that the releases of the test are made of. Each is derived from the sample
//! workspace so that every part of an answer identifies its set. Model bytes, calibrations, segment names, values of
//! offers, weights of categories and arms of the experiment all differ. The offers also carry a mark of the individual
//! release.
//!
//! The graphs compute the same in every set: they differ only by a note, which ONNX ignores. So requests cost the same
//! with every set, and only swaps can change a latency.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use toml::{Table, Value};

use super::arms::Experiment;

/// The number of sets, which the releases use in turn.
pub(super) const SETS: usize = 4;

/// The models of the sample workspace.
pub(super) const MODELS: [&str; 4] = ["affinity", "network", "propensity", "segments"];

/// The attribute of every offer that identifies the release.
pub(super) const MARK: &str = "release_mark";

/// The placeholder for the mark of a release.
const PLACEHOLDER: &str = "@mark@";

/// A version of a model, as pushed.
#[derive(Debug, Clone)]
pub(super) struct Version {
    /// `model.toml`.
    pub manifest: String,
    /// The other files.
    pub files: Vec<(String, Vec<u8>)>,
}

/// `p = 1 / (1 + exp(-(a · s + b)))`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Platt {
    pub a: f64,
    pub b: f64,
}

impl Platt {
    /// The propensity of a raw score.
    pub(super) fn propensity(self, score: f64) -> f64 {
        1.0 / (1.0 + (-(self.a * score + self.b)).exp())
    }

    /// The raw score of a propensity.
    pub(super) fn score(self, propensity: f64) -> f64 {
        ((propensity / (1.0 - propensity)).ln() - self.b) / self.a
    }
}

/// The terms of an offer in a set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Terms {
    pub value: f64,
    pub cost: f64,
    pub lever: f64,
}

#[derive(Debug, Clone)]
pub(super) struct Set {
    pub number: usize,
    /// Model → its version.
    pub versions: BTreeMap<&'static str, Version>,
    /// Model → its calibration; the segmentation has none.
    pub calibrations: BTreeMap<&'static str, Platt>,
    /// Segment → its name.
    pub segments: BTreeMap<i64, String>,
    /// Offer → its terms.
    pub terms: HashMap<String, Terms>,
    /// Who is in which arm.
    pub experiment: Experiment,
    /// `policy.toml`.
    pub policy: String,
    offers: String,
}

impl Set {
    pub(super) fn all(sample: &Path) -> Vec<Self> {
        (0..SETS).map(|number| Self::derive(sample, number)).collect()
    }

    fn derive(sample: &Path, number: usize) -> Self {
        let (policy, weights, experiment) = policy(&read(&sample.join("policy.toml")), number);
        let (offers, terms) = offers(&read(&sample.join("offers.toml")), number, &weights);
        let (segments_json, segments) = segments(&read(&sample.join("segments/1/segments.json")), number);
        let mut versions = BTreeMap::new();
        let mut calibrations = BTreeMap::new();
        for model in MODELS {
            let calibration = (model != "segments").then(|| calibration(model, number));
            calibrations.extend(calibration.map(|calibration| (model, calibration)));
            let mut version = Version::of_sample(sample, model, calibration);
            version.note(&format!("set {number}"));
            if model == "segments" {
                version.files = vec![("segments.json".to_owned(), segments_json.clone().into_bytes())];
            }
            versions.insert(model, version);
        }
        Self { number, versions, calibrations, segments, terms, experiment, policy, offers }
    }

    /// `offers.toml` of the release with this mark.
    pub(super) fn offers(&self, mark: &str) -> String {
        self.offers.replace(PLACEHOLDER, mark)
    }
}

impl Version {
    /// Version 1 of the sample with another calibration, and without the checksums and golden rows, which no longer
    /// hold.
    fn of_sample(sample: &Path, model: &str, calibration: Option<Platt>) -> Self {
        let directory = sample.join(model).join("1");
        let mut manifest: Table = read(&directory.join("model.toml")).parse().unwrap();
        manifest.remove("checksums");
        // The scores also differ from those of other sets.
        let gates: Table = "psi_limit = 1000.0\nmean_limit = 1000.0\nrank_limit = -1.0\n".parse().unwrap();
        manifest.insert("gates".to_owned(), gates.into());
        if let Some(Platt { a, b }) = calibration {
            let calibration: Table = format!("method = \"platt\"\na = {a:?}\nb = {b:?}\n").parse().unwrap();
            manifest.insert("calibration".to_owned(), calibration.into());
        }
        let mut files: Vec<(String, Vec<u8>)> = std::fs::read_dir(&directory)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| {
                (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(&path).unwrap())
            })
            .filter(|(name, _)| name != "model.toml" && name != "golden.csv")
            .collect();
        files.sort();
        Self { manifest: toml::to_string(&manifest).unwrap(), files }
    }

    /// Marks every file with `note`, so that the bytes differ but not the outputs.
    pub(super) fn note(&mut self, note: &str) {
        for (name, bytes) in &mut self.files {
            if name.to_ascii_lowercase().ends_with(".onnx") {
                annotate(bytes, note);
            } else {
                // JSON has no comments, so trailing white space is added instead.
                bytes.extend(note.bytes().map(|_| b' '));
            }
        }
    }

    /// The same model without a calibration: log-odds declared as propensities.
    pub(super) fn uncalibrated(mut self) -> Self {
        let mut manifest: Table = self.manifest.parse().unwrap();
        manifest.remove("calibration").unwrap();
        manifest.insert("kind".to_owned(), "propensity".into());
        self.manifest = toml::to_string(&manifest).unwrap();
        self
    }

    /// The same model with each file cut in half.
    pub(super) fn truncated(mut self) -> Self {
        for (_, bytes) in &mut self.files {
            bytes.truncate(bytes.len() / 2);
        }
        self
    }
}

/// Appends the field `doc_string` (6, of type string) to a `ModelProto`. If a field occurs twice, protobuf takes the
/// last.
fn annotate(graph: &mut Vec<u8>, note: &str) {
    let length = u8::try_from(note.len()).ok().filter(|length| *length < 128).expect("a short note");
    graph.extend([6 << 3 | 2, length]);
    graph.extend(note.bytes());
}

/// Calibrations that differ for every score: the sets differ only by the intercept.
fn calibration(model: &str, set: usize) -> Platt {
    // The network's outputs are log-odds, those of the others probabilities.
    let (a, b) = if model == "network" { (0.99, 0.02) } else { (4.0, -3.0) };
    Platt { a, b: b + 0.3 * set as f64 }
}

/// `policy.toml` of a set, the weights of its categories, and its experiment.
fn policy(text: &str, set: usize) -> (String, HashMap<String, f64>, Experiment) {
    let mut policy: Table = text.parse().unwrap();
    let mut weights = HashMap::new();
    for category in tables(&mut policy, "category") {
        let weight = number(category.get("weight")) + 5.0 * set as f64;
        weights.insert(category["id"].as_str().unwrap().to_owned(), weight);
        category.insert("weight".to_owned(), weight.into());
    }
    let experiment = Experiment::of(&mut policy, set);
    (toml::to_string(&policy).unwrap(), weights, experiment)
}

/// `offers.toml` of a set, and the terms of its offers. Their values are raised by different amounts, so that other
/// offers win.
fn offers(text: &str, set: usize, weights: &HashMap<String, f64>) -> (String, HashMap<String, Terms>) {
    let mut library: Table = text.parse().unwrap();
    let mut terms = HashMap::new();
    for (index, offer) in tables(&mut library, "offer").enumerate() {
        let value = number(offer.get("value")) + (set * (1 + index % 5)) as f64;
        offer.insert("value".to_owned(), value.into());
        let attributes = offer.entry("attributes").or_insert_with(|| Table::new().into());
        attributes.as_table_mut().unwrap().insert(MARK.to_owned(), PLACEHOLDER.into());
        let weight = weights[offer["category"].as_str().unwrap()] + number(offer.get("weight"));
        let offer_terms = Terms { value, cost: number(offer.get("cost")), lever: 1.0 + weight / 100.0 };
        terms.insert(offer["id"].as_str().unwrap().to_owned(), offer_terms);
    }
    (toml::to_string(&library).unwrap(), terms)
}

/// `segments.json` of a set, and the names of its segments.
fn segments(text: &str, set: usize) -> (String, BTreeMap<i64, String>) {
    let mut artefact: serde_json::Value = serde_json::from_str(text).unwrap();
    let mut names = BTreeMap::new();
    for segment in artefact["segments"].as_array_mut().unwrap() {
        let name = format!("{} of set {set}", segment["name"].as_str().unwrap());
        segment["name"] = name.clone().into();
        names.insert(segment["id"].as_i64().unwrap(), name);
    }
    (serde_json::to_string_pretty(&artefact).unwrap(), names)
}

pub(super) fn tables<'t>(table: &'t mut Table, key: &str) -> impl Iterator<Item = &'t mut Table> {
    table[key].as_array_mut().unwrap().iter_mut().map(|entry| entry.as_table_mut().unwrap())
}

/// A number of a file; 0 if it is missing, which is the default of the formats.
pub(super) fn number(value: Option<&Value>) -> f64 {
    value.map_or(0.0, |value| value.as_float().or(value.as_integer().map(|whole| whole as f64)).unwrap())
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::harness::{Copy, make_store, sample_workspace};

    #[test]
    fn the_sets_differ_in_everything_that_an_answer_shows() {
        let sets = Set::all(&sample_workspace());
        for (one, other) in sets.iter().flat_map(|one| sets.iter().map(move |other| (one, other))) {
            if one.number == other.number {
                continue;
            }
            for model in MODELS {
                let (one, other) = (&one.versions[model], &other.versions[model]);
                let pairs = one.files.iter().zip(&other.files);
                assert!(pairs.clone().all(|((name, _), (same, _))| name == same), "{model}");
                assert!(pairs.clone().all(|((_, bytes), (_, others))| bytes != others), "{model}");
            }
            for (model, calibration) in &one.calibrations {
                // Log-odds of the network, probabilities of the others.
                let scores = if *model == "network" { [-8.0, -2.5, 0.0, 3.0] } else { [0.0, 0.05, 0.5, 1.0] };
                for score in scores {
                    let difference =
                        calibration.propensity(score) - other.calibrations[model].propensity(score);
                    assert!(difference.abs() > 5e-5, "{model} at {score}");
                }
            }
            let names: HashSet<&String> = one.segments.values().collect();
            assert!(other.segments.values().all(|name| !names.contains(name)));
            assert!(one.terms.iter().all(|(offer, terms)| {
                let theirs = other.terms[offer];
                (terms.value - theirs.value).abs() > 0.1 && (terms.lever - theirs.lever).abs() > 0.01
            }));
        }
    }

    #[test]
    fn every_set_is_a_valid_workspace() {
        for set in Set::all(&sample_workspace()) {
            let copy = Copy::new();
            for (model, version) in &set.versions {
                let directory = copy.path().join(model).join("1");
                std::fs::write(directory.join("model.toml"), &version.manifest).unwrap();
                std::fs::remove_file(directory.join("golden.csv")).unwrap();
                for (name, bytes) in &version.files {
                    std::fs::write(directory.join(name), bytes).unwrap();
                }
            }
            std::fs::write(copy.path().join("policy.toml"), &set.policy).unwrap();
            std::fs::write(copy.path().join("offers.toml"), set.offers("r1")).unwrap();
            let directory = tempfile::tempdir().unwrap();
            if let Err(problems) = make_store(&directory.path().join("store"), copy.path()) {
                panic!("{problems}");
            }
        }
    }

    #[test]
    fn score_inverts_propensity() {
        let platt = Platt { a: 4.0, b: -2.7 };
        assert!((platt.score(platt.propensity(0.37)) - 0.37).abs() < 1e-12);
    }
}
