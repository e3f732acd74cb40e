//! A clock that is set back or ahead.

use chrono::{DateTime, TimeDelta, Utc};
use offer::{OfferIndex, Period};
use proptest::prelude::*;
use uuid::Uuid;

use super::catalogs::{World, noon};
use crate::Transaction;

const POLICY: &str = "
[[contact_limit]]
id = \"sliding\"
limit = 2
per = \"3h\"
count = \"decision\"
[[contact_limit]]
id = \"daily\"
limit = 5
per = \"day\"
count = \"decision\"
";

proptest! {
    #[test]
    fn no_window_of_what_was_recorded_ever_has_more_than_the_limit(
        steps in prop::collection::vec((-70..70_i64, any::<bool>()), 1..120),
    ) {
        let world = World::new(&["cap_customer = { limit = 1, per = \"2h\", count = \"decision\" }", ""], POLICY);
        let mut now = noon() + TimeDelta::hours(9);
        let (mut moments, mut capped): (Vec<DateTime<Utc>>, Vec<DateTime<Utc>>) = (Vec::new(), Vec::new());
        for (number, (minutes, second)) in steps.into_iter().enumerate() {
            now += TimeDelta::minutes(minutes);
            let offer = OfferIndex::new(usize::from(second));
            let id = Uuid::from_u128(number as u128);
            let place = world.place("app");
            let mut one = Transaction::begin(&world.history, &world.limits, id, "a", place, now);
            // What the gate of the same moment says holds.
            let view = world.history.view(&world.limits, ["a"], now);
            let blocked = world.limits.gate(&view, 0, place).withholds(offer);
            prop_assert_eq!(one.show(&[offer]).is_ok(), blocked.is_none());
            if blocked.is_none() {
                one.keep();
                moments.push(now);
                if !second {
                    capped.push(now);
                }
            }
        }
        let within = |moments: &[DateTime<Utc>], length: TimeDelta| {
            let at = |end: &DateTime<Utc>| moments.iter().filter(|at| **at <= *end && *end - **at < length).count();
            moments.iter().map(at).max().unwrap_or(0)
        };
        prop_assert!(within(&moments, TimeDelta::hours(3)) <= 2);
        prop_assert!(within(&capped, TimeDelta::hours(2)) <= 1);
        for moment in &moments {
            let (from, until) = Period::Day.bounds(*moment, chrono_tz::Europe::Berlin);
            prop_assert!(moments.iter().filter(|at| (from..until).contains(*at)).count() <= 5);
        }
        prop_assert!(!moments.is_empty());
    }
}

#[test]
fn an_hour_back_frees_nothing_and_an_hour_ahead_passes() {
    let world = World::new(&[""], POLICY);
    let place = world.place("app");
    let show = |now, number| {
        let id = Uuid::from_u128(number);
        let mut one = Transaction::begin(&world.history, &world.limits, id, "a", place, now);
        let shown = one.show(&[OfferIndex::new(0)]).is_ok();
        if shown {
            one.keep();
        }
        shown
    };
    let hour = TimeDelta::hours(1);
    assert!(show(noon(), 1) && show(noon() + hour, 2));
    assert!(!show(noon(), 3), "the clock is back, and both count");
    assert!(!show(noon() - TimeDelta::hours(20), 4), "events ahead of the clock count");
    assert!(show(noon() + hour * 3, 5), "the first no longer counts");
    // Clocks that no machine shows do no harm.
    for now in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC, DateTime::UNIX_EPOCH] {
        show(now, 6);
        world.history.expire(now, TimeDelta::MAX);
        world.history.expire(now, TimeDelta::zero());
    }
}
