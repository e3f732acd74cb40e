//! Offers that no placement shows.

use super::Release;
use super::lines::{Kind, Lines};
use document::Problems;

/// Warns of offers without a placement that are no fallback either.
pub(super) fn warn(release: &Release, lines: &Lines<'_>, warnings: &mut Problems) {
    let catalog = release.catalog();
    for (index, offer) in catalog.library.indexed() {
        let is_fallback = catalog.policy.placements.iter().any(|one| one.fallback == Some(index));
        if offer.placements.is_empty() && !is_fallback {
            let message = "no placement shows it, and it is no placement's `fallback`; give it `placements` or remove it";
            lines.push(warnings, (Kind::Offer, &offer.id), "placements", message);
        }
    }
}
