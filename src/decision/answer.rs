//! What a decision answers.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

use super::RowProblem;

/// One decision: the offers for one customer, or why there are none.
#[derive(Debug, Clone)]
pub struct RankResult {
    /// Of the request.
    pub customer_id: String,
    /// UUIDv7.
    pub decision_id: Uuid,
    /// Best first.
    pub offers: Vec<RankedOffer>,
    /// Where the release has a segmentation.
    pub segment: Option<Segment>,
    /// Candidates that were withheld, in the order of their ids; only with [`Explain::All`](super::Explain::All).
    pub rejected: Vec<RejectedOffer>,
    /// What the decision had to do without, and what of the call it could not use; as `proffer.v1.RankResult` has it.
    pub degraded: Vec<String>,
    /// Why this customer alone could not be decided.
    pub error: Option<CustomerError>,
}

/// Why one customer of a batch could not be decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CustomerError {
    /// The request does not say who it is.
    Anonymous,
    /// What the request says of them cannot be.
    Invalid(RowProblem),
    /// Our fault; the log has the details.
    Internal,
}

/// An offer to show.
#[derive(Debug, Clone)]
pub struct RankedOffer {
    /// The offer's position in the release's library.
    pub offer: usize,
    /// Its id.
    pub offer_id: Arc<str>,
    /// What it was ranked by; 0 for a fallback.
    pub priority: f64,
    /// `None` for a fallback, which is not scored.
    pub factors: Option<Factors>,
    /// Shown because nothing else remained.
    pub fallback: bool,
}

/// What a priority is made of (units as in `proffer.v1.Factors`).
#[derive(Debug, Clone, PartialEq)]
pub struct Factors {
    /// The model's raw output.
    pub score: f64,
    /// Calibrated, 0..=1.
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
    /// The model that scored: its position in the release.
    pub model: usize,
}

impl Factors {
    /// P × C × V × L, the arbitration formula that Pega publishes.
    #[must_use]
    pub fn priority(&self) -> f64 {
        self.propensity * self.context_weight * self.value * self.lever
    }
}

/// A candidate that was withheld.
#[derive(Debug, Clone)]
pub struct RejectedOffer {
    /// The offer's id.
    pub offer_id: Arc<str>,
    /// Why.
    pub rejection: Rejection,
}

/// Why an offer is withheld from a customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Where it fell.
    pub stage: Stage,
    /// The stable code.
    pub reason: Reason,
    /// The text of the rule, where one withheld it.
    pub rule: Option<Arc<str>>,
    /// For people.
    pub detail: String,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// Every one, in order.
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
    /// Where an offer fell, in the order of the gates.
    Stage {
        /// It needs a consent.
        Consent = "consent",
        /// Its dates.
        Validity = "validity",
        /// Its channels.
        Channel = "channel",
        /// Its `exclusion` rule.
        Exclusion = "exclusion",
        /// Its `eligibility` rule.
        Eligibility = "eligibility",
        /// Its `applicability` rule.
        Applicability = "applicability",
        /// Its `suitability` rule.
        Suitability = "suitability",
        /// Its model.
        Score = "score",
        /// The constraints between the offers of one slate.
        Slate = "slate",
        /// Others were better.
        Arbitration = "arbitration",
    }
}

words! {
    /// Why an offer was withheld: stable strings that outlive releases.
    Reason {
        /// A consent that it needs was not given.
        ConsentMissing = "CONSENT_MISSING",
        /// A consent that it needs was refused.
        OptedOut = "OPTED_OUT",
        /// Before `valid_from`.
        NotYetValid = "NOT_YET_VALID",
        /// At or after `valid_until`.
        Expired = "EXPIRED",
        /// Not shown over this channel.
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
        /// The slate has enough of its category.
        CategoryLimit = "CATEGORY_LIMIT",
        /// No usable score.
        ModelUnavailable = "MODEL_UNAVAILABLE",
        /// A rule could not be evaluated.
        RuleError = "RULE_ERROR",
        /// The slate was full.
        Outranked = "OUTRANKED",
    }
}

/// A customer's segment.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    /// Its number.
    pub id: i64,
    /// Its name.
    pub name: Arc<str>,
    /// To its centroid.
    pub distance: f64,
    /// 0..=1; 0 is a tie.
    pub margin: f64,
}

impl Segment {
    /// What stands in the place of a row that could not be assigned.
    #[must_use]
    pub fn none() -> Self {
        Self { id: -1, name: "".into(), distance: f64::NAN, margin: f64::NAN }
    }
}

/// What `AssignSegments` answers.
#[derive(Debug, Clone)]
pub struct SegmentAnswer {
    /// The release whose segmentation answered.
    pub release: u64,
    /// One per row; [`Segment::none`] for one that has an error.
    pub segments: Vec<Segment>,
    /// Rows that could not be assigned, and why.
    pub errors: Vec<(usize, String)>,
}

/// What `Score` answers.
#[derive(Debug, Clone)]
pub struct ScoreAnswer {
    /// The model that scored.
    pub model: String,
    /// Its version.
    pub version: u64,
    /// Its release.
    pub release: u64,
    /// The number of rows.
    pub rows: usize,
    /// Offer ids, or outputs.
    pub columns: Vec<String>,
    /// rows × columns, row-major; NaN where there is no score.
    pub values: Vec<f32>,
    /// Whether the values are propensities.
    pub calibrated: bool,
    /// Rows with a NaN, and why.
    pub errors: Vec<(usize, String)>,
}
