//! Consents: features that cannot carry one, features that no offer requires, and offers that misspell one.

use std::collections::BTreeSet;

use super::Release;
use super::lines::{Kind, Lines};
use crate::CONSENT_PREFIX;
use document::{Problems, closest, suggestion};
use feature::{Entity, Feature, FeatureType, Value};

/// Refuses features `consent_<name>` that are no bool or are true by default.
pub(super) fn refuse(release: &Release, lines: &Lines<'_>, problems: &mut Problems) {
    for (feature, consent) in carriers(release) {
        let of = (Kind::Feature, feature.name.as_str());
        if feature.feature_type != FeatureType::Bool {
            let message = format!(
                "carries the consent `{consent}` and is of type {}; make it a bool (true is given, false refused, missing never asked), or \
                 rename it if it is no consent",
                feature.feature_type
            );
            lines.push(problems, of, "type", message);
        }
        if feature.default == Some(Value::Bool(true)) {
            let message = format!(
                "`default = true` takes the consent `{consent}` for given by everyone who was never asked; remove it"
            );
            lines.push(problems, of, "default", message);
        }
    }
}

/// Warns of consent features that no offer requires, and of offers whose consent almost has the name of another.
pub(super) fn warn(release: &Release, lines: &Lines<'_>, warnings: &mut Problems) {
    let offers = release.catalog().library.offers();
    let asked: BTreeSet<&str> = offers.iter().flat_map(|offer| &offer.consents).map(String::as_str).collect();
    for (feature, consent) in carriers(release).filter(|(_, consent)| !asked.contains(consent)) {
        let hint = suggestion(consent, asked.iter().copied());
        let message = format!("no offer asks for the consent `{consent}`{hint}");
        lines.push(warnings, (Kind::Feature, &feature.name), "name", message);
    }
    for feature in release.schema().of(Entity::Context) {
        if let Some(consent) = consent(feature) {
            let message = format!(
                "a feature of the context carries no consent; make it one of the customer, or name `{consent}` in the call"
            );
            lines.push(warnings, (Kind::Feature, &feature.name), "entity", message);
        }
    }
    let carried: Vec<&str> = carriers(release).map(|(_, consent)| consent).collect();
    for offer in offers {
        for wanted in offer.consents.iter().filter(|wanted| !carried.contains(&wanted.as_str())) {
            // Callers may send consents that no feature carries; a near match is most likely a typo.
            if let Some(meant) = closest(wanted, carried.iter().copied()) {
                let message = format!(
                    "asks for the consent `{wanted}`, which no feature `{CONSENT_PREFIX}{wanted}` carries, so that only callers can \
                     give it; did you mean `{meant}`?"
                );
                lines.push(warnings, (Kind::Offer, &offer.id), "consents", message);
            }
        }
    }
}

/// The features of the customer that carry a consent, each with its name.
fn carriers(release: &Release) -> impl Iterator<Item = (&Feature, &str)> {
    release.schema().of(Entity::Customer).iter().filter_map(|feature| Some((feature, consent(feature)?)))
}

/// The consent that a feature's name ends with.
fn consent(feature: &Feature) -> Option<&str> {
    feature.name.strip_prefix(CONSENT_PREFIX).filter(|consent| !consent.is_empty())
}
