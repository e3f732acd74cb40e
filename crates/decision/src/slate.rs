//! The slate of one customer: mandatory offers, then the best, or a draw among those that fit.

#[cfg(test)]
pub(super) mod samples;
#[cfg(test)]
mod tests;

use experiment::{Candidate, Choice, Exploration, OfferKey, Seed, Slate};
use smallvec::SmallVec;

use super::arbitration::{Constraints, Misfit, Scored, Standing, key, ranked};
use super::limits::Shown;
use super::withheld::Withheld;
use super::{RankedOffer, Stage};
use offer::OfferIndex;

/// Memory that slates of one thread reuse.
#[derive(Debug, Default)]
pub(super) struct SlateScratch {
    exploration: experiment::Scratch,
    candidates: Vec<Candidate>,
    choices: Vec<Choice>,
}

/// What a slate is chosen from.
pub(super) struct Choosing<'a, 's> {
    pub constraints: Constraints<'a>,
    pub scored: &'s [Scored],
    /// Best first, but for mandatory offers, which come before all others.
    pub order: &'s [Standing],
    /// How many of them are mandatory.
    pub mandatory: usize,
    pub exploration: Exploration,
    /// The key of each offer of the library.
    pub keys: &'a [OfferKey],
    pub seed: Seed,
}

/// A slate before it is reserved, and what it left out.
pub(super) struct Chosen<'a> {
    pub shown: Vec<RankedOffer>,
    pub not_shown: Vec<Withheld<'a>>,
}

impl<'a> Choosing<'a, '_> {
    /// Fills the slate and has it shown by `show`, which reserves it where there are limits. Offers that are refused leave
    /// their places to others, and the same chance chooses anew: what stands before the first of them stays.
    pub(super) fn fill(
        &self,
        scratch: &mut SlateScratch,
        mut show: impl FnMut(&[OfferIndex]) -> Shown<'a>,
    ) -> Chosen<'a> {
        let mut refused: Vec<Withheld<'a>> = Vec::new();
        let mut offers: SmallVec<[OfferIndex; 4]> = SmallVec::new();
        loop {
            let mut chosen = self.slate(&offers, scratch);
            if chosen.shown.is_empty() {
                chosen.not_shown.extend(refused);
                return chosen;
            }
            let wanted: SmallVec<[OfferIndex; 16]> = chosen.shown.iter().map(|one| one.offer).collect();
            let Shown { refused: now_refused, is_final } = show(&wanted);
            if is_final {
                drop_refused(&mut chosen.shown, &now_refused);
                chosen.not_shown.extend(refused);
                chosen.not_shown.extend(now_refused);
                return chosen;
            }
            offers.extend(now_refused.iter().map(|one| one.offer));
            refused.extend(now_refused);
        }
    }

    /// Chooses the slate. Offers that are `refused` cannot be shown: they leave their places to others.
    fn slate(&self, refused: &[OfferIndex], scratch: &mut SlateScratch) -> Chosen<'a> {
        let most = self.constraints.count.min(self.order.len());
        let mut chosen =
            Chosen { shown: Vec::with_capacity(most), not_shown: Vec::with_capacity(self.order.len()) };
        let explored = if self.exploration.is_on() { self.mandatory } else { self.order.len() };
        let (sorted, rest) = self.order.split_at(explored);
        let mut conditional = false;
        for (place, standing) in sorted.iter().enumerate() {
            let candidate = &self.scored[standing.position];
            if refused.contains(&candidate.offer) {
                conditional = true;
                continue;
            }
            match self.constraints.misfit(candidate, &chosen.shown) {
                Some(misfit) => chosen.not_shown.push(self.constraints.withheld(candidate, misfit)),
                None => {
                    let mandatory = place < self.mandatory;
                    let shown = ranked(&self.constraints, candidate, 1.0);
                    chosen.shown.push(RankedOffer { conditional, mandatory, ..shown });
                }
            }
        }
        if !rest.is_empty() {
            self.explore(rest, refused, conditional, scratch, &mut chosen);
        }
        chosen
    }

    /// Draws the rest of the slate.
    fn explore(
        &self,
        rest: &[Standing],
        refused: &[OfferIndex],
        conditional: bool,
        scratch: &mut SlateScratch,
        chosen: &mut Chosen<'a>,
    ) {
        let SlateScratch { exploration, candidates, choices } = scratch;
        let strategy = self.constraints.strategy;
        candidates.clear();
        candidates.extend(rest.iter().map(|standing| {
            let candidate = &self.scored[standing.position];
            Candidate { key: finite(key(candidate, strategy)), offer: self.keys[candidate.offer.get()] }
        }));
        let slots = self.constraints.count.saturating_sub(chosen.shown.len());
        let Chosen { shown, not_shown } = chosen;
        let mut drawn = Drawn { choosing: self, rest, refused, shown, left: SmallVec::new() };
        self.exploration.slate(self.seed, candidates, slots, &mut drawn, exploration, choices);
        let left = drawn.left;
        // Choices are in the order of the offers that were shown.
        let first = shown.len() - choices.len();
        for (offer, choice) in shown[first..].iter_mut().zip(choices.iter()) {
            offer.selection_probability = choice.probability;
            offer.conditional = conditional || choice.conditional;
        }
        for (place, standing) in rest.iter().enumerate() {
            let candidate = &self.scored[standing.position];
            let is_shown = choices.iter().any(|choice| choice.candidate == place);
            if is_shown || refused.contains(&candidate.offer) {
                continue;
            }
            let misfit = left.iter().find(|(of, _)| *of == place).map(|(_, misfit)| *misfit);
            not_shown.push(self.constraints.withheld(candidate, misfit.unwrap_or(Misfit::Full)));
        }
    }
}

/// A slate while it is drawn.
struct Drawn<'a, 'c, 's> {
    choosing: &'c Choosing<'a, 's>,
    rest: &'c [Standing],
    refused: &'c [OfferIndex],
    shown: &'c mut Vec<RankedOffer>,
    /// Candidates that fit no more, and why.
    left: SmallVec<[(usize, Misfit); 8]>,
}

impl Slate for Drawn<'_, '_, '_> {
    fn fits(&mut self, candidate: usize) -> bool {
        let scored = &self.choosing.scored[self.rest[candidate].position];
        let misfit = self.choosing.constraints.conflict(scored, self.shown);
        self.left.extend(misfit.map(|misfit| (candidate, misfit)));
        misfit.is_none()
    }

    fn show(&mut self, candidate: usize) -> bool {
        let scored = &self.choosing.scored[self.rest[candidate].position];
        let shows = !self.refused.contains(&scored.offer);
        if shows {
            self.shown.push(ranked(&self.choosing.constraints, scored, 1.0));
        }
        shows
    }
}

/// The most that exploration is given as a key, so that the difference of two is a number.
const MOST_KEY: f64 = 1e300;

/// A key for exploration, in the order of the others. A product of great values and weights may not fit into a float.
fn finite(key: f64) -> f64 {
    if key.is_nan() { MOST_KEY.copysign(key) } else { key.clamp(-MOST_KEY, MOST_KEY) }
}

/// Drops what was refused at last of a slate that is not filled anew. What comes behind holds given that.
fn drop_refused(shown: &mut Vec<RankedOffer>, refused: &[Withheld<'_>]) {
    let mut conditional = false;
    shown.retain_mut(|offer| {
        let is_refused = refused.iter().any(|refused| refused.offer == offer.offer);
        conditional |= is_refused;
        offer.conditional |= conditional;
        !is_refused
    });
}

/// Whether a limit took an offer away that was to be shown.
pub(super) fn has_refusal(not_shown: &[Withheld<'_>]) -> bool {
    not_shown.iter().any(|one| one.stage == Stage::Reservation)
}
