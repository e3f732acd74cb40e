//! Outcome types: what a customer can do with an offer, and how long after the decision it counts as its outcome.
//!
//! Eight types are built in ([`OUTCOMES`]); `[[outcome]]` in `policy.toml` declares further ones.

use std::collections::BTreeMap;

use chrono::TimeDelta;

use super::PlacementIndex;

/// What an outcome says about the offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutcomeKind {
    /// The customer took it up.
    Positive,
    /// The customer turned it down.
    Negative,
    /// Neither.
    Neutral,
}

/// The built-in outcome types.
pub const OUTCOMES: [(&str, OutcomeKind); 8] = [
    ("impression", OutcomeKind::Neutral),
    ("click", OutcomeKind::Positive),
    ("dismiss", OutcomeKind::Negative),
    ("accept", OutcomeKind::Positive),
    ("convert", OutcomeKind::Positive),
    ("reject", OutcomeKind::Negative),
    ("opt_out", OutcomeKind::Negative),
    ("complaint", OutcomeKind::Negative),
];

/// A type of outcome that can be recorded and counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutcomeType {
    /// Small letters, digits and `_`; unique.
    pub id: String,
    /// What it says about the offer.
    pub kind: OutcomeKind,
}

/// How long after its decision an outcome counts as on time (`[attribution]`, `[placement.attribution]`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attribution {
    /// The windows that hold for every placement, by outcome type.
    everywhere: BTreeMap<String, TimeDelta>,
    /// The windows of each placement, which come before the others.
    placements: Vec<BTreeMap<String, TimeDelta>>,
}

impl Attribution {
    /// The window of an outcome type at a placement: a later outcome is late. `None` if there is none: then no outcome
    /// is late.
    #[must_use]
    pub fn window(&self, placement: PlacementIndex, outcome: &str) -> Option<TimeDelta> {
        let own = self.placements.get(placement.get()).and_then(|windows| windows.get(outcome));
        own.or_else(|| self.everywhere.get(outcome)).copied()
    }
}
