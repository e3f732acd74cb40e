//! The command line: parse, call one function, print. Errors list every problem and go to standard error.
//!
//! Exit codes: 0 success, 1 failure, 2 wrong command line (clap), 64 wrong configuration.

mod archive;
mod author;
mod backend;
mod check;
mod decision;
mod events;
mod experiment;
mod features;
mod given;
mod init;
mod judge;
mod metrics;
mod model;
mod outcomes;
mod output;
mod printing;
mod privacy;
mod progress;
mod rank;
mod release;
mod replay;
mod reports;
mod score;
mod segment;
mod serve;
mod shadow;
mod table;
mod typed;
mod upload;
mod values;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::printing::say;
use work::FOREIGN_STACK;

const AFTER_HELP: &str = "\
Getting started:
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
    /// Make a new store of a workspace: check all of it, copy it, make it release 1
    Init(init::InitArgs),
    /// Check all of a workspace or a store, without changing anything
    Check(check::CheckArgs),
    /// Check a configuration and print the values in effect, with where each value comes from
    CheckConfig(serve::ConfigArgs),
    /// Judge one version for the process on standard input
    #[command(hide = true)]
    Judge(judge::JudgeArgs),
    /// Ask a server to rank offers for customers
    Rank(rank::RankArgs),
    /// Ask a server to score rows of a CSV file with one model
    Score(score::ScoreArgs),
    /// Push, list, show and delete model versions
    Model(model::ModelArgs),
    /// Make, list, compare, promote, roll back and watch releases
    Release(release::ReleaseArgs),
    /// Plan, list, start, ramp, pause, stop, conclude and report on experiments
    Experiment(experiment::ExperimentArgs),
    /// Report what came of the decisions, by offer, segment or day
    Metrics(metrics::MetricsArgs),
    /// List shadows, and report what they would have decided
    Shadow(shadow::ShadowArgs),
    /// Show and list recorded decisions
    Decision(decision::DecisionArgs),
    /// Report what customers did with the offers that they were shown
    Outcomes(outcomes::OutcomesArgs),
    /// Export, verify and seal recorded events
    Events(events::EventsArgs),
    /// Decide again from records and compare, or ask what another release would have done
    Replay(replay::ReplayArgs),
    /// Make the keys for pseudonyms and sensitive values; export or erase what is known of a customer
    Privacy(privacy::PrivacyArgs),
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
    /// The exit code for a wrong configuration: `EX_USAGE` of sysexits.
    const CONFIGURATION: u8 = 64;

    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 1 }
    }

    /// A command line whose arguments contradict each other.
    fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 2 }
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
    // This comes first: it must be in the environment before ONNX Runtime loads, and before there are threads.
    let silenced = ::model::onnx::disable_telemetry().map_err(Failure::from);
    let done = silenced.and_then(|()| {
        let command = Cli::parse().command;
        // The judge limits itself while it has one thread, and has its own stacks.
        if let Command::Judge(args) = &command { judge::run(args) } else { with_stack(|| run(command)) }
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say(format_args!("error: {}", failure.message));
            ExitCode::from(failure.code)
        }
    }
}

/// Runs `work` on a thread with the stack that graphs need.
fn with_stack(work: impl FnOnce() -> Result<(), Failure> + Send) -> Result<(), Failure> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("command".to_owned()).stack_size(FOREIGN_STACK);
        let done = thread.spawn_scoped(scope, work)?.join();
        // The panic hook has reported it.
        done.unwrap_or_else(|_| Err(Failure { message: "the command panicked".to_owned(), code: 101 }))
    })
}

fn run(command: Command) -> Result<(), Failure> {
    if !matches!(command, Command::Serve(_) | Command::CheckConfig(_)) {
        serve::check_environment()?;
    }
    match command {
        Command::Serve(args) => serve::run(&args),
        Command::Init(args) => init::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Judge(args) => judge::run(&args),
        Command::CheckConfig(args) => serve::check_config(&args),
        Command::Rank(args) => rank::run(&args),
        Command::Score(args) => score::run(&args),
        Command::Model(args) => model::run(&args),
        Command::Release(args) => release::run(&args),
        Command::Experiment(args) => experiment::run(&args),
        Command::Metrics(args) => metrics::run(&args),
        Command::Shadow(args) => shadow::run(&args),
        Command::Decision(args) => decision::run(&args),
        Command::Outcomes(args) => outcomes::run(&args),
        Command::Events(args) => events::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Privacy(args) => privacy::run(&args),
        Command::Segment(command) => segment::run(&command),
        Command::Features(command) => features::run(&command),
    }
}

/// Runs a command that makes a few calls in a runtime of its own.
fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}
