//! The time zone of a policy: which moment a date or a local time of an offer is.

use chrono::{DateTime, MappedLocalTime, NaiveDateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};

use crate::document::{Table, WrittenTime, closest};

/// Of a moment that the clocks of a zone show twice, the one that is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Twice {
    /// For a beginning.
    Earlier,
    /// For an end.
    Later,
}

/// Reads `time_zone`; UTC where it is absent.
pub(super) fn read_zone(root: &Table<'_, '_>) -> Tz {
    let Some(name) = root.optional::<String>("time_zone") else { return Tz::UTC };
    name.parse().unwrap_or_else(|_| {
        let message = format!(
            "`time_zone`: there is no time zone {name:?}; name one of the IANA database, such as \"Europe/Berlin\"{}",
            similar(&name)
        );
        root.problem_at("time_zone", message);
        Tz::UTC
    })
}

/// People mistype a city or leave the continent out.
fn similar(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    let city = |zone: &'static str| zone.rsplit('/').next().unwrap_or(zone).to_ascii_lowercase();
    let all = || TZ_VARIANTS.iter().map(|zone| zone.name());
    let exact = all().find(|zone| zone.to_ascii_lowercase() == lower || city(zone) == lower);
    exact
        .or_else(|| closest(name, all()))
        .map(|found| format!("; did you mean `{found}`?"))
        .unwrap_or_default()
}

/// The moment under `key`. What has no offset is read in `zone`. A time that the clocks of the zone skip is the moment at which they
/// skip it; of one that they show twice, `twice` says which.
pub(super) fn moment(table: &Table<'_, '_>, key: &str, zone: Tz, twice: Twice) -> Option<DateTime<Utc>> {
    match table.optional(key)? {
        WrittenTime::Moment(moment) => Some(moment),
        WrittenTime::Local(local) => {
            let moment = resolve(local, zone, twice);
            if moment.is_none() {
                table.problem_at(key, format!("`{key}` is no time that {zone} has; write it with an offset"));
            }
            moment
        }
    }
}

fn resolve(local: NaiveDateTime, zone: Tz, twice: Twice) -> Option<DateTime<Utc>> {
    let found = match zone.from_local_datetime(&local) {
        MappedLocalTime::Single(moment) => moment,
        MappedLocalTime::Ambiguous(earlier, later) => match twice {
            Twice::Earlier => earlier,
            Twice::Later => later,
        },
        MappedLocalTime::None => return after_gap(local, zone),
    };
    Some(found.with_timezone(&Utc))
}

/// The first moment after the gap that `local` lies in. A zone may skip a whole day, and no more.
fn after_gap(local: NaiveDateTime, zone: Tz) -> Option<DateTime<Utc>> {
    let is_there = |minutes: i64| {
        let shifted = local.checked_add_signed(TimeDelta::minutes(minutes))?;
        zone.from_local_datetime(&shifted).earliest()
    };
    // Gaps end on a whole minute in every zone since 1972.
    let whole = |minutes: i64| {
        let seconds = local.and_utc().timestamp().rem_euclid(60);
        let nanoseconds = i64::from(local.and_utc().timestamp_subsec_nanos());
        is_there(minutes)
            .map(|moment| moment - TimeDelta::seconds(seconds) - TimeDelta::nanoseconds(nanoseconds))
    };
    (1..=48 * 60).find_map(whole).map(|moment| moment.with_timezone(&Utc))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::document::Document;

    fn at(zone: &str, local: &str, twice: Twice) -> String {
        let zone: Tz = zone.parse().unwrap();
        resolve(local.parse().unwrap(), zone, twice).unwrap().to_rfc3339()
    }

    #[test]
    fn a_local_time_is_read_in_the_zone() {
        assert_eq!(at("Europe/Berlin", "2026-07-01T00:00:00", Twice::Earlier), "2026-06-30T22:00:00+00:00");
        assert_eq!(at("Europe/Berlin", "2026-01-01T00:00:00", Twice::Earlier), "2025-12-31T23:00:00+00:00");
        assert_eq!(at("UTC", "2026-07-01T00:00:00", Twice::Earlier), "2026-07-01T00:00:00+00:00");
    }

    #[test]
    fn what_the_clocks_skip_is_the_moment_of_the_skip() {
        // At 02:00 it is 03:00.
        for local in ["2026-03-29T02:00:00", "2026-03-29T02:30:17", "2026-03-29T02:59:59.5"] {
            assert_eq!(at("Europe/Berlin", local, Twice::Later), "2026-03-29T01:00:00+00:00", "{local}");
        }
        // Midnight is skipped.
        assert_eq!(
            at("America/Santiago", "2026-09-06T00:00:00", Twice::Earlier),
            "2026-09-06T04:00:00+00:00"
        );
        // A whole day is.
        assert_eq!(at("Pacific/Apia", "2011-12-30T12:00:00", Twice::Earlier), "2011-12-30T10:00:00+00:00");
    }

    #[test]
    fn what_the_clocks_show_twice_begins_early_and_ends_late() {
        let twice = "2026-10-25T02:30:00";
        assert_eq!(at("Europe/Berlin", twice, Twice::Earlier), "2026-10-25T00:30:00+00:00");
        assert_eq!(at("Europe/Berlin", twice, Twice::Later), "2026-10-25T01:30:00+00:00");
    }

    #[test]
    fn an_unknown_zone_is_refused_with_the_one_that_is_meant() {
        for (name, meant) in [
            ("Europe/Berln", "Europe/Berlin"),
            ("Berlin", "Europe/Berlin"),
            ("europe/berlin", "Europe/Berlin"),
            ("Europ/Berlin", "Europe/Berlin"),
        ] {
            let text = format!("time_zone = {name:?}");
            let document = Document::parse("policy.toml", &text).unwrap();
            assert_eq!(read_zone(&document.root()), Tz::UTC);
            let problems = document.finish(()).unwrap_err().to_string();
            assert!(problems.starts_with("policy.toml:1: `time_zone`"), "{problems}");
            assert!(problems.ends_with(&format!("did you mean `{meant}`?")), "{name}: {problems}");
        }
    }

    proptest! {
        #[test]
        fn later_on_the_clock_is_never_earlier_in_time(
            zone in prop::sample::select(&TZ_VARIANTS[..]),
            seconds in 1_500_000_000_i64..2_000_000_000,
            after in 0_i64..200_000,
        ) {
            // The later one of what is shown twice keeps the order of a beginning and its end.
            let local = |seconds| DateTime::from_timestamp(seconds, 0).unwrap().naive_utc();
            let from = resolve(local(seconds), zone, Twice::Earlier).unwrap();
            let until = resolve(local(seconds + after), zone, Twice::Later).unwrap();
            prop_assert!(from <= until, "{from} {until}");
        }
    }
}
