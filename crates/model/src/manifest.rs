//! `model.toml`: what a model version is, its inputs, and which output is the score.
//!
//! [`Manifest::parse`] checks what the file alone can show and reports every problem at once.
//! [`Model::load`](super::Model::load) checks it against the graph and the feature schema.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::time::Duration;

use toml::de::DeValue;

use super::{Calibration, Checksums, Direction};
use document::{Document, FromToml, Problems, Table};

/// What a model is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelKind {
    /// P(accept | customer, offer, context).
    Propensity,
    /// Scores that rank offers, calibrated to propensities where they decide.
    Recommendation,
    /// Money.
    Value,
    /// Centroids: `segments.json` instead of a graph.
    Segmentation,
    /// Anything else. It answers the `Score` call and decides nothing.
    Generic,
}

impl ModelKind {
    /// The kind as manifests write it.
    #[must_use]
    pub fn word(self) -> &'static str {
        KINDS.iter().find(|(_, kind)| *kind == self).map_or("", |(word, _)| word)
    }
}

/// What a row of a model's input is, and what its columns are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// A row per customer × offer, one score.
    Pairwise,
    /// A row per customer, a column of scores per offer.
    MultiOffer,
    /// A row per customer, a graph per offer with one score each.
    PerOffer,
}

/// How features become tensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inputs {
    /// One tensor whose columns are these features, in this order.
    Dense(Vec<String>),
    /// One tensor per feature, of the same name. If features are listed, the graph's inputs must match them exactly.
    PerFeature(Vec<String>),
}

/// The class whose column or ZipMap entry is the score.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Class {
    /// A column, counted from 0, or a label that is a number.
    Int(i64),
    /// A label that is text.
    String(String),
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(class) => write!(f, "{class}"),
            Self::String(class) => write!(f, "{class:?}"),
        }
    }
}

/// The default limit of the population stability index: scores above it count as shifted. Source: the rule of thumb of
/// Siddiqi, "Credit Risk Scorecards" (2006).
pub const PSI_LIMIT: f64 = 0.25;

/// The default limit of the factor between the mean propensities of this and the serving version. Acceptance rates move
/// with seasons and campaigns, and rarely double between two trainings.
pub const MEAN_LIMIT: f64 = 2.0;

/// The default least rank correlation with the serving version. Below it the order of customers and offers is reversed.
/// Source of the coefficient: Spearman (1904).
pub const RANK_LIMIT: f64 = 0.0;

/// `[gates]`: the limits that the gates apply.
#[derive(Debug, Clone, PartialEq)]
pub struct GateLimits {
    /// The largest population stability index against the serving version: `psi_limit`.
    pub psi: f64,
    /// The largest factor between the mean propensities of the two: `mean_limit`.
    pub mean: f64,
    /// The least rank correlation of the two: `rank_limit`.
    pub rank: f64,
    /// Whether a version without golden rows fails: `golden = "required"`.
    pub golden_required: bool,
}

/// A checked `model.toml`.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// What the model is for.
    pub kind: ModelKind,
    /// What a row of its input is. `None` for [`ModelKind::Generic`] (a row per customer, one score) and for
    /// [`ModelKind::Segmentation`].
    pub layout: Option<Layout>,
    /// How features become tensors; empty for a segmentation.
    pub inputs: Inputs,
    /// Whether a missing value may reach the model, as NaN.
    pub accepts_missing: bool,
    /// The offer ids in the order of the columns; only for [`Layout::MultiOffer`].
    pub offers: Vec<String>,
    /// The longest time to score one customer, for the gates: `latency_budget_ms`.
    ///
    /// The gate compares it with the 99th percentile of 100 runs on one core. A run scores 100 rows of a pairwise model
    /// (a customer with 100 offers), or one row of any other.
    pub latency_budget: Option<Duration>,
    /// The limits of the gates: `[gates]`.
    pub gates: GateLimits,
    /// The output with the score; `None` = the only candidate.
    pub output: Option<String>,
    /// The class whose column is the score; `None` = the last of two columns, or the only one.
    pub class: Option<Class>,
    /// From score to propensity.
    pub calibration: Calibration,
    /// Whether the manifest declares a falling calibration as intended: `falling` of `[calibration]`.
    pub falling: bool,
    /// The checksums of the version's files; empty where the manifest has none.
    pub checksums: Checksums,
    /// Notes on the training.
    pub training: BTreeMap<String, String>,
    /// The lines to report when the graph or the schema disagrees.
    pub(super) lines: Lines,
}

/// Line numbers of keys, from 1. An absent key has line 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Lines {
    pub(super) inputs: usize,
    pub(super) offers: usize,
    pub(super) output: usize,
    pub(super) class: usize,
    calibration: usize,
}

impl GateLimits {
    fn read(root: &Table<'_, '_>) -> Self {
        let mut limits = Self::default();
        let Some(table) = root.table("gates") else { return limits };
        let words = [("required", true), ("optional", false)];
        limits.golden_required = table.choice("golden", &words).unwrap_or_default();
        limits.psi = table.or("psi_limit", limits.psi);
        limits.mean = table.or("mean_limit", limits.mean);
        limits.rank = table.or("rank_limit", limits.rank);
        if limits.psi <= 0.0 {
            table.problem_at("psi_limit", "`psi_limit` must be greater than 0");
        }
        if limits.mean < 1.0 {
            table.problem_at("mean_limit", "`mean_limit` is a factor, and must be at least 1");
        }
        if !(-1.0..=1.0).contains(&limits.rank) {
            table.problem_at("rank_limit", "`rank_limit` is a rank correlation, and must lie in -1..=1");
        }
        table.finish();
        limits
    }
}

impl Default for GateLimits {
    fn default() -> Self {
        Self { psi: PSI_LIMIT, mean: MEAN_LIMIT, rank: RANK_LIMIT, golden_required: false }
    }
}

impl Manifest {
    /// Whether the calibration reverses the order of scores without `falling`.
    #[must_use]
    pub fn falls_unsaid(&self) -> bool {
        self.calibration.direction() == Direction::Falling && !self.falling
    }

    /// The line of `[calibration]`, from 1; 1 where it is absent.
    #[must_use]
    pub fn calibration_line(&self) -> usize {
        self.lines.calibration
    }

    /// Reads a `model.toml`. Problems name it `file`.
    ///
    /// # Errors
    /// Every problem: a broken file, unknown keys, keys that the kind or layout requires or forbids, duplicates, and
    /// invalid calibration tables.
    pub fn parse(file: &str, text: &str) -> Result<Self, Problems> {
        let document = Document::parse(file, text)?;
        let root = document.root();
        let manifest = read(&root);
        root.finish();
        drop(root);
        document.finish(manifest)
    }
}

const KINDS: [(&str, ModelKind); 5] = [
    ("propensity", ModelKind::Propensity),
    ("recommendation", ModelKind::Recommendation),
    ("value", ModelKind::Value),
    ("segmentation", ModelKind::Segmentation),
    ("generic", ModelKind::Generic),
];

const LAYOUTS: [(&str, Layout); 3] =
    [("pairwise", Layout::Pairwise), ("multi_offer", Layout::MultiOffer), ("per_offer", Layout::PerOffer)];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InputsLayout {
    Dense,
    PerFeature,
}

fn read(root: &Table<'_, '_>) -> Manifest {
    if !root.has("kind") {
        let known: Vec<&str> = KINDS.iter().map(|(name, _)| *name).collect();
        root.problem(format!("`kind` is missing; give it one of {}", known.join(", ")));
    }
    let kind = root.choice("kind", &KINDS).unwrap_or(ModelKind::Generic);
    let layout = read_layout(root, kind);
    let scores = kind != ModelKind::Segmentation;
    let refuse = |key: &str, who: &str| {
        if root.has(key) {
            root.problem_at(key, format!("`{key}` means nothing for a {who} model; remove it"));
        }
    };
    if !scores {
        for key in ["inputs", "inputs_layout", "accepts_missing", "output", "calibration"] {
            refuse(key, "segmentation");
        }
    }
    let offers = if layout == Some(Layout::MultiOffer) {
        read_offers(root)
    } else {
        refuse("offers", "that is not multi_offer");
        Vec::new()
    };
    let output = root.table("output");
    let (name, class) = match &output {
        Some(table) => (table.optional("name"), table.optional("class")),
        None => (None, None),
    };
    if let (Some(table), Some(Layout::MultiOffer), Some(_)) = (&output, layout, &class) {
        table.problem_at(
            "class",
            "`class` means nothing for a multi_offer model, whose columns are its offers",
        );
    }
    let calibration_table = root.table("calibration");
    let (calibration, falling) = Calibration::read(calibration_table.as_ref());
    let lines = Lines {
        calibration: calibration_table.as_ref().map_or(1, Table::first_line),
        inputs: root.line("inputs"),
        offers: root.line("offers"),
        output: output.as_ref().map_or(1, |table| table.line("name")),
        class: output.as_ref().map_or(1, |table| table.line("class")),
    };
    if let Some(table) = &output {
        table.finish();
    }
    Manifest {
        kind,
        layout,
        inputs: if scores { read_inputs(root) } else { Inputs::Dense(Vec::new()) },
        accepts_missing: root.or("accepts_missing", false),
        offers,
        latency_budget: read_latency_budget(root),
        gates: GateLimits::read(root),
        output: name,
        class,
        calibration,
        falling,
        checksums: Checksums::read(root.table("checksums").as_ref()),
        training: read_training(root),
        lines,
    }
}

fn read_layout(root: &Table<'_, '_>, kind: ModelKind) -> Option<Layout> {
    let without = matches!(kind, ModelKind::Segmentation | ModelKind::Generic);
    if !without && !root.has("layout") {
        root.problem("`layout` is missing; give it pairwise, multi_offer or per_offer");
    }
    let layout = root.choice("layout", &LAYOUTS);
    if without && layout.is_some() && root.has("kind") {
        root.problem_at("layout", "`layout` means nothing for segmentation and generic models; remove it");
    }
    layout.filter(|_| !without)
}

fn read_inputs(root: &Table<'_, '_>) -> Inputs {
    let layouts = [("dense", InputsLayout::Dense), ("per_feature", InputsLayout::PerFeature)];
    let layout = root.choice("inputs_layout", &layouts).unwrap_or(InputsLayout::Dense);
    if layout == InputsLayout::Dense && !root.has("inputs") {
        let message = "`inputs` is missing; list the features in the order of the columns, or say inputs_layout = \
                       \"per_feature\"";
        root.problem(message);
    }
    let names: Option<Vec<String>> = root.optional("inputs");
    if names.as_ref().is_some_and(Vec::is_empty) {
        root.problem_at("inputs", "`inputs` must name at least one feature");
    }
    let names = names.unwrap_or_default();
    report_duplicates(root, "inputs", "feature", &names);
    match layout {
        InputsLayout::Dense => Inputs::Dense(names),
        InputsLayout::PerFeature => Inputs::PerFeature(names),
    }
}

fn read_offers(root: &Table<'_, '_>) -> Vec<String> {
    let offers: Vec<String> = root.required("offers");
    if root.has("offers") && offers.is_empty() {
        root.problem_at("offers", "`offers` must list the id of each column");
    }
    for offer in offers.iter().filter(|offer| !is_offer_id(offer)) {
        root.problem_at("offers", format!("{offer:?} is no offer id (letters, digits, _ - .)"));
    }
    report_duplicates(root, "offers", "offer", &offers);
    offers
}

/// Whether `id` is valid as the id of an offer.
pub(super) fn is_offer_id(id: &str) -> bool {
    !id.is_empty() && id.chars().all(|letter| letter.is_ascii_alphanumeric() || "_-.".contains(letter))
}

fn report_duplicates(root: &Table<'_, '_>, key: &str, what: &str, names: &[String]) {
    let mut seen = HashSet::new();
    for name in names.iter().filter(|name| !seen.insert(name.as_str())) {
        root.problem_at(key, format!("{what} `{name}` comes twice in `{key}`"));
    }
}

fn read_latency_budget(root: &Table<'_, '_>) -> Option<Duration> {
    let milliseconds: f64 = root.optional("latency_budget_ms")?;
    let budget = Duration::try_from_secs_f64(milliseconds / 1000.0).ok().filter(|budget| !budget.is_zero());
    if budget.is_none() {
        root.problem_at("latency_budget_ms", "`latency_budget_ms` must be greater than 0");
    }
    budget
}

fn read_training(root: &Table<'_, '_>) -> BTreeMap<String, String> {
    let Some(table) = root.table("training") else { return BTreeMap::new() };
    let note = |name: String| table.optional::<Note>(&name).map(|note| (name, note.0));
    table.keys().into_iter().filter_map(note).collect()
}

/// A note on the training, as text.
struct Note(String);

impl FromToml for Note {
    const EXPECTED: &'static str = "a string, a number, a date, true or false";
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        match value {
            DeValue::String(text) => Some(Self(text.to_string())),
            DeValue::Integer(number) => Some(Self(number.to_string())),
            DeValue::Float(number) => Some(Self(number.to_string())),
            DeValue::Boolean(truth) => Some(Self(truth.to_string())),
            DeValue::Datetime(moment) => Some(Self(moment.to_string())),
            DeValue::Array(_) | DeValue::Table(_) => None,
        }
    }
}

impl FromToml for Class {
    const EXPECTED: &'static str = "a whole number or a string";
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        i64::from_toml(value).map(Self::Int).or_else(|| String::from_toml(value).map(Self::String))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PAIRWISE: &str = r#"kind = "propensity"
layout = "pairwise"
inputs = ["balance", "annual_fee", "segment"]
accepts_missing = true
latency_budget_ms = 12.5
[output]
name = "probabilities"
class = 1
[calibration]
method = "platt"
a = 1.2
b = -0.1
[gates]
psi_limit = 0.1
[training]
rows = 20_000
library = "LightGBM 4.6"
auc = 0.71
on = 2026-01-31
"#;

    fn problems(text: &str) -> String {
        Manifest::parse("propensity/1/model.toml", text).unwrap_err().to_string()
    }

    #[test]
    fn a_manifest_is_read_whole() {
        let manifest = Manifest::parse("model.toml", PAIRWISE).unwrap();
        assert_eq!((manifest.kind, manifest.layout), (ModelKind::Propensity, Some(Layout::Pairwise)));
        let names = ["balance", "annual_fee", "segment"].map(str::to_owned).to_vec();
        assert_eq!(manifest.inputs, Inputs::Dense(names));
        assert!(manifest.accepts_missing);
        assert_eq!(manifest.latency_budget, Some(Duration::from_micros(12_500)));
        assert_eq!(manifest.gates, GateLimits { psi: 0.1, ..GateLimits::default() });
        assert_eq!(manifest.output.as_deref(), Some("probabilities"));
        assert_eq!(manifest.class, Some(Class::Int(1)));
        assert_eq!(manifest.calibration, Calibration::Platt { a: 1.2, b: -0.1 });
        assert_eq!(manifest.training["rows"], "20000");
        assert_eq!(manifest.training["on"], "2026-01-31");
        assert_eq!(manifest.lines, Lines { inputs: 3, offers: 1, output: 7, class: 8, calibration: 9 });
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let text = PAIRWISE
            .replace("propensity", "propensty")
            .replace("\"segment\"", "\"balance\"")
            .replace("12.5", "0")
            .replace("psi_limit = 0.1", "psi_limit = -0.1")
            .replace("class = 1", "class = 1.5\nclas = 2")
            .replace("auc = 0.71", "auc = [0.71]");
        let found = problems(&text);
        for expected in [
            "propensity/1/model.toml:1: `kind` must be one of",
            "did you mean `propensity`?",
            "model.toml:3: feature `balance` comes twice in `inputs`",
            "model.toml:5: `latency_budget_ms` must be greater than 0",
            "[gates]: `psi_limit` must be greater than 0",
            "model.toml:8: [output]: `class` must be a whole number or a string",
            "model.toml:9: [output]: unknown key `clas`; did you mean `class`?",
            "[training]: `auc` must be a string, a number",
        ] {
            assert!(found.contains(expected), "{expected}\n--\n{found}");
        }
    }

    #[test]
    fn each_kind_and_layout_has_keys_of_its_own() {
        assert!(problems("").contains("`kind` is missing; give it one of propensity, recommendation"));
        assert!(problems("kind = 'value'\ninputs = ['a']").contains("`layout` is missing"));
        assert!(problems("kind = 'generic'").contains("`inputs` is missing"));
        assert!(problems("kind = 'generic'\ninputs = []").contains("at least one feature"));
        let listed = "kind = 'generic'\ninputs_layout = 'per_feature'\ninputs = ['a']";
        let listed = Manifest::parse("model.toml", listed).unwrap();
        assert_eq!(listed.inputs, Inputs::PerFeature(vec!["a".to_owned()]));
        assert!(problems("kind = 'generic'\nlayout = 'pairwise'\ninputs = ['a']").contains("means nothing"));
        let segmentation = problems("kind = 'segmentation'\ninputs = ['a']\n[calibration]\nmethod = 'none'");
        assert!(segmentation.contains("`inputs` means nothing for a segmentation model"), "{segmentation}");
        assert!(segmentation.contains("`calibration` means nothing"), "{segmentation}");
        assert!(Manifest::parse("model.toml", "kind = 'segmentation'").is_ok());
        let stray = "kind = 'propensity'\nlayout = 'pairwise'\ninputs = ['a']\noffers = ['x']";
        assert!(problems(stray).contains("`offers` means nothing"));
    }

    #[test]
    fn a_multi_offer_model_lists_its_columns() {
        let text = "kind = 'propensity'\nlayout = 'multi_offer'\ninputs = ['a']\n";
        assert!(problems(text).contains("`offers` is missing"));
        assert!(problems(&format!("{text}offers = []")).contains("the id of each column"));
        let found = problems(&format!("{text}offers = ['gold', 'a b', 'gold']\n[output]\nclass = 1"));
        assert!(found.contains("\"a b\" is no offer id"), "{found}");
        assert!(found.contains("offer `gold` comes twice in `offers`"), "{found}");
        assert!(found.contains("`class` means nothing for a multi_offer model"), "{found}");
        let manifest = Manifest::parse("model.toml", &format!("{text}offers = ['gold', 'blue']")).unwrap();
        assert_eq!(manifest.offers, ["gold", "blue"]);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in any::<String>()) {
            let _ = Manifest::parse("model.toml", &text);
        }

        #[test]
        fn no_damage_makes_the_reader_panic(at in any::<prop::sample::Index>(), put in "\\PC{0,3}", gone in 0_usize..9) {
            let at = at.index(PAIRWISE.len());
            let end = (at + gone).min(PAIRWISE.len());
            let text = format!("{}{put}{}", &PAIRWISE[..at], &PAIRWISE[end..]);
            let _ = Manifest::parse("model.toml", &text);
        }
    }
}
