//! Experiments as answers have them.

use experiment::State;
use serde::{Serialize, Serializer};

use super::{Current, GuardrailEvidence, ReleaseRecord, StepAction};

/// What a person asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The experiment.
    pub experiment: String,
    /// What is to be done to it.
    pub order: Order,
    /// Who asks.
    pub author: String,
    /// Why, for the history.
    pub reason: String,
}

/// What is to be done to an experiment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Order {
    /// It begins, or goes on after a pause; its schedule goes on.
    Start,
    /// It covers more customers.
    Ramp {
        /// The share of those eligible, 0..=1.
        coverage: f64,
    },
    /// Nobody is in an arm until it starts again.
    Pause,
    /// Nobody is in an arm any more.
    Stop,
}

/// The experiments of the current release.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExperimentList {
    /// The release.
    pub release: u64,
    /// By id.
    pub experiments: Vec<ExperimentSummary>,
    /// Why the store cannot be read, where this is what it had before; empty: it can.
    pub store_error: String,
}

/// An experiment and its history.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExperimentDetail {
    /// The release that is current.
    pub release: u64,
    /// The experiment.
    pub experiment: ExperimentSummary,
    /// What was done to it, the latest first.
    pub steps: Vec<StepRecord>,
    /// As that of [`ExperimentList`].
    pub store_error: String,
}

/// An experiment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExperimentSummary {
    /// Its id.
    pub id: String,
    /// Whether it assigns.
    #[serde(serialize_with = "word")]
    pub state: State,
    /// The share of those eligible that take part, 0..=1.
    pub coverage: f64,
    /// The ids of its placements; empty for all.
    pub placements: Vec<String>,
    /// The rule for who may take part; empty for everyone.
    pub when: String,
    /// Its group; empty for none.
    pub group: String,
    /// Its variants, the control first.
    pub variants: Vec<VariantSummary>,
    /// What its schedule does next; `None` where it has none, or nothing left to do.
    pub schedule: Option<Schedule>,
    /// A stop that the asked server could not write yet.
    pub pending_stop: Option<PendingStop>,
}

/// A variant of an experiment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VariantSummary {
    /// Its id.
    pub id: String,
    /// Its share of those that take part, 0..=1.
    pub weight: f64,
    /// What it changes, each as `policy.toml` has it.
    pub changes: Vec<String>,
}

/// What a schedule does next.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Schedule {
    /// The coverage of its next step.
    pub coverage: f64,
    /// When it takes that step, RFC 3339 in UTC; empty while it is halted.
    pub at: String,
    /// Why it takes no step; empty: it will.
    pub halted: String,
    /// Why its guardrails let it take no step now, though it is not halted; empty: they do, or there are none. It goes on
    /// by itself once they let it.
    pub held: String,
}

/// A stop that could not be written yet. Its server tries again, until it is done or withdrawn; if it keeps it in a
/// file, also after a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PendingStop {
    /// Who asked for it.
    pub author: String,
    /// Why.
    pub reason: String,
    /// When, RFC 3339 in UTC.
    pub since: String,
    /// How often it was tried since the server started.
    pub attempts: u32,
    /// Why it failed last; empty: it was not tried since the server started.
    pub error: String,
    /// Whether an attempt was written and its answer is missing, so that it is not known whether the experiment is
    /// stopped.
    pub may_be_stopped: bool,
}

/// Something that was done to an experiment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepRecord {
    /// What was done.
    pub action: StepAction,
    /// The coverage from then on, 0..=1.
    pub coverage: f64,
    /// The release that did it.
    pub release: u64,
    /// The release that it was made from.
    pub base: u64,
    /// Whether the schedule or the guardrails did it, and not a person.
    pub scheduled: bool,
    /// Who did it.
    pub author: String,
    /// Why.
    pub reason: String,
    /// When, RFC 3339 in UTC.
    pub time: String,
    /// What a guardrail has found; `None` unless the experiment was rolled back.
    pub evidence: Option<GuardrailEvidence>,
}

/// The result of a change.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChangedExperiment {
    /// Its id.
    pub id: String,
    /// Whether it assigns from now on.
    #[serde(serialize_with = "word")]
    pub state: State,
    /// The share of those eligible that take part from now on, 0..=1.
    pub coverage: f64,
    /// Whether this call changed it; false where it was so already.
    pub changed: bool,
    /// The `CURRENT` that this call wrote, or the present one.
    pub current: Current,
    /// The release of a later promotion that is current by now; 0: none.
    pub overtaken_by: u64,
}

/// The result of concluding an experiment: a release that a person may promote.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ConcludedExperiment {
    /// The release.
    pub record: ReleaseRecord,
    /// False where an earlier call made it.
    pub created: bool,
    /// What is sound and most likely a mistake, each with file and line.
    pub warnings: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn word<S: Serializer>(state: &State, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(state.name())
}
