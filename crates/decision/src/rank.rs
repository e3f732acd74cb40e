//! Deciding for a range of customers: gates, one batch of scores per model, arbitration, explanation.

mod whole;

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

pub(super) use self::whole::{Again, Overlay, Whole, decide_whole};
use super::arbitration::{self, Constraints, Scored, Standing};
use super::arms::{self, Arms, Treatment};
use super::customer::ResolvedCustomer;
use super::degraded::Degraded;
use super::factors::{estimate, factors, immature};
use super::gates::GateInput;
use super::limits::{CustomerGate, Reserved, Reserving, Shown};
use super::plan::{Context, Plan};
use super::recorder::{CandidateOutcome, Decisions, RecordedDecision};
use super::scoring::{OfferRows, Pair, Pairs, Scores, Unscored, score_pairs};
use super::slate::{self, Choosing, Chosen, SlateScratch};
use super::tally::Tally;
use super::withheld::{Detail, Withheld};
use super::{CustomerError, Explain, RankResult, RankedOffer, Reason, Stage, WithheldOffer};
use experiment::{Draws, Seed};
use feature::{RecentRow, RecentRows, Row};
use offer::{OfferIndex, Rule, RuleMemo};
use telemetry::ids::new_id;
use telemetry::{Laps, Trace};
use uuid::Uuid;
use work::priority::yield_if_due;
use work::{Call, Cancellation, Worker, catch_panic};

/// How many customer × offer pairs are scored together. Enough to amortise a model's fixed cost; few enough to bound
/// memory and to notice a deadline soon.
const PAIRS_PER_BLOCK: usize = 4096;

/// The steps of deciding, as a trace names them. They take turns within a block.
const STEPS: [&str; 4] = ["features", "gates", "scoring", "arbitration"];
const FEATURES: usize = 0;
const GATES: usize = 1;
const SCORING: usize = 2;
const ARBITRATION: usize = 3;

thread_local! {
    /// Scratch memory of deciding, one per thread.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

#[derive(Default)]
struct Scratch {
    memo: RuleMemo,
    pairs: Vec<Pair>,
    scores: Scores,
    scored: Vec<Scored>,
    order: Vec<Standing>,
    slate: SlateScratch,
}

/// The decisions of a call or of a part of it.
#[derive(Default)]
pub(super) struct Decided {
    /// One per customer, in order.
    pub results: Vec<RankResult>,
    /// The same for a recorder, if the plan says so.
    pub recorded: Decisions,
    /// What was reserved for them, if there are limits. It is given back unless it is kept.
    pub reserved: Vec<Reserved>,
    pub tally: Tally,
}

impl Decided {
    /// Appends the next part.
    pub(crate) fn append(&mut self, next: Self) {
        if self.results.is_empty() {
            *self = next;
            return;
        }
        self.results.extend(next.results);
        self.recorded.extend(next.recorded);
        self.reserved.extend(next.reserved);
        self.tally.add(next.tally);
    }
}

/// Decides for the customers of `range`, in order. `recent` may sample one of the scored pairs. The steps are recorded
/// in `trace`.
///
/// # Errors
/// When the deadline passes or the caller disconnects before the last customer is decided.
pub(super) fn decide(
    plan: &Plan,
    range: Range<usize>,
    mut recent: Option<&RecentRows>,
    worker: &Worker,
    call: &Call,
    trace: &Trace,
) -> Result<Decided, Cancellation> {
    let block = (PAIRS_PER_BLOCK / plan.candidates().len().max(1)).max(1);
    let offers = OfferRows::new(plan.snapshot.release.catalog().library.offers());
    let draws = plan.draws();
    let piece = Piece { plan, context: plan.context(), draws, offers, worker, call, trace, again: None };
    let mut decided = Decided { results: Vec::with_capacity(range.len()), ..Decided::default() };
    SCRATCH.with_borrow_mut(|scratch| {
        let mut start = range.start;
        while start < range.end {
            call.check()?;
            let end = (start + block).min(range.end);
            piece.decide_block(start..end, recent.take(), scratch, &mut decided)?;
            start = end;
        }
        Ok(decided)
    })
}

/// What all customers of a piece share.
struct Piece<'a> {
    plan: &'a Plan,
    context: Context<'a>,
    /// `None` where no customer can be in an arm or held out.
    draws: Option<Draws<'a, Rule>>,
    offers: OfferRows<'a>,
    worker: &'a Worker,
    call: &'a Call,
    trace: &'a Trace,
    /// `None` where an answer is made.
    again: Option<Again<'a>>,
}

/// A customer who passed the gates and awaits arbitration.
struct PendingCustomer<'a> {
    decision_id: Uuid,
    resolved: ResolvedCustomer<'a>,
    arms: Arms,
    treatment: Treatment,
    seed: Seed,
    /// One per candidate, if the decision is recorded.
    outcomes: Vec<CandidateOutcome>,
    /// Why there is no score, for each of them that lacks one.
    unscored: Vec<Arc<str>>,
    /// The range of their pairs in the block.
    pairs: Range<usize>,
    withheld: Vec<Withheld<'a>>,
    limits: Option<CustomerGate<'a>>,
}

/// A decision.
struct Closed {
    result: RankResult,
    recorded: Option<RecordedDecision>,
    reserved: Option<Reserved>,
}

/// Replaces the row of a customer who cannot be decided and has no pairs.
const NO_CUSTOMER: Row<'static> = Row { customer: &[], context: &[], offer: &[], segment: None };

impl<'a> Piece<'a> {
    fn decide_block(
        &self,
        range: Range<usize>,
        recent: Option<&RecentRows>,
        scratch: &mut Scratch,
        decided: &mut Decided,
    ) -> Result<(), Cancellation> {
        let Decided { results, recorded, reserved, tally } = decided;
        let mut laps = self.trace.laps(STEPS);
        scratch.pairs.clear();
        let mut pending: Vec<Result<PendingCustomer<'a>, CustomerError>> = Vec::with_capacity(range.len());
        for (place, index) in range.clone().enumerate() {
            yield_if_due();
            let before = scratch.pairs.len();
            let customer = guarded(|| self.open(place, index, scratch, tally, &mut laps));
            if customer.is_err() {
                // It may have panicked halfway.
                scratch.pairs.truncate(before);
            }
            pending.push(customer);
        }
        self.call.check()?;
        let customer =
            |place: usize| pending[place].as_ref().map_or(NO_CUSTOMER, |one| one.resolved.row(&self.context));
        let replacements =
            |place: usize| pending[place].as_ref().map_or(&[][..], |one| &one.treatment.replacements[..]);
        let pairs = Pairs {
            all: &scratch.pairs,
            customer: &customer,
            replacements: &replacements,
            offers: &self.offers,
            models: self.plan.snapshot.release.deciding_models(),
        };
        match self.plan.recorded.as_ref().and_then(|recorded| recorded.scores.as_ref()) {
            Some(scores) => scratch.scores.take_recorded(self.plan, &pairs, scores),
            None => score_pairs(self.plan, &pairs, self.worker, self.call, tally, &mut scratch.scores)?,
        }
        if let Some(recent) = recent {
            remember(self.plan, &pairs, recent);
        }
        laps.lap(SCORING);
        for (index, customer) in range.zip(pending) {
            let closed =
                customer.and_then(|customer| guarded(|| Ok(self.close(index, customer, scratch, tally))));
            let closed = closed.unwrap_or_else(|error| failed(self.plan, index, error));
            results.push(closed.result);
            recorded.extend(closed.recorded);
            reserved.extend(closed.reserved);
        }
        laps.lap(ARBITRATION);
        Ok(())
    }

    /// Resolves a customer and runs the gates on each candidate. Pairs that pass are added to the block.
    fn open(
        &self,
        place: usize,
        index: usize,
        scratch: &mut Scratch,
        tally: &mut Tally,
        laps: &mut Laps<{ STEPS.len() }>,
    ) -> Result<PendingCustomer<'a>, CustomerError> {
        let plan = self.plan;
        if let Some(problem) = plan.problem(index) {
            return Err(CustomerError::Invalid(problem));
        }
        if plan.customers[index].id.is_empty() && plan.features.is_none() && plan.recorded.is_none() {
            return Err(CustomerError::Anonymous);
        }
        let known = match self.again {
            Some(again) => Some(again.decision),
            None => plan.recorded.as_ref().and_then(|recorded| recorded.decision_id),
        };
        let decision_id = known.unwrap_or_else(new_id);
        let resolved = ResolvedCustomer::resolve(plan, index, &self.context);
        laps.lap(FEATURES);
        let catalog = plan.snapshot.release.catalog();
        let limits = plan.limits.as_ref().map(|limits| limits.gate(index));
        let gates = gate_input(plan, &resolved, limits.as_ref());
        let Scratch { memo, pairs, .. } = scratch;
        let rules = catalog.rules_for(resolved.row(&self.context), memo);
        let arms = match self.again.and_then(|again| again.arms) {
            None => Arms::of(plan, self.draws.as_ref(), index, &rules, tally),
            Some(arms) => arms.clone(),
        };
        let mut treatment = Treatment::of(plan, &arms.assignments);
        if let Some(overlay) = self.again.and_then(|again| again.overlay) {
            treatment.overlay(overlay.changes, overlay.replacements);
        }
        let seed = plan.seed(decision_id, index);
        pairs.reserve(plan.candidates().len());
        let (first, mut withheld) = (pairs.len(), Vec::new());
        let mut outcomes = Vec::with_capacity(if plan.records { plan.candidates().len() } else { 0 });
        for offer in plan.candidates().iter().map(|candidate| candidate.offer) {
            let blocked = if arms.held_out {
                Some(Withheld::new(offer, Stage::Holdout, Reason::Holdout, Detail::Nothing))
            } else {
                gates.withholds(offer, &rules).or_else(|| immature(plan, offer, seed))
            };
            if plan.records {
                let withheld = blocked.as_ref().map(|one| (one.stage, one.reason));
                outcomes.push(CandidateOutcome { withheld, raw: f32::NAN });
            }
            match blocked {
                Some(one) => self.withhold(one, &mut withheld, tally),
                None => pairs.push(Pair { customer: place, offer }),
            }
        }
        let pairs = first..pairs.len();
        laps.lap(GATES);
        Ok(PendingCustomer {
            decision_id,
            resolved,
            arms,
            treatment,
            seed,
            outcomes,
            unscored: Vec::new(),
            pairs,
            withheld,
            limits,
        })
    }

    /// Arbitrates between the scored offers of a customer and explains the result.
    fn close(
        &self,
        index: usize,
        mut pending: PendingCustomer<'a>,
        scratch: &mut Scratch,
        tally: &mut Tally,
    ) -> Closed {
        let plan = self.plan;
        self.weigh(&mut pending, scratch, tally);
        let mut reserving = Reserving::begin(plan, index, pending.decision_id, None);
        let shown = self.choose(&mut pending, scratch, reserving.as_mut(), tally);
        let mut reserved = reserving.map(Reserving::end);
        let PendingCustomer { decision_id, resolved, arms, outcomes, unscored, withheld, .. } = pending;
        tally.decisions += 1;
        tally.offers += shown.len() as u64;
        let defaulted = resolved.degraded.iter().filter(|one| matches!(one, Degraded::Default(_)));
        tally.defaulted += defaulted.count() as u64;
        let mut degraded: Vec<String> = resolved.degraded.iter().map(|one| one.text()).collect();
        degraded.sort_unstable();
        degraded.dedup();
        let recorded = plan.records.then(|| {
            let (shown_by_limits, refusals) = reserved.as_mut().map(Reserved::for_record).unwrap_or_default();
            RecordedDecision {
                id: decision_id,
                candidates: outcomes,
                unscored,
                offers: shown.clone(),
                segment: resolved.segment.clone(),
                assignments: arms.assignments.clone(),
                held_out: arms.held_out,
                degraded: lines(&degraded),
                error: None,
                shown: shown_by_limits,
                refusals,
            }
        });
        let result = RankResult {
            customer_id: plan.customers[index].id.clone(),
            decision_id,
            offers: shown,
            segment: resolved.segment,
            assignments: arms.assignments,
            held_out: arms.held_out,
            withheld: explain(plan, withheld),
            degraded,
            error: None,
        };
        Closed { result, recorded, reserved }
    }

    /// Computes the factors of the offers that have a score.
    fn weigh(&self, pending: &mut PendingCustomer<'a>, scratch: &mut Scratch, tally: &mut Tally) {
        let plan = self.plan;
        let PendingCustomer { resolved, treatment, outcomes, unscored, pairs: own, withheld, .. } = pending;
        let Scratch { memo, pairs, scores, scored, .. } = scratch;
        let catalog = plan.snapshot.release.catalog();
        let rules = catalog.rules_for(resolved.row(&self.context), memo);
        scored.clear();
        scored.reserve(own.len());
        // Pairs are in the order of the candidates that reached the models.
        let mut reached = outcomes.iter_mut().filter(|outcome| outcome.withheld.is_none());
        for (Pair { offer, .. }, score) in pairs[own.clone()].iter().zip(&scores.raw[own.clone()]) {
            let outcome = reached.next();
            if outcome.is_some() {
                unscored.extend(score.as_ref().err().map(Unscored::text));
            }
            match estimate(plan, *offer, score) {
                Ok(estimate) => {
                    if let (Some(outcome), Ok(score)) = (outcome, score) {
                        outcome.raw = score.raw;
                    }
                    let factors = factors(plan, *offer, &rules, treatment, estimate, tally);
                    scored.push(Scored { offer: *offer, factors });
                }
                Err(why) => {
                    if let Some(scorer) = plan.snapshot.release.scorer(plan.placement, *offer) {
                        let replaced = arms::replaced(&treatment.replacements, scorer.model);
                        tally.unavailable(replaced.unwrap_or(scorer.model));
                    }
                    if let Some(outcome) = outcome {
                        outcome.withheld = Some((Stage::Score, Reason::ModelUnavailable));
                    }
                    let detail = Detail::Unscored(why.clone());
                    let one = Withheld::new(*offer, Stage::Score, Reason::ModelUnavailable, detail);
                    self.withhold(one, withheld, tally);
                }
            }
        }
    }

    /// Chooses the slate among them, and reserves it where there are limits; else the fallback.
    fn choose(
        &self,
        pending: &mut PendingCustomer<'a>,
        scratch: &mut Scratch,
        mut reserving: Option<&mut Reserving<'a>>,
        tally: &mut Tally,
    ) -> Vec<RankedOffer> {
        let plan = self.plan;
        let PendingCustomer { resolved, treatment, seed, outcomes, withheld, limits, .. } = pending;
        let Scratch { scored, order, slate, .. } = scratch;
        let (release, catalog) = (&plan.snapshot.release, plan.snapshot.release.catalog());
        arbitration::sort(scored, treatment.strategy, order);
        let mut mandatory = 0;
        if release.has_mandatory() {
            let is_mandatory = |offer: OfferIndex| catalog.library.get(offer).mandatory;
            mandatory = arbitration::mandatory_first(scored, order, is_mandatory);
        }
        let choosing = Choosing {
            constraints: Constraints {
                catalog,
                count: treatment.count,
                max_per_category: plan.placement().max_per_category,
                strategy: treatment.strategy,
            },
            scored,
            order,
            mandatory,
            exploration: treatment.exploration,
            keys: release.offer_keys(),
            seed: *seed,
        };
        let Chosen { mut shown, not_shown } = choosing.fill(slate, |offers| match &mut reserving {
            Some(reserving) => reserving.show(offers),
            None => Shown { refused: Vec::new(), is_final: true },
        });
        let conditional = slate::has_refusal(&not_shown);
        for one in not_shown {
            let position = |outcomes: &[CandidateOutcome]| match outcomes {
                [] => None,
                _ => plan.candidates().binary_search_by_key(&one.offer, |candidate| candidate.offer).ok(),
            };
            if let Some(outcome) = position(outcomes).and_then(|at| outcomes.get_mut(at)) {
                outcome.withheld = Some((one.stage, one.reason));
            }
            self.withhold(one, withheld, tally);
        }
        if shown.is_empty() {
            let fallback = fallback(plan, resolved, limits.as_ref());
            let fallback = fallback.map(|fallback| RankedOffer { conditional, ..fallback });
            shown.extend(fallback.filter(|fallback| match &mut reserving {
                Some(reserving) => reserving.show_fallback(fallback.offer),
                None => true,
            }));
        }
        shown
    }

    /// Counts a withheld offer, and keeps it if the caller asked for explanations.
    fn withhold(&self, one: Withheld<'a>, withheld: &mut Vec<Withheld<'a>>, tally: &mut Tally) {
        tally.withhold(&one);
        if self.plan.explain == Explain::All {
            withheld.push(one);
        }
    }
}

/// Adds a pair to the sample of rows that models scored recently.
fn remember(plan: &Plan, pairs: &Pairs<'_, '_>, recent: &RecentRows) {
    let release = &plan.snapshot.release;
    recent.record(pairs.all.len(), |chosen| {
        let offer = pairs.all[chosen].offer;
        RecentRow::new(release.schema(), &release.catalog().library.get(offer).id, &pairs.row(chosen))
    });
}

/// Contains a panic to one customer, so that the others still get answers.
fn guarded<T>(work: impl FnOnce() -> Result<T, CustomerError>) -> Result<T, CustomerError> {
    catch_panic(work).unwrap_or_else(|panic| {
        tracing::error!(panic = panic.message, "deciding for a customer panicked");
        Err(CustomerError::Internal)
    })
}

/// The lines of `degraded` as one text.
fn lines(degraded: &[String]) -> String {
    let mut text = String::with_capacity(degraded.iter().map(|line| line.len() + 1).sum());
    for line in degraded {
        text.push_str(line);
        text.push('\n');
    }
    text
}

fn failed(plan: &Plan, index: usize, error: CustomerError) -> Closed {
    let decision_id = new_id();
    let recorded = plan.records.then(|| RecordedDecision {
        id: decision_id,
        error: Some(error.clone()),
        ..RecordedDecision::default()
    });
    let result = RankResult {
        customer_id: plan.customers[index].id.clone(),
        decision_id,
        offers: Vec::new(),
        segment: None,
        assignments: Vec::new(),
        held_out: false,
        withheld: Vec::new(),
        degraded: Vec::new(),
        error: Some(error),
    };
    Closed { result, recorded, reserved: None }
}

fn gate_input<'a, 'k>(
    plan: &'a Plan,
    customer: &'k ResolvedCustomer<'a>,
    limits: Option<&'k CustomerGate<'a>>,
) -> GateInput<'a, 'k> {
    let catalog = plan.snapshot.release.catalog();
    let channels = &plan.placement().channels;
    let (channel, as_of, now) = (plan.channel(), plan.as_of, plan.now);
    GateInput { catalog, customer, channel, channels, as_of, now, limits }
}

/// The plan's fallback, unless its gates withhold it.
fn fallback<'a>(
    plan: &'a Plan,
    customer: &ResolvedCustomer<'a>,
    limits: Option<&CustomerGate<'a>>,
) -> Option<RankedOffer> {
    let offer = plan.fallback?;
    let catalog = plan.snapshot.release.catalog();
    gate_input(plan, customer, limits).withholds_fallback(offer).is_none().then(|| RankedOffer {
        offer,
        offer_id: Arc::clone(&catalog.library.get(offer).id),
        priority: 0.0,
        factors: None,
        fallback: true,
        selection_probability: 1.0,
        conditional: false,
        mandatory: false,
    })
}

/// The withheld offers with their texts, in the order of the offers.
fn explain(plan: &Plan, mut withheld: Vec<Withheld<'_>>) -> Vec<WithheldOffer> {
    withheld.sort_unstable_by_key(|one| one.offer);
    let library = &plan.snapshot.release.catalog().library;
    withheld.iter().map(|one| one.explained(library)).collect()
}
