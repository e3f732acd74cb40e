//! Exploration: a slate that is sometimes not the best, with the exact probability of each choice.
//!
//! It chooses slot by slot among the candidates that passed every gate. At each slot only those that still fit count,
//! and the probabilities are renormalised over them. The logged probability of a choice is that at its slot, given the
//! slots before; their product is the probability of the slate. Offers that are mandatory are shown before, by the
//! caller, with probability 1.
//!
//! **Softmax** is the Plackett–Luce model: exp(key / temperature), in the unit of what the placement sorts by. It is
//! drawn by Gumbel top-k, with one noise per offer: the offer with the greatest key / temperature + noise comes first.
//! Seen as a race, each offer arrives after an exponential time. Such times have no memory, so those still running keep
//! their odds, and one that no longer fits may leave the race. That is why candidates may only leave, never return.
//!
//! **Epsilon** shows the best that fits, or, with probability epsilon at each slot, any that fits.
//!
//! The noise is a hash of decision and offer. So it does not depend on the order of the candidates, and a replay of the
//! decision draws the same. Source: Kool, van Hoof, Welling (2019), "Stochastic beams and where to find them".

#[cfg(test)]
mod tests;

use crate::hash::{mix, wide};

/// What exploration hashes decisions with, so that it shares no hash with assignment.
const SALT: u64 = 0x6578_706c_6f72_6174;

/// What the coins of the method epsilon are drawn with.
const COIN: u64 = 0x636f_696e_0000_0000;

/// How a placement explores.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Exploration {
    /// How a slot is filled.
    pub method: Method,
}

/// How a slot is filled.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Method {
    /// By the best.
    #[default]
    Greedy,
    /// By the best, or with a probability by any.
    Epsilon {
        /// The probability, above 0 and at most 1.
        epsilon: f64,
    },
    /// With probabilities that grow with the key.
    Softmax {
        /// By how much keys must differ for odds of e to 1; above 0, in the unit of the keys.
        temperature: f64,
    },
}

/// The source of chance of one decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed(u64);

impl Seed {
    /// The seed of the decision with this id. Ids made one after the other have unrelated seeds.
    #[must_use]
    pub fn of_decision(id: u128) -> Self {
        Self(mix(mix((id >> 64) as u64 ^ SALT) ^ id as u64))
    }

    /// A seed from other bytes, for decisions that have no id, as in a simulation.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(mix(wide(bytes) ^ SALT))
    }

    /// A number above 0 and below 1, another one for each `stream`.
    pub(crate) fn uniform(self, stream: u64) -> f64 {
        let bits = mix(self.0.wrapping_add(mix(stream)));
        // 52 bits: with one more, the greatest plus a half would be rounded to 1.
        ((bits >> 12) as f64 + 0.5) / (1_u64 << 52) as f64
    }

    /// A number above 0, exponentially distributed with mean 1.
    fn exponential(self, stream: u64) -> f64 {
        -self.uniform(stream).ln()
    }
}

/// What the noise of an offer is drawn with: a hash of its id ([`OfferKey::of`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfferKey(pub(crate) u64);

/// An offer that passed every gate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// What the placement sorts by, finite; higher is better.
    pub key: f64,
    /// The offer.
    pub offer: OfferKey,
}

/// An offer that was chosen for a slot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// The position among the candidates.
    pub candidate: usize,
    /// The probability of this choice at this slot, given the slots before; above 0 and at most 1.
    pub probability: f64,
    /// Whether an offer that was chosen could not be shown. Then the probability holds given that, too.
    pub conditional: bool,
}

/// What limits a slate.
pub trait Slate {
    /// Whether a candidate fits beside those that are shown. One that does not is not asked about again: what is shown
    /// later must not make it fit.
    fn fits(&mut self, candidate: usize) -> bool;

    /// Shows a candidate in the next slot. False if that fails after all, as when a total cap has just been used up;
    /// then another one is chosen.
    fn show(&mut self, candidate: usize) -> bool;
}

/// Memory that slates of one thread reuse.
#[derive(Debug, Default)]
pub struct Scratch {
    /// The candidates that may still be shown, best first.
    remaining: Vec<usize>,
    /// The noise of each candidate.
    noise: Vec<f64>,
}

impl Exploration {
    /// Whether anything but the best may be shown.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.method != Method::Greedy
    }

    /// Fills up to `count` slots and writes the choices into `choices`, in the order of the slots.
    ///
    /// `candidates` are sorted, the best first. Cost: count × candidates.
    pub fn slate(
        &self,
        seed: Seed,
        candidates: &[Candidate],
        count: usize,
        slate: &mut impl Slate,
        scratch: &mut Scratch,
        choices: &mut Vec<Choice>,
    ) {
        choices.clear();
        let Scratch { remaining, noise } = scratch;
        remaining.clear();
        remaining.extend(0..candidates.len());
        noise.clear();
        if let Method::Softmax { .. } = self.method {
            noise.extend(candidates.iter().map(|one| -seed.exponential(one.offer.0).ln()));
        }
        let mut conditional = false;
        // Counts the slots and the choices that could not be shown: each has its own chance.
        let mut draw = 0;
        while choices.len() < count {
            remaining.retain(|candidate| slate.fits(*candidate));
            if remaining.is_empty() {
                break;
            }
            let place = self.choose(seed, draw, candidates, remaining, noise);
            let probability = self.probability(candidates, remaining, place);
            let candidate = remaining.remove(place);
            draw += 1;
            if slate.show(candidate) {
                choices.push(Choice { candidate, probability, conditional });
            } else {
                conditional = true;
            }
        }
    }

    /// The place in `remaining` of the candidate for the next slot.
    fn choose(
        &self,
        seed: Seed,
        draw: u64,
        candidates: &[Candidate],
        remaining: &[usize],
        noise: &[f64],
    ) -> usize {
        // The first of equals: the better one.
        let greatest = |of: &dyn Fn(usize) -> f64| {
            let mut best = (0, f64::NEG_INFINITY);
            for (place, candidate) in remaining.iter().enumerate() {
                let value = of(*candidate);
                if value > best.1 {
                    best = (place, value);
                }
            }
            best.0
        };
        match self.method {
            Method::Epsilon { epsilon } if seed.uniform(COIN + draw) < epsilon => {
                greatest(&|candidate| seed.uniform(mix(candidates[candidate].offer.0).wrapping_add(draw)))
            }
            Method::Greedy | Method::Epsilon { .. } => 0,
            Method::Softmax { temperature } => {
                // Relative to the best, as the probability: the noise would be lost beside a great key.
                let best = best_key(candidates, remaining);
                greatest(&|candidate| (candidates[candidate].key - best) / temperature + noise[candidate])
            }
        }
    }

    /// The probability that the one at `place` is chosen among `remaining`.
    pub(crate) fn probability(&self, candidates: &[Candidate], remaining: &[usize], place: usize) -> f64 {
        match self.method {
            Method::Greedy => 1.0,
            Method::Epsilon { epsilon } => {
                let any = epsilon / remaining.len() as f64;
                if place == 0 { 1.0 - epsilon + any } else { any }
            }
            Method::Softmax { temperature } => {
                // No exponent is above 0.
                let best = best_key(candidates, remaining);
                let odds = |candidate: &usize| ((candidates[*candidate].key - best) / temperature).exp();
                remaining.get(place).map_or(0.0, odds) / remaining.iter().map(odds).sum::<f64>()
            }
        }
    }
}

/// The key of the best that remains, which comes first.
fn best_key(candidates: &[Candidate], remaining: &[usize]) -> f64 {
    remaining.first().map_or(0.0, |candidate| candidates[*candidate].key)
}
