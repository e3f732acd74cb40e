//! The events that history is made of, as crates that keep them can make them.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use smallvec::SmallVec;
use uuid::Uuid;

use super::History;
use super::entry::Entry;
use super::moment;
use super::names::{DECISION, EntryKey, NONE};
use super::timeline::Timeline;
use super::total::{Hold, Overshoot, Spend, Taken, TotalLimit};

/// The outcome type after which a customer is shown no marketing.
const OPT_OUT: &str = "opt_out";

/// Something that history counts.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// A decision that was answered.
    Decision(Decision<'a>),
    /// What a customer did with an offer.
    Outcome(Outcome<'a>),
}

/// A decision that showed something.
#[derive(Debug, Clone, Copy)]
pub struct Decision<'a> {
    /// Its id.
    pub id: Uuid,
    /// The customer; empty for one without an id.
    pub customer: &'a str,
    /// Where it was shown.
    pub placement: &'a str,
    /// Over what.
    pub channel: &'a str,
    /// The clock of the server that decided.
    pub decided_at: DateTime<Utc>,
    /// What was shown, a fallback among it, as [`Transaction::keep`](super::Transaction::keep) returned it.
    pub shown: &'a [ShownOffer],
}

/// An offer that a decision showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownOffer {
    /// Its id.
    pub offer: Arc<str>,
    /// What it spends.
    pub spend: Spend,
    /// What was reserved for its outcomes: at most one for each limit.
    pub reservations: Vec<Reservation>,
}

/// Room of a total cap or a budget that is kept for an outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// Of which limit.
    pub limit: TotalLimit,
    /// The outcome type that it waits for.
    pub outcome: Arc<str>,
    /// The first moment at which it no longer holds.
    pub until: DateTime<Utc>,
}

/// What a customer did with an offer.
#[derive(Debug, Clone, Copy)]
pub struct Outcome<'a> {
    /// By which a duplicate is recognised.
    pub event_id: &'a str,
    /// The decision that it belongs to.
    pub decision: Option<Uuid>,
    /// The customer; empty if they are not known.
    pub customer: &'a str,
    /// The offer; empty if there is none.
    pub offer: &'a str,
    /// Where the decision was shown; empty if that is not known.
    pub placement: &'a str,
    /// Over what; empty if that is not known.
    pub channel: &'a str,
    /// Its type.
    pub outcome: &'a str,
    /// What it spends unless its decision reserved something, which is what it then spends: the terms of the offer
    /// when it was recorded.
    pub spend: Spend,
    /// When it happened.
    pub occurred_at: DateTime<Utc>,
    /// When the server recorded it.
    pub recorded_at: DateTime<Utc>,
}

/// What an outcome did to the limits of its offer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OutcomeCounted {
    /// Whether a reservation waited for it. Such an outcome exceeds nothing.
    pub was_reserved: bool,
    /// What it exceeded. It is counted all the same.
    pub overshoot: Overshoot,
}

/// The positions of what an outcome names, for its customer and for totals.
#[derive(Clone, Copy)]
struct Named {
    offer: u16,
    event_type: u16,
}

impl History {
    /// Counts an outcome that was recorded. The caller has asked [`History::admit`] before.
    pub fn record_outcome(&self, outcome: &Outcome<'_>) -> OutcomeCounted {
        let named = self.named(outcome);
        self.count_outcome_for_customer(outcome, named);
        self.count_outcome_in_totals(outcome, named)
    }

    /// Counts a decision that was made before: by this server before it started, or by another one.
    pub(crate) fn count_decision(&self, decision: &Decision<'_>) {
        self.count_in_totals(&Event::Decision(*decision));
        self.count_for_customer(&Event::Decision(*decision));
    }

    /// Adds an event to what is known of its customer.
    pub(crate) fn count_for_customer(&self, event: &Event<'_>) {
        match event {
            Event::Decision(decision) => {
                let at = moment::millis(decision.decided_at);
                let placement = self.names.placements.intern(decision.placement);
                let channel = self.names.channels.intern(decision.channel);
                let mut group: SmallVec<[Entry; 4]> = SmallVec::new();
                for shown in decision.shown {
                    let offer = self.names.offers.intern(&shown.offer);
                    let key = EntryKey { offer, placement, channel, event_type: DECISION, saturated: false };
                    group.push(Entry::new(at, self.names.code(key), !group.is_empty()));
                }
                if !decision.customer.is_empty() && !group.is_empty() {
                    let insert = |timeline: &mut Timeline| self.insert(timeline, &group);
                    self.customers.change_or_add(decision.customer, group.len(), insert);
                }
            }
            Event::Outcome(outcome) => self.count_outcome_for_customer(outcome, self.named(outcome)),
        }
    }

    fn count_outcome_for_customer(&self, outcome: &Outcome<'_>, Named { offer, event_type }: Named) {
        if outcome.customer.is_empty() {
            return;
        }
        let code = self.names.code(EntryKey {
            offer,
            placement: self.names.placements.intern_foreign(outcome.placement),
            channel: self.names.channels.intern_foreign(outcome.channel),
            event_type,
            saturated: false,
        });
        let at = moment::millis(outcome.occurred_at);
        self.customers.change_or_add(outcome.customer, 1, |timeline| {
            self.insert(timeline, &[Entry::new(at, code, false)]);
            if outcome.outcome == OPT_OUT {
                timeline.opt_out();
            }
        });
    }

    /// Adds an event to what all customers together did with its offers.
    pub(crate) fn count_in_totals(&self, event: &Event<'_>) {
        match event {
            Event::Decision(decision) => {
                let at = moment::millis(decision.decided_at);
                for shown in decision.shown {
                    let offer = self.names.offers.intern(&shown.offer);
                    if self.has_ledger(offer) {
                        self.ledger(offer).decided(decision.id, at, shown.spend, &self.taken(shown));
                    }
                }
            }
            Event::Outcome(outcome) => _ = self.count_outcome_in_totals(outcome, self.named(outcome)),
        }
    }

    /// Ends what a decision reserved for this outcome, which is counted elsewhere.
    pub(crate) fn settle(&self, outcome: &Outcome<'_>) {
        let Named { offer, event_type } = self.named(outcome);
        let Some(decision) = outcome.decision.filter(|_| self.has_ledger(offer)) else { return };
        self.ledger(offer).settle(decision, event_type, moment::millis(outcome.recorded_at));
    }

    fn count_outcome_in_totals(
        &self,
        outcome: &Outcome<'_>,
        Named { offer, event_type }: Named,
    ) -> OutcomeCounted {
        if !self.has_ledger(offer) {
            return OutcomeCounted::default();
        }
        let (at, now) = (moment::millis(outcome.occurred_at), moment::millis(outcome.recorded_at));
        let counted = self.ledger(offer).outcome(outcome.decision, event_type, at, outcome.spend, now);
        OutcomeCounted { was_reserved: counted.was_reserved, overshoot: counted.overshoot }
    }

    fn named(&self, outcome: &Outcome<'_>) -> Named {
        Named {
            offer: self.names.offers.intern_foreign(outcome.offer),
            event_type: self.names.types.intern(outcome.outcome),
        }
    }

    /// Whether the offer at a position can be told from others.
    pub(crate) fn has_ledger(&self, offer: u16) -> bool {
        offer != NONE && offer != self.names.offers.other()
    }

    /// The reservations of an offer that was shown.
    fn taken(&self, shown: &ShownOffer) -> Taken {
        let hold = |reservation: &Reservation| {
            let counted = self.names.types.intern(&reservation.outcome);
            (
                reservation.limit,
                Hold { counted, until: moment::millis(reservation.until), spend: shown.spend },
            )
        };
        shown.reservations.iter().map(hold).collect()
    }
}
