//! What the decisions of a release look at: features of the customer and the context, and consents.
//!
//! Worked out when a release is loaded, so that an answer names only what a decision could have used, at no cost to a request.

use std::sync::Arc;

use super::{Scorer, Segmenter};
use crate::feature::{Entity, FeatureSchema, FeatureType};
use crate::model::Model;
use crate::offer::{Catalog, Offer, Rule};

/// A bool feature of the customer called so grants the consent that its name ends with, or refuses it.
pub const CONSENT_PREFIX: &str = "consent_";

/// Features of the customer and the context, and consents that offers ask for; a set of one release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedSet {
    /// Customer features, then context features, then consents: a bit each.
    words: Box<[u64]>,
    /// The first bit of the context features, and of the consents.
    context: usize,
    consents: usize,
}

/// A customer feature that grants or refuses a consent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentFeature {
    /// Its position among the customer features.
    pub position: usize,
    /// The consent.
    pub consent: Arc<str>,
    /// The consent's number in a [`WantedSet`], where an offer asks for it.
    asked: Option<usize>,
}

/// What the decisions of a release look at.
#[derive(Debug)]
pub struct Wants {
    /// Of each placement with all of its candidates.
    placements: Vec<WantedSet>,
    /// Of each offer: its rules, the context weights on it, its consents.
    offers: Vec<WantedSet>,
    /// Of each offer its consents alone, which is all that a fallback needs.
    fallbacks: Vec<WantedSet>,
    models: Vec<WantedSet>,
    /// Of every decision: what the segmentation looks at.
    segment: WantedSet,
    consent_features: Vec<ConsentFeature>,
    /// Consents that offers ask for, sorted.
    consents: Vec<String>,
}

impl WantedSet {
    /// Whether the customer feature at a position is in it.
    #[must_use]
    pub fn has_customer(&self, position: usize) -> bool {
        self.has(position)
    }

    /// Whether the context feature at a position is in it.
    #[must_use]
    pub fn has_context(&self, position: usize) -> bool {
        self.has(self.context + position)
    }

    /// Whether an offer asks for the consent of a feature.
    #[must_use]
    pub fn has_consent(&self, feature: &ConsentFeature) -> bool {
        feature.asked.is_some_and(|number| self.has(self.consents + number))
    }

    fn has(&self, bit: usize) -> bool {
        self.words.get(bit / 64).is_some_and(|word| word >> (bit % 64) & 1 == 1)
    }

    fn add(&mut self, bit: usize) {
        if let Some(word) = self.words.get_mut(bit / 64) {
            *word |= 1 << (bit % 64);
        }
    }

    fn add_feature(&mut self, (entity, position): (Entity, usize)) {
        match entity {
            Entity::Customer => self.add(position),
            Entity::Context => self.add(self.context + position),
            // Offers are read whole when a release is loaded.
            Entity::Offer => {}
        }
    }

    fn unite(&mut self, other: &Self) {
        for (word, more) in self.words.iter_mut().zip(&other.words) {
            *word |= more;
        }
    }
}

impl Wants {
    pub(super) fn new(
        schema: &FeatureSchema,
        catalog: &Catalog,
        models: &[Arc<Model>],
        scorers: &[Vec<Option<Scorer>>],
        segmentation: Option<&Segmenter>,
    ) -> Self {
        let offers = catalog.library.offers();
        let mut consents: Vec<String> = offers.iter().flat_map(|offer| &offer.consents).cloned().collect();
        consents.sort_unstable();
        consents.dedup();
        let consent_features = consent_features(schema, &consents);
        let context = schema.of(Entity::Customer).len();
        let first_consent = context + schema.of(Entity::Context).len();
        let words = (first_consent + consents.len()).div_ceil(64);
        let empty =
            || WantedSet { words: vec![0; words].into_boxed_slice(), context, consents: first_consent };
        let of_names = |names: &mut dyn Iterator<Item = &str>| {
            let mut wanted = empty();
            names.filter_map(|name| schema.find(name)).for_each(|feature| wanted.add_feature(feature));
            wanted
        };
        let fallback = |offer: &Offer| {
            let mut wanted = empty();
            for number in offer.consents.iter().filter_map(|consent| consents.binary_search(consent).ok()) {
                wanted.add(first_consent + number);
                let features = consent_features.iter().filter(|feature| feature.asked == Some(number));
                features.for_each(|feature| wanted.add(feature.position));
            }
            wanted
        };
        let fallbacks: Vec<WantedSet> = offers.iter().map(fallback).collect();
        let mut of_offers = fallbacks.clone();
        let mut add_rule = |offer: usize, rule: &Rule| {
            rule.features().for_each(|feature| of_offers[offer].add_feature(feature));
        };
        for (position, offer) in offers.iter().enumerate() {
            let rules = [&offer.exclusion, &offer.eligibility, &offer.applicability, &offer.suitability];
            rules.into_iter().flatten().for_each(|rule| add_rule(position, rule));
        }
        for weight in &catalog.policy.context_weights {
            weight.offers.iter().for_each(|offer| add_rule(*offer, &weight.when));
        }
        let of_model = |model: &Arc<Model>| of_names(&mut model.features());
        let mut wants = Self {
            placements: Vec::new(),
            offers: of_offers,
            fallbacks,
            models: models.iter().map(of_model).collect(),
            segment: segmentation.map_or_else(empty, |segments| of_names(&mut segments.features())),
            consent_features,
            consents,
        };
        let placements = catalog.policy.placements.iter().zip(scorers);
        wants.placements = placements
            .map(|(placement, scorers)| {
                let candidates =
                    placement.candidates.iter().map(|candidate| (candidate.offer, scorers[candidate.offer]));
                wants.of(candidates, placement.fallback)
            })
            .collect();
        wants
    }

    /// What decisions at a placement look at that narrow nothing.
    #[must_use]
    pub fn at(&self, placement: usize) -> &WantedSet {
        &self.placements[placement]
    }

    /// What decisions between these candidates look at, each given with what scores it, and the fallback behind them.
    #[must_use]
    pub fn of(
        &self,
        candidates: impl IntoIterator<Item = (usize, Option<Scorer>)>,
        fallback: Option<usize>,
    ) -> WantedSet {
        let mut wanted = self.segment.clone();
        for (offer, scorer) in candidates {
            wanted.unite(&self.offers[offer]);
            if let Some(scorer) = scorer {
                wanted.unite(&self.models[scorer.model]);
            }
        }
        if let Some(fallback) = fallback {
            wanted.unite(&self.fallbacks[fallback]);
        }
        wanted
    }

    /// The customer features that grant or refuse consents, in the order of the schema.
    #[must_use]
    pub fn consent_features(&self) -> &[ConsentFeature] {
        &self.consent_features
    }

    /// Whether an offer of the release asks for a consent.
    #[must_use]
    pub fn asks_consent(&self, consent: &str) -> bool {
        self.consents.binary_search_by(|known| known.as_str().cmp(consent)).is_ok()
    }
}

fn consent_features(schema: &FeatureSchema, consents: &[String]) -> Vec<ConsentFeature> {
    let features = schema.of(Entity::Customer).iter().enumerate();
    features
        .filter(|(_, feature)| feature.feature_type == FeatureType::Bool)
        .filter_map(|(position, feature)| {
            let consent = feature.name.strip_prefix(CONSENT_PREFIX).filter(|consent| !consent.is_empty())?;
            let asked = consents.binary_search_by(|known| known.as_str().cmp(consent)).ok();
            Some(ConsentFeature { position, consent: consent.into(), asked })
        })
        .collect()
}
