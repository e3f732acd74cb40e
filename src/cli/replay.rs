//! `proffer replay`: decides again from records, and compares; or asks what another release would have done.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use uuid::Uuid;

use super::archive::{ArchiveArgs, Selection, releases};
use super::printing::{print, print_contents};
use super::upload::read_optional;
use super::{Failure, progress};
use event::proto::DecisionRecord;
use event::read::{ReadProgress, read_file};
use event::{EventReader, Kind, Query, Record, SealedError};
use release::Deployer;
use replay::identity::{self, replay};
use replay::{Comparison, Named, Options, Privacy, what_if};

const AFTER_HELP: &str = "\
Examples:
  proffer replay --store var/store --from 2026-11-01             decide again: is every answer the same?
  proffer replay --store var/store --data var/data --decision ID
  proffer replay --input decisions.parquet --rescore             also ask the models again
  proffer replay --from 2026-11-01 --release 5                   who would get what with release 5?
  proffer replay --from 2026-11-01 --policy policy.toml --html effect.html";

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct ReplayArgs {
    #[command(flatten)]
    archive: ArchiveArgs,
    #[command(flatten)]
    selection: Selection,
    /// Only this decision; may be given several times
    #[arg(long, value_name = "ID")]
    decision: Vec<Uuid>,
    /// Read records from this Parquet file instead, as `proffer events export` writes it
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Also ask the models again, and compare their scores
    #[arg(long, conflicts_with_all = ["release", "offers", "policy"])]
    rescore: bool,
    /// What if this release had decided?
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    release: Option<u64>,
    /// What if the current release (or --release) had these offers?
    #[arg(long, value_name = "FILE")]
    offers: Option<PathBuf>,
    /// What if the current release (or --release) had this policy?
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    #[command(flatten)]
    report: ReportArgs,
}

/// How a report is printed.
#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// How the report is printed
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Also write the report as one HTML page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Threads that decide; 0 = one per core
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub threads: usize,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
}

pub(super) fn run(args: &ReplayArgs) -> Result<(), Failure> {
    let mut query = args.archive.query(&args.selection)?;
    query.decision_ids = args.decision.iter().map(Uuid::to_string).collect();
    let (deployer, privacy) = (args.archive.deployer()?, args.archive.privacy()?);
    let reading = ReadProgress::default();
    let input = match &args.input {
        Some(file) => Input::File(file, &reading),
        None => Input::Archive(args.archive.reader()?.with_progress(reading.clone())),
    };
    let bar = progress::read("decisions");
    let shown = |decisions| bar.read(decisions, &reading);
    if args.release.is_some() || args.offers.is_some() || args.policy.is_some() {
        let other = other(args, &deployer)?;
        let releases = releases(deployer);
        let options = Options { threads: args.report.threads, ..Options::default() };
        let source = |emit: &mut Emit<'_>| input.read(&query, &privacy, emit);
        let compared = what_if(source, |number| releases.get(number), &other, options, shown)?;
        bar.clear();
        return args.report.print_comparison(&compared);
    }
    let releases = releases(deployer);
    let options = identity::Options { rescore: args.rescore, threads: args.report.threads };
    let source = |emit: &mut Emit<'_>| input.read(&query, &privacy, emit);
    let replayed = replay(source, &releases, options, shown)?;
    bar.clear();
    let (text, json, html) = (|| replayed.text(), || replayed.json(), || replayed.html());
    args.report.print(text, json, html)?;
    if replayed.records() == 0 {
        return Err(Failure::new("no record was found: nothing was compared"));
    }
    if !replayed.is_identical() {
        return Err(Failure::new("not every answer is the same"));
    }
    Ok(())
}

type Emit<'a> = dyn FnMut(DecisionRecord) -> ControlFlow<()> + 'a;

/// Where records come from.
enum Input<'a> {
    File(&'a Path, &'a ReadProgress),
    Archive(EventReader),
}

impl Input<'_> {
    fn read(&self, query: &Query, privacy: &Privacy, emit: &mut Emit<'_>) -> Result<(), SealedError> {
        let emit = &mut |mut record: DecisionRecord| {
            privacy.open(&mut record);
            emit(record)
        };
        match self {
            Self::File(file, progress) => read_file(file, Kind::Decision, query, progress, &mut |entry| {
                if let Record::Decision(record) = entry.record {
                    emit(*record)
                } else {
                    ControlFlow::Continue(())
                }
            }),
            Self::Archive(reader) => reader.scan(query, emit),
        }
    }
}

/// The release that a what-if asks about.
fn other(args: &ReplayArgs, deployer: &Deployer) -> Result<Named, Failure> {
    let number = match args.release {
        Some(number) => number,
        None => super::backend::current_of(&args.archive.store)?,
    };
    let (offers, policy) = (read_optional(args.offers.as_ref())?, read_optional(args.policy.as_ref())?);
    let name = match (&args.offers, &args.policy) {
        (None, None) => format!("release {number}"),
        (Some(file), None) | (None, Some(file)) => format!("release {number} with {}", file.display()),
        (Some(offers), Some(policy)) => {
            format!("release {number} with {} and {}", offers.display(), policy.display())
        }
    };
    let release = if offers.is_none() && policy.is_none() {
        deployer.release(number)?
    } else {
        deployer.changed_release(number, offers, policy)?
    };
    Ok(Named { snapshot: replay::without_customers(release), name })
}

impl ReportArgs {
    /// Prints what another release would change.
    pub(super) fn print_comparison(&self, compared: &Comparison) -> Result<(), Failure> {
        self.print(|| compared.text(), || compared.json(), || compared.html())
    }

    fn print(
        &self,
        text: impl FnOnce() -> String,
        json: impl FnOnce() -> Result<String, serde_json::Error>,
        html: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        if let Some(file) = &self.html {
            fs::write(file, html()).map_err(|error| Failure::new(format!("{}: {error}", file.display())))?;
        }
        match self.format {
            Format::Text => print(text().trim_end()),
            Format::Json => print_contents(&json()?),
        }
    }
}
