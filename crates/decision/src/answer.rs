//! The answers of decisions.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

use super::RowProblem;
use experiment::Assignment;
use offer::OfferIndex;
use release::{AssignedSegment, ModelIndex};

/// One decision: the offers for one customer, or why it failed.
#[derive(Debug, Clone)]
pub struct RankResult {
    /// The id that the request gave.
    pub customer_id: String,
    /// UUIDv7.
    pub decision_id: Uuid,
    /// Best first.
    pub offers: Vec<RankedOffer>,
    /// `None` where the release has no segmentation.
    pub segment: Option<AssignedSegment>,
    /// The customer's arms, in the order of the experiments.
    pub assignments: Vec<Assignment>,
    /// Whether the customer is in the holdout: nothing but the fallback reaches them.
    pub held_out: bool,
    /// Candidates that were withheld, in the order of their ids; only with [`Explain::All`](super::Explain::All).
    pub withheld: Vec<WithheldOffer>,
    /// What the decision did without, and what of the call it could not use; see `proffer.v1.RankResult`.
    pub degraded: Vec<String>,
    /// Why this customer alone could not be decided.
    pub error: Option<CustomerError>,
}

/// Why one customer of a batch could not be decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CustomerError {
    /// The request does not identify the customer.
    Anonymous,
    /// The data sent for the customer is invalid.
    Invalid(RowProblem),
    /// A fault of the server; the log has the details.
    Internal,
}

impl CustomerError {
    /// What the caller reads.
    #[must_use]
    pub fn message(&self) -> &str {
        match self {
            Self::Anonymous => "neither an id nor features: name the customer or send features",
            Self::Invalid(problem) => &problem.message,
            Self::Internal => "internal error while deciding for this customer",
        }
    }

    /// The wrong field of the request, for the customer at this position; empty for a fault of the server.
    #[must_use]
    pub fn field(&self, index: usize) -> String {
        match self {
            Self::Anonymous => format!("customers[{index}].customer_id"),
            Self::Invalid(problem) => problem.field.clone(),
            Self::Internal => String::new(),
        }
    }
}

/// An offer to show.
#[derive(Debug, Clone)]
pub struct RankedOffer {
    /// The offer's index in the release's library.
    pub offer: OfferIndex,
    /// Its id.
    pub offer_id: Arc<str>,
    /// The number it was ranked by; 0 for a fallback.
    pub priority: f64,
    /// `None` for a fallback, which is not scored.
    pub factors: Option<Factors>,
    /// Shown because no other offer remained.
    pub fallback: bool,
    /// The probability with which it was chosen at its rank, given the ranks before; above 0 and at most 1.
    pub selection_probability: f64,
    /// Whether the probability holds given that an offer that was chosen before could not be shown.
    pub conditional: bool,
    /// Shown before all others, since the offer says so.
    pub mandatory: bool,
}

/// The factors of a priority (units as in `proffer.v1.Factors`).
#[derive(Debug, Clone, PartialEq)]
pub struct Factors {
    /// The model's raw output; 0 without a model.
    pub score: f64,
    /// Calibrated, 0..=1. That of a new offer with a prior lies between the prior and the model's.
    pub propensity: f64,
    /// At least 0.
    pub context_weight: f64,
    /// Money.
    pub value: f64,
    /// Above 0.
    pub lever: f64,
    /// Money.
    pub cost: f64,
    /// Money: propensity × value − cost.
    pub margin: f64,
    /// The model of the release that scored the offer; `None` where no model does, and the offer has a prior.
    pub model: Option<ModelIndex>,
}

impl Factors {
    /// P × C × V × L, the arbitration formula that Pega publishes.
    #[must_use]
    pub fn priority(&self) -> f64 {
        self.propensity * self.context_weight * self.value * self.lever
    }
}

/// A candidate that was withheld, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WithheldOffer {
    /// The offer's id.
    pub offer_id: Arc<str>,
    /// The first gate that withheld it.
    pub stage: Stage,
    /// The stable code.
    pub reason: Reason,
    /// The rule's text, where a rule withheld it.
    pub rule: Option<Arc<str>>,
    /// A detail for readers.
    pub detail: String,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// All variants, in order.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The word on the wire.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// Which gate withheld an offer, in the order of the gates but for those that came later, from [`Stage::Limits`] on:
    /// records have the positions.
    Stage {
        /// A consent is missing.
        Consent = "consent",
        /// It is outside its dates.
        Validity = "validity",
        /// It is not shown on the channel.
        Channel = "channel",
        /// Its `exclusion` rule holds.
        Exclusion = "exclusion",
        /// Its `eligibility` rule does not hold.
        Eligibility = "eligibility",
        /// Its `applicability` rule does not hold.
        Applicability = "applicability",
        /// Its `suitability` rule does not hold.
        Suitability = "suitability",
        /// It has no usable score.
        Score = "score",
        /// The constraints between the offers of one slate.
        Slate = "slate",
        /// Better offers filled the slate.
        Arbitration = "arbitration",
        /// A suppression, a contact limit, a cap or a budget has no room: asked after suitability, before scores.
        Limits = "limits",
        /// It was chosen, and by then another decision had taken the last room of a limit.
        Reservation = "reservation",
        /// The customer is in the holdout: before all other gates.
        Holdout = "holdout",
        /// It is new, and enough decisions have it: after limits, before scores.
        Maturity = "maturity",
    }
}

impl Stage {
    /// Whether models are asked before this gate.
    #[must_use]
    pub fn is_after_scores(self) -> bool {
        matches!(self, Self::Score | Self::Slate | Self::Arbitration | Self::Reservation)
    }

    /// Its place in the order of the gates.
    #[must_use]
    pub fn place(self) -> usize {
        // Between suitability and scores are limits and the maturity of new offers.
        match self {
            Self::Holdout => 0,
            Self::Limits => 3 * Self::Suitability as usize + 2,
            Self::Maturity => 3 * Self::Suitability as usize + 3,
            Self::Consent
            | Self::Validity
            | Self::Channel
            | Self::Exclusion
            | Self::Eligibility
            | Self::Applicability
            | Self::Suitability
            | Self::Score
            | Self::Slate
            | Self::Arbitration
            | Self::Reservation => 3 * self as usize + 1,
        }
    }
}

words! {
    /// Why an offer was withheld: stable codes that do not change between releases.
    Reason {
        /// A consent that it needs was not given.
        ConsentMissing = "CONSENT_MISSING",
        /// A consent that it needs was refused.
        OptedOut = "OPTED_OUT",
        /// Before `valid_from`.
        NotYetValid = "NOT_YET_VALID",
        /// At or after `valid_until`.
        Expired = "EXPIRED",
        /// It is not shown on this channel.
        ChannelNotAllowed = "CHANNEL_NOT_ALLOWED",
        /// Its `exclusion` holds.
        Excluded = "EXCLUDED",
        /// Its `eligibility` does not hold.
        Ineligible = "INELIGIBLE",
        /// Its `applicability` does not hold.
        NotApplicable = "NOT_APPLICABLE",
        /// Its `suitability` does not hold.
        Unsuitable = "UNSUITABLE",
        /// A better offer of the slate conflicts with it.
        ConflictsWith = "CONFLICTS_WITH",
        /// The slate has reached the limit of its category.
        CategoryLimit = "CATEGORY_LIMIT",
        /// It has no usable score.
        ModelUnavailable = "MODEL_UNAVAILABLE",
        /// A rule could not be evaluated.
        RuleError = "RULE_ERROR",
        /// The slate was full.
        Outranked = "OUTRANKED",
        /// The customer said no to it too often.
        Suppressed = "SUPPRESSED",
        /// The customer was contacted often enough.
        ContactLimit = "CONTACT_LIMIT",
        /// The customer was shown it often enough.
        CapCustomer = "CAP_CUSTOMER",
        /// All customers together had it often enough.
        CapTotal = "CAP_TOTAL",
        /// Its budget is spent or reserved.
        Budget = "BUDGET",
        /// It has a total limit, which could not be reserved durably.
        HistoryUnavailable = "HISTORY_UNAVAILABLE",
        /// The customer is in the holdout.
        Holdout = "HOLDOUT",
        /// It is new and has had its share.
        Maturity = "MATURITY",
    }
}

/// The answer of `AssignSegments`.
#[derive(Debug, Clone)]
pub struct SegmentAnswer {
    /// The release whose segmentation answered.
    pub release: u64,
    /// One per row; [`AssignedSegment::none`] for one that has an error.
    pub segments: Vec<AssignedSegment>,
    /// Rows that could not be assigned, and why.
    pub errors: Vec<(usize, String)>,
    /// What of the call could not be used.
    pub degraded: Vec<String>,
}

/// The answer of `Score`.
#[derive(Debug, Clone)]
pub struct ScoreAnswer {
    /// The model that scored.
    pub model: String,
    /// Its version.
    pub version: u64,
    /// The release that answered.
    pub release: u64,
    /// The number of rows.
    pub rows: usize,
    /// Offer ids, or outputs.
    pub columns: Vec<String>,
    /// rows × columns, row-major; NaN where there is no score.
    pub values: Vec<f32>,
    /// Whether the values are propensities.
    pub calibrated: bool,
    /// Rows with a NaN, and why. Columns of unknown offers do not count.
    pub errors: Vec<(usize, String)>,
    /// What of the call could not be used.
    pub degraded: Vec<String>,
}
