use chrono::TimeDelta;
use proptest::prelude::*;

use super::*;
use crate::ShownOffer;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 123_456_000).unwrap() + TimeDelta::seconds(seconds)
}

fn shown(offers: &[(&str, i64, i64)]) -> Vec<ShownOffer> {
    let one = |(offer, cost, value): &(&str, i64, i64)| ShownOffer {
        offer: (*offer).into(),
        spend: Spend { cost_micros: *cost, value_micros: *value },
        reservations: Vec::new(),
    };
    offers.iter().map(one).collect()
}

fn decision<'a>(id: u128, customer: &'a str, shown: &'a [ShownOffer]) -> Decision<'a> {
    let id = Uuid::from_u128(id);
    Decision { id, customer, placement: "app_home", channel: "app", decided_at: at(0), shown }
}

#[test]
fn a_decision_is_found_as_it_was_made() {
    let recent = RecentDecisions::new(&History::default(), 1 << 20, "2026-11");
    let offers = shown(&[("travel_gold", 12_500_000, 100_000_000), ("cash_back", 0, -1)]);
    recent.remember(&decision(7, "fb69", &offers));
    recent.remember(&decision(8, "", &[]));
    let known = recent.find(Uuid::from_u128(7)).unwrap();
    assert_eq!((known.customer.as_str(), &*known.pseudonym_key), ("fb69", "2026-11"));
    assert_eq!((&*known.placement, &*known.channel, known.decided_at), ("app_home", "app", at(0)));
    let spend = Spend { cost_micros: 12_500_000, value_micros: 100_000_000 };
    assert_eq!(known.shown[0], ("travel_gold".into(), spend));
    assert_eq!(known.shown.len(), 2);
    // An unknown visitor has no pseudonym.
    assert_eq!(&*recent.find(Uuid::from_u128(8)).unwrap().pseudonym_key, "");
    assert_eq!(recent.find(Uuid::from_u128(9)), None);
}

#[test]
fn a_customer_is_forgotten() {
    let recent = RecentDecisions::new(&History::default(), 1 << 20, "");
    for id in 0..200 {
        recent.remember(&decision(id, if id % 2 == 0 { "C-1" } else { "C-12" }, &shown(&[("a", 1, 1)])));
    }
    let before = recent.memory_bytes();
    recent.forget("C-1");
    assert_eq!(recent.len(), 100);
    assert!((0..200).all(|id| recent.find(Uuid::from_u128(id)).is_some() == (id % 2 == 1)));
    assert!(recent.memory_bytes() < before);
}

#[test]
fn a_key_beyond_the_most_is_not_remembered_as_another() {
    let recent = RecentDecisions::new(&History::default(), 1 << 20, "active");
    for key in 0..300 {
        let known = KnownDecision {
            customer: "c".to_owned(),
            pseudonym_key: format!("key-{key}").into(),
            placement: "p".into(),
            channel: "c".into(),
            decided_at: at(0),
            shown: Vec::new(),
        };
        recent.remember_known(Uuid::from_u128(key), &known);
        let found = recent.find(Uuid::from_u128(key));
        assert_eq!(found, (key < 253).then_some(known), "{key}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn memory_is_bounded_and_the_latest_are_kept(
        bytes in (64_usize << 10)..(1 << 20),
        customers in prop::collection::vec("[a-z0-9]{0,40}", 1..20),
        seed in any::<u64>(),
    ) {
        let recent = RecentDecisions::new(&History::default(), bytes, "");
        let offers = shown(&[("a", 1, 1_000_000), ("b", 20_000_000, 5), ("c", 0, 0)]);
        let id = |number: u64| Uuid::from_u128(u128::from(number) << 64 | u128::from(number.wrapping_mul(seed | 1)));
        for number in 0..20_000_u64 {
            let customer = &customers[number as usize % customers.len()];
            recent.remember(&Decision { id: id(number), ..decision(0, customer, &offers) });
            if number % 1_000 == 0 {
                prop_assert!(recent.memory_bytes() <= bytes);
            }
        }
        prop_assert!(recent.memory_bytes() <= bytes);
        prop_assert!(recent.find(id(19_999)).is_some());
        // Blocks of some sixty bytes and slots: at least a quarter of what the memory has room for.
        prop_assert!(recent.len() >= (bytes / 130 / 4).min(20_000), "{} in {}", recent.len(), bytes);
    }
}
