//! `proffer privacy export`: all that is known of a person, as one JSON document.

use std::io::BufWriter;
use std::path::PathBuf;

use chrono::{SecondsFormat, Utc};
use clap::Args;
use serde_json::{Map, Value};

use super::{subject, unknown_keys};
use crate::cli::Failure;
use crate::cli::archive::ArchiveArgs;
use crate::cli::output::{Audience, Output, STANDARD};
use event::privacy::Subject;
use event::privacy::export::{SubjectExportError, write};
use event::{EventReader, EventRecord, Query};
use feature::FeatureSchema;
use feature::store::StoredRow;
use history::{CustomerHistory, HistoryEntry, recover_person};
use release::{ReleaseFiles, Store};
use replay::names;

const AFTER_HELP: &str = "\
Exits with 1 if nothing is known of the customer, or if records have pseudonyms by keys that are not there.
Logs are read where --data names them; of other servers, only what is sealed is found.

What limits look at (`history`) is worked out of decisions and outcomes, as servers do in memory.

Example:
  proffer privacy export --customer C000001 --store var/store --data var/data --keys keys.toml --out person.json";

/// What is said of the history in an export.
const DERIVED_FROM: &str = "decisions and outcomes below, as limits count them; a server keeps it in memory and in \
                            history.checkpoint of its data directory, as far back as limits look";

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct ExportArgs {
    /// The id of the customer
    #[arg(long, value_name = "ID")]
    customer: String,
    #[command(flatten)]
    archive: ArchiveArgs,
    /// The file to write, which only its owner can read; one that exists is replaced, - is standard output
    #[arg(long, value_name = "FILE", default_value = STANDARD)]
    out: PathBuf,
}

pub(super) fn run(args: &ExportArgs) -> Result<(), Failure> {
    let archive = &args.archive;
    let privacy = archive.privacy()?;
    let subject = subject(&args.customer, &privacy)?;
    let store = Store::open(&archive.store, None)?;
    let rows = store.rows_of_customer(subject.id())?;
    let reader = archive.reader()?;
    let releases = archive.releases()?;
    let history = history_of(&store, &reader, &subject)?;
    let more = [("customer_files", shown(&store, &rows)), ("history", history)];
    let named = |release| names(&releases, release);
    let mut out = Output::open(&args.out, Audience::Owner, &archive.inputs())?;
    let written = write(&reader, &subject, &privacy.cipher, &named, &more, &mut BufWriter::new(&mut out));
    if out.reader_has_gone() {
        return Ok(());
    }
    let decisions = written.map_err(|error| match error {
        SubjectExportError::Io(error) => Failure::new(format!("{} cannot be written: {error}", out.shown())),
        error @ SubjectExportError::Sealed(_) => error.into(),
    })?;
    out.finish()?;
    let mut keys = reader.pseudonym_keys(&Query::default())?;
    keys.retain(|key| !subject.knows_key(key));
    if let Some(unknown) = unknown_keys(&keys, &privacy.pseudonyms) {
        return Err(Failure::new(format!("the export may lack decisions: {unknown}")));
    }
    if decisions == 0 && rows.is_empty() {
        return Err(Failure::new(format!(
            "nothing is known of customer `{}`; check the id, and name the data directories of servers with --data",
            subject.id()
        )));
    }
    Ok(())
}

/// What limits see of a person. Only a server keeps it, so it is worked out as a server does.
fn history_of(store: &Store, reader: &EventReader, subject: &Subject) -> Result<Value, Failure> {
    let ReleaseFiles { features, offers, policy, .. } = store.release(store.current()?.current.release)?;
    let schema = FeatureSchema::parse("features.toml", &features)?;
    let catalog = offer::read(&schema, ("offers.toml", &offers), ("policy.toml", &policy));
    let catalog = catalog.map_err(|invalid| Failure::new(invalid.problems.to_string()))?;
    let is_theirs = |record: &dyn EventRecord| subject.is_of(record);
    let CustomerHistory { opted_out, entries } =
        recover_person(reader, &subject.texts(), &is_theirs, &catalog, Utc::now())?;
    let entry = |entry: &HistoryEntry| {
        serde_json::json!({
            "at": entry.at.to_rfc3339_opts(SecondsFormat::Millis, true),
            "type": *entry.event_type,
            "offer_id": *entry.offer,
            "placement": *entry.placement,
            "channel": *entry.channel,
        })
    };
    Ok(serde_json::json!({
        "derived_from": DERIVED_FROM,
        "opted_out": opted_out,
        "entries": entries.iter().map(entry).collect::<Vec<_>>(),
    }))
}

/// The rows of the files of customers, and which file each is from.
fn shown(store: &Store, rows: &[StoredRow]) -> Value {
    let row = |row: &StoredRow| {
        let file = row.file.strip_prefix(store.customers_dir()).unwrap_or(&row.file);
        let values: Map<String, Value> =
            row.values.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
        serde_json::json!({ "file": file.display().to_string(), "values": values })
    };
    rows.iter().map(row).collect()
}
