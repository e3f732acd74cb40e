//! Refuses calibrations that reverse the order of scores without saying so.

use super::Lines;
use crate::Release;
use document::Problems;
use model::FALLING;

/// Every model's calibration rises, or its manifest says that it falls.
pub(super) fn refuse(release: &Release, _: &Lines<'_>, problems: &mut Problems) {
    for model in release.models().iter().filter(|model| model.manifest().falls_unsaid()) {
        let file = format!("{}/{}/model.toml", model.name(), model.version());
        problems.push(file, Some(model.manifest().calibration_line()), FALLING);
    }
}
