//! The factors of an offer's priority for a customer: what the model or a prior says, weights, and the offer's terms.

use super::arms::{PlannedNewcomer, Treatment};
use super::plan::Plan;
use super::scoring::{RawScore, Score, Unscored};
use super::tally::Tally;
use super::withheld::{Detail, Withheld};
use super::{Factors, Reason, Stage};
use experiment::Seed;
use offer::{CustomerRules, OfferIndex};
use release::ModelIndex;

/// What is known of how a customer takes an offer.
pub(super) struct Estimate {
    /// `None` where no model knows the offer.
    model: Option<ModelIndex>,
    score: f64,
    propensity: f64,
}

/// What is known of an offer: what its model says, moved towards the prior of a new one. An offer that the model does not
/// know has its prior alone.
///
/// # Errors
/// Why there is no score, where that leaves nothing.
pub(super) fn estimate<'s>(
    plan: &Plan,
    offer: OfferIndex,
    score: &'s RawScore,
) -> Result<Estimate, &'s Unscored> {
    let prior = plan.newcomer(offer).and_then(PlannedNewcomer::prior);
    match (score, prior) {
        (Ok(Score { model, raw, propensity }), prior) => Ok(Estimate {
            model: Some(*model),
            score: f64::from(*raw),
            propensity: prior
                .map_or(*propensity, |(prior, shown)| prior.propensity(Some(*propensity), shown)),
        }),
        (Err(Unscored::NoModel), Some((prior, shown))) => {
            Ok(Estimate { model: None, score: 0.0, propensity: prior.propensity(None, shown) })
        }
        (Err(why), _) => Err(why),
    }
}

/// The factors with what the customer's variants change of weights.
pub(super) fn factors(
    plan: &Plan,
    offer: OfferIndex,
    rules: &CustomerRules<'_>,
    treatment: &Treatment,
    Estimate { model, score, propensity }: Estimate,
    tally: &mut Tally,
) -> Factors {
    let catalog = plan.snapshot.release.catalog();
    let terms = catalog.library.get(offer);
    let matched: f64 = catalog
        .policy
        .context_weights
        .iter()
        .enumerate()
        .filter(|(_, weight)| weight.offers.binary_search(&offer).is_ok())
        // A rule that cannot be evaluated counts as no match: the order must not depend on a guess.
        .filter(|(_, weight)| {
            let held = rules.holds(&weight.when, offer);
            if held.is_err() {
                tally.rule_error(offer, "context_weight");
            }
            held.unwrap_or(false)
        })
        .map(|(index, weight)| treatment.context_weight(index, weight.percent))
        .sum();
    let category =
        treatment.category_weight(terms.category, catalog.policy.categories[terms.category].weight);
    Factors {
        score,
        propensity,
        context_weight: (1.0 + matched / 100.0).max(0.0),
        value: terms.value,
        lever: 1.0 + (category + terms.weight) / 100.0,
        cost: terms.cost,
        margin: propensity * terms.value - terms.cost,
        model,
    }
}

/// Why a new offer is not considered, if it has had its share.
pub(super) fn immature<'a>(plan: &Plan, offer: OfferIndex, seed: Seed) -> Option<Withheld<'a>> {
    let PlannedNewcomer { newcomer, impressions, .. } = *plan.newcomer(offer)?;
    let maturity = newcomer.maturity?;
    let key = plan.snapshot.release.offer_keys()[offer.get()];
    let detail = Detail::New { impressions, mature_at: maturity.impressions };
    (!maturity.admits(seed, key, impressions))
        .then(|| Withheld::new(offer, Stage::Maturity, Reason::Maturity, detail))
}
