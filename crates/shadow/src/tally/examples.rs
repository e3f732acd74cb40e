//! The decisions in which both rankings are farthest apart.

use std::collections::BTreeMap;

use crate::{Compared, ComparedOffer, Comparison, Ranked};

/// The examples that are kept of a shadow.
const EXAMPLES: usize = 20;

/// The offers of an example that are kept: those that are nearest to the top of either ranking.
const OFFERS: usize = 30;

/// Overlaps that differ by less are equal: their last bits depend on how they are computed.
const STEPS: f64 = 1e12;

/// The comparisons with the smallest rank-biased overlap; of equal ones, those with the smallest decision ids.
#[derive(Debug, Clone, Default)]
pub(crate) struct Examples {
    /// By the overlap in steps of 10⁻¹², and the id of the decision.
    found: BTreeMap<(u64, String), KeptExample>,
}

/// A comparison of which the top is kept.
#[derive(Debug, Clone)]
pub(crate) struct KeptExample {
    pub rbo: f64,
    pub tau_b: Option<f64>,
    pub decision_id: String,
    pub decided_at: i64,
    pub release: u64,
    pub placement: String,
    pub segment: Option<i64>,
    /// By the better of both ranks.
    pub offers: Vec<KeptOffer>,
    /// Offers that are not among them.
    pub more_offers: u64,
}

/// An offer of an example.
#[derive(Debug, Clone)]
pub(crate) struct KeptOffer {
    pub offer: ComparedOffer,
    pub champion_shows: bool,
    pub shadow_shows: bool,
}

impl Examples {
    /// Keeps a comparison if its rankings are farther apart than those that are kept. Equal rankings are no example.
    pub(super) fn add(&mut self, rbo: f64, tau_b: Option<f64>, comparison: &Comparison, compared: &Compared) {
        let steps = (rbo * STEPS).round();
        let key = (steps as u64, comparison.decision_id.as_str());
        let is_full = self.found.len() >= EXAMPLES;
        let last = self.found.last_key_value().map(|((steps, id), _)| (*steps, id.as_str()));
        if steps >= STEPS || (is_full && last.is_some_and(|last| key >= last)) {
            return;
        }
        let example = KeptExample::of(rbo, tau_b, comparison, compared);
        self.insert((key.0, comparison.decision_id.clone()), example);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (key, example) in &other.found {
            self.insert(key.clone(), example.clone());
        }
    }

    fn insert(&mut self, key: (u64, String), example: KeptExample) {
        self.found.insert(key, example);
        if self.found.len() > EXAMPLES {
            self.found.pop_last();
        }
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.found.clear();
    }

    /// The farthest apart first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &KeptExample> {
        self.found.values()
    }
}

impl KeptExample {
    fn of(rbo: f64, tau_b: Option<f64>, comparison: &Comparison, compared: &Compared) -> Self {
        let rank = |ranked: Option<Ranked>| ranked.map_or(u32::MAX, |ranked| ranked.rank);
        let mut order: Vec<(u32, u32)> = (0_u32..)
            .zip(&compared.offers)
            .map(|(at, offer)| (rank(offer.champion).min(rank(offer.shadow)), at))
            .collect();
        order.sort_unstable();
        let offers = order.iter().take(OFFERS).filter_map(|(_, at)| {
            let offer = compared.offers.get(*at as usize)?.clone();
            let champion_shows = compared.champion_shown.contains(at);
            Some(KeptOffer { offer, champion_shows, shadow_shows: compared.shadow_shown.contains(at) })
        });
        Self {
            rbo,
            tau_b,
            decision_id: comparison.decision_id.clone(),
            decided_at: comparison.decided_at,
            release: comparison.release,
            placement: comparison.placement.clone(),
            segment: comparison.segment,
            offers: offers.collect(),
            more_offers: order.len().saturating_sub(OFFERS) as u64,
        }
    }
}
