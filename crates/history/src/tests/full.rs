//! Customers with more entries than are kept.

use chrono::TimeDelta;
use offer::OfferIndex;
use proptest::prelude::*;

use super::catalogs::{World, noon};
use super::oracle::{Happened, withholds};
use crate::Rebuild;

const POLICY: &str = "
[[contact_limit]]
id = \"emails\"
channels = [\"email\"]
limit = 3
per = \"30d\"
count = \"decision\"
[[contact_limit]]
id = \"loans\"
categories = [\"loans\"]
limit = 900
per = \"7d\"
count = \"impression\"
[[suppression]]
id = \"dismissed\"
after = { outcome = \"dismiss\", times = 3, within = \"20d\" }
pause = \"10d\"
scope = \"offer\"
";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn limits_hold_for_a_customer_of_whom_not_everything_is_kept(
        seed in prop::collection::vec((0..5_usize, 0..40_usize), 64),
    ) {
        let cap = "cap_customer = { limit = 5, per = \"60d\", count = \"decision\" }";
        let world = World::new(&[cap, "", cap, "", cap], POLICY);
        let mut rebuild = Rebuild::new(&world.history, noon());
        let mut happened: Vec<Happened> = Vec::new();
        for number in 0..9_000_usize {
            let (offer, kind) = seed[number % 61];
            let (outcome, channel) = match (kind + number / 61) % 40 {
                0 => (None, "email"),
                1 => (Some("dismiss"), "app"),
                2..10 => (None, "app"),
                _ => (Some("impression"), "app"),
            };
            // Rare things are old: they must not be crowded out.
            let outcome = if number > 3_000 && outcome.is_none() { Some("impression") } else { outcome };
            let at = noon() + TimeDelta::minutes(5) * number as i32;
            let one = Happened {
                at,
                customer: "a".to_owned(),
                channel,
                outcome,
                offers: vec![OfferIndex::new(offer)],
            };
            one.record(&world, &mut rebuild, number);
            happened.push(one);
        }
        let size = world.history.size();
        prop_assert!(size.given_up > 4_000, "{:?}", size);
        prop_assert!(world.history.customer("a").unwrap().entries.len() <= 4_096);
        let end = happened[happened.len() - 1].at;
        let mut freed = 0;
        for days in 0..60 {
            let now = end + TimeDelta::days(days);
            let view = world.history.view(&world.limits, ["a"], now);
            for channel in ["app", "email"] {
                let gate = world.limits.gate(&view, 0, world.place(channel));
                for offer in world.all() {
                    let expected = withholds(&world.catalog, &happened, "a", channel, offer, now);
                    let found = gate.withholds(offer);
                    prop_assert_eq!(found, gate.asked_in_turn(offer));
                    prop_assert!(found.is_some() || expected.is_none(), "{:?} {} {}", offer, channel, now);
                    freed += usize::from(found.is_none());
                }
            }
        }
        prop_assert!(freed > 100, "what was given up does not withhold for ever");
    }
}
