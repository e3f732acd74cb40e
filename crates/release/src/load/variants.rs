//! The models of variants: versions that decide for an arm of an experiment, in the place of those that the release
//! pins.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::scorers::gives_propensity;
use super::{Loaded, ModelIndex, ReleaseSource, Scorer, load_version};
use document::Problems;
use experiment::{Experiment, ModelVersion, State};
use feature::FeatureSchema;
use model::{GraphCache, Layout, Model};
use offer::{Catalog, OfferIndex, PlacementIndex, Rule};

/// A version that a variant or a shadow puts in the place of another one of the same model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replacement {
    /// The version that the release pins.
    pub pinned: ModelIndex,
    /// The version that scores instead.
    pub by: ModelIndex,
}

/// What each variant replaces: experiment × variant.
pub(super) type Replacements = Vec<Vec<Vec<Replacement>>>;

/// Loads the versions that variants name behind the pinned `models`, each once. Those of experiments that are over are
/// not loaded. Every version that is missing or cannot decide is a problem of the line that names it.
pub(super) fn load(
    catalog: &Catalog,
    source: &ReleaseSource<'_>,
    schema: &FeatureSchema,
    cache: &GraphCache,
    models: &mut Vec<Arc<Model>>,
    problems: &mut Problems,
) -> Replacements {
    let pinned = models.len();
    let mut known: BTreeMap<(String, u64), Option<ModelIndex>> = BTreeMap::new();
    let mut replacements = Vec::with_capacity(catalog.experiments.all.len());
    for experiment in &catalog.experiments.all {
        let mut of_experiment = vec![Vec::new(); experiment.variants.len()];
        for (variant, replaced) in experiment.variants.iter().zip(&mut of_experiment) {
            for ModelVersion { name, version, line } in &variant.changes.models {
                // A model that is not among the pinned ones has been reported, with the placement that needs it.
                let of_name = models.iter().take(pinned).position(|model| model.name() == name);
                let Some(position) = of_name.filter(|_| experiment.state != State::Stopped) else { continue };
                if models[position].version() == *version {
                    continue;
                }
                let mut report = |message: String| {
                    let (experiment, variant) = (&experiment.id, &variant.id);
                    let message = format!("experiment `{experiment}` variant `{variant}`: {message}");
                    problems.push("policy.toml", Some(*line), message);
                };
                let key = (name.clone(), *version);
                let by = match known.get(&key) {
                    Some(by) => *by,
                    None => {
                        let by = match version_of(source, name, *version, schema, cache) {
                            Ok(model) => {
                                models.push(Arc::new(model));
                                Some(ModelIndex::new(models.len() - 1))
                            }
                            Err(Unusable::Here(message)) => {
                                report(message);
                                None
                            }
                            Err(Unusable::Inside(found)) => {
                                problems.extend(found);
                                None
                            }
                        };
                        known.insert(key, by);
                        by
                    }
                };
                replaced.extend(by.map(|by| Replacement { pinned: ModelIndex::new(position), by }));
            }
        }
        replacements.push(of_experiment);
    }
    replacements
}

/// Why a version cannot decide.
pub(super) enum Unusable {
    /// What is wrong with naming it.
    Here(String),
    /// What is wrong with the version.
    Inside(Problems),
}

/// Loads a version that takes the place of a pinned one.
///
/// # Errors
/// Why it cannot.
pub(super) fn version_of(
    source: &ReleaseSource<'_>,
    name: &str,
    version: u64,
    schema: &FeatureSchema,
    cache: &GraphCache,
) -> Result<Model, Unusable> {
    let directory = source.models_dir.join(name).join(version.to_string());
    if !directory.join("model.toml").is_file() {
        return Err(Unusable::Here(format!(
            "there is no version {version} of model `{name}`; push it first or name another one"
        )));
    }
    match load_version(&directory, name, version, schema, cache) {
        Ok(Loaded::Model(model)) if gives_propensity(&model) => Ok(*model),
        Ok(Loaded::Model(_) | Loaded::Segmentation(_)) => Err(Unusable::Here(format!(
            "version {version} of model `{name}` gives no propensity; its `kind` must be propensity or recommendation"
        ))),
        Err(found) => Err(Unusable::Inside(found)),
    }
}

/// The column of each model that scores each offer: model × offer.
pub(super) fn columns(catalog: &Catalog, models: &[Arc<Model>]) -> Vec<Vec<Option<usize>>> {
    let of_offer = |model: &Model, id: &str| match model.manifest().layout {
        Some(Layout::Pairwise) => Some(0),
        Some(Layout::MultiOffer | Layout::PerOffer) => model.columns().iter().position(|column| column == id),
        None => None,
    };
    let of_model = |model: &Arc<Model>| {
        catalog.library.offers().iter().map(|offer| of_offer(model, &offer.id)).collect()
    };
    models.iter().map(of_model).collect()
}

/// Refuses a variant's version without calibration where several models compete: see `refuse_mixed_scales`.
pub(super) fn refuse_mixed_scales(
    catalog: &Catalog,
    models: &[Arc<Model>],
    scorers: &[Vec<Option<Scorer>>],
    replacements: &Replacements,
    problems: &mut Problems,
) {
    for (placement, row) in scorers.iter().enumerate() {
        let used = |model: ModelIndex| row.iter().flatten().any(|scorer| scorer.model == model);
        let several =
            row.iter().flatten().any(|scorer| row.iter().flatten().any(|one| one.model != scorer.model));
        if !several {
            continue;
        }
        for (experiment, replaced) in catalog.experiments.all.iter().zip(replacements) {
            if !experiment.is_at(placement) {
                continue;
            }
            for (variant, replaced) in experiment.variants.iter().zip(replaced) {
                for Replacement { pinned, by } in replaced {
                    let model = &models[by.get()];
                    if !used(*pinned) || model.is_calibrated() {
                        continue;
                    }
                    let (name, version) = (model.name(), model.version());
                    let line = variant.changes.models.iter().find(|one| one.name == name).map(|one| one.line);
                    let message = format!(
                        "experiment `{}` variant `{}`: placement `{}` uses several models, and version {version} of \
                         `{name}` is not calibrated: propensities on different scales cannot be compared; calibrate it \
                         in {name}/{version}/model.toml",
                        experiment.id,
                        variant.id,
                        catalog.policy.placement(PlacementIndex::new(placement)).id,
                    );
                    problems.push("policy.toml", line, message);
                }
            }
        }
    }
}

/// What the experiments at a placement, of those that `counts` accepts, may put in the place of its models.
pub(super) fn at_placement<'a>(
    catalog: &'a Catalog,
    replacements: &'a Replacements,
    placement: usize,
    counts: fn(&Experiment<Rule>) -> bool,
) -> impl Iterator<Item = Replacement> + 'a {
    let experiments = catalog.experiments.all.iter().zip(replacements);
    let here = experiments.filter(move |(experiment, _)| experiment.is_at(placement) && counts(experiment));
    here.flat_map(|(_, variants)| variants.iter().flatten().copied())
}

/// The scorer of an offer where `by` takes the place of its model; `None` if that has no column for it.
pub(super) fn scorer(columns: &[Vec<Option<usize>>], by: ModelIndex, offer: OfferIndex) -> Option<Scorer> {
    let column = columns[by.get()][offer.get()]?;
    Some(Scorer { model: by, column })
}
