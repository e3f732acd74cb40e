//! The command line: parse, call one function, print. Errors list every problem and go to standard error.
//!
//! Exit codes: 0 done, 1 failed, 2 the command line is wrong (clap), 64 the configuration is wrong.

mod backend;
mod check;
mod features;
mod init;
mod model;
mod rank;
mod release;
mod score;
mod segment;
mod serve;
mod table;
mod typed;
mod upload;
mod values;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

const AFTER_HELP: &str = "\
To begin:
  proffer init --store var/store --from models     make a store of the sample workspace
  proffer serve --store var/store                  serve it
  proffer rank --placement app_home --customer C000001 --explain";

/// Decides the next best offer for a credit-card customer.
#[derive(Debug, Parser)]
#[command(name = "proffer", version, about, after_help = AFTER_HELP, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve a store over gRPC until SIGTERM
    Serve(serve::ServeArgs),
    /// Make a new store of a workspace: check it whole, copy it, make it release 1
    Init(init::InitArgs),
    /// Check a workspace or a store whole, without changing anything
    Check(check::CheckArgs),
    /// Check a configuration and print what holds, with where each value comes from
    CheckConfig(serve::ConfigArgs),
    /// Ask a server to rank offers for customers
    Rank(rank::RankArgs),
    /// Ask a server to score rows of a CSV file with one model
    Score(score::ScoreArgs),
    /// Push, list, show and delete model versions
    Model(model::ModelArgs),
    /// Make, list, compare, promote, roll back and watch releases
    Release(release::ReleaseArgs),
    /// Train segments of customers
    #[command(subcommand)]
    Segment(segment::SegmentCommand),
    /// The embedded feature store
    #[command(subcommand)]
    Features(features::FeaturesCommand),
}

/// Why a command failed: what is printed, and the exit code.
#[derive(Debug)]
struct Failure {
    message: String,
    code: u8,
}

impl Failure {
    /// The configuration is wrong: `EX_USAGE` of sysexits.
    const CONFIGURATION: u8 = 64;

    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 1 }
    }

    fn configuration(error: impl std::fmt::Display) -> Self {
        Self { message: error.to_string(), code: Self::CONFIGURATION }
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { message: error.to_string(), code: 1 }
    }
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    // First of all: it must be in the environment before ONNX Runtime is, and before there are threads.
    let silenced = crate::model::onnx::disable_telemetry().map_err(Failure::from);
    let done = silenced.and_then(|()| run(Cli::parse().command));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {}", failure.message);
            ExitCode::from(failure.code)
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    if !matches!(command, Command::Serve(_) | Command::CheckConfig(_)) {
        serve::check_environment()?;
    }
    match command {
        Command::Serve(args) => serve::run(&args),
        Command::Init(args) => init::run(&args),
        Command::Check(args) => check::run(&args),
        Command::CheckConfig(args) => serve::check_config(&args),
        Command::Rank(args) => rank::run(&args),
        Command::Score(args) => score::run(&args),
        Command::Model(args) => model::run(&args),
        Command::Release(args) => release::run(&args),
        Command::Segment(command) => segment::run(&command),
        Command::Features(command) => features::run(&command),
    }
}

/// A runtime for a command that makes a few calls.
fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// Prints to standard output; a reader that has gone (`| head`) is no error.
fn print(text: impl std::fmt::Display) -> Result<(), Failure> {
    write_line(text).map(|_| ())
}

/// Prints a value as one line of JSON.
fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    print(serde_json::to_string(value)?)
}

/// Prints to standard output; false where its reader has gone.
fn write_line(text: impl std::fmt::Display) -> Result<bool, Failure> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error.into()),
    }
}
