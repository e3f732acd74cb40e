//! Decides whether a rule can ever be true, and ever be false: for the review of a release, never for a decision.
//!
//! The rule is split into clauses: conjunctions of conditions on the values and the presence of its inputs. A clause
//! with contradictory conditions (`x > 5 && x < 3`) is dropped. If no clause remains, no row can make the rule true
//! (or false). Conditions that the analysis does not know exclude nothing, and too many clauses count as one that
//! excludes nothing. So "never" is certain, and "possible" is not. Start reading at [`Rule::outlook`], then
//! `clauses.rs`.

#![expect(clippy::wildcard_enum_match_arm, reason = "an expression of any other kind excludes nothing")]

mod clauses;
mod interval;
mod text;
mod unknown;
mod value_set;

use std::sync::Arc;

use super::{OfferView, Rule};
use crate::rule::scope::Source;
use clauses::Clauses;
use feature::{Entity, Feature, FeatureSchema};
use value_set::ValueSet;

/// The constant result of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outlook {
    /// No customer can make it true.
    NeverTrue,
    /// No customer can make it false: it is true whenever it has a result.
    NeverFalse,
}

/// The possible values of a rule's inputs, as declared by the files of a release.
#[derive(Debug, Clone, Copy)]
pub struct Declared<'a> {
    /// The schema, with the ranges of numbers and the lists of words.
    pub schema: &'a FeatureSchema,
    /// The names of the segments, by id, if the release has a segmentation.
    pub segments: Option<&'a [Arc<str>]>,
    /// The ids of the offers.
    pub offers: &'a [&'a str],
    /// The ids of the categories.
    pub categories: &'a [&'a str],
}

/// The words that a text feature can have, if the schema lists them.
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

    /// The smallest and the largest value of a number.
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
    /// The constant result of the rule for all customers and these offers, if it is certain. Without `declared`,
    /// inputs can have any value of their type.
    pub(crate) fn outlook(
        &self,
        declared: Option<Declared<'_>>,
        offers: &[OfferView<'_>],
    ) -> Option<Outlook> {
        let none = [OfferView::NONE];
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
