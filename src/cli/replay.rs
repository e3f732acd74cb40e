//! `proffer replay`: decides again from records, and compares; or asks what another release, or a shadow, would have
//! done.

mod shadows;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};
use uuid::Uuid;

use self::shadows::Shadows;
use super::archive::{ArchiveArgs, Selection, releases};
use super::given::GivenFiles;
use super::output::{Audience, Output, STANDARD};
use super::printing::{print, print_contents, print_json};
use super::upload::read_optional;
use super::values::threads;
use super::{Failure, progress};
use event::proto::DecisionRecord;
use event::read::{ReadProgress, read_file};
use event::{EventReader, Kind, Query, Record, SealedError};
use release::Deployer;
use replay::identity::{self, replay};
use replay::{Comparison, Named, Options, Privacy, Subject, what_if};

const AFTER_HELP: &str = "\
Examples:
  proffer replay --store var/store --from 2026-11-01             decide again: is every answer the same?
  proffer replay --store var/store --data var/data --decision ID
  proffer replay --input decisions.parquet --rescore             also ask the models again
  proffer replay --from 2026-11-01 --release 5                   who would get what with release 5?
  proffer replay --from 2026-11-01 --policy policy.toml --html effect.html
  proffer replay --from 2026-11-01 --shadow                      what would the shadows of the release show?
  proffer replay --shadow propensity_v8 --policy policy.toml     and that of a policy which is not released yet?";

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
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    input: Option<PathBuf>,
    /// Also ask the models again, and compare their scores
    #[arg(long, conflicts_with_all = ["release", "offers", "policy", "shadow"])]
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
    /// What would the shadows of the current release (or --release, with --offers and --policy) have decided? With an
    /// ID, only that one
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    #[expect(clippy::option_option, reason = "it may be absent, or there without an id")]
    shadow: Option<Option<String>>,
    /// With --shadow: compare each only on the decisions that a server samples for it
    #[arg(long, requires = "shadow")]
    sampled: bool,
    #[command(flatten)]
    report: ReportArgs,
}

/// How a report is printed.
#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// How the report is printed
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Also write the report as one HTML page; with -, print the page instead
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Threads that decide, at most 1024; 0 = one per core
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, value_parser = threads)]
    pub threads: usize,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
}

pub(super) fn run(args: &ReplayArgs) -> Result<(), Failure> {
    let files = [&args.input, &args.offers, &args.policy].into_iter().flatten().map(PathBuf::as_path);
    let inputs: Vec<&Path> = args.archive.inputs().into_iter().chain(files).collect();
    args.report.check(&inputs)?;
    let mut query = args.archive.query(&args.selection)?;
    query.decision_ids = args.decision.iter().map(Uuid::to_string).collect();
    let (deployer, privacy) = (args.archive.deployer()?, args.archive.privacy()?);
    let reading = ReadProgress::default();
    let input = match &args.input {
        Some(file) => Input::File(file, &reading),
        None => Input::Archive(args.archive.reader()?.with_progress(reading.clone())),
    };
    let check_customers = |found| match &input {
        Input::File(..) => Ok(()),
        Input::Archive(reader) => args.archive.check_customers(&args.selection, reader, found),
    };
    let bar = progress::read("decisions");
    let shown = |decisions| bar.read(decisions, &reading);
    if let Some(wanted) = &args.shadow {
        let other = other(args, &deployer)?;
        let shadows = Shadows::new(args, wanted.as_deref(), &other)?;
        let releases = releases(deployer);
        let source = |emit: &mut Emit<'_>| input.read(&query, &privacy, emit);
        let replayed = shadows.replay(source, |number| releases.get(number), shown)?;
        bar.clear();
        check_customers(replayed.records)?;
        return shadows.print(args, &replayed, &inputs);
    }
    if args.release.is_some() || args.offers.is_some() || args.policy.is_some() {
        let other = other(args, &deployer)?;
        let releases = releases(deployer);
        let options = Options { threads: args.report.threads, ..Options::default() };
        let source = |emit: &mut Emit<'_>| input.read(&query, &privacy, emit);
        let compared = what_if(source, |number| releases.get(number), &other, options, shown)?;
        bar.clear();
        check_customers(match &compared.subject {
            Subject::Records(records) => records.records,
            Subject::Customers(customers) => customers.customers,
        })?;
        return args.report.print_comparison(&compared, args.report.style(), &inputs);
    }
    let releases = releases(deployer);
    let options = identity::Options { rescore: args.rescore, threads: args.report.threads };
    let source = |emit: &mut Emit<'_>| input.read(&query, &privacy, emit);
    let replayed = replay(source, &releases, options, shown)?;
    bar.clear();
    check_customers(replayed.records())?;
    args.report.write_html(
        || replayed.html(),
        &inputs,
        || match args.report.style() {
            Style::Text => print(replayed.text().trim_end()),
            Style::Json | Style::JsonLine => print_contents(&replayed.json()?),
        },
    )?;
    if replayed.answers() == 0 {
        let found = match replayed.records() {
            0 => "no record was found".to_owned(),
            1 => "the record has an error instead of an answer".to_owned(),
            records => format!("the {records} records have errors instead of answers"),
        };
        return Err(Failure::new(format!("{found}: nothing was compared")));
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
    let given =
        GivenFiles::new([("offers.toml", args.offers.as_ref()), ("policy.toml", args.policy.as_ref())]);
    let release = if offers.is_none() && policy.is_none() {
        deployer.release(number)?
    } else {
        deployer.changed_release(number, offers, policy).map_err(|error| given.failure(error))?
    };
    Ok(Named { snapshot: replay::without_customers(release), name })
}

/// How a report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Text,
    /// Indented.
    Json,
    /// On one line, as the commands with `--json` print it.
    JsonLine,
}

impl ReportArgs {
    pub(super) fn style(&self) -> Style {
        match self.format {
            Format::Text => Style::Text,
            Format::Json => Style::Json,
        }
    }

    /// Refuses, before the work begins, a page that could not be written. `inputs`: as in [`Output::open`].
    pub(super) fn check(&self, inputs: &[&Path]) -> Result<(), Failure> {
        self.html.as_ref().map_or(Ok(()), |file| Output::check(file, inputs))
    }

    /// Prints what another release would change.
    pub(super) fn print_comparison(
        &self,
        compared: &Comparison,
        style: Style,
        inputs: &[&Path],
    ) -> Result<(), Failure> {
        self.write_html(
            || compared.html(),
            inputs,
            || match style {
                Style::Text => print(compared.text().trim_end()),
                Style::Json => print_contents(&compared.json()?),
                Style::JsonLine => print_json(compared),
            },
        )
    }

    /// Writes the page, if one is asked for, and prints the report, unless the page is printed.
    fn write_html(
        &self,
        html: impl FnOnce() -> String,
        inputs: &[&Path],
        print: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let Some(file) = &self.html else { return print() };
        Output::open(file, Audience::Usual, inputs)?.write_whole(html())?;
        if file == Path::new(STANDARD) { Ok(()) } else { print() }
    }
}
