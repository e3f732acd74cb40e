//! Reports on what was recorded: from where they are made, and how they are written.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::Failure;
use super::archive::ArchiveArgs;
use super::backend::Place;
use super::output::{Audience, Output};
use super::printing::{print, print_contents};
use crate::app::{App, Reports};
use crate::grpc::client::Client;
use analysis::render;
use analysis::report::{ExperimentReport, MetricsReport};
use release::Store;

/// What is read besides the store.
#[derive(Debug, Args)]
pub(super) struct LogArgs {
    /// With --store: also read the log in this data directory; may be given several times
    #[arg(long, value_name = "DIR")]
    data: Vec<PathBuf>,
}

/// How a report is written.
#[derive(Debug, Args)]
pub(super) struct WrittenArgs {
    /// How the report is written [default: text; with --json: json]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// The file to write instead of standard output; one that exists is replaced
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// The forms of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
    Csv,
    Html,
}

/// A report in every form.
pub(super) trait Rendered {
    fn text(&self) -> String;
    fn json(&self) -> String;
    fn csv(&self) -> String;
    fn html(&self) -> String;
}

impl Rendered for ExperimentReport {
    fn text(&self) -> String {
        render::text(self)
    }

    fn json(&self) -> String {
        render::json(self)
    }

    fn csv(&self) -> String {
        render::csv(self)
    }

    fn html(&self) -> String {
        render::html(self)
    }
}

impl Rendered for MetricsReport {
    fn text(&self) -> String {
        render::metrics_text(self)
    }

    fn json(&self) -> String {
        render::metrics_json(self)
    }

    fn csv(&self) -> String {
        render::metrics_csv(self)
    }

    fn html(&self) -> String {
        render::metrics_html(self)
    }
}

/// Who makes a report.
pub(super) enum Source {
    /// A server, of what it can read.
    Server(Client),
    /// This process, of a store and of logs.
    Store(Reports),
}

impl LogArgs {
    /// The store at `store`, with the logs.
    pub(super) fn reports(&self, store: &str) -> Result<Reports, Failure> {
        let archive = self.archive(store);
        let opened = Store::open(store, None)?;
        let (_, _, ramps) = App::offline(opened.clone())?;
        Ok(Reports::new(opened, ramps, archive.reader()?))
    }

    fn archive(&self, store: &str) -> ArchiveArgs {
        ArchiveArgs { store: store.to_owned(), keys: None, data: self.data.clone() }
    }
}

impl WrittenArgs {
    /// Makes a report and writes it. A file that cannot be written is refused before the report is made.
    pub(super) fn write<R: Rendered>(
        &self,
        place: &Place,
        log: &LogArgs,
        make: impl AsyncFnOnce(Source) -> Result<R, Failure>,
    ) -> Result<(), Failure> {
        if place.store().is_none() && !log.data.is_empty() {
            return Err(Failure::usage("--data is read with --store alone: a server reads its own log"));
        }
        if place.json && self.format.is_some_and(|format| format != Format::Json) {
            return Err(Failure::usage("--json contradicts --format"));
        }
        let archive = place.store().map(|store| log.archive(store));
        let inputs: Vec<&Path> = archive.as_ref().map(ArchiveArgs::inputs).unwrap_or_default();
        if let Some(out) = &self.out {
            Output::check(out, &inputs)?;
        }
        let report = super::block_on(async {
            let source = match place.store() {
                Some(store) => Source::Store(log.reports(store)?),
                None => Source::Server(Client::connect(&place.server()).await?),
            };
            make(source).await
        })?;
        let format = self.format.unwrap_or(if place.json { Format::Json } else { Format::Text });
        let text = match format {
            Format::Text => report.text(),
            Format::Json => report.json(),
            Format::Csv => report.csv(),
            Format::Html => report.html(),
        };
        let text = text.trim_end();
        match (&self.out, format) {
            (Some(out), _) => Output::open(out, Audience::Usual, &inputs)?.write_whole(format!("{text}\n")),
            (None, Format::Text) => print(text),
            (None, Format::Json | Format::Csv | Format::Html) => print_contents(text),
        }
    }
}
