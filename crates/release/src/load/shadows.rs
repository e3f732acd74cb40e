//! The models of shadows: versions that decide beside the answers.
//!
//! No answer needs them. So what is wrong with a shadow makes that shadow unavailable, and never the release: a review
//! refuses a new release with such a shadow, and a server that loads one serves without it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::variants::{Replacement, Unusable};
use super::{ModelIndex, Release, Scorer};
use document::Problems;
use experiment::{ModelVersion, Shadow};
use model::Model;
use offer::{Catalog, Placement, PlacementIndex};
use work::catch_panic;

/// Versions that shadows do without, by name and version: why, each with its file.
pub(crate) type Unfit = BTreeMap<(String, u64), Problems>;

/// A shadow of a release in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoadedShadow {
    /// It can decide.
    Ready {
        /// The versions that it puts in the place of pinned ones. One that is pinned replaces itself: it takes the
        /// place of that of a variant.
        replacements: Vec<Replacement>,
    },
    /// It cannot decide, and the release serves without it.
    Unavailable {
        /// Everything that is wrong with it, each with its file, and its line where there is one.
        reason: Problems,
    },
}

impl LoadedShadow {
    /// Whether it can decide.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Ready { .. })
    }

    /// Makes it unavailable if it has this model, with which something is wrong.
    pub(super) fn lose(&mut self, model: ModelIndex, reason: &Problems) {
        if let Self::Ready { replacements } = &*self
            && replacements.iter().any(|replaced| replaced.by == model)
        {
            tracing::warn!(%reason, "a shadow is not scored; answers do not need it");
            *self = Self::Unavailable { reason: reason.clone() };
        }
    }
}

impl Release {
    /// Its shadows, each by its index among those of [`Release::experiments`].
    #[must_use]
    pub fn shadows(&self) -> &[LoadedShadow] {
        &self.shadows
    }

    /// The indices of the shadows that are ready and hold at a placement.
    pub fn shadows_at(&self, placement: PlacementIndex) -> impl Iterator<Item = usize> {
        let all = self.catalog.experiments.shadows.iter().zip(&self.shadows).enumerate();
        all.filter_map(move |(index, (shadow, loaded))| {
            (loaded.is_ready() && shadow.is_at(placement.get())).then_some(index)
        })
    }

    /// The models that may decide an answer: all but those of shadows alone. Each has the same index among
    /// [`Release::models`].
    #[must_use]
    pub fn deciding_models(&self) -> &[Arc<Model>] {
        &self.models[..self.deciding]
    }

    /// The versions that could not be run for its shadows.
    pub(crate) fn unfit(&self) -> &Unfit {
        &self.unfit
    }

    /// Remembers what could not be run for the shadows of other releases, so that it is not tried again.
    pub(crate) fn keep_unfit(&mut self, known: Unfit) {
        self.unfit.extend(known);
    }
}

/// Loads the versions that shadows name behind the other `models`, each once by `version_of`, but for those that are
/// `unfit`. The first `pinned` of the models are those that the release pins.
pub(super) fn load(
    catalog: &Catalog,
    unfit: &Unfit,
    pinned: usize,
    models: &mut Vec<Arc<Model>>,
    version_of: impl Fn(&str, u64) -> Result<Model, Unusable>,
) -> Vec<LoadedShadow> {
    let has_segments = catalog.policy.segmentation.is_some();
    let load = |shadow: &Shadow| {
        let (before, mut replacements, mut reason) = (models.len(), Vec::new(), Problems::new());
        for ModelVersion { name, version, line } in &shadow.changes.models {
            // A model that is not among the pinned ones has been reported, with the placement that needs it.
            let of_name = models.iter().take(pinned).position(|model| model.name() == name);
            let Some(position) = of_name else { continue };
            let is_it = |model: &Arc<Model>| model.name() == name && model.version() == *version;
            let known = models.iter().position(is_it);
            let found = match known {
                Some(known) => Ok(known),
                None => match unfit.get(&(name.clone(), *version)) {
                    Some(why) => Err(Unusable::Inside(why.clone())),
                    None => contained(|| version_of(name, *version)).map(|model| {
                        models.push(Arc::new(model));
                        models.len() - 1
                    }),
                },
            };
            let mut report = |message: String| {
                let message = format!("shadow `{}`: {message}", shadow.id);
                reason.push("policy.toml", Some(*line), message);
            };
            match found {
                Ok(by) if models[by].uses_segment() && !has_segments => report(format!(
                    "version {version} of model `{name}` takes `segment`, but policy.toml names no `segmentation`"
                )),
                Ok(by) => replacements
                    .push(Replacement { pinned: ModelIndex::new(position), by: ModelIndex::new(by) }),
                Err(Unusable::Here(message)) => report(message),
                Err(Unusable::Inside(found)) => reason.extend(found),
            }
        }
        if reason.is_empty() {
            return LoadedShadow::Ready { replacements };
        }
        // What it has loaded before something was wrong is of no use.
        models.truncate(before);
        LoadedShadow::Unavailable { reason }
    };
    catalog.experiments.shadows.iter().map(load).collect()
}

/// What loading a shadow's version gives. A panic is one more reason why it is of no use: no answer needs it.
fn contained(load: impl FnOnce() -> Result<Model, Unusable>) -> Result<Model, Unusable> {
    catch_panic(load)
        .unwrap_or_else(|panicked| Err(Unusable::Here(format!("it cannot be loaded: {panicked}"))))
}

/// What `work` gives for a model that shadows alone have. If it panics, they are unavailable: no answer needs it.
pub(super) fn attempt<T>(
    shadows: &mut [LoadedShadow],
    (index, model): (ModelIndex, &Model),
    work: impl FnOnce() -> T,
) -> Option<T> {
    let done = catch_panic(work);
    if let Err(panicked) = &done {
        let file = format!("{}/{}", model.name(), model.version());
        let reason = Problems::one(file, None, format!("cannot be prepared: {panicked}"));
        for shadow in shadows.iter_mut() {
            shadow.lose(index, &reason);
        }
    }
    done.ok()
}

/// Makes shadows unavailable whose versions are not calibrated and compete with other models, or with priors: see
/// `refuse_mixed_scales` of variants and of priors.
pub(super) fn refuse_mixed_scales(
    catalog: &Catalog,
    models: &[Arc<Model>],
    scorers: &[Vec<Option<Scorer>>],
    shadows: &mut [LoadedShadow],
) {
    for (shadow, loaded) in catalog.experiments.shadows.iter().zip(shadows) {
        let LoadedShadow::Ready { replacements } = &*loaded else { continue };
        let mut reason = Problems::new();
        let here = scorers.iter().enumerate().filter(|(placement, _)| shadow.is_at(*placement));
        for (placement, row) in here.map(|(index, row)| (PlacementIndex::new(index), row)) {
            let used: BTreeSet<ModelIndex> = row.iter().flatten().map(|scorer| scorer.model).collect();
            let placement = catalog.policy.placement(placement);
            let why = if used.len() > 1 {
                "uses several models"
            } else if has_prior(catalog, placement) {
                "shows an offer with a prior"
            } else {
                continue;
            };
            for Replacement { pinned, by } in replacements {
                let model = &models[by.get()];
                if !used.contains(pinned) || model.is_calibrated() {
                    continue;
                }
                let (name, version) = (model.name(), model.version());
                let named = shadow.changes.models.iter().find(|one| one.name == name);
                let message = format!(
                    "shadow `{}`: placement `{}` {why}, and version {version} of `{name}` is not calibrated: \
                     propensities on different scales cannot be compared; calibrate it in {name}/{version}/model.toml",
                    shadow.id, placement.id,
                );
                reason.push("policy.toml", named.map(|named| named.line), message);
            }
        }
        if !reason.is_empty() {
            *loaded = LoadedShadow::Unavailable { reason };
        }
    }
}

/// Whether a candidate of a placement has a prior.
fn has_prior(catalog: &Catalog, placement: &Placement) -> bool {
    let with_prior = catalog.experiments.newcomers.iter().filter(|(_, newcomer)| newcomer.prior.is_some());
    let mut offers = with_prior.map(|(offer, _)| *offer);
    offers.any(|offer| placement.candidates.iter().any(|candidate| candidate.offer.get() == offer))
}
