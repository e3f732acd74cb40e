//! `proffer events`: export, verify and seal what is recorded.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use super::archive::{ArchiveArgs, Selection};
use super::printing::{print, print_pretty_json, say};
use super::privacy::obey;
use super::{Failure, progress};
use event::erasure::Heartbeats;
use event::export::{ExportFormat, export};
use event::log::take_over;
use event::seal::seal_all;
use event::verify::verify;
use replay::names;

const AFTER_HELP: &str = "\
Examples:
  proffer events export --store var/store --from 2026-11-01 --format parquet --out decisions.parquet
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
    /// Write recorded decisions or outcomes to one file
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
        /// The file to write; one that exists is replaced
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Read every sealed file and every log whole: checksums, order, gaps
    Verify {
        #[command(flatten)]
        archive: ArchiveArgs,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Seal the log of a server that no longer runs into a store, and delete it
    Seal {
        /// The data directory of the server
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        #[command(flatten)]
        archive: ArchiveArgs,
    },
}

/// The kinds of events.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// Decisions.
    Decision,
    /// Outcomes.
    Outcome,
}

impl From<Kind> for event::Kind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Decision => Self::Decision,
            Kind::Outcome => Self::Outcome,
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
            let kind = event::Kind::from(*kind);
            let releases = archive.releases()?;
            let format = match format {
                Format::Parquet => ExportFormat::Parquet,
                Format::Jsonl => ExportFormat::JsonLines,
                Format::Csv => ExportFormat::Csv,
            };
            let named = |release| names(&releases, release);
            let done = export(&archive.reader()?, kind, &archive.query(selection)?, format, out, &named)?;
            let events = document::plural(done.events as usize, kind.name());
            print(format!("{}: {events}, {} bytes", out.display(), done.bytes))
        }
        EventsCommand::Verify { archive, json } => verified(archive, *json),
        EventsCommand::Seal { directory, archive } => sealed(directory, archive),
    }
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
        let files = document::plural(sealed_files as usize, "sealed file");
        let logs = document::plural(log_files as usize, "log file");
        let events = document::plural(events as usize, "event");
        print(format!("{files} and {logs} with {events} ({bytes} bytes sealed)"))?;
    }
    if count > 0 {
        return Err(Failure::new(document::plural(count, "problem")));
    }
    Ok(())
}

fn sealed(directory: &Path, archive: &ArchiveArgs) -> Result<(), Failure> {
    let taken = take_over(directory)?;
    // Who was erased since the server ended does not go to the store.
    let (erasures, server) = (archive.erasures()?, taken.files().server());
    if let Some(error) = obey(&taken, &erasures, &archive.privacy()?)?.into_iter().next() {
        return Err(error.into());
    }
    let done = seal_all(&taken, &archive.events()?);
    for (log, sealed) in &done.logs {
        let events = document::plural(sealed.events() as usize, "event");
        print(format!("{}: {events} sealed", log.path.display()))?;
    }
    for (log, error) in &done.failures {
        say(format!("{}: {error}", log.path.display()));
    }
    if !done.failures.is_empty() {
        return Err(Failure::new(format!(
            "{} could not be sealed and are still there",
            document::plural(done.failures.len(), "log file")
        )));
    }
    // Erasures need not wait for it any more.
    Heartbeats::new(erasures).remove(server)?;
    print(format!("server {server}: nothing is left in {}", directory.display()))
}
