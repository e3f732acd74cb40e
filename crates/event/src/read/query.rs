//! Which decisions are wanted.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use chrono::{Days, NaiveDate};
use uuid::Uuid;

use crate::columns::{CUSTOMER_ID, Columns, DECIDED_AT, DECISION_ID, OFFER_IDS, PLACEMENT, RELEASE};
use crate::proto::DecisionRecord;
use crate::sealed::{SealedFile, date_of};

/// Which decisions are wanted. Each condition that is set must hold; without any, all are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// Decided at this time or later, in microseconds since 1970.
    pub from: Option<i64>,
    /// Decided before this time, in microseconds since 1970.
    pub to: Option<i64>,
    /// Of one of these customers, by their ids or pseudonyms; empty: of any.
    pub customers: BTreeSet<String>,
    /// For this placement.
    pub placement: Option<String>,
    /// Showing this offer.
    pub offer: Option<String>,
    /// By this release.
    pub release: Option<u64>,
    /// With one of these ids; empty: with any.
    pub decision_ids: BTreeSet<String>,
    /// The most decisions.
    pub limit: Option<u64>,
}

impl Query {
    /// The decision of that id.
    #[must_use]
    pub fn of_decision(id: &str) -> Self {
        Self { decision_ids: BTreeSet::from([id.to_owned()]), limit: Some(1), ..Self::default() }
    }

    /// Whether a record fulfils it, but for the limit.
    #[must_use]
    pub fn wants(&self, record: &DecisionRecord) -> bool {
        self.from.is_none_or(|from| record.decided_at >= from)
            && self.to.is_none_or(|to| record.decided_at < to)
            && (self.customers.is_empty() || self.customers.contains(&record.customer_id))
            && self.placement.as_ref().is_none_or(|placement| record.placement == *placement)
            && self.release.is_none_or(|release| record.release == release)
            && (self.decision_ids.is_empty() || self.decision_ids.contains(&record.decision_id))
            && self
                .offer
                .as_ref()
                .is_none_or(|offer| record.offers.iter().any(|shown| shown.offer_id == *offer))
    }

    /// The columns that tell whether a decision is wanted.
    pub(crate) fn columns(&self) -> Vec<&'static str> {
        let conditions = [
            (self.from.is_some() || self.to.is_some(), DECIDED_AT),
            (!self.customers.is_empty(), CUSTOMER_ID),
            (self.placement.is_some(), PLACEMENT),
            (self.release.is_some(), RELEASE),
            (!self.decision_ids.is_empty(), DECISION_ID),
            (self.offer.is_some(), OFFER_IDS),
        ];
        conditions.into_iter().filter_map(|(is_set, column)| is_set.then_some(column)).collect()
    }

    /// Whether a row of those columns may be wanted: a column that the file lacks says nothing.
    pub(crate) fn may_want(&self, columns: &Columns, row: usize) -> bool {
        let time = || columns.decided_at(row);
        let among = |set: &BTreeSet<String>, name| {
            set.is_empty() || columns.text(name, row).is_none_or(|text| set.contains(text))
        };
        self.from.is_none_or(|from| time().is_none_or(|time| time >= from))
            && self.to.is_none_or(|to| time().is_none_or(|time| time < to))
            && among(&self.customers, CUSTOMER_ID)
            && among(&self.decision_ids, DECISION_ID)
            && self
                .placement
                .as_ref()
                .is_none_or(|wanted| columns.text(PLACEMENT, row).is_none_or(|placement| placement == wanted))
            && self.release.is_none_or(|wanted| columns.release(row).is_none_or(|release| release == wanted))
            && self.offer.as_ref().is_none_or(|offer| columns.shows(offer, row).unwrap_or(true))
    }

    /// Whether a row group may have decisions that are wanted, by its statistics.
    pub(crate) fn may_want_group(&self, file: &SealedFile, group: usize) -> bool {
        let times = file.number_bounds(group, DECIDED_AT);
        let among = |set: &BTreeSet<String>, name| {
            let bounds = if set.is_empty() { None } else { file.text_bounds(group, name) };
            bounds.is_none_or(|(least, greatest)| {
                set.iter().any(|text| (least..=greatest).contains(&text.as_bytes()))
            })
        };
        let numbers = self.release.and_then(|_| file.number_bounds(group, RELEASE));
        let release = self.release.map(u64::cast_signed);
        self.from.is_none_or(|from| times.is_none_or(|(_, last)| last >= from))
            && self.to.is_none_or(|to| times.is_none_or(|(first, _)| first < to))
            && release
                .is_none_or(|release| numbers.is_none_or(|(least, most)| (least..=most).contains(&release)))
            && among(&self.customers, CUSTOMER_ID)
            && among(&self.decision_ids, DECISION_ID)
            && self.placement.as_ref().is_none_or(|wanted| {
                let bounds = file.text_bounds(group, PLACEMENT);
                bounds.is_none_or(|(least, greatest)| (least..=greatest).contains(&wanted.as_bytes()))
            })
    }

    /// The days in whose files wanted decisions can be; `None`: in those of any. Empty if no time is wanted.
    pub(crate) fn days(&self) -> Option<RangeInclusive<NaiveDate>> {
        let (mut first, mut last) = (self.from.map(date_of), self.to.map(|to| date_of(to.saturating_sub(1))));
        if let Some(days) = days_of_ids(&self.decision_ids) {
            first = Some(first.map_or(*days.start(), |first| first.max(*days.start())));
            last = Some(last.map_or(*days.end(), |last| last.min(*days.end())));
        }
        if first.is_none() && last.is_none() {
            return None;
        }
        Some(first.unwrap_or_else(|| date_of(i64::MIN))..=last.unwrap_or_else(|| date_of(i64::MAX)))
    }
}

/// The days in which decisions of these ids can have been made, by the times in the ids: also the days before and
/// after, as clocks differ. `None` if there are none, or one has no time.
fn days_of_ids(ids: &BTreeSet<String>) -> Option<RangeInclusive<NaiveDate>> {
    let times = ids.iter().map(|id| time_of_id(id)).collect::<Option<Vec<_>>>()?;
    let (first, last) = (date_of(*times.iter().min()?), date_of(*times.iter().max()?));
    let day = Days::new(1);
    Some(first.checked_sub_days(day).unwrap_or(first)..=last.checked_add_days(day).unwrap_or(last))
}

/// The time in a UUIDv7, in microseconds since 1970.
fn time_of_id(id: &str) -> Option<i64> {
    let id = Uuid::parse_str(id).ok().filter(|id| id.get_version_num() == 7)?;
    let (seconds, nanos) = id.get_timestamp()?.to_unix();
    i64::try_from(seconds).ok()?.checked_mul(1_000_000)?.checked_add(i64::from(nanos / 1_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::RecordedOffer;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn the_days_of_an_id_are_those_around_its_time() {
        // 2026-11-30T23:59:59.999Z, in milliseconds.
        let time = 1_796_083_199_999_u64;
        let id = format!("{:08x}-{:04x}-7000-8000-000000000000", time >> 16, time & 0xffff);
        let days = Query::of_decision(&id).days().unwrap();
        assert_eq!(days, day("2026-11-29")..=day("2026-12-01"));
        assert_eq!(Query::of_decision("no UUID").days(), None);
        assert_eq!(Query::of_decision("6ba7b810-9dad-41d1-80b4-00c04fd430c8").days(), None);
        let both = Query { to: Some(1_795_950_000_000_000), ..Query::of_decision(&id) };
        assert_eq!(both.days().unwrap(), day("2026-11-29")..=day("2026-11-29"));
    }

    #[test]
    fn the_end_of_a_time_is_not_in_it() {
        let midnight = 1_796_083_200_000_000;
        let query = Query { from: Some(midnight - 1), to: Some(midnight), ..Query::default() };
        assert_eq!(query.days().unwrap(), day("2026-11-30")..=day("2026-11-30"));
        let at = |decided_at| query.wants(&DecisionRecord { decided_at, ..DecisionRecord::default() });
        assert_eq!([midnight - 2, midnight - 1, midnight].map(at), [false, true, false]);
        assert_eq!(Query::default().days(), None);
    }

    #[test]
    fn every_condition_must_hold() {
        let offer = RecordedOffer { offer_id: "o".to_owned(), ..RecordedOffer::default() };
        let record = DecisionRecord {
            decision_id: "d".to_owned(),
            customer_id: "c".to_owned(),
            placement: "p".to_owned(),
            release: 3,
            offers: vec![RecordedOffer::default(), offer],
            ..DecisionRecord::default()
        };
        let set = |text: &str| BTreeSet::from(["other".to_owned(), text.to_owned()]);
        let all = Query {
            customers: set("c"),
            placement: Some("p".to_owned()),
            offer: Some("o".to_owned()),
            release: Some(3),
            decision_ids: set("d"),
            ..Query::default()
        };
        assert!(all.wants(&record));
        let others = [
            Query { customers: set("x"), ..all.clone() },
            Query { placement: Some("x".to_owned()), ..all.clone() },
            Query { offer: Some("x".to_owned()), ..all.clone() },
            Query { release: Some(4), ..all.clone() },
            Query { decision_ids: set("x"), ..all.clone() },
        ];
        assert_eq!(others.map(|query| query.wants(&record)), [false; 5]);
        assert_eq!(all.columns(), [CUSTOMER_ID, PLACEMENT, RELEASE, DECISION_ID, OFFER_IDS]);
    }
}
