//! `proffer events`: export, verify and seal what is recorded.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use super::archive::{ArchiveArgs, Selection};
use super::output::{Audience, Output};
use super::printing::{print, print_pretty_json, say};
use super::privacy::obey;
use super::{Failure, progress};
use document::{agreeing, plural};
use event::EventError;
use event::erasure::Heartbeats;
use event::export::{ExportFormat, export};
use event::log::{Cut, Recovery, take_over};
use event::seal::seal_all;
use event::verify::verify;
use replay::names;

const AFTER_HELP: &str = "\
Examples:
  proffer events export --store var/store --from 2026-11-01 --format parquet --out decisions.parquet
  proffer events export --store var/store --kind shadow --format jsonl --out shadows.jsonl
  proffer events verify --store var/store --data var/data
  proffer events seal var/data --store var/store      the log of a server that never starts again";

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct EventsArgs {
    #[command(subcommand)]
    command: EventsCommand,
}

#[derive(Debug, Subcommand)]
enum EventsCommand {
    /// Write recorded decisions, outcomes or comparisons with shadows to one file
    Export {
        #[command(flatten)]
        archive: ArchiveArgs,
        #[command(flatten)]
        selection: Selection,
        /// What is exported
        #[arg(long, value_enum, default_value = "decision")]
        kind: Kind,
        /// The format: parquet has the columns of sealed files, jsonl everything by name, csv the flat columns
        #[arg(long, value_enum, default_value = "parquet")]
        format: Format,
        /// The file to write; one that exists is replaced, - is standard output
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Read every sealed file and every log whole: checksums, order, gaps
    Verify {
        /// The store that holds the sealed records: a directory, or <s3://BUCKET/PREFIX>
        #[arg(long, value_name = "STORE", default_value = "store")]
        store: String,
        /// Also read the log in this data directory, of a server that runs or does not; may be given several times
        #[arg(long, value_name = "DIR")]
        data: Vec<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Seal the log of a server that no longer runs into a store, and delete it
    Seal {
        /// The data directory of the server
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        /// The store to seal it into: a directory, or <s3://BUCKET/PREFIX>
        #[arg(long, value_name = "STORE", default_value = "store")]
        store: String,
        /// The file of the keys of the records, to know who was erased since the server ended
        #[arg(long, value_name = "FILE")]
        keys: Option<PathBuf>,
    },
}

/// The kinds of events.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// Decisions.
    Decision,
    /// Outcomes.
    Outcome,
    /// Comparisons with shadows.
    Shadow,
}

impl From<Kind> for event::Kind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Decision => Self::Decision,
            Kind::Outcome => Self::Outcome,
            Kind::Shadow => Self::Shadow,
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Parquet,
    Jsonl,
    Csv,
}

/// What was found, for JSON.
#[derive(Debug, Serialize)]
struct Verified {
    sealed_files: u64,
    log_files: u64,
    events: u64,
    bytes: u64,
    problems: Vec<Found>,
}

#[derive(Debug, Serialize)]
struct Found {
    file: String,
    message: String,
}

pub(super) fn run(args: &EventsArgs) -> Result<(), Failure> {
    match &args.command {
        EventsCommand::Export { archive, selection, kind, format, out } => {
            let format = match format {
                Format::Parquet => ExportFormat::Parquet,
                Format::Jsonl => ExportFormat::JsonLines,
                Format::Csv => ExportFormat::Csv,
            };
            exported(archive, selection, (*kind).into(), format, out)
        }
        EventsCommand::Verify { store, data, json } => {
            verified(&ArchiveArgs { store: store.clone(), keys: None, data: data.clone() }, *json)
        }
        EventsCommand::Seal { directory, store, keys } => {
            sealed(directory, &ArchiveArgs { store: store.clone(), keys: keys.clone(), data: Vec::new() })
        }
    }
}

fn exported(
    archive: &ArchiveArgs,
    selection: &Selection,
    kind: event::Kind,
    format: ExportFormat,
    path: &Path,
) -> Result<(), Failure> {
    let query = archive.query(selection)?;
    let (reader, releases) = (archive.reader()?, archive.releases()?);
    let mut out = Output::open(path, Audience::Usual, &archive.inputs())?;
    if format == ExportFormat::Parquet && out.is_terminal() {
        return Err(Failure::usage("Parquet is not for a terminal; name a file with --out"));
    }
    let named = |release| names(&releases, release);
    let shown = PathBuf::from(out.shown());
    let done = export(&reader, kind, &query, format, (&shown, &mut out), &named);
    if out.reader_has_gone() {
        return Ok(());
    }
    let found = done?;
    let (events, is_stream) = (plural(found, kind.name()), out.is_stream());
    let told = format!("{}: {events}, {} bytes", shown.display(), out.finish()?);
    archive.check_customers(selection, &reader, found)?;
    if is_stream {
        say(told);
        return Ok(());
    }
    print(told)
}

fn verified(archive: &ArchiveArgs, json: bool) -> Result<(), Failure> {
    let bar = progress::bytes("verifying");
    let found = verify(&archive.events()?, &archive.logs()?, &mut |at| bar.at(at.done, at.all))?;
    bar.clear();
    let event::verify::Verification { sealed_files, log_files, events, bytes, problems } = found;
    let problems: Vec<Found> =
        problems.into_iter().map(|problem| Found { file: problem.file, message: problem.message }).collect();
    let count = problems.len();
    if json {
        print_pretty_json(&Verified { sealed_files, log_files, events, bytes, problems })?;
    } else {
        for problem in &problems {
            print(format!("{}: {}", problem.file, problem.message))?;
        }
        let files = plural(sealed_files, "sealed file");
        let logs = plural(log_files, "log file");
        let events = plural(events, "event");
        print(format!("{files} and {logs} with {events} ({bytes} bytes sealed)"))?;
    }
    if count > 0 {
        return Err(Failure::new(plural(count, "problem")));
    }
    Ok(())
}

fn sealed(directory: &Path, archive: &ArchiveArgs) -> Result<(), Failure> {
    let taken = match take_over(directory, "proffer events seal") {
        Err(EventError::Locked { holder, .. }) => {
            let shown = directory.display();
            return Err(Failure::new(format!(
                "{shown} is in use by {holder}; wait until it ends (a server that runs seals its own log)"
            )));
        }
        taken => taken?,
    };
    let events = archive.events()?;
    taken.recovery().cuts.iter().for_each(|cut| say(shown_cut(cut)));
    // Who was erased since the server ended does not go to the store.
    let (erasures, server) = (archive.erasures()?, taken.files().server());
    if let Some(error) = obey(&taken, &erasures, &archive.privacy()?)?.into_iter().next() {
        return Err(error.into());
    }
    let done = seal_all(&taken, &events);
    for (log, sealed) in &done.logs {
        let events = plural(sealed.events(), "event");
        print(format!("{}: {events} sealed", log.path.display()))?;
    }
    for (log, error) in &done.failures {
        // Those about the log begin with its path.
        let (path, error) = (log.path.display().to_string(), error.to_string());
        say(if error.starts_with(&path) { error } else { format!("{path}: {error}") });
    }
    let left = done.failures.len();
    if left > 0 {
        return Err(Failure::new(format!(
            "{} could not be sealed and {} still there",
            plural(left, "log file"),
            agreeing(left, "is", "are")
        )));
    }
    let unread = unread(taken.recovery());
    if !unread.is_empty() {
        unread.iter().for_each(say);
        return Err(Failure::new(format!(
            "what could be read is sealed, and events may be missing: see to the {} above, then run the command again",
            plural(unread.len(), "thing")
        )));
    }
    // Erasures need not wait for it any more.
    Heartbeats::new(erasures).remove(server)?;
    print(format!("server {server}: nothing is left in {}", directory.display()))
}

/// What was cut off a log file before it was sealed.
fn shown_cut(cut: &Cut) -> String {
    let Cut { path, at, bytes, message, copy } = cut;
    let copied = copy.as_ref().map_or_else(
        || "nothing of it was on the disk for certain".to_owned(),
        |copy| format!("the file as it was is {}", copy.display()),
    );
    format!(
        "{}: {} from byte {at} on were cut off: {message}; {copied}",
        path.display(),
        plural(*bytes, "byte")
    )
}

/// What the log had and could not be sealed.
fn unread(recovery: &Recovery) -> Vec<String> {
    let missing = recovery.missing.iter().map(|positions| {
        let (first, last) = (positions.start(), positions.end());
        format!("positions {first} to {last} were recorded, and no log file has them")
    });
    recovery.unread.iter().map(ToString::to_string).chain(missing).collect()
}
