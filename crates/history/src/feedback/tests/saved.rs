//! The checkpoint of a server: what it starts with, what is behind it, and what is taken out of it.

use std::cell::Cell;
use std::fs;
use std::ops::Range;

use chrono::{DateTime, TimeDelta, Utc};
use event::SyncPolicy;
use event::privacy::Pseudonyms;
use offer::Catalog;

use super::setting::{Setting, catalog, click_by, decision, id, now, plain};
use super::threads::{contents, decisions};
use crate::checkpoint::CheckpointError;
use crate::feedback::{ReportedOutcome, Verdict};
use crate::records::{
    Recovered, RecoveredFrom, SaveError, SavedHistory, Started, forget_left_behind, read_missing, recover,
};
use crate::{History, Limits, RecentDecisions};

const DEDUP: TimeDelta = TimeDelta::days(30);

/// Longer than any limit looks back.
const KEEP: TimeDelta = TimeDelta::days(400);

/// Every outcome is durable when it is answered.
fn setting() -> Setting {
    Setting::with(SyncPolicy::Always, Pseudonyms::default())
}

/// Outcomes of two customers, by number.
fn outcomes(numbers: Range<i64>) -> Vec<ReportedOutcome> {
    let outcome = |number: i64| ReportedOutcome {
        outcome_type: ["impression", "accept", "dismiss", "click"][(number % 4) as usize].to_owned(),
        occurred_at: Some(now() - TimeDelta::hours(number * 5)),
        ..click_by(
            &format!("event-{number}"),
            ["C-1", "C-2"][(number % 2) as usize],
            ["a", "b", "c"][(number % 3) as usize],
        )
    };
    numbers.map(outcome).collect()
}

async fn record(setting: &Setting, numbers: Range<i64>) {
    let verdicts = setting.record(outcomes(numbers)).await;
    assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Accepted(_))), "{verdicts:?}");
}

/// A server that starts with what there is.
struct Server {
    history: History,
    recent: RecentDecisions,
    limits: Limits,
    saved: SavedHistory,
    started: Started,
}

impl Server {
    fn start(setting: &Setting) -> Self {
        Self::start_with(setting, &catalog(), |_| None)
    }

    fn start_with(
        setting: &Setting,
        catalog: &Catalog,
        has_erased: impl FnOnce(DateTime<Utc>) -> Option<String>,
    ) -> Self {
        let saved = SavedHistory::new(&setting.data(), setting.log.log_files(), DEDUP);
        let history = History::default();
        let recent = RecentDecisions::new(&history, 1 << 20, "");
        let (parts, reader) = ((&history, &recent), setting.reader());
        let started = saved.start(parts, &reader, catalog, has_erased, now()).unwrap();
        assert!(started.not_saved.is_none(), "{started:?}");
        let limits = Limits::new(&history, catalog, now()).unwrap();
        Self { history, recent, limits, saved, started }
    }

    fn advance(&self, setting: &Setting, now: DateTime<Utc>) -> Result<bool, SaveError> {
        self.saved.advance(&setting.reader(), &catalog(), KEEP, now)
    }

    /// What it has, as a text.
    fn contents(&self) -> String {
        format!("{:#?}", contents(&self.history, &self.limits))
    }

    /// Why it has read all events, though there was a checkpoint.
    fn reason(&self) -> &str {
        match &self.started.from {
            RecoveredFrom::EventsInstead { reason } => reason,
            from @ (RecoveredFrom::Checkpoint(_) | RecoveredFrom::Events) => panic!("{from:?}"),
        }
    }
}

/// What all events give.
fn of_events(setting: &Setting) -> String {
    let (history, catalog) = (History::default(), catalog());
    let recent = RecentDecisions::new(&history, 1 << 20, "");
    recover((&history, &recent), &setting.reader(), &catalog, DEDUP, now()).unwrap();
    format!("{:#?}", contents(&history, &Limits::new(&history, &catalog, now()).unwrap()))
}

#[tokio::test]
async fn a_server_starts_with_its_checkpoint_and_the_log_behind_it() {
    let setting = setting();
    setting.log_decisions(decisions());
    record(&setting, 0..20).await;
    let first = Server::start(&setting);
    assert_eq!(first.started.from, RecoveredFrom::Events);
    assert_eq!(first.started.recovered.outcomes, 20);
    let again = Server::start(&setting);
    assert_eq!(again.started.from, RecoveredFrom::Checkpoint(now()));
    assert_eq!(again.started.recovered, Recovered::default());
    assert_eq!(again.contents(), first.contents());
    // What a shadow has compared is passed over.
    setting.log_shadows("C-1", 3);
    record(&setting, 20..30).await;
    let ago = TimeDelta::minutes(1);
    setting.log_decisions(vec![decision(id(99, ago), "C-1", &["b", "c"], ago)]);
    let last = Server::start(&setting);
    assert_eq!(last.started.from, RecoveredFrom::Checkpoint(now()));
    assert_eq!(last.started.recovered, Recovered { decisions: 1, outcomes: 10 });
    assert_eq!(last.contents(), of_events(&setting));
    assert_ne!(last.contents(), first.contents());
    assert!(last.recent.find(id(99, ago)).is_some());
    let is_new = |one: &ReportedOutcome| last.history.admit(&one.event_id, one.occurred_at.unwrap(), now());
    assert!(!outcomes(0..30).iter().any(is_new));
}

#[tokio::test]
async fn the_next_checkpoint_is_made_of_the_last_one_and_the_log() {
    let setting = setting();
    let of_no_server = SavedHistory::new(&setting.data(), setting.log.log_files(), DEDUP);
    record(&setting, 0..10).await;
    assert!(!of_no_server.advance(&setting.reader(), &catalog(), KEEP, now()).unwrap());
    let server = Server::start(&setting);
    assert!(!server.advance(&setting, now()).unwrap(), "there is nothing new");
    record(&setting, 10..25).await;
    let ago = TimeDelta::minutes(1);
    setting.log_decisions(vec![decision(id(99, ago), "C-1", &["b", "c"], ago)]);
    let later = now() + TimeDelta::minutes(5);
    assert!(server.advance(&setting, later).unwrap());
    assert!(!server.advance(&setting, later).unwrap());
    let next = Server::start(&setting);
    assert_eq!(next.started.from, RecoveredFrom::Checkpoint(later));
    assert_eq!((next.started.recovered, next.contents()), (Recovered::default(), of_events(&setting)));
}

#[tokio::test]
async fn a_checkpoint_that_cannot_be_used_is_made_anew_of_all_events() {
    let setting = setting();
    record(&setting, 0..10).await;
    let expected = Server::start(&setting).contents();
    let path = setting.data().join("history.checkpoint");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    let damaged = Server::start(&setting);
    assert!(damaged.reason().contains("damaged"), "{}", damaged.reason());
    assert_eq!((damaged.started.recovered.outcomes, damaged.contents()), (10, expected.clone()));
    assert_eq!(Server::start(&setting).started.from, RecoveredFrom::Checkpoint(now()));
    let erased = Server::start_with(&setting, &catalog(), |made| {
        assert_eq!(made, now());
        Some("somebody was erased".to_owned())
    });
    assert_eq!((erased.reason(), erased.contents()), ("somebody was erased", expected));
}

#[tokio::test]
async fn limits_that_look_further_back_than_a_checkpoint_are_served_by_all_events() {
    let setting = setting();
    // A server that has seen every event knows all that any limit looks at.
    Server::start_with(&setting, &plain(), |_| None);
    record(&setting, 0..10).await;
    let from_the_first = Server::start(&setting);
    assert_eq!(from_the_first.started.from, RecoveredFrom::Checkpoint(now()));
    assert_eq!(from_the_first.contents(), of_events(&setting));
    fs::remove_file(setting.data().join("history.checkpoint")).unwrap();
    Server::start_with(&setting, &plain(), |_| None);
    let further = Server::start(&setting);
    assert!(further.reason().contains("limits look further back"), "{}", further.reason());
    assert_eq!(further.contents(), of_events(&setting));
    assert!(further.started.known.shortfall(&further.history, &catalog(), now()).is_none());
}

#[tokio::test]
async fn who_is_forgotten_is_in_no_checkpoint() {
    let setting = setting();
    record(&setting, 0..10).await;
    let server = Server::start(&setting);
    let path = setting.data().join("history.checkpoint");
    let names = |id: &str| {
        let bytes = fs::read(&path).unwrap();
        bytes.windows(id.len()).any(|window| window == id.as_bytes())
    };
    assert!(names("C-1") && names("C-2"));
    server.saved.forget(|id| id == "C-1").unwrap();
    assert!(!names("C-1") && names("C-2"));
    let next = Server::start(&setting);
    assert_eq!(next.started.from, RecoveredFrom::Checkpoint(now()));
    assert!(next.history.customer("C-1").is_none());
    assert_eq!(next.history.customer("C-2"), server.history.customer("C-2"));
    // The server goes on from there.
    record(&setting, 11..12).await;
    assert!(server.advance(&setting, now()).unwrap());
    assert_eq!(Server::start(&setting).started.recovered, Recovered::default());
    // As a command does, in the directory of a server that is gone.
    forget_left_behind(&setting.data(), |id| id == "C-2").unwrap();
    assert!(!names("C-2"));
    assert!(Server::start(&setting).history.customer("C-2").is_none());
}

#[tokio::test]
async fn a_checkpoint_out_of_which_nobody_can_be_taken_is_removed() {
    let setting = setting();
    record(&setting, 0..10).await;
    let server = Server::start(&setting);
    let path = setting.data().join("history.checkpoint");
    fs::write(&path, "another file").unwrap();
    server.saved.forget(|id| id == "C-1").unwrap();
    assert!(!path.exists());
    record(&setting, 10..12).await;
    assert!(!server.advance(&setting, now()).unwrap(), "there is none to go on from");
    forget_left_behind(&setting.data(), |_| true).unwrap();
    assert_eq!(Server::start(&setting).started.from, RecoveredFrom::Events);
}

#[tokio::test]
async fn a_checkpoint_that_another_process_has_changed_is_not_gone_on_from() {
    let setting = setting();
    record(&setting, 0..4).await;
    let server = Server::start(&setting);
    record(&setting, 4..8).await;
    let other = Server::start(&setting);
    assert!(other.advance(&setting, now() + TimeDelta::seconds(1)).unwrap());
    record(&setting, 8..9).await;
    let refused = server.advance(&setting, now() + TimeDelta::seconds(2));
    assert!(matches!(refused, Err(SaveError::Checkpoint(CheckpointError::Foreign))), "{refused:?}");
    assert_eq!(Server::start(&setting).contents(), of_events(&setting));
}

#[tokio::test]
async fn once_the_data_directory_is_given_up_the_checkpoint_stays() {
    let setting = setting();
    record(&setting, 0..4).await;
    let server = Server::start(&setting);
    let path = setting.data().join("history.checkpoint");
    let before = fs::read(&path).unwrap();
    record(&setting, 4..8).await;
    server.saved.end();
    assert!(server.advance(&setting, now()).is_err());
    assert!(fs::read(&path).unwrap() == before);
}

#[test]
fn what_a_history_lacks_is_read_without_the_erased_and_dropped_at_once_if_somebody_is_erased() {
    let setting = setting();
    setting.log_decisions(decisions());
    // Without limits, no decision is read at a start.
    let server = Server::start_with(&setting, &plain(), |_| None);
    let _limits = Limits::new(&server.history, &catalog(), now()).unwrap();
    let read = |is_erased: &dyn Fn(&str) -> bool, goes_on: &dyn Fn() -> bool| {
        let lacks = (&server.history, server.started.known);
        read_missing(lacks, &setting.reader(), &catalog(), DEDUP, now(), is_erased, goes_on).unwrap()
    };
    let asked = Cell::new(0);
    let goes_on = || asked.replace(asked.get() + 1) < 4;
    assert!(read(&|_| false, &goes_on).is_none());
    assert_eq!(asked.get(), 5, "nothing is read any more");
    let missing = read(&|name| name == "C-1", &|| true).unwrap();
    missing.add_to(&server.history, now());
    let is_there = |name: &str| server.history.customer(name).is_some();
    assert_eq!(["C-0", "C-1", "C-2"].map(is_there), [true, false, true]);
}
