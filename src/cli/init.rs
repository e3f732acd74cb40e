//! `proffer init`: a new store from a workspace.

use std::path::PathBuf;

use clap::Args;

use super::check::check_workspace;
use super::{Failure, print};
use crate::feature::store::CustomerSource;
use crate::release::{Store, Workspace};

#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// The directory to make the store in; it must not hold one yet
    #[arg(long, value_name = "DIR")]
    store: PathBuf,
    /// The workspace: features.toml, offers.toml, policy.toml, customers and model versions
    #[arg(long, value_name = "WORKSPACE")]
    from: PathBuf,
    /// Who makes the release
    #[arg(long, value_name = "NAME", env = "USER", default_value = "init", hide_env = true)]
    author: String,
}

pub(super) fn run(args: &InitArgs) -> Result<(), Failure> {
    let location = args.store.to_string_lossy();
    let workspace = Workspace::open(&args.from)?;
    let checked = check_workspace(&workspace)?;
    // The customers go in first: once CURRENT is there, the store is whole.
    if let Some(customers) = &workspace.customers {
        let source = CustomerSource::new(args.store.join("customers"));
        if Store::open(&location, None).is_err() {
            source.install(customers, checked.release.schema())?;
        }
    }
    let store = Store::init(&location, &workspace, &args.author)?;
    let current = store.current()?.current;
    print(format_args!(
        "{}: release {} with {} offers, {} models, {} customers",
        store.location(),
        current.release,
        checked.release.catalog().library.offers().len(),
        checked.release.pins().len(),
        checked.customers.len(),
    ))
}
