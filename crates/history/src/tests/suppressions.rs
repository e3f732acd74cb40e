//! Suppressions, against the oracle.

use chrono::TimeDelta;
use offer::OfferIndex;
use proptest::prelude::*;

use super::catalogs::{World, noon};
use super::oracle::{Happened, later, withholds};
use crate::{LimitReason, Rebuild};

proptest! {
    #[test]
    fn pauses_are_those_of_a_naive_count(
        rules in prop::collection::vec((1..4_u32, 0..3_usize, 0..3_usize, 0..3_usize, any::<bool>()), 0..4),
        happenings in prop::collection::vec((any::<u16>(), any::<bool>(), 0..4_usize), 0..40),
        steps in prop::collection::vec(any::<u16>(), 1..6),
    ) {
        let lengths = ["2h", "1d", "9d"];
        let rule = |(number, (times, within, pause, scope, dismiss)): (usize, &(u32, usize, usize, usize, bool))| {
            let outcome = if *dismiss { "dismiss" } else { "reject" };
            format!(
                "[[suppression]]\nid = \"rule{number}\"\nafter = {{ outcome = \"{outcome}\", times = {times}, \
                 within = \"{}\" }}\npause = \"{}\"\nscope = \"{}\"\n",
                lengths[*within], lengths[*pause], ["offer", "category", "all"][*scope]
            )
        };
        let policy: String = rules.iter().enumerate().map(rule).collect();
        let world = World::new(&["", "", "", ""], &policy);
        let mut now = noon();
        let happened: Vec<Happened> = happenings
            .into_iter()
            .map(|(step, dismiss, offer)| {
                now = later(now, step);
                Happened {
                    at: now,
                    customer: "a".to_owned(),
                    channel: "app",
                    outcome: Some(if dismiss { "dismiss" } else { "reject" }),
                    offers: vec![OfferIndex::new(offer)],
                }
            })
            .collect();
        let mut rebuild = Rebuild::new(&world.history, now);
        for (number, one) in happened.iter().enumerate().rev() {
            one.record(&world, &mut rebuild, number);
        }
        for step in steps {
            let view = world.history.view(&world.limits, ["a"], now);
            let gate = world.limits.gate(&view, 0, world.place("web"));
            for offer in world.all() {
                let expected = withholds(&world.catalog, &happened, "a", "web", offer, now);
                let found = gate.withholds(offer);
                let named = found.map(|one| (one.reason, one.id(&world.limits).to_owned()));
                prop_assert_eq!(&named, &expected, "{:?} at {}", offer, now);
                prop_assert_eq!(gate.fallback_withholds(offer), found);
            }
            world.history.expire(now, TimeDelta::zero());
            now = later(now, step);
        }
    }
}

#[test]
fn a_fallback_passes_caps_and_not_suppressions() {
    let policy = "[[suppression]]\nid = \"dismissed\"\nafter = { outcome = \"dismiss\", times = 1, within = \"1d\" }\n\
                  pause = \"1d\"\nscope = \"offer\"\n";
    let cap = "cap_customer = { limit = 1, per = \"1d\", count = \"dismiss\" }";
    let world = World::new(&[cap, cap], policy);
    let mut rebuild = Rebuild::new(&world.history, noon());
    let offers = vec![OfferIndex::new(0)];
    let dismissed =
        Happened { at: noon(), customer: "a".to_owned(), channel: "app", outcome: Some("dismiss"), offers };
    dismissed.record(&world, &mut rebuild, 0);
    let view = world.history.view(&world.limits, ["a", "b"], noon());
    let (place, first) = (world.place("app"), OfferIndex::new(0));
    let blocked = world.limits.gate(&view, 0, place).fallback_withholds(first).unwrap();
    assert_eq!((blocked.reason, blocked.id(&world.limits)), (LimitReason::Suppressed, "dismissed"));
    assert_eq!(blocked.frees_at(), Some(noon() + TimeDelta::days(1)));
    // With no suppression in the way, a cap withholds the offer and not the fallback.
    let world = World::new(&[cap], "");
    let mut rebuild = Rebuild::new(&world.history, noon());
    dismissed.record(&world, &mut rebuild, 0);
    let view = world.history.view(&world.limits, ["a"], noon());
    let gate = world.limits.gate(&view, 0, world.place("app"));
    assert_eq!(gate.withholds(first).map(|one| one.reason), Some(LimitReason::CapCustomer));
    assert_eq!(gate.fallback_withholds(first), None);
}
