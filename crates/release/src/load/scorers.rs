//! Which model scores which offer at which placement, among the versions that a release pins.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{ModelIndex, Scorer, Segmenter, variants};
use document::{Problems, suggestion};
use model::{Model, ModelKind};
use offer::{Catalog, NamedModel, Placement};

/// The model that scores each offer at each placement. Refuses models that cannot, and scales that cannot be
/// compared.
pub(super) fn assign_scorers(
    catalog: &Catalog,
    models: &[Arc<Model>],
    columns: &[Vec<Option<usize>>],
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
            row[candidate.offer.get()] =
                variants::scorer(columns, ModelIndex::new(position), candidate.offer);
        }
        refuse_mixed_scales(placement, row, models, problems);
    }
    scorers
}

/// Whether a model can score the offers of a placement.
pub(super) fn gives_propensity(model: &Model) -> bool {
    matches!(model.manifest().kind, ModelKind::Propensity | ModelKind::Recommendation)
}

/// Propensity × value is meaningless across models on different scales. So where several models compete, each must be
/// calibrated.
fn refuse_mixed_scales(
    placement: &Placement,
    scorers: &[Option<Scorer>],
    models: &[Arc<Model>],
    problems: &mut Problems,
) {
    let used: BTreeSet<ModelIndex> = scorers.iter().flatten().map(|scorer| scorer.model).collect();
    if used.len() < 2 {
        return;
    }
    for model in used.iter().map(|model| &models[model.get()]).filter(|model| !model.is_calibrated()) {
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
