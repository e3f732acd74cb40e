//! The period of a limit: a sliding length of time, or a day, a week or a month of the calendar.

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveTime, TimeDelta, Utc};
use chrono_tz::Tz;

use crate::zone::{self, Ambiguity};

/// The most by which the clocks of a zone were set back at once since 2000: three hours, in Antarctica/Casey.
const SET_BACK: TimeDelta = TimeDelta::hours(3);

/// The time within which a limit counts (`per`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Period {
    /// The time of this length that ends now; more than zero.
    Sliding(TimeDelta),
    /// A calendar day.
    Day,
    /// A calendar week; it begins on Monday.
    Week,
    /// A calendar month.
    Month,
    /// All time; for limits of an offer over all customers.
    All,
}

impl Period {
    /// The period that contains `now`: its first moment, and the first moment behind it. Calendar periods are those of
    /// `zone`; a day there can have 23 or 25 hours.
    ///
    /// A sliding period begins at `now` less its length and has no end. What happened at that very moment no longer
    /// counts, so that an event stops counting exactly one length after it happened. What happened at the first moment
    /// of a calendar period counts.
    #[must_use]
    pub fn bounds(self, now: DateTime<Utc>, zone: Tz) -> (DateTime<Utc>, DateTime<Utc>) {
        let first = match self {
            Self::Sliding(length) => return (now - length, DateTime::<Utc>::MAX_UTC),
            Self::All => return (DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC),
            Self::Day => Some(now.with_timezone(&zone).date_naive()),
            Self::Week => {
                let today = now.with_timezone(&zone).date_naive();
                today.checked_sub_days(Days::new(today.weekday().num_days_from_monday().into()))
            }
            Self::Month => now.with_timezone(&zone).date_naive().with_day(1),
        };
        let begins = |day: Option<NaiveDate>| {
            day.and_then(|day| zone::resolve(day.and_time(NaiveTime::MIN), zone, Ambiguity::Earlier))
        };
        let second = first.and_then(|day| self.next(day));
        let (start, end) = (begins(first), begins(second).unwrap_or(DateTime::<Utc>::MAX_UTC));
        // Clocks that are set back from just after midnight show the last hour of a day again within the next one.
        if now >= end {
            let third = second.and_then(|day| self.next(day));
            return (end, begins(third).unwrap_or(DateTime::<Utc>::MAX_UTC));
        }
        (start.unwrap_or(DateTime::<Utc>::MIN_UTC), end)
    }

    /// The longest time that it looks back; `None` for [`Period::All`].
    #[must_use]
    pub fn longest(self) -> Option<TimeDelta> {
        match self {
            Self::Sliding(length) => Some(length),
            Self::Day => Some(TimeDelta::days(1) + SET_BACK),
            Self::Week => Some(TimeDelta::days(7) + SET_BACK),
            Self::Month => Some(TimeDelta::days(31) + SET_BACK),
            Self::All => None,
        }
    }

    /// The first day of the calendar period behind the one that begins on `day`.
    fn next(self, day: NaiveDate) -> Option<NaiveDate> {
        match self {
            Self::Day => day.succ_opt(),
            Self::Week => day.checked_add_days(Days::new(7)),
            Self::Month => day.checked_add_months(Months::new(1)),
            Self::Sliding(_) | Self::All => None,
        }
    }
}

#[cfg(test)]
mod tests;
