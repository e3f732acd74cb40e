//! Why a release was made, where it was made to change an experiment.

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
    /// Whether the schedule of the experiment made it, and not a person.
    #[serde(default)]
    pub scheduled: bool,
    /// The variant that won; empty unless the experiment is concluded.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub winner: String,
}

/// What a release does to an experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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
        }
    }

    /// Whether a rollback skips it. What a winner changes is promoted by a person, as any other release.
    #[must_use]
    pub fn is_skipped(self) -> bool {
        match self {
            Self::Start | Self::Ramp | Self::Pause | Self::Stop => true,
            Self::Conclude => false,
        }
    }
}
