//! What a report says, as plain data: it is what JSON has, and what text, CSV, HTML and the contract are made of.
//!
//! Shares are 0..=1, money is in the unit of the policy, times are RFC 3339 in UTC, days are `2026-11-30` in UTC.

use serde::Serialize;

/// The result of one phase of an experiment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExperimentReport {
    /// Its id.
    pub experiment: String,
    /// The phase, sixteen hexadecimal digits. Results of other phases are not in it.
    pub phase: String,
    /// Whether it assigns: `draft`, `running`, `paused`, `stopped`.
    pub state: String,
    /// The share of those eligible that take part, 0..=1.
    pub coverage: f64,
    /// Other phases of the experiment that were found, the latest first.
    pub other_phases: Vec<OtherPhase>,
    /// The first and the last decision of the phase; empty without one.
    pub from: String,
    /// See `from`.
    pub to: String,
    /// How old the newest event of each server is, by server.
    pub sources: Vec<Source>,
    /// The share of false alarms that is accepted, over all comparisons.
    pub alpha: f64,
    /// `alpha` of one comparison, by Bonferroni.
    pub alpha_each: f64,
    /// Over how many comparisons it is divided.
    pub comparisons: usize,
    /// The number of customers at which sequences are tightest.
    pub planned: u64,
    /// The arms, the control first.
    pub arms: Vec<ArmCount>,
    /// Customers by the day of their first exposure.
    pub exposure: Vec<ExposureDay>,
    /// Whether the arms are as large as their weights say.
    pub mismatch: Option<MismatchResult>,
    /// Customers and decisions that are not in the statistics.
    pub left_out: LeftOut,
    /// The primary metric, then guardrails, then the others. Empty where the arms are not as large as they should be.
    pub metrics: Vec<MetricResult>,
    /// The primary metric by placement. Exploratory.
    pub by_placement: Vec<Breakdown>,
    /// The primary metric by segment. Exploratory.
    pub by_segment: Vec<Breakdown>,
    /// What the result is.
    pub verdict: Verdict,
    /// What was done to the experiment, the latest first.
    pub steps: Vec<StepLine>,
    /// What a reader must know, one sentence each.
    pub warnings: Vec<String>,
    /// How the figures are computed, and what they do not say; one sentence or two each.
    pub method: Vec<String>,
}

/// A phase that is not reported.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OtherPhase {
    /// Sixteen hexadecimal digits.
    pub phase: String,
    /// Its first and last decision.
    pub from: String,
    /// See `from`.
    pub to: String,
    /// Its decisions.
    pub decisions: u64,
}

/// A server whose events are in the report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Source {
    /// The id of its data directory.
    pub server: String,
    /// The time of its newest event.
    pub newest: String,
    /// Seconds from then to when the report was made.
    pub age_seconds: u64,
}

/// The size of an arm.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ArmCount {
    /// The variant.
    pub variant: String,
    /// Its share of those that take part, 0..=1.
    pub weight: f64,
    /// Its customers.
    pub customers: u64,
    /// Their decisions since their first exposure.
    pub decisions: u64,
    /// Their outcomes that count.
    pub outcomes: u64,
}

/// The customers of a day.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExposureDay {
    /// The day.
    pub day: String,
    /// First exposed on that day, for each arm.
    pub new: Vec<u64>,
    /// Exposed so far, for each arm.
    pub all: Vec<u64>,
}

/// Whether customers were split as the weights say.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MismatchResult {
    /// χ² of the counts.
    pub chi_squared: f64,
    /// Arms with a weight, less one.
    pub degrees: u64,
    /// Its p, for one look.
    pub p: f64,
    /// p of the sequential test, the least so far: it holds however often one looks.
    pub sequential_p: f64,
    /// Whether the split is wrong; then nothing else is shown.
    pub is_mismatch: bool,
}

/// What is counted and not in the statistics.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Decisions of customers without an id.
    pub unknown_decisions: u64,
    /// Decisions of customers who were forced or listed into a variant.
    pub forced_decisions: u64,
    /// Customers who were seen in a second arm; they count in their first.
    pub crossed_customers: u64,
    /// Outcomes that were late.
    pub late_outcomes: u64,
    /// Outcomes whose decision is not among those of the phase.
    pub unmatched_outcomes: u64,
}

/// What a metric is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// What decides.
    Primary,
    /// What must not get worse.
    Guardrail,
    /// Exploratory.
    Secondary,
}

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// In percent.
    Share,
    /// A plain number.
    Number,
    /// With two digits.
    Money,
}

/// A metric over all arms.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MetricResult {
    /// Its id.
    pub metric: String,
    /// What it measures, in a sentence.
    pub says: String,
    /// What it is for.
    pub role: Role,
    /// How its values are written.
    pub kind: Kind,
    /// Whether more is better.
    pub higher_is_better: bool,
    /// By arm, the control first.
    pub arms: Vec<ArmValue>,
    /// Each challenger against the control.
    pub comparisons: Vec<Comparison>,
}

/// A metric in an arm.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ArmValue {
    /// The variant.
    pub variant: String,
    /// Its customers.
    pub n: u64,
    /// What is added up, over all of them.
    pub numerator: f64,
    /// What it is divided by: customers, decisions or outcomes.
    pub denominator: f64,
    /// The value; absent without a denominator.
    pub value: Option<f64>,
    /// Its interval for one look, at the level of `alpha_each`.
    pub interval: Option<Limits>,
}

/// Two limits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Limits {
    /// The lower one.
    pub low: f64,
    /// The upper one.
    pub high: f64,
}

/// A challenger against the control.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The challenger.
    pub variant: String,
    /// Why nothing is shown: too few customers or conversions. Empty where there is a result.
    pub hidden: String,
    /// What was found; absent where it is hidden.
    pub effect: Option<Effect>,
    /// What the guardrail says; absent for other metrics.
    pub guardrail: Option<GuardrailResult>,
}

/// A difference, challenger − control, in the unit of the metric.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Effect {
    /// The difference.
    pub delta: f64,
    /// Limits that hold however often one looks.
    pub sequence: Limits,
    /// p that holds however often one looks, the least so far.
    pub sequence_p: f64,
    /// Limits for one look at a time that was fixed before.
    pub fixed: Limits,
    /// p for one look at a time that was fixed before.
    pub fixed_p: f64,
    /// The difference as a share of the control's value, with limits that hold however often one looks.
    pub relative: Option<f64>,
    /// See `relative`.
    pub relative_sequence: Option<Limits>,
    /// Whether it is adjusted by what customers did before (CUPED), and by how much of it.
    pub theta: Option<f64>,
    /// The share of the variance that the adjustment took away.
    pub variance_reduced: Option<f64>,
    /// The sequence at the end of each day since there is one.
    pub over_time: Vec<SequencePoint>,
}

/// A sequence at the end of a day.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SequencePoint {
    /// The day.
    pub day: String,
    /// Customers of both arms.
    pub n: u64,
    /// The difference.
    pub delta: f64,
    /// Its limits.
    pub low: f64,
    /// See `low`.
    pub high: f64,
    /// The least p so far.
    pub p: f64,
}

/// What a guardrail says of a challenger.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GuardrailResult {
    /// The loss that is tolerated, in the unit of the metric.
    pub tolerate: f64,
    /// Limits of the difference, oriented so that more is better; absent where it is hidden.
    pub oriented: Option<Limits>,
    /// What follows.
    pub decision: GuardrailDecision,
}

/// What follows from a guardrail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GuardrailDecision {
    /// The loss is smaller than what is tolerated: the next step may come.
    Advance,
    /// It is not known yet.
    Hold,
    /// The loss is greater than what is tolerated: back to the control.
    RollBack,
}

/// The primary metric in a part of the decisions. Exploratory: no correction for the number of parts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Breakdown {
    /// The placement or the segment.
    pub part: String,
    /// By arm.
    pub arms: Vec<ArmValue>,
    /// Each challenger against the control. Without points over time.
    pub comparisons: Vec<Comparison>,
}

/// What the result is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// The word.
    pub word: VerdictWord,
    /// The sentence.
    pub sentence: String,
}

/// A verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictWord {
    /// The split is wrong: there is no result.
    Mismatch,
    /// Too little was seen.
    TooEarly,
    /// No difference is shown yet.
    Undecided,
    /// A challenger is better in the primary metric, and no guardrail is broken.
    Better,
    /// Every challenger with a result is worse in the primary metric.
    Worse,
    /// A guardrail is broken.
    GuardrailBroken,
}

/// What was done to the experiment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepLine {
    /// When.
    pub time: String,
    /// What: `start`, `ramp`, `pause`, `stop`, `roll_back`, `conclude`.
    pub action: String,
    /// The coverage from then on, 0..=1.
    pub coverage: f64,
    /// The release that did it.
    pub release: u64,
    /// Who.
    pub author: String,
    /// Why, and with what evidence.
    pub reason: String,
}

/// Metrics of decisions by offer, segment or day, without an experiment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MetricsReport {
    /// The placement; empty: all.
    pub placement: String,
    /// `offer`, `segment` or `day`.
    pub by: String,
    /// The first and the last decision; empty without one.
    pub from: String,
    /// See `from`.
    pub to: String,
    /// How old the newest event of each server is, by server.
    pub sources: Vec<Source>,
    /// The metrics of the columns.
    pub metrics: Vec<MetricHead>,
    /// A row for each offer, segment or day, then one for all.
    pub rows: Vec<MetricsRow>,
    /// Customers, decisions and outcomes that are not in the figures.
    pub left_out: LeftOut,
    /// What a reader must know, one sentence each.
    pub warnings: Vec<String>,
    /// How the figures are computed, and what they do not say; one sentence or two each.
    pub method: Vec<String>,
}

/// A column of a [`MetricsReport`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MetricHead {
    /// Its id.
    pub metric: String,
    /// What it measures, in a sentence.
    pub says: String,
    /// How its values are written.
    pub kind: Kind,
    /// Whether more is better.
    pub higher_is_better: bool,
}

/// A row of a [`MetricsReport`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MetricsRow {
    /// The offer, the segment or the day; `all` for everything.
    pub part: String,
    /// Customers.
    pub customers: u64,
    /// Decisions.
    pub decisions: u64,
    /// For each metric; `variant` is empty, and the interval is one of 95 % for one look.
    pub values: Vec<ArmValue>,
}
