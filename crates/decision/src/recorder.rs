//! What a recorder of decisions gets, and when.
//!
//! Decisions know only the trait [`Recorder`]. Room for the records of a call is reserved before it is decided, so
//! that a recorder without room can refuse the call before any work. What its records take beyond what was expected is
//! reserved once it is decided. Afterwards the recorder gets the plan of the call and what became of each candidate;
//! everything else follows from the plan, and is read on the recorder's own thread.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use smallvec::SmallVec;
use uuid::Uuid;

use super::customer::KnownValues;
use super::limits::{CallLimits, Refusal};
use super::plan::Plan;
use super::request::{AskedRank, RankRequest};
use super::{CustomerError, RankedOffer, Reason, Stage};
use experiment::Assignment;
use feature::{Entity, Feature, ValueRef};
use history::{HistoryView, Limits, Place, ShownOffer};
use offer::{OfferIndex, Placement};
use release::{AssignedSegment, Snapshot};
use work::Lane;

/// The bytes that are reserved for the record of a customer, besides those of the request. Usual records take fewer,
/// before and after they are encoded.
const BYTES_PER_CUSTOMER: usize = 4 << 10;

/// What of it lists may take; what they take beyond is reserved besides.
const BYTES_OF_LISTS: usize = 2 << 10;

/// The bytes of one of a list, decided and encoded.
const BYTES_PER_CANDIDATE: usize = 16;
const BYTES_PER_OFFER: usize = 256;
const BYTES_PER_REFUSAL: usize = 128;
const BYTES_PER_EVENT: usize = 16;
const BYTES_PER_ASSIGNMENT: usize = 96;
const BYTES_PER_NEWCOMER: usize = 48;
const BYTES_PER_FEATURE: usize = 8;

/// Takes the decisions of calls.
pub trait Recorder: Send + Sync + fmt::Debug {
    /// Takes room for `bytes` of a call of this lane if there is any now, and returns how much it took.
    fn try_reserve(&self, lane: Lane, bytes: usize) -> Option<usize>;

    /// As [`Recorder::try_reserve`] for bulk work, and waits for room; `None` where there will be none.
    fn reserve(&self, bytes: usize) -> Pin<Box<dyn Future<Output = Option<usize>> + Send + '_>>;

    /// Makes `bytes` that were reserved by a call of this lane enough for `needed`, and returns how much it has taken
    /// in all; `None`, and takes nothing, where there is no room for the rest now.
    fn try_extend(&self, lane: Lane, bytes: usize, needed: usize) -> Option<usize>;

    /// Gives back room that was reserved and is not used.
    fn release(&self, bytes: usize);

    /// Whether a call for which there is no room is refused. Otherwise it is decided and not recorded.
    fn refuses(&self) -> bool;

    /// Whether decisions cannot become durable for now, though there may be room for them.
    fn is_stalled(&self) -> bool;

    /// Takes the decisions of a call, for which `bytes` were reserved. `None`: the answer need not wait. Otherwise it
    /// waits until the decisions are durable; `false` where they cannot become durable. The answer of a call that
    /// [`RecordedCall::must_be_durable`] always waits.
    fn record(&self, bytes: usize, call: RecordedCall) -> Option<Durable>;

    /// Counts decisions that were made and are not recorded, whether they are answered or refused.
    fn dropped(&self, decisions: usize);
}

/// Resolves to whether what was recorded is durable.
pub type Durable = Pin<Box<dyn Future<Output = bool> + Send>>;

/// Room for the records of a call; given back unless it is used.
#[derive(Debug)]
pub(super) struct Room {
    recorder: Arc<dyn Recorder>,
    lane: Lane,
    bytes: usize,
    needed: Needed,
}

/// The bytes that the records of a call take while they wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Needed {
    /// The request, once.
    request: usize,
    /// What the request says of all its customers: each record repeats it.
    shared: usize,
    customers: usize,
}

impl Needed {
    /// What is known before the call is decided.
    pub(crate) fn before(snapshot: &Snapshot, request: &RankRequest) -> Self {
        let catalog = snapshot.release.catalog();
        let placement = catalog.policy.find_placement(&request.placement);
        let placement = placement.map(|index| catalog.policy.placement(index));
        let all = placement.map_or(0, |placement| placement.candidates.len());
        let candidates = match request.candidate_offer_ids.len() {
            0 => all,
            named => all.min(named),
        };
        let most = match request.count {
            0 => placement.map_or(0, |placement| placement.count),
            count => count,
        };
        let shared = request.shared_footprint();
        let each = record_bytes(
            shared
                + candidates * BYTES_PER_CANDIDATE
                + candidates.min(most) * BYTES_PER_OFFER
                + snapshot.release.schema().of(Entity::Customer).len() * BYTES_PER_FEATURE,
        );
        let customers = request.customers.len() * each;
        Self { request: request.footprint(), shared, customers }
    }

    /// The same once it is decided.
    fn after(self, call: &RecordedCall) -> Self {
        let features = call.snapshot().release.schema().of(Entity::Customer).len();
        let of_decision = |(index, decision): (usize, &RecordedDecision)| {
            let events = call.plan.limits.as_ref().map_or(0, |limits| limits.view.entry_count(index));
            let unscored: usize = decision.unscored.iter().map(|why| why.len()).sum();
            record_bytes(
                self.shared
                    + decision.candidates.len() * BYTES_PER_CANDIDATE
                    + decision.offers.len() * BYTES_PER_OFFER
                    + decision.refusals.len() * BYTES_PER_REFUSAL
                    + decision.assignments.len() * BYTES_PER_ASSIGNMENT
                    + call.plan.newcomers.len() * BYTES_PER_NEWCOMER
                    + events * BYTES_PER_EVENT
                    + features * BYTES_PER_FEATURE
                    + decision.unscored.len() * BYTES_PER_CANDIDATE
                    + unscored
                    + decision.degraded.len(),
            )
        };
        Self { customers: call.decisions.iter().enumerate().map(of_decision).sum(), ..self }
    }

    fn bytes(self) -> usize {
        self.customers + self.request
    }
}

/// The bytes of a record with lists of so many.
fn record_bytes(lists: usize) -> usize {
    BYTES_PER_CUSTOMER + lists.saturating_sub(BYTES_OF_LISTS)
}

impl Room {
    pub(crate) fn try_reserve(recorder: &Arc<dyn Recorder>, lane: Lane, needed: Needed) -> Option<Self> {
        let bytes = recorder.try_reserve(lane, needed.bytes())?;
        Some(Self { recorder: Arc::clone(recorder), lane, bytes, needed })
    }

    pub(crate) async fn reserve(recorder: &Arc<dyn Recorder>, needed: Needed) -> Option<Self> {
        let bytes = recorder.reserve(needed.bytes()).await?;
        Some(Self { recorder: Arc::clone(recorder), lane: Lane::Bulk, bytes, needed })
    }

    /// The bytes that the decisions need.
    pub(crate) fn needed(&self, call: &RecordedCall) -> usize {
        self.needed.after(call).bytes()
    }

    /// Takes what they need beyond what was expected. Whether there is room for them now.
    pub(crate) fn try_extend(&mut self, needed: usize) -> bool {
        if needed <= self.needed.bytes() {
            return true;
        }
        let extended = self.recorder.try_extend(self.lane, self.bytes, needed);
        if let Some(bytes) = extended {
            self.bytes = bytes;
        }
        extended.is_some()
    }

    /// Whether a call whose room cannot be extended may wait for what it needs.
    pub(crate) fn may_wait(&self) -> bool {
        self.lane == Lane::Bulk && !self.is_required()
    }

    /// Gives the room back and waits for what the decisions need; `None`, and none is left, where there will be none.
    /// Nothing is held meanwhile: calls that hold what others wait for would all wait for ever.
    pub(crate) async fn exchange(&mut self, needed: usize) -> Option<()> {
        self.give_back();
        self.bytes = self.recorder.reserve(needed).await?;
        Some(())
    }

    /// Whether calls without room are refused.
    pub(crate) fn is_required(&self) -> bool {
        self.recorder.refuses()
    }

    /// Counts decisions of the call that are refused.
    pub(crate) fn refused(&self, decisions: usize) {
        self.recorder.dropped(decisions);
    }

    /// Hands the decisions over.
    pub(crate) fn record(mut self, call: RecordedCall) -> Option<Durable> {
        self.recorder.record(std::mem::take(&mut self.bytes), call)
    }

    fn give_back(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        if bytes > 0 {
            self.recorder.release(bytes);
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// The decisions of one call and what they depended on.
pub struct RecordedCall {
    pub(super) plan: Arc<Plan>,
    /// How long the call took until the last customer was decided.
    pub took: Duration,
    /// One per customer, in order.
    pub decisions: Decisions,
}

/// Most calls are for one customer.
pub type Decisions = SmallVec<[RecordedDecision; 1]>;

/// One decision: what became of the candidates, and the answer.
#[derive(Debug, Clone, Default)]
pub struct RecordedDecision {
    /// The id of the decision.
    pub id: Uuid,
    /// One per candidate, in the order of their ids; empty if there is an error.
    pub candidates: Vec<CandidateOutcome>,
    /// Why there is no score, one for each candidate that reached the models and has none, in order.
    pub unscored: Vec<Arc<str>>,
    /// The offers shown, best first.
    pub offers: Vec<RankedOffer>,
    /// The segment, where the release assigns one.
    pub segment: Option<AssignedSegment>,
    /// The customer's arms.
    pub assignments: Vec<Assignment>,
    /// Whether the customer is in the holdout.
    pub held_out: bool,
    /// The sorted lines, each with a line feed at its end.
    pub degraded: String,
    /// Why there is no decision.
    pub error: Option<CustomerError>,
    /// What was shown as the history has it, with what was reserved.
    pub shown: Arc<[ShownOffer]>,
    /// What limits refused of the slates that were tried.
    pub refusals: Vec<Refusal>,
}

/// What became of a candidate.
#[derive(Debug, Clone, Copy)]
pub struct CandidateOutcome {
    /// Why it is not shown; `None` for an offer that is.
    pub withheld: Option<(Stage, Reason)>,
    /// The model's output, if the candidate reached the models and has a score; else NaN.
    pub raw: f32,
}

impl CandidateOutcome {
    /// Whether it passed the gates and reached the models.
    #[must_use]
    pub fn reached_models(&self) -> bool {
        self.withheld.is_none_or(|(stage, _)| stage.is_after_scores())
    }
}

/// Where the value of a feature came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueSource {
    /// There is none.
    Missing,
    /// The request.
    Request,
    /// The feature store.
    Store,
    /// The schema's default.
    Default,
}

/// A value, and where it came from. The value of a default is that of the schema.
pub type SourcedValue<'a> = (ValueSource, ValueRef<'a>);

/// What limits looked at in a call.
#[derive(Debug, Clone, Copy)]
pub struct CallHistory<'a> {
    /// The limits.
    pub limits: &'a Limits,
    /// The history of the customers of the call, in order.
    pub view: &'a HistoryView,
    /// Where offers were to be shown.
    pub place: Place,
}

/// A customer as the call described them.
#[derive(Debug)]
pub struct RecordedCustomer<'a> {
    /// Their id.
    pub id: &'a str,
    /// The consents that the call claimed.
    pub consents: &'a [String],
    /// One per customer feature of the schema.
    pub values: Vec<SourcedValue<'a>>,
    /// Whether the feature store does not have the id.
    pub unknown: bool,
}

impl RecordedCall {
    /// The snapshot that decided.
    #[must_use]
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.plan.snapshot
    }

    /// What the call asked for.
    #[must_use]
    pub fn asked(&self) -> &AskedRank {
        &self.plan.asked
    }

    /// The placement.
    #[must_use]
    pub fn placement(&self) -> &Placement {
        self.plan.placement()
    }

    /// The server's clock when the call was planned.
    #[must_use]
    pub fn decided_at(&self) -> DateTime<Utc> {
        self.plan.now
    }

    /// Lines of `degraded` that are about the whole call.
    #[must_use]
    pub fn ignored(&self) -> &[String] {
        self.plan.ignored()
    }

    /// One value per context feature of the schema.
    #[must_use]
    pub fn context(&self) -> Vec<SourcedValue<'_>> {
        let features = self.snapshot().release.schema().of(Entity::Context);
        let mut sourced = Vec::with_capacity(features.len());
        for (value, feature) in self.plan.context_values().into_iter().zip(features) {
            let sent = (ValueSource::Request, value);
            sourced.push(if value.is_missing() { default_of(feature) } else { sent });
        }
        sourced
    }

    /// The candidates, in the order of their ids.
    pub fn candidates(&self) -> impl Iterator<Item = OfferIndex> {
        self.plan.candidates().iter().map(|candidate| candidate.offer)
    }

    /// The new offers among the candidates, with how many decisions had shown each when the call was planned.
    pub fn newcomers(&self) -> impl Iterator<Item = (OfferIndex, u64)> {
        self.plan.newcomers.iter().map(|newcomer| (newcomer.offer, newcomer.impressions))
    }

    /// What limits looked at; `None` where there is no history.
    #[must_use]
    pub fn history(&self) -> Option<CallHistory<'_>> {
        let CallLimits { limits, view, place, .. } = self.plan.limits.as_ref()?;
        Some(CallHistory { limits, view, place: *place })
    }

    /// Whether something was taken of a limit over all customers: the answer must wait until this is durable, so that
    /// a server that dies forgets nothing that limits must hold.
    #[must_use]
    pub fn must_be_durable(&self) -> bool {
        // Where nothing can become durable, only fallbacks are taken, which no such limit withholds.
        let limits = self.plan.limits.as_ref().filter(|limits| !limits.undurable);
        let Some(CallLimits { limits, .. }) = limits else { return false };
        let mut shown = self.decisions.iter().flat_map(|decision| &decision.offers);
        shown.any(|offer| limits.has_totals(offer.offer))
    }

    /// The customer of a decision, by its position.
    #[must_use]
    pub fn customer(&self, index: usize) -> RecordedCustomer<'_> {
        let customer = &self.plan.customers[index];
        let features = self.snapshot().release.schema().of(Entity::Customer);
        let known = KnownValues::of(&self.plan, index);
        let sourced = |(position, feature)| match known.value(position) {
            (ValueSource::Missing, _) => default_of(feature),
            known => known,
        };
        let values = features.iter().enumerate().map(sourced).collect();
        let unknown = known.is_unknown();
        RecordedCustomer { id: &customer.id, consents: &customer.consents, values, unknown }
    }
}

fn default_of(feature: &Feature) -> SourcedValue<'_> {
    let default = feature.default_ref();
    (if default.is_missing() { ValueSource::Missing } else { ValueSource::Default }, default)
}

impl fmt::Debug for RecordedCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordedCall").field("decisions", &self.decisions).finish_non_exhaustive()
    }
}
