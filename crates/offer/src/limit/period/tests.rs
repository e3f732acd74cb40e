//! Bounds of periods against dates on the clocks of a zone.

use chrono::{Datelike, IsoWeek, TimeZone};
use chrono_tz::{Europe, TZ_VARIANTS};
use proptest::prelude::*;

use super::*;

/// 2000-01-01 to 2037-01-01, within which the rules of all zones are known.
const SECONDS: std::ops::Range<i64> = 946_684_800..2_114_380_800;

const CALENDAR: [Period; 3] = [Period::Day, Period::Week, Period::Month];

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// Checks the bounds of the period that contains `now`, in Berlin, both as its clocks show them.
fn check(period: Period, now: &str, (start, end): (&str, &str)) {
    let local = |text: &str| Europe::Berlin.from_local_datetime(&text.parse().unwrap()).unwrap().to_utc();
    let expected = (local(start), local(end));
    assert_eq!(period.bounds(at(now), Europe::Berlin), expected, "{now}");
}

#[test]
fn a_day_is_that_of_the_zone() {
    let day = ("2026-01-15T00:00:00", "2026-01-16T00:00:00");
    check(Period::Day, "2026-01-14T23:00:00Z", day);
    check(Period::Day, "2026-01-15T22:59:59.999Z", day);
    check(Period::Day, "2026-01-15T23:00:00Z", ("2026-01-16T00:00:00", "2026-01-17T00:00:00"));
}

#[test]
fn the_day_on_which_clocks_are_set_forward_has_23_hours() {
    let day = ("2026-03-29T00:00:00", "2026-03-30T00:00:00");
    for now in
        ["2026-03-28T23:00:00Z", "2026-03-29T00:59:59Z", "2026-03-29T01:00:00Z", "2026-03-29T21:59:59Z"]
    {
        check(Period::Day, now, day);
    }
    let (start, end) = Period::Day.bounds(at("2026-03-29T12:00:00Z"), Europe::Berlin);
    assert_eq!(end - start, TimeDelta::hours(23));
}

#[test]
fn the_day_on_which_clocks_are_set_back_has_25_hours() {
    let day = ("2026-10-25T00:00:00", "2026-10-26T00:00:00");
    // The hour from 02:00 is shown twice, from 00:00 and from 01:00 UTC.
    for now in
        ["2026-10-24T22:00:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25T22:59:59Z"]
    {
        check(Period::Day, now, day);
    }
    let (start, end) = Period::Day.bounds(at("2026-10-25T12:00:00Z"), Europe::Berlin);
    assert_eq!(end - start, TimeDelta::hours(25));
}

#[test]
fn a_week_begins_on_monday() {
    // 2026-03-29 is a Sunday.
    let week = ("2026-03-23T00:00:00", "2026-03-30T00:00:00");
    check(Period::Week, "2026-03-22T23:00:00Z", week);
    check(Period::Week, "2026-03-29T21:59:59Z", week);
    check(Period::Week, "2026-03-29T22:00:00Z", ("2026-03-30T00:00:00", "2026-04-06T00:00:00"));
    let (start, end) = Period::Week.bounds(at("2026-03-25T00:00:00Z"), Europe::Berlin);
    assert_eq!(end - start, TimeDelta::hours(7 * 24 - 1));
    // The first days of 2027 are in the last ISO week of 2026.
    check(Period::Week, "2027-01-02T12:00:00Z", ("2026-12-28T00:00:00", "2027-01-04T00:00:00"));
}

#[test]
fn a_month_has_the_days_of_the_calendar() {
    check(Period::Month, "2026-10-31T23:00:00Z", ("2026-11-01T00:00:00", "2026-12-01T00:00:00"));
    check(Period::Month, "2026-10-31T22:59:59Z", ("2026-10-01T00:00:00", "2026-11-01T00:00:00"));
    check(Period::Month, "2028-02-29T12:00:00Z", ("2028-02-01T00:00:00", "2028-03-01T00:00:00"));
    check(Period::Month, "2026-12-31T22:59:59Z", ("2026-12-01T00:00:00", "2027-01-01T00:00:00"));
    let (start, end) = Period::Month.bounds(at("2026-03-01T12:00:00Z"), Europe::Berlin);
    assert_eq!(end - start, TimeDelta::hours(31 * 24 - 1));
}

#[test]
fn a_sliding_period_has_one_length_and_all_time_has_no_bounds() {
    let now = at("2026-03-29T12:00:00Z");
    let week = Period::Sliding(TimeDelta::days(7));
    assert_eq!(week.bounds(now, Europe::Berlin), (at("2026-03-22T12:00:00Z"), DateTime::<Utc>::MAX_UTC));
    let all = (DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC);
    assert_eq!(Period::All.bounds(now, Europe::Berlin), all);
    assert_eq!((week.longest(), Period::All.longest()), (Some(TimeDelta::days(7)), None));
}

#[test]
fn clocks_that_are_set_back_over_midnight_begin_one_day_once() {
    // At 00:01 on 7 November 2010 the clocks were set back to 23:01 of the day before.
    let zone = chrono_tz::America::St_Johns;
    let day = (at("2010-11-07T02:30:00Z"), at("2010-11-08T03:30:00Z"));
    for now in ["2010-11-07T02:30:30Z", "2010-11-07T02:45:00Z", "2010-11-07T03:30:00Z"] {
        assert_eq!(Period::Day.bounds(at(now), zone), day, "{now}");
    }
    assert_eq!(Period::Day.bounds(at("2010-11-07T02:29:59Z"), zone).1, day.0);
}

#[test]
fn a_day_that_a_zone_skips_is_no_period() {
    // Samoa had no 30 December 2011.
    let zone = chrono_tz::Pacific::Apia;
    let (_, end) = Period::Day.bounds(at("2011-12-30T09:00:00Z"), zone);
    assert_eq!(end, at("2011-12-30T10:00:00Z"));
    assert_eq!(Period::Day.bounds(end, zone), (end, at("2011-12-31T10:00:00Z")));
}

/// What moments of one period have in common: the date, the ISO week or the month that the clocks of `zone` show.
fn shown(
    period: Period,
    now: DateTime<Utc>,
    zone: Tz,
) -> (Option<NaiveDate>, Option<IsoWeek>, Option<(i32, u32)>) {
    let date = now.with_timezone(&zone).date_naive();
    match period {
        Period::Day => (Some(date), None, None),
        Period::Week => (None, Some(date.iso_week()), None),
        Period::Month => (None, None, Some((date.year(), date.month()))),
        Period::Sliding(_) | Period::All => (None, None, None),
    }
}

/// The first moment from `now` on, in steps of 15 minutes in the direction of `step`, that is in another period.
fn other(period: Period, now: DateTime<Utc>, step: i64) -> DateTime<Utc> {
    let steps = (1..).map(|steps| now + TimeDelta::minutes(15 * step * steps));
    let same = shown(period, now, Europe::Berlin);
    steps.into_iter().find(|moment| shown(period, *moment, Europe::Berlin) != same).unwrap()
}

proptest! {
    #[test]
    fn periods_in_berlin_are_as_a_calendar_shows_them(
        seconds in SECONDS,
        period in prop::sample::select(&CALENDAR[..]),
    ) {
        // Clocks are set at full hours, so quarters of an hour never step over a boundary.
        let now = DateTime::from_timestamp(seconds / 900 * 900, 0).unwrap();
        let (start, end) = period.bounds(now, Europe::Berlin);
        prop_assert_eq!(start, other(period, now, -1) + TimeDelta::minutes(15));
        prop_assert_eq!(end, other(period, now, 1));
    }

    #[test]
    fn periods_of_every_zone_follow_each_other_without_gap_or_overlap(
        zone in prop::sample::select(&TZ_VARIANTS[..]),
        seconds in SECONDS,
        millis in 0..1_000_i64,
        period in prop::sample::select(&CALENDAR[..]),
    ) {
        let now = DateTime::from_timestamp_millis(seconds * 1_000 + millis).unwrap();
        let (start, end) = period.bounds(now, zone);
        prop_assert!(start <= now && now < end, "{start} {now} {end}");
        let instant = TimeDelta::nanoseconds(1);
        for moment in [start, start + (end - start) / 2, end - instant] {
            prop_assert_eq!(period.bounds(moment, zone), (start, end), "{}", moment);
        }
        prop_assert_eq!(period.bounds(end, zone).0, end);
        prop_assert_eq!(period.bounds(start - instant, zone).1, start);
        prop_assert!(end - start <= period.longest().unwrap(), "{start} {end}");
    }

    #[test]
    fn an_event_leaves_a_sliding_period_one_length_after_it_happened(
        seconds in SECONDS,
        length in 1_000..315_360_000_000_i64,
        age in 0..400_000_000_000_i64,
    ) {
        let (event, length) = (DateTime::from_timestamp(seconds, 0).unwrap(), TimeDelta::milliseconds(length));
        let counts = |now| event > Period::Sliding(length).bounds(now, Europe::Berlin).0;
        let age = TimeDelta::milliseconds(age);
        prop_assert_eq!(counts(event + age), age < length);
        prop_assert!(!counts(event + length));
        prop_assert!(counts(event + length - TimeDelta::milliseconds(1)));
    }
}
