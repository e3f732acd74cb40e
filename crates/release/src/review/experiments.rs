//! Warns of experiments that are sound and most likely mistakes: variants that change nothing, customers who are held
//! out and see nothing, and new offers that must be shown.

use super::lines::{Kind, Lines};
use crate::Release;
use document::Problems;

/// Warns about the experiments, the holdout and the new offers of the release.
pub(super) fn warn(release: &Release, lines: &Lines<'_>, warnings: &mut Problems) {
    let (experiments, catalog) = (release.experiments(), release.catalog());
    for experiment in &experiments.all {
        for variant in &experiment.variants {
            let named = variant.changes.models.iter();
            for model in named.filter(|model| release.pins().get(&model.name) == Some(&model.version)) {
                let message = format!(
                    "experiment `{}` variant `{}`: the release pins version {} of `{}` itself, so this changes nothing; name \
                     another version",
                    experiment.id, variant.id, model.version, model.name
                );
                warnings.push("policy.toml", Some(model.line), message);
            }
        }
    }
    if experiments.holdout.is_some() {
        for placement in catalog.policy.placements.iter().filter(|placement| placement.fallback.is_none()) {
            let message =
                "it has no `fallback`, so customers who are held out see nothing there; give it one";
            lines.push(warnings, (Kind::Placement, &placement.id), "fallback", message);
        }
    }
    for (index, newcomer) in &experiments.newcomers {
        let offer = &catalog.library.offers()[*index];
        if offer.mandatory && newcomer.maturity.is_some() {
            let message =
                "it is `mandatory`, and `maturity` withholds it from most decisions all the same; keep one";
            lines.push(warnings, (Kind::Offer, &offer.id), "maturity", message);
        }
    }
}
