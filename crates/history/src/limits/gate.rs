//! What limits say of a customer: which offers they withhold, why and until when.

use chrono::{DateTime, Utc};
use offer::OfferIndex;
use smallvec::SmallVec;

use super::cap::ReachedCap;
use super::contact::{AllReached, Reached};
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

fn of_pause(pause: &Pause) -> LimitBlocked {
    LimitBlocked { reason: LimitReason::Suppressed, limit: pause.rule, frees: pause.frees }
}

fn of_contact(reached: &Reached) -> LimitBlocked {
    LimitBlocked { reason: LimitReason::ContactLimit, limit: reached.limit, frees: reached.frees }
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
    answers: Answers,
}

/// What limits say of every offer, worked out limit by limit: most limits withhold many offers.
#[derive(Debug, Default)]
struct Answers {
    blocked: SmallVec<[LimitBlocked; 4]>,
    /// For each offer, the number of its answer, counted from 1; 0 or none if no limit withholds it, and [`LOOK_UP`].
    of_offer: SmallVec<[u8; ROW]>,
    /// The offers that have a number.
    withheld: OfferSet,
}

/// The offers for which no memory is allocated.
const ROW: usize = 128;

/// The number of an answer that is looked up when it is asked for.
const LOOK_UP: u8 = u8::MAX;

impl Answers {
    /// Withholds offers that are not withheld yet. Without an answer it is looked up.
    fn add(&mut self, answer: Option<LimitBlocked>, offers: &OfferSet) {
        let number = match answer {
            // The numbers of answers end before `LOOK_UP`.
            Some(answer) if self.blocked.len() + 1 < usize::from(LOOK_UP) => {
                self.blocked.push(answer);
                self.blocked.len() as u8
            }
            _ => LOOK_UP,
        };
        let Self { of_offer, withheld, .. } = self;
        withheld.extend_by(offers, |run| {
            if of_offer.len() < run.end {
                of_offer.resize(run.end.next_multiple_of(ROW), 0);
            }
            of_offer[run].fill(number);
        });
    }
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
        // In the order in which limits are asked.
        let mut answers = Answers::default();
        for pause in &pauses {
            answers.add(Some(of_pause(pause)), &limits.suppressions.offers(pause));
        }
        for reached in &contacts {
            answers.add(Some(of_contact(reached)), limits.contacts.offers(reached.limit));
        }
        for (offer, frees) in &caps {
            let answer = LimitBlocked::of_offer(LimitReason::CapCustomer, *frees);
            answers.add(Some(answer), &OfferSet::from_iter([*offer]));
        }
        // A total is the same for all customers and rarely full.
        answers.add(None, totals.offers());
        Self { limits, pauses, contacts, caps, totals, answers }
    }

    /// The first limit that withholds the offer, if any: suppressions, contact limits, customer cap, total cap, budget.
    #[must_use]
    #[inline]
    pub fn withholds(&self, offer: OfferIndex) -> Option<LimitBlocked> {
        let Answers { blocked, of_offer, .. } = &self.answers;
        match of_offer.get(offer.get()).copied().unwrap_or(0) {
            0 => None,
            LOOK_UP => self.first_that_withholds(offer),
            number => blocked.get(usize::from(number) - 1).copied(),
        }
    }

    fn first_that_withholds(&self, offer: OfferIndex) -> Option<LimitBlocked> {
        self.fallback_withholds(offer).or_else(|| self.cap(offer)).or_else(|| self.total(offer))
    }

    /// The same for a fallback, which only suppressions and contact limits withhold.
    #[must_use]
    pub fn fallback_withholds(&self, offer: OfferIndex) -> Option<LimitBlocked> {
        if let Some(pause) = self.pauses.iter().find(|pause| self.limits.suppressions.covers(pause, offer)) {
            return Some(of_pause(pause));
        }
        let covers = |limit: usize| self.limits.contacts.offers(limit).contains(offer);
        self.contacts.iter().find(|reached| covers(reached.limit)).map(of_contact)
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

#[cfg(test)]
impl CustomerLimits<'_> {
    /// What limits say of an offer when each is asked in turn.
    pub(crate) fn asked_in_turn(&self, offer: OfferIndex) -> Option<LimitBlocked> {
        self.first_that_withholds(offer)
    }
}
