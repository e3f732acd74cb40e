//! What a promoted release counts where the clock of the server was set.

use chrono::TimeDelta;
use event::SyncPolicy;
use event::privacy::Pseudonyms;

use super::setting::{Setting, decision, id, now, plain};
use crate::records::{RecoveredFrom, SavedHistory, read_missing};
use crate::tests::catalogs;
use crate::{History, Limits, RecentDecisions};

const DEDUP: TimeDelta = TimeDelta::days(30);

#[tokio::test]
async fn each_decision_is_counted_once_whatever_the_clock_showed() {
    let setting = Setting::with(SyncPolicy::Always, Pseudonyms::default());
    let log = |number: u64, offer: &str, ago: TimeDelta| {
        setting.log_decisions(vec![decision(id(number, ago), "C-1", &[offer], ago)]);
    };
    // Without limits, no decision is read at a start.
    let start = || {
        let saved = SavedHistory::new(&setting.data(), setting.log.log_files(), DEDUP);
        let history = History::default();
        let recent = RecentDecisions::new(&history, 1 << 20, "");
        let parts = (&history, &recent);
        let started = saved.start(parts, &setting.reader(), &plain(), |_| None, now()).unwrap();
        (history, started)
    };
    let seconds = TimeDelta::seconds(3);
    // The clock is ahead, and right again when the server starts.
    log(1, "o0", -seconds);
    let (_, built) = start();
    assert_eq!((built.from, built.recovered.decisions), (RecoveredFrom::Events, 0));
    // Then it is set back. What is behind the checkpoint is counted at the next start.
    log(2, "o1", seconds);
    let (history, started) = start();
    assert_eq!((started.from, started.recovered.decisions), (RecoveredFrom::Checkpoint(now()), 1));
    assert_eq!(started.known, built.known);
    let cap = "cap_total = { limit = 9, per = \"60d\", count = \"decision\" }";
    let (catalog, later) = (catalogs::catalog(&[cap, cap], ""), now() + TimeDelta::minutes(1));
    let (lacks, reader) = ((&history, started.known), setting.reader());
    let missing = read_missing(lacks, &reader, &catalog, DEDUP, later, &|_| false, &|| true).unwrap();
    missing.unwrap().add_to(&history, later);
    let limits = Limits::new(&history, &catalog, later).unwrap();
    let counted: Vec<i64> = limits.usage(later).iter().map(|usage| usage.confirmed).collect();
    assert_eq!(counted, [1, 1]);
}
