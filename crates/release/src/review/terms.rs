//! Warns of offers' terms that are most likely mistakes. These are a value below the cost, dates in the past or far
//! future, and feature values that `features.toml` does not expect.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use super::Release;
use super::lines::{Kind, Lines};
use document::{Problems, suggestion};
use feature::{Entity, Feature, Value};
use offer::Offer;

/// An offer that begins later than this most likely has a mistyped year.
const FAR_AHEAD: TimeDelta = TimeDelta::days(2 * 366);

/// Warns of offers that lose money on every customer, have expired, or begin years from now. Also warns of feature
/// values that the schema does not expect.
pub(super) fn warn(release: &Release, lines: &Lines<'_>, warnings: &mut Problems) {
    let now = Utc::now();
    for offer in release.catalog().library.offers() {
        for (key, message) in found(offer, now) {
            lines.push(warnings, (Kind::Offer, &offer.id), key, message);
        }
        for (feature, value) in release.schema().of(Entity::Offer).iter().zip(&offer.features) {
            if let Some(message) = value.as_ref().and_then(|value| unexpected(feature, value)) {
                lines.push(warnings, (Kind::Offer, &offer.id), "features", message);
            }
        }
    }
}

fn found(offer: &Offer, now: DateTime<Utc>) -> Vec<(&'static str, String)> {
    let date = |moment: DateTime<Utc>| moment.to_rfc3339_opts(SecondsFormat::Secs, true);
    let mut found = Vec::new();
    if offer.value < offer.cost {
        let (value, cost) = (offer.value, offer.cost);
        found.push((
            "value",
            format!("`value` {value} is below `cost` {cost}: it loses money even if all accept"),
        ));
    }
    if let Some(until) = offer.valid_until.filter(|until| *until <= now) {
        let message =
            format!("it expired at {}: it is no longer shown; remove it or move `valid_until`", date(until));
        found.push(("valid_until", message));
    }
    if let Some(from) = offer.valid_from.filter(|from| *from > now + FAR_AHEAD) {
        found.push(("valid_from", format!("it is not shown before {}; is the year right?", date(from))));
    }
    found
}

/// What is odd about the value of an offer's feature.
fn unexpected(feature: &Feature, value: &Value) -> Option<String> {
    // The schema itself reports a default that is out of range.
    if feature.default.as_ref() == Some(value) || !feature.is_out_of_range(value.as_ref()) {
        return None;
    }
    let name = &feature.name;
    Some(match value {
        Value::String(text) => format!(
            "`{name}` is {text:?}, which is none of its `values` in features.toml{}",
            suggestion(text, feature.values.iter().map(|value| &**value))
        ),
        Value::Float(number) => format!("`{name}` {number} is outside its `range` in features.toml"),
        Value::Int(number) => format!("`{name}` {number} is outside its `range` in features.toml"),
        Value::Bool(_) => return None,
    })
}
