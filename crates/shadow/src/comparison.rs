//! A decision as the champion made it and as a shadow would have.

/// A decision that was made twice.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// The id of the shadow.
    pub shadow: String,
    /// The id of the placement.
    pub placement: String,
    /// The number of the customer's segment, if there is one.
    pub segment: Option<i64>,
    /// The id of the decision.
    pub decision_id: String,
    /// When it was made, in microseconds since 1970.
    pub decided_at: i64,
    /// The release that decided.
    pub release: u64,
    /// The models that the champion used at the placement.
    pub champion_models: Vec<ModelVersion>,
    /// The models that the shadow used at the placement.
    pub shadow_models: Vec<ModelVersion>,
    /// What both decided, or why the shadow did not.
    pub result: Result<Compared, String>,
}

/// What the champion and the shadow decided.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Compared {
    /// The offers that at least one of both ranked or showed.
    pub offers: Vec<ComparedOffer>,
    /// What the champion showed, best first, by position in `offers`.
    pub champion_shown: Vec<u32>,
    /// What the shadow would have shown, best first, by position in `offers`.
    pub shadow_shown: Vec<u32>,
    /// Offers that rules and other gates before scoring withheld from the champion alone.
    pub withheld_by_champion_only: u32,
    /// Offers that they withheld from the shadow alone.
    pub withheld_by_shadow_only: u32,
    /// Microseconds that the champion took.
    pub champion_us: u32,
    /// Microseconds that the shadow took.
    pub shadow_us: u32,
}

/// An offer as both ranked it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ComparedOffer {
    /// The id.
    pub offer_id: String,
    /// What an acceptance is worth, in money. A score times this is the expected value of showing the offer.
    pub value: f64,
    /// `None` if the champion did not rank it.
    pub champion: Option<Ranked>,
    /// `None` if the shadow did not rank it.
    pub shadow: Option<Ranked>,
}

/// The place of an offer in a ranking.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ranked {
    /// From 1 on, in the order of arbitration.
    pub rank: u32,
    /// The propensity, calibrated. One that is not within 0..=1 is in no statistic of scores.
    pub score: f64,
    /// What the order is by. NaN is in no statistic.
    pub priority: f64,
}

impl Ranked {
    /// The score, unless it cannot be one.
    pub(crate) fn known_score(&self) -> Option<f64> {
        (0.0..=1.0).contains(&self.score).then_some(self.score)
    }
}

/// A version of a model.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ModelVersion {
    /// The name.
    pub name: String,
    /// The version.
    pub version: u64,
}
