//! Outcomes by the thousand, and the decisions that they are looked up among.
//!
//!     cargo bench -p proffer-history --bench feedback

#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use event::privacy::Pseudonyms;
use event::{EventConfig, EventLog, EventReader, EventStore};
use feature::FeatureSchema;
use offer::Catalog;
use proffer_history::feedback::{Feedback, FeedbackParts, ReportedOutcome, Serving, Verdict, WhenNoRoom};
use proffer_history::{Decision, History, RecentDecisions, ShownOffer, Spend};
use telemetry::Metrics;
use uuid::Uuid;

/// Outcomes of a call.
const OUTCOMES: u64 = 1_000;

/// Decisions that outcomes are of.
const DECISIONS: u64 = 100_000;

fn now() -> DateTime<Utc> {
    "2026-11-30T12:00:00Z".parse().unwrap()
}

fn catalog() -> Catalog {
    let offers =
        "[[offer]]\nid = \"a\"\nname = \"a\"\ncategory = \"cards\"\nplacements = [\"home\"]\nvalue = 100.0\n";
    let policy = "[[category]]\nid = \"cards\"\n[[placement]]\nid = \"home\"\nchannels = [\"app\"]\ncount = 3\nmodel = \"m\"\n\
                  [attribution]\nclick = \"1d\"\n";
    offer::read(&FeatureSchema::default(), ("offers.toml", offers), ("policy.toml", policy)).unwrap()
}

/// A UUIDv7 of a decision just now; its last bits are as random as those of a server.
fn id(number: u64) -> Uuid {
    let millis = now().timestamp_millis().cast_unsigned();
    let random = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 2;
    Uuid::from_u128(u128::from(millis) << 80 | 7 << 76 | 2 << 62 | u128::from(random))
}

fn remember(recent: &RecentDecisions, number: u64, shown: &[ShownOffer]) {
    let customer = format!("C{:06}", number % 50_000);
    let decided_at = now() - TimeDelta::minutes(1);
    let (placement, channel) = ("home", "app");
    recent.remember(&Decision { id: id(number), customer: &customer, placement, channel, decided_at, shown });
}

fn outcome(number: u64) -> ReportedOutcome {
    ReportedOutcome {
        event_id: format!("0190a000-{number:012}"),
        decision_id: id(number % DECISIONS).to_string(),
        offer_id: "a".to_owned(),
        outcome_type: "click".to_owned(),
        occurred_at: Some(now()),
        ..ReportedOutcome::default()
    }
}

fn outcomes(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store");
    std::fs::create_dir(&store).unwrap();
    let store = EventStore::open(store.to_str().unwrap(), None, Vec::new()).unwrap();
    let config = EventConfig { directory: directory.path().join("data"), ..EventConfig::reference() };
    let metrics = Arc::new(Metrics::new());
    let (log, _) = EventLog::start(&config, "bench", &metrics).unwrap();
    let (history, catalog) = (Arc::new(History::default()), catalog());
    let recent = Arc::new(RecentDecisions::new(&history, 64 << 20, ""));
    let spend = Spend { cost_micros: 2_500_000, value_micros: 100_000_000 };
    let shown = [ShownOffer { offer: "a".into(), spend, reservations: Vec::new() }];
    let mut group = criterion.benchmark_group("recent");
    let mut number = 0;
    group.bench_function("remember", |bench| {
        bench.iter(|| {
            remember(&recent, number, &shown);
            number += 1;
        });
    });
    (0..DECISIONS).for_each(|number| remember(&recent, number, &shown));
    println!("{} decisions in {} bytes", recent.len(), recent.memory_bytes());
    group.bench_function("find", |bench| {
        bench.iter(|| {
            number += 1;
            black_box(recent.find(id(number % DECISIONS)))
        });
    });
    group.finish();
    let feedback = Feedback::new(FeedbackParts {
        history,
        recent,
        reader: EventReader::new(store).with_logs(log.log_files()),
        log: log.recorder(),
        pseudonyms: Pseudonyms::default(),
        metrics,
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut group = criterion.benchmark_group("feedback");
    group.throughput(Throughput::Elements(OUTCOMES));
    let mut next = 0;
    group.bench_function("record 1000", |bench| {
        bench.iter_batched(
            || {
                next += OUTCOMES;
                (next - OUTCOMES..next).map(outcome).collect::<Vec<_>>()
            },
            |batch| {
                let serving = Serving { catalog: &catalog, release: 1 };
                let verdicts =
                    runtime.block_on(feedback.record(batch, serving, WhenNoRoom::Waits, now())).unwrap();
                assert!(matches!(verdicts[0], Verdict::Accepted(_)), "{:?}", verdicts[0]);
                verdicts
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
    assert_eq!(log.close(Duration::from_secs(30)).lost, 0);
}

criterion_group!(benches, outcomes);
criterion_main!(benches);
