//! Rolling back: to the last release that a person made, behind the steps of experiments.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use super::{Deployer, next};
use crate::history::trail;
use crate::{Current, Promotion, RegistryError};
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
        let before = self.before_target();
        let (snapshot, warm) = self.prepare(begun.previous)?;
        let promotion = self.switch(number, snapshot, warm, call, |current| {
            if current.sequence != begun.sequence {
                let message = "another release was promoted during this rollback".to_owned();
                return Err(RegistryError::Overtaken { current: current.release, message });
            }
            Ok(next(current, begun.previous, before, author, reason))
        })?;
        let warnings = self.resumed(begun.release, begun.previous);
        for warning in &warnings {
            tracing::warn!(warning, "after a rollback");
        }
        Ok(Promotion { warnings, ..promotion })
    }

    /// The target of a rollback from `release`, once it is promoted over `current`: the last release of a person.
    pub(super) fn target_over(&self, current: &Current, release: u64) -> u64 {
        let record = self.parts().store.release_record(current.release);
        if !record.is_ok_and(|record| record.is_step()) {
            return current.release;
        }
        // Returning to where a ramp began is a rollback.
        if current.previous == release { self.before_target() } else { current.previous }
    }

    /// The target of the rollback after the next one; 0: none.
    fn before_target(&self) -> u64 {
        let store = &self.parts().store;
        let trail = store.promotions().and_then(|promotions| {
            let numbers: BTreeSet<u64> = promotions.iter().map(|promotion| promotion.release).collect();
            let records = store.release_records(&numbers.into_iter().collect::<Vec<_>>())?;
            let steps =
                records.iter().filter(|record| record.is_step()).map(|record| record.number).collect();
            Ok(trail(&promotions, &steps))
        });
        // Only the target of the next rollback depends on it.
        let trail = trail.inspect_err(|error| {
            tracing::warn!(%error, "the promotions cannot be read: the next rollback will have no target");
        });
        let trail = trail.unwrap_or_default();
        trail.len().checked_sub(3).map_or(0, |at| trail[at])
    }

    /// The experiments that run in release `now`, and were stopped or paused in release `before`: a rollback goes back
    /// behind the steps that did that.
    fn resumed(&self, before: u64, now: u64) -> Vec<String> {
        let outlined = |release: u64| {
            let files = self.parts().store.release(release).ok()?;
            experiment::outline(&files.policy).ok()
        };
        // The rollback is done: what cannot be read now is not warned of.
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
