//! The steps that nobody asks for: those of schedules that are due, and those that guardrails want.
//!
//! One server of a fleet takes them, by its turn. Whoever has the turn looks again at what is current, so that none is
//! taken twice.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::{DateTime, Utc};
use experiment::{Outline, State};

use super::guardrails::Judgement;
use super::patience::{Patience, is_away};
use super::step::Step;
use super::view::{Standing, View};
use super::{Ramps, lock};
use crate::RegistryError;
use crate::records::{GuardrailEvidence, StepAction};
use work::Call;

/// Who takes the steps of a schedule.
const AUTHOR: &str = "schedule";

/// The longest wait before a step that failed is tried again, where the store was away.
const PATIENCE: Duration = Duration::from_mins(1);

/// How the last attempts of this server at steps ended.
#[derive(Debug, Default)]
pub(super) struct Advancing {
    /// Of all steps, while the store is away.
    all: Patience,
    /// Of schedules.
    steps: Attempts,
    /// Of guardrails: they do not wait for a step of a schedule that fails.
    roll_backs: Attempts,
}

/// By experiment, the sequence of the promotion over which its step failed. After another one it may not.
#[derive(Debug, Default)]
struct Attempts(BTreeMap<String, (u64, Patience)>);

impl Attempts {
    /// Whether the step of an experiment may be tried over the promotion of this sequence.
    fn may_try(&self, id: &str, sequence: u64) -> bool {
        self.0.get(id).is_none_or(|(over, patience)| *over != sequence || patience.may_try())
    }

    /// Notes how the attempt at a step ended; `failed` is what is logged of a failure.
    ///
    /// # Errors
    /// When the store is away: the other steps would wait for it as long.
    fn note(
        &mut self,
        (id, sequence): (&str, u64),
        failed: &str,
        done: Result<(), RegistryError>,
    ) -> Result<(), RegistryError> {
        match done {
            Ok(()) => _ = self.0.remove(id),
            Err(RegistryError::NotFound(message)) => {
                tracing::debug!(experiment = id, message, "a step is not due any more");
                self.0.remove(id);
            }
            Err(error) if is_away(&error) => return Err(error),
            Err(error) => {
                let (over, patience) = self.0.entry(id.to_owned()).or_default();
                if *over != sequence {
                    (*over, *patience) = (sequence, Patience::default());
                }
                if patience.failed(&error, PATIENCE) {
                    tracing::error!(experiment = id, %error, "{failed}; it is tried again");
                }
            }
        }
        Ok(())
    }

    /// Forgets the experiments that are gone.
    fn keep_those_of(&mut self, view: &View) {
        self.0.retain(|id, _| view.standing(id).is_ok());
    }
}

impl Ramps {
    /// Takes the steps that are due, if it is the turn of this server. A server calls it at regular intervals, from one
    /// thread.
    pub fn advance(&self, now: DateTime<Utc>) {
        let mut advancing = lock(&self.shared.advancing);
        if !advancing.all.may_try() || self.shared.is_leaving.load(Ordering::SeqCst) {
            return;
        }
        match self.take_due_steps(&mut advancing, now) {
            Ok(()) => advancing.all = Patience::default(),
            Err(error) => {
                if advancing.all.failed(&error, PATIENCE) {
                    tracing::error!(%error, "schedules could not take their steps; they are tried again");
                }
            }
        }
    }

    fn take_due_steps(&self, advancing: &mut Advancing, now: DateTime<Utc>) -> Result<(), RegistryError> {
        let parts = self.parts();
        // A server follows `CURRENT` anyway.
        let followed = parts.deployer.state().borrow().current.clone();
        let current = followed.map_or_else(|| parts.store.current().map(|read| read.current), Ok)?;
        if !self.is_any_due(advancing, &*self.view_of(current)?, now)? {
            return Ok(());
        }
        let Some(_turn) = parts.store.take_turn(&parts.server, now)? else {
            tracing::debug!("a step of an experiment is due, and it is the turn of another server");
            return Ok(());
        };
        // Another server may have had the turn just before.
        let view = self.read_view()?;
        advancing.steps.keep_those_of(&view);
        advancing.roll_backs.keep_those_of(&view);
        // What does harm ends first.
        for standing in &view.standings {
            if let Some(evidence) = self.must_end(advancing, standing) {
                let done = self.roll_back(standing, &evidence);
                let tried = (standing.outline.id.as_str(), standing.sequence);
                advancing.roll_backs.note(tried, "a guardrail could not end the experiment", done)?;
            }
        }
        for standing in &view.standings {
            if self.may_take(advancing, standing) {
                let done = self.take_due_step(standing, now);
                let tried = (standing.outline.id.as_str(), standing.sequence);
                advancing.steps.note(tried, "a schedule could not take its step", done)?;
            }
        }
        Ok(())
    }

    /// Whether an experiment is to end, or to take a step of its schedule.
    fn is_any_due(
        &self,
        advancing: &Advancing,
        view: &View,
        now: DateTime<Utc>,
    ) -> Result<bool, RegistryError> {
        // No guardrail needs to know the past, which may be hard to read.
        if view.standings.iter().any(|standing| self.must_end(advancing, standing).is_some()) {
            return Ok(true);
        }
        for standing in &view.standings {
            if self.may_take(advancing, standing) && self.due_at(standing, now)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What a guardrail has found, if it is to end the experiment now: it has not failed to just now, and no stop is
    /// pending.
    fn must_end(&self, advancing: &Advancing, standing: &Standing) -> Option<GuardrailEvidence> {
        let Judgement::RollBack { evidence } = self.judged(standing) else { return None };
        self.may_try(&advancing.roll_backs, standing).then_some(evidence)
    }

    /// Whether the step of an experiment may be taken, if it is due: its guardrails let it, it has not failed just now,
    /// and no stop is pending.
    fn may_take(&self, advancing: &Advancing, standing: &Standing) -> bool {
        self.may_try(&advancing.steps, standing) && self.judged(standing) == Judgement::Advance
    }

    fn may_try(&self, attempts: &Attempts, standing: &Standing) -> bool {
        let id = &standing.outline.id;
        attempts.may_try(id, standing.sequence) && self.stops().pending(id).is_none()
    }

    /// Takes the step of one experiment, if it is due.
    fn take_due_step(&self, standing: &Standing, now: DateTime<Utc>) -> Result<(), RegistryError> {
        let Some(due) = self.due_at(standing, now)? else { return Ok(()) };
        let Outline { id, definition, .. } = &standing.outline;
        let reason = format!("its schedule: due at {due}");
        self.step(id, (AUTHOR, &reason), &Call::default(), |present| {
            let is_same = present.outline.definition == *definition
                && self.judged(present) == Judgement::Advance
                && self.due_at(present, now)?.is_some();
            Ok(present.outline.next_step().filter(|_| is_same).map(|next| Step {
                action: StepAction::Ramp,
                state: State::Running,
                coverage: next.coverage,
                scheduled: true,
                evidence: None,
            }))
        })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StoreError;

    #[test]
    fn a_step_that_fails_does_not_keep_the_others_from_theirs() {
        let mut steps = Attempts::default();
        let refused = || Err(RegistryError::Precondition("no".to_owned()));
        assert!(steps.note(("a", 4), "it failed", refused()).is_ok());
        assert!(steps.note(("b", 4), "it failed", Ok(())).is_ok());
        assert!(!steps.may_try("a", 4) && steps.may_try("b", 4));
        // Something else was promoted, and may have mended it.
        assert!(steps.may_try("a", 5));
        assert!(steps.note(("a", 5), "it failed", refused()).is_ok());
        assert!(!steps.may_try("a", 5));
        let gone = Err(RegistryError::NotFound("gone".to_owned()));
        assert!(steps.note(("a", 5), "it failed", gone).is_ok());
        assert!(steps.0.is_empty());
        // Each of the others would wait for the store as long.
        let away = StoreError::Unreachable { store: "s".to_owned(), message: "m".to_owned() };
        assert!(steps.note(("a", 5), "it failed", Err(RegistryError::Store(away))).is_err());
        assert!(steps.may_try("a", 5));
        let damaged = StoreError::Damaged { path: "p".to_owned(), message: "m".to_owned() };
        assert!(steps.note(("a", 5), "it failed", Err(RegistryError::Store(damaged))).is_ok());
        assert!(!steps.may_try("a", 5));
    }
}
