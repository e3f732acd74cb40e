//! Showing a slate: checked and counted together, kept or taken back.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use offer::OfferIndex;
use smallvec::SmallVec;
use uuid::Uuid;

use super::History;
use super::entry::Entry;
use super::event::ShownOffer;
use super::limits::{CustomerLimits, FullTotals, LimitBlocked, Limits, Place};
use super::moment::{self, Millis};
use super::names::{DECISION, EntryKey};
use super::total::Taken;

/// The transaction of one decision.
///
/// [`Transaction::show`] takes what a slate needs of total caps and budgets, checks the customer's limits again, and
/// adds the slate to their history, all or nothing. What is refused is named, so that the caller can fill the slate
/// anew and ask again; what the old and the new slate have in common stays taken in between. After some rounds,
/// [`Transaction::show_what_fits`] ends it. A transaction that is dropped without [`Transaction::keep`] takes
/// everything back, for calls that are cancelled.
#[derive(Debug)]
pub struct Transaction {
    history: Arc<History>,
    limits: Arc<Limits>,
    decision: Uuid,
    customer: Box<str>,
    place: Place,
    now: Millis,
    /// What was taken of the totals, by offer.
    taken: SmallVec<[(OfferIndex, Taken); 3]>,
    /// The offers that are shown, in order, and their entries.
    shown: SmallVec<[OfferIndex; 4]>,
    group: SmallVec<[Entry; 4]>,
    is_kept: bool,
}

/// An offer that may not be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// The offer.
    pub offer: OfferIndex,
    /// Why, and until when.
    pub blocked: LimitBlocked,
}

/// Which limits an offer must pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shows {
    Offers,
    Fallback,
}

impl Transaction {
    /// Begins the transaction of a decision for `customer`, whose id is empty if they have none. `now` is the clock of
    /// the view that the decision was made with.
    #[must_use]
    pub fn begin(
        history: &Arc<History>,
        limits: &Arc<Limits>,
        decision: Uuid,
        customer: &str,
        place: Place,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            history: Arc::clone(history),
            limits: Arc::clone(limits),
            decision,
            customer: customer.into(),
            place,
            now: moment::millis(now),
            taken: SmallVec::new(),
            shown: SmallVec::new(),
            group: SmallVec::new(),
            is_kept: false,
        }
    }

    /// Shows these offers, in this order, in the place of those that were shown before.
    ///
    /// # Errors
    /// Every offer that a limit refuses. Nothing is shown then.
    pub fn show(&mut self, offers: &[OfferIndex]) -> Result<(), Vec<Refused>> {
        self.hide();
        let mut refused = self.take(offers, Shows::Offers);
        if refused.is_empty() {
            refused = self.add(offers, Shows::Offers, OnRefusal::AddNothing);
        }
        if refused.is_empty() { Ok(()) } else { Err(refused) }
    }

    /// Shows those of these offers that no limit refuses, and returns the others.
    pub fn show_what_fits(&mut self, offers: &[OfferIndex]) -> Vec<Refused> {
        self.hide();
        let mut refused = self.take(offers, Shows::Offers);
        let fits = |offer: &OfferIndex| !refused.iter().any(|one| one.offer == *offer);
        let fitting: SmallVec<[OfferIndex; 4]> = offers.iter().copied().filter(fits).collect();
        refused.extend(self.add(&fitting, Shows::Offers, OnRefusal::AddTheOthers));
        self.give_back_unshown();
        refused
    }

    /// Shows a fallback, in the place of what was shown before. Only suppressions and contact limits can refuse it; it
    /// counts for every limit.
    ///
    /// # Errors
    /// If a limit refuses it. Nothing is shown then.
    pub fn show_fallback(&mut self, offer: OfferIndex) -> Result<(), Refused> {
        self.hide();
        self.take(&[offer], Shows::Fallback);
        match self.add(&[offer], Shows::Fallback, OnRefusal::AddNothing).pop() {
            Some(refused) => {
                self.give_back_all_but(&[]);
                Err(refused)
            }
            None => Ok(()),
        }
    }

    /// What is shown, with what it reserves. This belongs into the record of the decision: history is built again from
    /// it. Who records it and who remembers it can share it.
    #[must_use]
    pub fn shown(&self) -> Arc<[ShownOffer]> {
        self.shown.iter().map(|offer| self.shown_offer(*offer)).collect()
    }

    /// Gives back what a slate took that was refused and is not filled anew: other customers may have it at once.
    pub fn give_back_unshown(&mut self) {
        let shown = self.shown.clone();
        self.give_back_all_but(&shown);
    }

    /// Ends the transaction: what is shown stays counted.
    pub fn keep(mut self) {
        self.give_back_unshown();
        self.is_kept = true;
    }

    /// Ends the transaction: what is shown stays counted for limits over all customers. The history of the customer is
    /// as it was before.
    pub fn keep_totals(mut self) {
        self.give_back_unshown();
        self.hide();
        self.history.drop_if_empty(&self.customer);
        self.is_kept = true;
    }

    /// Takes what `offers` need of the totals and is not taken yet; gives back what others took. Returns the offers
    /// that are refused.
    fn take(&mut self, offers: &[OfferIndex], shows: Shows) -> Vec<Refused> {
        self.give_back_all_but(offers);
        let mut refused = Vec::new();
        for offer in offers {
            if self.taken.iter().any(|(taken, _)| taken == offer) {
                continue;
            }
            let (ledger, charge) = self.limits.charge(*offer);
            match ledger.take(self.decision, charge, shows == Shows::Offers, self.now) {
                Ok(taken) => self.taken.push((*offer, taken)),
                Err(refusal) => refused.push(Refused { offer: *offer, blocked: refusal.into() }),
            }
        }
        refused
    }

    /// Checks the customer's limits and adds the offers that pass, under the lock of their shard. Returns the others.
    fn add(&mut self, offers: &[OfferIndex], shows: Shows, on_refusal: OnRefusal) -> Vec<Refused> {
        let (names, now) = (self.limits.names(), self.now);
        let Place { placement, channel } = self.place;
        let code = |offer: OfferIndex| {
            let (offer, _) = self.limits.name(offer);
            names.code(EntryKey { offer, placement, channel, event_type: DECISION, saturated: false })
        };
        let codes: SmallVec<[_; 4]> = offers.iter().map(|offer| code(*offer)).collect();
        if self.customer.is_empty() {
            self.shown = offers.into();
            return Vec::new();
        }
        let (history, limits, place) = (&self.history, &self.limits, self.place);
        let (group, shown) = (&mut self.group, &mut self.shown);
        history.customers.change_or_add(&self.customer, offers.len(), |timeline| {
            // What the totals refuse is known by now.
            let none = FullTotals::default();
            let limits = CustomerLimits::new(limits, timeline.entries(), &none, place, now);
            let blocked = |offer: OfferIndex| match shows {
                Shows::Offers => limits.withholds(offer),
                Shows::Fallback => limits.fallback_withholds(offer),
            };
            let mut refused = Vec::new();
            for (offer, code) in offers.iter().zip(codes) {
                match blocked(*offer) {
                    Some(blocked) => refused.push(Refused { offer: *offer, blocked }),
                    None => {
                        group.push(Entry::new(now, code, !group.is_empty()));
                        shown.push(*offer);
                    }
                }
            }
            if !refused.is_empty() && on_refusal == OnRefusal::AddNothing {
                group.clear();
                shown.clear();
            }
            history.insert(timeline, group);
            refused
        })
    }

    /// Takes what is shown off the customer's history.
    fn hide(&mut self) {
        if !self.group.is_empty() {
            self.history.customers.change(&self.customer, |timeline| timeline.remove(&self.group));
        }
        self.group.clear();
        self.shown.clear();
    }

    /// Gives back what offers other than these took of the totals.
    fn give_back_all_but(&mut self, offers: &[OfferIndex]) {
        let (limits, decision, now) = (&self.limits, self.decision, self.now);
        self.taken.retain(|(offer, taken)| {
            let stays = offers.contains(offer);
            if !stays {
                let (ledger, charge) = limits.charge(*offer);
                ledger.give_back(decision, taken, charge.spend, now);
            }
            stays
        });
    }

    fn shown_offer(&self, offer: OfferIndex) -> ShownOffer {
        let taken = self.taken.iter().find(|(taken, _)| *taken == offer);
        self.limits.shown(offer, &taken.map(|(_, taken)| taken.clone()).unwrap_or_default())
    }
}

/// What is added of a slate with an offer that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnRefusal {
    AddNothing,
    AddTheOthers,
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if !self.is_kept {
            self.hide();
            self.give_back_all_but(&[]);
        }
    }
}
