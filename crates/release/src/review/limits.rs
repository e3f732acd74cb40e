//! Warns of sound limits that are most likely mistakes: offers that are never shown, limits that limit nothing.

use super::{Kind, Lines};
use crate::Release;
use document::Problems;
use offer::{LimitFinding, LimitPlace};

/// Warns about each limit of the release.
pub(super) fn warn(release: &Release, lines: &Lines<'_>, warnings: &mut Problems) {
    let catalog = release.catalog();
    for LimitFinding { place, key, message } in catalog.limit_findings() {
        let entry = match place {
            LimitPlace::Offer(index) => (Kind::Offer, &*catalog.library.get(index).id),
            LimitPlace::ContactLimit(index) => {
                (Kind::ContactLimit, catalog.policy.contact_limits[index].id.as_str())
            }
        };
        lines.push(warnings, entry, key, message);
    }
}
