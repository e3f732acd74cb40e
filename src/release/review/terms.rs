//! Terms of offers that are most likely a mistake: a value below the cost, dates that have passed or are far away.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use super::Release;
use super::lines::{Kind, Lines};
use crate::document::Problems;
use crate::offer::Offer;

/// An offer that begins later than this is most likely one whose year was mistyped.
const FAR_AHEAD: TimeDelta = TimeDelta::days(2 * 366);

/// Warns of offers that lose money whoever takes them, have expired, or begin years from now.
pub(super) fn warn(release: &Release, lines: &Lines<'_>, warnings: &mut Problems) {
    let now = Utc::now();
    for offer in release.catalog().library.offers() {
        for (key, message) in found(offer, now) {
            lines.push(warnings, (Kind::Offer, &offer.id), key, message);
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
            format!("it expired at {}: it is shown to nobody; remove it or move `valid_until`", date(until));
        found.push(("valid_until", message));
    }
    if let Some(from) = offer.valid_from.filter(|from| *from > now + FAR_AHEAD) {
        found
            .push(("valid_from", format!("it is shown to nobody before {}; is the year right?", date(from))));
    }
    found
}
