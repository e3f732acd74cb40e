//! Contact limits and customer caps, against the oracle.

use chrono::{DateTime, TimeDelta, Utc};
use offer::OfferIndex;
use proptest::prelude::*;

use super::catalogs::{World, noon};
use super::oracle::{Happened, later, withholds};
use crate::{LimitReason, Rebuild};

const CHANNELS: [&str; 3] = ["app", "web", "email"];
const OUTCOMES: [Option<&str>; 4] = [None, None, Some("impression"), Some("dismiss")];
const PERIODS: [&str; 6] = ["90m", "1d", "7d", "day", "week", "month"];
const COUNTS: [&str; 3] = ["decision", "impression", "dismiss"];
const SCOPES: [&str; 6] = [
    "",
    "channels = [\"email\"]",
    "placements = [\"home\"]",
    "categories = [\"loans\"]",
    "offers = [\"o0\", \"o3\"]",
    "exempt = [\"service\"]",
];

/// A contact limit or a cap: how many, per what, of what, where.
type Drawn = (u32, usize, usize, usize);

fn drawn() -> impl Strategy<Value = Drawn> {
    (0..4_u32, 0..PERIODS.len(), 0..COUNTS.len(), 0..SCOPES.len())
}

fn world(contacts: &[Drawn], caps: &[Drawn]) -> World {
    let contact = |(number, (limit, per, count, scope)): (usize, &Drawn)| {
        format!(
            "[[contact_limit]]\nid = \"limit{number}\"\nlimit = {limit}\nper = \"{}\"\ncount = \"{}\"\n{}\n",
            PERIODS[*per], COUNTS[*count], SCOPES[*scope]
        )
    };
    let policy: String = contacts.iter().enumerate().map(contact).collect();
    let offer = |index: usize| {
        let cap = caps.get(index).map(|(limit, per, count, _)| {
            let (per, count) = (PERIODS[*per], COUNTS[*count]);
            format!("cap_customer = {{ limit = {limit}, per = \"{per}\", count = \"{count}\" }}")
        });
        format!("{}\n{}", cap.unwrap_or_default(), if index == 1 { "class = \"service\"" } else { "" })
    };
    let offers: Vec<String> = (0..5).map(offer).collect();
    World::new(&offers.iter().map(String::as_str).collect::<Vec<_>>(), &policy)
}

/// What happens: step of the clock, customer, channel, outcome, offers.
fn happenings() -> impl Strategy<Value = Vec<(u16, bool, usize, usize, Vec<usize>)>> {
    let offers =
        prop::collection::btree_set(0..5_usize, 1..4).prop_map(|offers| offers.into_iter().collect());
    prop::collection::vec((any::<u16>(), any::<bool>(), 0..3_usize, 0..4_usize, offers), 0..40)
}

/// The list of what happened, and the clock behind it.
fn list(happenings: Vec<(u16, bool, usize, usize, Vec<usize>)>) -> (Vec<Happened>, DateTime<Utc>) {
    let mut now = noon();
    let happened = happenings.into_iter().map(|(step, other, channel, outcome, offers)| {
        now = later(now, step);
        let offers: Vec<OfferIndex> = offers.into_iter().map(OfferIndex::new).collect();
        Happened {
            at: now,
            customer: if other { "b" } else { "a" }.to_owned(),
            channel: CHANNELS[channel],
            outcome: OUTCOMES[outcome],
            offers: if OUTCOMES[outcome].is_some() { offers[..1].to_vec() } else { offers },
        }
    });
    (happened.collect(), now)
}

/// What the history of a world says of each offer at a moment.
fn of_history(
    world: &World,
    customer: &str,
    channel: &str,
    now: DateTime<Utc>,
) -> Vec<Option<(LimitReason, String)>> {
    let view = world.history.view(&world.limits, [customer], now);
    let gate = world.limits.gate(&view, 0, world.place(channel));
    let all = world.all();
    let blocked = all.iter().map(|offer| gate.withholds(*offer));
    blocked.map(|one| one.map(|one| (one.reason, one.id(&world.limits).to_owned()))).collect()
}

proptest! {
    #[test]
    fn contact_limits_and_caps_are_those_of_a_naive_count(
        contacts in prop::collection::vec(drawn(), 0..4),
        caps in prop::collection::vec(drawn(), 0..5),
        happenings in happenings(),
        steps in prop::collection::vec(any::<u16>(), 1..6),
    ) {
        let world = world(&contacts, &caps);
        let (happened, mut now) = list(happenings);
        let mut rebuild = Rebuild::new(&world.history, now);
        // The order of arrival does not matter.
        for (number, one) in happened.iter().enumerate().rev() {
            one.record(&world, &mut rebuild, number);
        }
        for step in steps {
            for channel in CHANNELS {
                for customer in ["a", "b", "c"] {
                    let found = of_history(&world, customer, channel, now);
                    for (offer, found) in world.all().into_iter().zip(found) {
                        let expected = withholds(&world.catalog, &happened, customer, channel, offer, now);
                        prop_assert_eq!(found, expected, "{} {} {:?} at {}", customer, channel, offer, now);
                    }
                }
            }
            // Nothing that limits look at expires.
            world.history.expire(now, TimeDelta::zero());
            now = later(now, step);
        }
    }
}

#[test]
fn more_than_64_contact_limits_all_hold() {
    let limit = |number: usize| {
        format!(
            "[[contact_limit]]\nid = \"l{number:02}\"\nlimit = {}\nper = \"1d\"\ncount = \"decision\"\n",
            number + 1
        )
    };
    let policy: String = (0..70).map(limit).collect();
    let world = World::new(&["", ""], &policy);
    let mut rebuild = Rebuild::new(&world.history, noon());
    for number in 0..70 {
        let place = world.place("app");
        let view = world.history.view(&world.limits, ["a"], noon());
        let blocked = world.limits.gate(&view, 0, place).withholds(OfferIndex::new(0));
        let id = blocked.map(|blocked| blocked.id(&world.limits).to_owned());
        assert_eq!(id, (number > 0).then(|| "l00".to_owned()));
        let reached = world.limits.contacts_reached(&view, 0, place);
        assert_eq!(reached, (0..number).collect::<Vec<_>>(), "after {number} decisions");
        let happened = Happened {
            at: noon(),
            customer: "a".to_owned(),
            channel: "app",
            outcome: None,
            offers: vec![OfferIndex::new(0), OfferIndex::new(1)],
        };
        happened.record(&world, &mut rebuild, number);
    }
}

#[test]
fn a_day_of_25_hours_counts_25_hours() {
    let policy = "[[contact_limit]]\nid = \"daily\"\nlimit = 1\nper = \"day\"\ncount = \"decision\"\n";
    let world = World::new(&[""], policy);
    let mut rebuild = Rebuild::new(&world.history, noon());
    // 00:30 local time on the day on which the clocks are set back; it ends 24.5 hours later.
    let at: DateTime<Utc> = "2026-10-24T22:30:00Z".parse().unwrap();
    let (customer, offers) = ("a".to_owned(), vec![OfferIndex::new(0)]);
    Happened { at, customer, channel: "app", outcome: None, offers }.record(&world, &mut rebuild, 0);
    let end: DateTime<Utc> = "2026-10-25T23:00:00Z".parse().unwrap();
    for (now, is_withheld) in [(at, true), (end - TimeDelta::milliseconds(1), true), (end, false)] {
        let view = world.history.view(&world.limits, ["a"], now);
        let blocked = world.limits.gate(&view, 0, world.place("app")).withholds(OfferIndex::new(0));
        assert_eq!(blocked.is_some(), is_withheld, "{now}");
        assert!(blocked.is_none_or(|blocked| blocked.frees_at() == Some(end)));
    }
}

#[test]
fn a_decision_counts_once_for_a_contact_limit_and_each_offer_for_its_cap() {
    let policy = "[[contact_limit]]\nid = \"two\"\nlimit = 2\nper = \"1d\"\ncount = \"decision\"\n";
    let cap = "cap_customer = { limit = 1, per = \"1d\", count = \"decision\" }";
    let world = World::new(&[cap, "", ""], policy);
    let mut rebuild = Rebuild::new(&world.history, noon());
    let offers: Vec<OfferIndex> = world.all();
    let one = Happened { at: noon(), customer: "a".to_owned(), channel: "app", outcome: None, offers };
    one.record(&world, &mut rebuild, 0);
    let reasons = |customer| -> Vec<_> {
        of_history(&world, customer, "app", noon())
            .into_iter()
            .map(|found| found.map(|(reason, _)| reason))
            .collect()
    };
    assert_eq!(reasons("a"), [Some(LimitReason::CapCustomer), None, None]);
    one.record(&world, &mut rebuild, 1);
    assert_eq!(reasons("a"), [Some(LimitReason::ContactLimit); 3]);
    assert_eq!(reasons("b"), [None; 3]);
}
