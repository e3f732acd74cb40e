//! A view that is read from a record gives the gates of the view that it was written from.

use chrono::{DateTime, TimeDelta, Utc};
use event::proto::SeenHistory;
use offer::{Catalog, OfferIndex};
use proptest::prelude::*;
use prost::Message;
use uuid::Uuid;

use super::catalogs::{World, noon, placement_of};
use super::oracle::later;
use crate::{Beyond, HistoryView, LimitBlocked, Limits, Outcome, Place, Spend, TotalLimit, Transaction};

const POLICY: &str = "
[[outcome]]
id = \"praise\"
kind = \"positive\"
[[contact_limit]]
id = \"emails\"
channels = [\"email\"]
limit = 2
per = \"3d\"
count = \"decision\"
[[contact_limit]]
id = \"loans\"
categories = [\"loans\"]
limit = 3
per = \"week\"
count = \"impression\"
[[contact_limit]]
id = \"home\"
placements = [\"home\"]
limit = 4
per = \"day\"
count = \"decision\"
[[suppression]]
id = \"dismissed\"
after = { outcome = \"dismiss\", times = 2, within = \"5d\" }
pause = \"9d\"
scope = \"category\"
[[suppression]]
id = \"complained\"
after = { outcome = \"complaint\", times = 1, within = \"1h\" }
pause = \"2d\"
scope = \"all\"
";

const OFFERS: [&str; 6] = [
    "cap_customer = { limit = 2, per = \"4d\", count = \"decision\" }",
    "cap_total = { limit = 4, per = \"2d\", count = \"accept\", reserve = \"5h\" }",
    "cost = 2.0\nbudget = { amount = 9.0, per = \"week\", count = \"accept\", spends = \"cost\", reserve = \"2d\" }",
    "cap_customer = { limit = 0, per = \"1d\", count = \"accept\" }",
    "cap_total = { limit = 2, per = \"all\", count = \"decision\" }\nvalue = 3.0\n\
     budget = { amount = 900.0, per = \"month\", count = \"accept\", spends = \"value\", pacing = \"even\" }",
    "",
];

const CUSTOMERS: [&str; 3] = ["a", "b", ""];

const TYPES: [&str; 7] =
    ["dismiss", "impression", "accept", "complaint", "opt_out", "click", "heard_of_nowhere"];

/// A history of decisions and outcomes, some of them of offers and places that no release has.
fn lived(steps: &[(u16, usize, usize, bool)]) -> (World, DateTime<Utc>) {
    let (world, mut now) = (World::new(&OFFERS, POLICY), noon());
    let all = world.all();
    for (number, (step, pick, kind, flag)) in steps.iter().enumerate() {
        now = later(now, *step);
        let (customer, channel) = (CUSTOMERS[pick % 3], ["app", "email"][usize::from(*flag)]);
        let id = Uuid::from_u128(number as u128);
        if *kind < 4 {
            let place = world.place(channel);
            let mut one = Transaction::begin(&world.history, &world.limits, id, customer, place, now);
            one.show_what_fits(&[all[pick % 6], all[(pick + 1) % 6]]);
            one.keep();
            continue;
        }
        let gone = pick % 7 == 0;
        world.history.record_outcome(&Outcome {
            event_id: &number.to_string(),
            decision: None,
            customer,
            offer: if gone { "an_offer_that_is_gone" } else { world.id(all[pick % 6]) },
            placement: if gone { "elsewhere" } else { placement_of(channel) },
            channel: if pick % 11 == 0 { "" } else { channel },
            outcome: TYPES[kind % 7],
            spend: Spend::default(),
            // Late by up to two days, or ahead of the clock.
            occurred_at: now - TimeDelta::minutes(i64::from(*step) % 2_880 - 5),
            recorded_at: now,
        });
    }
    (world, now)
}

fn life() -> impl Strategy<Value = Vec<(u16, usize, usize, bool)>> {
    prop::collection::vec((any::<u16>(), 0..1_000_usize, 0..40_usize, any::<bool>()), 1..80)
}

/// What a view says of every offer, as an offer and as a fallback.
fn gates(
    limits: &Limits,
    view: &HistoryView,
    place: Place,
    offers: &[OfferIndex],
) -> Vec<[Option<LimitBlocked>; 2]> {
    let gate = limits.gate(view, 0, place);
    offers.iter().map(|offer| [gate.withholds(*offer), gate.fallback_withholds(*offer)]).collect()
}

fn seen(world: &World, view: &HistoryView, place: Place, now: DateTime<Utc>) -> Option<SeenHistory> {
    view.seen(&world.limits, 0, place, world.all(), now)
}

proptest! {
    #[test]
    fn a_view_of_a_record_gives_the_same_gates(steps in life(), minutes in 0..20_000_i64, micros in 0..999_i64) {
        let (world, last) = lived(&steps);
        let again = World::of(world.catalog.clone());
        for now in [last, last + TimeDelta::minutes(minutes) + TimeDelta::microseconds(micros)] {
            for (customer, channel) in CUSTOMERS.into_iter().flat_map(|one| [(one, "app"), (one, "email")]) {
                let view = world.history.view(&world.limits, [customer], now);
                let (place, place_again) = (world.place(channel), again.place(channel));
                let seen = seen(&world, &view, place, now);
                let encoded = seen.as_ref().map(Message::encode_to_vec);
                let read = encoded.as_deref().map(|bytes| SeenHistory::decode(bytes).unwrap());
                prop_assert_eq!(&read, &seen);
                let found = HistoryView::of_record(read.as_ref(), &again.limits, now, |_, _| true).unwrap();
                prop_assert_eq!(found.has_opted_out(0), view.has_opted_out(0));
                prop_assert_eq!(
                    gates(&again.limits, &found, place_again, &again.all()),
                    gates(&world.limits, &view, place, &world.all()),
                    "{:?} {} {} {:?}", customer, channel, now, seen
                );
                // What no limit looks at is not there.
                let entries = seen.as_ref().map_or(0, |seen| seen.events.len());
                prop_assert!(entries <= view.entry_count(0));
                let kinds = seen.iter().flat_map(|seen| seen.unpacked(now.timestamp_micros()).unwrap().kinds);
                for kind in kinds.collect::<Vec<_>>() {
                    let looked_at = ["decision", "dismiss", "impression", "complaint", "accept"];
                    prop_assert!(looked_at.contains(&kind.event_type.text()), "{:?}", kind);
                }
            }
        }
    }

    #[test]
    fn a_copy_begins_as_its_original_and_goes_on_alone(steps in life(), minutes in 0..6_000_i64) {
        let (world, last) = lived(&steps);
        let now = last + TimeDelta::minutes(minutes);
        let history = std::sync::Arc::new(world.history.copied());
        let limits = std::sync::Arc::new(Limits::new(&history, &world.catalog, last).unwrap());
        let copy = World { history, limits, catalog: world.catalog.clone() };
        prop_assert_eq!(super::rebuilt::dump(&world, now), super::rebuilt::dump(&copy, now));
        let before = super::rebuilt::dump(&world, now);
        for customer in CUSTOMERS {
            let views = [&world, &copy].map(|one| one.history.view(&one.limits, [customer], now));
            let found = [(&world, &views[0]), (&copy, &views[1])]
                .map(|(one, view)| gates(&one.limits, view, one.place("app"), &one.all()));
            prop_assert_eq!(&found[0], &found[1]);
        }
        for customer in CUSTOMERS {
            let (id, place) = (Uuid::from_u128(1_000), copy.place("app"));
            let mut one = Transaction::begin(&copy.history, &copy.limits, id, customer, place, now);
            one.show_what_fits(&copy.all());
            one.keep();
        }
        prop_assert_eq!(super::rebuilt::dump(&world, now), before);
    }
}

#[test]
fn nothing_is_recorded_of_a_customer_of_whom_nothing_is_known() {
    let world = World::new(&OFFERS, POLICY);
    let view = world.history.view(&world.limits, ["a"], noon());
    assert_eq!(seen(&world, &view, world.place("app"), noon()), None);
}

#[test]
fn an_event_takes_few_bytes_in_a_record() {
    let world = World::new(&OFFERS, POLICY);
    let record = |events: i64| {
        for day in 0..events {
            world.history.record_outcome(&Outcome {
                event_id: "",
                decision: None,
                customer: "a",
                offer: "o1",
                placement: "home",
                channel: "app",
                outcome: "dismiss",
                spend: Spend::default(),
                occurred_at: noon() - TimeDelta::milliseconds(day * 54_321_987),
                recorded_at: noon(),
            });
        }
        let view = world.history.view(&world.limits, ["a"], noon());
        seen(&world, &view, world.place("app"), noon()).unwrap().encoded_len()
    };
    let one = record(1);
    assert!(one < 50, "{one}");
    assert!(record(19) - one <= 19 * 6);
}

#[test]
fn what_is_shown_counts_for_totals_alone_where_that_is_wanted() {
    let world = World::new(&OFFERS, POLICY);
    let all = world.all();
    let (place, used) = (world.place("app"), |world: &World| {
        world.limits.usage(noon()).iter().map(|one| one.confirmed + one.reserved).collect::<Vec<_>>()
    });
    for number in 0..2 {
        let id = Uuid::from_u128(number);
        let mut one = Transaction::begin(&world.history, &world.limits, id, "a", place, noon());
        one.show(&[all[1], all[4]]).unwrap();
        let mut other =
            Transaction::begin(&world.history, &world.limits, Uuid::from_u128(9), "a", place, noon());
        other.show_what_fits(&[all[5]]);
        assert_eq!(world.history.customer("a").unwrap().entries.len(), 3);
        one.keep_totals();
        other.keep_totals();
        assert_eq!(world.history.customer("a"), None);
    }
    assert_eq!((world.history.size().customers, used(&world)), (0, vec![2, 0, 2, 6_000_000]));
    let view = world.history.view(&world.limits, ["b"], noon());
    assert!(world.limits.gate(&view, 0, place).withholds(all[4]).is_some());
}

/// The same limits but for what is replaced.
fn changed(from: &str, to: &str) -> Catalog {
    let offers = OFFERS.map(|keys| keys.replace(from, to));
    let offers: Vec<&str> = offers.iter().map(String::as_str).collect();
    let policy = POLICY.replace(from, to);
    assert!(policy != POLICY || offers != OFFERS, "{from}");
    super::catalogs::catalog(&offers, &policy)
}

#[test]
fn limits_that_look_at_more_are_named() {
    let base = World::new(&OFFERS, POLICY);
    let beyond = |channel: &str, from: &str, to: &str| {
        let catalog = changed(from, to);
        let limits = Limits::new(&base.history, &catalog, noon()).unwrap();
        let placement = catalog.policy.find_placement(placement_of(channel)).unwrap();
        let found =
            limits.beyond(&catalog, limits.place(placement, channel), &base.limits, base.place(channel));
        found.into_iter().map(|Beyond { limit, .. }| limit).collect::<Vec<_>>()
    };
    let none: [&str; 0] = [];
    // Fewer, more and others of what was looked at anyway.
    assert_eq!(beyond("app", "limit = 4\nper = \"day\"", "limit = 9\nper = \"day\""), none);
    assert_eq!(beyond("email", "limit = 2\nper = \"3d\"", "limit = 1\nper = \"4d\""), none);
    // Further back than anything looked at that type there.
    assert_eq!(
        beyond("email", "limit = 2\nper = \"3d\"", "limit = 2\nper = \"5d\""),
        ["contact limit `emails`"]
    );
    assert_eq!(beyond("app", "limit = 2\nper = \"3d\"", "limit = 2\nper = \"5d\""), none);
    assert_eq!(beyond("app", "per = \"week\"", "per = \"month\""), ["contact limit `loans`"]);
    assert_eq!(beyond("app", "pause = \"9d\"", "pause = \"10d\""), ["suppression `dismissed`"]);
    assert_eq!(
        beyond("app", "outcome = \"complaint\"", "outcome = \"praise\""),
        ["suppression `complained`"]
    );
    assert_eq!(
        beyond("app", "limit = 0, per = \"1d\"", "limit = 0, per = \"2d\""),
        ["`cap_customer` of `o3`"]
    );
}

#[test]
fn a_total_of_another_release_is_known_where_it_is_the_same() {
    let base = World::new(&OFFERS, POLICY);
    let offer = OfferIndex::new;
    let shares = |from: &str, to: &str| {
        let catalog = changed(from, to);
        let limits = Limits::new(&base.history, &catalog, noon()).unwrap();
        let all = limits.totals_of(&catalog, base.all()).map(|(limit, one)| (limit, one.offer.unwrap()));
        let known =
            |(limit, offer): &(TotalLimit, OfferIndex)| limits.shares_total(*offer, *limit, &base.limits);
        all.filter(known).collect::<Vec<_>>()
    };
    let (cap, budget) = (TotalLimit::Cap, TotalLimit::Budget);
    let all = [(cap, offer(1)), (budget, offer(2)), (cap, offer(4)), (budget, offer(4))];
    assert_eq!(shares("limit = 4\nper = \"day\"", "limit = 9\nper = \"day\""), all);
    assert_eq!(shares("limit = 4, per = \"2d\"", "limit = 5, per = \"2d\""), all[1..]);
    assert_eq!(shares("cost = 2.0", "cost = 2.5"), [all[0], all[2], all[3]]);
    assert_eq!(shares("pacing = \"even\"", "pacing = \"fast\""), all[..3]);
}
