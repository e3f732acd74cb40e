//! Offers that no placement shows.

use super::lines::{Kind, Lines};
use super::{Release, ReleaseSource, Review};

/// Warns of offers without a placement that are no fallback either.
pub(super) fn placements(release: &Release, source: &ReleaseSource<'_>, review: &mut Review) {
    let (lines, catalog) = (Lines::new(source), release.catalog());
    for (position, offer) in catalog.library.offers().iter().enumerate() {
        let is_fallback = catalog.policy.placements.iter().any(|one| one.fallback == Some(position));
        if offer.placements.is_empty() && !is_fallback {
            let message = "no placement shows it, and it is no placement's `fallback`; give it `placements` or remove it";
            lines.push(&mut review.warnings, (Kind::Offer, &offer.id), "placements", message);
        }
    }
}
