//! Comparisons with shadows as events, and shadows that are run over recorded requests.
//!
//! [`shadow_record`] writes what a server or a replay has compared. [`replay_shadows`] compares records: what decided
//! then is decided again, and beside it what the shadows of a release would have decided.

mod replayed;
#[cfg(test)]
mod tests;

use std::time::Duration;

use chrono::{DateTime, Utc};
use decision::{Compared, Decided, RankedCandidate, ShadowComparison};
use event::proto::{RecordedModel, ShadowOffer, ShadowRecord};
use offer::{OfferIndex, OfferLibrary};
use release::{Release, Segmenter};
use shadow::Names;
use uuid::Uuid;

pub use self::replayed::{ReplayedShadows, ShadowOptions, replay_shadows};
use super::privacy::Privacy;

/// The format of the records that this version writes.
const FORMAT: u32 = 1;

/// What stands for a reason that has no words: a record without one has a comparison.
const NO_REASON: &str = "no reason was given";

/// The record of a comparison. `release` is the one that decided, whose offers the comparison names by their indices.
/// The customer goes by the name that records of decisions have.
#[must_use]
pub fn shadow_record(
    comparison: &ShadowComparison,
    release: &Release,
    decided_at: DateTime<Utc>,
    compared_at: DateTime<Utc>,
    privacy: &Privacy,
) -> ShadowRecord {
    let ShadowComparison { shadow, decision_id, placement, channel, customer_id, segment, result } =
        comparison;
    let name = privacy.pseudonyms.of(customer_id);
    let record = ShadowRecord {
        format: FORMAT,
        compared_at: compared_at.timestamp_micros(),
        release: release.number(),
        decision_id: decision_id.hyphenated().encode_lower(&mut Uuid::encode_buffer()).to_owned(),
        placement: placement.to_string(),
        channel: channel.to_string(),
        customer_id: name.text,
        pseudonym_key: name.key,
        shadow: shadow.to_string(),
        segment: segment.as_ref().map(|segment| segment.id),
        decided_at: decided_at.timestamp_micros(),
        ..ShadowRecord::default()
    };
    match result {
        Ok(compared) => with_both(record, compared, &release.catalog().library),
        Err(why) => {
            let why = if why.is_empty() { NO_REASON } else { why };
            ShadowRecord { error: why.to_owned(), ..record }
        }
    }
}

/// The names that a release gives to its offers and segments, for reports on shadows.
#[must_use]
pub fn shadow_names(release: &Release) -> Names {
    let offers = release.catalog().library.offers().iter();
    let segments = release.segmentation().map(Segmenter::names).unwrap_or_default().iter();
    Names {
        offers: offers.map(|offer| (offer.id.to_string(), offer.name.clone())).collect(),
        segments: (0..).zip(segments).map(|(id, name)| (id, name.to_string())).collect(),
    }
}

/// The record with what both decided.
fn with_both(record: ShadowRecord, compared: &Compared, library: &OfferLibrary) -> ShadowRecord {
    let Compared { champion, challenger } = compared;
    let ids = |offers: &[OfferIndex]| offers.iter().map(|offer| id_of(library, *offer)).collect();
    let withheld = |one: &Decided, other: &Decided| {
        let by_other = &other.withheld_by_rules;
        let alone = one.withheld_by_rules.iter().filter(|offer| by_other.binary_search(offer).is_err());
        alone.map(|offer| id_of(library, *offer)).collect()
    };
    ShadowRecord {
        champion_models: models(champion),
        shadow_models: models(challenger),
        offers: ranked_by_either(champion, challenger, library),
        champion_shown: ids(&champion.shown),
        shadow_shown: ids(&challenger.shown),
        withheld_by_champion_only: withheld(champion, challenger),
        withheld_by_shadow_only: withheld(challenger, champion),
        champion_us: micros(champion.took),
        shadow_us: micros(challenger.took),
        ..record
    }
}

/// What at least one side ranked: the champion's ranking, then what is in the shadow's alone.
fn ranked_by_either(champion: &Decided, challenger: &Decided, library: &OfferLibrary) -> Vec<ShadowOffer> {
    let mut places: Vec<(OfferIndex, u32, &RankedCandidate)> = Vec::with_capacity(challenger.ranking.len());
    places.extend((1..).zip(&challenger.ranking).map(|(rank, one)| (one.offer, rank, one)));
    places.sort_unstable_by_key(|(offer, ..)| *offer);
    let of_shadow = |offer: OfferIndex| {
        let found = places.binary_search_by_key(&offer, |(of, ..)| *of).ok()?;
        places.get(found).map(|(_, rank, one)| (*rank, *one))
    };
    let new = |one: &RankedCandidate| ShadowOffer {
        offer_id: id_of(library, one.offer),
        value: one.value,
        ..ShadowOffer::default()
    };
    let with_shadow = |offer: ShadowOffer, (rank, one): (u32, &RankedCandidate)| ShadowOffer {
        shadow_score: one.score,
        shadow_priority: one.priority,
        shadow_rank: rank,
        ..offer
    };
    let of_champion = (1..).zip(&champion.ranking).map(|(rank, one)| {
        let offer = ShadowOffer {
            champion_score: one.score,
            champion_priority: one.priority,
            champion_rank: rank,
            ..new(one)
        };
        match of_shadow(one.offer) {
            Some(place) => with_shadow(offer, place),
            None => offer,
        }
    });
    let mut offers: Vec<ShadowOffer> = of_champion.collect();
    let mut known: Vec<OfferIndex> = champion.ranking.iter().map(|one| one.offer).collect();
    known.sort_unstable();
    let alone = (1..).zip(&challenger.ranking).filter(|(_, one)| known.binary_search(&one.offer).is_err());
    offers.extend(alone.map(|(rank, one)| with_shadow(new(one), (rank, one))));
    offers
}

fn models(side: &Decided) -> Vec<RecordedModel> {
    let models = side.models.iter();
    models.map(|(name, version)| RecordedModel { name: name.clone(), version: *version }).collect()
}

fn id_of(library: &OfferLibrary, offer: OfferIndex) -> String {
    library.get(offer).id.to_string()
}

fn micros(took: Duration) -> u32 {
    u32::try_from(took.as_micros()).unwrap_or(u32::MAX)
}
