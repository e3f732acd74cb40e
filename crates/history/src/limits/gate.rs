//! What limits say of a customer: which offers they withhold, why and until when.

use chrono::{DateTime, Utc};
use offer::OfferIndex;
use smallvec::SmallVec;

use super::cap::ReachedCap;
use super::contact::AllReached;
use super::suppression::Pause;
use super::{FullTotals, Limits, OfferSet, Place};
use crate::entry::Entry;
use crate::moment::{self, Millis};
use crate::total::{Refusal, TotalLimit};
use crate::view::HistoryView;

/// Which kind of limit withholds an offer; they are asked in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LimitReason {
    /// A suppression: the customer said no too often.
    Suppressed,
    /// A contact limit.
    ContactLimit,
    /// `cap_customer` of the offer.
    CapCustomer,
    /// `cap_total` of the offer.
    CapTotal,
    /// `budget` of the offer.
    Budget,
}

/// Why a limit withholds an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitBlocked {
    /// The kind of limit.
    pub reason: LimitReason,
    /// The position of a suppression or a contact limit.
    limit: usize,
    frees: Millis,
}

impl LimitBlocked {
    /// The first moment at which this limit no longer withholds the offer if nothing else happens until then. `None`
    /// if that never comes.
    #[must_use]
    pub fn frees_at(&self) -> Option<DateTime<Utc>> {
        moment::moment(self.frees)
    }

    /// The id of the suppression or the contact limit; of a limit of the offer itself, its key in `offers.toml`.
    #[must_use]
    pub fn id<'a>(&self, limits: &'a Limits) -> &'a str {
        match self.reason {
            LimitReason::Suppressed => limits.suppressions.id(self.limit),
            LimitReason::ContactLimit => limits.contacts.id(self.limit),
            LimitReason::CapCustomer => "cap_customer",
            LimitReason::CapTotal => TotalLimit::Cap.name(),
            LimitReason::Budget => TotalLimit::Budget.name(),
        }
    }

    /// A limit of the offer itself.
    fn of_offer(reason: LimitReason, frees: Millis) -> Self {
        Self { reason, limit: 0, frees }
    }
}

impl From<Refusal> for LimitBlocked {
    fn from(Refusal { limit, frees }: Refusal) -> Self {
        Self::of_offer(of_total(limit), frees)
    }
}

/// The reason of a limit over all customers.
fn of_total(limit: TotalLimit) -> LimitReason {
    match limit {
        TotalLimit::Cap => LimitReason::CapTotal,
        TotalLimit::Budget => LimitReason::Budget,
    }
}

/// The limits of a release for one customer at one place and moment.
#[derive(Debug)]
pub struct CustomerLimits<'a> {
    limits: &'a Limits,
    pauses: SmallVec<[Pause; 2]>,
    contacts: AllReached,
    caps: SmallVec<[ReachedCap; 4]>,
    totals: &'a FullTotals,
    /// The offers that some limit withholds. Why, and until when, is looked up for these alone.
    withheld: OfferSet,
}

impl Limits {
    /// The limits for the customer at `position` in `view`, whose offers are shown at `place`.
    ///
    /// # Panics
    /// If the view has no such customer.
    #[must_use]
    pub fn gate<'a>(&'a self, view: &'a HistoryView, position: usize, place: Place) -> CustomerLimits<'a> {
        CustomerLimits::new(self, view.entries(position), view.totals(), place, view.now())
    }
}

impl<'a> CustomerLimits<'a> {
    pub(crate) fn new(
        limits: &'a Limits,
        entries: &[Entry],
        totals: &'a FullTotals,
        place: Place,
        now: Millis,
    ) -> Self {
        let overview = limits.meanings.overview(limits, entries);
        let pauses = if overview.suppresses() {
            limits.suppressions.pauses(limits, entries, now)
        } else {
            SmallVec::new()
        };
        let contacts = limits.contacts.reached(entries, &overview, place, now);
        let caps = limits.caps.reached(limits, entries, &overview, now);
        let mut withheld = totals.offers().clone();
        for pause in &pauses {
            limits.suppressions.add_offers(pause, &mut withheld);
        }
        for reached in &contacts {
            withheld.extend(limits.contacts.offers(reached.limit));
        }
        for (offer, _) in &caps {
            withheld.insert(*offer);
        }
        Self { limits, pauses, contacts, caps, totals, withheld }
    }

    /// The first limit that withholds the offer, if any: suppressions, contact limits, customer cap, total cap, budget.
    #[must_use]
    #[inline]
    pub fn withholds(&self, offer: OfferIndex) -> Option<LimitBlocked> {
        if self.withheld.contains(offer) { self.first_that_withholds(offer) } else { None }
    }

    fn first_that_withholds(&self, offer: OfferIndex) -> Option<LimitBlocked> {
        self.fallback_withholds(offer).or_else(|| self.cap(offer)).or_else(|| self.total(offer))
    }

    /// The same for a fallback, which only suppressions and contact limits withhold.
    #[must_use]
    pub fn fallback_withholds(&self, offer: OfferIndex) -> Option<LimitBlocked> {
        if let Some(pause) = self.pauses.iter().find(|pause| self.limits.suppressions.covers(pause, offer)) {
            let (limit, frees) = (pause.rule, pause.frees);
            return Some(LimitBlocked { reason: LimitReason::Suppressed, limit, frees });
        }
        let covers = |limit: usize| self.limits.contacts.offers(limit).contains(offer);
        let reached = self.contacts.iter().find(|reached| covers(reached.limit))?;
        let (limit, frees) = (reached.limit, reached.frees);
        Some(LimitBlocked { reason: LimitReason::ContactLimit, limit, frees })
    }

    fn cap(&self, offer: OfferIndex) -> Option<LimitBlocked> {
        let (_, frees) = self.caps.iter().find(|(of, _)| *of == offer)?;
        Some(LimitBlocked::of_offer(LimitReason::CapCustomer, *frees))
    }

    fn total(&self, offer: OfferIndex) -> Option<LimitBlocked> {
        let terms = &self.limits.offers[offer.get()];
        let blocked = |(place, limit): (Option<usize>, TotalLimit)| {
            let frees = self.totals.frees(place?)?;
            Some(LimitBlocked::of_offer(of_total(limit), frees))
        };
        [(terms.cap, TotalLimit::Cap), (terms.budget, TotalLimit::Budget)].into_iter().find_map(blocked)
    }
}

#[cfg(test)]
impl Limits {
    /// The positions of the contact limits that are reached.
    pub(crate) fn contacts_reached(&self, view: &HistoryView, position: usize, place: Place) -> Vec<usize> {
        self.gate(view, position, place).contacts.iter().map(|reached| reached.limit).collect()
    }
}
