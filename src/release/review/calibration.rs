//! Refuses calibrations that turn the order of scores upside down without saying so.

use super::Review;
use crate::model::FALLING;
use crate::release::{Release, ReleaseSource};

/// Every model's calibration rises, or its manifest says that it falls.
pub(super) fn review(release: &Release, _: &ReleaseSource<'_>, review: &mut Review) {
    for model in release.models().iter().filter(|model| model.manifest().falls_unsaid()) {
        let file = format!("{}/{}/model.toml", model.name(), model.version());
        review.refusals.push(file, Some(model.manifest().calibration_line()), FALLING);
    }
}
