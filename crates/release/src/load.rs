//! Loading a release: parse its files, load its models, check everything against everything else.

mod priors;
mod scorers;
mod segmenter;
mod shadows;
#[cfg(test)]
mod tests;
mod usage;
mod variants;
mod warm_up;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use self::segmenter::{AssignedSegment, Segmenter};
pub use self::shadows::LoadedShadow;
pub(crate) use self::shadows::Unfit;
pub use self::usage::{CONSENT_PREFIX, ConsentFeature, FeatureUsage, UsedFeatures};
pub use self::variants::Replacement;
use super::{ReleaseFiles, Store, Workspace};
use document::{Document, Problems, suggestion};
use experiment::{Experiment, Experiments, OfferKey};
use feature::FeatureSchema;
use model::GraphCache;
use model::onnx::OnnxRuntime;
use model::{
    MAX_MANIFEST_BYTES, MAX_SEGMENTS_BYTES, Manifest, Model, ModelKind, Pairing, read_at_most,
    read_text_at_most,
};
use offer::{Catalog, NamedModel, OfferIndex, Placement, PlacementIndex, Rule, feature_rows};
use scorers::assign_scorers;
use segment::{FILE_NAME, Segmentation};
use telemetry::OfferCounts;
use work::Cost;
use work::priority::yield_if_due;

/// The texts and pins of a release, from a store or a workspace.
#[derive(Debug, Clone)]
pub struct ReleaseSource<'a> {
    /// The release's number; 0 for a workspace that is only checked.
    pub number: u64,
    /// The text of `features.toml`.
    pub features: &'a str,
    /// The text of `offers.toml`.
    pub offers: &'a str,
    /// The text of `policy.toml`.
    pub policy: &'a str,
    /// The directory whose children are the models.
    pub models_dir: PathBuf,
    /// The store of the release; `None` for a workspace.
    pub store: Option<&'a Store>,
    /// Model name → version.
    pub pins: &'a BTreeMap<String, u64>,
}

impl<'a> ReleaseSource<'a> {
    /// The source of a stored release.
    #[must_use]
    pub fn of_store(store: &'a Store, files: &'a ReleaseFiles) -> Self {
        Self {
            number: files.record.number,
            features: &files.features,
            offers: &files.offers,
            policy: &files.policy,
            models_dir: store.models_dir().to_owned(),
            store: Some(store),
            pins: &files.record.models,
        }
    }

    /// The source of a workspace that is checked before it becomes a release.
    #[must_use]
    pub fn of_workspace(workspace: &'a Workspace) -> Self {
        Self {
            number: 0,
            features: &workspace.features,
            offers: &workspace.offers,
            policy: &workspace.policy,
            models_dir: workspace.models_dir().to_owned(),
            store: None,
            pins: &workspace.models,
        }
    }
}

/// The position of a model among those of a release ([`Release::models`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelIndex(usize);

impl ModelIndex {
    /// The position `index`.
    #[must_use]
    pub fn new(index: usize) -> Self {
        Self(index)
    }

    /// The position in a list that has an entry for each model.
    #[must_use]
    pub fn get(self) -> usize {
        self.0
    }
}

/// The model, and its column, that scores an offer at a placement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scorer {
    /// The model.
    pub model: ModelIndex,
    /// Its column; 0 for pairwise models.
    pub column: usize,
}

/// Whether decisions at a placement may need the sessions of a worker.
#[derive(Debug, Clone, Copy)]
struct SessionNeeds {
    /// Of calls that force no variant.
    unforced: bool,
    /// Of calls that do.
    forced: bool,
}

/// A release in memory, checked and ready to decide.
#[derive(Debug)]
pub struct Release {
    number: u64,
    schema: Arc<FeatureSchema>,
    catalog: Catalog,
    /// The pinned ones by name, then those of variants, then those of shadows alone.
    models: Vec<Arc<Model>>,
    /// How many of the models are pinned.
    pinned: usize,
    /// How many of the models may decide an answer.
    deciding: usize,
    /// Placement × offer.
    scorers: Vec<Vec<Option<Scorer>>>,
    /// Experiment × variant.
    replacements: variants::Replacements,
    /// By shadow.
    shadows: Vec<LoadedShadow>,
    /// What could not be run for shadows.
    unfit: Unfit,
    /// Model × offer.
    columns: Vec<Vec<Option<usize>>>,
    /// For each model, its offers prepared for scoring; `None` unless it is pairwise and the native engine serves it.
    pairings: Vec<Option<Pairing>>,
    /// The measured cost of one customer, by placement.
    costs: Vec<Cost>,
    /// Whether ONNX Runtime runs one of the models that may decide, by placement.
    sessions: Vec<SessionNeeds>,
    /// By placement.
    offer_counts: Vec<Arc<OfferCounts>>,
    segmentation: Option<Segmenter>,
    /// By offer.
    offer_keys: Vec<OfferKey>,
    /// Whether an offer is mandatory.
    has_mandatory: bool,
    usage: FeatureUsage,
    pins: BTreeMap<String, u64>,
}

impl Release {
    /// Loads and checks a release. Graphs that `cache` holds already are shared, not loaded again. A shadow that cannot
    /// be loaded is no error here, since no answer needs it: see [`Release::shadows`].
    ///
    /// # Errors
    /// Everything that is wrong with the release, each with its file, line where there is one, and what to do.
    pub fn load(source: &ReleaseSource<'_>, cache: &GraphCache) -> Result<Self, Problems> {
        Self::load_without(source, cache, &Unfit::default())
    }

    /// As [`Release::load`]; shadows that need one of the `unfit` versions are unavailable.
    pub(crate) fn load_without(
        source: &ReleaseSource<'_>,
        cache: &GraphCache,
        unfit: &Unfit,
    ) -> Result<Self, Problems> {
        let mut problems = Problems::new();
        let (offers, policy) = (("offers.toml", source.offers), ("policy.toml", source.policy));
        let Some(schema) = problems.absorb(FeatureSchema::parse("features.toml", source.features)) else {
            // Without the feature schema, the other files can only be checked for TOML syntax.
            problems.absorb(Document::parse(offers.0, offers.1));
            problems.absorb(Document::parse(policy.0, policy.1));
            return Err(problems);
        };
        yield_if_due();
        let catalog = match offer::read(&schema, offers, policy) {
            Ok(catalog) => Some(catalog),
            Err(unsound) => {
                problems.extend(unsound.problems);
                unsound.catalog.map(|catalog| *catalog)
            }
        };
        yield_if_due();
        let mut models = Vec::new();
        let mut segmentations = BTreeMap::new();
        for (name, version) in source.pins {
            let directory = source.models_dir.join(name).join(version.to_string());
            match load_version(&directory, name, *version, &schema, cache) {
                Ok(Loaded::Model(model)) => models.push(Arc::new(*model)),
                Ok(Loaded::Segmentation(segmentation)) => {
                    segmentations.insert(name.clone(), *segmentation);
                }
                Err(found) => problems.extend(found),
            }
        }
        let Some(catalog) = catalog else { return problems.into_result(()).and(Err(Problems::new())) };
        let pinned = models.len();
        let replacements = variants::load(&catalog, source, &schema, cache, &mut models, &mut problems);
        let deciding = models.len();
        let version_of = |name: &str, version| variants::version_of(source, name, version, &schema, cache);
        let mut shadows = shadows::load(&catalog, unfit, pinned, &mut models, version_of);
        let columns = variants::columns(&catalog, &models);
        let of_pins = &models[..pinned];
        let scorers = assign_scorers(&catalog, of_pins, &columns, &segmentations, source.pins, &mut problems);
        variants::refuse_mixed_scales(&catalog, &models, &scorers, &replacements, &mut problems);
        priors::refuse_mixed_scales(&catalog, &models, &scorers, &replacements, source.offers, &mut problems);
        shadows::refuse_mixed_scales(&catalog, &models, &scorers, &mut shadows);
        let segmentation =
            choose_segmentation(&catalog, &mut segmentations, &models[..deciding], &mut problems);
        let offers = feature_rows(catalog.library.offers());
        let pairing = |(index, model): (usize, &Arc<Model>)| {
            yield_if_due();
            let pair = || model.pairing(&offers);
            if index < deciding {
                return pair();
            }
            shadows::attempt(&mut shadows, (ModelIndex::new(index), &**model), pair).flatten()
        };
        let pairings = models.iter().enumerate().map(pairing).collect();
        drop(offers);
        yield_if_due();
        let costs = catalog.policy.placements.iter().map(|_| Cost::default()).collect();
        let offer_counts = count_offers(&catalog);
        let runs = |model: ModelIndex| models[model.get()].needs_session();
        let needs = |(placement, row): (usize, &Vec<Option<Scorer>>)| {
            let is_needed = |counts| {
                let mut replaced = variants::at_placement(&catalog, &replacements, placement, counts);
                row.iter().flatten().any(|scorer| runs(scorer.model))
                    || replaced.any(|replaced| runs(replaced.by))
            };
            SessionNeeds {
                unforced: is_needed(Experiment::assigns),
                forced: is_needed(|experiment| experiment.state.may_force()),
            }
        };
        let sessions = scorers.iter().enumerate().map(needs).collect();
        let scoring = usage::Scoring { models: &models, scorers: &scorers, replacements: &replacements };
        let usage = FeatureUsage::new(&schema, &catalog, &scoring, segmentation.as_ref());
        let offer_keys = catalog.library.offers().iter().map(|offer| OfferKey::of(&offer.id)).collect();
        let has_mandatory = catalog.library.offers().iter().any(|offer| offer.mandatory);
        problems.into_result(Self {
            offer_keys,
            has_mandatory,
            usage,
            pairings,
            costs,
            sessions,
            offer_counts,
            number: source.number,
            schema: Arc::new(schema),
            catalog,
            models,
            pinned,
            deciding,
            scorers,
            replacements,
            shadows,
            unfit: Unfit::default(),
            columns,
            segmentation,
            pins: source.pins.clone(),
        })
    }

    /// The release's number.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The feature schema, shared so that it can outlive the release.
    #[must_use]
    pub fn schema(&self) -> &Arc<FeatureSchema> {
        &self.schema
    }

    /// Offers and policy.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Experiments, the holdout and exploration.
    #[must_use]
    pub fn experiments(&self) -> &Experiments<Rule> {
        &self.catalog.experiments
    }

    /// The models that score: those that it pins by name, then those of variants, then those of shadows alone.
    #[must_use]
    pub fn models(&self) -> &[Arc<Model>] {
        &self.models
    }

    /// The models that it pins, by name; each has the same index among [`Release::models`].
    #[must_use]
    pub fn pinned_models(&self) -> &[Arc<Model>] {
        &self.models[..self.pinned]
    }

    /// A version among the models, pinned, of a variant or of a shadow.
    #[must_use]
    pub fn find_model(&self, name: &str, version: u64) -> Option<ModelIndex> {
        let is_it = |model: &Arc<Model>| model.name() == name && model.version() == version;
        self.models.iter().position(is_it).map(ModelIndex::new)
    }

    /// The versions that a variant puts in the place of pinned ones, by index of experiment and variant.
    ///
    /// # Panics
    /// If the release has no such variant.
    #[must_use]
    pub fn replacements(&self, experiment: usize, variant: usize) -> &[Replacement] {
        &self.replacements[experiment][variant]
    }

    /// The model and column that score an offer where `by` takes the place of its model; `None` where that has no column
    /// for it.
    #[must_use]
    pub fn scorer_by(&self, by: ModelIndex, offer: OfferIndex) -> Option<Scorer> {
        variants::scorer(&self.columns, by, offer)
    }

    /// The model at an index.
    ///
    /// # Panics
    /// If the index belongs to another release.
    #[must_use]
    pub fn model(&self, index: ModelIndex) -> &Arc<Model> {
        &self.models[index.get()]
    }

    /// Model name → version, the segmentation's included.
    #[must_use]
    pub fn pins(&self) -> &BTreeMap<String, u64> {
        &self.pins
    }

    /// The model and column that score `offer` at `placement`; `None` where its model has no column for it.
    #[must_use]
    pub fn scorer(&self, placement: PlacementIndex, offer: OfferIndex) -> Option<Scorer> {
        self.scorers[placement.get()][offer.get()]
    }

    /// What the noise of each offer is drawn with, by offer.
    #[must_use]
    pub fn offer_keys(&self) -> &[OfferKey] {
        &self.offer_keys
    }

    /// Whether one of its offers is mandatory.
    #[must_use]
    pub fn has_mandatory(&self) -> bool {
        self.has_mandatory
    }

    /// The library's offers, by position, prepared for a model; `None` where the model scores row by row.
    #[must_use]
    pub fn pairing(&self, model: ModelIndex) -> Option<&Pairing> {
        self.pairings.get(model.get())?.as_ref()
    }

    /// The cost of a customer at a placement; callers measure it with every decision.
    #[must_use]
    pub fn cost(&self, placement: PlacementIndex) -> &Cost {
        &self.costs[placement.get()]
    }

    /// Whether a decision at a placement may need a worker's sessions. A request that `forces` variants may reach models
    /// of experiments that assign nobody otherwise, such as drafts.
    #[must_use]
    pub fn needs_session(&self, placement: PlacementIndex, forces: bool) -> bool {
        let needs = self.sessions[placement.get()];
        if forces { needs.forced } else { needs.unforced }
    }

    /// Counts how often the offers of a placement were considered and shown; callers count with every decision.
    #[must_use]
    pub fn offer_counts(&self, placement: PlacementIndex) -> &OfferCounts {
        &self.offer_counts[placement.get()]
    }

    /// The counts of every placement.
    pub(super) fn all_offer_counts(&self) -> &[Arc<OfferCounts>] {
        &self.offer_counts
    }

    /// The segmentation, if the policy names one.
    #[must_use]
    pub fn segmentation(&self) -> Option<&Segmenter> {
        self.segmentation.as_ref()
    }

    /// The features and consents that its decisions use.
    #[must_use]
    pub fn feature_usage(&self) -> &FeatureUsage {
        &self.usage
    }
}

/// Empty counts, by placement.
fn count_offers(catalog: &Catalog) -> Vec<Arc<OfferCounts>> {
    let named = |offer: OfferIndex| (offer.get(), Arc::clone(&catalog.library.get(offer).id));
    let of = |placement: &Placement| {
        let candidates = placement.candidates.iter().map(|candidate| named(candidate.offer));
        Arc::new(OfferCounts::new(placement.id.as_str(), candidates, placement.fallback.map(named)))
    };
    catalog.policy.placements.iter().map(of).collect()
}

/// Gives `runtime` the facts that the gates found about the graphs of these versions, so that loading need not verify
/// them. Without readable facts, as for versions that older servers judged, loading verifies the graphs itself.
pub(super) fn trust(store: &Store, versions: &BTreeSet<(String, u64)>, runtime: &OnnxRuntime) {
    for (name, version) in versions {
        match store.judged(name, *version) {
            Ok(Some((verdict, evidence))) if verdict.passed => runtime.trust(evidence.graphs),
            Ok(_) => {}
            Err(error) => tracing::debug!(model = name, version, %error, "the verdict cannot be read"),
        }
    }
}

/// A version in memory, of either sort.
#[derive(Debug)]
pub(super) enum Loaded {
    Model(Box<Model>),
    Segmentation(Box<Segmenter>),
}

/// Loads the version in `directory` and checks it against `schema`.
///
/// # Errors
/// Everything that is wrong, under the name `<name>/<version>/<file>`.
pub(super) fn load_version(
    directory: &Path,
    name: &str,
    version: u64,
    schema: &FeatureSchema,
    cache: &GraphCache,
) -> Result<Loaded, Problems> {
    let label = |file: &str| format!("{name}/{version}/{file}");
    let text = read_text_at_most(&directory.join("model.toml"), MAX_MANIFEST_BYTES).map_err(|error| {
        Problems::one(label("model.toml"), None, format!("cannot be read: {error}; the release pins it"))
    })?;
    let manifest = Manifest::parse(&label("model.toml"), &text)?;
    if manifest.kind != ModelKind::Segmentation {
        let model = Model::load(directory, name, version, schema, cache)?;
        return Ok(Loaded::Model(Box::new(model)));
    }
    if !manifest.checksums.is_empty() {
        manifest.checksums.verify(directory, &format!("{name}/{version}"))?;
    }
    let file = label(FILE_NAME);
    let json = read_at_most(&directory.join(FILE_NAME), MAX_SEGMENTS_BYTES)
        .map_err(|error| Problems::one(file.as_str(), None, format!("cannot be read: {error}")))?;
    let segmentation = Segmentation::parse(&file, &json)?;
    Segmenter::bind(&file, segmentation, schema).map(|bound| Loaded::Segmentation(Box::new(bound)))
}

fn choose_segmentation(
    catalog: &Catalog,
    segmentations: &mut BTreeMap<String, Segmenter>,
    models: &[Arc<Model>],
    problems: &mut Problems,
) -> Option<Segmenter> {
    if let Some(NamedModel { name, line }) = &catalog.policy.segmentation {
        let found = segmentations.remove(name);
        if found.is_none() && !problems.iter().any(|problem| problem.file.starts_with(&format!("{name}/"))) {
            let hint = suggestion(name, segmentations.keys().map(String::as_str));
            let message = format!("`segmentation`: the release has no segmentation `{name}`{hint}");
            problems.push("policy.toml", Some(*line), message);
        }
        return found;
    }
    for model in models.iter().filter(|model| model.uses_segment()) {
        let file = format!("{}/{}/model.toml", model.name(), model.version());
        let message = "takes `segment`, but policy.toml names no `segmentation`";
        problems.push(file, None, message);
    }
    None
}
