//! The priors of new offers, which are mixed with what models say.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::variants::{self, Replacements};
use super::{ModelIndex, Scorer};
use document::{Document, Problems};
use model::Model;
use offer::{Catalog, OfferIndex};

/// Refuses a prior at placements where a model, or a version that a variant puts in its place, is not calibrated. A
/// prior is a propensity: an offer that has one would compete on another scale than the others.
pub(super) fn refuse_mixed_scales(
    catalog: &Catalog,
    models: &[Arc<Model>],
    scorers: &[Vec<Option<Scorer>>],
    replacements: &Replacements,
    offers: &str,
    problems: &mut Problems,
) {
    let with_prior = catalog.experiments.newcomers.iter().filter(|(_, newcomer)| newcomer.prior.is_some());
    for offer in with_prior.map(|(offer, _)| OfferIndex::new(*offer)) {
        let id = &catalog.library.get(offer).id;
        let mut reported = BTreeSet::new();
        for (index, (placement, row)) in catalog.policy.placements.iter().zip(scorers).enumerate() {
            if !placement.candidates.iter().any(|candidate| candidate.offer == offer) {
                continue;
            }
            let pinned: BTreeSet<ModelIndex> = row.iter().flatten().map(|scorer| scorer.model).collect();
            // A paused experiment may run again.
            let replaced = variants::at_placement(catalog, replacements, index, |_| true)
                .filter(|replaced| pinned.contains(&replaced.pinned));
            for scoring in pinned.iter().copied().chain(replaced.map(|replaced| replaced.by)) {
                let model = &models[scoring.get()];
                if model.is_calibrated() || !reported.insert(scoring) {
                    continue;
                }
                let (name, version) = (model.name(), model.version());
                let message = format!(
                    "offer `{id}` [prior]: placement `{}` scores with version {version} of `{name}`, which is not \
                     calibrated: its scores and the prior are on different scales; calibrate it in \
                     {name}/{version}/model.toml or remove the prior",
                    placement.id,
                );
                problems.push("offers.toml", line_of(offers, id), message);
            }
        }
    }
}

/// The line of an offer's prior.
fn line_of(offers: &str, id: &str) -> Option<usize> {
    let document = Document::parse("offers.toml", offers).ok()?;
    let tables = document.root().tables("offer");
    let offer = tables.iter().find(|table| table.optional::<String>("id").as_deref() == Some(id))?;
    Some(offer.line("prior"))
}
