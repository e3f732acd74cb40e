//! Refuses shadows that cannot decide, and warns of those that are compared with themselves.

use super::Lines;
use crate::{LoadedShadow, Release};
use document::Problems;
use experiment::Changes;

/// Every shadow can decide.
pub(super) fn refuse(release: &Release, _: &Lines<'_>, problems: &mut Problems) {
    for shadow in release.shadows() {
        if let LoadedShadow::Unavailable { reason } = shadow {
            problems.extend(reason.clone());
        }
    }
}

/// Warns of shadows that change nothing for a customer who is in no variant.
pub(super) fn warn(release: &Release, _: &Lines<'_>, warnings: &mut Problems) {
    for shadow in &release.experiments().shadows {
        let pinned = |name: &str, version: u64| release.pins().get(name) == Some(&version);
        let models = &shadow.changes.models;
        let is_alone = Changes { models: models.clone(), ..Changes::default() } == shadow.changes;
        if is_alone && models.iter().all(|model| pinned(&model.name, model.version)) {
            let message = format!(
                "shadow `{}`: it changes nothing of what the release pins, so it is compared with itself",
                shadow.id
            );
            warnings.push("policy.toml", Some(shadow.line), message);
        }
    }
}
