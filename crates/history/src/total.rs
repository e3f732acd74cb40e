//! What all customers together did with an offer, and the limits on it: `cap_total` and `budget`.
//!
//! A [`Ledger`] has the events of one offer by type, the open reservations, and a [`Meter`] for each limit of a release
//! that is in memory. A meter publishes one number: from which moment on its limit has room. That is what gates read,
//! without a lock, where the [`Board`] says that there is something to read. Events, reservations and lapses change it
//! under the lock of the ledger, and [`Ledger::take`] looks again under that lock, so that at each decision
//! confirmed + reserved + asked ≤ limit.
//! Events are kept even without limits. So a new release finds the counts of its periods.

mod board;
mod bucket;
mod ledger;
mod meter;
mod reservations;
mod series;

pub(crate) use board::Board;
pub(crate) use bucket::Bucket;
pub use ledger::Overshoot;
pub(crate) use ledger::{Charge, Ledger, Refusal, Saved, Taken};
pub(crate) use meter::{Meter, MeterUse, Rule};
pub(crate) use reservations::Hold;
pub(crate) use series::{Point, Series};

#[cfg(test)]
mod tests;

use offer::Offer;

/// Which limit of an offer over all customers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TotalLimit {
    /// `cap_total`.
    Cap,
    /// `budget`.
    Budget,
}

impl TotalLimit {
    /// Both.
    pub(crate) const ALL: [Self; 2] = [Self::Cap, Self::Budget];

    /// The key in `offers.toml`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cap => "cap_total",
            Self::Budget => "budget",
        }
    }
}

/// What an offer spends each time it is counted, in millionths of money. A record keeps it, since another release may
/// have other terms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spend {
    /// The offer's `cost`.
    pub cost_micros: i64,
    /// The offer's `value`.
    pub value_micros: i64,
}

impl Spend {
    /// As the terms of an offer say.
    #[must_use]
    pub fn of(offer: &Offer) -> Self {
        Self { cost_micros: micros(offer.cost), value_micros: micros(offer.value) }
    }
}

/// Money in millionths, rounded; what does not fit is the greatest number.
pub(crate) fn micros(money: f64) -> i64 {
    (money * 1e6).round() as i64
}

/// What a limit adds up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    Count,
    Cost,
    Value,
}

/// A number of events and what they spend.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub count: i64,
    pub spend: Spend,
}

impl Sum {
    /// One event.
    pub(crate) fn one(spend: Spend) -> Self {
        Self { count: 1, spend }
    }

    pub(crate) fn of(self, measure: Measure) -> i64 {
        match measure {
            Measure::Count => self.count,
            Measure::Cost => self.spend.cost_micros,
            Measure::Value => self.spend.value_micros,
        }
    }

    /// Sums stop at the greatest number, which is above every limit.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            count: self.count.saturating_add(other.count),
            spend: Spend {
                cost_micros: self.spend.cost_micros.saturating_add(other.spend.cost_micros),
                value_micros: self.spend.value_micros.saturating_add(other.spend.value_micros),
            },
        }
    }

    /// Never below 0.
    pub(crate) fn minus(self, other: Self) -> Self {
        let less = |whole: i64, part: i64| whole.saturating_sub(part).max(0);
        Self {
            count: less(self.count, other.count),
            spend: Spend {
                cost_micros: less(self.spend.cost_micros, other.spend.cost_micros),
                value_micros: less(self.spend.value_micros, other.spend.value_micros),
            },
        }
    }
}
