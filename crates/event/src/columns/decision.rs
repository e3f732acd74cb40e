//! The columns of decisions.

use std::io;
use std::ops::RangeInclusive;

use chrono::NaiveDate;

use super::weight::{ASSIGNMENT_BYTES, NEWCOMER_BYTES, OFFER_BYTES, REFUSAL_BYTES, Weight};
use super::{
    CUSTOMER_ID, Cell, ColumnOf, Columnar, Condition, DECISION_ID, PLACEMENT, PSEUDONYM_KEY, RELEASE,
};
use crate::export::{NamesOfRelease, decision_rest};
use crate::proto::DecisionRecord;
use crate::read::{Query, days_of_ids};

const DECIDED_AT: &str = "decided_at";
const OFFER_IDS: &str = "offer_ids";
// Of the arms of the customer, an element each.
pub(super) const EXPERIMENTS: &str = "experiments";
pub(super) const VARIANTS: &str = "variants";
pub(super) const PHASES: &str = "phases";
pub(super) const ASSIGNED_HOW: &str = "assigned_how";
pub(super) const HELD_OUT: &str = "held_out";

type Of = ColumnOf<DecisionRecord>;

impl Columnar for DecisionRecord {
    const COLUMNS: &'static [ColumnOf<Self>] = &[
        Of::time(DECIDED_AT, |record| &mut record.decided_at),
        Of::text(DECISION_ID, |record| &mut record.decision_id),
        Of::text("request_id", |record| &mut record.request_id),
        Of::text("server", |record| &mut record.server).repeats(),
        Of::text("server_version", |record| &mut record.server_version).repeats(),
        Of::whole(RELEASE, |record| &mut record.release).repeats(),
        Of::text(PLACEMENT, |record| &mut record.placement).repeats(),
        Of::text("channel", |record| &mut record.channel).repeats(),
        Of::text(CUSTOMER_ID, |record| &mut record.customer_id),
        Of::text(PSEUDONYM_KEY, |record| &mut record.pseudonym_key).repeats(),
        Of::count("count", |record| &mut record.count).repeats(),
        Of::count("explain", |record| &mut record.explain).repeats(),
        Of::truth("unknown_customer", |record| &mut record.unknown_customer),
        Of::new(
            "segment_id",
            Cell::PartWhole(|record| record.segment.as_mut().map(|segment| &mut segment.id)),
        )
        .repeats(),
        Of::new(
            OFFER_IDS,
            Cell::EachText(|record, take| {
                record.offers.iter_mut().for_each(|offer| take(&mut offer.offer_id));
            }),
        )
        .repeats(),
        Of::new(
            "priorities",
            Cell::EachNumber(|record, take| {
                record.offers.iter_mut().for_each(|offer| take(&mut offer.priority));
            }),
        ),
        // A fallback has none.
        Of::new(
            "propensities",
            Cell::EachPartNumber(|record, take| {
                let factors = record.offers.iter_mut().map(|offer| offer.factors.as_mut());
                factors.for_each(|factors| take(factors.map(|factors| &mut factors.propensity)));
            }),
        ),
        Of::new(
            "selection_probabilities",
            Cell::EachNumber(|record, take| {
                record.offers.iter_mut().for_each(|offer| take(&mut offer.selection_probability));
            }),
        ),
        Of::new("fallback", Cell::Follows(|record| record.offers.iter().any(|offer| offer.fallback))),
        Of::new("degraded", Cell::Texts(|record| &mut record.degraded)),
        Of::new("error_code", Cell::PartCount(|record| record.error.as_mut().map(|error| &mut error.code)))
            .repeats(),
        Of::new(
            "error_message",
            Cell::PartText(|record| record.error.as_mut().map(|error| &mut error.message)),
        ),
        Of::count("call_us", |record| &mut record.call_us),
        Of::count("call_customers", |record| &mut record.call_customers).repeats(),
        // Of later versions: `record` has it, too.
        Of::new(HELD_OUT, Cell::Follows(|record| record.held_out)),
        Of::new(
            EXPERIMENTS,
            Cell::FollowTexts(|record, take| {
                record.assignments.iter().for_each(|arm| take(&arm.experiment));
            }),
        )
        .repeats(),
        Of::new(
            VARIANTS,
            Cell::FollowTexts(|record, take| record.assignments.iter().for_each(|arm| take(&arm.variant))),
        )
        .repeats(),
        Of::new(
            PHASES,
            Cell::FollowDigests(|record, take| record.assignments.iter().for_each(|arm| take(arm.phase))),
        )
        .repeats(),
        Of::new(
            ASSIGNED_HOW,
            Cell::FollowCounts(|record, take| record.assignments.iter().for_each(|arm| take(arm.how))),
        )
        .repeats(),
    ];

    /// Values of features, what limits looked at, arms, new offers, candidates, the offers that were shown, and what was refused.
    const WEIGHTS: &'static [(u64, Weight)] = &[
        (30, Weight::Nested),
        (31, Weight::Nested),
        (45, Weight::Nested),
        (46, Weight::Bytes(ASSIGNMENT_BYTES)),
        (48, Weight::Bytes(NEWCOMER_BYTES)),
        (50, Weight::Nested),
        (60, Weight::Bytes(OFFER_BYTES)),
        (63, Weight::Bytes(REFUSAL_BYTES)),
    ];

    fn conditions(query: &Query) -> Vec<Condition<'_>> {
        let conditions = [
            Condition::times(DECIDED_AT, query.from, query.to),
            Condition::among(CUSTOMER_ID, &query.customers),
            Condition::text(PLACEMENT, query.placement.as_ref()),
            Condition::whole(RELEASE, query.release),
            Condition::among(DECISION_ID, &query.decision_ids),
            Condition::with(OFFER_IDS, query.offer.as_ref()),
            Condition::never(
                !query.types.is_empty() || !query.event_ids.is_empty() || query.shadow.is_some(),
            ),
        ];
        conditions.into_iter().flatten().collect()
    }

    fn wants(query: &Query, record: &Self) -> bool {
        query.from.is_none_or(|from| record.decided_at >= from)
            && query.to.is_none_or(|to| record.decided_at < to)
            && (query.customers.is_empty() || query.customers.contains(&record.customer_id))
            && query.placement.as_ref().is_none_or(|placement| record.placement == *placement)
            && query.release.is_none_or(|release| record.release == release)
            && (query.decision_ids.is_empty() || query.decision_ids.contains(&record.decision_id))
            && query
                .offer
                .as_ref()
                .is_none_or(|offer| record.offers.iter().any(|shown| shown.offer_id == *offer))
            && query.types.is_empty()
            && query.event_ids.is_empty()
            && query.shadow.is_none()
    }

    /// Those of the times, and around those of the ids.
    fn days(query: &Query) -> Option<RangeInclusive<NaiveDate>> {
        let ids = days_of_ids(&query.decision_ids);
        query.days_between(ids.as_ref().map(|days| *days.start()), ids.as_ref().map(|days| *days.end()))
    }

    fn write_rest(&self, names: &mut NamesOfRelease<'_>, line: &mut Vec<u8>) -> io::Result<()> {
        decision_rest(self, names(self.release).as_deref(), line)
    }
}
