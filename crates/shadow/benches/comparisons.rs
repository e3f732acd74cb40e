//! What a report of a million comparisons costs: counting them, and making text, JSON and HTML of what they add up to.
//!
//! Each comparison has 10 offers of which 3 are shown; they are at 4 placements, for 8 segments, and made before the
//! clock starts. Prints the time for a million, and the memory that the tally takes beside them. The goal is 2 s and
//! 500 MB. `cargo bench -p proffer-shadow`

#![expect(clippy::unwrap_used, reason = "a bench that cannot set itself up should stop")]

use std::fs;
use std::hint::black_box;

use criterion::{Criterion, Throughput};
use proffer_shadow::{Compared, ComparedOffer, Comparison, ModelVersion, Names, Ranked, Tally};

/// Comparisons that are made; they are counted over and over.
const MADE: u64 = 20_000;

/// Comparisons of a report.
const ALL: u64 = 1_000_000;

const OFFERS: u64 = 10;

fn share(at: u64) -> f64 {
    let mut x = at.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x ^ (x >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

fn comparison(at: u64) -> Comparison {
    let scores: Vec<[f64; 2]> = (0..OFFERS)
        .map(|offer| {
            let score = 0.2 * share(at * OFFERS + offer);
            [score, score * (0.8 + 0.4 * share(at * OFFERS + offer + (1 << 40)))]
        })
        .collect();
    let order = |side: usize| {
        let mut order: Vec<u32> = (0..OFFERS as u32).collect();
        order.sort_by(|one, other| scores[*other as usize][side].total_cmp(&scores[*one as usize][side]));
        order
    };
    let orders = [order(0), order(1)];
    let ranked = |offer: usize, side: usize| {
        let place = orders[side].iter().position(|found| *found as usize == offer).unwrap();
        Some(Ranked {
            rank: place as u32 + 1,
            score: scores[offer][side],
            priority: 100.0 * scores[offer][side],
        })
    };
    let offer = |offer: usize| ComparedOffer {
        offer_id: format!("offer_{offer}"),
        value: 100.0,
        champion: ranked(offer, 0),
        shadow: ranked(offer, 1),
    };
    let models = |version| vec![ModelVersion { name: "propensity".to_owned(), version }];
    Comparison {
        shadow: "challenger".to_owned(),
        placement: format!("placement_{}", at % 4),
        segment: Some((at % 8) as i64),
        decision_id: format!("{at:032x}"),
        decided_at: at as i64,
        release: 7,
        champion_models: models(7),
        shadow_models: models(8),
        result: Ok(Compared {
            offers: (0..OFFERS as usize).map(offer).collect(),
            champion_shown: orders[0][..3].to_vec(),
            shadow_shown: orders[1][..3].to_vec(),
            withheld_by_champion_only: 0,
            withheld_by_shadow_only: 0,
            champion_us: 20 + (at % 100) as u32,
            shadow_us: 25 + (at % 130) as u32,
        }),
    }
}

fn count(comparisons: &[Comparison], n: u64) -> Tally {
    let mut tally = Tally::default();
    for comparison in comparisons.iter().cycle().take(n as usize) {
        tally.add(comparison);
    }
    tally
}

/// Resident memory of this process, in MB.
fn resident() -> f64 {
    let status = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: f64 = status.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0.0);
    pages * 4096.0 / 1e6
}

fn main() {
    let comparisons: Vec<Comparison> = (0..MADE).map(comparison).collect();
    let before = resident();
    let tally = count(&comparisons, ALL);
    println!("memory of a tally of {ALL} comparisons: {:.1} MB", resident() - before);

    let mut criterion = Criterion::default().sample_size(10).configure_from_args();
    let mut group = criterion.benchmark_group("shadow");
    group.throughput(Throughput::Elements(ALL));
    group.bench_function("count a million comparisons", |bencher| {
        bencher.iter(|| count(black_box(&comparisons), ALL));
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("report as text, JSON and HTML", |bencher| {
        bencher.iter(|| {
            let report = black_box(&tally).report(&Names::default());
            (report.text().len(), report.json().unwrap().len(), report.html().len())
        });
    });
    group.finish();
    criterion.final_summary();
}
