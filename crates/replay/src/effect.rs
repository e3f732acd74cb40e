//! What another release changes: counts, expected value and margin before and after.
//!
//! `Tally` counts decisions by position on each thread, and tallies merge in any order to the same result. An
//! [`Effect`] is the finished tally, with names and in a fixed order. Start reading at [`Effect`].

mod codes;
mod positions;
mod sum;
mod sums;
mod tally;

use serde::Serialize;

pub(crate) use codes::Code;
pub(crate) use tally::{Shown, Side, Tally};

/// The moves that an [`Effect`] lists.
const MOVES: usize = 20;

/// A quantity before and after the change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct BeforeAfter<T> {
    /// As it is, or as it was recorded.
    pub before: T,
    /// With the other release.
    pub after: T,
}

/// What changes between two releases, over all decisions that both made.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Effect {
    /// All decisions.
    pub all: Totals,
    /// By placement, in the order of the ids.
    pub placements: Vec<PlacementEffect>,
    /// By segment, in the order of the numbers; decisions without a segment come first.
    pub segments: Vec<SegmentEffect>,
    /// By offer, in the order of the ids: every offer of the other release, and those that were shown or withheld
    /// before.
    pub offers: Vec<OfferEffect>,
    /// By offer, stage and reason: how often an offer was withheld.
    pub withheld: Vec<WithheldEffect>,
    /// By stage and reason: how often any offer was withheld.
    pub reasons: Vec<ReasonEffect>,
    /// The most frequent changes of the first offer, the most frequent first; at most 20.
    pub moves: Vec<Move>,
    /// Decisions whose first offer changes and that are in none of `moves`.
    pub other_moves: u64,
}

/// Counts and sums over decisions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Totals {
    /// Decisions: one customer at one placement.
    pub decisions: u64,
    /// Those whose first offer is another one, or that have one on one side alone.
    pub first_changes: u64,
    /// Those whose offers differ, in what is shown or in its order.
    pub slate_changes: u64,
    /// Those whose customer is in another segment.
    pub segment_changes: u64,
    /// Those that show a fallback.
    pub fallbacks: BeforeAfter<u64>,
    /// Those that show nothing.
    pub empty: BeforeAfter<u64>,
    /// Offers shown.
    pub offers: BeforeAfter<u64>,
    /// Money: the sum of propensity × value over the offers shown. Fallbacks have none.
    pub expected_value: BeforeAfter<f64>,
    /// Money: the sum of propensity × value − cost over the offers shown. Fallbacks have none.
    pub margin: BeforeAfter<f64>,
}

/// The decisions at a placement.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlacementEffect {
    /// The id of the placement.
    pub placement: String,
    /// Its decisions.
    #[serde(flatten)]
    pub totals: Totals,
}

/// The decisions for the customers of a segment, by the segment before the change. Where there was none, by the
/// segment after it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SegmentEffect {
    /// The number of the segment; `None` for decisions without a segment.
    pub segment: Option<i64>,
    /// Its name; empty where it is not known.
    pub name: String,
    /// Its decisions.
    #[serde(flatten)]
    pub totals: Totals,
}

/// How often an offer is shown, and what it brings.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OfferEffect {
    /// The id.
    pub offer: String,
    /// The name shown to people.
    pub name: String,
    /// Decisions that show it.
    pub shown: BeforeAfter<u64>,
    /// Decisions that show it first.
    pub first: BeforeAfter<u64>,
    /// Money: the sum of propensity × value where it is shown.
    pub expected_value: BeforeAfter<f64>,
    /// Money: the sum of propensity × value − cost where it is shown.
    pub margin: BeforeAfter<f64>,
}

/// How often an offer was withheld for a reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WithheldEffect {
    /// The id of the offer.
    pub offer: String,
    /// The name of the offer.
    pub name: String,
    /// The first gate that withheld it, as on the wire: `eligibility`.
    pub stage: &'static str,
    /// The code, as on the wire: `INELIGIBLE`.
    pub reason: &'static str,
    /// Decisions.
    pub decisions: BeforeAfter<u64>,
}

/// How often offers were withheld for a reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReasonEffect {
    /// The gate, as on the wire.
    pub stage: &'static str,
    /// The code, as on the wire.
    pub reason: &'static str,
    /// Offers withheld, over all decisions.
    pub offers: BeforeAfter<u64>,
}

/// Decisions whose first offer changes from one to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Move {
    /// The first offer before; `None` for nothing.
    pub from: Option<NamedOffer>,
    /// The first offer after; `None` for nothing.
    pub to: Option<NamedOffer>,
    /// Decisions.
    pub decisions: u64,
}

/// An offer in a [`Move`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NamedOffer {
    /// The id.
    pub offer: String,
    /// The name shown to people.
    pub name: String,
}

impl<T> BeforeAfter<T> {
    /// The same function of both.
    pub(crate) fn map<U>(self, change: impl Fn(T) -> U) -> BeforeAfter<U> {
        BeforeAfter { before: change(self.before), after: change(self.after) }
    }
}

impl Effect {
    /// Whether nothing changes: no answer, no sum, and no offer is withheld more or less often.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        let same = |pair: &BeforeAfter<u64>| pair.before == pair.after;
        let same_money = |pair: &BeforeAfter<f64>| pair.before.to_bits() == pair.after.to_bits();
        self.all.slate_changes == 0
            && self.all.segment_changes == 0
            && same_money(&self.all.expected_value)
            && same_money(&self.all.margin)
            && self.withheld.iter().all(|withheld| same(&withheld.decisions))
    }
}
