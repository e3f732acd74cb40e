//! `proffer decision`: what was shown to a customer, why, and why not the others.

mod shown;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use uuid::Uuid;

use super::archive::{ArchiveArgs, Selection};
use super::backend::server_address;
use super::output::{Audience, Output, STANDARD};
use super::printing::{print, print_pretty_json};
use super::{Failure, block_on};
use crate::grpc::client::Client;
use event::Query;
use event::read::Oldest;
use replay::{DecisionView, ListedDecision, explain};

const AFTER_HELP: &str = "\
Examples:
  proffer decision list --customer C000001 --from 2026-11-01
  proffer decision show 019ad0b2-7c3e-7f1a-9a55-1f6f3d2b8c01
  proffer decision show 019ad0b2-7c3e-7f1a-9a55-1f6f3d2b8c01 --store var/store --data var/data --html why.html";

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct DecisionArgs {
    #[command(subcommand)]
    command: DecisionCommand,
}

#[derive(Debug, Subcommand)]
enum DecisionCommand {
    /// Show one decision: what was shown, why, and why not the others
    Show {
        /// The decision's id, as in the answer to Rank
        #[arg(value_name = "ID")]
        id: Uuid,
        /// Also write it as one HTML page
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
        #[command(flatten)]
        place: Place,
    },
    /// List decisions, oldest first
    List {
        #[command(flatten)]
        selection: Selection,
        /// The most decisions to list
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        count: u32,
        #[command(flatten)]
        place: Place,
    },
}

/// A server, or a store and data directories.
#[derive(Debug, Args)]
struct Place {
    #[arg(
        long,
        value_name = "ADDRESS",
        conflicts_with = "store",
        display_order = 100,
        help = "The server to ask [env: PROFFER_SERVER] [default: 127.0.0.1:50051]"
    )]
    server: Option<String>,
    /// Read this store, without a server: a directory, or <s3://BUCKET/PREFIX>
    #[arg(long, value_name = "STORE", display_order = 100)]
    store: Option<String>,
    /// With --store: also read the log in this data directory; may be given several times
    #[arg(long, value_name = "DIR", requires = "store", display_order = 100)]
    data: Vec<PathBuf>,
    /// With --store: the file of the keys of the records
    #[arg(long, value_name = "FILE", requires = "store", display_order = 100)]
    keys: Option<PathBuf>,
    /// Print JSON
    #[arg(long, display_order = 100)]
    json: bool,
}

impl Place {
    fn archive(&self) -> Option<ArchiveArgs> {
        self.store.clone().map(|store| ArchiveArgs {
            store,
            keys: self.keys.clone(),
            data: self.data.clone(),
        })
    }

    async fn client(&self) -> Result<Client, Failure> {
        Ok(Client::connect(&server_address(self.server.as_deref())).await?)
    }
}

pub(super) fn run(args: &DecisionArgs) -> Result<(), Failure> {
    match &args.command {
        DecisionCommand::Show { id, html, place } => {
            let view = match place.archive() {
                Some(archive) => {
                    let record = archive.reader()?.find(&id.to_string())?;
                    let missing = || Failure::new(format!("there is no record of decision {id}"));
                    let mut record = record.ok_or_else(missing)?;
                    archive.privacy()?.open(&mut record);
                    let releases = archive.releases()?;
                    DecisionView::of(&record, &explain(&record, &releases))
                }
                None => block_on(async { Ok(place.client().await?.recorded_decision(*id).await?) })?,
            };
            if let Some(file) = html {
                Output::open(file, Audience::Usual, &[])?.write_whole(view.html())?;
                if file == Path::new(STANDARD) {
                    return Ok(());
                }
            }
            if place.json { print_pretty_json(&view) } else { print(shown::decision(&view)) }
        }
        DecisionCommand::List { selection, count, place } => {
            let found = match place.archive() {
                Some(archive) => {
                    let oldest = Oldest { after: None, most: *count as usize };
                    let keep = &mut |record| ListedDecision::of_record(&record);
                    let reader = archive.reader()?;
                    let found = reader.oldest(&archive.query(selection)?, &oldest, &|| true, keep)?;
                    archive.check_customers(selection, &reader, found.len() as u64)?;
                    found.into_iter().map(|(_, decision)| decision).collect()
                }
                None => {
                    let query = Query { limit: Some(u64::from(*count)), ..selection.query()? };
                    block_on(async { Ok(place.client().await?.recorded_decisions(&query).await?) })?
                }
            };
            if place.json { print_pretty_json(&found) } else { print(shown::list(&found)) }
        }
    }
}
