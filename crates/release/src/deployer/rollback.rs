//! Rolling back: to the last release that a person made, behind the steps of experiments.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use super::{Deployer, Turn, next};
use crate::history::trail;
use crate::{Current, Promotion, RegistryError, ReleaseRecord, StoreError};
use experiment::State;
use work::Call;

impl Deployer {
    /// Promotes the release before the current one, without regard to steps of ramps: the last one that a person made.
    /// Repeated calls go further back.
    ///
    /// # Errors
    /// [`RegistryError::Precondition`] where there is none; otherwise as [`Deployer::promote`].
    pub fn rollback(&self, author: &str, reason: &str, call: &Call) -> Result<Promotion, RegistryError> {
        let number = self.shared.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let begun = self.parts().store.current()?.current;
        if begun.previous == 0 {
            let message = format!("release {} is the first: there is nothing to roll back to", begun.release);
            return Err(RegistryError::Precondition(message));
        }
        // Only the target of the next rollback depends on it.
        let before = self.before_target().inspect_err(|error| {
            tracing::warn!(%error, "the promotions cannot be read: the next rollback will have no target");
        });
        let before = before.unwrap_or_default();
        let (snapshot, warm) = self.prepare(begun.previous, Turn::InLine)?;
        let promotion = self.switch(number, snapshot, warm, call, |current| {
            if current.sequence != begun.sequence {
                let message = "another release was promoted during this rollback".to_owned();
                return Err(RegistryError::Overtaken { current: current.release, message });
            }
            Ok(next(current, begun.previous, before, author, reason))
        })?;
        let warnings = self.warn_of_resumed(begun.release, begun.previous);
        Ok(Promotion { warnings, ..promotion })
    }

    /// The target of a rollback from `release`, once it is promoted over `current`: the last release of a person.
    ///
    /// # Errors
    /// When the store cannot be read: a step must not become a target because of that.
    pub(super) fn target_over(&self, current: &Current, release: u64) -> Result<u64, StoreError> {
        if !counts_as_step(self.parts().store.release_record(current.release))? {
            return Ok(current.release);
        }
        // Returning to where a ramp began is a rollback.
        if current.previous == release { self.before_target() } else { Ok(current.previous) }
    }

    /// The target of the rollback after the next one; 0: none.
    ///
    /// # Errors
    /// When the promotions cannot be read.
    fn before_target(&self) -> Result<u64, StoreError> {
        let store = &self.parts().store;
        let trail = store.promotions().and_then(|promotions| {
            let numbers: BTreeSet<u64> = promotions.iter().map(|promotion| promotion.release).collect();
            let records = store.release_records(&numbers.into_iter().collect::<Vec<_>>())?;
            let steps =
                records.iter().filter(|record| record.is_step()).map(|record| record.number).collect();
            Ok(trail(&promotions, &steps))
        })?;
        Ok(trail.len().checked_sub(3).map_or(0, |at| trail[at]))
    }

    /// Logs and returns what [`Deployer::resumed`] says.
    pub(super) fn warn_of_resumed(&self, before: u64, now: u64) -> Vec<String> {
        let warnings = self.resumed(before, now);
        for warning in &warnings {
            tracing::warn!(release = now, warning, "an earlier stop or pause does not hold any more");
        }
        warnings
    }

    /// The experiments that run in release `now`, and were stopped or paused in release `before`: `now` was made before
    /// the steps that did that, or a person changed it.
    fn resumed(&self, before: u64, now: u64) -> Vec<String> {
        if before == now {
            return Vec::new();
        }
        let store = &self.parts().store;
        // Who starts an experiment by a step wants it to run.
        let is_from = |record: &ReleaseRecord| record.step.as_ref().is_some_and(|step| step.base == before);
        if store.release_record(now).is_ok_and(|record| is_from(&record)) {
            return Vec::new();
        }
        let outlined = |release: u64| {
            let files = store.release(release).ok()?;
            experiment::outline(&files.policy).ok()
        };
        // `CURRENT` has moved: what cannot be read now is not warned of.
        let (Some(before), Some(running)) = (outlined(before), outlined(now)) else { return Vec::new() };
        let halted = before.iter().filter(|one| matches!(one.state, State::Stopped | State::Paused));
        let runs = |id: &str| running.iter().any(|one| one.id == id && one.state == State::Running);
        halted
            .filter(|one| runs(&one.id))
            .map(|one| {
                let (id, state) = (&one.id, one.state.name());
                format!(
                    "experiment `{id}` was {state}, and runs again in release {now}: stop it if it must not"
                )
            })
            .collect()
    }
}

/// Whether the release of a record is a step of a ramp. One that is gone or damaged cannot be told from a release of a
/// person, and counts as one in the history of promotions, too.
///
/// # Errors
/// When the store cannot be read.
fn counts_as_step(record: Result<ReleaseRecord, StoreError>) -> Result<bool, StoreError> {
    match record {
        Ok(record) => Ok(record.is_step()),
        Err(StoreError::NoSuchRelease(_) | StoreError::Damaged { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{ExperimentStep, StepAction};

    #[test]
    fn a_record_that_cannot_be_read_is_not_taken_for_that_of_a_person() {
        let step = ExperimentStep {
            experiment: "e".to_owned(),
            action: StepAction::Ramp,
            base: 1,
            over: 1,
            coverage: 0.5,
            scheduled: true,
            winner: String::new(),
            evidence: None,
        };
        let record = |step| ReleaseRecord {
            number: 2,
            author: String::new(),
            note: String::new(),
            created: String::new(),
            models: BTreeMap::new(),
            hashes: BTreeMap::new(),
            step,
        };
        assert!(counts_as_step(Ok(record(Some(step)))).unwrap());
        assert!(!counts_as_step(Ok(record(None))).unwrap());
        assert!(!counts_as_step(Err(StoreError::NoSuchRelease(2))).unwrap());
        let [store, message] = ["a bucket", "timed out"].map(str::to_owned);
        let error = counts_as_step(Err(StoreError::Unreachable { store, message })).unwrap_err();
        assert!(error.is_unreachable());
        let source = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        assert!(counts_as_step(Err(StoreError::Io { path: "release.toml".to_owned(), source })).is_err());
    }
}
