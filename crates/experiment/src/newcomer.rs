//! New offers: a propensity to start from, and a limit until enough is known.

#[cfg(test)]
mod tests;

use crate::hash::{mix, wide};
use crate::{OfferKey, Seed};

/// What the throttle hashes with, so that it does not depend on the noise of exploration.
const SALT: u64 = 0x6d61_7475_7269_7479;

/// A starting propensity and what it is worth (`[offer.prior]`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prior {
    /// The propensity before the first impression, 0..=1.
    pub propensity: f64,
    /// How many impressions it is worth, at least 1.
    pub evidence: f64,
}

impl Prior {
    /// The propensity of an offer with this many `impressions` in all, given that of its `model`; the prior alone if
    /// there is none.
    ///
    /// It is the mean of both, weighted by evidence and impressions: the prior at first, halfway once the impressions
    /// equal the evidence, the model's in the long run.
    #[must_use]
    pub fn propensity(&self, model: Option<f64>, impressions: u64) -> f64 {
        let Self { propensity, evidence } = *self;
        let Some(model) = model else { return propensity };
        // As a share, so that the result stays between the two.
        let known = impressions as f64 / (impressions as f64 + evidence);
        propensity + known * (model - propensity)
    }
}

/// The most of an offer that may be shown until it is known (`[offer.maturity]`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Maturity {
    /// The share of decisions in which it is a candidate until then, 0..=1.
    pub max_share: f64,
    /// The impressions after which it is mature.
    pub impressions: u64,
}

impl Maturity {
    /// Whether the offer remains a candidate in the decision with this seed; otherwise the reason is `MATURITY`.
    ///
    /// It is a gate: the probabilities of exploration are those given its verdict.
    #[must_use]
    pub fn admits(&self, seed: Seed, offer: OfferKey, impressions: u64) -> bool {
        impressions >= self.impressions || seed.uniform(mix(SALT ^ offer.0)) < self.max_share
    }
}

impl OfferKey {
    /// The key of the offer called `id`.
    #[must_use]
    pub fn of(id: &str) -> Self {
        Self(wide(id.as_bytes()))
    }
}
