//! Rules that are sound and cannot be meant: values that nothing has, quotients that lost their decimals, rules that can
//! never be true or always are. All of it is warned of.

use super::{Kind, Lines};
use crate::document::Problems;
use crate::offer::{Declared, RuleFinding, RulePlace};
use crate::release::{Release, Segmenter};

/// Warns of what the rules of the release say.
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
            RulePlace::Offer(index) => (Kind::Offer, offers[index]),
            RulePlace::ContextWeight(index) => {
                (Kind::ContextWeight, catalog.policy.context_weights[index].id.as_str())
            }
        };
        lines.push(warnings, entry, key, message);
    }
}
