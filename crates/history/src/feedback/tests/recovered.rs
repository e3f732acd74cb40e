//! A history that is built again from the log.

use std::ops::ControlFlow;

use chrono::TimeDelta;
use event::Query;

use super::setting::{Setting, catalog, click_by, decision, id, now, plain};
use super::threads::{contents, decisions};
use crate::feedback::{ReportedOutcome, Verdict};
use crate::records::{Recovered, recover};
use crate::{History, Limits, RecentDecisions};

const DEDUP: TimeDelta = TimeDelta::days(30);

fn outcomes() -> Vec<ReportedOutcome> {
    let typed = |number: i64, outcome_type: &str, offer: &str, ago: TimeDelta| ReportedOutcome {
        outcome_type: outcome_type.to_owned(),
        occurred_at: Some(now() - ago),
        ..click_by(&format!("event-{number}"), ["C-1", "C-2"][(number % 2) as usize], offer)
    };
    let some = (0..40).map(|number| {
        let outcome_type = ["impression", "accept", "dismiss", "called_back"][(number % 4) as usize];
        typed(number, outcome_type, ["a", "b", "c"][(number % 3) as usize], TimeDelta::hours(number * 5))
    });
    some.chain([typed(100, "opt_out", "a", TimeDelta::days(3))]).collect()
}

#[tokio::test]
async fn a_history_that_is_built_again_is_the_same_and_knows_duplicates() {
    let setting = Setting::new();
    setting.log_decisions(decisions());
    let verdicts = setting.record(outcomes()).await;
    assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Accepted(_))), "{verdicts:?}");
    let live = contents(&setting.history, &setting.limits);
    let (reader, _directory) = setting.close();

    let (history, catalog) = (History::default(), catalog());
    let limits = Limits::new(&history, &catalog, now()).unwrap();
    let recent = RecentDecisions::new(&history, 1 << 20, "");
    let recovered = recover((&history, &recent), &reader, &catalog, DEDUP, now()).unwrap();
    // Decisions count for nothing but reservations, of which the last 30 minutes and a day may be open.
    assert_eq!(recovered, Recovered { decisions: 4, outcomes: 41 });
    assert_eq!(recent.len(), 4);
    let (mut customers, usage) = contents(&history, &limits);
    for (_, entries) in customers.values_mut() {
        entries.retain(|entry| &*entry.event_type != "decision");
    }
    customers.retain(|_, (opted_out, entries)| *opted_out || !entries.is_empty());
    assert_eq!((customers, usage), live);
    assert!(history.customer("C-1").unwrap().opted_out);
    assert!(outcomes().iter().all(|one| !history.admit(&one.event_id, one.occurred_at.unwrap(), now())));
}

#[tokio::test]
async fn a_shadow_decides_for_nobody() {
    let setting = Setting::new();
    setting.log_shadows("C-shadow", 3);
    setting.log_decisions(decisions());
    setting.log_shadows("C-shadow", 2);
    let (reader, _directory) = setting.close();
    let mut compared = 0;
    let counted = reader.scan_shadows(&Query::default(), &mut |_| {
        compared += 1;
        ControlFlow::Continue(())
    });
    counted.unwrap();
    assert_eq!(compared, 5);
    let (history, catalog) = (History::default(), catalog());
    let recent = RecentDecisions::new(&history, 1 << 20, "");
    let recovered = recover((&history, &recent), &reader, &catalog, DEDUP, now()).unwrap();
    assert_eq!(recovered, Recovered { decisions: 4, outcomes: 0 });
    assert_eq!(history.customer("C-shadow"), None);
}

#[tokio::test]
async fn an_opt_out_is_never_too_old_to_be_read() {
    let setting = Setting::new();
    let long_ago = now() - TimeDelta::days(300);
    let reported = |event_id: &str, outcome_type: &str| ReportedOutcome {
        outcome_type: outcome_type.to_owned(),
        occurred_at: Some(long_ago),
        ..click_by(event_id, "C-1", "c")
    };
    let serving = setting.serving();
    let outcomes = vec![reported("1", "opt_out"), reported("2", "impression")];
    let waits = crate::feedback::WhenNoRoom::Waits;
    let verdicts = setting.feedback.record(outcomes, serving, waits, long_ago).await.unwrap();
    assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Accepted(_))));
    setting.log_decisions(vec![decision(id(1, TimeDelta::days(300)), "C-1", &["a"], TimeDelta::days(300))]);
    let (reader, _directory) = setting.close();
    let (history, catalog) = (History::default(), catalog());
    let recent = RecentDecisions::new(&history, 1 << 20, "");
    let recovered = recover((&history, &recent), &reader, &catalog, DEDUP, now()).unwrap();
    // `cap_total` of `a` counts what was accepted at any time, so that all outcomes are read.
    assert_eq!(recovered, Recovered { decisions: 0, outcomes: 2 });
    assert!(history.customer("C-1").unwrap().opted_out);
    let history = History::default();
    let recent = RecentDecisions::new(&history, 1 << 20, "");
    let recovered = recover((&history, &recent), &reader, &plain(), DEDUP, now()).unwrap();
    assert_eq!(recovered, Recovered { decisions: 0, outcomes: 1 });
    assert!(history.customer("C-1").unwrap().opted_out);
}
