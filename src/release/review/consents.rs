//! Consents: features that cannot carry one, features whose consent no offer asks for, and offers that ask for a misspelled one.

use std::collections::BTreeSet;

use super::lines::{Kind, Lines};
use super::{Release, ReleaseSource, Review};
use crate::document::{closest, suggestion};
use crate::feature::{Entity, Feature, FeatureType, Value};
use crate::release::CONSENT_PREFIX;

/// Refuses features `consent_<name>` that are no bool or are true by default; warns of those that nothing asks for, and of offers
/// that ask for a consent which is nearly the name of one.
pub(super) fn consents(release: &Release, source: &ReleaseSource<'_>, review: &mut Review) {
    let (lines, schema) = (Lines::new(source), release.schema());
    let offers = release.catalog().library.offers();
    let asked: BTreeSet<&str> = offers.iter().flat_map(|offer| &offer.consents).map(String::as_str).collect();
    for feature in schema.of(Entity::Customer) {
        let Some(consent) = consent(feature) else { continue };
        let of = (Kind::Feature, feature.name.as_str());
        if feature.feature_type != FeatureType::Bool {
            let message = format!(
                "carries the consent `{consent}` and is a {}; make it a bool (true is given, false refused, missing never asked), or \
                 rename it if it is no consent",
                feature.feature_type
            );
            lines.push(&mut review.refusals, of, "type", message);
        }
        if feature.default == Some(Value::Bool(true)) {
            let message = format!(
                "`default = true` takes the consent `{consent}` for given by everyone who was never asked; remove it"
            );
            lines.push(&mut review.refusals, of, "default", message);
        }
        if !asked.contains(consent) {
            let hint = suggestion(consent, asked.iter().copied());
            let message = format!("no offer asks for the consent `{consent}`{hint}");
            lines.push(&mut review.warnings, of, "name", message);
        }
    }
    for feature in schema.of(Entity::Context) {
        if let Some(consent) = consent(feature) {
            let message = format!(
                "a feature of the context carries no consent; make it one of the customer, or name `{consent}` in the call"
            );
            lines.push(&mut review.warnings, (Kind::Feature, &feature.name), "entity", message);
        }
    }
    let carried: Vec<&str> = schema.of(Entity::Customer).iter().filter_map(consent).collect();
    for offer in offers {
        for wanted in offer.consents.iter().filter(|wanted| !carried.contains(&wanted.as_str())) {
            // Callers may know of consents that no feature carries; of one that is nearly another they most likely do not.
            if let Some(meant) = closest(wanted, carried.iter().copied()) {
                let message = format!(
                    "asks for the consent `{wanted}`, which no feature `{CONSENT_PREFIX}{wanted}` carries, so that only callers can \
                     give it; did you mean `{meant}`?"
                );
                lines.push(&mut review.warnings, (Kind::Offer, &offer.id), "consents", message);
            }
        }
    }
}

/// The consent that a feature's name ends with.
fn consent(feature: &Feature) -> Option<&str> {
    feature.name.strip_prefix(CONSENT_PREFIX).filter(|consent| !consent.is_empty())
}
