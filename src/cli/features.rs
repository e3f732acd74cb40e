//! `proffer features load`: new customers for a store; a running server notices.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Failure, print};
use crate::feature::FeatureSchema;
use crate::feature::store::CustomerSource;
use crate::release::Store;

#[derive(Debug, Subcommand)]
pub(super) enum FeaturesCommand {
    /// Check a file of customers against the current release and put it in the place of the present one
    Load(LoadArgs),
}

#[derive(Debug, Args)]
pub(super) struct LoadArgs {
    /// The store
    #[arg(long, value_name = "STORE")]
    store: String,
    /// A .csv or .parquet file with a column `customer_id` and a column per customer feature
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(super) fn run(command: &FeaturesCommand) -> Result<(), Failure> {
    let FeaturesCommand::Load(args) = command;
    let store = Store::open(&args.store, None)?;
    let files = store.release(store.current()?.current.release)?;
    let schema = FeatureSchema::parse("features.toml", &files.features)?;
    let source = CustomerSource::new(store.customers_dir());
    let report = source.install(&args.file, &schema)?;
    if let Some(installed) = source.current() {
        store.put_customers(&installed)?;
    }
    print(report)
}
