//! A history that is built from events is the one that they were counted in.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use uuid::Uuid;

use super::catalogs::{World, noon, placement_of};
use super::oracle::later;
use crate::moment;
use crate::{
    Decision, Event, History, HistoryEntry, Limits, Outcome, Rebuild, ShownOffer, Spend, TotalUse,
    Transaction,
};

/// An event with texts of its own.
#[derive(Debug, Clone)]
pub(crate) enum Recorded {
    Decision {
        id: Uuid,
        customer: String,
        channel: &'static str,
        at: DateTime<Utc>,
        shown: Vec<ShownOffer>,
    },
    Outcome {
        event_id: String,
        decision: Uuid,
        customer: String,
        channel: &'static str,
        offer: String,
        outcome: &'static str,
        spend: Spend,
        occurred_at: DateTime<Utc>,
        recorded_at: DateTime<Utc>,
    },
}

impl Recorded {
    pub(crate) fn decision(
        id: Uuid,
        customer: &str,
        channel: &'static str,
        at: DateTime<Utc>,
        shown: Vec<ShownOffer>,
    ) -> Self {
        Self::Decision { id, customer: customer.to_owned(), channel, at, shown }
    }

    pub(crate) fn outcome(
        number: u64,
        decision: Uuid,
        customer: &str,
        channel: &'static str,
        offer: &ShownOffer,
        outcome: &'static str,
        at: DateTime<Utc>,
    ) -> Self {
        Self::Outcome {
            event_id: number.to_string(),
            decision,
            customer: customer.to_owned(),
            channel,
            offer: offer.offer.to_string(),
            outcome,
            spend: offer.spend,
            occurred_at: at,
            recorded_at: at,
        }
    }

    pub(crate) fn as_event(&self) -> Event<'_> {
        match self {
            Self::Decision { id, customer, channel, at, shown } => Event::Decision(Decision {
                id: *id,
                customer,
                placement: placement_of(channel),
                channel,
                decided_at: *at,
                shown,
            }),
            Self::Outcome { .. } => Event::Outcome(self.as_outcome()),
        }
    }

    pub(crate) fn as_outcome(&self) -> Outcome<'_> {
        match self {
            Self::Decision { .. } => panic!("a decision"),
            Self::Outcome {
                event_id,
                decision,
                customer,
                channel,
                offer,
                outcome,
                spend,
                occurred_at,
                recorded_at,
            } => Outcome {
                event_id,
                decision: Some(*decision),
                customer,
                offer,
                placement: placement_of(channel),
                channel,
                outcome,
                spend: *spend,
                occurred_at: *occurred_at,
                recorded_at: *recorded_at,
            },
        }
    }
}

/// The entries of customers, those of one moment in a fixed order, and the use of totals.
pub(crate) type Dump = (BTreeMap<String, (bool, Vec<Vec<HistoryEntry>>)>, Vec<TotalUse>);

pub(crate) fn dump(world: &World, now: DateTime<Utc>) -> Dump {
    let mut customers = BTreeMap::new();
    world.history.each_customer(|id, customer| {
        let mut groups: Vec<Vec<HistoryEntry>> = Vec::new();
        for entry in customer.entries {
            match groups.last_mut().filter(|_| entry.same_decision) {
                Some(group) => group.push(entry),
                None => groups.push(vec![entry]),
            }
        }
        groups.sort();
        if customer.opted_out || !groups.is_empty() {
            customers.insert(id.to_owned(), (customer.opted_out, groups));
        }
    });
    (customers, world.limits.usage(now))
}

const OFFERS: [&str; 4] = [
    "cap_total = { limit = 6, per = \"1d\", count = \"accept\", reserve = \"90m\" }",
    "cap_total = { limit = 5, per = \"day\", count = \"decision\" }",
    "cost = 2.0\nbudget = { amount = 9.0, per = \"week\", count = \"accept\", spends = \"cost\", reserve = \"2d\" }",
    "value = 2.0\nbudget = { amount = 900.0, per = \"month\", count = \"accept\", spends = \"value\", pacing = \"even\" }",
];

/// Makes a history, and the events that it was told.
pub(crate) fn lived(steps: &[(u16, usize, usize, bool)]) -> (World, Vec<Recorded>, DateTime<Utc>) {
    let (world, mut now, mut recorded) = (World::new(&OFFERS, ""), noon(), Vec::new());
    let mut decisions: Vec<(Uuid, &'static str, Arc<[ShownOffer]>)> = Vec::new();
    for (number, (step, pick, kind, flag)) in steps.iter().enumerate() {
        now = later(now, *step);
        let (customer, channel) = (["a", "b", "c"][pick % 3], ["app", "email"][usize::from(*flag)]);
        if *kind < 3 || decisions.is_empty() {
            let id = Uuid::from_u128(number as u128);
            let all = world.all();
            let place = world.place(channel);
            let mut one = Transaction::begin(&world.history, &world.limits, id, customer, place, now);
            one.show_what_fits(&[all[pick % 4], all[(pick + 1) % 4]]);
            if *kind == 2 && *flag {
                continue;
            }
            let shown = one.shown();
            one.keep();
            if !shown.is_empty() {
                recorded.push(Recorded::decision(id, customer, channel, now, shown.to_vec()));
                decisions.push((id, channel, shown));
            }
            continue;
        }
        let (decision, channel, shown) = &decisions[pick % decisions.len()];
        let outcome = ["accept", "impression", "opt_out"][if *kind < 6 { 0 } else { kind % 3 }];
        let mut one = Recorded::outcome(
            number as u64,
            *decision,
            customer,
            channel,
            &shown[pick % shown.len()],
            outcome,
            now,
        );
        if let Recorded::Outcome { occurred_at, .. } = &mut one {
            // Late by up to two days.
            *occurred_at -= TimeDelta::minutes(i64::from(*step) % 2_880);
        }
        assert!(world.history.admit(&number.to_string(), now, now));
        world.history.record_outcome(&one.as_outcome());
        recorded.push(one);
    }
    (world, recorded, now)
}

pub(crate) fn life() -> impl Strategy<Value = Vec<(u16, usize, usize, bool)>> {
    prop::collection::vec((any::<u16>(), 0..1_000_usize, 0..9_usize, any::<bool>()), 1..80)
}

proptest! {
    #[test]
    fn events_in_any_order_and_twice_give_the_same_history(
        steps in life(), order in any::<prop::sample::Index>(), seed in any::<u64>(),
    ) {
        let (world, recorded, now) = lived(&steps);
        let again = recorded.iter().take(order.index(recorded.len() + 1));
        let mut shuffled: Vec<&Recorded> = recorded.iter().chain(again).collect();
        let mut random = seed;
        for place in (1..shuffled.len()).rev() {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            shuffled.swap(place, (random >> 33) as usize % (place + 1));
        }
        let again = World::of(world.catalog.clone());
        let mut rebuild = Rebuild::new(&again.history, now);
        let new = shuffled.iter().filter(|event| rebuild.apply(&event.as_event())).count();
        prop_assert_eq!(new, recorded.len());
        prop_assert_eq!(dump(&world, now), dump(&again, now));
        for (left, right) in [(&world, &again), (&again, &world)] {
            left.history.expire(now, TimeDelta::days(3));
            right.history.expire(now, TimeDelta::days(3));
            prop_assert_eq!(dump(left, now), dump(right, now));
        }
    }

    #[test]
    fn events_in_their_order_give_the_same_decisions(steps in life()) {
        let (world, recorded, now) = lived(&steps);
        let again = World::of(world.catalog.clone());
        let mut rebuild = Rebuild::new(&again.history, now);
        for event in &recorded {
            rebuild.apply(&event.as_event());
        }
        for minutes in [0, 1, 60, 6_000] {
            let now = now + TimeDelta::minutes(minutes);
            let gates = |world: &World| -> Vec<_> {
                let view = world.history.view(&world.limits, ["a"], now);
                let gate = world.limits.gate(&view, 0, world.place("app"));
                world.all().into_iter().map(|offer| gate.withholds(offer).map(|one| one.frees_at())).collect()
            };
            prop_assert_eq!(gates(&world), gates(&again), "after {} minutes", minutes);
        }
    }
}

proptest! {
    #[test]
    fn what_was_before_can_be_added_later(
        steps in life(), split in any::<prop::sample::Index>(), again in 0..30_usize, expires in any::<bool>(),
    ) {
        let (world, recorded, now) = lived(&steps);
        let split = split.index(recorded.len() + 1);
        let later = World::of(world.catalog.clone());
        let mut rebuild = Rebuild::new(&later.history, now);
        for event in &recorded[split..] {
            rebuild.apply(&event.as_event());
        }
        // Of customers, some of what is known is there again: where it was dropped, all of it.
        let again = if expires { recorded.len() } else { split + again };
        if expires {
            later.history.expire(now, TimeDelta::zero());
        }
        let before = History::default();
        let limits = Limits::new(&before, &world.catalog, noon()).unwrap();
        for (number, event) in recorded.iter().enumerate() {
            let event = event.as_event();
            match &event {
                _ if number < split => before.count_in_totals(&event),
                Event::Outcome(outcome) => before.settle(outcome),
                Event::Decision(_) => {}
            }
            if number < again {
                before.count_for_customer(&event);
            }
        }
        drop(limits);
        later.history.unite(&before, moment::millis(now));
        for minutes in [0, 30, 3_000] {
            let now = now + TimeDelta::minutes(minutes);
            prop_assert_eq!(dump(&world, now), dump(&later, now), "after {} minutes", minutes);
        }
    }
}

#[test]
fn what_is_there_twice_and_known_once_is_added_once() {
    let (ours, theirs) = (World::new(&["", ""], ""), World::new(&["", ""], ""));
    let shown = |id: &str| ShownOffer { offer: id.into(), spend: Spend::default(), reservations: Vec::new() };
    let decision = |number: u128, offers: &[&str]| {
        let shown = offers.iter().map(|offer| shown(offer)).collect();
        Recorded::decision(Uuid::from_u128(number), "a", "app", noon(), shown)
    };
    ours.history.count_for_customer(&decision(1, &["o0", "o1"]).as_event());
    // The names of the other history have other positions.
    let other = History::default();
    for (number, offers) in [(1, &["o1"][..]), (2, &["o0", "o1"]), (3, &["o0", "o1"])] {
        other.count_for_customer(&decision(number, offers).as_event());
        theirs.history.count_for_customer(&decision(number, offers).as_event());
    }
    ours.history.unite(&other, moment::millis(noon()));
    assert_eq!(dump(&ours, noon()).0, dump(&theirs, noon()).0);
}

#[test]
fn an_opt_out_is_kept_when_everything_else_expires_and_goes_when_the_customer_is_forgotten() {
    let world = World::new(&[""], "");
    let shown = ShownOffer { offer: "o0".into(), spend: Spend::default(), reservations: Vec::new() };
    let one = Recorded::outcome(1, Uuid::from_u128(1), "a", "app", &shown, "opt_out", noon());
    world.history.record_outcome(&one.as_outcome());
    let opted_out = || world.history.view(&world.limits, ["a", "b"], noon()).has_opted_out(0);
    assert!(opted_out());
    let expired = world.history.expire(noon() + TimeDelta::days(4_000), TimeDelta::zero());
    assert_eq!((expired.entries, expired.customers), (1, 0));
    assert!(opted_out());
    assert!(world.history.forget("a") && !world.history.forget("a"));
    assert!(!opted_out());
    assert_eq!(world.history.size().customers, 0);
}

#[test]
fn a_customer_has_what_was_kept_under_an_older_name() {
    let policy = "[[contact_limit]]\nid = \"two\"\nlimit = 2\nper = \"1d\"\ncount = \"decision\"\n";
    let world = World::new(&["", ""], policy);
    for (number, customer) in [(1, "old"), (2, "new")] {
        let place = world.place("app");
        let id = Uuid::from_u128(number);
        let mut one = Transaction::begin(&world.history, &world.limits, id, customer, place, noon());
        one.show(&world.all()).unwrap();
        one.keep();
    }
    let opted_out = Recorded::outcome(
        1,
        Uuid::from_u128(1),
        "old",
        "app",
        &ShownOffer { offer: "o0".into(), spend: Spend::default(), reservations: Vec::new() },
        "opt_out",
        noon(),
    );
    world.history.record_outcome(&opted_out.as_outcome());
    let before = world.history.size();
    for _ in 0..2 {
        world.history.rename("old", "new");
        world.history.rename("new", "new");
        world.history.rename("nobody", "new");
    }
    assert!(world.history.customer("old").is_none());
    let customer = world.history.customer("new").unwrap();
    let together: Vec<bool> = customer.entries.iter().map(|entry| entry.same_decision).collect();
    assert_eq!((customer.opted_out, together.len()), (true, 5));
    assert_eq!(together.iter().filter(|same| **same).count(), 2);
    let view = world.history.view(&world.limits, ["new"], noon());
    let gate = world.limits.gate(&view, 0, world.place("app"));
    assert!(world.all().into_iter().all(|offer| gate.withholds(offer).is_some()));
    assert_eq!((before.customers, world.history.size().customers), (2, 1));
}
