//! Which events are wanted.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use chrono::{Days, NaiveDate};
use uuid::Uuid;

use crate::columns::{Condition, Entry, POSITION, RECORDED_AT, Wanted};
use crate::kind::{EventRecord, Kind};
use crate::sealed::{SealedFile, date_of};

/// Which events of a kind are wanted. Each condition that is set must hold; without any, all are. No event fulfils a
/// condition that is none of its kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// Filed by this time or later, in microseconds since 1970: decided, received, or compared. An outcome may have
    /// occurred long before it was received.
    pub from: Option<i64>,
    /// Filed by a time before this one.
    pub to: Option<i64>,
    /// Of one of these customers, by their ids or pseudonyms; empty: of any.
    pub customers: BTreeSet<String>,
    /// For this placement.
    pub placement: Option<String>,
    /// Showing this offer, about it, or ranking it.
    pub offer: Option<String>,
    /// By this release, or received while it served.
    pub release: Option<u64>,
    /// With one of these ids of decisions; empty: with any.
    pub decision_ids: BTreeSet<String>,
    /// Of one of these types; empty: of any. Only outcomes have a type.
    pub types: BTreeSet<String>,
    /// With one of these ids of events; empty: with any. Only outcomes have one.
    pub event_ids: BTreeSet<String>,
    /// Of this shadow; `None`: of any. Only shadow records have one.
    pub shadow: Option<String>,
    /// The most events.
    pub limit: Option<u64>,
}

impl Query {
    /// The decision of that id.
    #[must_use]
    pub fn of_decision(id: &str) -> Self {
        Self { decision_ids: BTreeSet::from([id.to_owned()]), limit: Some(1), ..Self::default() }
    }

    /// The outcome of that id.
    #[must_use]
    pub fn of_outcome(event_id: &str) -> Self {
        Self { event_ids: BTreeSet::from([event_id.to_owned()]), limit: Some(1), ..Self::default() }
    }

    /// Whether a row group may have events that are wanted, by its statistics.
    pub(crate) fn may_want_group(&self, file: &SealedFile, group: usize) -> bool {
        file.may_be_wanted(group, self)
    }

    /// The days in whose files wanted events of a kind can be; `None`: in those of any. Empty if no time is wanted.
    pub(crate) fn days(&self, kind: Kind) -> Option<RangeInclusive<NaiveDate>> {
        kind.table().days(self)
    }

    /// The days of the times, as far as they are between two others.
    pub(crate) fn days_between(
        &self,
        first: Option<NaiveDate>,
        last: Option<NaiveDate>,
    ) -> Option<RangeInclusive<NaiveDate>> {
        let first = first.into_iter().chain(self.from.map(date_of)).max();
        let last = last.into_iter().chain(self.to.map(|to| date_of(to.saturating_sub(1)))).min();
        if first.is_none() && last.is_none() {
            return None;
        }
        Some(first.unwrap_or_else(|| date_of(i64::MIN))..=last.unwrap_or_else(|| date_of(i64::MAX)))
    }
}

/// Since when all events are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Since {
    /// Appended at this time or later, in microseconds since 1970; `None`: at any. Files of days more than one before
    /// are not looked at.
    pub time: Option<i64>,
    /// Of these servers what stands behind a position, of any time: a clock may be set back, and positions go on.
    pub positions: BTreeMap<String, u64>,
    /// Of which server; `None`: of all.
    pub server: Option<OfServer>,
    /// Of which kinds; `None`: of all. Sealed files of other kinds are not looked at.
    pub kinds: Option<&'static [Kind]>,
}

/// A part of the log of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfServer {
    /// The id of the server.
    pub id: String,
    /// The first of the log files that are looked at, sealed or not.
    pub sequence: u64,
}

impl Since {
    /// The days in whose files wanted events can be; `None`: in those of any.
    pub(crate) fn days(&self) -> Option<RangeInclusive<NaiveDate>> {
        let first = date_of(self.time?);
        Some(first.checked_sub_days(Days::new(1)).unwrap_or(first)..=date_of(i64::MAX))
    }

    /// Whether events of a kind are wanted.
    pub(crate) fn may_want_kind(&self, kind: Kind) -> bool {
        self.kinds.is_none_or(|kinds| kinds.contains(&kind))
    }

    /// Whether wanted events can be in a log file, sealed or not.
    pub(crate) fn may_want_log(&self, server: &str, sequence: u64) -> bool {
        self.server.as_ref().is_none_or(|wanted| wanted.id == server && sequence >= wanted.sequence)
    }
}

/// What reading asks of events.
pub(crate) trait Wants: Sync {
    /// What it asks of the columns of a kind and a server. Each condition must hold.
    fn conditions(&self, kind: Kind, server: &str) -> Vec<Condition<'_>>;

    /// Whether an event is wanted.
    fn wants(&self, entry: &Entry) -> bool;
}

impl Wants for Query {
    fn conditions(&self, kind: Kind, _server: &str) -> Vec<Condition<'_>> {
        kind.table().conditions(self)
    }

    fn wants(&self, entry: &Entry) -> bool {
        entry.record.recorded().is_wanted(self)
    }
}

impl Wants for Since {
    fn conditions(&self, _kind: Kind, server: &str) -> Vec<Condition<'_>> {
        match self.positions.get(server) {
            Some(position) => {
                let wanted = Wanted::Wholes(position.saturating_add(1).cast_signed()..=i64::MAX);
                vec![Condition { column: POSITION, wanted }]
            }
            None => Condition::times(RECORDED_AT, self.time, None).into_iter().collect(),
        }
    }

    fn wants(&self, entry: &Entry) -> bool {
        let is_since = match self.positions.get(entry.record.server()) {
            Some(position) => entry.position > *position,
            None => self.time.is_none_or(|time| entry.recorded_at >= time),
        };
        is_since && self.may_want_kind(entry.record.kind())
    }
}

/// The days in which decisions of these ids can have been made, by the times in the ids: also the days before and
/// after, as clocks differ. `None` if there are none, or one has no time.
pub(crate) fn days_of_ids(ids: &BTreeSet<String>) -> Option<RangeInclusive<NaiveDate>> {
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
    use crate::columns::Columnar;
    use crate::proto::{DecisionRecord, OutcomeRecord, RecordedOffer, ShadowOffer, ShadowRecord};

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    /// An id of 2026-11-30T23:59:59.999Z.
    fn id() -> String {
        let millis = 1_796_083_199_999_u64;
        format!("{:08x}-{:04x}-7000-8000-000000000000", millis >> 16, millis & 0xffff)
    }

    #[test]
    fn the_days_of_an_id_are_those_around_its_time() {
        let query = Query::of_decision(&id());
        assert_eq!(query.days(Kind::Decision).unwrap(), day("2026-11-29")..=day("2026-12-01"));
        assert_eq!(Query::of_decision("no UUID").days(Kind::Decision), None);
        let other_version = "6ba7b810-9dad-41d1-80b4-00c04fd430c8";
        assert_eq!(Query::of_decision(other_version).days(Kind::Decision), None);
        let both = Query { to: Some(1_795_950_000_000_000), ..query.clone() };
        assert_eq!(both.days(Kind::Decision).unwrap(), day("2026-11-29")..=day("2026-11-29"));
        // An outcome comes when it comes.
        assert_eq!(query.days(Kind::Outcome).unwrap(), day("2026-11-29")..=day("9999-12-31"));
        assert_eq!(Query::of_outcome(&id()).days(Kind::Outcome), None);
        // So does a comparison: work of idle priority waits.
        assert_eq!(query.days(Kind::Shadow).unwrap(), day("2026-11-29")..=day("9999-12-31"));
    }

    #[test]
    fn the_end_of_a_time_is_not_in_it() {
        let midnight = 1_796_083_200_000_000;
        let query = Query { from: Some(midnight - 1), to: Some(midnight), ..Query::default() };
        for kind in Kind::ALL {
            assert_eq!(query.days(kind).unwrap(), day("2026-11-30")..=day("2026-11-30"));
            assert_eq!(Query::default().days(kind), None);
        }
        let decided = |decided_at| {
            let record = DecisionRecord { decided_at, ..DecisionRecord::default() };
            DecisionRecord::wants(&query, &record)
        };
        assert_eq!([midnight - 2, midnight - 1, midnight].map(decided), [false, true, false]);
        // It is the time at which an outcome was received that counts.
        let received = |received_at| {
            let record = OutcomeRecord { received_at, occurred_at: midnight - 1, ..OutcomeRecord::default() };
            OutcomeRecord::wants(&query, &record)
        };
        assert_eq!([midnight - 2, midnight - 1, midnight].map(received), [false, true, false]);
    }

    fn set(text: &str) -> BTreeSet<String> {
        BTreeSet::from(["other".to_owned(), text.to_owned()])
    }

    fn columns(kind: Kind, query: &Query) -> Vec<&'static str> {
        kind.table().conditions(query).into_iter().map(|condition| condition.column).collect()
    }

    #[test]
    fn every_condition_must_hold() {
        let offer = RecordedOffer { offer_id: "o".to_owned(), ..RecordedOffer::default() };
        let decision = DecisionRecord {
            decision_id: "d".to_owned(),
            customer_id: "c".to_owned(),
            placement: "p".to_owned(),
            release: 3,
            offers: vec![RecordedOffer::default(), offer],
            ..DecisionRecord::default()
        };
        let outcome = OutcomeRecord {
            event_id: "e".to_owned(),
            r#type: "click".to_owned(),
            decision_id: "d".to_owned(),
            offer_id: "o".to_owned(),
            customer_id: "c".to_owned(),
            placement: "p".to_owned(),
            release: 3,
            ..OutcomeRecord::default()
        };
        let both = Query {
            customers: set("c"),
            placement: Some("p".to_owned()),
            offer: Some("o".to_owned()),
            release: Some(3),
            decision_ids: set("d"),
            ..Query::default()
        };
        let all = Query { types: set("click"), event_ids: set("e"), ..both.clone() };
        assert!(DecisionRecord::wants(&both, &decision));
        assert!(OutcomeRecord::wants(&both, &outcome) && OutcomeRecord::wants(&all, &outcome));
        let others = [
            Query { customers: set("x"), ..both.clone() },
            Query { placement: Some("x".to_owned()), ..both.clone() },
            Query { offer: Some("x".to_owned()), ..both.clone() },
            Query { release: Some(4), ..both.clone() },
            Query { decision_ids: set("x"), ..both.clone() },
        ];
        for other in others {
            assert!(!DecisionRecord::wants(&other, &decision) && !OutcomeRecord::wants(&other, &outcome));
        }
        let offer = ShadowOffer { offer_id: "o".to_owned(), ..ShadowOffer::default() };
        let shadow = ShadowRecord {
            shadow: "s".to_owned(),
            decision_id: "d".to_owned(),
            customer_id: "c".to_owned(),
            placement: "p".to_owned(),
            release: 3,
            offers: vec![ShadowOffer::default(), offer],
            ..ShadowRecord::default()
        };
        let of_shadow = Query { shadow: Some("s".to_owned()), ..both.clone() };
        assert!(ShadowRecord::wants(&both, &shadow) && ShadowRecord::wants(&of_shadow, &shadow));
        assert!(!DecisionRecord::wants(&of_shadow, &decision) && !OutcomeRecord::wants(&of_shadow, &outcome));
        let others = [
            Query { shadow: Some("x".to_owned()), ..both.clone() },
            Query { customers: set("x"), ..both.clone() },
            Query { placement: Some("x".to_owned()), ..both.clone() },
            Query { offer: Some("x".to_owned()), ..both.clone() },
            Query { release: Some(4), ..both.clone() },
            Query { decision_ids: set("x"), ..both.clone() },
            Query { types: set("x"), ..both.clone() },
            Query { event_ids: set("x"), ..both.clone() },
            Query { from: Some(1), ..both.clone() },
            Query { to: Some(0), ..both.clone() },
        ];
        assert!(others.iter().all(|other| !ShadowRecord::wants(other, &shadow)));
        // A decision has neither a type nor the id of an event.
        let others =
            [Query { types: set("x"), ..both.clone() }, Query { event_ids: set("x"), ..both.clone() }];
        for other in others {
            assert!(!DecisionRecord::wants(&other, &decision) && !OutcomeRecord::wants(&other, &outcome));
        }
        assert!(!DecisionRecord::wants(&all, &decision));
        assert_eq!(
            columns(Kind::Decision, &both),
            ["customer_id", "placement", "release", "decision_id", "offer_ids"]
        );
        assert_eq!(
            columns(Kind::Outcome, &all),
            ["customer_id", "placement", "release", "decision_id", "offer_id", "type", "event_id"]
        );
    }
}
