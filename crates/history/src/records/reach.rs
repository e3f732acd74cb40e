//! How far back the limits and the new offers of a release look, at decisions and at outcomes.

use chrono::TimeDelta;
use offer::{Catalog, Counted, Period};

/// Whether a release has limits that look at history, or new offers, whose impressions are counted as limits are.
#[must_use]
pub fn has_limits(catalog: &Catalog) -> bool {
    Reaches::of_customers(catalog).max(Reaches::of_totals(catalog)) != Reaches::NOTHING
}

/// How far back events are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    Nothing,
    Back(TimeDelta),
    Everything,
}

/// By kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reaches {
    pub decisions: Reach,
    pub outcomes: Reach,
}

impl Reaches {
    const NOTHING: Self = Self { decisions: Reach::Nothing, outcomes: Reach::Nothing };

    /// Duplicates of outcomes are recognised for `deduplicated`.
    pub(super) fn of(catalog: &Catalog, deduplicated: TimeDelta) -> Self {
        let duplicates = Self { decisions: Reach::Nothing, outcomes: Reach::Back(deduplicated) };
        Self::of_customers(catalog).max(Self::of_totals(catalog)).max(duplicates)
    }

    /// Of limits that look at one customer.
    pub(super) fn of_customers(catalog: &Catalog) -> Self {
        let mut reaches = Self::NOTHING;
        let policy = &catalog.policy;
        for limit in &policy.contact_limits {
            reaches.counting(&limit.count, limit.per);
        }
        for suppression in &policy.suppressions {
            reaches.outcomes = reaches.outcomes.max(Reach::Back(suppression.longest()));
        }
        for cap in catalog.library.offers().iter().filter_map(|offer| offer.cap_customer.as_ref()) {
            reaches.counting(&cap.count, cap.per);
        }
        reaches
    }

    /// Of limits that look at what all customers did, and of new offers.
    pub(super) fn of_totals(catalog: &Catalog) -> Self {
        let mut reaches = Self::NOTHING;
        // A prior and a throttle look at every decision that ever showed the offer.
        if !catalog.experiments.newcomers.is_empty() {
            reaches.decisions = Reach::Everything;
        }
        for offer in catalog.library.offers() {
            if let Some(cap) = &offer.cap_total {
                reaches.counting(&cap.count, cap.per);
                reaches.reserving(cap.reserve);
            }
            if let Some(budget) = &offer.budget {
                reaches.counting(&budget.count, budget.per);
                reaches.reserving(budget.reserve);
            }
        }
        reaches
    }

    /// The further of the two kinds.
    pub(super) fn earliest(self) -> Reach {
        self.decisions.max(self.outcomes)
    }

    /// The further of both.
    pub(super) fn max(self, other: Self) -> Self {
        Self { decisions: self.decisions.max(other.decisions), outcomes: self.outcomes.max(other.outcomes) }
    }

    fn counting(&mut self, count: &Counted, per: Period) {
        let reach = per.longest().map_or(Reach::Everything, Reach::Back);
        let counted = match count {
            Counted::Decision => &mut self.decisions,
            Counted::Outcome(_) => &mut self.outcomes,
        };
        *counted = reach.max(*counted);
    }

    /// Decisions whose reservations may be open.
    fn reserving(&mut self, reserve: TimeDelta) {
        if reserve > TimeDelta::zero() {
            self.decisions = self.decisions.max(Reach::Back(reserve));
        }
    }
}
