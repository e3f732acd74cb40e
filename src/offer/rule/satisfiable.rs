//! Whether a rule can ever be true, and whether it can ever be false: for the review of a release, never for a decision.
//!
//! The rule is taken apart into clauses: conditions that must all be met, on the values and the presence of what it reads.
//! A clause whose conditions exclude each other (`x > 5 && x < 3`) is dropped. Where no clause is left, no row can make
//! the rule true (or false). What is not understood excludes nothing and too many clauses are one that excludes nothing,
//! so that the answer "never" is certain; the answer "perhaps" is not.
//! Start reading at [`Rule::outlook`], then `clauses.rs`.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "what is not understood excludes nothing, whatever it is"
)]

mod clauses;
mod interval;
mod text;
mod unknown;
mod value_set;

use std::sync::Arc;

use super::{OfferSeen, Rule};
use crate::feature::{Entity, Feature, FeatureSchema};
use crate::offer::rule::scope::Source;
use clauses::Clauses;
use value_set::ValueSet;

/// What a rule comes to for every customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outlook {
    /// No customer can make it true.
    NeverTrue,
    /// No customer can make it false: it is true wherever it has an answer.
    NeverFalse,
}

/// The values that what a rule reads can have, as the files of a release declare them.
#[derive(Debug, Clone, Copy)]
pub struct Declared<'a> {
    /// The schema, with the ranges of numbers and the lists of words.
    pub schema: &'a FeatureSchema,
    /// The names of the segments, by id, where the release has a segmentation.
    pub segments: Option<&'a [Arc<str>]>,
    /// The ids of the offers.
    pub offers: &'a [&'a str],
    /// The ids of the categories.
    pub categories: &'a [&'a str],
}

/// The words that a text feature can have, where the schema lists them.
fn allowed_values(feature: &Feature) -> Option<&[Arc<str>]> {
    (!feature.values.is_empty()).then_some(&feature.values)
}

impl<'a> Declared<'a> {
    fn feature(self, source: Source) -> Option<&'a Feature> {
        let (entity, index) = match source {
            Source::Customer(index) => (Entity::Customer, index),
            Source::Context(index) => (Entity::Context, index),
            Source::Offer(index) => (Entity::Offer, index),
            Source::OfferId
            | Source::OfferCategory
            | Source::OfferValue
            | Source::OfferCost
            | Source::OfferWeight
            | Source::SegmentId
            | Source::SegmentName => return None,
        };
        self.schema.of(entity).get(index as usize)
    }

    /// The words that a text can be.
    pub(super) fn words(self, source: Source) -> Option<Vec<&'a str>> {
        match source {
            Source::SegmentName => Some(self.segments?.iter().map(|name| &**name).collect()),
            Source::OfferId => Some(self.offers.to_vec()),
            Source::OfferCategory => Some(self.categories.to_vec()),
            Source::Customer(_) | Source::Context(_) | Source::Offer(_) => {
                Some(allowed_values(self.feature(source)?)?.iter().map(|word| &**word).collect())
            }
            Source::OfferValue | Source::OfferCost | Source::OfferWeight | Source::SegmentId => None,
        }
    }

    /// The least and the greatest value of a number.
    pub(super) fn range(self, source: Source) -> Option<(f64, f64)> {
        match (source, self.segments) {
            (Source::SegmentId, Some(segments)) if !segments.is_empty() => {
                Some((0.0, (segments.len() - 1) as f64))
            }
            _ => self.feature(source)?.range,
        }
    }
}

impl Rule {
    /// What the rule comes to for all customers and these offers, where that is certain. `declared` says what values can be;
    /// without it they can be whatever their type can.
    pub(in crate::offer) fn outlook(
        &self,
        declared: Option<Declared<'_>>,
        offers: &[OfferSeen<'_>],
    ) -> Option<Outlook> {
        let none = [OfferSeen::NONE];
        let offers = if self.reads_offer() { offers } else { &none };
        let excluded = |wanted: bool| {
            !offers.is_empty()
                && offers.iter().all(|offer| {
                    let clauses = Clauses { slots: &self.slots, declared, offer };
                    clauses.of(&self.expression, wanted).is_empty()
                })
        };
        if excluded(true) {
            return Some(Outlook::NeverTrue);
        }
        excluded(false).then_some(Outlook::NeverFalse)
    }
}

#[cfg(test)]
mod tests;
