//! Sixteen threads at once: decisions, outcomes, lapses, cancellations, expiry.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use chrono::{DateTime, TimeDelta, Utc};
use offer::OfferIndex;
use proptest::prelude::*;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};
use uuid::Uuid;

use super::catalogs::{World, noon};
use super::rebuilt::{Recorded, dump};
use crate::{Rebuild, ShownOffer, Transaction};

const THREADS: u64 = 16;

const POLICY: &str = "
[[contact_limit]]
id = \"hourly\"
limit = 2
per = \"1h\"
count = \"decision\"
[[contact_limit]]
id = \"emails\"
channels = [\"email\"]
limit = 1
per = \"2h\"
count = \"decision\"
[[suppression]]
id = \"dismissed\"
after = { outcome = \"dismiss\", times = 2, within = \"1d\" }
pause = \"1d\"
scope = \"offer\"
";

const OFFERS: [&str; 7] = [
    "cap_total = { limit = 30, per = \"all\", count = \"decision\" }",
    "cap_total = { limit = 9, per = \"2h\", count = \"decision\" }",
    "cap_total = { limit = 12, per = \"all\", count = \"accept\", reserve = \"5m\" }",
    "cost = 2.5\nbudget = { amount = 40.0, per = \"day\", count = \"accept\", spends = \"cost\", reserve = \"7m\" }",
    "cost = 1.0\nbudget = { amount = 500.0, per = \"day\", count = \"decision\", spends = \"cost\", pacing = \"even\" }\n\
     cap_total = { limit = 7, per = \"3h\", count = \"accept\" }",
    "cap_customer = { limit = 1, per = \"3h\", count = \"decision\" }",
    "",
];

/// What all threads share.
struct Shared {
    world: World,
    /// Milliseconds since noon.
    clock: AtomicI64,
    recorded: Mutex<Vec<Recorded>>,
    next: AtomicU64,
    overshoots: AtomicU64,
    is_over: AtomicBool,
}

impl Shared {
    /// The clock, a little later than for the last caller.
    fn now(&self, random: &mut Xoshiro256PlusPlus) -> DateTime<Utc> {
        let step =
            if random.next_u64().is_multiple_of(50) { 240_000 } else { (random.next_u64() % 3_000) as i64 };
        noon() + TimeDelta::milliseconds(self.clock.fetch_add(step, Ordering::SeqCst) + step)
    }

    fn work(&self, seed: u64, rounds: usize) {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut own: Vec<(Uuid, String, &'static str, Arc<[ShownOffer]>)> = Vec::new();
        for _ in 0..rounds {
            let now = self.now(&mut random);
            match random.next_u64() % 10 {
                0..6 => own.extend(self.decide(&mut random, now)),
                6..9 if !own.is_empty() => {
                    let (decision, customer, channel, shown) = &own[random.next_u64() as usize % own.len()];
                    let offer = &shown[random.next_u64() as usize % shown.len()];
                    let outcome =
                        ["accept", "accept", "dismiss", "impression"][random.next_u64() as usize % 4];
                    let number = self.next.fetch_add(1, Ordering::SeqCst);
                    let one = Recorded::outcome(number, *decision, customer, channel, offer, outcome, now);
                    assert!(self.world.history.admit(&number.to_string(), now, now));
                    let counted = self.world.history.record_outcome(&one.as_outcome());
                    if counted.overshoot.cap_total || counted.overshoot.budget {
                        self.overshoots.fetch_add(1, Ordering::SeqCst);
                    }
                    self.recorded.lock().unwrap().push(one);
                }
                _ => _ = self.world.history.expire(now, TimeDelta::days(30)),
            }
        }
    }

    /// Decides with the view of a moment, fills the slate anew where it is refused, and sometimes gives up.
    fn decide(
        &self,
        random: &mut Xoshiro256PlusPlus,
        now: DateTime<Utc>,
    ) -> Option<(Uuid, String, &'static str, Arc<[ShownOffer]>)> {
        let (world, id) =
            (&self.world, Uuid::from_u128(u128::from(self.next.fetch_add(1, Ordering::SeqCst))));
        let customer = format!("c{}", random.next_u64() % 12);
        let channel = ["app", "email"][random.next_u64() as usize % 2];
        let place = world.place(channel);
        let view = world.history.view(&world.limits, [customer.as_str()], now);
        let gate = world.limits.gate(&view, 0, place);
        let mut candidates: Vec<OfferIndex> =
            world.all().into_iter().filter(|offer| gate.withholds(*offer).is_none()).collect();
        let first = random.next_u64() as usize % candidates.len().max(1);
        candidates.rotate_left(first);
        let mut one = Transaction::begin(&world.history, &world.limits, id, &customer, place, now);
        for round in 0..4 {
            let slate = &candidates[..candidates.len().min(3)];
            let refused = if round == 3 {
                one.show_what_fits(slate)
            } else {
                one.show(slate).err().unwrap_or_default()
            };
            if refused.is_empty() || round == 3 {
                break;
            }
            candidates.retain(|offer| !refused.iter().any(|one| one.offer == *offer));
        }
        if random.next_u64().is_multiple_of(4) {
            return None;
        }
        let shown = one.shown();
        one.keep();
        (!shown.is_empty()).then(|| {
            let recorded = Recorded::decision(id, &customer, channel, now, shown.to_vec());
            self.recorded.lock().unwrap().push(recorded);
            (id, customer, channel, shown)
        })
    }

    /// Watches that no total is ever above its limit by more than was reported.
    fn watch(&self) {
        while !self.is_over.load(Ordering::SeqCst) {
            let now = noon() + TimeDelta::milliseconds(self.clock.load(Ordering::SeqCst));
            for of in self.world.limits.usage(now) {
                let reported = self.overshoots.load(Ordering::SeqCst) as i64 + THREADS as i64;
                let over = (of.confirmed + of.reserved - of.most).max(0);
                let unit = if of.limit == crate::TotalLimit::Cap { 1 } else { 2_500_000 };
                assert!(over <= reported * unit, "{of:?}, reported {reported}");
            }
            std::thread::yield_now();
        }
    }
}

/// The most of these moments within one length.
fn most_within(moments: &[DateTime<Utc>], length: TimeDelta) -> usize {
    let at = |end: &DateTime<Utc>| moments.iter().filter(|at| **at <= *end && *end - **at < length).count();
    moments.iter().map(at).max().unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]
    #[test]
    fn limits_hold_for_sixteen_threads(seed in any::<u64>()) {
        let shared = Shared {
            world: World::new(&OFFERS, POLICY),
            clock: AtomicI64::new(0),
            recorded: Mutex::default(),
            next: AtomicU64::new(1),
            overshoots: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        };
        std::thread::scope(|scope| {
            let watcher = scope.spawn(|| shared.watch());
            let threads: Vec<_> = (0..THREADS)
                .map(|thread| {
                    let shared = &shared;
                    scope.spawn(move || shared.work(seed ^ thread, 250))
                })
                .collect();
            for thread in threads {
                thread.join().unwrap();
            }
            shared.is_over.store(true, Ordering::SeqCst);
            watcher.join().unwrap();
        });
        let Shared { world, recorded, clock, overshoots, .. } = shared;
        let recorded = recorded.into_inner().unwrap();
        let now = noon() + TimeDelta::milliseconds(clock.into_inner());

        // What was recorded is what the history has: nothing of a decision that was given up.
        let again = World::of(world.catalog.clone());
        let mut rebuild = Rebuild::new(&again.history, now);
        for event in &recorded {
            prop_assert!(rebuild.apply(&event.as_event()));
        }
        prop_assert_eq!(dump(&world, now), dump(&again, now));

        // No limit of a customer was ever exceeded.
        let mut contacts: BTreeMap<(&str, &str), Vec<DateTime<Utc>>> = BTreeMap::new();
        let mut capped: BTreeMap<&str, Vec<DateTime<Utc>>> = BTreeMap::new();
        let mut cap_of_two_hours: Vec<DateTime<Utc>> = Vec::new();
        let (mut forever, mut decisions) = (0, 0);
        for event in &recorded {
            let Recorded::Decision { customer, channel, at, shown, .. } = event else { continue };
            decisions += 1;
            contacts.entry((customer, channel)).or_default().push(*at);
            for offer in shown {
                match &*offer.offer {
                    "o0" => forever += 1,
                    "o1" => cap_of_two_hours.push(*at),
                    "o5" => capped.entry(customer).or_default().push(*at),
                    _ => {}
                }
            }
        }
        let mut of_customers: BTreeMap<&str, Vec<DateTime<Utc>>> = BTreeMap::new();
        for ((customer, channel), moments) in &contacts {
            of_customers.entry(customer).or_default().extend(moments);
            prop_assert!(*channel != "email" || most_within(moments, TimeDelta::hours(2)) <= 1);
        }
        prop_assert!(of_customers.values().all(|moments| most_within(moments, TimeDelta::hours(1)) <= 2));
        prop_assert!(capped.values().all(|moments| most_within(moments, TimeDelta::hours(3)) <= 1));
        prop_assert!(forever <= 30 && most_within(&cap_of_two_hours, TimeDelta::hours(2)) <= 9);
        prop_assert!(decisions > 60, "{}", decisions);
        // Without an outcome behind its reservation nothing is above its limit.
        if overshoots.into_inner() == 0 {
            prop_assert!(world.limits.usage(now).iter().all(|of| of.confirmed + of.reserved <= of.most));
        }
    }

    #[test]
    fn a_total_is_used_up_to_its_limit_and_no_further(
        limit in 1..60_i64, threads in 2..17_usize, gives_up_of_8 in 0..8_u64,
    ) {
        let cap = format!("cap_total = {{ limit = {limit}, per = \"all\", count = \"accept\" }}");
        let world = World::new(&[&cap], "");
        let kept = AtomicI64::new(0);
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let (world, kept) = (&world, &kept);
                scope.spawn(move || {
                    for round in 0..60_u64 {
                        let id = Uuid::from_u128(thread as u128 * 1_000 + u128::from(round));
                        let customer = id.to_string();
                        let place = world.place("app");
                        let mut one =
                            Transaction::begin(&world.history, &world.limits, id, &customer, place, noon());
                        if one.show(&world.all()).is_ok() && round % 8 >= gives_up_of_8 {
                            kept.fetch_add(1, Ordering::SeqCst);
                            one.keep();
                        }
                    }
                });
            }
        });
        let of = world.limits.usage(noon())[0];
        let kept = kept.into_inner();
        prop_assert_eq!((of.confirmed, of.reserved), (0, kept));
        let asked = threads as i64 * (0..60).filter(|round| round % 8 >= gives_up_of_8).count() as i64;
        prop_assert!(kept <= limit);
        // What others hold for a moment may refuse an offer, and never more than one for each of them.
        prop_assert!(kept >= limit.min(asked) - if gives_up_of_8 > 0 { threads as i64 } else { 0 }, "{} {}", kept, limit);
    }
}
