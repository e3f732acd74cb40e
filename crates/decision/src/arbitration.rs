//! Choosing among the survivors: order, then the constraints of one slate.

use std::cmp::Reverse;
use std::sync::Arc;

use super::withheld::{Detail, Withheld};
use super::{Factors, RankedOffer, Reason, Stage};
use offer::{Catalog, OfferIndex, Strategy};

/// An offer that passed every gate and has a score.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scored {
    pub offer: OfferIndex,
    pub factors: Factors,
}

/// The sort key of a candidate: best first, ties by offer id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Standing {
    /// Higher is better.
    key: Reverse<u64>,
    offer: OfferIndex,
    /// The candidate's position in the slice that was sorted.
    pub position: usize,
}

/// Sorts by what the placement arbitrates on, descending, then by offer index. Indices follow the order of the ids, so
/// ties are deterministic. Keys are finite: propensities are within 0..=1 and the offers' terms were checked.
pub(super) fn sort(scored: &[Scored], strategy: Strategy, order: &mut Vec<Standing>) {
    let standing = |(position, candidate): (usize, &Scored)| {
        let key = Reverse(ascending(key(candidate, strategy)));
        Standing { key, offer: candidate.offer, position }
    };
    order.clear();
    order.extend(scored.iter().enumerate().map(standing));
    order.sort_unstable();
}

/// Moves mandatory offers to the front, in their order. Returns how many there are.
pub(super) fn mandatory_first(
    scored: &[Scored],
    order: &mut [Standing],
    is_mandatory: impl Fn(OfferIndex) -> bool,
) -> usize {
    let is_later = |standing: &Standing| !is_mandatory(scored[standing.position].offer);
    let mandatory = order.iter().filter(|standing| !is_later(standing)).count();
    if mandatory > 0 {
        // Stable.
        order.sort_by_key(is_later);
    }
    mandatory
}

/// Maps a number to an integer in the order of [`f64::total_cmp`]. Each key is computed once, and integers compare
/// faster.
fn ascending(key: f64) -> u64 {
    let bits = key.to_bits();
    if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
}

/// The number that a strategy arbitrates on.
pub(super) fn key(candidate: &Scored, strategy: Strategy) -> f64 {
    match strategy {
        Strategy::Priority => candidate.factors.priority(),
        Strategy::Margin => candidate.factors.margin,
    }
}

/// What limits a slate.
#[derive(Clone, Copy)]
pub(super) struct Constraints<'a> {
    pub catalog: &'a Catalog,
    /// The most offers.
    pub count: usize,
    /// The most offers of one category.
    pub max_per_category: Option<usize>,
    pub strategy: Strategy,
}

/// Why an offer does not fit beside those that are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Misfit {
    /// It conflicts with this one.
    Conflict(OfferIndex),
    /// There are enough of its category.
    Category,
    /// The slate is full.
    Full,
}

impl<'a> Constraints<'a> {
    /// Why a candidate cannot be shown next, if anything is in the way.
    pub(super) fn misfit(&self, candidate: &Scored, shown: &[RankedOffer]) -> Option<Misfit> {
        if shown.len() >= self.count { Some(Misfit::Full) } else { self.conflict(candidate, shown) }
    }

    /// The same without a look at the count: what is shown later never makes it fit.
    pub(super) fn conflict(&self, candidate: &Scored, shown: &[RankedOffer]) -> Option<Misfit> {
        let library = &self.catalog.library;
        let offer = library.get(candidate.offer);
        if let Some(better) = shown.iter().find(|better| offer.conflicts_with.contains(&better.offer)) {
            return Some(Misfit::Conflict(better.offer));
        }
        let of_category =
            || shown.iter().filter(|better| library.get(better.offer).category == offer.category);
        let is_full = self.max_per_category.is_some_and(|most| of_category().count() >= most);
        is_full.then_some(Misfit::Category)
    }

    /// A candidate that is not shown.
    pub(super) fn withheld(&self, candidate: &Scored, misfit: Misfit) -> Withheld<'a> {
        let (catalog, index) = (self.catalog, candidate.offer);
        match misfit {
            Misfit::Conflict(better) => {
                let detail = Detail::Name(&catalog.library.get(better).id);
                Withheld::new(index, Stage::Slate, Reason::ConflictsWith, detail)
            }
            Misfit::Category => {
                let category = catalog.library.get(index).category;
                let detail = Detail::Name(&catalog.policy.categories[category].id);
                Withheld::new(index, Stage::Slate, Reason::CategoryLimit, detail)
            }
            Misfit::Full => {
                let key = key(candidate, self.strategy);
                let detail = match self.strategy {
                    Strategy::Priority => Detail::Priority(key),
                    Strategy::Margin => Detail::Margin(key),
                };
                Withheld::new(index, Stage::Arbitration, Reason::Outranked, detail)
            }
        }
    }
}

/// A candidate that is shown, neither mandatory nor conditional.
pub(super) fn ranked(constraints: &Constraints<'_>, candidate: &Scored, probability: f64) -> RankedOffer {
    RankedOffer {
        offer: candidate.offer,
        offer_id: Arc::clone(&constraints.catalog.library.get(candidate.offer).id),
        priority: candidate.factors.priority(),
        factors: Some(candidate.factors.clone()),
        fallback: false,
        selection_probability: probability,
        conditional: false,
        mandatory: false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::slate::samples::{OFFERS, scored};
    use super::{Scored, sort};

    use offer::Strategy;
    use proptest::prelude::{prop, prop_assert_eq, proptest};

    #[test]
    fn priority_is_the_published_formula() {
        let worked =
            super::Factors { context_weight: 2.0, value: 80.0, lever: 1.55, ..scored(0, 0.12).factors };
        assert!((worked.priority() - 29.76).abs() < 1e-12);
    }

    /// Sorts by priority.
    fn sorted(scored: &[Scored]) -> Vec<Scored> {
        let mut order = Vec::new();
        sort(scored, Strategy::Priority, &mut order);
        order.iter().map(|standing| scored[standing.position].clone()).collect()
    }

    #[test]
    fn a_tie_goes_to_the_lower_id() {
        let tied = sorted(&[scored(5, 0.2), scored(3, 0.2), scored(4, 0.3)]);
        assert_eq!(tied.iter().map(|scored| scored.offer.get()).collect::<Vec<_>>(), [4, 3, 5]);
    }

    proptest! {
        #[test]
        fn the_order_of_the_input_has_no_effect(
            propensities in prop::collection::vec(0.0..1.0_f64, OFFERS),
        ) {
            let all: Vec<Scored> =
                propensities.iter().enumerate().map(|(offer, propensity)| scored(offer, *propensity)).collect();
            let reversed: Vec<Scored> = all.iter().rev().cloned().collect();
            prop_assert_eq!(sorted(&all), sorted(&reversed));
        }
    }
}
