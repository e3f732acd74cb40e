//! Reads experiments, metrics, the holdout and exploration with the names and the rules of a catalog.

use experiment::{CategoryNames, Experiments, Phase, PlacementNames};

use super::reading::{self, Ids, Names};
use super::{OfferLibrary, Policy, Rule};
use document::Table;

/// Reads what both files say of experiments. Also returns the phase of each.
pub(super) fn read(
    policy_root: &Table<'_, '_>,
    offers_root: &Table<'_, '_>,
    names: &Names<'_>,
    context_weights: &Ids,
    policy: &Policy,
    library: &OfferLibrary,
) -> (Experiments<Rule>, Vec<Phase>) {
    let placements: Vec<PlacementNames<'_>> = policy
        .placements
        .iter()
        .map(|placement| PlacementNames {
            id: &placement.id,
            models: placement.models.iter().map(|model| model.name.as_str()).collect(),
        })
        .collect();
    let categories: Vec<CategoryNames<'_>> = policy
        .categories
        .iter()
        .enumerate()
        .map(|(index, category)| {
            let offers = library.offers().iter().filter(|offer| offer.category == index);
            let lowest = offers.map(|offer| offer.weight).reduce(f64::min);
            CategoryNames { id: &category.id, lowest_offer: lowest.unwrap_or_default() }
        })
        .collect();
    let context_weights: Vec<&str> = context_weights.iter().collect();
    let offers: Vec<&str> = names.offers.iter().collect();
    let outcomes: Vec<&str> = names.outcomes.iter().map(|outcome| outcome.id.as_str()).collect();
    let known = experiment::Names {
        placements: &placements,
        categories: &categories,
        context_weights: &context_weights,
        offers: &offers,
        outcomes: &outcomes,
        zone: names.zone,
    };
    let found = experiment::read(policy_root, offers_root, &known, |table, key| rule(table, key, names));
    let phases = found.all.iter().map(|experiment| experiment.phase(&known)).collect();
    (found, phases)
}

/// The rule of an experiment: it is about a customer, before any offer is considered. One about the call would put them
/// into the experiment in some calls and not in others, and what they do later would be counted for neither.
fn rule(table: &Table<'_, '_>, key: &str, names: &Names<'_>) -> Option<Rule> {
    let rule = reading::rule(table, key, names)?;
    if rule.reads_offer() {
        table.problem_at(
            key,
            format!(
                "`{key}` reads `offer`, but an experiment has customers, not offers; use customer or segment"
            ),
        );
    }
    if rule.reads_context() {
        table.problem_at(
            key,
            format!(
                "`{key}` reads `context`, but who takes part must not depend on the call; use customer or segment, \
                 and `placements` for where it holds"
            ),
        );
    }
    Some(rule)
}
