//! The columns of outcomes.

use std::io;
use std::ops::RangeInclusive;

use chrono::NaiveDate;

use super::weight::{PAIR_BYTES, Weight};
use super::{
    CUSTOMER_ID, Cell, ColumnOf, Columnar, Condition, DECISION_ID, PLACEMENT, PSEUDONYM_KEY, RELEASE,
};
use crate::export::NamesOfRelease;
use crate::proto::OutcomeRecord;
use crate::read::{Query, days_of_ids};

const RECEIVED_AT: &str = "received_at";
const EVENT_ID: &str = "event_id";
const TYPE: &str = "type";
const OFFER_ID: &str = "offer_id";

type Of = ColumnOf<OutcomeRecord>;

impl Columnar for OutcomeRecord {
    const COLUMNS: &'static [ColumnOf<Self>] = &[
        Of::time(RECEIVED_AT, |record| &mut record.received_at),
        Of::time("occurred_at", |record| &mut record.occurred_at),
        Of::text(EVENT_ID, |record| &mut record.event_id),
        Of::text(TYPE, |record| &mut record.r#type).repeats(),
        Of::text(DECISION_ID, |record| &mut record.decision_id),
        Of::text(OFFER_ID, |record| &mut record.offer_id).repeats(),
        Of::text(CUSTOMER_ID, |record| &mut record.customer_id),
        Of::text(PSEUDONYM_KEY, |record| &mut record.pseudonym_key).repeats(),
        Of::number("value", |record| &mut record.value),
        Of::new("attributes", Cell::Pairs(|record| &mut record.attributes)),
        Of::truth("attributed", |record| &mut record.attributed),
        Of::truth("late", |record| &mut record.late),
        Of::text(PLACEMENT, |record| &mut record.placement).repeats(),
        Of::text("channel", |record| &mut record.channel).repeats(),
        Of::new("decided_at", Cell::KnownTime(|record| &mut record.decided_at)),
        Of::number("cost", |record| &mut record.cost),
        Of::number("offer_value", |record| &mut record.offer_value),
        Of::text("server", |record| &mut record.server).repeats(),
        Of::text("server_version", |record| &mut record.server_version).repeats(),
        Of::whole(RELEASE, |record| &mut record.release).repeats(),
    ];

    const WEIGHTS: &'static [(u64, Weight)] = &[(19, Weight::Bytes(PAIR_BYTES))];

    fn conditions(query: &Query) -> Vec<Condition<'_>> {
        let conditions = [
            Condition::times(RECEIVED_AT, query.from, query.to),
            Condition::among(CUSTOMER_ID, &query.customers),
            Condition::text(PLACEMENT, query.placement.as_ref()),
            Condition::whole(RELEASE, query.release),
            Condition::among(DECISION_ID, &query.decision_ids),
            Condition::text(OFFER_ID, query.offer.as_ref()),
            Condition::among(TYPE, &query.types),
            Condition::among(EVENT_ID, &query.event_ids),
            Condition::never(query.shadow.is_some()),
        ];
        conditions.into_iter().flatten().collect()
    }

    fn wants(query: &Query, record: &Self) -> bool {
        query.from.is_none_or(|from| record.received_at >= from)
            && query.to.is_none_or(|to| record.received_at < to)
            && (query.customers.is_empty() || query.customers.contains(&record.customer_id))
            && query.placement.as_ref().is_none_or(|placement| record.placement == *placement)
            && query.release.is_none_or(|release| record.release == release)
            && (query.decision_ids.is_empty() || query.decision_ids.contains(&record.decision_id))
            && query.offer.as_ref().is_none_or(|offer| record.offer_id == *offer)
            && (query.types.is_empty() || query.types.contains(&record.r#type))
            && (query.event_ids.is_empty() || query.event_ids.contains(&record.event_id))
            && query.shadow.is_none()
    }

    /// Those of the times. An outcome is received after its decision, however long.
    fn days(query: &Query) -> Option<RangeInclusive<NaiveDate>> {
        let decisions = days_of_ids(&query.decision_ids);
        query.days_between(decisions.map(|days| *days.start()), None)
    }

    fn write_rest(&self, _names: &mut NamesOfRelease<'_>, line: &mut Vec<u8>) -> io::Result<()> {
        Ok(serde_json::to_writer(line, &serde_json::json!({ "format": self.format }))?)
    }
}
