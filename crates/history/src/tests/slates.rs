//! Slates that are filled anew when a limit refuses an offer.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use offer::OfferIndex;
use proptest::prelude::*;
use uuid::Uuid;

use super::catalogs::{World, noon};
use crate::{LimitReason, Refused, Transaction};

const POLICY: &str = "
[[contact_limit]]
id = \"loans\"
categories = [\"loans\"]
limit = 1
per = \"1d\"
count = \"decision\"
[[contact_limit]]
id = \"all\"
limit = 3
per = \"1d\"
count = \"decision\"
";

fn world() -> World {
    let keys: Vec<String> = (0..8)
        .map(|offer| match offer % 4 {
            0 => format!("cap_total = {{ limit = {}, per = \"all\", count = \"decision\" }}", offer / 4 + 1),
            1 => "cap_customer = { limit = 1, per = \"1d\", count = \"decision\" }".to_owned(),
            2 => "cap_total = { limit = 2, per = \"day\", count = \"accept\" }".to_owned(),
            _ => {
                "cost = 1.0\nbudget = { amount = 2.0, per = \"day\", count = \"accept\", spends = \"cost\" }"
                    .to_owned()
            }
        })
        .collect();
    World::new(&keys.iter().map(String::as_str).collect::<Vec<_>>(), POLICY)
}

/// The best three of `order` that are not `withheld`; neighbours (0 and 1, 2 and 3 …) exclude each other.
fn fill(order: &[OfferIndex], withheld: &[OfferIndex]) -> Vec<OfferIndex> {
    let mut slate: Vec<OfferIndex> = Vec::new();
    for offer in order.iter().filter(|offer| !withheld.contains(offer)) {
        if slate.len() < 3 && !slate.iter().any(|better| better.get() / 2 == offer.get() / 2) {
            slate.push(*offer);
        }
    }
    slate
}

/// What the gates withhold now.
fn withheld(world: &World, customer: &str, now: DateTime<Utc>) -> Vec<OfferIndex> {
    let view = world.history.view(&world.limits, [customer], now);
    let gate = world.limits.gate(&view, 0, world.place("app"));
    world.all().into_iter().filter(|offer| gate.withholds(*offer).is_some()).collect()
}

/// Decides as a server does: the slate of a view, then at most `rounds` rounds with what is refused left out.
pub(super) fn decide(
    transaction: &mut Transaction,
    order: &[OfferIndex],
    mut withheld: Vec<OfferIndex>,
    rounds: usize,
) -> (Vec<OfferIndex>, Vec<Refused>) {
    let mut all_refused = Vec::new();
    for _ in 0..rounds {
        let slate = fill(order, &withheld);
        match transaction.show(&slate) {
            Ok(()) => return (slate, all_refused),
            Err(refused) => {
                assert!(!refused.is_empty());
                withheld.extend(refused.iter().map(|one| one.offer));
                all_refused.extend(refused);
            }
        }
    }
    let slate = fill(order, &withheld);
    let refused = transaction.show_what_fits(&slate);
    let shown =
        slate.iter().copied().filter(|offer| !refused.iter().any(|one| one.offer == *offer)).collect();
    all_refused.extend(refused);
    (shown, all_refused)
}

proptest! {
    #[test]
    fn a_slate_of_an_old_view_becomes_what_a_new_view_gives(
        order in Just((0..8).collect::<Vec<usize>>()).prop_shuffle(),
        others in prop::collection::vec((any::<bool>(), 0..8_usize, any::<bool>()), 0..16),
    ) {
        let (world, now) = (world(), noon());
        let order: Vec<OfferIndex> = order.into_iter().map(OfferIndex::new).collect();
        let old = withheld(&world, "a", now);
        // Other decisions in between, some for the same customer, some taken back.
        for (number, (same, offer, kept)) in others.into_iter().enumerate() {
            let (id, customer) = (Uuid::from_u128(number as u128), if same { "a" } else { "b" });
            let place = world.place("app");
            let mut other = Transaction::begin(&world.history, &world.limits, id, customer, place, now);
            other.show_what_fits(&[OfferIndex::new(offer)]);
            if kept {
                other.keep();
            }
        }
        let before = world.limits.usage(now);
        let fresh = withheld(&world, "a", now);
        let expected = fill(&order, &fresh);
        let id = Uuid::from_u128(1_000);
        let place = world.place("app");
        let mut one = Transaction::begin(&world.history, &world.limits, id, "a", place, now);
        let (shown, refused) = decide(&mut one, &order, old.clone(), 8);
        prop_assert_eq!(&shown, &expected, "{:?}", refused);
        drop(one);
        prop_assert_eq!(&world.limits.usage(now), &before, "what is dropped is given back");
        // With fewer rounds it shows a part of some slate, and nothing that a limit refuses.
        let mut one = Transaction::begin(&world.history, &world.limits, id, "a", place, now);
        let (shown, refused) = decide(&mut one, &order, old, 1);
        prop_assert!(refused.iter().all(|one| !shown.contains(&one.offer)));
        prop_assert!(shown.iter().all(|offer| !fresh.contains(offer)), "{:?} {:?}", shown, fresh);
        let kept: Vec<String> = one.shown().iter().map(|shown| shown.offer.to_string()).collect();
        one.keep();
        prop_assert_eq!(kept, shown.iter().map(|offer| world.id(*offer).to_owned()).collect::<Vec<_>>());
        for (of, before) in world.limits.usage(now).iter().zip(&before) {
            let used = (of.confirmed + of.reserved) - (before.confirmed + before.reserved);
            let asks = if of.limit == crate::TotalLimit::Cap { 1 } else { 1_000_000 };
            prop_assert_eq!(used, if shown.contains(&of.offer) { asks } else { 0 });
        }
    }
}

#[test]
fn the_same_customer_twice_in_a_call_is_limited_in_the_order_of_the_rows() {
    let world = world();
    let (place, loan, now) = (world.place("app"), OfferIndex::new(1), noon());
    let begin = |id| Transaction::begin(&world.history, &world.limits, Uuid::from_u128(id), "a", place, now);
    let (mut first, mut second) = (begin(1), begin(2));
    first.show(&[loan]).unwrap();
    let refused = second.show(&[loan, OfferIndex::new(4)]).unwrap_err();
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].blocked.reason, LimitReason::ContactLimit);
    assert_eq!(refused[0].blocked.id(&world.limits), "loans");
    // The first call is cancelled; the second may have the loan after all.
    drop(first);
    second.show(&[loan, OfferIndex::new(4)]).unwrap();
    second.keep();
    let entries = world.history.customer("a").unwrap().entries;
    assert_eq!(entries.iter().map(|entry| entry.same_decision).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn a_fallback_is_shown_though_its_cap_is_reached_and_counts() {
    let world = world();
    let (place, capped, now) = (world.place("app"), OfferIndex::new(0), noon());
    let begin = |id, customer| {
        Transaction::begin(&world.history, &world.limits, Uuid::from_u128(id), customer, place, now)
    };
    let mut first = begin(1, "b");
    first.show(&[capped]).unwrap();
    first.keep();
    for id in 2..5 {
        let mut one = begin(id, "a");
        assert_eq!(one.show(&[capped]).unwrap_err()[0].blocked.reason, LimitReason::CapTotal);
        one.show_fallback(capped).unwrap();
        assert_eq!(one.shown().len(), 1);
        one.keep();
    }
    let usage = world.limits.usage(now)[0];
    assert_eq!((usage.offer, usage.most, usage.confirmed), (capped, 1, 4));
    // The contact limit of three a day withholds a fallback.
    let mut one = begin(5, "a");
    assert_eq!(one.show_fallback(capped).unwrap_err().blocked.id(&world.limits), "all");
    assert!(one.shown().is_empty());
    one.keep();
    assert_eq!(world.limits.usage(now)[0].confirmed, 4);
}

#[test]
fn what_a_refused_slate_took_of_totals_is_left_to_others() {
    let world = world();
    let (place, capped, now) = (world.place("app"), OfferIndex::new(0), noon());
    let begin = |id, customer| {
        Transaction::begin(&world.history, &world.limits, Uuid::from_u128(id), customer, place, now)
    };
    for (id, other) in [(1, 2), (2, 3), (3, 6)] {
        let mut one = begin(id, "a");
        one.show(&[OfferIndex::new(other)]).unwrap();
        one.keep();
    }
    // The total has room, and the contact limit of three a day has none. Nothing else fills the slate.
    let mut refused = begin(4, "a");
    assert_eq!(refused.show(&[capped]).unwrap_err()[0].blocked.id(&world.limits), "all");
    refused.keep();
    assert_eq!(world.limits.usage(now)[0].confirmed, 0);
    begin(5, "b").show(&[capped]).unwrap();
}

#[test]
fn a_customer_without_an_id_has_totals_alone() {
    let world = world();
    let (place, capped, now) = (world.place("app"), OfferIndex::new(0), noon());
    let begin = |id| Transaction::begin(&world.history, &world.limits, Uuid::from_u128(id), "", place, now);
    let mut first = begin(1);
    first.show(&[capped]).unwrap();
    first.keep();
    assert_eq!(begin(2).show(&[capped]).unwrap_err()[0].blocked.reason, LimitReason::CapTotal);
    assert_eq!(world.history.size().customers, 0);
    assert!(Arc::strong_count(&world.history) == 1, "a transaction that ends holds nothing");
}
