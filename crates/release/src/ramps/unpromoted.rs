//! Releases that were made for steps and could not be promoted: an attempt at the same step makes no other.

use std::collections::BTreeMap;

use super::{Ramps, lock};
use crate::records::{ExperimentStep, StepAction};
use crate::store::NewRelease;
use crate::{RegistryError, ReleaseFiles};

/// The release that was made for the last step of each experiment, until it is current or of no use.
#[derive(Debug, Default)]
pub(super) struct Unpromoted(BTreeMap<String, Made>);

#[derive(Debug)]
struct Made {
    step: ExperimentStep,
    author: String,
    note: String,
    release: u64,
}

impl Ramps {
    /// The release of a step: the one that an earlier attempt made for the same person and with the same note, or a
    /// new one.
    pub(super) fn release_of(
        &self,
        step: ExperimentStep,
        (author, note): (&str, String),
        base: &ReleaseFiles,
        policy: &str,
    ) -> Result<u64, RegistryError> {
        let known = lock(&self.shared.unpromoted)
            .0
            .get(&step.experiment)
            .filter(|made| made.step == step && made.author == author && made.note == note)
            .map(|made| made.release);
        if let Some(release) = known {
            return Ok(release);
        }
        let record = self.parts().store.add_release(&NewRelease {
            author,
            note: &note,
            models: &base.record.models,
            features: &base.features,
            offers: &base.offers,
            policy,
            step: Some(&step),
        })?;
        let (id, author, release) = (step.experiment.clone(), author.to_owned(), record.number);
        lock(&self.shared.unpromoted).0.insert(id, Made { step, author, note, release });
        Ok(release)
    }

    /// Forgets the release that was made for the last step of an experiment.
    pub(super) fn forget_unpromoted(&self, id: &str) {
        lock(&self.shared.unpromoted).0.remove(id);
    }

    /// Whether a release that stops the experiment was to be promoted, and it is not known whether it was.
    pub(super) fn may_be_stopped(&self, id: &str) -> bool {
        lock(&self.shared.unpromoted).0.get(id).is_some_and(|made| made.step.action == StepAction::Stop)
    }
}
