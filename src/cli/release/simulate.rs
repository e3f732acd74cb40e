//! `proffer release simulate`: what would change for all customers if a release were promoted.

use chrono::{DateTime, SubsecRound, Utc};
use clap::Args;

use crate::app::App;
use crate::cli::replay::ReportArgs;
use crate::cli::values::moment;
use crate::cli::{Failure, progress};
use release::{Deployer, Store};
use replay::{Named, Options, Simulation, simulate};

const AFTER_HELP: &str = "\
Examples:
  proffer release simulate 5 --store var/store                  release 5 against the current one
  proffer release simulate 5 --base 3 --placement app_home --store var/store --html effect.html";

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct SimulateArgs {
    /// The release to try
    #[arg(value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    release: u64,
    /// The release to compare with [default: the current one]
    #[arg(long, value_name = "M")]
    base: Option<u64>,
    /// Only this placement; may be given several times [default: all of both releases]
    #[arg(long, value_name = "ID")]
    placement: Vec<String>,
    /// The moment of all decisions, such as 2026-12-24T18:00:00Z, or a day (midnight in UTC) [default: now]
    #[arg(long, value_name = "TIME", value_parser = moment)]
    as_of: Option<DateTime<Utc>>,
    #[command(flatten)]
    report: ReportArgs,
}

pub(super) fn run(args: &SimulateArgs, store: &str) -> Result<(), Failure> {
    let store = Store::open(store, None)?;
    let base = match args.base {
        Some(base) => base,
        None => store.current()?.current.release,
    };
    let (_, deployer) = App::offline(store)?;
    let simulation = Simulation {
        before: named(&deployer, base)?,
        after: named(&deployer, args.release)?,
        placements: args.placement.clone(),
        now: args.as_of.unwrap_or_else(|| Utc::now().trunc_subsecs(0)),
        options: Options { threads: args.report.threads, ..Options::default() },
    };
    let customers = simulation.after.snapshot.customers.len() as u64;
    let bar = progress::counted("customers");
    let compared = simulate(&simulation, |done| bar.at(done, customers))?;
    bar.clear();
    args.report.print_comparison(&compared)
}

fn named(deployer: &Deployer, number: u64) -> Result<Named, Failure> {
    let snapshot = deployer.with_customers_of_store(deployer.release(number)?)?;
    Ok(Named { snapshot, name: format!("release {number}") })
}
