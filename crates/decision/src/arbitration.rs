//! Choosing among the survivors: order, then the constraints of one slate.

use std::cmp::Reverse;
use std::sync::Arc;

use super::withheld::{Detail, Withheld};
use super::{Factors, RankedOffer, Reason, Stage};
use offer::{Catalog, OfferIndex, Placement, Strategy};

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

/// Maps a number to an integer in the order of [`f64::total_cmp`]. Each key is computed once, and integers compare
/// faster.
fn ascending(key: f64) -> u64 {
    let bits = key.to_bits();
    if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
}

/// The number that the placement arbitrates on.
fn key(candidate: &Scored, strategy: Strategy) -> f64 {
    match strategy {
        Strategy::Priority => candidate.factors.priority(),
        Strategy::Margin => candidate.factors.margin,
    }
}

/// Walks the sorted list and shows what fits, up to `count`. An offer is skipped if it conflicts with a better one or
/// its category has reached its limit. `withhold` receives the offers that are not shown, in order.
pub(super) fn fill<'a>(
    scored: impl Iterator<Item = Scored>,
    catalog: &'a Catalog,
    placement: &Placement,
    count: usize,
    mut withhold: impl FnMut(Withheld<'a>),
) -> Vec<RankedOffer> {
    let library = &catalog.library;
    let mut shown: Vec<RankedOffer> =
        Vec::with_capacity(scored.size_hint().1.map_or(count, |most| most.min(count)));
    for candidate in scored {
        let index = candidate.offer;
        let offer = library.get(index);
        let of_category =
            || shown.iter().filter(|better| library.get(better.offer).category == offer.category);
        let withheld = if shown.len() >= count {
            let key = key(&candidate, placement.strategy);
            let detail = match placement.strategy {
                Strategy::Priority => Detail::Priority(key),
                Strategy::Margin => Detail::Margin(key),
            };
            Withheld::new(index, Stage::Arbitration, Reason::Outranked, detail)
        } else if let Some(better) = shown.iter().find(|better| offer.conflicts_with.contains(&better.offer))
        {
            let detail = Detail::Name(&library.get(better.offer).id);
            Withheld::new(index, Stage::Slate, Reason::ConflictsWith, detail)
        } else if placement.max_per_category.is_some_and(|most| of_category().count() >= most) {
            let detail = Detail::Name(&catalog.policy.categories[offer.category].id);
            Withheld::new(index, Stage::Slate, Reason::CategoryLimit, detail)
        } else {
            shown.push(RankedOffer {
                offer: index,
                offer_id: Arc::clone(&offer.id),
                priority: candidate.factors.priority(),
                factors: Some(candidate.factors),
                fallback: false,
            });
            continue;
        };
        withhold(withheld);
    }
    shown
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
