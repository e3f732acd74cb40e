//! Deciding for a run of customers: gates, one batch of scores per model, arbitration, explanation.

use std::cell::RefCell;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use uuid::Uuid;

use super::arbitration::{self, Place, Scored};
use super::customer::Known;
use super::degraded::Degraded;
use super::gates::Visit;
use super::plan::{Context, Plan};
use super::scoring::{OfferRows, Pair, Pairs, Scores, score_pairs};
use super::tally::Tally;
use super::withheld::{Detail, Withheld};
use super::{CustomerError, Explain, Factors, RankResult, RankedOffer, Reason, RejectedOffer, Stage};
use crate::feature::{RecentRow, RecentRows, Row};
use crate::model::{Call, Stop, Worker, panic_message};
use crate::offer::{CustomerRules, RuleMemo};
use crate::priority::pause;
use crate::telemetry::{Laps, Trace};

/// How many customer × offer pairs are scored together: enough that a model's fixed cost vanishes, few enough that memory
/// stays small and a deadline is noticed soon.
const PAIRS_PER_BLOCK: usize = 4096;

/// The steps of deciding, as a trace names them; they are done by turns.
const STEPS: [&str; 4] = ["features", "gates", "scoring", "arbitration"];
const FEATURES: usize = 0;
const GATES: usize = 1;
const SCORING: usize = 2;
const ARBITRATION: usize = 3;

thread_local! {
    /// Room that deciding needs, kept by each thread that decides.
    static ROOM: RefCell<Room> = RefCell::default();
}

#[derive(Default)]
struct Room {
    memo: RuleMemo,
    pairs: Vec<Pair>,
    scores: Scores,
    scored: Vec<Scored>,
    order: Vec<Place>,
}

/// What is decided of a call, or of a part of it.
#[derive(Default)]
pub(super) struct Decided {
    /// One for each customer, in order.
    pub results: Vec<RankResult>,
    pub tally: Tally,
}

impl Decided {
    /// Appends the next part.
    pub fn append(&mut self, next: Self) {
        if self.results.is_empty() {
            *self = next;
            return;
        }
        self.results.extend(next.results);
        self.tally.add(next.tally);
    }
}

/// Decides for the customers of `range`, in order; `recent` may keep one of the pairs that are scored. The steps are told to
/// `trace`.
///
/// # Errors
/// When the deadline passes or the caller goes before the last customer is decided.
pub(super) fn decide(
    plan: &Plan,
    range: Range<usize>,
    mut recent: Option<&RecentRows>,
    worker: &Worker,
    call: &Call,
    trace: &Trace,
) -> Result<Decided, Stop> {
    let block = (PAIRS_PER_BLOCK / plan.candidates().len().max(1)).max(1);
    let offers = OfferRows::new(plan.snapshot.release.catalog().library.offers());
    let piece = Piece { plan, context: plan.context(), offers, worker, call, trace };
    let mut decided = Decided { results: Vec::with_capacity(range.len()), tally: Tally::default() };
    ROOM.with_borrow_mut(|room| {
        let mut start = range.start;
        while start < range.end {
            call.check()?;
            let end = (start + block).min(range.end);
            piece.decide_block(start..end, recent.take(), room, &mut decided)?;
            start = end;
        }
        Ok(decided)
    })
}

/// What is the same for every customer of a piece of work.
struct Piece<'a> {
    plan: &'a Plan,
    context: Context<'a>,
    offers: OfferRows<'a>,
    worker: &'a Worker,
    call: &'a Call,
    trace: &'a Trace,
}

/// One customer on the way to a decision.
struct Open<'a> {
    known: Known<'a>,
    /// Where the block's pairs are hers.
    pairs: Range<usize>,
    withheld: Vec<Withheld<'a>>,
}

/// Stands for a customer who is not decided, and has no pairs.
const NOBODY: Row<'static> = Row { customer: &[], context: &[], offer: &[], segment: None };

impl<'a> Piece<'a> {
    fn decide_block(
        &self,
        range: Range<usize>,
        recent: Option<&RecentRows>,
        room: &mut Room,
        decided: &mut Decided,
    ) -> Result<(), Stop> {
        let Decided { results, tally } = decided;
        let mut laps = self.trace.laps(STEPS);
        room.pairs.clear();
        let mut open: Vec<Result<Open<'a>, CustomerError>> = Vec::with_capacity(range.len());
        for (place, index) in range.clone().enumerate() {
            pause();
            let before = room.pairs.len();
            let customer = guarded(|| self.open(place, index, room, tally, &mut laps));
            if customer.is_err() {
                // It may have panicked half way.
                room.pairs.truncate(before);
            }
            open.push(customer);
        }
        self.call.check()?;
        let customer =
            |place: usize| open[place].as_ref().map_or(NOBODY, |open| open.known.row(&self.context));
        let pairs = Pairs { all: &room.pairs, customer: &customer, offers: &self.offers };
        score_pairs(self.plan, &pairs, self.worker, self.call, tally, &mut room.scores)?;
        if let Some(recent) = recent {
            remember(self.plan, &pairs, recent);
        }
        laps.lap(SCORING);
        results.extend(range.zip(open).map(|(index, customer)| {
            let closed =
                customer.and_then(|customer| guarded(|| Ok(self.close(index, customer, room, tally))));
            closed.unwrap_or_else(|error| failed(self.plan, index, error))
        }));
        laps.lap(ARBITRATION);
        Ok(())
    }

    /// Resolves a customer and sends the candidates through the gates; adds the pairs that pass to those of the block.
    fn open(
        &self,
        place: usize,
        index: usize,
        room: &mut Room,
        tally: &mut Tally,
        laps: &mut Laps<{ STEPS.len() }>,
    ) -> Result<Open<'a>, CustomerError> {
        let plan = self.plan;
        if let Some(problem) = plan.problem(index) {
            return Err(CustomerError::Invalid(problem));
        }
        if plan.customers[index].id.is_empty() && plan.features.is_none() {
            return Err(CustomerError::Anonymous);
        }
        let known = Known::resolve(plan, index, &self.context);
        laps.lap(FEATURES);
        let catalog = plan.snapshot.release.catalog();
        let visit = visit(plan, &known);
        let Room { memo, pairs, .. } = room;
        let rules = catalog.rules_for(known.row(&self.context), memo);
        pairs.reserve(plan.candidates().len());
        let (first, mut withheld) = (pairs.len(), Vec::new());
        for offer in plan.candidates().iter().map(|candidate| candidate.offer) {
            match visit.withholds(offer, &rules) {
                Some(one) => self.withhold(one, &mut withheld, tally),
                None => pairs.push(Pair { customer: place, offer }),
            }
        }
        let pairs = first..pairs.len();
        laps.lap(GATES);
        Ok(Open { known, pairs, withheld })
    }

    /// Arbitrates between the offers of a customer whose pairs are scored, and explains.
    fn close(&self, index: usize, open: Open<'a>, room: &mut Room, tally: &mut Tally) -> RankResult {
        let plan = self.plan;
        let Open { known, pairs: hers, mut withheld } = open;
        let Room { memo, pairs, scores, scored, order } = room;
        let catalog = plan.snapshot.release.catalog();
        let rules = catalog.rules_for(known.row(&self.context), memo);
        scored.clear();
        scored.reserve(hers.len());
        for (Pair { offer, .. }, score) in pairs[hers.clone()].iter().zip(&scores.raw[hers]) {
            match score {
                Ok(score) => {
                    let factors = factors(plan, *offer, &rules, *score, tally);
                    scored.push(Scored { offer: *offer, factors });
                }
                Err(why) => {
                    if let Some(scorer) = plan.snapshot.release.scorer(plan.placement, *offer) {
                        tally.unavailable(scorer.model);
                    }
                    let detail = Detail::Unscored(why.clone());
                    let one = Withheld::new(*offer, Stage::Score, Reason::ModelUnavailable, detail);
                    self.withhold(one, &mut withheld, tally);
                }
            }
        }
        arbitration::sort(scored, plan.placement().strategy, order);
        let in_order = order.iter().map(|(_, _, place)| scored[*place].clone());
        let mut shown = arbitration::fill(in_order, catalog, plan.placement(), plan.count, |one| {
            self.withhold(one, &mut withheld, tally);
        });
        if shown.is_empty() {
            shown.extend(fallback(plan, &known));
        }
        tally.decisions += 1;
        tally.offers += shown.len() as u64;
        let defaulted = known.degraded.iter().filter(|one| matches!(one, Degraded::Default(_)));
        tally.defaulted += defaulted.count() as u64;
        let mut degraded: Vec<String> = known.degraded.iter().map(|one| one.text()).collect();
        degraded.sort_unstable();
        degraded.dedup();
        RankResult {
            customer_id: plan.customers[index].id.clone(),
            decision_id: Uuid::now_v7(),
            offers: shown,
            segment: known.segment,
            rejected: explain(plan, withheld),
            degraded,
            error: None,
        }
    }

    /// Counts an offer that is withheld, and keeps it for a caller who asks why.
    fn withhold(&self, one: Withheld<'a>, withheld: &mut Vec<Withheld<'a>>, tally: &mut Tally) {
        tally.withhold(&one);
        if self.plan.explain == Explain::All {
            withheld.push(one);
        }
    }
}

/// Offers the pairs to the sample of what models saw lately.
fn remember(plan: &Plan, pairs: &Pairs<'_, '_>, recent: &RecentRows) {
    let release = &plan.snapshot.release;
    recent.record(pairs.all.len(), |chosen| {
        let offer = pairs.all[chosen].offer;
        RecentRow::new(release.schema(), &release.catalog().library.offers()[offer].id, &pairs.row(chosen))
    });
}

/// A panic while deciding one customer is a fault of ours that must not cost the others their answers.
fn guarded<T>(work: impl FnOnce() -> Result<T, CustomerError>) -> Result<T, CustomerError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        tracing::error!(panic = panic_message(&*panic), "deciding for a customer panicked");
        Err(CustomerError::Internal)
    })
}

fn failed(plan: &Plan, index: usize, error: CustomerError) -> RankResult {
    RankResult {
        customer_id: plan.customers[index].id.clone(),
        decision_id: Uuid::now_v7(),
        offers: Vec::new(),
        segment: None,
        rejected: Vec::new(),
        degraded: Vec::new(),
        error: Some(error),
    }
}

fn factors(
    plan: &Plan,
    offer: usize,
    rules: &CustomerRules<'_>,
    (model, score, propensity): (usize, f32, f64),
    tally: &mut Tally,
) -> Factors {
    let catalog = plan.snapshot.release.catalog();
    let terms = &catalog.library.offers()[offer];
    let matched: f64 = catalog
        .policy
        .context_weights
        .iter()
        .filter(|weight| weight.offers.binary_search(&offer).is_ok())
        // A weight whose rule cannot be evaluated is not matched: it may not change an order on a guess.
        .filter(|weight| {
            let held = rules.holds(&weight.when, offer);
            if held.is_err() {
                tally.rule_error(offer, "context_weight");
            }
            held.unwrap_or(false)
        })
        .map(|weight| weight.percent)
        .sum();
    let category = &catalog.policy.categories[terms.category];
    Factors {
        score: f64::from(score),
        propensity,
        context_weight: (1.0 + matched / 100.0).max(0.0),
        value: terms.value,
        lever: 1.0 + (category.weight + terms.weight) / 100.0,
        cost: terms.cost,
        margin: propensity * terms.value - terms.cost,
        model,
    }
}

fn visit<'a, 'k>(plan: &'a Plan, known: &'k Known<'a>) -> Visit<'a, 'k> {
    let catalog = plan.snapshot.release.catalog();
    let channels = &plan.placement().channels;
    Visit { catalog, known, channel: plan.channel(), channels, as_of: plan.as_of }
}

/// The plan's fallback, unless consent, validity or channel withhold it.
fn fallback<'a>(plan: &'a Plan, known: &Known<'a>) -> Option<RankedOffer> {
    let offer = plan.fallback?;
    let catalog = plan.snapshot.release.catalog();
    visit(plan, known).without_rules(offer).is_none().then(|| RankedOffer {
        offer,
        offer_id: Arc::clone(&catalog.library.get(offer).id),
        priority: 0.0,
        factors: None,
        fallback: true,
    })
}

/// What was withheld, in words and in the order of the offers.
fn explain(plan: &Plan, mut withheld: Vec<Withheld<'_>>) -> Vec<RejectedOffer> {
    withheld.sort_unstable_by_key(|one| one.offer);
    let offers = plan.snapshot.release.catalog().library.offers();
    let rejected = withheld
        .iter()
        .map(|one| RejectedOffer { offer_id: Arc::clone(&offers[one.offer].id), rejection: one.rejection() });
    rejected.collect()
}
