//! What the decisions of a release use: features of the customer and the context, and consents.
//!
//! Computed when a release is loaded, so that an answer names only what a decision could have used, at no cost per
//! request.

use std::sync::Arc;

use super::variants::{self, Replacement, Replacements};
use super::{Scorer, Segmenter};
use feature::{Entity, FeatureSchema, FeatureType};
use model::Model;
use offer::{Catalog, Offer, OfferIndex, PlacementIndex, Rule};

/// A bool feature of the customer with this prefix grants or refuses the consent that follows it.
pub const CONSENT_PREFIX: &str = "consent_";

/// A set of features of the customer and the context, and of consents; it belongs to one release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedFeatures {
    /// One bit each: customer features, then context features, then consents.
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
    /// The consent's number in a [`UsedFeatures`], if an offer requires it.
    asked: Option<usize>,
}

/// What the decisions of a release use.
#[derive(Debug)]
pub struct FeatureUsage {
    /// For each placement, with all of its candidates.
    placements: Vec<UsedFeatures>,
    /// For each offer: its rules, its context weights, its consents.
    offers: Vec<UsedFeatures>,
    /// For each offer its consents alone, which is all that a fallback needs.
    fallbacks: Vec<UsedFeatures>,
    models: Vec<UsedFeatures>,
    /// For each placement: the rules of its experiments that may assign somebody, and what their variants may put in the
    /// place of its models.
    experiments: Vec<(UsedFeatures, Vec<Replacement>)>,
    /// For every decision: the inputs of the segmentation.
    segment: UsedFeatures,
    consent_features: Vec<ConsentFeature>,
    /// Consents that offers require, sorted.
    consents: Vec<String>,
}

impl UsedFeatures {
    /// Whether the set contains the customer feature at a position.
    #[must_use]
    pub fn has_customer(&self, position: usize) -> bool {
        self.has(position)
    }

    /// Whether the set contains the context feature at a position.
    #[must_use]
    pub fn has_context(&self, position: usize) -> bool {
        self.has(self.context + position)
    }

    /// Whether the set contains the consent of a feature.
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
            // Offer features are read when a release is loaded.
            Entity::Offer => {}
        }
    }

    fn unite(&mut self, other: &Self) {
        for (word, more) in self.words.iter_mut().zip(&other.words) {
            *word |= more;
        }
    }
}

/// What scores in a release.
pub(super) struct Scoring<'a> {
    pub models: &'a [Arc<Model>],
    /// Placement × offer.
    pub scorers: &'a [Vec<Option<Scorer>>],
    pub replacements: &'a Replacements,
}

impl FeatureUsage {
    pub(super) fn new(
        schema: &FeatureSchema,
        catalog: &Catalog,
        scoring: &Scoring<'_>,
        segmentation: Option<&Segmenter>,
    ) -> Self {
        let Scoring { models, scorers, replacements } = scoring;
        let offers = catalog.library.offers();
        let mut consents: Vec<String> = offers.iter().flat_map(|offer| &offer.consents).cloned().collect();
        consents.sort_unstable();
        consents.dedup();
        let consent_features = consent_features(schema, &consents);
        let context = schema.of(Entity::Customer).len();
        let first_consent = context + schema.of(Entity::Context).len();
        let words = (first_consent + consents.len()).div_ceil(64);
        let empty =
            || UsedFeatures { words: vec![0; words].into_boxed_slice(), context, consents: first_consent };
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
        let fallbacks: Vec<UsedFeatures> = offers.iter().map(fallback).collect();
        let mut of_offers = fallbacks.clone();
        let mut add_rule = |offer: OfferIndex, rule: &Rule| {
            rule.features().for_each(|feature| of_offers[offer.get()].add_feature(feature));
        };
        for (index, offer) in catalog.library.indexed() {
            let rules = [&offer.exclusion, &offer.eligibility, &offer.applicability, &offer.suitability];
            rules.into_iter().flatten().for_each(|rule| add_rule(index, rule));
        }
        for weight in &catalog.policy.context_weights {
            weight.offers.iter().for_each(|offer| add_rule(*offer, &weight.when));
        }
        let of_model = |model: &Arc<Model>| of_names(&mut model.features());
        let at_placement = |placement: usize| {
            let mut wanted = empty();
            // Paused and stopped experiments assign nobody, so they ask for nothing.
            let rules = catalog
                .experiments
                .all
                .iter()
                .filter(|experiment| experiment.is_at(placement) && experiment.state.may_force());
            for when in rules.filter_map(|experiment| experiment.when.as_ref()) {
                when.rule.features().for_each(|feature| wanted.add_feature(feature));
            }
            let replaced =
                variants::at_placement(catalog, replacements, placement, |one| one.state.may_force());
            (wanted, replaced.collect())
        };
        let mut usage = Self {
            placements: Vec::new(),
            offers: of_offers,
            fallbacks,
            models: models.iter().map(of_model).collect(),
            experiments: (0..scorers.len()).map(at_placement).collect(),
            segment: segmentation.map_or_else(empty, |segments| of_names(&mut segments.features())),
            consent_features,
            consents,
        };
        let placements = catalog.policy.placements.iter().zip(*scorers).enumerate();
        usage.placements = placements
            .map(|(index, (placement, scorers))| {
                let candidates = placement
                    .candidates
                    .iter()
                    .map(|candidate| (candidate.offer, scorers[candidate.offer.get()]));
                usage.of(PlacementIndex::new(index), candidates, placement.fallback)
            })
            .collect();
        usage
    }

    /// What unfiltered decisions at a placement use.
    #[must_use]
    pub fn at(&self, placement: PlacementIndex) -> &UsedFeatures {
        &self.placements[placement.get()]
    }

    /// What decisions between these candidates at a placement use. Each candidate comes with what scores it; the placement's
    /// fallback is included.
    #[must_use]
    pub fn of(
        &self,
        placement: PlacementIndex,
        candidates: impl IntoIterator<Item = (OfferIndex, Option<Scorer>)>,
        fallback: Option<OfferIndex>,
    ) -> UsedFeatures {
        let mut wanted = self.segment.clone();
        let (rules, replacements) = &self.experiments[placement.get()];
        wanted.unite(rules);
        for (offer, scorer) in candidates {
            wanted.unite(&self.offers[offer.get()]);
            if let Some(scorer) = scorer {
                wanted.unite(&self.models[scorer.model.get()]);
                let replaced = replacements.iter().filter(|replaced| replaced.pinned == scorer.model);
                replaced.for_each(|replaced| wanted.unite(&self.models[replaced.by.get()]));
            }
        }
        if let Some(fallback) = fallback {
            wanted.unite(&self.fallbacks[fallback.get()]);
        }
        wanted
    }

    /// The customer features that grant or refuse consents, in the order of the schema.
    #[must_use]
    pub fn consent_features(&self) -> &[ConsentFeature] {
        &self.consent_features
    }

    /// Whether the customer feature at a position grants or refuses a consent.
    #[must_use]
    pub fn is_consent(&self, position: usize) -> bool {
        self.consent_features.iter().any(|feature| feature.position == position)
    }

    /// Whether an offer of the release requires a consent.
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
