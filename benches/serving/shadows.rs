//! What shadows cost calls: the table of `make bench-shadows`.
//!
//! The sample workspace without its limits, three times: without a shadow; with one that is compared on a tenth of the
//! decisions, whose version has the same graph as the champion's; and with one that has a hundred times the trees and is
//! compared on all. Where calls leave the shadow no time, its decisions are shed: how many is printed. Start reading at
//! [`run`].

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use proffer::grpc::proto::proffer::v1 as wire;

use crate::goals::Goals;
use crate::in_process::Engine;
use crate::measure::{Spread, counted, print_columns, print_row};
use crate::over_grpc::{rank, rank_in_turns};
use crate::sample::{self, Visit};
use crate::server::Server;
use crate::{PLACEMENTS, experiments, grown};

/// The connections of the loop that measures rates.
const CONNECTIONS: usize = 16;

/// The customers of a batch.
const BATCH: usize = 64;

/// The model that the placement of the calls uses.
const MODEL: &str = "propensity";

/// The shadow, in policies and labels of metrics.
const SHADOW: &str = "challenger";

/// Trees and leaves of the slow version; the champion has 200 trees of as many leaves.
const SLOW: (usize, usize) = (20_000, 31);

const SEED: u64 = 24;

/// How often the servers take turns while latencies are measured.
const ROUNDS: usize = 5;

/// How long what waits may take to be compared before the other server is measured.
const PATIENCE: Duration = Duration::from_mins(1);

/// A shadow that is compared on this share of the decisions.
fn shadow(sample: &str) -> String {
    format!("\n[[shadow]]\nid = \"{SHADOW}\"\nsample = {sample}\nmodels = {{ {MODEL} = 2 }}\n")
}

/// Measures everything and prints the table; whether all goals are reached.
pub(crate) fn run() -> bool {
    let directory = tempfile::tempdir().unwrap();
    let none = store(&directory.path().join("none"), "", |_| {});
    let tenth = store(&directory.path().join("tenth"), &shadow("0.1"), experiments::second_version);
    let slow = store(&directory.path().join("slow"), &shadow("1.0"), slow_version);
    let visits = sample::visits(&Engine::load(&none.join("store")).snapshot.customers);
    let mut goals = Goals::default();
    let client = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    client.block_on(async {
        rates([&none, &tenth], &visits, &mut goals).await;
        for connections in [1, 4] {
            latencies([&none, &slow], connections, &visits, &mut goals).await;
        }
    });
    goals.print();
    goals.are_reached()
}

/// Makes a store in `place`, of the sample workspace with these lines at the end of its policy; returns `place`.
fn store(place: &Path, policy: &str, add_version: impl Fn(&Path)) -> PathBuf {
    fs::create_dir(place).unwrap();
    let workspace = crate::workspace(place);
    let file = workspace.join("policy.toml");
    fs::write(&file, fs::read_to_string(&file).unwrap() + policy).unwrap();
    add_version(&workspace);
    crate::make_store(&place.join("store"), &workspace);
    place.to_owned()
}

/// Adds version 2 of the model, which takes about a hundred times as long.
fn slow_version(workspace: &Path) {
    let manifest = fs::read_to_string(workspace.join(MODEL).join("1/model.toml")).unwrap();
    // Calibration, checksums and notes are those of the other graph.
    let (head, _) = manifest.split_once("\n[calibration]").unwrap();
    let (_, inputs) = head.split_once("inputs = [").unwrap();
    let inputs = inputs.split(']').next().unwrap().matches(',').count();
    let head = head.replace("latency_budget_ms = 50", "latency_budget_ms = 60000");
    let version = workspace.join(MODEL).join("2");
    fs::create_dir(&version).unwrap();
    fs::write(
        version.join("model.toml"),
        format!("{head}\n[calibration]\nmethod = \"platt\"\na = 1.0\nb = -2.0\n"),
    )
    .unwrap();
    fs::write(version.join("model.onnx"), grown::model(SLOW.0, SLOW.1, inputs, SEED)).unwrap();
}

/// The rate of calls beside a shadow that is compared on a tenth of them.
async fn rates([without, with]: [&Path; 2], visits: &[Visit], goals: &mut Goals) {
    let single: Arc<[wire::RankRequest]> = sample::for_each(visits, |visit| visit.message(PLACEMENTS[0].0));
    let batches: Arc<[wire::RankRequest]> =
        visits.chunks_exact(BATCH).map(|some| sample::batch(some, PLACEMENTS[0].0).1).collect();
    for (requests, of) in [(single, "one customer"), (batches, "64 customers")] {
        let servers = [without, with].map(|place| Server::start(&place.join("store"), place, &[]));
        println!(
            "\n{:<62}{:>26}{:>9}{:>9}",
            "Over gRPC on loopback, the client on the same cores", "calls/s", "CPU µs", "others"
        );
        let turns = rank_in_turns([&servers[0], &servers[1]], &requests, CONNECTIONS).await;
        turns.print(&format!("Rank of {of}, {CONNECTIONS} connections, no shadow"), 0);
        turns.print(&format!("Rank of {of}, {CONNECTIONS} connections, a shadow of 10 %"), 1);
        print_row("ratio of a round", [turns.ratio()]);
        print_compared(&servers[1]);
        let goal = format!("Rank of {of}: a shadow of 10 % to none");
        goals.at_least(&goal, "×", turns.ratio().median, 0.85, 0.92);
    }
}

/// The p99 of calls beside a shadow that is far slower and never done.
async fn latencies(places: [&Path; 2], connections: usize, visits: &[Visit], goals: &mut Goals) {
    let requests = sample::for_each(visits, |visit| visit.message(PLACEMENTS[0].0));
    let servers = places.map(|place| Server::start(&place.join("store"), place, &[]));
    let connected = counted(connections, "connection");
    print_columns("Over gRPC on loopback, the client on the same cores", "calls/s");
    let mut ratios = Vec::with_capacity(ROUNDS);
    for round in 0..ROUNDS {
        let mut p99 = [0.0; 2];
        // In the order 0 1, 1 0, so that a drift of the machine cancels out.
        for turn in [round % 2, 1 - round % 2] {
            let measured = rank(&servers[turn], &requests, connections).await;
            measured
                .print(&format!("Rank, {connected}, {}", ["no shadow", "a slow shadow of 100 %"][turn]), 1);
            p99[turn] = measured.quantile(0.99).median;
            // What waits would take from the next turn.
            drain(&servers[1]).await;
        }
        ratios.push(p99[1] / p99[0]);
    }
    let ratio = Spread::of(ratios);
    print_row("p99 beside the shadow to p99 without, by round", [ratio]);
    print_compared(&servers[1]);
    goals.at_most(
        &format!("p99 of Rank, {connected}: a shadow of 100 × to none"),
        "×",
        ratio.median,
        1.1,
        1.05,
    );
}

/// Waits until nothing waits for the shadow.
async fn drain(server: &Server) {
    let began = Instant::now();
    while server.metric("proffer_shadow_queued") > 0.0 {
        assert!(began.elapsed() < PATIENCE, "the shadow is not done after {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Prints how many decisions were compared, and how many were not.
fn print_compared(server: &Server) {
    let count = |what: &str| {
        let name = format!("proffer_shadow_{what}_total{{shadow=\"{SHADOW}\"}}");
        server.labelled_metric(&name).unwrap_or(0.0)
    };
    println!(
        "{:.0} decisions compared, {:.0} shed, {:.0} failed",
        count("compared"),
        count("shed"),
        count("failed")
    );
}
