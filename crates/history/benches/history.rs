//! The history at its stated size: a million customers with 20 entries each, and limits as a bank has them.
//!
//! Prints the memory of the customers, in a process of its own, with the allocator of the server; then the time of a
//! view with the gates of 100 offers, of a decision that is shown and kept, and of an outcome. Customers come in random
//! order, so that nothing of them is in the caches. `cargo bench -p proffer-history`

#![expect(clippy::unwrap_used, reason = "a bench that cannot set itself up should stop")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use criterion::Criterion;
use feature::FeatureSchema;
use mimalloc::MiMalloc;
use offer::{Catalog, OfferIndex, PlacementIndex};
use proffer_history::{Decision, Event, History, Limits, Outcome, Rebuild, ShownOffer, Spend, Transaction};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};
use uuid::Uuid;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const CUSTOMERS: u64 = 1_000_000;
/// Of each customer: decisions that show an offer, and impressions of them.
const ENTRIES: u64 = 20;
const OFFERS: usize = 100;
const SEED: u64 = 22;

/// Set in the process that measures memory alone.
const STEP: &str = "HISTORY_STEP";

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

fn report_memory() {
    let (catalog, history) = (catalog(WIDE), History::default());
    let before = memory_mb("VmRSS:");
    let started = Instant::now();
    fill(&history, &catalog);
    let size = history.size();
    println!(
        "{} customers × {ENTRIES} entries: resident {:.0} MB, of which {:.0} MB are accounted for; \
         {:.1} million events/s",
        size.customers,
        memory_mb("VmRSS:") - before,
        size.bytes as f64 / 1e6,
        (CUSTOMERS * ENTRIES) as f64 / started.elapsed().as_secs_f64() / 1e6,
    );
    assert_eq!(size.customers, CUSTOMERS as usize);
}

/// One immutable view, the limits of one customer, and what they say of every offer. Returns how many are withheld.
fn view(history: &History, limits: &Limits, customer: &str, now: DateTime<Utc>) -> usize {
    let view = history.view(limits, [customer], now);
    let gate = limits.gate(&view, 0, limits.place(PlacementIndex::new(0), "app"));
    (0..OFFERS).filter(|offer| gate.withholds(OfferIndex::new(*offer)).is_some()).count()
}

fn speed(criterion: &mut Criterion) {
    let (catalog, history) = (catalog(WIDE), Arc::new(History::default()));
    fill(&history, &catalog);
    let now = now();
    let limits = Arc::new(Limits::new(&history, &catalog, now).unwrap());
    let mut random = Xoshiro256PlusPlus::seed_from_u64(SEED + 1);
    let ids: Vec<String> = (0..100_000).map(|_| id(random.next_u64() % CUSTOMERS)).collect();
    let mut group = criterion.benchmark_group("history_1000000x20");
    let mut next = ids.iter().cycle();
    group.bench_function("view_and_100_offers", |bencher| {
        bencher.iter(|| view(&history, &limits, black_box(next.next().map_or("", String::as_str)), now));
    });
    group.bench_function("view_and_100_offers_of_one_customer", |bencher| {
        bencher.iter(|| view(&history, &limits, black_box(&ids[0]), now));
    });
    let tight = Limits::new(&history, &self::catalog(TIGHT), now).unwrap();
    let reached = ids.iter().filter(|id| view(&history, &tight, id, now) > 0).count();
    println!("{reached} of {} customers have reached a tight limit", ids.len());
    let mut next = ids.iter().cycle();
    group.bench_function("view_and_100_offers_with_tight_limits", |bencher| {
        bencher.iter(|| view(&history, &tight, black_box(next.next().map_or("", String::as_str)), now));
    });
    let mut number = 0_u128;
    let mut at = now;
    let mut next = ids.iter().cycle();
    let place = limits.place(PlacementIndex::new(0), "app");
    let slate = [0, 1, 2].map(OfferIndex::new);
    group.bench_function("show_3_offers_and_take_them_back", |bencher| {
        bencher.iter(|| {
            number += 1;
            let (id, customer) = (Uuid::from_u128(number), next.next().map_or("", String::as_str));
            let mut one = Transaction::begin(&history, &limits, id, customer, place, now);
            one.show(black_box(&slate)).is_ok()
        });
    });
    group.bench_function("outcome", |bencher| {
        bencher.iter(|| {
            number += 1;
            at += TimeDelta::milliseconds(1);
            let offer = &catalog.library.offers()[number as usize % OFFERS].id;
            let shown =
                [ShownOffer { offer: Arc::clone(offer), spend: Spend::default(), reservations: Vec::new() }];
            let decision = Decision {
                id: Uuid::from_u128(number),
                customer: next.next().map_or("", String::as_str),
                placement: "home",
                channel: "app",
                decided_at: at,
                shown: &shown,
            };
            history.record_outcome(&impression(&decision, at))
        });
    });
    group.finish();
}

fn main() {
    // `cargo test --all-targets` runs benches, too, without this flag.
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("this bench contains no tests; run `cargo bench -p proffer-history`");
        return;
    }
    if std::env::var_os(STEP).is_some() {
        return report_memory();
    }
    let this = std::env::current_exe().unwrap();
    let status = Command::new(this).arg("--bench").env(STEP, "memory").status().unwrap();
    assert!(status.success(), "the memory could not be measured");
    let mut criterion = Criterion::default().configure_from_args();
    speed(&mut criterion);
    criterion.final_summary();
}
