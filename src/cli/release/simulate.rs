//! `proffer release simulate`: what would change for all customers, or for recorded requests, if a release were
//! promoted.

use std::ops::ControlFlow;
use std::path::PathBuf;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use clap::Args;

use crate::cli::archive::{ArchiveArgs, Selection, releases};
use crate::cli::privacy::unknown_keys;
use crate::cli::replay::{ReportArgs, Style};
use crate::cli::values::moment;
use crate::cli::{Failure, progress};
use event::proto::DecisionRecord;
use event::read::ReadProgress;
use event::{Query, SealedError};
use history::{History, recover_past};
use release::Deployer;
use replay::{
    Comparison, CustomerNames, Named, Options, SimulatedHistory, Simulation, check_placements, simulate,
    simulate_records, without_customers,
};

const AFTER_HELP: &str = "\
Examples:
  proffer release simulate 5 --store var/store                  release 5 against the current one
  proffer release simulate 5 --store var/store --data var/data  with the last minutes of a server
  proffer release simulate 5 --base 3 --placement app_home --store var/store --html effect.html
  proffer release simulate 5 --from 2026-11-01 --store var/store   for the requests that were recorded since

With --from or --to, both releases decide for the recorded requests of that time instead of for all customers.
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
    /// Requests that were decided at this time or later, such as 2026-12-24T18:00:00Z, or a day (midnight in UTC)
    #[arg(long, value_name = "TIME", value_parser = moment)]
    from: Option<DateTime<Utc>>,
    /// Requests that were decided before this time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    to: Option<DateTime<Utc>>,
    /// The moment of all decisions, such as 2026-12-24T18:00:00Z, or a day (midnight in UTC) [default: now]
    #[arg(long, value_name = "TIME", value_parser = moment, conflicts_with_all = ["from", "to"])]
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

/// `json`: whether the report is to be printed as one line of JSON.
pub(super) fn run(args: &SimulateArgs, store: &str, json: bool) -> Result<(), Failure> {
    let archive = ArchiveArgs { store: store.to_owned(), keys: args.keys.clone(), data: args.data.clone() };
    let inputs = archive.inputs();
    args.report.check(&inputs)?;
    let style = if json { Style::JsonLine } else { args.report.style() };
    let selection = Selection { from: args.from, to: args.to, ..Selection::default() };
    let query = selection.query()?;
    let base = match args.base {
        Some(base) => base,
        None => crate::cli::backend::current_of(store)?,
    };
    let deployer = archive.deployer()?;
    let compared = if args.from.is_some() || args.to.is_some() {
        of_records(args, &archive, &query, deployer, base)?
    } else {
        of_customers(args, &archive, &deployer, base)?
    };
    args.report.print_comparison(&compared, style, &inputs)
}

/// For the recorded requests that the query wants.
fn of_records(
    args: &SimulateArgs,
    archive: &ArchiveArgs,
    query: &Query,
    deployer: Deployer,
    base: u64,
) -> Result<Comparison, Failure> {
    let named = |number: u64| -> Result<Named, Failure> {
        let snapshot = without_customers(deployer.release(number)?);
        Ok(Named { snapshot, name: format!("release {number}") })
    };
    let (before, after) = (named(base)?, named(args.release)?);
    check_placements((&before, &after), &args.placement)?;
    let (privacy, reading) = (archive.privacy()?, ReadProgress::default());
    let reader = archive.reader()?.with_progress(reading.clone());
    let releases = releases(deployer);
    let is_wanted = |placement: &String| args.placement.is_empty() || args.placement.contains(placement);
    let source = |emit: &mut dyn FnMut(DecisionRecord) -> ControlFlow<()>| -> Result<(), SealedError> {
        reader.scan(query, &mut |mut record| {
            if !is_wanted(&record.placement) {
                return ControlFlow::Continue(());
            }
            privacy.open(&mut record);
            emit(record)
        })
    };
    let bar = progress::read("requests");
    let options = Options { threads: args.report.threads, ..Options::default() };
    let load = |number| releases.get(number);
    let compared =
        simulate_records(source, load, (&before, &after), options, |requests| bar.read(requests, &reading))?;
    bar.clear();
    Ok(compared)
}

/// For all customers of the store.
fn of_customers(
    args: &SimulateArgs,
    archive: &ArchiveArgs,
    deployer: &Deployer,
    base: u64,
) -> Result<Comparison, Failure> {
    let now = args.as_of.unwrap_or_else(|| Utc::now().trunc_subsecs(3));
    let (before, after) = (named(deployer, base)?, named(deployer, args.release)?);
    let history = history(archive, [&before, &after], (now, args.as_of))?;
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
    Ok(compared)
}

fn named(deployer: &Deployer, number: u64) -> Result<Named, Failure> {
    let snapshot = deployer.with_customers_of_store(deployer.release(number)?)?;
    Ok(Named { snapshot, name: format!("release {number}") })
}

/// How long an outcome that comes again is known to be a duplicate.
const DEDUPLICATED: TimeDelta = TimeDelta::days(30);

/// What was recorded, as far as the limits of these releases look at it from `now`. `until`: what was recorded before;
/// by default all is, since the clock of a server may be ahead of this one.
fn history(
    archive: &ArchiveArgs,
    releases: [&Named; 2],
    (now, until): (DateTime<Utc>, Option<DateTime<Utc>>),
) -> Result<SimulatedHistory, Failure> {
    let pseudonyms = archive.privacy()?.pseudonyms;
    let history = History::new(DEDUPLICATED);
    let catalogs = releases.map(|named| named.snapshot.release.catalog());
    let reader = archive.reader()?;
    let past = recover_past(&history, &reader, &catalogs, DEDUPLICATED, (now, until))?;
    if past.pseudonym_keys.iter().any(|key| !key.is_empty()) {
        let mut keys = reader.pseudonym_keys(&Query::default())?;
        keys.retain(|key| past.pseudonym_keys.contains(&key.id) && !pseudonyms.knows(key));
        if let Some(unknown) = unknown_keys(&keys, &pseudonyms) {
            return Err(Failure::new(format!(
                "{unknown}, so that limits know the history of their customers"
            )));
        }
    }
    Ok(SimulatedHistory::new(history, CustomerNames::new(pseudonyms)))
}
