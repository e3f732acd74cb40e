//! Deciding for a run of customers: gates, one batch of scores per model, arbitration, explanation.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use uuid::Uuid;

use super::arbitration::{self, Scored, Slate};
use super::customer::Known;
use super::gates::Visit;
use super::plan::Plan;
use super::scoring::{Pair, RawScore, score_pairs};
use super::tally::Tally;
use super::{
    CustomerError, Explain, Factors, RankResult, RankedOffer, Reason, RejectedOffer, Rejection, Stage,
};
use crate::feature::{RecentRow, RecentRows, Row, ValueRef};
use crate::model::{Call, Stop, Worker, panic_message};
use crate::offer::{CustomerRules, RuleMemo, feature_rows};

/// How many customer × offer pairs are scored together: enough that a model's fixed cost vanishes, few enough that memory
/// stays small and a deadline is noticed soon.
const PAIRS_PER_BLOCK: usize = 4096;

/// Decides for the customers of `range`, in order; `recent` may keep one of the pairs that are scored.
///
/// # Errors
/// When the deadline passes or the caller goes before the last customer is decided.
pub(super) fn decide(
    plan: &Plan,
    range: Range<usize>,
    mut recent: Option<&RecentRows>,
    worker: &Worker,
    call: &Call,
) -> Result<(Vec<RankResult>, Tally), Stop> {
    let block = (PAIRS_PER_BLOCK / plan.candidates.len().max(1)).max(1);
    let mut results = Vec::with_capacity(range.len());
    let mut tally = Tally::default();
    // The same for every customer of the call.
    let catalog = plan.snapshot.release.catalog();
    let (offers, context) = (feature_rows(catalog.library.offers()), plan.context());
    let mut start = range.start;
    while start < range.end {
        call.check()?;
        let end = (start + block).min(range.end);
        let same = (&*offers, &*context);
        results.extend(decide_block(plan, start..end, same, recent.take(), worker, call, &mut tally)?);
        start = end;
    }
    Ok((results, tally))
}

/// One customer on the way to a decision.
struct Open<'a> {
    known: Known<'a>,
    survivors: Vec<usize>,
    withheld: Vec<(usize, Rejection)>,
}

fn decide_block(
    plan: &Plan,
    range: Range<usize>,
    (offers, context): (&[Vec<ValueRef<'_>>], &[ValueRef<'_>]),
    recent: Option<&RecentRows>,
    worker: &Worker,
    call: &Call,
    tally: &mut Tally,
) -> Result<Vec<RankResult>, Stop> {
    let memo = &mut RuleMemo::default();
    let open: Vec<Result<Open<'_>, CustomerError>> =
        range.clone().map(|index| guarded(|| open(plan, index, context, memo))).collect();
    call.check()?;
    let pairs: Vec<Pair<'_>> = open
        .iter()
        .enumerate()
        .filter_map(|(place, customer)| customer.as_ref().ok().map(|customer| (place, customer)))
        .flat_map(|(place, customer)| {
            let known = &customer.known;
            customer.survivors.iter().map(move |offer| Pair {
                customer: place,
                offer: *offer,
                row: Row { offer: &offers[*offer], ..known.row(context) },
            })
        })
        .collect();
    let scores = score_pairs(plan, &pairs, worker, call, tally)?;
    if let Some(recent) = recent {
        remember(plan, &pairs, recent);
    }
    let mut by_customer: Vec<Vec<(usize, RawScore)>> = vec![Vec::new(); open.len()];
    for (pair, score) in pairs.iter().zip(scores) {
        by_customer[pair.customer].push((pair.offer, score));
    }
    drop(pairs);
    let results = range.zip(open).zip(by_customer).map(|((index, customer), scores)| {
        let customer = customer
            .and_then(|customer| guarded(|| Ok(close(plan, index, customer, scores, context, memo, tally))));
        customer.unwrap_or_else(|error| failed(plan, index, error))
    });
    Ok(results.collect())
}

/// Offers the pairs to the sample of what models saw lately.
fn remember(plan: &Plan, pairs: &[Pair<'_>], recent: &RecentRows) {
    let release = &plan.snapshot.release;
    recent.record(pairs.len(), |chosen| {
        let Pair { offer, row, .. } = &pairs[chosen];
        RecentRow::new(release.schema(), &release.catalog().library.offers()[*offer].id, row)
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

fn open<'a>(
    plan: &'a Plan,
    index: usize,
    context: &[ValueRef<'_>],
    memo: &mut RuleMemo,
) -> Result<Open<'a>, CustomerError> {
    if plan.customers[index].id.is_empty() && plan.features.is_none() {
        return Err(CustomerError::Anonymous);
    }
    let mut open = Open { known: Known::resolve(plan, index), survivors: Vec::new(), withheld: Vec::new() };
    let catalog = plan.snapshot.release.catalog();
    let visit = Visit { catalog, known: &open.known, channel: &plan.channel, as_of: plan.as_of };
    let rules = catalog.rules_for(open.known.row(context), memo);
    for offer in plan.candidates.iter().copied() {
        match visit.withholds(offer, &rules) {
            Some(rejection) => open.withheld.push((offer, rejection)),
            None => open.survivors.push(offer),
        }
    }
    Ok(open)
}

fn close(
    plan: &Plan,
    index: usize,
    open: Open<'_>,
    scores: Vec<(usize, RawScore)>,
    context: &[ValueRef<'_>],
    memo: &mut RuleMemo,
    tally: &mut Tally,
) -> RankResult {
    let Open { known, mut withheld, .. } = open;
    let catalog = plan.snapshot.release.catalog();
    let rules = catalog.rules_for(known.row(context), memo);
    let mut scored = Vec::with_capacity(scores.len());
    for (offer, score) in scores {
        match score {
            Ok(score) => {
                let factors = factors(plan, offer, &rules, score, tally);
                scored.push(Scored { offer, factors });
            }
            Err(detail) => {
                if let Some(scorer) = plan.snapshot.release.scorer(plan.placement, offer) {
                    tally.unavailable(scorer.model);
                }
                let rejection = Rejection::new(Stage::Score, Reason::ModelUnavailable);
                withheld.push((offer, rejection.with_detail(&*detail)));
            }
        }
    }
    arbitration::sort(&mut scored, plan.placement().strategy);
    let slate = arbitration::fill(scored, catalog, plan.placement(), plan.count);
    let Slate { chosen, withheld: passed_over } = slate;
    withheld.extend(passed_over);
    withheld.sort_by_key(|(offer, _)| *offer);
    let mut shown: Vec<RankedOffer> = chosen
        .into_iter()
        .map(|chosen| RankedOffer {
            offer: chosen.offer,
            offer_id: Arc::clone(&catalog.library.offers()[chosen.offer].id),
            priority: chosen.factors.priority(),
            factors: Some(chosen.factors),
            fallback: false,
        })
        .collect();
    if shown.is_empty() {
        shown.extend(fallback(plan, &known));
    }
    tally.decisions += 1;
    tally.offers += shown.len() as u64;
    tally.defaulted += known.degraded.iter().filter(|entry| entry.starts_with("default:")).count() as u64;
    for (offer, rejection) in &withheld {
        tally.withhold(*offer, rejection);
    }
    let mut degraded = known.degraded;
    degraded.sort_unstable();
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

/// The plan's fallback, unless consent, validity or channel withhold it.
fn fallback(plan: &Plan, known: &Known<'_>) -> Option<RankedOffer> {
    let offer = plan.fallback?;
    let catalog = plan.snapshot.release.catalog();
    let terms = &catalog.library.offers()[offer];
    let visit = Visit { catalog, known, channel: &plan.channel, as_of: plan.as_of };
    visit.without_rules(terms).is_none().then(|| RankedOffer {
        offer,
        offer_id: Arc::clone(&terms.id),
        priority: 0.0,
        factors: None,
        fallback: true,
    })
}

fn explain(plan: &Plan, withheld: Vec<(usize, Rejection)>) -> Vec<RejectedOffer> {
    if plan.explain != Explain::All {
        return Vec::new();
    }
    let offers = plan.snapshot.release.catalog().library.offers();
    withheld
        .into_iter()
        .map(|(offer, rejection)| RejectedOffer { offer_id: Arc::clone(&offers[offer].id), rejection })
        .collect()
}
