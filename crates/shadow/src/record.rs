//! Comparisons out of recorded events.

use event::proto::{RecordedModel, ShadowOffer, ShadowRecord};

use crate::{Compared, ComparedOffer, Comparison, ModelVersion, Ranked};

/// The newest format of a record that this version reads.
const FORMAT: u32 = 1;

/// A record that no comparison can be made of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A later version wrote it.
    #[error("the comparison of decision {decision_id} has format {format}; this version reads {FORMAT}")]
    Format {
        /// The decision.
        decision_id: String,
        /// The format of the record.
        format: u32,
    },
    /// The ranks of a side are not 1, 2, 3 …
    #[error(
        "in the comparison of decision {decision_id}, the ranks of the {side} are not 1, 2, 3 … once each"
    )]
    Ranks {
        /// The decision.
        decision_id: String,
        /// `champion` or `shadow`.
        side: &'static str,
    },
}

/// The comparison of a record; `None` if the person was erased.
///
/// # Errors
/// A record of a later version, or one whose ranks cannot be.
pub fn read(record: ShadowRecord) -> Result<Option<Comparison>, RecordError> {
    if !record.erased.is_empty() {
        return Ok(None);
    }
    let decision_id = record.decision_id;
    if record.format > FORMAT {
        return Err(RecordError::Format { decision_id, format: record.format });
    }
    for (side, rank) in [
        ("champion", (|offer| offer.champion_rank) as fn(&ShadowOffer) -> u32),
        ("shadow", |offer| offer.shadow_rank),
    ] {
        if !are_places(&record.offers, rank) {
            return Err(RecordError::Ranks { decision_id, side });
        }
    }
    let result = if record.error.is_empty() {
        let mut offers: Vec<ComparedOffer> = record.offers.into_iter().map(offer).collect();
        let champion_shown = positions(record.champion_shown, &mut offers);
        let shadow_shown = positions(record.shadow_shown, &mut offers);
        Ok(Compared {
            offers,
            champion_shown,
            shadow_shown,
            withheld_by_champion_only: record.withheld_by_champion_only.len() as u32,
            withheld_by_shadow_only: record.withheld_by_shadow_only.len() as u32,
            champion_us: record.champion_us,
            shadow_us: record.shadow_us,
        })
    } else {
        Err(record.error)
    };
    let models = |models: Vec<RecordedModel>| {
        models.into_iter().map(|model| ModelVersion { name: model.name, version: model.version }).collect()
    };
    Ok(Some(Comparison {
        shadow: record.shadow,
        placement: record.placement,
        segment: record.segment,
        decision_id,
        decided_at: record.decided_at,
        release: record.release,
        champion_models: models(record.champion_models),
        shadow_models: models(record.shadow_models),
        result,
    }))
}

/// Whether the ranks of a side, without those that are 0, are 1, 2, 3 … once each.
fn are_places(offers: &[ShadowOffer], rank: fn(&ShadowOffer) -> u32) -> bool {
    let ranked = offers.iter().filter(|offer| rank(offer) > 0).count();
    let mut taken = vec![false; ranked];
    offers.iter().map(rank).filter(|rank| *rank > 0).all(|rank| {
        let place = taken.get_mut(rank as usize - 1);
        place.is_some_and(|taken| !std::mem::replace(taken, true))
    })
}

fn offer(offer: ShadowOffer) -> ComparedOffer {
    let ranked = |rank, score, priority| (rank > 0).then_some(Ranked { rank, score, priority });
    ComparedOffer {
        champion: ranked(offer.champion_rank, offer.champion_score, offer.champion_priority),
        shadow: ranked(offer.shadow_rank, offer.shadow_score, offer.shadow_priority),
        offer_id: offer.offer_id,
        value: offer.value,
    }
}

/// The positions of what is shown. What nobody ranked, such as a fallback, becomes an offer without a place.
fn positions(shown: Vec<String>, offers: &mut Vec<ComparedOffer>) -> Vec<u32> {
    let position = |offer_id: String| {
        let known = offers.iter().position(|offer| offer.offer_id == offer_id);
        known.unwrap_or_else(|| {
            offers.push(ComparedOffer { offer_id, ..ComparedOffer::default() });
            offers.len() - 1
        }) as u32
    };
    shown.into_iter().map(position).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> ShadowRecord {
        let offer = |id: &str, champion_rank, shadow_rank| ShadowOffer {
            offer_id: id.to_owned(),
            champion_score: 0.25,
            champion_priority: 2.0,
            champion_rank,
            shadow_score: 0.5,
            shadow_priority: 3.0,
            shadow_rank,
            value: 8.0,
        };
        ShadowRecord {
            format: 1,
            decision_id: "d".to_owned(),
            shadow: "s".to_owned(),
            segment: Some(-3),
            shadow_models: vec![RecordedModel { name: "propensity".to_owned(), version: 8 }],
            offers: vec![offer("a", 1, 2), offer("b", 2, 0), offer("c", 0, 1)],
            champion_shown: vec!["b".to_owned()],
            shadow_shown: vec!["c".to_owned(), "fallback".to_owned()],
            withheld_by_shadow_only: vec!["x".to_owned(), "y".to_owned()],
            champion_us: 7,
            ..ShadowRecord::default()
        }
    }

    #[test]
    fn a_record_becomes_a_comparison() {
        let comparison = read(record()).unwrap().unwrap();
        assert_eq!((comparison.segment, comparison.shadow_models[0].version), (Some(-3), 8));
        let compared = comparison.result.unwrap();
        assert_eq!((compared.champion_shown, compared.shadow_shown), (vec![1], vec![2, 3]));
        assert_eq!((compared.withheld_by_champion_only, compared.withheld_by_shadow_only), (0, 2));
        let [a, b, _, fallback] = compared.offers.try_into().unwrap();
        assert_eq!(a.shadow, Some(Ranked { rank: 2, score: 0.5, priority: 3.0 }));
        assert_eq!((b.shadow, fallback.offer_id.as_str(), fallback.champion), (None, "fallback", None));
    }

    #[test]
    fn what_failed_says_why_and_an_erased_person_is_passed_over() {
        let failed = read(ShadowRecord { error: "NaN".to_owned(), ..record() }).unwrap().unwrap();
        assert_eq!(failed.result, Err("NaN".to_owned()));
        assert_eq!(read(ShadowRecord { erased: vec![0; 9], ..ShadowRecord::default() }), Ok(None));
    }

    #[test]
    fn a_record_that_cannot_be_is_refused() {
        let error = read(ShadowRecord { format: 2, ..record() }).unwrap_err();
        assert_eq!(error.to_string(), "the comparison of decision d has format 2; this version reads 1");
        for ranks in [[1, 1, 0], [1, 3, 0], [u32::MAX, 1, 2]] {
            let mut wrong = record();
            for (offer, rank) in wrong.offers.iter_mut().zip(ranks) {
                offer.shadow_rank = rank;
            }
            assert!(read(wrong).unwrap_err().to_string().contains("the ranks of the shadow"), "{ranks:?}");
        }
    }
}
