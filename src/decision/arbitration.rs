//! Choosing among the survivors: order, then the constraints of one slate.

use std::sync::Arc;

use super::{Factors, Reason, Rejection, Stage};
use crate::offer::{Catalog, Placement, Strategy};

/// An offer that passed every gate and has a score.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scored {
    pub offer: usize,
    pub factors: Factors,
}

/// Sorts by what the placement arbitrates on, descending; then by offer, whose positions are in the order of the ids, so
/// that ties never depend on chance. Keys are finite: propensities are within 0..=1 and the offer's terms were checked.
pub(super) fn sort(scored: &mut [Scored], strategy: Strategy) {
    scored.sort_by(|one, other| {
        key(other, strategy).total_cmp(&key(one, strategy)).then(one.offer.cmp(&other.offer))
    });
}

/// What a placement arbitrates on.
fn key(candidate: &Scored, strategy: Strategy) -> f64 {
    match strategy {
        Strategy::Priority => candidate.factors.priority(),
        Strategy::Margin => candidate.factors.margin,
    }
}

/// What became of a sorted list.
#[derive(Debug, Default)]
pub(super) struct Slate {
    pub chosen: Vec<Scored>,
    pub withheld: Vec<(usize, Rejection)>,
}

/// Walks the sorted list and takes what fits, up to `count`: an offer that conflicts with a better one, or whose category
/// has enough, steps aside for the next.
pub(super) fn fill(scored: Vec<Scored>, catalog: &Catalog, placement: &Placement, count: usize) -> Slate {
    let offers = catalog.library.offers();
    let mut slate = Slate::default();
    let mut per_category = vec![0_usize; catalog.policy.categories.len()];
    for candidate in scored {
        let offer = &offers[candidate.offer];
        let rejection = if slate.chosen.len() >= count {
            let key = key(&candidate, placement.strategy);
            Some(Rejection::new(Stage::Arbitration, Reason::Outranked).with_detail(
                match placement.strategy {
                    Strategy::Priority => format!("priority {key:.4}"),
                    Strategy::Margin => format!("margin {key:.4}"),
                },
            ))
        } else if let Some(better) =
            slate.chosen.iter().find(|chosen| offer.conflicts_with.contains(&chosen.offer))
        {
            let id: &Arc<str> = &offers[better.offer].id;
            Some(Rejection::new(Stage::Slate, Reason::ConflictsWith).with_detail(&**id))
        } else if placement.max_per_category.is_some_and(|most| per_category[offer.category] >= most) {
            let category = &catalog.policy.categories[offer.category].id;
            Some(Rejection::new(Stage::Slate, Reason::CategoryLimit).with_detail(category.as_str()))
        } else {
            None
        };
        match rejection {
            Some(rejection) => slate.withheld.push((candidate.offer, rejection)),
            None => {
                per_category[offer.category] += 1;
                slate.chosen.push(candidate);
            }
        }
    }
    slate
}

#[cfg(test)]
mod tests {
    use super::{Catalog, Factors, Reason, Scored, Slate, fill, sort};
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

    fn chosen(slate: &Slate) -> Vec<usize> {
        slate.chosen.iter().map(|chosen| chosen.offer).collect()
    }

    #[test]
    fn priority_is_the_published_formula() {
        let worked = Factors { context_weight: 2.0, value: 80.0, lever: 1.55, ..scored(0, 0.12).factors };
        assert!((worked.priority() - 29.76).abs() < 1e-12);
    }

    #[test]
    fn a_tie_goes_to_the_lower_id() {
        let mut tied = vec![scored(5, 0.2), scored(3, 0.2), scored(4, 0.3)];
        sort(&mut tied, Strategy::Priority);
        assert_eq!(tied.iter().map(|scored| scored.offer).collect::<Vec<_>>(), [4, 3, 5]);
    }

    #[test]
    fn an_offer_steps_aside_for_a_better_one_that_it_conflicts_with() {
        let catalog = catalog(8);
        let slate = fill(
            vec![scored(1, 0.9), scored(0, 0.8), scored(2, 0.7)],
            &catalog,
            &catalog.policy.placements[0],
            2,
        );
        assert_eq!(chosen(&slate), [1, 2]);
        let (offer, rejection) = &slate.withheld[0];
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
            let placement = &catalog.policy.placements[0];
            let mut all: Vec<Scored> = (0..OFFERS)
                .filter(|offer| present[*offer])
                .map(|offer| scored(offer, propensities[offer]))
                .collect();
            let mut reversed: Vec<Scored> = all.iter().rev().cloned().collect();
            sort(&mut all, Strategy::Priority);
            sort(&mut reversed, Strategy::Priority);
            prop_assert_eq!(&all, &reversed, "the order of the offers means nothing");
            let slate = fill(all.clone(), &catalog, placement, count);
            let chosen = chosen(&slate);
            prop_assert!(chosen.len() <= count);
            prop_assert!(!(chosen.contains(&0) && chosen.contains(&1)));
            for parity in 0..2 {
                prop_assert!(chosen.iter().filter(|offer| *offer % 2 == parity).count() <= most);
            }
            prop_assert_eq!(chosen.len() + slate.withheld.len(), all.len());
            // The best offer is always shown.
            if count > 0 {
                prop_assert_eq!(chosen.first(), all.first().map(|best| &best.offer));
            }
        }
    }
}
