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
