//! `proffer release simulate`: what would change for all customers if a release were promoted.

use std::path::PathBuf;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use clap::Args;

use crate::cli::archive::ArchiveArgs;
use crate::cli::replay::ReportArgs;
use crate::cli::values::moment;
use crate::cli::{Failure, progress};
use history::{History, recover_past};
use release::Deployer;
use replay::{CustomerNames, Named, Options, SimulatedHistory, Simulation, simulate};

const AFTER_HELP: &str = "\
Examples:
  proffer release simulate 5 --store var/store                  release 5 against the current one
  proffer release simulate 5 --store var/store --data var/data  with the last minutes of a server
  proffer release simulate 5 --base 3 --placement app_home --store var/store --html effect.html

Limits look at what is sealed in the store, and at the logs of the data directories.";

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
    /// Also read the log in this data directory, of a server that runs or does not; may be given several times
    #[arg(long, value_name = "DIR")]
    data: Vec<PathBuf>,
    /// The file of the keys of the records, to know the history of customers who have pseudonyms in it
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    #[command(flatten)]
    report: ReportArgs,
}

pub(super) fn run(args: &SimulateArgs, store: &str) -> Result<(), Failure> {
    let archive = ArchiveArgs { store: store.to_owned(), keys: args.keys.clone(), data: args.data.clone() };
    let base = match args.base {
        Some(base) => base,
        None => crate::cli::backend::current_of(store)?,
    };
    let deployer = archive.deployer()?;
    let now = args.as_of.unwrap_or_else(|| Utc::now().trunc_subsecs(0));
    let (before, after) = (named(&deployer, base)?, named(&deployer, args.release)?);
    let history = history(&archive, [&before, &after], now)?;
    let simulation = Simulation {
        before,
        after,
        placements: args.placement.clone(),
        now,
        history,
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

/// How long an outcome that comes again is known to be a duplicate.
const DEDUPLICATED: TimeDelta = TimeDelta::days(30);

/// What was recorded before `now`, as far as the limits of these releases look at it.
fn history(
    archive: &ArchiveArgs,
    releases: [&Named; 2],
    now: DateTime<Utc>,
) -> Result<SimulatedHistory, Failure> {
    let pseudonyms = archive.privacy()?.pseudonyms;
    let history = History::new(DEDUPLICATED);
    let catalogs = releases.map(|named| named.snapshot.release.catalog());
    let past = recover_past(&history, &archive.reader()?, &catalogs, DEDUPLICATED, now)?;
    let has_key = |key: &str| key.is_empty() || pseudonyms.keys().any(|known| known == key);
    if let Some(key) = past.pseudonym_keys.iter().find(|key| !has_key(key)) {
        return Err(Failure::new(format!(
            "customers have pseudonyms of the key `{key}` in the records: give its file with --keys, so that limits know \
             their history"
        )));
    }
    Ok(SimulatedHistory::new(history, CustomerNames::new(pseudonyms)))
}
