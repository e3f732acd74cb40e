//! What assignment costs a customer: ten experiments in the native scheme, with a holdout and three groups.
//!
//! Ids differ from customer to customer, and come in the order of the numbers in them. Prints the time for one customer
//! with each scheme, and for the native scheme with ids that are not ASCII. Then the native scheme is compared with its
//! goal; exits with 1 where it is missed. `cargo bench -p proffer-experiment`

#![expect(clippy::unwrap_used, reason = "a bench that cannot set itself up should stop")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::Instant;

use chrono::{DateTime, Utc};
use criterion::{Criterion, Throughput};
use document::Document;
use goals::Goals;
use proffer_experiment::{Experiments, Forced, Names, PlacementNames, Scheme, Standing, read};

#[path = "../../../benches/serving/goals.rs"]
#[expect(dead_code, reason = "every goal of this bench is an upper bound")]
mod goals;

/// Ids of one iteration.
const CUSTOMERS: usize = 1_000;

/// Rounds of the comparison with the goal; their median counts.
const ROUNDS: usize = 301;

/// Ten experiments of three variants each at one placement; every third is in a group.
fn experiments(scheme: &str) -> Experiments<()> {
    let mut policy = String::from("[holdout]\nshare = 0.01\nredraw = \"monthly\"\n");
    for number in 0..10 {
        let group = if number % 3 == 0 {
            let [start, end] = [number / 3, number / 3 + 1].map(|edge| f64::from(edge) / 4.0);
            format!("group = \"ranking\"\ngroup_range = [{start:?}, {end:?}]")
        } else {
            String::new()
        };
        write!(
            policy,
            "[[experiment]]\nid = \"experiment_{number}\"\nscheme = \"{scheme}\"\ncoverage = 0.5\n{group}\n\
             [[experiment.variant]]\nid = \"control\"\nweight = 0.5\n\
             [[experiment.variant]]\nid = \"first\"\nweight = 0.25\n\
             [[experiment.variant]]\nid = \"second\"\nweight = 0.25\n"
        )
        .unwrap();
    }
    let placements = [PlacementNames { id: "home", models: Vec::new() }];
    let names = Names {
        placements: &placements,
        categories: &[],
        context_weights: &[],
        offers: &[],
        outcomes: &[],
        zone: chrono_tz::Europe::Berlin,
    };
    let policy = Document::parse("policy.toml", &policy).unwrap();
    let offers = Document::parse("offers.toml", "").unwrap();
    let experiments = read(&policy.root(), &offers.root(), &names, |_, _| None);
    policy.finish(experiments).unwrap()
}

fn main() -> ExitCode {
    let mut criterion = Criterion::default().configure_from_args();
    let now = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
    let ascii: Vec<String> = (0..CUSTOMERS).map(|number| format!("C{:06}", 10_000 + number * 7)).collect();
    let wide: Vec<String> = ascii.iter().map(|id| format!("Zoë-{id}")).collect();
    let mut group = criterion.benchmark_group("ten_experiments");
    group.throughput(Throughput::Elements(CUSTOMERS as u64));
    for (name, _) in Scheme::ALL {
        let experiments = experiments(name);
        group.bench_function(name, |bencher| bencher.iter(|| arms(&experiments, &ascii, now)));
    }
    let experiments = experiments("growthbook");
    group.bench_function("growthbook_not_ascii", |bencher| bencher.iter(|| arms(&experiments, &wide, now)));
    group.finish();
    criterion.final_summary();
    let mut goals = Goals::default();
    let took = median_per_customer(|| arms(&experiments, &ascii, now));
    goals.at_most("ten experiments for a customer", "ns", took, 200.0, 200.0);
    goals.print();
    if goals.are_reached() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Nanoseconds per customer of a round over all ids, in the median of the rounds.
fn median_per_customer(mut round: impl FnMut() -> usize) -> f64 {
    let mut took: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let began = Instant::now();
            black_box(round());
            began.elapsed().as_nanos() as f64 / CUSTOMERS as f64
        })
        .collect();
    took.sort_by(f64::total_cmp);
    took[ROUNDS / 2]
}

/// How many arms these customers are in, one customer after the other.
fn arms(experiments: &Experiments<()>, ids: &[String], now: DateTime<Utc>) -> usize {
    let forced = Forced::default();
    let draws = experiments.at(0, now, &forced);
    let mut arms = Vec::with_capacity(10);
    let mut count = 0;
    for id in ids {
        if draws.assign(black_box(id), |_, ()| true, &mut arms) == Standing::Open {
            count += arms.len();
        }
    }
    count
}
