//! The swap test: releases are swapped under load, and no call fails, blocks or mixes two of them.
//!
//! The server runs in a process of its own. A pipeline pushes a few sets of models ([`sets`]) and creates many releases
//! of them ([`releases`]). It promotes one after another, interleaved with promotions that must be rejected
//! ([`swaps`]). Meanwhile `Rank` and `Score` arrive by a schedule ([`load`]). An experiment runs, with other arms in each
//! set ([`arms`]). Each answer must belong entirely to the release that it names ([`answers`]). That release must have
//! been current during the call, and no answer may go back to an older one ([`history`]). The cost of swapping for
//! callers is printed ([`analysis`], [`report`]), and what swaps leave in memory ([`memory`]).
//!
//! Swaps come in rounds: a series of swaps, then a quiet interval. The windows of a series follow each other closely,
//! so that each covers one load and the retirement after it. They are compared with the quiet intervals between them,
//! on the same machine within minutes. The short form here asserts nothing that depends on time; `make swap-test` runs
//! the full one against the release binary and checks its limits.

mod analysis;
mod answers;
mod arms;
mod history;
mod load;
pub(crate) mod machine;
mod memory;
mod pipeline;
mod questions;
mod releases;
mod report;
mod sets;
mod statistics;
mod swaps;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::binary::{self, Process};
use super::harness::{admin_get, sample_workspace};
use analysis::Analysis;
use answers::Catalogue;
use history::History;
use load::{Client, Observer};
use machine::Watch;
use pipeline::Pipeline;
use questions::Question;
use releases::Releases;
use report::Report;
use sets::Set;
use swaps::{Pace, Promoter};

/// The load, as a fraction of the peak.
const SHARE: f64 = 0.3;

/// The size of a run.
#[derive(Debug, Clone, Copy)]
struct Scale {
    swaps: usize,
    rejections: usize,
    /// Swaps per round, after the first.
    per_round: usize,
    pace: Pace,
    /// Number and length of the passes that measure the peak; the best counts.
    passes: usize,
    pass: Duration,
    /// The highest rate, in calls per second.
    max_rate: f64,
}

/// This must pass on a busy machine, too, so the load stays small.
const SHORT: Scale = Scale {
    swaps: 30,
    rejections: 6,
    per_round: 10,
    pace: Pace { step: Duration::ZERO, length: Duration::ZERO, quiet: Duration::from_millis(500) },
    passes: 1,
    pass: Duration::from_millis(500),
    max_rate: 150.0,
};

/// Bursts of swaps; the rest of each round is quiet. A step is as long as the window of a swap. So each window covers
/// one load, and the costs of consecutive swaps do not mix.
const FULL: Scale = Scale {
    swaps: 1000,
    rejections: 100,
    per_round: 25,
    pace: Pace {
        step: Duration::from_millis(330),
        length: Duration::from_secs(450),
        quiet: Duration::from_secs(2),
    },
    passes: 3,
    pass: Duration::from_secs(3),
    max_rate: f64::INFINITY,
};

#[test]
fn swaps_under_load_fail_no_call_and_mix_no_answer() {
    let report = run(SHORT);
    println!("{report}");
    let broken = report.broken();
    assert!(broken.is_empty(), "{}\n{report}", broken.join("\n"));
}

#[test]
#[ignore = "takes ten minutes on an otherwise idle machine: make swap-test"]
fn full() {
    let number = |name: &str, default: usize| {
        std::env::var(name)
            .map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name}={value}")))
    };
    let length = number("PROFFER_TEST_SWAP_SECONDS", FULL.pace.length.as_secs() as usize);
    let report = run(Scale {
        swaps: number("PROFFER_TEST_SWAPS", FULL.swaps),
        rejections: number("PROFFER_TEST_REFUSALS", FULL.rejections),
        per_round: number("PROFFER_TEST_SWAPS_PER_ROUND", FULL.per_round),
        pace: Pace { length: Duration::from_secs(length as u64), ..FULL.pace },
        ..FULL
    });
    println!("{report}");
    let wrong = [report.broken(), report.over_limits()].concat();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn run(scale: Scale) -> Report {
    let began = Instant::now();
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store");
    let made = binary::init(&store, &sample_workspace());
    assert_eq!(made.code, Some(0), "{made:?}");
    let mut command = binary::command();
    // What is remembered of decisions for their outcomes grows up to a bound of its own: no swap leaves it behind.
    command.env("PROFFER_FEEDBACK_DECISIONS", "1MiB");
    let server = Process::start(command, &store);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut pipeline = runtime.block_on(Pipeline::connect(server.address));
    let (created, catalogue, questions) = runtime.block_on(prepare(&mut pipeline, &server, &store, scale));
    let (current, _) = runtime.block_on(pipeline.current()).unwrap();

    let observer = Arc::new(Observer::new(catalogue, questions));
    let client = Client::connect(server.address, Arc::clone(&observer));
    let peaks = client.peak(scale.passes, scale.pass);
    let best = peaks.iter().copied().fold(0.0, f64::max);
    let rate = (SHARE * best).min(scale.max_rate);
    let before = published(server.admin);
    let (watch, start) = (Watch::new(server.id()), observer.now());
    let load = client.start(rate);
    let promoter = Promoter::new(pipeline, &observer, created, &server, current);
    let rounds = swaps::rounds(scale.swaps, scale.rejections, scale.per_round);
    let (log, promoted) = runtime.block_on(promoter.run(&rounds, scale.pace));
    let loaded = observer.now().saturating_sub(start);
    let calls = load.finish();
    let cores = watch.cores();
    let published = published(server.admin) - before;

    let history = History::new(&log.publications);
    Report {
        binary: binary::binary(),
        elapsed: began.elapsed(),
        peaks,
        rate,
        analysis: Analysis::of(&calls, &log.attempts, loaded),
        cores,
        failures: (observer.failures(), observer.examples()),
        not_current: history.not_current(&calls),
        gone_back: history.gone_back(&calls),
        releases_seen: history.seen(&calls),
        in_variants: observer.in_variants(),
        published,
        promoter: promoted,
        calls,
        log,
    }
}

/// Fills the store, and records the answers of each set to the `Score` calls. Afterwards the last of the first releases
/// is current.
async fn prepare(
    pipeline: &mut Pipeline,
    server: &Process,
    store: &Path,
    scale: Scale,
) -> (Releases, Catalogue, Vec<Question>) {
    let sets = Set::all(&sample_workspace());
    let damaged = swaps::damaged(scale.rejections);
    let began = Instant::now();
    let (created, catalogue) = releases::prepare(pipeline, store, sets, scale.swaps, damaged).await;
    eprintln!("{} releases were created in {:.1?}", scale.swaps + damaged, began.elapsed());
    let mut questions = questions::questions(&sample_workspace());
    for (set, release) in created.first.iter().enumerate() {
        pipeline.promote(*release, None).await.unwrap();
        learn_scores(server.address, set, *release, &mut questions).await;
    }
    for question in &questions {
        if let Question::Score(score) = question {
            agree(&catalogue.sets, score);
        }
    }
    (created, catalogue, questions)
}

/// Makes every `Score` call while `release`, one of `set`, is the only one to serve.
async fn learn_scores(address: SocketAddr, set: usize, release: u64, questions: &mut [Question]) {
    let mut client = pipeline::decisions(address).await;
    for question in questions {
        if let Question::Score(score) = question {
            let answer = client.score(score.request.clone()).await.unwrap().into_inner();
            assert_eq!(answer.release, release);
            score.expected[set] = answer.values;
        }
    }
}

/// Checks that the graphs of all sets agree: each set's scores follow from those of the first through the calibrations.
fn agree(sets: &[Set], score: &questions::Score) {
    let calibration = |set: &Set| set.calibrations[score.model()];
    for set in sets {
        let first = &score.expected[0];
        assert_eq!(score.expected[set.number].len(), first.len());
        for (found, of_first) in score.expected[set.number].iter().zip(first) {
            let raw = calibration(&sets[0]).score(f64::from(*of_first));
            let expected = calibration(set).propensity(raw);
            assert!(
                (f64::from(*found) - expected).abs() < 1e-5,
                "set {}: {found}, not {expected}",
                set.number
            );
        }
    }
}

/// The server's count of published releases.
fn published(admin: SocketAddr) -> u64 {
    metric(admin, "proffer_snapshots_published_total") as u64
}

/// A metric of the server that has no labels.
fn metric(admin: SocketAddr, name: &str) -> f64 {
    let metrics = admin_get(admin, "/metrics").unwrap();
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("no {name} in\n{metrics}"))
}
