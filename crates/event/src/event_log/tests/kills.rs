//! The process is killed (SIGKILL) at each step of the log. What it had told to be durable is there when it starts
//! again.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use super::*;
use crate::fault::STEPS;
use crate::queue::tests::OUTCOME;

/// The variable that makes a test process write to the data directory that it names.
const DIRECTORY: &str = "PROFFER_TEST_KILLED_LOG";

/// What the process writes before the position of an event that was told to be durable.
const DURABLE: &str = "told durable: ";

/// The id of an event; both kinds by turns.
fn id(event: u64) -> String {
    if event.is_multiple_of(2) { format!("{OUTCOME}event-{event}") } else { format!("event-{event}") }
}

/// Records events one after another and deletes closed files but one, unless it is killed. Does nothing unless
/// [`DIRECTORY`] is set.
#[tokio::test]
async fn what_the_killed_process_does() {
    let Some(root) = std::env::var_os(DIRECTORY) else { return };
    let mut config = at(Path::new(&root), SyncPolicy::Always);
    config.log_file = 1_000;
    let (log, recovery) = start(&config);
    let recorder = log.recorder();
    for event in recovery.next_position..recovery.next_position + 30 {
        let reserved = recorder.try_reserve(100).unwrap();
        recorder.record(reserved, batch(&id(event), 1)).durable().await.unwrap();
        let mut output = std::io::stdout().lock();
        writeln!(output, "{DURABLE}{event}").unwrap();
        output.flush().unwrap();
        if let [oldest, _, ..] = &log.closed_files()[..] {
            log.delete(oldest).unwrap();
        }
    }
    assert_eq!(log.close(LONG).lost, 0);
}

#[test]
fn killed_at_any_step() {
    let this = std::env::current_exe().unwrap();
    for step in STEPS.names() {
        let root = tempfile::tempdir().unwrap();
        let run = |fault: &str| {
            let test = "event_log::tests::kills::what_the_killed_process_does";
            let mut command = Command::new(&this);
            command
                .args(["--exact", test, "--nocapture"])
                .env(DIRECTORY, root.path())
                .env("PROFFER_FAULT", fault);
            command.output().unwrap()
        };
        // Some life before, so that there is something to lose.
        assert!(run("").status.success());
        let killed = run(&format!("{step}=kill"));
        assert_eq!(killed.status.signal(), Some(9), "{step}: {killed:?}");
        let output = String::from_utf8(killed.stdout).unwrap();
        let told = output.lines().filter_map(|line| line.split_once(DURABLE)?.1.parse::<u64>().ok()).max();
        let last = told.unwrap_or(30);

        let (log, recovery) = start(&at(root.path(), SyncPolicy::Always));
        let found = events(&log.files());
        let first = found.first().map_or(recovery.next_position, |(position, _)| *position);
        let expected = (first..recovery.next_position).map(|at| (at, format!("{}-0", id(at))));
        assert!(found.iter().cloned().eq(expected), "{step}: {found:?}");
        assert!(recovery.next_position > last, "{step}: {last} was told durable, {recovery:?}");
        assert!(recovery.next_position <= last + 2, "{step}: one event was in flight");
        assert!(recovery.damaged.is_empty(), "{step}");
    }
}
