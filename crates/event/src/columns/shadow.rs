//! The columns of comparisons with shadows.

use std::io;
use std::ops::RangeInclusive;

use chrono::NaiveDate;

use super::weight::{MODEL_BYTES, SHADOW_OFFER_BYTES, Weight};
use super::{
    CUSTOMER_ID, Cell, ColumnOf, Columnar, Condition, DECISION_ID, PLACEMENT, PSEUDONYM_KEY, RELEASE,
};
use crate::export::{NamesOfRelease, shadow_rest};
use crate::proto::ShadowRecord;
use crate::read::{Query, days_of_ids};

const COMPARED_AT: &str = "compared_at";
const SHADOW: &str = "shadow";
const OFFER_IDS: &str = "offer_ids";

type Of = ColumnOf<ShadowRecord>;

impl Columnar for ShadowRecord {
    const COLUMNS: &'static [ColumnOf<Self>] = &[
        Of::time(COMPARED_AT, |record| &mut record.compared_at),
        Of::time("decided_at", |record| &mut record.decided_at),
        Of::text(SHADOW, |record| &mut record.shadow).repeats(),
        Of::text(DECISION_ID, |record| &mut record.decision_id),
        Of::text("server", |record| &mut record.server).repeats(),
        Of::text("server_version", |record| &mut record.server_version).repeats(),
        Of::whole(RELEASE, |record| &mut record.release).repeats(),
        Of::text(PLACEMENT, |record| &mut record.placement).repeats(),
        Of::text("channel", |record| &mut record.channel).repeats(),
        Of::text(CUSTOMER_ID, |record| &mut record.customer_id),
        Of::text(PSEUDONYM_KEY, |record| &mut record.pseudonym_key).repeats(),
        // As in decisions.
        Of::new("segment_id", Cell::PartWhole(|record| record.segment.as_mut())).repeats(),
        Of::new(
            OFFER_IDS,
            Cell::EachText(|record, take| {
                record.offers.iter_mut().for_each(|offer| take(&mut offer.offer_id));
            }),
        )
        .repeats(),
        Of::new(
            "champion_scores",
            Cell::EachNumber(|record, take| {
                record.offers.iter_mut().for_each(|offer| take(&mut offer.champion_score));
            }),
        ),
        Of::new(
            "champion_priorities",
            Cell::EachNumber(|record, take| {
                record.offers.iter_mut().for_each(|offer| take(&mut offer.champion_priority));
            }),
        ),
        Of::new(
            "champion_ranks",
            Cell::EachCount(|record, take| {
                record.offers.iter_mut().for_each(|offer| take(&mut offer.champion_rank));
            }),
        )
        .repeats(),
        Of::new(
            "shadow_scores",
            Cell::EachNumber(|record, take| {
                record.offers.iter_mut().for_each(|offer| take(&mut offer.shadow_score));
            }),
        ),
        Of::new(
            "shadow_priorities",
            Cell::EachNumber(|record, take| {
                record.offers.iter_mut().for_each(|offer| take(&mut offer.shadow_priority));
            }),
        ),
        Of::new(
            "shadow_ranks",
            Cell::EachCount(|record, take| {
                record.offers.iter_mut().for_each(|offer| take(&mut offer.shadow_rank));
            }),
        )
        .repeats(),
        Of::new(
            "values",
            Cell::EachNumber(|record, take| {
                record.offers.iter_mut().for_each(|offer| take(&mut offer.value));
            }),
        )
        .repeats(),
        Of::new("champion_shown", Cell::Texts(|record| &mut record.champion_shown)).repeats(),
        Of::new("shadow_shown", Cell::Texts(|record| &mut record.shadow_shown)).repeats(),
        Of::new("withheld_by_champion_only", Cell::Texts(|record| &mut record.withheld_by_champion_only))
            .repeats(),
        Of::new("withheld_by_shadow_only", Cell::Texts(|record| &mut record.withheld_by_shadow_only))
            .repeats(),
        Of::count("champion_us", |record| &mut record.champion_us),
        Of::count("shadow_us", |record| &mut record.shadow_us),
        Of::text("error", |record| &mut record.error),
    ];

    /// Models and offers.
    const WEIGHTS: &'static [(u64, Weight)] = &[
        (20, Weight::Bytes(MODEL_BYTES)),
        (21, Weight::Bytes(MODEL_BYTES)),
        (30, Weight::Bytes(SHADOW_OFFER_BYTES)),
    ];

    fn conditions(query: &Query) -> Vec<Condition<'_>> {
        let conditions = [
            Condition::times(COMPARED_AT, query.from, query.to),
            Condition::among(CUSTOMER_ID, &query.customers),
            Condition::text(PLACEMENT, query.placement.as_ref()),
            Condition::whole(RELEASE, query.release),
            Condition::among(DECISION_ID, &query.decision_ids),
            Condition::with(OFFER_IDS, query.offer.as_ref()),
            Condition::text(SHADOW, query.shadow.as_ref()),
            Condition::never(!query.types.is_empty() || !query.event_ids.is_empty()),
        ];
        conditions.into_iter().flatten().collect()
    }

    fn wants(query: &Query, record: &Self) -> bool {
        query.from.is_none_or(|from| record.compared_at >= from)
            && query.to.is_none_or(|to| record.compared_at < to)
            && (query.customers.is_empty() || query.customers.contains(&record.customer_id))
            && query.placement.as_ref().is_none_or(|placement| record.placement == *placement)
            && query.release.is_none_or(|release| record.release == release)
            && (query.decision_ids.is_empty() || query.decision_ids.contains(&record.decision_id))
            && query
                .offer
                .as_ref()
                .is_none_or(|offer| record.offers.iter().any(|ranked| ranked.offer_id == *offer))
            && query.shadow.as_ref().is_none_or(|shadow| record.shadow == *shadow)
            && query.types.is_empty()
            && query.event_ids.is_empty()
    }

    /// Those of the times. A decision is compared after it was made.
    fn days(query: &Query) -> Option<RangeInclusive<NaiveDate>> {
        let decisions = days_of_ids(&query.decision_ids);
        query.days_between(decisions.map(|days| *days.start()), None)
    }

    fn write_rest(&self, _names: &mut NamesOfRelease<'_>, line: &mut Vec<u8>) -> io::Result<()> {
        shadow_rest(self, line)
    }
}
