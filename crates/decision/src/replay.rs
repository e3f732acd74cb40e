//! Decides again from what was recorded of a customer, by the functions that serve.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::arms::Chance;
use super::limits::{Adds, CallLimits, Limiter, Refusal, Reserve, Reserved};
use super::plan::Plan;
use super::rank;
use super::recorder::{Decisions, RecordedDecision, ValueSource};
use super::{DecisionError, RankRequest, RankResult};
use experiment::How;
use feature::{Value, ValueRef};
use history::{HistoryView, Limits};
use offer::OfferIndex;
use release::Snapshot;
use telemetry::Trace;
use work::{Call, Worker};

/// One decision as it was recorded.
#[derive(Debug, Clone, Default)]
pub struct ReplayInput {
    /// What was asked, for one customer and without features.
    pub request: RankRequest,
    /// The clock when the call was planned.
    pub now: DateTime<Utc>,
    /// What was known.
    pub values: RecordedValues,
    /// Lines of `degraded` that are about the whole call; `None`: those of the release that decides now.
    pub ignored: Option<Vec<String>>,
}

/// What was known of a customer and the context, and what the models answered.
#[derive(Debug, Clone, Default)]
pub struct RecordedValues {
    /// The id of the decision; `None` for a new one.
    pub decision_id: Option<Uuid>,
    /// One per customer feature of the schema that decides now.
    pub customer: Vec<(ValueSource, Option<Value>)>,
    /// One per context feature of the schema that decides now.
    pub context: Vec<(ValueSource, Option<Value>)>,
    /// Whether the feature store did not have the customer.
    pub unknown_customer: bool,
    /// What the models answered; `None`: they are asked.
    pub scores: Option<RecordedScores>,
    /// What limits looked at; `None`: there are no limits.
    pub history: Option<RecordedHistory>,
    /// The customer's arms; `None`: they are drawn.
    pub arms: Option<RecordedArms>,
    /// How many decisions had shown each new offer; others had been shown in none.
    pub impressions: Vec<(OfferIndex, u64)>,
}

/// The arms of a recorded decision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordedArms {
    /// Experiment, variant, and how it came about.
    pub assignments: Vec<(String, String, How)>,
    /// Whether the customer was held out.
    pub held_out: bool,
    /// Whether the customer has the id that arms were drawn with, and not a pseudonym. Then they are drawn again, and
    /// what is recorded is compared with that; but for variants that the call forced.
    pub can_be_drawn: bool,
}

/// What limits looked at, and what they refused when the slate was reserved.
#[derive(Debug, Clone)]
pub struct RecordedHistory {
    /// The limits of the release that decides now.
    pub limits: Arc<Limits>,
    /// The history of the customer.
    pub view: Arc<HistoryView>,
    /// What was refused.
    pub refusals: Vec<Refusal>,
    /// Whether nothing could be reserved, since the decision could not become durable when it was made.
    pub undurable: bool,
}

/// What the models answered for the candidates that reached them, in order.
#[derive(Debug, Clone, Default)]
pub struct RecordedScores {
    /// The raw scores; NaN where there is none.
    pub raw: Vec<f32>,
    /// Why there is none, one for each NaN.
    pub unscored: Vec<Arc<str>>,
}

impl ValueSource {
    /// The value where it was known: defaults are those of the release that decides now.
    pub(super) fn known(self, value: Option<&Value>) -> ValueRef<'_> {
        match self {
            Self::Request | Self::Store => value.map_or(ValueRef::Missing, Value::as_ref),
            Self::Missing | Self::Default => ValueRef::Missing,
        }
    }
}

/// A decision that was made again.
#[derive(Debug)]
pub struct DecidedAgain {
    /// The answer.
    pub result: RankResult,
    /// The decision as a recorder gets it.
    pub decision: RecordedDecision,
    /// The candidates, in the order of their ids.
    pub candidates: Vec<OfferIndex>,
}

/// Decides again. The release that decided gives the same answer if the scores are those that were recorded.
///
/// # Errors
/// When the release does not have what the request names.
pub fn decide_again(
    snapshot: &Arc<Snapshot>,
    input: ReplayInput,
    worker: &Worker,
) -> Result<DecidedAgain, DecisionError> {
    let plan = plan(snapshot, input)?;
    let mut decided = rank::decide(&plan, 0..1, None, worker, &Call::default(), &Trace::default())?;
    let nothing = || DecisionError::Internal("no customer was decided".to_owned());
    let result = decided.results.pop().ok_or_else(nothing)?;
    let decision = decided.recorded.pop().ok_or_else(nothing)?;
    let candidates = plan.candidates().iter().map(|candidate| candidate.offer).collect();
    Ok(DecidedAgain { result, decision, candidates })
}

/// The plan of a recorded decision.
///
/// # Errors
/// When the release does not have what the request names.
pub(super) fn plan(snapshot: &Arc<Snapshot>, input: ReplayInput) -> Result<Plan, DecisionError> {
    let ReplayInput { request, now, mut values, ignored } = input;
    let history = values.history.take();
    let mut plan = Plan::of_record(Arc::clone(snapshot), request, now, values, ignored)?;
    plan.limits = history.map(|RecordedHistory { limits, view, refusals, undurable }| {
        let place = limits.place(plan.placement, plan.channel().unwrap_or_default());
        CallLimits { limits, view, place, reserve: Reserve::Recorded(refusals), undurable }
    });
    Ok(plan)
}

/// Decisions for many customers that were made outside of a call.
#[derive(Debug)]
pub struct DecidedTogether {
    /// One per customer, in order, as a recorder gets them.
    pub decisions: Decisions,
    /// The candidates, in the order of their ids.
    pub candidates: Vec<OfferIndex>,
    /// What they have added to the history of the limiter.
    pub held: Held,
}

/// What decisions have added to a history. It is taken back when this is dropped.
#[derive(Debug)]
pub struct Held(Vec<Reserved>);

impl Held {
    /// Stays counted for limits over all customers. The history of each customer is as it was before.
    pub fn keep_totals(self) {
        self.0.into_iter().for_each(Reserved::keep_totals);
    }
}

/// Decides for all customers of `request` on this thread, as `Rank` would at `now`, with what `limiter` knows. Nothing
/// is recorded or counted but in the history of `limiter`.
///
/// # Errors
/// When the request does not fit the release.
pub fn decide_together(
    snapshot: &Arc<Snapshot>,
    request: RankRequest,
    now: DateTime<Utc>,
    limiter: &Limiter,
    worker: &Worker,
) -> Result<DecidedTogether, DecisionError> {
    let mut plan = Plan::new(Arc::clone(snapshot), request, now)?;
    plan.records = true;
    plan.chance = Chance::Customer;
    limiter.look(&mut plan, Adds::Durably)?;
    let customers = 0..plan.customers.len();
    let decided = rank::decide(&plan, customers, None, worker, &Call::default(), &Trace::default())?;
    let candidates = plan.candidates().iter().map(|candidate| candidate.offer).collect();
    Ok(DecidedTogether { decisions: decided.recorded, candidates, held: Held(decided.reserved) })
}
