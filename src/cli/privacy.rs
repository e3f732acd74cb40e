//! `proffer privacy`: the keys of records.

use std::path::PathBuf;

use chrono::Utc;
use clap::{Args, Subcommand};

use super::Failure;
use super::printing::print;
use event::keys::{KeyUse, Keys};

const AFTER_HELP: &str = "\
Example:
  proffer privacy keys --out keys.toml      then set records.keys, and keep the file out of the store";

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct PrivacyArgs {
    #[command(subcommand)]
    command: PrivacyCommand,
}

#[derive(Debug, Subcommand)]
enum PrivacyCommand {
    /// Make a file with a new key for pseudonyms and one for the values of sensitive features
    Keys {
        /// The file; it must not exist yet
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

pub(super) fn run(args: &PrivacyArgs) -> Result<(), Failure> {
    let PrivacyCommand::Keys { out } = &args.command;
    let keys = Keys::create(out, Utc::now().date_naive())?;
    let ids: Vec<&str> = [KeyUse::Pseudonyms, KeyUse::Encryption]
        .into_iter()
        .flat_map(|purpose| keys.of(purpose))
        .map(|key| key.id.as_str())
        .collect();
    print(format!("{}: {}; without it, records made with it cannot be read", out.display(), ids.join(", ")))
}
