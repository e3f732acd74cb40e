//! Choosing among the survivors: order, then the constraints of one slate.

use std::cmp::Reverse;
use std::sync::Arc;

use super::withheld::{Detail, Withheld};
use super::{Factors, RankedOffer, Reason, Stage};
use crate::offer::{Catalog, Placement, Strategy};

/// An offer that passed every gate and has a score.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scored {
    pub offer: usize,
    pub factors: Factors,
}

/// The place of a candidate among those that are scored, behind what it is sorted by.
pub(super) type Place = (Reverse<u64>, usize, usize);

/// The order of what the placement arbitrates on, descending; then by offer, whose positions are in the order of the ids, so
/// that ties never depend on chance. Keys are finite: propensities are within 0..=1 and the offer's terms were checked.
pub(super) fn sort(scored: &[Scored], strategy: Strategy, order: &mut Vec<Place>) {
    let place = |(place, candidate): (usize, &Scored)| {
        (Reverse(ascending(key(candidate, strategy))), candidate.offer, place)
    };
    order.clear();
    order.extend(scored.iter().enumerate().map(place));
    order.sort_unstable();
}

/// A number in the order of [`f64::total_cmp`]: each key is worked out once, and integers compare faster.
fn ascending(key: f64) -> u64 {
    let bits = key.to_bits();
    if bits >> 63 == 0 { bits | 1 << 63 } else { !bits }
}

/// What a placement arbitrates on.
fn key(candidate: &Scored, strategy: Strategy) -> f64 {
    match strategy {
        Strategy::Priority => candidate.factors.priority(),
        Strategy::Margin => candidate.factors.margin,
    }
}

/// Walks the sorted list and shows what fits, up to `count`: an offer that conflicts with a better one, or whose category
/// has enough, steps aside for the next. `withhold` is told of those that are not shown, in order.
pub(super) fn fill<'a>(
    scored: impl ExactSizeIterator<Item = Scored>,
    catalog: &'a Catalog,
    placement: &Placement,
    count: usize,
    mut withhold: impl FnMut(Withheld<'a>),
) -> Vec<RankedOffer> {
    let offers = catalog.library.offers();
    let mut shown: Vec<RankedOffer> = Vec::with_capacity(count.min(scored.len()));
    for candidate in scored {
        let position = candidate.offer;
        let offer = &offers[position];
        let of_category = || shown.iter().filter(|better| offers[better.offer].category == offer.category);
        let withheld = if shown.len() >= count {
            let key = key(&candidate, placement.strategy);
            let detail = match placement.strategy {
                Strategy::Priority => Detail::Priority(key),
                Strategy::Margin => Detail::Margin(key),
            };
            Withheld::new(position, Stage::Arbitration, Reason::Outranked, detail)
        } else if let Some(better) = shown.iter().find(|better| offer.conflicts_with.contains(&better.offer))
        {
            let detail = Detail::Name(&offers[better.offer].id);
            Withheld::new(position, Stage::Slate, Reason::ConflictsWith, detail)
        } else if placement.max_per_category.is_some_and(|most| of_category().count() >= most) {
            let detail = Detail::Name(&catalog.policy.categories[offer.category].id);
            Withheld::new(position, Stage::Slate, Reason::CategoryLimit, detail)
        } else {
            shown.push(RankedOffer {
                offer: position,
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
    use super::super::Rejection;
    use super::{Catalog, Factors, Reason, Scored, fill, sort};
    use crate::feature::FeatureSchema;
    use crate::offer;
    use crate::offer::Strategy;
    use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};

    const OFFERS: usize = 8;

    /// Eight offers `o0`–`o7` in two categories; `o0` and `o1` may not stand beside each other.
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
            model: 0,
        };
        Scored { offer, factors }
    }

    /// Which offers a sorted list leaves at the placement, and what is said of the others.
    fn slate(scored: Vec<Scored>, catalog: &Catalog, count: usize) -> (Vec<usize>, Vec<(usize, Rejection)>) {
        let mut withheld = Vec::new();
        let placement = &catalog.policy.placements[0];
        let shown = fill(scored.into_iter(), catalog, placement, count, |one| {
            withheld.push((one.offer, one.rejection()));
        });
        (shown.iter().map(|shown| shown.offer).collect(), withheld)
    }

    #[test]
    fn priority_is_the_published_formula() {
        let worked = Factors { context_weight: 2.0, value: 80.0, lever: 1.55, ..scored(0, 0.12).factors };
        assert!((worked.priority() - 29.76).abs() < 1e-12);
    }

    /// By priority, whatever the order before.
    fn sorted(scored: &[Scored]) -> Vec<Scored> {
        let mut order = Vec::new();
        sort(scored, Strategy::Priority, &mut order);
        order.iter().map(|(_, _, place)| scored[*place].clone()).collect()
    }

    #[test]
    fn a_tie_goes_to_the_lower_id() {
        let tied = sorted(&[scored(5, 0.2), scored(3, 0.2), scored(4, 0.3)]);
        assert_eq!(tied.iter().map(|scored| scored.offer).collect::<Vec<_>>(), [4, 3, 5]);
    }

    #[test]
    fn an_offer_steps_aside_for_a_better_one_that_it_conflicts_with() {
        let catalog = catalog(8);
        let (shown, withheld) = slate(vec![scored(1, 0.9), scored(0, 0.8), scored(2, 0.7)], &catalog, 2);
        assert_eq!(shown, [1, 2]);
        let (offer, rejection) = &withheld[0];
        assert_eq!((*offer, rejection.reason, rejection.detail.as_str()), (0, Reason::ConflictsWith, "o1"));
    }

    proptest! {
        #[test]
        fn a_slate_keeps_its_constraints_and_loses_nobody(
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
            prop_assert_eq!(&all, &sorted(&reversed), "the order of the offers means nothing");
            let (shown, withheld) = slate(all.clone(), &catalog, count);
            prop_assert!(shown.len() <= count);
            prop_assert!(!(shown.contains(&0) && shown.contains(&1)));
            for parity in 0..2 {
                prop_assert!(shown.iter().filter(|offer| *offer % 2 == parity).count() <= most);
            }
            prop_assert_eq!(shown.len() + withheld.len(), all.len());
            // The best offer is always shown.
            if count > 0 {
                prop_assert_eq!(shown.first(), all.first().map(|best| &best.offer));
            }
        }
    }
}
