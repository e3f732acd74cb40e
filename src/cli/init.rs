//! `proffer init`: a new store from a workspace.

use std::path::PathBuf;

use clap::Args;

use super::check::check_workspace;
use super::{Failure, print};
use crate::model::onnx::OnnxRuntime;
use crate::release::{ShownWarnings, Store, Workspace, init};

#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// Where to make the store: a directory or `s3://bucket/prefix`; it must not hold one yet
    #[arg(long, value_name = "DIR")]
    store: String,
    /// Where versions of a store on S3 are kept at hand [default: mirror]
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
    let checked = check_workspace(&workspace)?;
    let store = Store::create(&args.store, args.mirror.as_deref())?;
    let current = init(&store, &workspace, &args.author, &OnnxRuntime::load()?)?;
    if !checked.warnings.is_empty() {
        eprintln!("{}", ShownWarnings(&checked.warnings));
    }
    print(format_args!(
        "{}: release {} with {} offers, {} models, {} customers",
        store.location(),
        current.release,
        checked.release.catalog().library.offers().len(),
        checked.release.pins().len(),
        checked.customers.len(),
    ))
}
