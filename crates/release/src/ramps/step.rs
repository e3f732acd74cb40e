//! What a step does to an experiment, and which one carries out an order.

use experiment::{State, edit};

use super::view::Standing;
use crate::RegistryError;
use crate::records::{GuardrailEvidence, Order, StepAction};

/// What a step does, in words of the text of a policy.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Step<'e> {
    pub(super) action: StepAction,
    pub(super) state: State,
    pub(super) coverage: f64,
    /// Whether nobody has asked for it.
    pub(super) scheduled: bool,
    /// What a guardrail has found.
    pub(super) evidence: Option<&'e GuardrailEvidence>,
}

impl Step<'static> {
    /// A step that a person has asked for.
    fn asked(action: StepAction, state: State, coverage: f64) -> Self {
        Self { action, state, coverage, scheduled: false, evidence: None }
    }
}

impl Standing {
    /// The step that carries out an order; `None` if nothing is to be done.
    pub(super) fn ordered(&self, order: Order) -> Result<Option<Step<'static>>, RegistryError> {
        let (id, state, now) = (&self.outline.id, self.outline.state, self.outline.coverage);
        let refuse = |why: &str| {
            Err(RegistryError::Precondition(format!("experiment `{id}` is {}: {why}", state.name())))
        };
        let step = |action, state| Some(Step::asked(action, state, now));
        match (order, state) {
            (Order::Start, State::Draft | State::Running | State::Paused) => {
                Ok(step(StepAction::Start, State::Running))
            }
            (Order::Start, State::Stopped) => refuse(
                "that is for good, since its results would mix; give it another id in a release of your own",
            ),
            (Order::Ramp { coverage }, State::Running) => {
                if coverage < now {
                    let message = format!(
                        "must be more than the {now} that it has, not {coverage}: a ramp only rises; pause or stop it"
                    );
                    return Err(RegistryError::Invalid { field: "coverage".to_owned(), message });
                }
                let rises = coverage > now;
                Ok(rises.then(|| Step::asked(StepAction::Ramp, state, coverage)))
            }
            (Order::Ramp { .. }, State::Draft | State::Paused) => refuse("start it first"),
            (Order::Ramp { .. }, State::Stopped) => refuse("nobody is in an arm any more"),
            (Order::Pause, State::Running) => Ok(step(StepAction::Pause, State::Paused)),
            (Order::Pause, State::Paused) | (Order::Stop, State::Stopped) => Ok(None),
            (Order::Pause, State::Draft | State::Stopped) => refuse("only one that runs can be paused"),
            (Order::Stop, State::Draft | State::Running | State::Paused) => {
                Ok(step(StepAction::Stop, State::Stopped))
            }
        }
    }

    /// The text of a policy after a step.
    pub(super) fn edited(&self, policy: &str, step: Step<'_>) -> Result<String, RegistryError> {
        let (id, outline) = (&self.outline.id, &self.outline);
        let mut text = policy.to_owned();
        if step.state != outline.state {
            text = edit::set_state(&text, id, step.state)?;
        }
        if step.coverage > outline.coverage {
            text = edit::set_coverage(&text, id, step.coverage)?;
        }
        Ok(text)
    }
}

/// What a step is for, as its release has it.
pub(super) fn told(id: &str, step: Step<'_>, reason: &str) -> String {
    let told = format!("experiment {id}: {}, coverage {}", step.action.word(), step.coverage);
    if reason.is_empty() { told } else { format!("{told}: {reason}") }
}
