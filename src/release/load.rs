//! Loading a release: parse its files, load its models, hold everything against everything else.

mod segmenter;
mod wants;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use self::segmenter::{AssignedSegment, Segmenter};
pub use self::wants::{CONSENT_PREFIX, ConsentFeature, WantedSet, Wants};
use super::{ReleaseFiles, Store, Workspace};
use crate::document::{Document, Problems, suggestion};
use crate::feature::FeatureSchema;
use crate::model::onnx::OnnxCache;
use crate::model::{Cost, Layout, Manifest, Model, ModelKind, Pairing, Worker};
use crate::offer::{self, Catalog, NamedModel, Placement, feature_rows};
use crate::priority::pause;
use crate::segment::{FILE_NAME, Segmentation};

/// The texts and pins of a release, from a store or a workspace.
#[derive(Debug, Clone)]
pub struct ReleaseSource<'a> {
    /// The release's number; 0 for a workspace that is only checked.
    pub number: u64,
    /// `features.toml`.
    pub features: &'a str,
    /// `offers.toml`.
    pub offers: &'a str,
    /// `policy.toml`.
    pub policy: &'a str,
    /// The directory whose children are the models.
    pub models_dir: PathBuf,
    /// The store that the release is in; `None` for a workspace.
    pub store: Option<&'a Store>,
    /// Model name → version.
    pub pins: &'a BTreeMap<String, u64>,
}

impl<'a> ReleaseSource<'a> {
    /// A release of a store.
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

    /// A workspace that is checked before it becomes a release.
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

/// Which model, and which of its columns, scores an offer at a placement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scorer {
    /// The model's position in [`Release::models`].
    pub model: usize,
    /// Its column; 0 for pairwise models.
    pub column: usize,
}

/// A release in memory, checked and ready to decide.
#[derive(Debug)]
pub struct Release {
    number: u64,
    schema: Arc<FeatureSchema>,
    catalog: Catalog,
    models: Vec<Arc<Model>>,
    /// placement × offer.
    scorers: Vec<Vec<Option<Scorer>>>,
    /// The offers made ready for each model, where it takes pairs and is served natively.
    pairings: Vec<Option<Pairing>>,
    /// Of a customer, by placement.
    costs: Vec<Cost>,
    /// Whether a model runs in ONNX Runtime, by placement.
    sessions: Vec<bool>,
    segmentation: Option<Segmenter>,
    wants: Wants,
    store: Option<Store>,
    pins: BTreeMap<String, u64>,
}

impl Release {
    /// Loads and checks a release. Models that `cache` holds already are shared, not loaded again.
    ///
    /// # Errors
    /// Everything that is wrong with the release, each with its file, line where there is one, and what to do.
    pub fn load(source: &ReleaseSource<'_>, cache: &OnnxCache) -> Result<Self, Problems> {
        let mut problems = Problems::new();
        let (offers, policy) = (("offers.toml", source.offers), ("policy.toml", source.policy));
        let Some(schema) = problems.absorb(FeatureSchema::parse("features.toml", source.features)) else {
            // Without features nothing of the other files can be judged but whether they are TOML at all.
            problems.absorb(Document::parse(offers.0, offers.1));
            problems.absorb(Document::parse(policy.0, policy.1));
            return Err(problems);
        };
        pause();
        let catalog = match offer::read(&schema, offers, policy) {
            Ok(catalog) => Some(catalog),
            Err(unsound) => {
                problems.extend(unsound.problems);
                unsound.catalog.map(|catalog| *catalog)
            }
        };
        pause();
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
        let scorers = assign_scorers(&catalog, &models, &segmentations, source.pins, &mut problems);
        let segmentation = choose_segmentation(&catalog, &mut segmentations, &models, &mut problems);
        let offers = feature_rows(catalog.library.offers());
        let pairing = |model: &Arc<Model>| {
            pause();
            model.pairing(&offers)
        };
        let pairings = models.iter().map(pairing).collect();
        drop(offers);
        pause();
        let costs = catalog.policy.placements.iter().map(|_| Cost::default()).collect();
        let runs = |scorer: &Scorer| models[scorer.model].needs_session();
        let sessions = scorers.iter().map(|row| row.iter().flatten().any(runs)).collect();
        let wants = Wants::new(&schema, &catalog, &models, &scorers, segmentation.as_ref());
        problems.into_result(Self {
            wants,
            pairings,
            costs,
            sessions,
            number: source.number,
            schema: Arc::new(schema),
            catalog,
            models,
            scorers,
            segmentation,
            store: source.store.cloned(),
            pins: source.pins.clone(),
        })
    }

    /// Scores one row of defaults with every session, so that the first customer does not pay for what graphs do once.
    /// Models that one of `known` has, too, have run already, and their sessions are in use: they are left alone.
    ///
    /// # Errors
    /// A graph that cannot run.
    pub fn warm_up(&self, sessions: usize, known: &[Arc<Self>]) -> Result<(), Problems> {
        let is_new = |model: &&Arc<Model>| {
            !known.iter().any(|release| release.pins.get(model.name()) == Some(&model.version()))
        };
        let workers = Worker::tokens(sessions);
        let mut problems = Problems::new();
        for model in self.models.iter().filter(is_new) {
            if let Err(error) = workers.iter().try_for_each(|worker| model.warm_up(worker)) {
                let file = format!("{}/{}", model.name(), model.version());
                problems.push(file, None, format!("cannot score a row: {error}"));
            }
        }
        problems.into_result(())
    }

    /// The release's number.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The feature schema, to be kept beyond the release where need be.
    #[must_use]
    pub fn schema(&self) -> &Arc<FeatureSchema> {
        &self.schema
    }

    /// Offers and policy.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The models that score, by name.
    #[must_use]
    pub fn models(&self) -> &[Arc<Model>] {
        &self.models
    }

    /// Model name → version, the segmentation's included.
    #[must_use]
    pub fn pins(&self) -> &BTreeMap<String, u64> {
        &self.pins
    }

    /// What scores `offer` at `placement`; `None` where its model has no column for it.
    #[must_use]
    pub fn scorer(&self, placement: usize, offer: usize) -> Option<Scorer> {
        self.scorers[placement][offer]
    }

    /// The offers of the library, by position, made ready for the model at a position; `None` where its rows are scored one by one.
    #[must_use]
    pub fn pairing(&self, model: usize) -> Option<&Pairing> {
        self.pairings.get(model)?.as_ref()
    }

    /// What a customer costs at a placement, to be measured whenever customers are decided.
    #[must_use]
    pub fn cost(&self, placement: usize) -> &Cost {
        &self.costs[placement]
    }

    /// Whether deciding at a placement may need a worker's sessions.
    #[must_use]
    pub fn needs_session(&self, placement: usize) -> bool {
        self.sessions[placement]
    }

    /// The segmentation, where the policy names one.
    #[must_use]
    pub fn segmentation(&self) -> Option<&Segmenter> {
        self.segmentation.as_ref()
    }

    /// What its decisions look at.
    #[must_use]
    pub fn wants(&self) -> &Wants {
        &self.wants
    }

    /// The store that the release is in, to tell what exists and is not loaded from what does not exist.
    #[must_use]
    pub fn store(&self) -> Option<&Store> {
        self.store.as_ref()
    }
}

/// A version in memory, of either sort.
#[derive(Debug)]
pub(super) enum Loaded {
    /// Scores.
    Model(Box<Model>),
    /// Assigns.
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
    cache: &OnnxCache,
) -> Result<Loaded, Problems> {
    let label = |file: &str| format!("{name}/{version}/{file}");
    let text = fs::read_to_string(directory.join("model.toml")).map_err(|error| {
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
    let json = fs::read(directory.join(FILE_NAME))
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

/// Which model scores each offer at each placement; refuses models that cannot, and scales that cannot be compared.
fn assign_scorers(
    catalog: &Catalog,
    models: &[Arc<Model>],
    segmentations: &BTreeMap<String, Segmenter>,
    pins: &BTreeMap<String, u64>,
    problems: &mut Problems,
) -> Vec<Vec<Option<Scorer>>> {
    let offers = catalog.library.offers();
    let mut scorers = vec![vec![None; offers.len()]; catalog.policy.placements.len()];
    for (placement, row) in catalog.policy.placements.iter().zip(&mut scorers) {
        // The position of each of the placement's models in the release.
        let mut positions = Vec::with_capacity(placement.models.len());
        for NamedModel { name, line } in &placement.models {
            let position = models.iter().position(|model| model.name() == name);
            positions.push(position);
            let wrong = match position.map(|position| &models[position]) {
                Some(model) if gives_propensity(model) => continue,
                None if !pins.contains_key(name) => {
                    let hint = suggestion(name, pins.keys().map(String::as_str));
                    format!("the release has no model `{name}`{hint}")
                }
                // A model that failed to load has been reported already.
                None if !segmentations.contains_key(name) => continue,
                Some(_) | None => format!(
                    "model `{name}` gives no propensity; its `kind` must be propensity or recommendation"
                ),
            };
            problems.push("policy.toml", Some(*line), format!("placement `{}`: {wrong}", placement.id));
        }
        for candidate in &placement.candidates {
            let Some(position) = positions[candidate.model] else { continue };
            let model = &models[position];
            let column = match model.manifest().layout {
                Some(Layout::Pairwise) => Some(0),
                Some(Layout::MultiOffer | Layout::PerOffer) => {
                    let id = &*offers[candidate.offer].id;
                    model.columns().iter().position(|column| column == id)
                }
                None => None,
            };
            row[candidate.offer] = column.map(|column| Scorer { model: position, column });
        }
        refuse_mixed_scales(placement, row, models, problems);
    }
    scorers
}

fn gives_propensity(model: &Model) -> bool {
    matches!(model.manifest().kind, ModelKind::Propensity | ModelKind::Recommendation)
}

/// Propensity × value is meaningless across models on different scales: where several models compete, each must be calibrated.
fn refuse_mixed_scales(
    placement: &Placement,
    scorers: &[Option<Scorer>],
    models: &[Arc<Model>],
    problems: &mut Problems,
) {
    let used: BTreeSet<usize> = scorers.iter().flatten().map(|scorer| scorer.model).collect();
    if used.len() < 2 {
        return;
    }
    for model in used.iter().map(|position| &models[*position]).filter(|model| !model.is_calibrated()) {
        let (name, version) = (model.name(), model.version());
        let message = format!(
            "placement `{}` uses {} models, and `{name}` is not calibrated: propensities on different scales cannot be \
             compared; calibrate it in {name}/{version}/model.toml or use one model",
            placement.id,
            used.len(),
        );
        let line = placement.models.iter().find(|named| named.name == name).map(|named| named.line);
        problems.push("policy.toml", line, message);
    }
}
