//! Deciding again beside an answer: for one customer, with the whole ranking, and without a trace of it elsewhere.
//!
//! The functions are those that decide answers. What they reserve, record and count for an answer, they do not here.

use smallvec::SmallVec;
use uuid::Uuid;

use super::{Piece, SCRATCH, STEPS, Scratch};
use crate::RankedCandidate;
use crate::arbitration::Scored;
use crate::arms::Arms;
use crate::limits::{Refusal, Reserving};
use crate::plan::Plan;
use crate::scoring::{OfferRows, Pairs, score_pairs};
use crate::tally::Tally;
use experiment::Changes;
use offer::OfferIndex;
use release::{AssignedSegment, ModelIndex, Replacement};
use telemetry::Trace;
use work::{Call, Cancellation, Worker};

/// A decision that is made again.
#[derive(Clone, Copy)]
pub(crate) struct Again<'a> {
    /// Its id, which chance comes from.
    pub decision: Uuid,
    /// The customer's arms; `None`: they are drawn again.
    pub arms: Option<&'a Arms>,
    /// What was refused when its slate was reserved; `None`: the plan says so.
    pub refusals: Option<&'a [Refusal]>,
    /// What a shadow changes; `None`: it is decided as it was.
    pub overlay: Option<Overlay<'a>>,
}

/// What a shadow changes.
#[derive(Clone, Copy)]
pub(crate) struct Overlay<'a> {
    pub changes: &'a Changes,
    pub replacements: &'a [Replacement],
}

/// A decision with all that was ranked for it.
#[derive(Debug, Clone)]
pub(crate) struct Whole {
    /// What has a score, in the order of arbitration.
    pub ranking: Vec<RankedCandidate>,
    /// Best first; a fallback included.
    pub shown: Vec<OfferIndex>,
    /// What was withheld before the scores, ascending.
    pub withheld_by_rules: Vec<OfferIndex>,
    /// The models that were asked.
    pub models: SmallVec<[ModelIndex; 2]>,
    pub segment: Option<AssignedSegment>,
    pub held_out: bool,
}

/// Decides again for the customer at a position. The inner error says why nothing has a score, where candidates have
/// reached the models.
///
/// # Errors
/// When the call ends before.
pub(crate) fn decide_whole(
    plan: &Plan,
    index: usize,
    again: Again<'_>,
    worker: &Worker,
    call: &Call,
) -> Result<Result<Whole, String>, Cancellation> {
    let trace = Trace::default();
    let piece = Piece {
        plan,
        context: plan.context(),
        draws: if again.arms.is_none() { plan.draws() } else { None },
        offers: OfferRows::new(plan.snapshot.release.catalog().library.offers()),
        worker,
        call,
        trace: &trace,
        again: Some(again),
    };
    SCRATCH.with_borrow_mut(|scratch| piece.decide_whole(again, index, scratch))
}

impl<'a> Piece<'a> {
    fn decide_whole(
        &self,
        again: Again<'a>,
        index: usize,
        scratch: &mut Scratch,
    ) -> Result<Result<Whole, String>, Cancellation> {
        let plan = self.plan;
        let (mut tally, mut laps) = (Tally::default(), self.trace.laps(STEPS));
        scratch.pairs.clear();
        let mut pending = match self.open(0, index, scratch, &mut tally, &mut laps) {
            Ok(pending) => pending,
            Err(error) => return Ok(Err(error.message().to_owned())),
        };
        let mut models: SmallVec<[ModelIndex; 2]> = SmallVec::new();
        {
            let customer = |_: usize| pending.resolved.row(&self.context);
            let replacements = |_: usize| &pending.treatment.replacements[..];
            let pairs = Pairs {
                all: &scratch.pairs,
                customer: &customer,
                replacements: &replacements,
                offers: &self.offers,
                models: plan.snapshot.release.models(),
            };
            for scorer in pairs.scorers(plan).flatten() {
                if !models.contains(&scorer.model) {
                    models.push(scorer.model);
                }
            }
            score_pairs(plan, &pairs, self.worker, self.call, &mut tally, &mut scratch.scores)?;
        }
        self.weigh(&mut pending, scratch, &mut tally);
        if scratch.scored.is_empty() {
            let unscored = scratch.scores.raw.iter().find_map(|score| score.as_ref().err());
            if let Some(why) = unscored {
                return Ok(Err(why.to_string()));
            }
        }
        let mut reserving = Reserving::begin(plan, index, pending.decision_id, again.refusals);
        let shown = self.choose(&mut pending, scratch, reserving.as_mut(), &mut tally);
        let Scratch { pairs, scored, order, .. } = &*scratch;
        let ranking = order.iter().map(|standing| ranked(&scored[standing.position]));
        let is_withheld = |offer: &OfferIndex| pairs.binary_search_by_key(offer, |pair| pair.offer).is_err();
        let candidates = plan.candidates().iter().map(|candidate| candidate.offer);
        Ok(Ok(Whole {
            ranking: ranking.collect(),
            shown: shown.iter().map(|shown| shown.offer).collect(),
            withheld_by_rules: candidates.filter(is_withheld).collect(),
            models,
            segment: pending.resolved.segment,
            held_out: pending.arms.held_out,
        }))
    }
}

fn ranked(Scored { offer, factors }: &Scored) -> RankedCandidate {
    RankedCandidate {
        offer: *offer,
        score: factors.propensity,
        priority: factors.priority(),
        value: factors.value,
        margin: factors.margin,
    }
}
