//! The report on comparisons: what a server has counted, or what is recorded.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use chrono::{DateTime, SecondsFormat, Utc};
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};

use super::policy;
use crate::cli::archive::{ArchiveArgs, Selection};
use crate::cli::backend::server_address;
use crate::cli::output::{Audience, Output};
use crate::cli::printing::{print, print_contents, say};
use crate::cli::values::moment;
use crate::cli::{Failure, block_on, progress};
use crate::grpc::client::{Client, ClientError};
use crate::grpc::{FoundShadow, ShadowStanding};
use event::Query;
use event::proto::ShadowRecord;
use event::read::ReadProgress;
use replay::shadow_names;
use shadow::{Names, RecordError, Report, Tally};

/// How many comparisons are counted between two looks at the progress.
const STEP: u64 = 1_024;

#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    #[arg(
        long,
        value_name = "ADDRESS",
        conflicts_with = "store",
        help = "The server to ask what it has counted [env: PROFFER_SERVER] [default: 127.0.0.1:50051]"
    )]
    server: Option<String>,
    /// Read what is recorded in this store, without a server: a directory, or <s3://BUCKET/PREFIX>
    #[arg(long, value_name = "STORE")]
    store: Option<String>,
    /// With --store: also read the log in this data directory; may be given several times
    #[arg(long, value_name = "DIR", requires = "store")]
    data: Vec<PathBuf>,
    /// With --store: compared at this time or later, such as 2026-12-24T18:00:00Z, or a day (midnight in UTC)
    #[arg(long, value_name = "TIME", value_parser = moment, requires = "store")]
    from: Option<DateTime<Utc>>,
    /// With --store: compared before this time
    #[arg(long, value_name = "TIME", value_parser = moment, requires = "store")]
    to: Option<DateTime<Utc>>,
    /// Only this shadow [default: all; of a server, those of the current release]
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    shadow: Option<String>,
    /// Only decisions at this placement
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new())]
    placement: Option<String>,
    /// How the report is written
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// The file to write instead of standard output; one that exists is replaced
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
    Html,
}

pub(super) fn run(args: &ReportArgs) -> Result<(), Failure> {
    let archive = args.store.as_ref().map(|store| ArchiveArgs {
        store: store.clone(),
        keys: None,
        data: args.data.clone(),
    });
    let inputs = archive.as_ref().map(ArchiveArgs::inputs).unwrap_or_default();
    if let Some(out) = &args.out {
        Output::check(out, &inputs)?;
    }
    let report = match &archive {
        Some(archive) => args.of_records(archive)?,
        None => block_on(args.of_server())?,
    };
    args.write(&report, &inputs)
}

impl ReportArgs {
    /// What the comparisons that are recorded add up to.
    fn of_records(&self, archive: &ArchiveArgs) -> Result<Report, Failure> {
        let Counted { tally, newest } = counted(archive, &self.query()?)?;
        if tally.is_empty() {
            let log = if self.data.is_empty() {
                "; a server seals its log after some time: name its data directory with --data to read that, too"
            } else {
                ""
            };
            return Err(Failure::new(format!("{} was found in {}{log}", self.nothing(), archive.store)));
        }
        Ok(tally.report(&names(archive, newest)))
    }

    /// What is missing where nothing is found.
    fn nothing(&self) -> String {
        let shadow = match &self.shadow {
            Some(id) => format!("shadow `{id}`"),
            None => "a shadow".to_owned(),
        };
        let at = self.placement.as_ref().map_or_else(String::new, |id| format!(" at placement `{id}`"));
        let when = if self.from.is_some() || self.to.is_some() { " between these times" } else { "" };
        format!("no comparison with {shadow}{at}{when}")
    }

    fn query(&self) -> Result<Query, Failure> {
        let selection = Selection {
            from: self.from,
            to: self.to,
            placement: self.placement.clone(),
            ..Selection::default()
        };
        Ok(Query { shadow: self.shadow.clone(), ..selection.query()? })
    }

    /// What a server has counted. Says which shadows it does not compare with.
    async fn of_server(&self) -> Result<Report, Failure> {
        let client = Client::connect(&server_address(self.server.as_deref())).await?;
        let ids = match &self.shadow {
            Some(id) => vec![id.clone()],
            None => {
                let files = client.release(0).await?;
                let shadows = policy::shadows(&files.policy)?;
                if shadows.is_empty() {
                    return Err(Failure::new(format!(
                        "release {}, which is current, has no shadows; name an earlier one with --shadow, or read \
                         what is recorded with --store",
                        files.record.number
                    )));
                }
                shadows.into_iter().map(|shadow| shadow.id).collect()
            }
        };
        let mut all = Report::default();
        for id in &ids {
            let placement = self.placement.as_deref().unwrap_or_default();
            let found = match client.shadow_report(id, placement).await {
                // The server may not serve the current release yet.
                Err(ClientError::Refused { code: "NOT_FOUND", message }) if self.shadow.is_none() => {
                    say(format!("shadow `{id}` is left out: {message}"));
                    continue;
                }
                found => found?,
            };
            let FoundShadow { standing, since, mut report, .. } = found;
            match standing {
                ShadowStanding::Ready => {}
                ShadowStanding::Unavailable(why) => say(format!("shadow `{id}` is not scored: {why}")),
                ShadowStanding::Absent => say(format!("the release that serves does not have shadow `{id}`")),
            }
            let since = since.to_rfc3339_opts(SecondsFormat::Millis, true);
            report.shadows.iter_mut().for_each(|shadow| shadow.counted_since = Some(since.clone()));
            all.shadows.extend(report.shadows);
            all.left_out += report.left_out;
            all.method = report.method;
        }
        if all.shadows.is_empty() {
            return Err(Failure::new("the release that serves has none of the shadows of the current one"));
        }
        if self.placement.is_some() {
            say("times, releases, models, reasons of failures and what was shed are of all placements");
        }
        all.shadows.sort_by(|one, other| one.shadow.cmp(&other.shadow));
        Ok(all)
    }

    fn write(&self, report: &Report, inputs: &[&Path]) -> Result<(), Failure> {
        let text = match self.format {
            Format::Text => report.text(),
            Format::Json => report.json()?,
            Format::Html => report.html(),
        };
        let text = text.trim_end();
        match (&self.out, self.format) {
            (Some(out), _) => Output::open(out, Audience::Usual, inputs)?.write_whole(format!("{text}\n")),
            (None, Format::Text) => print(text),
            (None, Format::Json | Format::Html) => print_contents(text),
        }
    }
}

/// What the comparisons that a query wants add up to.
#[derive(Debug, Default)]
struct Counted {
    tally: Tally,
    /// The newest release that one of them names.
    newest: u64,
}

impl Counted {
    fn add(&mut self, record: ShadowRecord) -> Result<(), RecordError> {
        if let Some(comparison) = shadow::read(record)? {
            self.newest = self.newest.max(comparison.release);
            self.tally.add(&comparison);
        }
        Ok(())
    }
}

/// Counts the comparisons, with one at a time in memory.
fn counted(archive: &ArchiveArgs, query: &Query) -> Result<Counted, Failure> {
    let reading = ReadProgress::default();
    let reader = archive.reader()?.with_progress(reading.clone());
    let bar = progress::read("comparisons");
    let (mut counted, mut read, mut refused) = (Counted::default(), 0_u64, None);
    reader.scan_shadows(query, &mut |record| {
        read += 1;
        if read.is_multiple_of(STEP) {
            bar.read(read, &reading);
        }
        match counted.add(record) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                refused = Some(error);
                ControlFlow::Break(())
            }
        }
    })?;
    bar.clear();
    refused.map_or(Ok(counted), |error| Err(error.into()))
}

/// The names that a release gives to offers and segments. A report without them shows ids.
fn names(archive: &ArchiveArgs, release: u64) -> Names {
    let loaded = archive.releases().and_then(|releases| releases.get(release).map_err(Failure::new));
    match loaded {
        Ok(snapshot) => shadow_names(&snapshot.release),
        Err(Failure { message, .. }) => {
            say(format!(
                "offers and segments have no names, since release {release} cannot be read: {message}"
            ));
            Names::default()
        }
    }
}
