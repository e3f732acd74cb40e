//! Warns of sound rules that are most likely mistakes: impossible values, integer division, rules that are always or
//! never true.

use super::{Kind, Lines};
use crate::{Release, Segmenter};
use document::Problems;
use offer::{Declared, RuleFinding, RulePlace};

/// Warns about each rule of the release.
pub(super) fn warn(release: &Release, lines: &Lines<'_>, warnings: &mut Problems) {
    let catalog = release.catalog();
    let offers: Vec<&str> = catalog.library.offers().iter().map(|offer| &*offer.id).collect();
    let categories: Vec<&str> =
        catalog.policy.categories.iter().map(|category| category.id.as_str()).collect();
    let declared = Declared {
        schema: release.schema(),
        segments: release.segmentation().map(Segmenter::names),
        offers: &offers,
        categories: &categories,
    };
    for RuleFinding { place, key, message } in catalog.findings(declared) {
        let entry = match place {
            RulePlace::Offer(index) => (Kind::Offer, offers[index.get()]),
            RulePlace::ContextWeight(index) => {
                (Kind::ContextWeight, catalog.policy.context_weights[index].id.as_str())
            }
        };
        lines.push(warnings, entry, key, message);
    }
}
