//! The time zone of a policy: the moment of a date or local time of an offer.

use chrono::{DateTime, MappedLocalTime, NaiveDateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};

use document::{Table, WrittenTime, closest};

/// Which of two moments is chosen if the clocks of a zone show a local time twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ambiguity {
    /// For a start.
    Earlier,
    /// For an end.
    Later,
}

/// Reads `time_zone`; UTC if it is absent.
pub(super) fn read_zone(root: &Table<'_, '_>) -> Tz {
    let Some(name) = root.optional::<String>("time_zone") else { return Tz::UTC };
    name.parse().unwrap_or_else(|_| {
        let message = format!(
            "`time_zone`: unknown time zone {name:?}; use a name of the IANA database, such as \"Europe/Berlin\"{}",
            similar(&name)
        );
        root.problem_at("time_zone", message);
        Tz::UTC
    })
}

/// Suggests a zone: people mistype a city or omit the continent.
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

/// The moment under `key`. A time without an offset is in `zone`. A local time that the clocks skip is the moment of
/// the skip. For one that they show twice, `ambiguity` chooses.
pub(super) fn moment(
    table: &Table<'_, '_>,
    key: &str,
    zone: Tz,
    ambiguity: Ambiguity,
) -> Option<DateTime<Utc>> {
    match table.optional(key)? {
        WrittenTime::Moment(moment) => Some(moment),
        WrittenTime::Local(local) => {
            let moment = resolve(local, zone, ambiguity);
            if moment.is_none() {
                table.problem_at(
                    key,
                    format!("`{key}` is not a valid time in {zone}; write it with an offset"),
                );
            }
            moment
        }
    }
}

pub(super) fn resolve(local: NaiveDateTime, zone: Tz, ambiguity: Ambiguity) -> Option<DateTime<Utc>> {
    let found = match zone.from_local_datetime(&local) {
        MappedLocalTime::Single(moment) => moment,
        MappedLocalTime::Ambiguous(earlier, later) => match ambiguity {
            Ambiguity::Earlier => earlier,
            Ambiguity::Later => later,
        },
        MappedLocalTime::None => return after_gap(local, zone),
    };
    Some(found.with_timezone(&Utc))
}

/// The first moment after the gap that `local` is in. A zone skips at most a whole day.
fn after_gap(local: NaiveDateTime, zone: Tz) -> Option<DateTime<Utc>> {
    let exists = |minutes: i64| {
        let shifted = local.checked_add_signed(TimeDelta::minutes(minutes))?;
        zone.from_local_datetime(&shifted).earliest()
    };
    // Gaps end on a whole minute in every zone since 1972.
    let whole = |minutes: i64| {
        let seconds = local.and_utc().timestamp().rem_euclid(60);
        let nanoseconds = i64::from(local.and_utc().timestamp_subsec_nanos());
        exists(minutes)
            .map(|moment| moment - TimeDelta::seconds(seconds) - TimeDelta::nanoseconds(nanoseconds))
    };
    (1..=48 * 60).find_map(whole).map(|moment| moment.with_timezone(&Utc))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use document::Document;

    fn at(zone: &str, local: &str, ambiguity: Ambiguity) -> String {
        let zone: Tz = zone.parse().unwrap();
        resolve(local.parse().unwrap(), zone, ambiguity).unwrap().to_rfc3339()
    }

    #[test]
    fn a_local_time_is_read_in_the_zone() {
        assert_eq!(
            at("Europe/Berlin", "2026-07-01T00:00:00", Ambiguity::Earlier),
            "2026-06-30T22:00:00+00:00"
        );
        assert_eq!(
            at("Europe/Berlin", "2026-01-01T00:00:00", Ambiguity::Earlier),
            "2025-12-31T23:00:00+00:00"
        );
        assert_eq!(at("UTC", "2026-07-01T00:00:00", Ambiguity::Earlier), "2026-07-01T00:00:00+00:00");
    }

    #[test]
    fn a_skipped_local_time_is_the_moment_of_the_skip() {
        // At 02:00 the clocks jump to 03:00.
        for local in ["2026-03-29T02:00:00", "2026-03-29T02:30:17", "2026-03-29T02:59:59.5"] {
            assert_eq!(at("Europe/Berlin", local, Ambiguity::Later), "2026-03-29T01:00:00+00:00", "{local}");
        }
        // Midnight is skipped.
        assert_eq!(
            at("America/Santiago", "2026-09-06T00:00:00", Ambiguity::Earlier),
            "2026-09-06T04:00:00+00:00"
        );
        // A whole day is skipped.
        assert_eq!(
            at("Pacific/Apia", "2011-12-30T12:00:00", Ambiguity::Earlier),
            "2011-12-30T10:00:00+00:00"
        );
    }

    #[test]
    fn an_ambiguous_local_time_begins_early_and_ends_late() {
        let twice = "2026-10-25T02:30:00";
        assert_eq!(at("Europe/Berlin", twice, Ambiguity::Earlier), "2026-10-25T00:30:00+00:00");
        assert_eq!(at("Europe/Berlin", twice, Ambiguity::Later), "2026-10-25T01:30:00+00:00");
    }

    #[test]
    fn an_unknown_zone_is_refused_with_a_suggestion() {
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
            // Choosing the later moment for the end keeps start and end in order.
            let local = |seconds| DateTime::from_timestamp(seconds, 0).unwrap().naive_utc();
            let from = resolve(local(seconds), zone, Ambiguity::Earlier).unwrap();
            let until = resolve(local(seconds + after), zone, Ambiguity::Later).unwrap();
            prop_assert!(from <= until, "{from} {until}");
        }
    }
}
