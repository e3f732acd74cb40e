//! What the report of an experiment costs: a million recorded decisions of 400,000 customers at two placements over 28
//! days, with 400,000 outcomes, in sealed files.
//!
//! The files are written first. Then each report is made in a process of its own, and prints its time and its peak of
//! memory (Linux); files are in the page cache. The goal is 2 s and 500 MB for a million on two cores, and twice as
//! much for two million. `cargo bench -p proffer-analysis`

#![expect(clippy::unwrap_used, reason = "a bench that cannot set itself up should stop")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use event::log::take_over;
use event::proto::{DecisionRecord, OutcomeRecord, RecordedAssignment, RecordedOffer, RecordedSegment};
use event::seal::seal_all;
use event::{EVENT_BYTES, EventConfig, EventLog, EventReader, EventStore, IntoEvents, Record};
use experiment::{Guardrail, Measured, built_in};
use mimalloc::MiMalloc;
use proffer_analysis::report::ExperimentReport;
use proffer_analysis::{By, Limits, Question, Subject, business, experiment};
use telemetry::Metrics;

/// As the server has it.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Decisions of a report.
const SIZES: [u64; 2] = [1_000_000, 2_000_000];

/// Decisions for each customer, in the mean.
const EACH: f64 = 2.5;

const PHASE: u64 = 0x1234_5678_9abc_def0;

const DAY: i64 = 24 * 3_600 * 1_000_000;

/// 2026-11-01T00:00:00Z.
const START: i64 = 1_793_491_200_000_000;

const DAYS: i64 = 28;

/// How often each report is made.
const ROUNDS: usize = 3;

/// The argument by which this process is told to make reports.
const MEASURE: &str = "--measure-reports-of";

fn mixed(at: u64) -> u64 {
    let mut x = at.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn share(at: u64) -> f64 {
    (mixed(at) >> 11) as f64 / (1_u64 << 53) as f64
}

/// A batch of a few decisions and their outcomes.
struct Batch(Vec<Record>);

impl IntoEvents for Batch {
    fn events(self: Box<Self>, emit: &mut dyn FnMut(Record)) {
        self.0.into_iter().for_each(emit);
    }

    fn count(&self) -> usize {
        self.0.len()
    }
}

fn at(number: u64, all: u64) -> i64 {
    START + (DAYS * DAY / all as i64) * number as i64
}

fn id(number: u64, all: u64) -> String {
    let (millis, random) = (at(number, all) / 1_000, mixed(number ^ (1 << 60)));
    format!(
        "{:08x}-{:04x}-7{:03x}-8{:03x}-{:012x}",
        millis >> 16,
        millis & 0xffff,
        random & 0xfff,
        (random >> 12) & 0xfff,
        random >> 16
    )
}

fn decision(number: u64, all: u64) -> DecisionRecord {
    let customer = mixed(number) % (all as f64 / EACH) as u64;
    let offer = |rank: u64| RecordedOffer {
        offer_id: format!("offer_{}", (mixed(number + 7 * rank) + rank) % 20),
        priority: 10.0 * share(number + rank),
        selection_probability: 1.0,
        ..RecordedOffer::default()
    };
    DecisionRecord {
        format: 1,
        decision_id: id(number, all),
        decided_at: at(number, all),
        release: 1,
        request_id: format!("request-{number:012}"),
        placement: ["app_home", "card_page"][(number % 2) as usize].to_owned(),
        channel: "app".to_owned(),
        customer_id: format!("C{customer:09}"),
        count: 3,
        segment: Some(RecordedSegment { id: (customer % 8) as i64, distance: 1.0, margin: 0.5 }),
        assignments: vec![RecordedAssignment {
            experiment: "bench".to_owned(),
            variant: ["control", "challenger"][(mixed(customer) % 2) as usize].to_owned(),
            how: 1,
            phase: PHASE,
        }],
        offers: (0..3).map(offer).collect(),
        call_us: 500 + (mixed(number) % 1_000) as u32,
        call_customers: 1,
        ..DecisionRecord::default()
    }
}

/// The outcomes of a decision: two in five have one.
fn outcome(decision: &DecisionRecord, number: u64) -> Option<OutcomeRecord> {
    let drawn = share(number ^ (1 << 50));
    let kind = match drawn {
        drawn if drawn < 0.2 => "impression",
        drawn if drawn < 0.3 => "click",
        drawn if drawn < 0.36 => "convert",
        drawn if drawn < 0.4 => "opt_out",
        _ => return None,
    };
    Some(OutcomeRecord {
        format: 1,
        event_id: format!("event-{number:012}"),
        received_at: decision.decided_at + 3_600 * 1_000_000,
        release: 1,
        decision_id: decision.decision_id.clone(),
        placement: decision.placement.clone(),
        channel: decision.channel.clone(),
        customer_id: decision.customer_id.clone(),
        offer_id: decision.offers[0].offer_id.clone(),
        r#type: kind.to_owned(),
        value: if kind == "convert" { 100.0 * drawn } else { 0.0 },
        occurred_at: decision.decided_at + 3_000 * 1_000_000,
        attributed: true,
        decided_at: decision.decided_at,
        cost: 1.0,
        offer_value: 50.0,
        ..OutcomeRecord::default()
    })
}

/// Writes so many decisions and their outcomes as a server does, and seals them.
fn write(directory: &Path, all: u64) {
    let data = directory.join("data");
    let config = EventConfig {
        directory: data.clone(),
        queue: 256 << 20,
        log_limit: 1 << 40,
        ..EventConfig::reference()
    };
    let metrics = Arc::new(Metrics::new());
    let (log, _) = EventLog::start(&config, "bench", &metrics).unwrap();
    let recorder = log.recorder();
    let mut events = 0;
    for first in (0..all).step_by(1_000) {
        let mut records: Vec<Record> = Vec::with_capacity(1_500);
        for number in first..all.min(first + 1_000) {
            let decision = decision(number, all);
            let outcome = outcome(&decision, number);
            records.push(decision.into());
            records.extend(outcome.map(Record::from));
        }
        events += records.len() as u64;
        let reserved = loop {
            match recorder.try_reserve(records.len() * EVENT_BYTES) {
                Some(reserved) => break reserved,
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        recorder.record(reserved, Box::new(Batch(records)));
    }
    drop(recorder);
    assert_eq!(log.close(Duration::from_mins(5)).lost, 0);
    assert_eq!(metrics.events.appended.get(), events);
    let sealed = seal_all(&take_over(&data, "bench").unwrap(), &store(directory));
    assert!(sealed.failures.is_empty(), "{:?}", sealed.failures);
}

fn store(directory: &Path) -> EventStore {
    EventStore::open(directory.to_str().unwrap(), None, []).unwrap()
}

/// A line of `/proc/self/status` in MB; 0 if there is none.
fn memory_mb(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib =
        line.and_then(|rest| rest.trim_matches(|letter: char| !letter.is_ascii_digit()).parse::<f64>().ok());
    kib.unwrap_or_default() * 1024.0 / 1e6
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp_micros(START + DAYS * DAY).unwrap()
}

fn of_experiment(reader: &EventReader) -> ExperimentReport {
    let metrics = built_in();
    let index = |id: &str| metrics.iter().position(|metric| metric.id == id).unwrap();
    let guardrail = |id, tolerate| Guardrail { metric: index(id), tolerate };
    let measured = Measured {
        guardrails: vec![guardrail("opt_out_rate", 0.01), guardrail("slow_share", 0.01)],
        secondary: vec![index("engagement"), index("revenue_per_customer"), index("retention")],
        ..Measured::by(index("conversion"))
    };
    let subject = Subject {
        id: "bench",
        phase: PHASE,
        state: "running",
        coverage: 1.0,
        variants: vec![("control".to_owned(), 0.5), ("challenger".to_owned(), 0.5)],
        measured,
        metrics: &metrics,
        placements: &[],
        steps: Vec::new(),
        segments: &BTreeMap::new(),
        since: None,
    };
    experiment(reader, &subject, now(), &Limits::default()).unwrap()
}

/// Makes reports of a directory, and prints what they cost.
fn measure(directory: &Path, by: &str) {
    let reader = EventReader::new(store(directory));
    let before = memory_mb("VmRSS:");
    let (mut seconds, mut shown) = (Vec::new(), String::new());
    for _ in 0..ROUNDS {
        let began = Instant::now();
        shown = if by == "experiment" {
            let report = of_experiment(&reader);
            let customers: u64 = report.arms.iter().map(|arm| arm.customers).sum();
            let decisions: u64 = report.arms.iter().map(|arm| arm.decisions).sum();
            assert!(!report.metrics.is_empty() && report.metrics[0].comparisons[0].effect.is_some());
            format!("experiment: {decisions} decisions of {customers} customers")
        } else {
            let metrics = built_in();
            let wanted: Vec<_> = metrics.iter().filter(|metric| metric.id.ends_with("_customer")).collect();
            let question = Question {
                placement: "",
                by: By::Offer,
                from: None,
                to: None,
                metrics: &wanted,
                segments: &BTreeMap::new(),
            };
            let report = business(&reader, &question, now(), &Limits::default()).unwrap();
            format!("{} metrics by offer: {} rows", report.metrics.len(), report.rows.len())
        };
        seconds.push(began.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    println!(
        "{shown}; {:.2} s ({:.2} to {:.2}), peak {:.0} MB above {before:.0} MB",
        seconds[ROUNDS / 2],
        seconds[0],
        seconds[ROUNDS - 1],
        memory_mb("VmHWM:") - before,
    );
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(place) = arguments.iter().position(|argument| argument == MEASURE) {
        measure(Path::new(&arguments[place + 1]), &arguments[place + 2]);
        return;
    }
    for all in SIZES {
        let directory = tempfile::tempdir().unwrap();
        let began = Instant::now();
        write(directory.path(), all);
        println!("{all} decisions written and sealed in {:.0} s", began.elapsed().as_secs_f64());
        for by in ["experiment", "offers"] {
            let mut child = Command::new(std::env::current_exe().unwrap());
            let child = child.arg(MEASURE).arg(directory.path()).arg(by);
            assert!(child.status().unwrap().success());
        }
    }
}
