//! What the comparisons of one placement and segment add up to.

use statistics::{Histogram, Moments, RatioMoments, Sketch, kendall_tau_b, rank_biased_overlap};

use crate::{Compared, ComparedOffer, Ranked};

/// How much a place weighs against the one before it in rank-biased overlap: the first ten have 86 % of the weight.
pub(crate) const RBO_P: f64 = 0.9;

/// A larger expected value is none: its square would be in the way of all others.
const MOST_VALUE: f64 = 1e15;

/// Counts over the comparisons with a shadow at a placement, for a segment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cell {
    pub compared: u64,
    pub failed: u64,
    /// Decisions that neither side shows an offer in. They have no first offer and no slate to agree on.
    pub empty: u64,
    pub first_agrees: u64,
    /// Of the offers shown, the share that both show: |both| ÷ the longer slate.
    pub overlap: Moments,
    pub tau_b: Moments,
    pub rbo: Moments,
    /// Score of the shadow − score of the champion, over offers that both ranked.
    pub change: Moments,
    /// The same, with the decision as the unit.
    pub change_by_decision: RatioMoments,
    pub changes: Sketch,
    pub champion_scores: Histogram,
    pub shadow_scores: Histogram,
    pub value_by_champion: ValueMoments,
    pub value_by_shadow: ValueMoments,
    /// Decisions that show an offer that one side has no score for.
    pub unvalued: u64,
    pub withheld_differs: u64,
    pub champion_us: Sketch,
    pub shadow_us: Sketch,
}

/// The expected value of what is shown in a decision, by the scores of one side.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ValueMoments {
    pub champion: Moments,
    pub shadow: Moments,
    /// Shadow − champion, of the same decision.
    pub change: Moments,
}

/// Memory that comparisons have in common.
#[derive(Debug, Clone, Default)]
pub(super) struct Scratch {
    priorities: Vec<[f64; 2]>,
    sorting: Vec<[f64; 2]>,
    places: Vec<[u32; 2]>,
    depths: Vec<u32>,
}

/// How far both rankings of a decision agree; `None` where there is nothing to agree on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Agreement {
    pub rbo: Option<f64>,
    pub tau_b: Option<f64>,
}

impl Cell {
    /// Counts a decision that the shadow failed in.
    pub(super) fn fail(&mut self) {
        self.failed += 1;
    }

    /// Counts a comparison.
    pub(super) fn add(&mut self, compared: &Compared, scratch: &mut Scratch) -> Agreement {
        self.compared += 1;
        self.add_slates(compared);
        self.add_values(compared);
        let differs = compared.withheld_by_champion_only + compared.withheld_by_shadow_only > 0;
        self.withheld_differs += u64::from(differs);
        self.champion_us.add(f64::from(compared.champion_us));
        self.shadow_us.add(f64::from(compared.shadow_us));
        self.add_scores(&compared.offers, scratch);
        let Scratch { priorities, sorting, places, depths } = scratch;
        let rbo = rank_biased_overlap(places, RBO_P, depths);
        let tau_b = kendall_tau_b(priorities, sorting);
        for (moments, found) in [(&mut self.rbo, rbo), (&mut self.tau_b, tau_b)] {
            if let Some(found) = found {
                moments.add(found);
            }
        }
        Agreement { rbo, tau_b }
    }

    /// Leaves places and priorities in `scratch`.
    fn add_scores(&mut self, offers: &[ComparedOffer], scratch: &mut Scratch) {
        scratch.places.clear();
        scratch.priorities.clear();
        let (mut sum, mut pairs) = (0.0, 0_u32);
        for ComparedOffer { champion, shadow, .. } in offers {
            let place = |ranked: &Option<Ranked>| ranked.map_or(0, |ranked| ranked.rank);
            if champion.is_some() || shadow.is_some() {
                scratch.places.push([place(champion), place(shadow)]);
            }
            let scores = [champion, shadow].map(|ranked| ranked.and_then(|ranked| ranked.known_score()));
            for (histogram, score) in
                [&mut self.champion_scores, &mut self.shadow_scores].into_iter().zip(scores)
            {
                if let Some(score) = score {
                    histogram.add(score);
                }
            }
            if let [Some(before), Some(after)] = scores {
                let change = after - before;
                self.change.add(change);
                self.changes.add(change);
                sum += change;
                pairs += 1;
            }
            let (Some(champion), Some(shadow)) = (champion, shadow) else { continue };
            if !champion.priority.is_nan() && !shadow.priority.is_nan() {
                scratch.priorities.push([champion.priority, shadow.priority]);
            }
        }
        if pairs > 0 {
            self.change_by_decision.add(sum, f64::from(pairs));
        }
    }

    fn add_slates(&mut self, compared: &Compared) {
        let Compared { champion_shown, shadow_shown, .. } = compared;
        let longest = champion_shown.len().max(shadow_shown.len());
        if longest == 0 {
            self.empty += 1;
            return;
        }
        self.first_agrees += u64::from(champion_shown.first() == shadow_shown.first());
        let both = champion_shown.iter().filter(|offer| shadow_shown.contains(offer)).count();
        self.overlap.add(both as f64 / longest as f64);
    }

    fn add_values(&mut self, compared: &Compared) {
        let Compared { offers, champion_shown, shadow_shown, .. } = compared;
        let sides: [fn(&ComparedOffer) -> Option<Ranked>; 2] = [|offer| offer.champion, |offer| offer.shadow];
        let mut is_valued = true;
        for (moments, side) in [&mut self.value_by_champion, &mut self.value_by_shadow].into_iter().zip(sides)
        {
            let [champion, shadow] = [champion_shown, shadow_shown].map(|shown| {
                let values = shown.iter().map(|at| expected_value(offers.get(*at as usize)?, side));
                // A fallback has no score, and brings nothing that is known.
                values
                    .map(|value| {
                        value.unwrap_or_else(|| {
                            is_valued = false;
                            0.0
                        })
                    })
                    .sum::<f64>()
            });
            moments.champion.add(champion);
            moments.shadow.add(shadow);
            moments.change.add(shadow - champion);
        }
        self.unvalued += u64::from(!is_valued);
    }

    /// Adds the comparisons of another.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.compared += other.compared;
        self.failed += other.failed;
        self.empty += other.empty;
        self.first_agrees += other.first_agrees;
        self.overlap.merge(&other.overlap);
        self.tau_b.merge(&other.tau_b);
        self.rbo.merge(&other.rbo);
        self.change.merge(&other.change);
        self.change_by_decision.merge(&other.change_by_decision);
        self.changes.merge(&other.changes);
        self.champion_scores.merge(&other.champion_scores);
        self.shadow_scores.merge(&other.shadow_scores);
        self.value_by_champion.merge(&other.value_by_champion);
        self.value_by_shadow.merge(&other.value_by_shadow);
        self.unvalued += other.unvalued;
        self.withheld_differs += other.withheld_differs;
        self.champion_us.merge(&other.champion_us);
        self.shadow_us.merge(&other.shadow_us);
    }
}

/// The expected value of showing an offer, by the score of a side.
fn expected_value(offer: &ComparedOffer, side: fn(&ComparedOffer) -> Option<Ranked>) -> Option<f64> {
    Some(side(offer)?.known_score()? * offer.value).filter(|value| value.abs() <= MOST_VALUE)
}

impl ValueMoments {
    fn merge(&mut self, other: &Self) {
        self.champion.merge(&other.champion);
        self.shadow.merge(&other.shadow);
        self.change.merge(&other.change);
    }
}
