//! How far back the limits of a release look, at decisions and at outcomes.

use chrono::TimeDelta;
use offer::{Catalog, Counted, Period};

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
    /// Duplicates of outcomes are recognised for `deduplicated`.
    pub(super) fn of(catalog: &Catalog, deduplicated: TimeDelta) -> Self {
        let mut reaches = Self { decisions: Reach::Nothing, outcomes: Reach::Back(deduplicated) };
        let policy = &catalog.policy;
        for limit in &policy.contact_limits {
            reaches.counting(&limit.count, limit.per);
        }
        for suppression in &policy.suppressions {
            reaches.outcomes = reaches.outcomes.max(Reach::Back(suppression.longest()));
        }
        for offer in catalog.library.offers() {
            if let Some(cap) = &offer.cap_customer {
                reaches.counting(&cap.count, cap.per);
            }
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
