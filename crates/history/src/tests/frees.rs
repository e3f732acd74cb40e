//! `frees_at`: at that moment, and not one millisecond before, the same limit no longer withholds.

use chrono::TimeDelta;
use proptest::prelude::*;
use uuid::Uuid;

use super::catalogs::{World, millis, noon};
use super::oracle::later;
use crate::{LimitBlocked, Outcome, Transaction};

const POLICY: &str = "
[[contact_limit]]
id = \"a_day\"
limit = 3
per = \"day\"
count = \"decision\"
[[contact_limit]]
id = \"emails\"
channels = [\"email\"]
limit = 2
per = \"7d\"
count = \"decision\"
[[contact_limit]]
id = \"impressions\"
categories = [\"cards\"]
limit = 2
per = \"5h\"
count = \"impression\"
[[suppression]]
id = \"dismissed\"
after = { outcome = \"dismiss\", times = 2, within = \"3d\" }
pause = \"4d\"
scope = \"category\"
";

const OFFERS: [&str; 5] = [
    "cap_customer = { limit = 1, per = \"week\", count = \"decision\" }",
    "cap_total = { limit = 2, per = \"day\", count = \"decision\" }",
    "cap_total = { limit = 2, per = \"3h\", count = \"accept\", reserve = \"20m\" }",
    "cost = 4.0\nbudget = { amount = 20.0, per = \"day\", count = \"accept\", spends = \"cost\", pacing = \"even\" }",
    "value = 3.0\nbudget = { amount = 7.5, per = \"2d\", count = \"decision\", spends = \"value\" }",
];

proptest! {
    #[test]
    fn limits_free_when_they_say(
        steps in prop::collection::vec((any::<u16>(), 0..5_usize, 0..4_usize, any::<bool>()), 0..40),
    ) {
        let world = World::new(&OFFERS, POLICY);
        let mut now = noon();
        for (number, (step, offer, kind, email)) in steps.into_iter().enumerate() {
            now = later(now, step);
            let (all, channel) = (world.all(), if email { "email" } else { "app" });
            let decision = Uuid::from_u128(number as u128);
            if kind < 2 {
                let place = world.place(channel);
                let mut one = Transaction::begin(&world.history, &world.limits, decision, "a", place, now);
                one.show_what_fits(&[all[offer], all[(offer + 1) % 5]]);
                one.keep();
            } else {
                let outcome = Outcome {
                    event_id: "",
                    decision: Some(Uuid::from_u128(number as u128 / 2)),
                    customer: "a",
                    offer: world.id(all[offer]),
                    placement: super::catalogs::placement_of(channel),
                    channel,
                    outcome: ["dismiss", "impression", "accept"][(kind + usize::from(email)) % 3],
                    spend: world.limits.spend(all[offer]),
                    occurred_at: now,
                    recorded_at: now,
                };
                world.history.record_outcome(&outcome);
            }
            let blocked = |at, channel, offer| -> Option<LimitBlocked> {
                let view = world.history.view(&world.limits, ["a"], at);
                world.limits.gate(&view, 0, world.place(channel)).withholds(offer)
            };
            for channel in ["app", "email"] {
                for offer in world.all() {
                    let Some(one) = blocked(now, channel, offer) else { continue };
                    let frees = one.frees_at().unwrap();
                    let same = |other: Option<LimitBlocked>| {
                        other.is_some_and(|other| {
                            (other.reason, other.id(&world.limits)) == (one.reason, one.id(&world.limits))
                        })
                    };
                    prop_assert!(frees > now);
                    prop_assert!(same(blocked(frees - millis(1), channel, offer)), "{:?} {}", one, frees);
                    prop_assert!(!same(blocked(frees, channel, offer)), "{:?} {}", one, frees);
                }
            }
        }
    }
}

#[test]
fn a_limit_of_zero_never_frees() {
    let policy = "[[contact_limit]]\nid = \"none\"\nchannels = [\"web\"]\nlimit = 0\nper = \"1d\"\ncount = \"decision\"\n";
    let caps = [
        "cap_customer = { limit = 0, per = \"1d\", count = \"decision\" }",
        "cap_total = { limit = 0, per = \"day\", count = \"decision\" }",
        "cost = 3.0\nbudget = { amount = 2.0, per = \"day\", count = \"decision\", spends = \"cost\" }",
        "cost = 3.0\nbudget = { amount = 2.0, per = \"day\", count = \"decision\", spends = \"cost\", pacing = \"even\" }",
        "",
    ];
    let world = World::new(&caps, policy);
    let view = world.history.view(&world.limits, ["a"], noon());
    for (channel, withheld) in [("app", 4), ("web", 5)] {
        let gate = world.limits.gate(&view, 0, world.place(channel));
        let blocked: Vec<_> = world.all().into_iter().filter_map(|offer| gate.withholds(offer)).collect();
        assert_eq!(blocked.len(), withheld, "{channel}");
        assert!(blocked.iter().all(|blocked| blocked.frees_at().is_none()), "{blocked:?}");
    }
}

#[test]
fn a_library_of_a_thousand_limits_gives_each_offer_its_answer() {
    let policy = "[[contact_limit]]\nid = \"none\"\ncategories = [\"loans\"]\nchannels = [\"web\"]\nlimit = 0\nper = \"1d\"\n\
                  count = \"decision\"\n";
    let customer = "cap_customer = { limit = 0, per = \"1d\", count = \"decision\" }";
    let total = "cap_total = { limit = 0, per = \"day\", count = \"decision\" }";
    let keys = |index: usize| [customer, "", total, customer, total][index % 5];
    let world = World::new(&(0..1_000).map(keys).collect::<Vec<_>>(), policy);
    let view = world.history.view(&world.limits, ["a"], noon());
    for channel in ["app", "web"] {
        let gate = world.limits.gate(&view, 0, world.place(channel));
        for offer in world.all() {
            let found = gate.withholds(offer);
            // Offers are sorted by id.
            let number: usize = world.id(offer)[1..].parse().unwrap();
            let expected = match keys(number) {
                _ if channel == "web" && number % 2 == 1 => Some("none"),
                "" => None,
                keys => Some(if keys == customer { "cap_customer" } else { "cap_total" }),
            };
            assert_eq!(found.map(|blocked| blocked.id(&world.limits)), expected, "{offer:?} on {channel}");
            assert_eq!(found, gate.asked_in_turn(offer), "{offer:?} on {channel}");
        }
    }
}

#[test]
fn a_reservation_that_lapses_is_when_it_frees() {
    let cap = "cap_total = { limit = 1, per = \"all\", count = \"accept\", reserve = \"20m\" }";
    let world = World::new(&[cap], "");
    let place = world.place("app");
    let mut one = Transaction::begin(&world.history, &world.limits, Uuid::from_u128(1), "a", place, noon());
    one.show(&world.all()).unwrap();
    let shown = one.shown();
    one.keep();
    let lapse = noon() + TimeDelta::minutes(20);
    assert_eq!(shown[0].reservations[0].until, lapse);
    let view = world.history.view(&world.limits, ["b"], noon());
    let blocked = world.limits.gate(&view, 0, place).withholds(world.all()[0]).unwrap();
    assert_eq!(blocked.frees_at(), Some(lapse));
}
