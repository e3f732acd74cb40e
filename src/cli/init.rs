//! `proffer init`: a new store from a workspace.

use std::path::PathBuf;

use clap::Args;

use super::Failure;
use super::check::{check_workspace, judge_first};
use super::printing::{print, say};
use document::plural;
use release::{Judges, ShownWarnings, Store, Workspace, init_judged};

#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// Where to make the store: a directory or `s3://bucket/prefix`, which must not contain a store
    #[arg(long, value_name = "DIR")]
    store: String,
    /// Where a store on S3 is mirrored locally [default: mirror]
    #[arg(long, value_name = "DIR", hide = true)]
    mirror: Option<PathBuf>,
    /// The workspace: features.toml, offers.toml, policy.toml, customers and model versions
    #[arg(long, value_name = "WORKSPACE")]
    from: PathBuf,
    /// Who makes the release
    #[arg(long, value_name = "NAME", env = "USER", default_value = "init", hide_env = true)]
    author: String,
}

pub(super) fn run(args: &InitArgs) -> Result<(), Failure> {
    let workspace = Workspace::open(&args.from)?;
    let judged = judge_first(&workspace)?;
    let checked = check_workspace(&workspace)?;
    let store = Store::create(&args.store, args.mirror.as_deref())?;
    let current = init_judged(&store, &workspace, &args.author, &Judges::default(), &judged)?;
    if !checked.warnings.is_empty() {
        say(ShownWarnings(&checked.warnings));
    }
    print(format_args!(
        "{}: release {} with {}, {}, {}",
        store.location(),
        current.release,
        plural(checked.release.catalog().library.offers().len(), "offer"),
        plural(checked.release.pins().len(), "model"),
        plural(checked.customers.len(), "customer"),
    ))
}
