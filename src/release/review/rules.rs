//! Rules that are sound and cannot be meant: values that nothing has, quotients that lost their decimals, rules that can
//! never be true or always are. All of it is warned of.

use super::{Kind, Lines, Review};
use crate::offer::{Declared, RuleFinding, RulePlace};
use crate::release::{Release, ReleaseSource, Segmenter};

/// Warns of what the rules of the release say.
pub(super) fn review(release: &Release, source: &ReleaseSource<'_>, review: &mut Review) {
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
    let lines = Lines::new(source);
    for RuleFinding { place, key, message } in catalog.findings(declared) {
        let entry = match place {
            RulePlace::Offer(index) => (Kind::Offer, offers[index]),
            RulePlace::ContextWeight(index) => {
                (Kind::ContextWeight, catalog.policy.context_weights[index].id.as_str())
            }
        };
        lines.push(&mut review.warnings, entry, key, message);
    }
}
