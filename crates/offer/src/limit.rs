//! Limits: how often a customer may be contacted, how often an offer may be shown, and what it may cost.
//!
//! Owns the types of `[[contact_limit]]`, `[[suppression]]`, `cap_customer`, `cap_total` and `budget`. They say what
//! is limited and never what has happened: they hold no counts and no clock. Start reading at [`ContactLimit`] and
//! [`Period`].

mod findings;
mod period;
mod read;

pub use findings::{LimitFinding, LimitPlace};
pub use period::Period;
pub(super) use read::{budget, contact_limits, customer_cap, suppressions, total_cap};

use chrono::TimeDelta;

use super::{OfferIndex, PlacementIndex};

/// What a limit counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Counted {
    /// Decisions that show an offer.
    Decision,
    /// Outcomes of this type, one of [`Policy::outcomes`](super::Policy::outcomes).
    Outcome(String),
}

/// At most so many contacts of a customer in a period (`[[contact_limit]]`).
///
/// It holds where channel, placement and offer are all in its scope. Offers outside the scope are neither withheld
/// nor counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContactLimit {
    /// Unique among the contact limits.
    pub id: String,
    /// The channels that it holds in, without duplicates; empty means every channel.
    pub channels: Vec<String>,
    /// The placements that it holds in, sorted; empty means every placement.
    pub placements: Vec<PlacementIndex>,
    /// The offers that it withholds and counts, sorted, without exempt ones; `None` means every offer.
    pub offers: Option<Vec<OfferIndex>>,
    /// The most contacts in the period; 0 withholds its offers from everyone.
    pub limit: u32,
    /// Never [`Period::All`].
    pub per: Period,
    /// A decision counts 1 if it shows at least one offer of the scope; each outcome of such an offer counts 1.
    pub count: Counted,
}

/// What a suppression withholds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SuppressionScope {
    /// The offer that the outcomes were about.
    Offer,
    /// Every offer of the category that the outcomes were about.
    Category,
    /// Every offer.
    All,
}

/// Withholds offers after repeated outcomes (`[[suppression]]`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression {
    /// Unique among the suppressions.
    pub id: String,
    /// The outcome type that is counted.
    pub outcome: String,
    /// How many outcomes begin a pause; at least 1. They are counted apart for each offer or category, or together,
    /// as `scope` says.
    pub times: u32,
    /// The outcomes count together if less than this lies between the first and the last.
    pub within: TimeDelta,
    /// How long offers are withheld after the last of the outcomes.
    pub pause: TimeDelta,
    /// What is withheld.
    pub scope: SuppressionScope,
}

impl Suppression {
    /// The age at which an outcome no longer matters.
    #[must_use]
    pub fn longest(&self) -> TimeDelta {
        self.within + self.pause
    }
}

/// At most so many decisions or outcomes of one offer and one customer in a period (`cap_customer`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomerCap {
    /// The most in the period; 0 withholds the offer from everyone.
    pub limit: u32,
    /// Never [`Period::All`].
    pub per: Period,
    /// What is counted, each by 1.
    pub count: Counted,
}

/// At most so many decisions or outcomes of one offer and all customers together in a period (`cap_total`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TotalCap {
    /// The most in the period; 0 withholds the offer from everyone.
    pub limit: u64,
    /// The period.
    pub per: Period,
    /// What is counted, each by 1.
    pub count: Counted,
    /// How long a decision reserves 1 for the outcome; zero with [`Counted::Decision`], which waits for none.
    pub reserve: TimeDelta,
}

/// How a budget is spent over its period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pacing {
    /// What is left is spread over the time that is left. The period has an end: it is a calendar period, or all time
    /// until the offer's `valid_until`.
    Even,
    /// As fast as it is asked for.
    Fast,
}

/// What is spent each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spending {
    /// The offer's `cost`.
    Cost,
    /// The offer's `value`.
    Value,
}

/// At most so much money for one offer in a period (`budget`).
#[derive(Debug, Clone, PartialEq)]
pub struct Budget {
    /// The most in the period, in money: 0..=[`Budget::MOST`].
    pub amount: f64,
    /// The period.
    pub per: Period,
    /// What spends.
    pub count: Counted,
    /// How much each time.
    pub spends: Spending,
    /// How it is spread over the period.
    pub pacing: Pacing,
    /// How long a decision reserves money for the outcome; zero with [`Counted::Decision`], which waits for none.
    pub reserve: TimeDelta,
}

impl Budget {
    /// The greatest amount. Its millionths fit in 63 bits, with room for a sum of several.
    pub const MOST: f64 = 1e12;
}
