//! The Rust side of the comparison with common alternatives: other servers, the client that measures them all, and the
//! engines in this process. Driven by `peers.py`, which creates the models and prints the table:
//!
//! `make bench-peers`
//!
//! Every command prints one line of JSON per result. Servers and engines end when their standard input is closed, so
//! that none outlives its driver. Start reading at [`Command`].

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a bench that cannot set itself up should stop"
)]

mod answers;
mod bare;
mod client;
mod data;
mod decision;
mod echo;
mod in_process;
mod plain;
mod requests;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use serde_json::json;

use crate::requests::Case;

#[derive(Parser)]
struct Arguments {
    /// Added by Cargo; `cargo test --all-targets` runs benches without it.
    #[arg(long, global = true)]
    bench: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Prints the paths of this program and the server.
    Where,
    /// Serves the trees with tonic and ONNX Runtime alone.
    Bare { folder: PathBuf },
    /// Receives the messages of `Score` and answers without any work.
    Echo,
    /// Calls a server in a closed loop, or, with zero seconds, a few times to check its answers.
    Client(Target),
    /// Scores in this process, as requested on standard input.
    InProcess { folder: PathBuf },
    /// Decides in this process, as requested on standard input.
    Decide { folder: PathBuf },
}

#[derive(clap::Args)]
struct Target {
    case: Case,
    address: SocketAddr,
    folder: PathBuf,
    #[arg(long, default_value_t = 16)]
    connections: usize,
    #[arg(long, default_value_t = 0.0)]
    seconds: f64,
    /// The index of the first connection's first request.
    #[arg(long, default_value_t = 0)]
    first: usize,
    /// The processes of the server, whose CPU time is read.
    #[arg(long, value_delimiter = ',')]
    pids: Vec<u32>,
}

fn main() {
    let arguments = Arguments::parse();
    let Some(command) = arguments.command.filter(|_| arguments.bench) else {
        println!("nothing is measured without a command; run `make bench-peers`");
        return;
    };
    model::onnx::disable_telemetry().unwrap();
    match command {
        Command::Where => {
            let this = std::env::current_exe().unwrap();
            println!("{}", json!({"peers": this, "proffer": env!("CARGO_BIN_EXE_proffer")}));
        }
        Command::Bare { folder } => plain::serve(bare::Bare::new(&folder)),
        Command::Echo => plain::serve(echo::Echo),
        Command::Client(target) => client::run(&target),
        Command::InProcess { folder } => in_process::run(&folder),
        Command::Decide { folder } => decision::run(&folder),
    }
}
