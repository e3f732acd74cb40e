//! Counting what changes, by position. Nothing here allocates per decision.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use offer::OfferLibrary;

use super::positions::{Positions, at};
use super::sum::Sum;
use super::sums::{OfferSums, Sums};
use super::{
    BeforeAfter, Code, Effect, MOVES, Move, NamedOffer, PlacementEffect, ReasonEffect, SegmentEffect,
    WithheldEffect,
};

/// An offer that a decision shows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Shown {
    /// Its position in the tally.
    pub offer: u32,
    pub fallback: bool,
    /// Propensity × value; 0 for a fallback.
    pub expected_value: f64,
    /// Propensity × value − cost; 0 for a fallback.
    pub margin: f64,
}

/// A decision as one of the releases made it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Side {
    /// Best first.
    pub shown: Vec<Shown>,
    /// Offers by their position in the tally.
    pub withheld: Vec<(u32, Code)>,
    /// The position of the segment in the tally, and its number.
    pub segment: Option<(u32, i64)>,
}

/// Counts of decisions before and after. Offers, placements and segments have positions, which [`Tally::offers`] and
/// the like give out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    offers: Positions<Arc<str>>,
    placements: Positions<Arc<str>>,
    segments: Positions<(i64, Arc<str>)>,
    all: Sums,
    by_placement: Vec<Sums>,
    by_segment: Vec<Sums>,
    without_segment: Sums,
    by_offer: Vec<OfferSums>,
    moves: HashMap<(Option<u32>, Option<u32>), u64>,
}

impl Shown {
    /// An offer at a position. `terms` are the expected value and the margin; a fallback has none.
    pub(crate) fn new(offer: u32, fallback: bool, terms: Option<(f64, f64)>) -> Self {
        let (expected_value, margin) = terms.unwrap_or_default();
        Self { offer, fallback, expected_value, margin }
    }
}

impl Side {
    /// Forgets the decision and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.shown.clear();
        self.withheld.clear();
        self.segment = None;
    }

    fn first(&self) -> Option<u32> {
        self.shown.first().map(|shown| shown.offer)
    }
}

impl Tally {
    /// The position of each offer of a library. Of several releases with an offer, the one with the highest `rank`
    /// names it.
    pub(crate) fn offers(&mut self, library: &OfferLibrary, rank: u64) -> Vec<u32> {
        let position = |offer: &offer::Offer| self.offer(&offer.id, &offer.name, rank);
        library.offers().iter().map(position).collect()
    }

    /// The position of an offer.
    pub(crate) fn offer(&mut self, id: &Arc<str>, name: &str, rank: u64) -> u32 {
        let position = self.offers.of(id);
        let sums = at(&mut self.by_offer, position);
        if sums.name.as_ref().is_none_or(|(known, text)| (*known, text.as_str()) < (rank, name)) {
            sums.name = Some((rank, name.to_owned()));
        }
        position
    }

    /// The position of an offer by its id alone.
    pub(crate) fn find_offer(&mut self, id: &str) -> u32 {
        match self.offers.find(id) {
            Some(position) => position,
            None => self.offer(&Arc::from(id), "", 0),
        }
    }

    /// The position of a placement.
    pub(crate) fn placement(&mut self, id: &str) -> u32 {
        self.placements.find(id).unwrap_or_else(|| self.placements.of(&Arc::from(id)))
    }

    /// The position of a segment.
    pub(crate) fn segment(&mut self, id: i64, name: &Arc<str>) -> u32 {
        self.segments.of(&(id, Arc::clone(name)))
    }

    /// Counts a decision at a placement. Returns whether its first offer and its slate change.
    pub(crate) fn add(&mut self, placement: u32, before: &Side, after: &Side) -> (bool, bool) {
        let (from, to) = (before.first(), after.first());
        let same_slate = before.shown.len() == after.shown.len()
            && before.shown.iter().zip(&after.shown).all(|(one, other)| one.offer == other.offer);
        let numbers = (before.segment.map(|(_, id)| id), after.segment.map(|(_, id)| id));
        let mut sums = Sums {
            decisions: 1,
            first_changes: u64::from(from != to),
            slate_changes: u64::from(!same_slate),
            segment_changes: u64::from(numbers.0 != numbers.1),
            ..Sums::default()
        };
        self.add_side(before, &mut sums, |pair| &mut pair.before, |pair| &mut pair.before);
        self.add_side(after, &mut sums, |pair| &mut pair.after, |pair| &mut pair.after);
        self.all.add(&sums);
        at(&mut self.by_placement, placement).add(&sums);
        match before.segment.or(after.segment) {
            Some((segment, _)) => at(&mut self.by_segment, segment).add(&sums),
            None => self.without_segment.add(&sums),
        }
        if from != to {
            *self.moves.entry((from, to)).or_default() += 1;
        }
        (from != to, !same_slate)
    }

    fn add_side(
        &mut self,
        side: &Side,
        sums: &mut Sums,
        count: impl Fn(&mut BeforeAfter<u64>) -> &mut u64,
        money: impl Fn(&mut BeforeAfter<Sum>) -> &mut Sum,
    ) {
        *count(&mut sums.fallbacks) += u64::from(side.shown.iter().any(|shown| shown.fallback));
        *count(&mut sums.empty) += u64::from(side.shown.is_empty());
        *count(&mut sums.offers) += side.shown.len() as u64;
        for (place, shown) in side.shown.iter().enumerate() {
            let (value, margin) = (Sum::of(shown.expected_value), Sum::of(shown.margin));
            money(&mut sums.expected_value).add(value);
            money(&mut sums.margin).add(margin);
            let offer = at(&mut self.by_offer, shown.offer);
            *count(&mut offer.shown) += 1;
            *count(&mut offer.first) += u64::from(place == 0);
            money(&mut offer.expected_value).add(value);
            money(&mut offer.margin).add(margin);
        }
        for (offer, code) in &side.withheld {
            *count(at(&mut self.by_offer, *offer).withheld(*code)) += 1;
        }
    }

    /// Adds the counts of other decisions.
    pub(crate) fn merge(&mut self, other: Self) {
        self.all.add(&other.all);
        self.without_segment.add(&other.without_segment);
        for (placement, sums) in other.placements.keys.iter().zip(other.by_placement.iter()) {
            at(&mut self.by_placement, self.placements.of(placement)).add(sums);
        }
        for (segment, sums) in other.segments.keys.iter().zip(other.by_segment.iter()) {
            at(&mut self.by_segment, self.segments.of(segment)).add(sums);
        }
        let mut ours = Vec::with_capacity(other.by_offer.len());
        for (id, sums) in other.offers.keys.iter().zip(other.by_offer) {
            let (rank, name) = sums.name.as_ref().map_or((0, ""), |(rank, name)| (*rank, name.as_str()));
            let position = self.offer(id, name, rank);
            at(&mut self.by_offer, position).add(&sums);
            ours.push(position);
        }
        let mapped = |offer: Option<u32>| offer.and_then(|offer| ours.get(offer as usize).copied());
        for ((from, to), decisions) in other.moves {
            *self.moves.entry((mapped(from), mapped(to))).or_default() += decisions;
        }
    }

    /// The result, with names.
    pub(crate) fn finish(self) -> Effect {
        let (moves, other_moves) = self.moves();
        let offers = self.sorted_offers();
        let mut by_reason: BTreeMap<Code, BeforeAfter<u64>> = BTreeMap::new();
        let mut withheld = Vec::new();
        for (id, sums) in &offers {
            let mut codes = sums.withheld.clone();
            codes.sort_unstable_by_key(|(code, _)| *code);
            for (code, decisions) in codes {
                let all = by_reason.entry(code).or_default();
                all.before += decisions.before;
                all.after += decisions.after;
                let (stage, reason) = (code.stage(), code.reason());
                withheld.push(WithheldEffect {
                    offer: id.to_string(),
                    name: sums.name(),
                    stage,
                    reason,
                    decisions,
                });
            }
        }
        let reason =
            |(code, offers): (Code, _)| ReasonEffect { stage: code.stage(), reason: code.reason(), offers };
        Effect {
            all: self.all.totals(),
            placements: self.sorted_placements(),
            segments: self.sorted_segments(),
            offers: offers.iter().map(|(id, sums)| sums.effect(id)).collect(),
            withheld,
            reasons: by_reason.into_iter().map(reason).collect(),
            moves,
            other_moves,
        }
    }

    /// Only what was counted: other threads may have asked for other positions.
    fn sorted_placements(&self) -> Vec<PlacementEffect> {
        let counted =
            self.placements.keys.iter().zip(&self.by_placement).filter(|(_, sums)| sums.decisions > 0);
        let effect = |(id, sums): (&Arc<str>, &Sums)| PlacementEffect {
            placement: id.to_string(),
            totals: sums.totals(),
        };
        let mut placements: Vec<PlacementEffect> = counted.map(effect).collect();
        placements.sort_by(|one, other| one.placement.cmp(&other.placement));
        placements
    }

    fn sorted_segments(&self) -> Vec<SegmentEffect> {
        let effect = |segment, name: &str, sums: &Sums| SegmentEffect {
            segment,
            name: name.to_owned(),
            totals: sums.totals(),
        };
        let counted = self.segments.keys.iter().zip(&self.by_segment).filter(|(_, sums)| sums.decisions > 0);
        let mut segments: Vec<SegmentEffect> =
            counted.map(|((id, name), sums)| effect(Some(*id), name, sums)).collect();
        if self.without_segment.decisions > 0 {
            segments.push(effect(None, "", &self.without_segment));
        }
        segments.sort_by(|one, other| (one.segment, &one.name).cmp(&(other.segment, &other.name)));
        segments
    }

    fn sorted_offers(&self) -> Vec<(&str, &OfferSums)> {
        let mut offers: Vec<(&str, &OfferSums)> =
            self.offers.keys.iter().map(|id| &**id).zip(&self.by_offer).collect();
        offers.sort_by_key(|(id, _)| *id);
        offers
    }

    /// The most frequent moves, and how many decisions are in none of them.
    fn moves(&self) -> (Vec<Move>, u64) {
        let id = |offer: &Option<u32>| offer.and_then(|offer| self.offers.keys.get(offer as usize));
        let mut pairs: Vec<_> =
            self.moves.iter().map(|((from, to), count)| (*count, id(from), id(to), (*from, *to))).collect();
        pairs.sort_by(|one, other| other.0.cmp(&one.0).then_with(|| (one.1, one.2).cmp(&(other.1, other.2))));
        let named = |offer: Option<u32>| {
            let offer = offer? as usize;
            let name = self.by_offer.get(offer).map(OfferSums::name).unwrap_or_default();
            Some(NamedOffer { offer: self.offers.keys.get(offer)?.to_string(), name })
        };
        let shown = pairs.iter().take(MOVES);
        let moves = shown.map(|(decisions, _, _, (from, to))| Move {
            from: named(*from),
            to: named(*to),
            decisions: *decisions,
        });
        let others = pairs.iter().skip(MOVES).map(|(decisions, ..)| decisions).sum();
        (moves.collect(), others)
    }
}

#[cfg(test)]
mod tests;
