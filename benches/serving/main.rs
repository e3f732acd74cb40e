//! The performance of the server on this machine with the sample workspace, without its limits, experiment and shadow:
//! latency, rates, start-up, memory, and the parts of a decision. Prints one table and asserts nothing about speed; takes
//! about a minute. Some figures need Linux.
//!
//! `cargo bench --bench serving`
//! `cargo bench --bench serving -- records` measures records instead (`records.rs`), `-- limits` limits and
//! outcomes (`limits.rs`), `-- experiments` experiments (`experiments.rs`), and `-- shadows` shadows (`shadows.rs`).
//!
//! Consecutive calls are for different customers: all of them, in a shuffled order with a fixed seed. A repeated row
//! would teach the branch predictor the trees of the model. Figures are the median of the passes, with the minimum and
//! maximum in brackets, which show the variation of the machine.
//!
//! Calls over gRPC go to the release binary in its own process, with the default configuration. The client is one
//! thread on the same cores, so the rates are lower bounds; the CPU time per call is the server's alone. The last
//! column is the CPU usage of other programs: if it is not close to 0, the row means little.
//!
//! On an idle virtual machine, waking a thread on another core costs tens of µs. Sequential calls pay that with every
//! hand-over; under load no thread sleeps. `taskset -c 0` in front shows the figures without it. Start reading at
//! [`main`].

#![expect(clippy::unwrap_used, reason = "a bench that cannot set itself up should stop")]

mod experiments;
mod facts;
mod goals;
#[path = "../trees/grown.rs"]
mod grown;
mod in_process;
mod limits;
mod measure;
#[path = "../trees/onnx.rs"]
mod onnx;
mod over_grpc;
mod parts;
mod records;
mod sample;
mod server;
mod shadows;
#[path = "../../tests/server/unlimited.rs"]
mod unlimited;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;

use in_process::Engine;
use measure::{Spread, print_heading, print_row};
use sample::Visit;
use server::Server;

/// That of the program: what one thread has decoded, another frees.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How often the server is started for the start-up time.
const STARTS: usize = 7;

/// The placements of the sample, with their models.
const PLACEMENTS: [(&str, &str); 3] = [
    ("app_home", "LightGBM, 200 trees"),
    ("email_monthly", "network of 3 layers"),
    ("call_center", "a regression per offer"),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    // `cargo test --all-targets` runs benches, too, without this flag.
    if !arguments.iter().any(|argument| argument == "--bench") {
        println!("this bench contains no tests; run `cargo bench --bench serving`");
        return ExitCode::SUCCESS;
    }
    model::onnx::disable_telemetry().unwrap();
    facts::print();
    if arguments.iter().any(|argument| argument == "records") {
        return if records::run() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    if arguments.iter().any(|argument| argument == "limits") {
        return if limits::run() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    if arguments.iter().any(|argument| argument == "experiments") {
        return if experiments::run() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    if arguments.iter().any(|argument| argument == "shadows") {
        return if shadows::run() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    measure_serving();
    ExitCode::SUCCESS
}

fn measure_serving() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store");
    make_store(&store, &workspace(directory.path()));

    let server = start_repeatedly(&store, directory.path());
    let engine = Arc::new(Engine::load(&store));
    let visits: Arc<[Visit]> = sample::visits(&engine.snapshot.customers).into();
    let client = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let over_grpc = client.block_on(over_grpc::run(&server, &engine, &visits));
    println!();
    print_memory("memory after the load", &server);
    drop(server);

    // As in `proffer serve`.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let in_process = runtime.block_on(in_process::run(&engine, &visits));
    // On a thread of the runtime, where calls are answered.
    runtime.block_on(runtime.spawn(parts::run(Arc::clone(&engine), Arc::clone(&visits)))).unwrap();
    println!(
        "over gRPC, 1 connection, the median call takes {:.0} µs more than in process; a bare call takes {:.0} µs",
        over_grpc.rank_p50 - in_process,
        over_grpc.bare_p50,
    );
}

/// The sample workspace without its limits, experiment and shadow, in `directory`.
fn workspace(directory: &Path) -> PathBuf {
    let (models, copy) = (Path::new(env!("CARGO_MANIFEST_DIR")).join("models"), directory.join("workspace"));
    let copied = Command::new("cp").arg("-R").arg(models).arg(&copy).status().unwrap();
    assert!(copied.success(), "the sample workspace cannot be copied");
    unlimited::remove_limits(&copy);
    unlimited::remove_experiments(&copy);
    copy
}

/// Creates a store from a workspace, as `make run` does.
fn make_store(store: &Path, workspace: &Path) {
    let mut init = Command::new(server::BINARY);
    let output = init.arg("init").arg("--store").arg(store).arg("--from").arg(workspace).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    println!("{}", String::from_utf8_lossy(&output.stdout).trim_end().rsplit(": ").next().unwrap());
}

/// Measures the start-up of the server, and its memory when idle; returns the last server started.
fn start_repeatedly(store: &Path, logs: &Path) -> Server {
    let mut seconds = Vec::with_capacity(STARTS);
    let mut last = None;
    for _ in 0..STARTS {
        drop(last.take());
        let server = Server::start(store, logs, &[]);
        seconds.push(server.ready_after.as_secs_f64() * 1e3);
        last = Some(server);
    }
    print_heading("Start and rest");
    print_row(&format!("exec to /readyz 200, ms, {STARTS} starts, files cached"), [Spread::of(seconds)]);
    let server = last.unwrap();
    std::thread::sleep(std::time::Duration::from_secs(1));
    print_memory("memory at rest, 1 s after ready", &server);
    server
}

fn print_memory(when: &str, server: &Server) {
    println!("{when:<62}{}", server.process().memory());
}
