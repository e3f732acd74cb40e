//! `proffer privacy`: the keys of records; what is known of a person; erasing them.

mod erase;
mod export;

use std::path::{Path, PathBuf};

use chrono::Utc;
use clap::{Args, Subcommand};

use super::Failure;
use super::output::STANDARD;
use super::printing::{print, say};
use crate::app::outside_of_stores;
use document::plural;
use event::NotRecorded;
use event::erasure::{Erased, ErasureError, ErasureStore, ServerErasures, ServerLog};
use event::keys::{KeyName, KeyUse, Keys};
use event::log::{LogFiles, TakenOver};
use event::privacy::{Pseudonyms, Subject};
use replay::Privacy;

const AFTER_HELP: &str = "\
Examples:
  proffer privacy keys --out keys.toml      then set records.keys, and keep the file out of the store
  proffer privacy export --customer C000001 --store var/store --data var/data --keys keys.toml
  proffer privacy erase --customer C000001 --store var/store --keys keys.toml";

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
        /// The file, outside of any store; it must not exist yet
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Write all that is known of a customer as JSON: their rows in the files of customers, their decisions, outcomes
    /// and comparisons with shadows, and the history that limits work out of decisions and outcomes
    Export(export::ExportArgs),
    /// Erase a customer from the files of customers, the logs of all servers and the sealed records
    Erase(erase::EraseArgs),
}

pub(super) fn run(args: &PrivacyArgs) -> Result<(), Failure> {
    match &args.command {
        PrivacyCommand::Keys { out } => keys(out),
        PrivacyCommand::Export(args) => export::run(args),
        PrivacyCommand::Erase(args) => erase::run(args),
    }
}

fn keys(out: &Path) -> Result<(), Failure> {
    if out == Path::new(STANDARD) {
        return Err(Failure::usage("--out -: keys are not printed; name a file"));
    }
    outside_of_stores(out, "--out")?;
    let keys = Keys::create(out, Utc::now().date_naive())?;
    let ids: Vec<&str> = [KeyUse::Pseudonyms, KeyUse::Encryption]
        .into_iter()
        .flat_map(|purpose| keys.of(purpose))
        .map(|key| key.id.as_str())
        .collect();
    print(format!("{}: {}; without it, records made with it cannot be read", out.display(), ids.join(", ")))
}

/// Erases from the log of a dead server whom the store asks to erase. Returns why somebody cannot be erased from it.
pub(super) fn obey(
    taken: &TakenOver,
    erasures: &ErasureStore,
    privacy: &Privacy,
) -> Result<Vec<ErasureError>, Failure> {
    let server = ServerErasures::new(erasures.clone(), privacy.pseudonyms.clone(), env!("CARGO_PKG_VERSION"));
    // Nothing of it is in memory.
    let polled = server.poll(&LeftBehind(taken), &mut |_| Ok(()), Utc::now())?;
    for (erasure, done) in &polled.acknowledged {
        let records = plural(done.records, "record");
        say(format!("server {}: {records} blanked for erasure {erasure}", done.server));
    }
    Ok(polled.refused)
}

/// What a dead server has left: its log, and what is saved of its history.
struct LeftBehind<'t>(&'t TakenOver);

impl ServerLog for LeftBehind<'_> {
    fn close_file(&self) -> Result<(), NotRecorded> {
        self.0.close_file()
    }

    fn log_files(&self) -> LogFiles {
        self.0.log_files()
    }

    fn is_ending(&self) -> bool {
        self.0.is_ending()
    }

    fn forget_events(&self, erased: &Erased) -> Result<(), String> {
        let forgotten = history::forget_left_behind(self.0.directory(), |name| erased.has_name(name));
        forgotten.map_err(|error| error.to_string())
    }
}

/// The person with an id.
fn subject(id: &str, privacy: &Privacy) -> Result<Subject, Failure> {
    let nobody = "--customer is empty: that is the id of all unknown visitors, and of no customer";
    Subject::new(id, &privacy.pseudonyms).ok_or_else(|| Failure::new(nobody))
}

/// Why a person could not be looked for everywhere: records have pseudonyms by keys that are not there.
pub(super) fn unknown_keys<'k>(
    keys: impl IntoIterator<Item = &'k KeyName>,
    pseudonyms: &Pseudonyms,
) -> Option<String> {
    let has_other_secret = |key: &KeyName| pseudonyms.keys().any(|known| known.id == key.id);
    let shown = |key: &KeyName| {
        let other = if has_other_secret(key) { " (the key file has another secret of that id)" } else { "" };
        format!("`{key}`{other}")
    };
    let keys: Vec<String> = keys.into_iter().map(shown).collect();
    (!keys.is_empty()).then(|| {
        format!(
            "records have pseudonyms by the keys {}: give the file that has them with --keys",
            keys.join(", ")
        )
    })
}
