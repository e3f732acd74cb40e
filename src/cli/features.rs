//! `proffer features load`: new customers for a store; a running server picks them up.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Failure;
use super::printing::print;
use feature::FeatureSchema;
use feature::store::{CustomerSource, KEPT_FILES, Losses, MAX_LOST, MAX_UNKNOWN, Replaced};
use release::{Exchanged, Store};

/// How often a load begins again, since another command was faster.
const ATTEMPTS: usize = 5;

/// The part of `--help` about losses.
fn after_load() -> String {
    format!(
        "A file is refused without --force if it would lose more than {} % of the customers or of their consents, a column, or \
         a feature for more than {} % of the customers who have it. The last {KEPT_FILES} files are kept: each --undo goes one file \
         further back.",
        MAX_LOST * 100.0,
        MAX_UNKNOWN * 100.0
    )
}

#[derive(Debug, Subcommand)]
pub(super) enum FeaturesCommand {
    /// Check a file of customers against the current release, then replace the present file
    Load(LoadArgs),
}

#[derive(Debug, Args)]
#[command(after_help = after_load())]
pub(super) struct LoadArgs {
    /// The store
    #[arg(long, value_name = "STORE")]
    store: String,
    /// A .csv or .parquet file with a column `customer_id` and a column per customer feature
    #[arg(value_name = "FILE", required_unless_present = "undo")]
    file: Option<PathBuf>,
    /// Load the file even if it loses customers or data
    #[arg(long, conflicts_with = "undo")]
    force: bool,
    /// Restore the file from before the last load
    #[arg(long, conflicts_with = "file")]
    undo: bool,
}

pub(super) fn run(command: &FeaturesCommand) -> Result<(), Failure> {
    let FeaturesCommand::Load(args) = command;
    let store = Store::open(&args.store, None)?;
    let files = store.release(store.current()?.current.release)?;
    let schema = FeatureSchema::parse("features.toml", &files.features)?;
    let Replaced { report, kept, restored } = replace(args, &store, &schema)?;
    let before = match (&kept, &restored) {
        (Some(_), None) => "\n  the file before it is kept: features load --undo".to_owned(),
        (Some(kept), Some(_)) => format!("\n  the file that it replaces is kept as {}", kept.path.display()),
        (None, _) => String::new(),
    };
    print(format_args!("{report}{before}"))
}

/// Replaces the customers of the store. Begins again where another command was faster in a bucket, so that what is kept
/// is what was there.
fn replace(args: &LoadArgs, store: &Store, schema: &FeatureSchema) -> Result<Replaced, Failure> {
    let source = CustomerSource::new(store.customers_dir());
    for _ in 0..ATTEMPTS {
        // Another machine may have loaded the file that is in the bucket.
        let former = store.sync_customers()?;
        let replaced = match &args.file {
            Some(file) => {
                let losses = if args.force { Losses::Allowed } else { Losses::Refused };
                source.exchange(file, schema, losses)?
            }
            None => {
                store.sync_kept_customers()?;
                source.undo(schema)?
            }
        };
        let Replaced { kept, restored, .. } = &replaced;
        // The old file is saved before it is replaced, so that an interruption cannot lose it, and an erasure finds it.
        if let Some(kept) = kept {
            store.put_kept_customers(kept)?;
        }
        if let Some(installed) = source.current()
            && store.exchange_customers(&installed, &former)? == Exchanged::Overtaken
        {
            if let Some(kept) = kept {
                store.delete_kept_customers(kept)?;
            }
            continue;
        }
        if let Some(restored) = restored {
            store.delete_kept_customers(restored)?;
        }
        store.prune_kept_customers()?;
        return Ok(replaced);
    }
    Err(Failure::new(format!(
        "{}: the customers keep changing; try again when no other command changes them",
        args.store
    )))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use clap::error::ErrorKind;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        load: LoadArgs,
    }

    #[test]
    fn a_load_has_a_file_and_an_undo_has_none() {
        let parse = |line: &str| {
            let words = std::iter::once("load").chain(line.split_whitespace());
            Line::try_parse_from(words).map(|_| ()).map_err(|error| error.kind())
        };
        assert_eq!(parse("--store s customers.csv --force"), Ok(()));
        assert_eq!(parse("--store s --undo"), Ok(()));
        assert_eq!(parse("--store s"), Err(ErrorKind::MissingRequiredArgument));
        assert_eq!(parse("--store s --undo customers.csv"), Err(ErrorKind::ArgumentConflict));
        assert_eq!(parse("--store s --undo --force"), Err(ErrorKind::ArgumentConflict));
    }
}
