//! The window of a limit: from which moment on events count, and until when.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::TimeDelta;
use chrono_tz::Tz;
use offer::Period;

use super::moment::{self, Millis, NEVER};

/// Which events count at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Window {
    /// Those younger than this.
    Sliding(Millis),
    /// Those of the calendar period of the moment, or of a later one: a clock that was set back frees nothing.
    Calendar(Arc<Calendar>),
    /// Every one.
    All,
}

/// A calendar period of a time zone.
#[derive(Debug)]
pub(crate) struct Calendar {
    period: Period,
    zone: Tz,
    /// The bounds that were last asked for, in minutes since 2020: the first above, the other below. Asking the zone
    /// takes 0.3 µs, and the answer holds for a day at least. 0 if there are none.
    last: AtomicU64,
}

impl PartialEq for Calendar {
    fn eq(&self, other: &Self) -> bool {
        (self.period, self.zone) == (other.period, other.zone)
    }
}

impl Eq for Calendar {}

impl Window {
    pub(crate) fn new(period: Period, zone: Tz) -> Self {
        match period {
            Period::Sliding(length) => Self::Sliding(moment::length(length)),
            Period::Day | Period::Week | Period::Month => {
                Self::Calendar(Arc::new(Calendar { period, zone, last: AtomicU64::new(0) }))
            }
            Period::All => Self::All,
        }
    }

    /// The first moment whose events count at `now`.
    pub(crate) fn first(&self, now: Millis) -> Millis {
        match self {
            Self::Sliding(length) => now - length + 1,
            Self::Calendar(calendar) => calendar.bounds(now).0,
            Self::All => Millis::MIN,
        }
    }

    /// The first moment at which an event at `at` no longer counts.
    pub(crate) fn leaves(&self, at: Millis) -> Millis {
        match self {
            Self::Sliding(length) => at + length,
            Self::Calendar(calendar) => calendar.bounds(at).1,
            Self::All => NEVER,
        }
    }

    /// The period, and its time zone where that matters.
    pub(crate) fn period(&self) -> (Period, Tz) {
        match self {
            Self::Sliding(length) => (Period::Sliding(TimeDelta::milliseconds(*length)), Tz::UTC),
            Self::Calendar(calendar) => (calendar.period, calendar.zone),
            Self::All => (Period::All, Tz::UTC),
        }
    }

    /// The age from which on no event counts; [`NEVER`] if there is none.
    pub(crate) fn longest(period: Period) -> Millis {
        period.longest().map_or(NEVER, moment::length)
    }
}

impl Calendar {
    /// The first moment of the period of `at`, and the first one behind it.
    pub(crate) fn bounds(&self, at: Millis) -> (Millis, Millis) {
        let last = self.last.load(Ordering::Relaxed);
        let (from, until) =
            ((last >> 32) as Millis * MINUTE, (last & u64::from(u32::MAX)) as Millis * MINUTE);
        if (from..until).contains(&at) {
            return (from, until);
        }
        let (from, until) = self.of_zone(at);
        let minutes = |millis: Millis| {
            let whole = u64::try_from(millis / MINUTE).ok().filter(|_| millis % MINUTE == 0);
            whole.filter(|whole| u32::try_from(*whole).is_ok())
        };
        if let (Some(from), Some(until)) = (minutes(from), minutes(until)) {
            self.last.store(from << 32 | until, Ordering::Relaxed);
        }
        (from, until)
    }

    fn of_zone(&self, at: Millis) -> (Millis, Millis) {
        // Every entry is of a moment that a clock shows.
        let Some(at) = moment::moment(at) else { return (Millis::MIN, NEVER) };
        let (from, until) = self.period.bounds(at, self.zone);
        // A period that began before 2020 counts what is kept as the beginning of 2020.
        (moment::millis(from), moment::bound(until))
    }
}

/// A minute.
const MINUTE: Millis = 60_000;

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Millis {
        moment::millis(text.parse::<DateTime<Utc>>().unwrap())
    }

    #[test]
    fn a_day_over_the_change_of_the_clocks_has_23_or_25_hours() {
        let day = Window::new(Period::Day, chrono_tz::Europe::Berlin);
        // 2026-03-29 begins at 23:00 UTC and has 23 hours.
        assert_eq!(day.first(at("2026-03-29T12:00:00Z")), at("2026-03-28T23:00:00Z"));
        assert_eq!(day.leaves(at("2026-03-28T23:00:00Z")), at("2026-03-29T22:00:00Z"));
        assert_eq!(day.leaves(at("2026-03-28T22:59:59.999Z")), at("2026-03-28T23:00:00Z"));
        // 2026-10-25 begins at 22:00 UTC and has 25 hours.
        assert_eq!(day.first(at("2026-10-25T22:59:59.999Z")), at("2026-10-24T22:00:00Z"));
        assert_eq!(day.leaves(at("2026-10-25T00:30:00Z")), at("2026-10-25T23:00:00Z"));
    }

    proptest! {
        #[test]
        fn an_event_counts_until_it_leaves(
            period in prop_oneof![
                (1..3_000_000_000_i64).prop_map(|millis| Period::Sliding(TimeDelta::milliseconds(millis))),
                Just(Period::Day), Just(Period::Week), Just(Period::Month),
            ],
            zone in prop::sample::select(vec![Tz::UTC, Tz::Europe__Berlin, Tz::Asia__Kolkata, Tz::Pacific__Apia]),
            event in 0..400_000_000_000_i64,
            later in 0..4_000_000_000_i64,
        ) {
            let window = Window::new(period, zone);
            let leaves = window.leaves(event);
            prop_assert!(leaves > event);
            for now in [event, leaves - 1, leaves, event + later] {
                prop_assert_eq!(event >= window.first(now), now < leaves, "at {}", now);
            }
            prop_assert!(leaves - event <= Window::longest(period));
        }

        #[test]
        fn what_is_remembered_of_a_calendar_changes_no_answer(
            moments in prop::collection::vec(0..400_000_000_000_i64, 1..20),
        ) {
            let window = Window::new(Period::Week, chrono_tz::Europe::Berlin);
            for moment in moments {
                let fresh = Window::new(Period::Week, chrono_tz::Europe::Berlin);
                prop_assert_eq!(window.first(moment), fresh.first(moment));
                prop_assert_eq!(window.leaves(moment), fresh.leaves(moment));
            }
        }
    }
}
