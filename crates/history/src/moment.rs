//! Moments as history keeps them: whole milliseconds since the beginning of 2020.

use chrono::{DateTime, TimeDelta, Utc};

/// Milliseconds since 2020-01-01T00:00:00Z, or a length in milliseconds.
pub(crate) type Millis = i64;

/// 2020-01-01T00:00:00Z, in milliseconds since 1970.
const EPOCH: Millis = 1_577_836_800_000;

/// The last moment of an entry, which has 40 bits for it: in November 2054.
pub(crate) const LAST: Millis = (1 << 40) - 1;

/// Later than every moment.
pub(crate) const NEVER: Millis = Millis::MAX;

/// The milliseconds of a moment, rounded down. Moments before 2020 are the beginning of 2020, and those behind
/// [`LAST`] are [`LAST`]: what is counted and the clock that asks are cut alike, so that nothing is counted too
/// short.
pub(crate) fn millis(moment: DateTime<Utc>) -> Millis {
    moment.timestamp_millis().saturating_sub(EPOCH).clamp(0, LAST)
}

/// The end of a period: [`NEVER`] behind [`LAST`], where no clock of this module ever is.
pub(crate) fn bound(moment: DateTime<Utc>) -> Millis {
    Some(moment.timestamp_millis().saturating_sub(EPOCH)).filter(|bound| *bound <= LAST).unwrap_or(NEVER)
}

/// The moment; `None` for [`NEVER`] and what no clock shows.
pub(crate) fn moment(millis: Millis) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_millis(millis.checked_add(EPOCH)?)
}

/// Milliseconds since 1970, as records have them.
pub(crate) fn since_1970(millis: Millis) -> i64 {
    millis.saturating_add(EPOCH)
}

/// The moment of milliseconds since 1970.
pub(crate) fn of_1970(millis: i64) -> Millis {
    millis.saturating_sub(EPOCH)
}

/// A length in milliseconds.
pub(crate) fn length(length: TimeDelta) -> Millis {
    length.num_milliseconds()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_kept_to_the_millisecond() {
        let written: DateTime<Utc> = "2026-11-30T14:25:39.123999Z".parse().unwrap();
        let kept = moment(millis(written)).unwrap();
        assert_eq!(kept.to_rfc3339(), "2026-11-30T14:25:39.123+00:00");
        assert_eq!(moment(NEVER), None);
    }

    #[test]
    fn moments_out_of_reach_are_the_first_and_the_last() {
        assert_eq!(millis(DateTime::<Utc>::MIN_UTC), 0);
        assert_eq!(millis(DateTime::<Utc>::MAX_UTC), LAST);
        assert_eq!(moment(LAST).unwrap().to_rfc3339(), "2054-11-03T19:53:47.775+00:00");
    }
}
