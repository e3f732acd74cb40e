//! `proffer privacy erase`: a person goes from customers, logs and sealed records, and it says when that is done.

use std::cell::RefCell;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use chrono::Utc;
use clap::Args;
use uuid::Uuid;

use super::{obey, subject, unknown_keys};
use crate::cli::archive::ArchiveArgs;
use crate::cli::author::Author;
use crate::cli::printing::{print, say};
use crate::cli::progress::Bar;
use crate::cli::{Failure, progress};
use document::settings::{duration, shown};
use document::{agreeing, plural};
use event::EventError;
use event::erasure::{ALIVE_FOR, Awaited, Eraser, Heartbeats, NOT_COVERED, Outcome, Patience};
use event::keys::KeyName;
use event::log::{TakenOver, take_over};
use event::privacy::Pseudonyms;
use release::Store;

/// How often servers are asked for.
const PAUSE: Duration = Duration::from_millis(200);

const AFTER_HELP: &str = "\
It is complete once every server has acknowledged and every file was searched; else it exits with 1, and is run again.
A server that runs obeys by itself. One that does not obeys when it starts, when its data directory is given with --data,
or when `proffer events seal` seals that.
Where servers use pseudonyms, they and this command need the same keys.

Examples:
  proffer privacy erase --customer C000001 --store var/store --keys keys.toml
  proffer privacy erase --customer C000001 --store var/store --wait 10m --data var/old-server";

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct EraseArgs {
    /// The id of the customer
    #[arg(long, value_name = "ID")]
    customer: String,
    /// The store: a directory, or <s3://BUCKET/PREFIX>
    #[arg(long, value_name = "STORE")]
    store: String,
    /// The file of the keys of the records, to find the customer by pseudonyms
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Also erase from the log in this data directory, of a server that does not run; may be given several times
    #[arg(long, value_name = "DIR")]
    data: Vec<PathBuf>,
    /// How long to wait for servers
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    wait: Duration,
    /// This server and its data directory are gone for good: do not wait for it; may be given several times
    #[arg(long, value_name = "SERVER")]
    gone: Vec<String>,
    /// This key is lost for good, so that its pseudonyms can no longer be told apart; may be given several times
    #[arg(long, value_name = "KEY")]
    lost_key: Vec<String>,
    #[command(flatten)]
    who: Author,
}

pub(super) fn run(args: &EraseArgs) -> Result<(), Failure> {
    let archive = ArchiveArgs { store: args.store.clone(), keys: args.keys.clone(), data: Vec::new() };
    let privacy = archive.privacy()?;
    let is_said = |key: &&KeyName| args.lost_key.iter().any(|lost| key.is_called(lost));
    if let Some(key) = privacy.pseudonyms.keys().find(is_said) {
        return Err(Failure::new(format!(
            "--lost-key {}: it is not lost, the file of --keys has it; if another secret of that id is, name it as \
             {}@FINGERPRINT",
            key.id, key.id
        )));
    }
    let subject = subject(&args.customer, &privacy)?;
    let store = Store::open(&archive.store, None)?;
    let (erasures, events) = (archive.erasures()?, archive.events()?);
    let dead = dead_servers(args)?;
    let heartbeats = Heartbeats::new(erasures.clone());
    forget_gone(&args.gone, &heartbeats)?;
    // Before the marker: a server that acknowledges has read them again since.
    let files = store.erase_customer(subject.id())?;
    for erased in &files {
        let rows = plural(erased.rows, "row");
        let file = erased.file.strip_prefix(store.customers_dir()).unwrap_or(&erased.file);
        print(format!("customers/{}: {rows} removed", file.display()))?;
    }
    let eraser = Eraser::new(erasures.clone(), events, ALIVE_FOR)
        .with_lost_keys(args.lost_key.iter().cloned().collect());
    let marked = eraser.mark(&subject, &args.who.author, Utc::now())?;
    for taken in &dead {
        // Somebody else may be to be erased whose keys are not here.
        obey(taken, &erasures, &privacy)?.iter().for_each(say);
    }
    let shown = Shown { end: Instant::now() + args.wait, limit: args.wait, bar: RefCell::default() };
    let (wait, progress) =
        (&mut |awaited: &Awaited| shown.wait(awaited), &mut |done, all| shown.at(done, all));
    let outcome = eraser.finish(&subject, &marked, &Utc::now, wait, progress)?;
    shown.clear();
    print(&outcome)?;
    let is_found = |lost: &&String| outcome.lost_keys.iter().any(|key| key.is_called(lost));
    for key in args.lost_key.iter().filter(|lost| !is_found(lost)) {
        say(format!(
            "note: --lost-key {key}: no record was found with a pseudonym by that key; is the name right?"
        ));
    }
    print("not erased by this command, to be done by hand:")?;
    NOT_COVERED.iter().try_for_each(|place| print(format!("  {place}")))?;
    if let Some(reason) = incomplete(&outcome, &privacy.pseudonyms) {
        return Err(Failure::new(format!(
            "the erasure is not complete: {reason}; then run the command again"
        )));
    }
    if files.is_empty() && outcome.all_records() == 0 && !marked.resumed {
        return Err(Failure::new(format!(
            "nothing was found of customer `{}`; check the id, unless they were erased before",
            subject.id()
        )));
    }
    print("complete: every server has acknowledged, and every file was searched")
}

/// The logs of the servers that do not run. One that runs obeys by itself.
fn dead_servers(args: &EraseArgs) -> Result<Vec<TakenOver>, Failure> {
    let mut dead = Vec::new();
    for directory in &args.data {
        match take_over(directory, "proffer privacy erase") {
            Ok(taken) => dead.push(taken),
            Err(EventError::Locked { holder, .. }) => {
                let shown = directory.display();
                say(format!("{shown}: it is in use by {holder}; a server that runs obeys by itself"));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(dead)
}

/// Forgets servers that are gone for good.
fn forget_gone(gone: &[String], heartbeats: &Heartbeats) -> Result<(), Failure> {
    let all = if gone.is_empty() { Vec::new() } else { heartbeats.all()? };
    for server in gone {
        let Some(found) = all.iter().find(|heartbeat| heartbeat.server == *server) else {
            let known: Vec<&str> = all.iter().map(|heartbeat| heartbeat.server.as_str()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            // The command may be run again after it has forgotten the server.
            if Uuid::parse_str(server).is_ok() {
                say(format!(
                    "--gone {server}: the store waits for no such server (any more); it knows {known}"
                ));
                continue;
            }
            return Err(Failure::new(format!(
                "--gone {server}: that is no id of a server; the store knows {known}"
            )));
        };
        if found.is_alive(Utc::now(), ALIVE_FOR) {
            let seen = &found.seen_at;
            return Err(Failure::new(format!("--gone {server}: it runs, and was last seen at {seen}")));
        }
        heartbeats.remove(server)?;
    }
    Ok(())
}

/// What is to be done before an erasure can be complete.
fn incomplete(outcome: &Outcome, pseudonyms: &Pseudonyms) -> Option<String> {
    let mut reasons = Vec::new();
    if !outcome.pending.is_empty() {
        let servers: Vec<&str> = outcome.pending.iter().map(|heartbeat| heartbeat.server.as_str()).collect();
        let (count, named) = (servers.len(), servers.join(", "));
        let (subject, have) = (plural(count, "server"), agreeing(count, "has", "have"));
        let what_to_do = agreeing(
            count,
            "start it, give its data directory with --data, or say --gone SERVER if it is gone for good",
            "start them, give their data directories with --data, or say --gone SERVER of those that are gone for \
             good",
        );
        reasons.push(format!("{subject} {have} not acknowledged: {named}; {what_to_do}"));
    }
    if let Some(unknown) = unknown_keys(&outcome.unknown_keys, pseudonyms) {
        reasons.push(format!("{unknown}, or say --lost-key KEY of those that are lost for good"));
    }
    if !outcome.unreadable.is_empty() {
        let count = outcome.unreadable.len();
        let (files, them) = (plural(count, "sealed file"), agreeing(count, "it", "them"));
        reasons.push(format!("{files} cannot be read: restore {them}, or delete {them}"));
    }
    if !outcome.left.is_empty() {
        let files = plural(outcome.left.len(), "file");
        reasons.push(format!("move or remove {files} that cannot be searched"));
    }
    debug_assert_eq!(reasons.is_empty(), outcome.is_complete());
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

/// What is shown while servers are waited for and files are searched.
struct Shown {
    /// When the wait ends.
    end: Instant,
    limit: Duration,
    bar: RefCell<Option<Bar>>,
}

impl Shown {
    /// Waits a little for servers.
    fn wait(&self, awaited: &Awaited) -> Patience {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Patience::Stop;
        }
        let mut bar = self.bar.borrow_mut();
        let bar = bar.get_or_insert_with(|| {
            let servers: Vec<&str> =
                awaited.servers.iter().map(|heartbeat| heartbeat.server.as_str()).collect();
            say(format!("waiting up to {} for {}", shown(self.limit), servers.join(", ")));
            progress::counted("servers")
        });
        let acknowledged = awaited.acknowledged as u64;
        bar.at(acknowledged, acknowledged + awaited.servers.len() as u64);
        thread::sleep(PAUSE.min(left));
        Patience::Wait
    }

    /// So many sealed files were searched.
    fn at(&self, done: u64, all: u64) {
        if done == 1 {
            self.clear();
            self.bar.replace(Some(progress::counted("sealed files")));
        }
        if let Some(bar) = &*self.bar.borrow() {
            bar.at(done, all);
        }
    }

    fn clear(&self) {
        if let Some(bar) = self.bar.take() {
            bar.clear();
        }
    }
}
