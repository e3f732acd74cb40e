//! The history at its stated size: a million customers with 20 entries each, and limits as a bank has them.
//!
//! Prints the memory of the customers, with the allocator of the server. Then it times a view with the gates of 100
//! offers, a decision that is shown and taken back, and an outcome. Every customer comes once in a round, in random
//! order, so that nothing of them is in the caches; the same view of one customer again and again is beside it. Exits
//! with 1 where a goal is missed. `make bench-history`

#![expect(clippy::unwrap_used, reason = "a bench that cannot set itself up should stop")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use feature::FeatureSchema;
use mimalloc::MiMalloc;
use offer::{Catalog, OfferIndex, PlacementIndex};
use proffer_history::{
    Decision, Event, History, Limits, Outcome, Place, Rebuild, ShownOffer, Spend, Transaction,
};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};
use uuid::Uuid;

#[path = "../../../benches/serving/goals.rs"]
#[expect(dead_code, reason = "every goal of this bench is an upper bound")]
mod goals;

use goals::Goals;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const CUSTOMERS: u64 = 1_000_000;
/// Of each customer: decisions that show an offer, and impressions of them.
const ENTRIES: u64 = 20;
const OFFERS: usize = 100;
const SEED: u64 = 22;

/// Rounds of each measurement; the first is not counted.
const ROUNDS: usize = 6;

/// More contacts than anybody has: no limit is reached.
const WIDE: [(&str, u32); 2] = [("7d", 30), ("month", 60)];

/// Some customers have reached one of these.
const TIGHT: [(&str, u32); 2] = [("7d", 2), ("month", 8)];

/// Ten limits for customers, `contacts` for each scope; every offer has a cap for each customer, and half of them one
/// for all or a budget.
fn catalog(contacts: [(&str, u32); 2]) -> Catalog {
    let mut offers = String::new();
    for index in 0..OFFERS {
        let total = match index % 4 {
            0 => "cap_total = { limit = 10000000, per = \"all\", count = \"accept\" }",
            2 => {
                "budget = { amount = 5e9, per = \"month\", count = \"accept\", spends = \"cost\", pacing = \"even\" }"
            }
            _ => "",
        };
        let category = ["cards", "loans", "savings"][index % 3];
        writeln!(
            offers,
            "[[offer]]\nid = \"offer_{index:03}\"\nname = \"\"\ncategory = \"{category}\"\nplacements = [\"home\"]\n\
             value = 10.0\ncost = 1.0\ncap_customer = {{ limit = 5, per = \"30d\", count = \"impression\" }}\n{total}"
        )
        .unwrap();
    }
    let mut policy = String::from("time_zone = \"Europe/Berlin\"\n");
    for category in ["cards", "loans", "savings"] {
        writeln!(policy, "[[category]]\nid = \"{category}\"").unwrap();
    }
    policy +=
        "[[placement]]\nid = \"home\"\nchannels = [\"app\", \"web\", \"email\"]\ncount = 3\nmodel = \"m\"\n";
    for (number, scope) in [
        "",
        "channels = [\"email\"]",
        "categories = [\"loans\"]",
        "channels = [\"app\"]",
        "categories = [\"cards\"]",
    ]
    .iter()
    .enumerate()
    {
        for (per, limit) in contacts {
            // What counts everything allows twice as much.
            let limit = if scope.is_empty() { 2 * limit } else { limit };
            writeln!(
                policy,
                "[[contact_limit]]\nid = \"limit_{number}_{per}\"\nlimit = {limit}\nper = \"{per}\"\n\
                 count = \"decision\"\n{scope}"
            )
            .unwrap();
        }
    }
    for scope in ["offer", "category"] {
        writeln!(
            policy,
            "[[suppression]]\nid = \"{scope}\"\nafter = {{ outcome = \"dismiss\", times = 3, within = \"30d\" }}\n\
             pause = \"60d\"\nscope = \"{scope}\""
        )
        .unwrap();
    }
    let schema = FeatureSchema::default();
    offer::read(&schema, ("offers.toml", &offers), ("policy.toml", &policy)).unwrap()
}

const ID_BYTES: usize = 16;

/// Ids look like card numbers: sixteen digits.
fn id(number: u64) -> String {
    format!("{:016}", number.wrapping_mul(0x9E37_79B9_7F4A_7C15) % 10_000_000_000_000_000)
}

fn now() -> DateTime<Utc> {
    "2026-11-30T12:00:00Z".parse().unwrap()
}

/// Decisions and impressions of the last four weeks, customers in turn as in the life of a server.
fn fill(history: &History, catalog: &Catalog) {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(SEED);
    for round in 0..ENTRIES / 2 {
        let mut rebuild = Rebuild::new(history, now());
        for number in 0..CUSTOMERS {
            if number.is_multiple_of(10_000) {
                // Ids of decisions are remembered as long as it lasts, and do not count here.
                rebuild = Rebuild::new(history, now());
            }
            let drawn = random.next_u64();
            let before = TimeDelta::hours((ENTRIES - 2 * round) as i64 * 33);
            let at = now() - before + TimeDelta::milliseconds((drawn >> 40) as i64 % 86_400_000);
            let offer = &catalog.library.offers()[drawn as usize % OFFERS].id;
            let shown =
                [ShownOffer { offer: Arc::clone(offer), spend: Spend::default(), reservations: Vec::new() }];
            let decision = Decision {
                id: Uuid::from_u128(u128::from(number)),
                customer: &id(number),
                placement: "home",
                channel: ["app", "web"][drawn as usize >> 20 & 1],
                decided_at: at,
                shown: &shown,
            };
            rebuild.apply(&Event::Decision(decision));
            history.record_outcome(&impression(&decision, at + TimeDelta::seconds(1)));
        }
    }
}

/// The impression of the first offer of a decision.
fn impression<'a>(decision: &Decision<'a>, at: DateTime<Utc>) -> Outcome<'a> {
    Outcome {
        event_id: "",
        decision: Some(decision.id),
        customer: decision.customer,
        offer: &decision.shown[0].offer,
        placement: decision.placement,
        channel: decision.channel,
        outcome: "impression",
        spend: decision.shown[0].spend,
        occurred_at: at,
        recorded_at: at,
    }
}

/// A line of `/proc/self/status` in MB; 0 if there is none.
fn memory_mb(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kib.unwrap_or_default() * 1024.0 / 1e6
}

/// Every customer once, in random order: their ids one behind the other, so that these are read ahead.
struct Ids(String);

impl Ids {
    fn new() -> Self {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(SEED + 1);
        let mut numbers: Vec<u64> = (0..CUSTOMERS).collect();
        for place in (1..numbers.len()).rev() {
            numbers.swap(place, random.next_u64() as usize % (place + 1));
        }
        Self(numbers.into_iter().map(id).collect())
    }

    fn get(&self, call: usize) -> &str {
        let start = call % CUSTOMERS as usize * ID_BYTES;
        &self.0[start..start + ID_BYTES]
    }
}

/// The median of the rounds: nanoseconds of one of so many calls, which are numbered.
fn time(work: &str, calls: usize, mut call: impl FnMut(usize)) -> f64 {
    let round = |_| {
        let started = Instant::now();
        (0..calls).for_each(&mut call);
        started.elapsed().as_secs_f64() * 1e9 / calls as f64
    };
    let mut rounds: Vec<f64> = (0..ROUNDS).map(round).skip(1).collect();
    rounds.sort_unstable_by(f64::total_cmp);
    let (least, median, most) = (rounds[0], rounds[rounds.len() / 2], rounds[rounds.len() - 1]);
    println!("{work}: {median:.0} ns ({least:.0} to {most:.0})");
    median
}

/// One immutable view, the limits of one customer, and what they say of every offer. Returns how many are withheld.
fn view(history: &History, limits: &Limits, customer: &str, now: DateTime<Utc>) -> usize {
    let view = history.view(limits, [black_box(customer)], now);
    let gate = limits.gate(&view, 0, place(limits));
    (0..OFFERS).filter(|offer| gate.withholds(OfferIndex::new(*offer)).is_some()).count()
}

fn place(limits: &Limits) -> Place {
    limits.place(PlacementIndex::new(0), "app")
}

fn memory(history: &History, goals: &mut Goals) {
    let before = memory_mb("VmRSS:");
    let started = Instant::now();
    fill(history, &catalog(WIDE));
    let (size, resident) = (history.size(), memory_mb("VmRSS:") - before);
    println!(
        "{} customers × {ENTRIES} entries: resident {resident:.0} MB, of which {:.0} MB are accounted for; \
         {:.1} million events/s",
        size.customers,
        size.bytes as f64 / 1e6,
        (CUSTOMERS * ENTRIES) as f64 / started.elapsed().as_secs_f64() / 1e6,
    );
    assert_eq!(size.customers, CUSTOMERS as usize);
    goals.at_most("a million customers × 20 entries, resident", "MB", resident, 400.0, 250.0);
}

fn views(history: &History, ids: &Ids, goals: &mut Goals) {
    for (contacts, name) in [(WIDE, "no limit is reached"), (TIGHT, "limits are reached by some")] {
        let limits = Limits::new(history, &catalog(contacts), now()).unwrap();
        let reached = |call: &usize| view(history, &limits, ids.get(*call), now()) > 0;
        let reached = (0..CUSTOMERS as usize).filter(reached).count();
        println!("{name}: by {reached} of {CUSTOMERS} customers");
        let now = now();
        let work = format!("a view and 100 offers, {name}");
        let cold = time(&work, CUSTOMERS as usize, |call| {
            black_box(view(history, &limits, ids.get(call), now));
        });
        let hot = time(&format!("{work}; the same customer"), CUSTOMERS as usize, |_| {
            black_box(view(history, &limits, ids.get(0), now));
        });
        goals.at_most(&work, "µs", cold / 1e3, 1.0, 0.5);
        goals.at_most(&format!("{work}; the same customer"), "µs", hot / 1e3, 1.0, 0.5);
    }
}

fn changes(history: &Arc<History>, ids: &Ids) {
    let (catalog, now) = (catalog(WIDE), now());
    let limits = Arc::new(Limits::new(history, &catalog, now).unwrap());
    let place = place(&limits);
    let slate = [0, 1, 2].map(OfferIndex::new);
    time("three offers shown and taken back", CUSTOMERS as usize / 4, |call| {
        let id = Uuid::from_u128(call as u128);
        let mut one = Transaction::begin(history, &limits, id, ids.get(call), place, now);
        assert!(one.show(black_box(&slate)).is_ok());
    });
    let mut at = now;
    time("an outcome", CUSTOMERS as usize / 4, |call| {
        at += TimeDelta::milliseconds(1);
        let offer = Arc::clone(&catalog.library.offers()[call % OFFERS].id);
        let shown = [ShownOffer { offer, spend: Spend::default(), reservations: Vec::new() }];
        let decision = Decision {
            id: Uuid::from_u128(call as u128),
            customer: ids.get(call),
            placement: "home",
            channel: "app",
            decided_at: at,
            shown: &shown,
        };
        black_box(history.record_outcome(&impression(&decision, at)));
    });
}

fn main() -> ExitCode {
    // `cargo test --all-targets` runs benches, too, without this flag.
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("this bench contains no tests; run `make bench-history`");
        return ExitCode::SUCCESS;
    }
    let (history, mut goals) = (Arc::new(History::default()), Goals::default());
    memory(&history, &mut goals);
    let ids = Ids::new();
    views(&history, &ids, &mut goals);
    changes(&history, &ids);
    goals.print();
    if goals.are_reached() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
