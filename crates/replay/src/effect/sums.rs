//! What is counted and summed of decisions, placements, segments and offers.

use super::sum::Sum;
use super::{BeforeAfter, Code, OfferEffect, Totals};

/// [`Totals`] whose sums do not depend on the order.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sums {
    pub decisions: u64,
    pub first_changes: u64,
    pub slate_changes: u64,
    pub segment_changes: u64,
    pub fallbacks: BeforeAfter<u64>,
    pub empty: BeforeAfter<u64>,
    pub offers: BeforeAfter<u64>,
    pub expected_value: BeforeAfter<Sum>,
    pub margin: BeforeAfter<Sum>,
}

impl Sums {
    pub(super) fn add(&mut self, other: &Self) {
        self.decisions += other.decisions;
        self.first_changes += other.first_changes;
        self.slate_changes += other.slate_changes;
        self.segment_changes += other.segment_changes;
        self.fallbacks.add(other.fallbacks);
        self.empty.add(other.empty);
        self.offers.add(other.offers);
        self.expected_value.add_sums(other.expected_value);
        self.margin.add_sums(other.margin);
    }

    pub(super) fn totals(&self) -> Totals {
        Totals {
            decisions: self.decisions,
            first_changes: self.first_changes,
            slate_changes: self.slate_changes,
            segment_changes: self.segment_changes,
            fallbacks: self.fallbacks,
            empty: self.empty,
            offers: self.offers,
            expected_value: self.expected_value.map(Sum::value),
            margin: self.margin.map(Sum::value),
        }
    }
}

impl BeforeAfter<u64> {
    pub(super) fn add(&mut self, other: Self) {
        self.before += other.before;
        self.after += other.after;
    }
}

impl BeforeAfter<Sum> {
    pub(super) fn add_sums(&mut self, other: Self) {
        self.before.add(other.before);
        self.after.add(other.after);
    }
}

/// What an [`OfferEffect`] and the [`WithheldEffect`](super::WithheldEffect)s of an offer are made of.
#[derive(Debug, Clone, Default)]
pub(super) struct OfferSums {
    /// The rank of the release that names the offer, and the name.
    pub name: Option<(u64, String)>,
    pub shown: BeforeAfter<u64>,
    pub first: BeforeAfter<u64>,
    pub expected_value: BeforeAfter<Sum>,
    pub margin: BeforeAfter<Sum>,
    /// An offer is withheld for few reasons, so a list is faster than a map.
    pub withheld: Vec<(Code, BeforeAfter<u64>)>,
}

impl OfferSums {
    pub(super) fn name(&self) -> String {
        self.name.as_ref().map(|(_, name)| name.clone()).unwrap_or_default()
    }

    pub(super) fn withheld(&mut self, code: Code) -> &mut BeforeAfter<u64> {
        let position = self.withheld.iter().position(|(known, _)| *known == code).unwrap_or_else(|| {
            self.withheld.push((code, BeforeAfter::default()));
            self.withheld.len() - 1
        });
        &mut self.withheld[position].1
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.shown.add(other.shown);
        self.first.add(other.first);
        self.expected_value.add_sums(other.expected_value);
        self.margin.add_sums(other.margin);
        for (code, decisions) in &other.withheld {
            self.withheld(*code).add(*decisions);
        }
    }

    pub(super) fn effect(&self, id: &str) -> OfferEffect {
        OfferEffect {
            offer: id.to_owned(),
            name: self.name(),
            shown: self.shown,
            first: self.first,
            expected_value: self.expected_value.map(Sum::value),
            margin: self.margin.map(Sum::value),
        }
    }
}
