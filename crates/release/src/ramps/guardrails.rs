//! Guardrails: what was measured of an experiment may hold its schedule, or end the experiment.
//!
//! A schedule takes its step only while they let it. Where a variant does harm, the experiment is rolled back: a step
//! stops it, with what was found in its record. No guardrail lets a schedule go further than its last step, and none
//! touches an experiment that does not run.

use experiment::{Outline, State};

use super::step::Step;
use super::view::Standing;
use super::{Ramps, RampsParts};
use crate::RegistryError;
use crate::records::{GuardrailEvidence, StepAction};
use work::Call;

/// Who rolls back.
const AUTHOR: &str = "guardrail";

/// Why a schedule is held of which nobody measures anything here.
const NOT_HERE: &str = "its guardrails are not evaluated on this server";

/// Why a schedule is held of which nothing has been measured here yet.
const UNMEASURED: &str = "its guardrails have not been evaluated on this server yet";

/// What guardrails say of experiments.
pub trait Guardrails: Send + Sync + 'static {
    /// What they say of an experiment that runs, as the release that serves here defines it. What was measured of
    /// another phase of it, or by other guardrails, is [`Judgement::Unmeasured`].
    ///
    /// It is asked every second or so, and answers from memory.
    fn judge(&self, experiment: &str) -> Judgement;
}

/// What guardrails say of an experiment.
#[derive(Debug, Clone, PartialEq)]
pub enum Judgement {
    /// Nothing: it was not measured here, or too long ago.
    Unmeasured,
    /// It may cover more customers.
    Advance,
    /// It may not cover more customers for now.
    Hold {
        /// Why.
        why: String,
    },
    /// It must end.
    RollBack {
        /// Why.
        evidence: GuardrailEvidence,
    },
}

impl Ramps {
    /// What the guardrails of an experiment say. One that has none, or does not run, may take what steps it has.
    pub(super) fn judged(&self, standing: &Standing) -> Judgement {
        let Outline { id, state, has_guardrails, .. } = &standing.outline;
        if *state != State::Running || !has_guardrails {
            return Judgement::Advance;
        }
        match &self.parts().guardrails {
            None => Judgement::Hold { why: NOT_HERE.to_owned() },
            Some(guardrails) if self.serves(standing) => guardrails.judge(id),
            Some(_) => Judgement::Unmeasured,
        }
    }

    /// Whether the release that serves here has the experiment just so. A command line serves nothing, and takes the
    /// store's word.
    fn serves(&self, standing: &Standing) -> bool {
        let Outline { id, definition, .. } = &standing.outline;
        let RampsParts { deployer, .. } = self.parts();
        let serving = deployer.state().borrow().release;
        serving == 0
            || self
                .told(serving)
                .is_ok_and(|told| told.experiments.get(id).is_some_and(|(_, served)| served == definition))
    }

    /// Why the guardrails of an experiment let its schedule take no step; empty: they do.
    pub(super) fn held(&self, standing: &Standing) -> String {
        match self.judged(standing) {
            Judgement::Advance => String::new(),
            Judgement::Unmeasured => UNMEASURED.to_owned(),
            Judgement::Hold { why } => why,
            Judgement::RollBack { evidence } => evidence.to_string(),
        }
    }

    /// Ends an experiment for what a guardrail has found, unless it has changed since it was judged.
    pub(super) fn roll_back(
        &self,
        standing: &Standing,
        evidence: &GuardrailEvidence,
    ) -> Result<(), RegistryError> {
        let Outline { id, definition, .. } = &standing.outline;
        let reason = evidence.to_string();
        let done = self.step(id, (AUTHOR, &reason), &Call::default(), |present| {
            let Outline { state, coverage, definition: now, .. } = &present.outline;
            let is_judged = *state == State::Running && now == definition;
            Ok(is_judged.then_some(Step {
                action: StepAction::RollBack,
                state: State::Stopped,
                coverage: *coverage,
                scheduled: true,
                evidence: Some(evidence),
            }))
        })?;
        if done.changed {
            tracing::warn!(experiment = id, reason, "a guardrail has ended the experiment");
        }
        Ok(())
    }
}
