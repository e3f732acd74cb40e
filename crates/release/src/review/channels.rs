//! Channels that only one side names: a mistyped channel silently keeps an offer from ever being shown.

use std::collections::BTreeSet;

use super::Release;
use super::lines::{Kind, Lines};
use document::{Problems, suggestion};
use offer::PlacementIndex;

/// Warns of an offer's channels that none of its placements has, and of placements that share no channel with an
/// offer. Also warns of a placement's channels over which no offer may be shown.
pub(super) fn warn(release: &Release, lines: &Lines<'_>, warnings: &mut Problems) {
    let catalog = release.catalog();
    let placements = &catalog.policy.placements;
    let everywhere: BTreeSet<&str> =
        placements.iter().flat_map(|placement| &placement.channels).map(String::as_str).collect();
    for (index, offer) in catalog.library.indexed() {
        let shown_at = placements.iter().enumerate().filter(|(at, placement)| {
            offer.placements.contains(&PlacementIndex::new(*at)) || placement.fallback == Some(index)
        });
        let shown_at: Vec<_> = shown_at.map(|(_, placement)| placement).collect();
        let mut warn = |message: String| {
            lines.push(warnings, (Kind::Offer, &offer.id), "channels", message);
        };
        let here: BTreeSet<&str> =
            shown_at.iter().flat_map(|placement| &placement.channels).map(String::as_str).collect();
        for channel in offer.channels.iter().filter(|channel| !here.contains(channel.as_str())) {
            let hint = suggestion(channel, here.iter().copied());
            let message = if !everywhere.contains(channel.as_str()) {
                format!("`channels`: no placement has the channel `{channel}`{hint}")
            } else if shown_at.is_empty() {
                // The warning about the offer itself covers it.
                continue;
            } else {
                format!("`channels`: none of the offer's placements has the channel `{channel}`{hint}")
            };
            warn(message);
        }
        let closed = |channels: &[String]| channels.iter().all(|channel| !offer.channels.contains(channel));
        for placement in shown_at.iter().filter(|one| !offer.channels.is_empty() && closed(&one.channels)) {
            warn(format!(
                "`channels` leaves none of placement `{}`, which has {}: it is never shown there",
                placement.id,
                placement.channels.join(", ")
            ));
        }
    }
    for placement in placements {
        for channel in &placement.channels {
            let open = placement.candidates.iter().any(|candidate| {
                let allowed = &catalog.library.get(candidate.offer).channels;
                allowed.is_empty() || allowed.contains(channel)
            });
            if !open && !placement.candidates.is_empty() {
                let message = format!("`channels`: no offer may be shown over `{channel}`");
                lines.push(warnings, (Kind::Placement, &placement.id), "channels", message);
            }
        }
    }
}
