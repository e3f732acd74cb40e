//! Why a release was made, where it was made to change an experiment.

#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a release does to an experiment. It differs from its base in this experiment alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExperimentStep {
    /// The experiment.
    pub experiment: String,
    /// What is done to it.
    pub action: StepAction,
    /// The release that this one differs from.
    pub base: u64,
    /// The sequence of the promotion of `base` over which it is promoted, and over no other; 0 where a person promotes
    /// it.
    #[serde(default)]
    pub over: u64,
    /// The share of those eligible that take part from here on, 0..=1.
    pub coverage: f64,
    /// Whether the schedule or the guardrails of the experiment made it, and not a person.
    #[serde(default)]
    pub scheduled: bool,
    /// The variant that won; empty unless the experiment is concluded.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub winner: String,
    /// What a guardrail has found; `None` unless the experiment is rolled back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<GuardrailEvidence>,
}

/// Why a guardrail has ended an experiment. Differences are in the unit of the metric, and positive ones are good.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuardrailEvidence {
    /// The metric.
    pub metric: String,
    /// The variant that is worse than the control.
    pub variant: String,
    /// The difference of the variant from the control.
    pub delta: f64,
    /// The lower limit of its confidence sequence.
    pub low: f64,
    /// The upper limit of its confidence sequence, which is below the loss that is tolerated.
    pub high: f64,
    /// The loss that is tolerated, at least 0.
    pub tolerate: f64,
    /// The customers of both arms.
    pub customers: u64,
}

/// A sentence without its full stop.
impl fmt::Display for GuardrailEvidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { metric, variant, delta, low, high, tolerate, customers } = self;
        // Losses, from the least to the most.
        let [loss, least, most] = [delta, high, low].map(|difference| shown(0.0 - difference));
        let tolerate = shown(*tolerate);
        write!(
            f,
            "guardrail `{metric}`: variant `{variant}` is worse than the control by {loss} ({least} to {most}, \
             {customers} customers), and a loss of {tolerate} is tolerated"
        )
    }
}

/// A number with four significant digits.
fn shown(number: f64) -> f64 {
    format!("{number:.3e}").parse().unwrap_or(number)
}

/// What a release does to an experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepAction {
    /// It begins, or goes on after a pause.
    Start,
    /// It covers more customers.
    Ramp,
    /// Nobody is in an arm for a while.
    Pause,
    /// Nobody is in an arm any more.
    Stop,
    /// What its winner changes holds for everyone.
    Conclude,
    /// Nobody is in an arm any more, since a guardrail has found that a variant does harm.
    RollBack,
}

impl StepAction {
    /// The action as it is written.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Ramp => "ramp",
            Self::Pause => "pause",
            Self::Stop => "stop",
            Self::Conclude => "conclude",
            Self::RollBack => "roll_back",
        }
    }

    /// Whether a rollback skips it. What a winner changes is promoted by a person, as any other release.
    #[must_use]
    pub fn is_skipped(self) -> bool {
        match self {
            Self::Start | Self::Ramp | Self::Pause | Self::Stop | Self::RollBack => true,
            Self::Conclude => false,
        }
    }
}
