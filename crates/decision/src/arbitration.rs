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
    use super::super::WithheldOffer;
    use super::{Catalog, Factors, OfferIndex, Reason, Scored, fill, sort};
    use feature::FeatureSchema;

    use offer::Strategy;
    use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};

    const OFFERS: usize = 8;

    /// Eight offers `o0`–`o7` in two categories; `o0` and `o1` conflict.
    fn catalog(max_per_category: usize) -> Catalog {
        let offer = |index: usize| {
            let category = if index.is_multiple_of(2) { "even" } else { "odd" };
            let conflict = if index == 0 { "conflicts_with = [\"o1\"]" } else { "" };
            format!(
                "[[offer]]\nid = \"o{index}\"\nname = \"\"\ncategory = \"{category}\"\nplacements = [\"here\"]\n\
                 value = 1.0\n{conflict}\n"
            )
        };
        let offers: String = (0..OFFERS).map(offer).collect::<Vec<_>>().join("\n");
        let policy = format!(
            "[[category]]\nid = \"even\"\n[[category]]\nid = \"odd\"\n[[placement]]\nid = \"here\"\nchannels = [\"app\"]\n\
             count = 3\nmodel = \"m\"\nmax_per_category = {max_per_category}\n"
        );
        let schema = FeatureSchema::default();
        offer::read(&schema, ("offers.toml", &offers), ("policy.toml", &policy)).unwrap()
    }

    fn scored(offer: usize, propensity: f64) -> Scored {
        let factors = Factors {
            score: propensity,
            propensity,
            context_weight: 1.0,
            value: 1.0,
            lever: 1.0,
            cost: 0.0,
            margin: propensity,
            model: release::ModelIndex::new(0),
        };
        Scored { offer: OfferIndex::new(offer), factors }
    }

    /// The offers that a sorted list shows at the placement, and the explanations of the others.
    fn slate(scored: Vec<Scored>, catalog: &Catalog, count: usize) -> (Vec<usize>, Vec<WithheldOffer>) {
        let mut withheld = Vec::new();
        let placement = &catalog.policy.placements[0];
        let shown = fill(scored.into_iter(), catalog, placement, count, |one| {
            withheld.push(one.explained(&catalog.library));
        });
        (shown.iter().map(|shown| shown.offer.get()).collect(), withheld)
    }

    #[test]
    fn priority_is_the_published_formula() {
        let worked = Factors { context_weight: 2.0, value: 80.0, lever: 1.55, ..scored(0, 0.12).factors };
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

    #[test]
    fn an_offer_is_withheld_beside_a_better_one_that_it_conflicts_with() {
        let catalog = catalog(8);
        let (shown, withheld) = slate(vec![scored(1, 0.9), scored(0, 0.8), scored(2, 0.7)], &catalog, 2);
        assert_eq!(shown, [1, 2]);
        let WithheldOffer { offer_id, reason, detail, .. } = &withheld[0];
        assert_eq!((&**offer_id, *reason, detail.as_str()), ("o0", Reason::ConflictsWith, "o1"));
    }

    proptest! {
        #[test]
        fn a_slate_keeps_its_constraints_and_accounts_for_every_offer(
            propensities in prop::collection::vec(0.0..1.0_f64, OFFERS),
            present in prop::collection::vec(any::<bool>(), OFFERS),
            count in 0..6_usize,
            most in 1..4_usize,
        ) {
            let catalog = catalog(most);
            let all: Vec<Scored> = (0..OFFERS)
                .filter(|offer| present[*offer])
                .map(|offer| scored(offer, propensities[offer]))
                .collect();
            let reversed: Vec<Scored> = all.iter().rev().cloned().collect();
            let all = sorted(&all);
            prop_assert_eq!(&all, &sorted(&reversed), "the input order has no effect");
            let (shown, withheld) = slate(all.clone(), &catalog, count);
            prop_assert!(shown.len() <= count);
            prop_assert!(!(shown.contains(&0) && shown.contains(&1)));
            for parity in 0..2 {
                prop_assert!(shown.iter().filter(|offer| *offer % 2 == parity).count() <= most);
            }
            prop_assert_eq!(shown.len() + withheld.len(), all.len());
            // The best offer is always shown.
            if count > 0 {
                prop_assert_eq!(shown.first().copied(), all.first().map(|best| best.offer.get()));
            }
        }
    }
}
