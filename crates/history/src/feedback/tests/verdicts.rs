//! One verdict for each outcome.

use std::sync::Arc;

use chrono::TimeDelta;
use event::SyncPolicy;
use event::privacy::Pseudonyms;
use telemetry::Format;
use uuid::Uuid;

use super::setting::{RELEASE, Setting, click, click_by, click_on, decision, id, now, pseudonyms};
use crate::feedback::{
    AcceptedOutcome, OutcomeProblem, RefusedOutcome, ReportedOutcome, Serving, Verdict, WhenNoRoom, most,
};
use crate::{Decision, Overshoot, ShownOffer, Spend};

fn days(days: i64) -> TimeDelta {
    TimeDelta::days(days)
}

fn accepted(attributed: bool, late: bool) -> Verdict {
    Verdict::Accepted(AcceptedOutcome { attributed, late, overshoot: Overshoot::default() })
}

#[track_caller]
fn assert_refused(verdict: &Verdict, problem: OutcomeProblem, field: &str, words: &str) {
    let Verdict::Refused(RefusedOutcome { problem: found, field: wrong, message }) = verdict else {
        panic!("{verdict:?}");
    };
    assert_eq!((*found, *wrong), (problem, field), "{message}");
    assert!(message.contains(words), "{message}");
}

/// Remembers a decision as the decider does.
fn remember(setting: &Setting, id: Uuid, customer: &str, offers: &[&str], ago: TimeDelta) {
    let shown: Vec<ShownOffer> = offers
        .iter()
        .map(|offer| ShownOffer {
            offer: (*offer).into(),
            spend: Spend { cost_micros: 3_500_000, value_micros: 90_000_000 },
            reservations: Vec::new(),
        })
        .collect();
    setting.recent.remember(&Decision {
        id,
        customer,
        placement: "home",
        channel: "web",
        decided_at: now() - ago,
        shown: &shown,
    });
}

#[tokio::test]
async fn what_is_wrong_with_an_outcome_is_named_by_field() {
    use OutcomeProblem::{FromTheFuture, Invalid, Mismatch, TooOld, UnknownDecision, UnknownType};
    let setting = Setting::new();
    let one = id(1, days(0));
    remember(&setting, one, "C-1", &["a", "b"], TimeDelta::minutes(1));
    let two = id(2, days(0));
    remember(&setting, two, "C-1", &[], TimeDelta::minutes(1));
    let good = || click_on("e", one, "a");
    let long = || "x".repeat(most::ID_BYTES + 1);
    let attributes = |count: usize, name: usize, text: usize| {
        (0..count).map(|number| (format!("{number:0name$}"), "x".repeat(text))).collect()
    };
    let at = |ahead: TimeDelta| Some(now() + ahead);
    let cases: Vec<(ReportedOutcome, OutcomeProblem, &str, &str)> = vec![
        (click_on("", one, "a"), Invalid, "event_id", "is missing"),
        (click_on(&long(), one, "a"), Invalid, "event_id", "257 bytes are more than 256"),
        (ReportedOutcome { customer_id: long(), ..good() }, Invalid, "customer_id", "257 bytes"),
        (ReportedOutcome { offer_id: long(), ..good() }, Invalid, "offer_id", "257 bytes"),
        (ReportedOutcome { decision_id: "seven".to_owned(), ..good() }, Invalid, "decision_id", "not a UUID"),
        (ReportedOutcome { outcome_type: String::new(), ..good() }, Invalid, "type", "is missing"),
        (ReportedOutcome { outcome_type: "clik".to_owned(), ..good() }, UnknownType, "type", "`click`?"),
        (ReportedOutcome { outcome_type: "decision".to_owned(), ..good() }, UnknownType, "type", "neither"),
        (ReportedOutcome { value: f64::NAN, ..good() }, Invalid, "value", "finite"),
        (ReportedOutcome { value: f64::INFINITY, ..good() }, Invalid, "value", "finite"),
        (ReportedOutcome { occurred_at: None, ..good() }, Invalid, "occurred_at", "is missing"),
        (ReportedOutcome { occurred_at: at(-days(30)), ..good() }, TooOld, "occurred_at", "feedback.dedup"),
        (ReportedOutcome { occurred_at: at(-days(4_000)), ..good() }, TooOld, "occurred_at", "longer ago"),
        (
            ReportedOutcome { occurred_at: at(TimeDelta::milliseconds(5_001)), ..good() },
            FromTheFuture,
            "occurred_at",
            "5 s ahead",
        ),
        (ReportedOutcome { attributes: attributes(33, 3, 3), ..good() }, Invalid, "attributes", "33 entries"),
        (ReportedOutcome { attributes: attributes(1, 65, 3), ..good() }, Invalid, "attributes", "65 bytes"),
        (
            ReportedOutcome { attributes: attributes(1, 3, 1025), ..good() },
            Invalid,
            "attributes",
            "1025 bytes",
        ),
        (
            ReportedOutcome { attributes: [(String::new(), String::new())].into(), ..good() },
            Invalid,
            "attributes",
            "no name",
        ),
        (click("e"), UnknownDecision, "decision_id", "is missing; such an outcome needs"),
        (click_on("e", id(9, days(0)), "a"), UnknownDecision, "decision_id", "names no known decision"),
        (
            ReportedOutcome { offer_id: String::new(), ..click_by("e", "C-1", "") },
            UnknownDecision,
            "decision_id",
            "`customer_id` and `offer_id`",
        ),
        (click_on("e", one, "c"), Mismatch, "offer_id", "did not show \"c\""),
        (click_on("e", one, ""), Invalid, "offer_id", "showed 2 offers"),
        (click_on("e", two, ""), Mismatch, "decision_id", "showed no offer"),
        (ReportedOutcome { customer_id: "C-2".to_owned(), ..good() }, Mismatch, "customer_id", "another"),
    ];
    for (outcome, problem, field, words) in cases {
        assert_refused(&setting.record_one(outcome).await, problem, field, words);
    }
    // What was refused left nothing behind, and its id is free.
    assert_eq!(setting.history.customer("C-1"), None);
    let most = ReportedOutcome {
        occurred_at: at(TimeDelta::seconds(5)),
        attributes: attributes(most::ATTRIBUTES, most::NAME_BYTES, most::ATTRIBUTE_BYTES),
        value: -1.5,
        customer_id: "C-1".to_owned(),
        ..good()
    };
    assert_eq!(setting.record_one(most.clone()).await, accepted(true, false));
    assert_eq!(setting.record_one(most).await, Verdict::Duplicate);
    let oldest = ReportedOutcome {
        occurred_at: at(TimeDelta::milliseconds(1) - days(30)),
        ..click_on("oldest", one, "a")
    };
    assert_eq!(setting.record_one(oldest).await, accepted(true, false));
    let text = setting.metrics.encode(Format::Text);
    for line in [
        "proffer_outcomes_total{outcome=\"click\",verdict=\"accepted\"} 2",
        "proffer_outcomes_total{outcome=\"click\",verdict=\"duplicate\"} 1",
        "proffer_outcomes_total{outcome=\"other\",verdict=\"refused\"} 3",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
}

#[tokio::test]
async fn a_decision_is_found_in_memory_or_in_the_log_and_then_in_memory() {
    let setting = Setting::new();
    let (old, young) = (id(1, days(40)), id(2, days(0)));
    setting.log_decisions(vec![
        decision(old, "C-1", &["a"], days(40)),
        decision(young, "C-2", &["b", "c"], TimeDelta::minutes(2)),
    ]);
    assert!(setting.recent.is_empty());
    let outcomes = vec![
        ReportedOutcome { outcome_type: "convert".to_owned(), ..click_on("late", old, "") },
        click_on("on time", young, "c"),
        click_on("unknown", id(3, days(40)), "c"),
        // No server gives such an id, so that no file is read for it.
        click_on("no time", Uuid::from_u128(7), "c"),
    ];
    let verdicts = setting.record(outcomes).await;
    assert_eq!(verdicts[0], accepted(true, true));
    assert_eq!(verdicts[1], accepted(true, false));
    for verdict in &verdicts[2..] {
        assert_refused(verdict, OutcomeProblem::UnknownDecision, "decision_id", "no known decision");
    }
    let known = setting.recent.find(old).unwrap();
    // The call named no channel, which is the first of the placement.
    assert_eq!((&*known.placement, &*known.channel, known.customer.as_str()), ("home", "app", "C-1"));
    let entries = setting.history.customer("C-2").unwrap().entries;
    assert_eq!((&*entries[0].event_type, &*entries[0].offer, &*entries[0].channel), ("click", "c", "app"));

    let (reader, _directory) = setting.close();
    let record = reader.find_outcome("late").unwrap().unwrap();
    assert_eq!((record.r#type.as_str(), record.offer_id.as_str(), record.release), ("convert", "a", 7));
    assert_eq!((record.cost, record.offer_value), (3.5, 90.0));
    assert_eq!(record.decided_at, (now() - days(40)).timestamp_micros());
    assert_eq!(record.received_at, now().timestamp_micros());
    assert!(record.attributed && record.late);
    assert_eq!(reader.find_outcome("unknown").unwrap(), None);
}

#[tokio::test]
async fn the_window_is_that_of_type_and_placement_and_what_is_late_counts() {
    let setting = Setting::new();
    let decided = id(1, TimeDelta::hours(2));
    remember(&setting, decided, "C-1", &["a"], TimeDelta::hours(2));
    let typed = |event_id: &str, outcome_type: &str| ReportedOutcome {
        outcome_type: outcome_type.to_owned(),
        ..click_on(event_id, decided, "a")
    };
    // `home` has a window of an hour for clicks; impressions have none.
    let outcomes = vec![
        typed("1", "click"),
        ReportedOutcome { occurred_at: Some(now() - TimeDelta::hours(1)), ..typed("2", "click") },
        typed("3", "convert"),
        typed("4", "impression"),
        typed("5", "called_back"),
        // Before its decision: clocks differ.
        ReportedOutcome { occurred_at: Some(now() - days(1)), ..typed("6", "click") },
    ];
    let late: Vec<Verdict> = setting.record(outcomes).await;
    assert_eq!(late, [true, false, false, false, false, false].map(|late| accepted(true, late)));
    assert_eq!(setting.history.customer("C-1").unwrap().entries.len(), 6);
    assert_eq!(setting.metrics.outcomes.late.get(), 1);
}

#[tokio::test]
async fn an_outcome_without_a_decision_is_kept_unattributed() {
    let setting = Setting::new();
    let outcomes = vec![
        click_by("1", "C-1", "a"),
        // An offer that the release does not have, or not any more.
        click_by("2", "C-1", "gone"),
        ReportedOutcome { decision_id: id(8, days(3)).to_string(), ..click_by("3", "C-1", "b") },
    ];
    assert_eq!(setting.record(outcomes).await, vec![accepted(false, false); 3]);
    assert_eq!(setting.metrics.outcomes.unattributed.get(), 3);
    let entries = setting.history.customer("C-1").unwrap().entries;
    let offers: Vec<&str> = entries.iter().map(|entry| &*entry.offer).collect();
    assert_eq!(offers, ["a", "gone", "b"]);
    let (reader, _directory) = setting.close();
    let record = reader.find_outcome("3").unwrap().unwrap();
    assert!(!record.attributed && record.decided_at == 0 && record.placement.is_empty());
    let unattributed = reader.find_outcome("2").unwrap().unwrap();
    let bits = [record.cost, record.offer_value, unattributed.cost].map(f64::to_bits);
    assert_eq!((record.decision_id, bits), (id_text(8), [2.5, 100.0, 0.0].map(f64::to_bits)));
}

fn id_text(number: u64) -> String {
    id(number, days(3)).to_string()
}

#[tokio::test]
async fn customers_are_named_as_records_name_them() {
    let names = pseudonyms();
    let setting = Setting::with(SyncPolicy::Interval, names.clone());
    let (new, old) = (names.of("C-1"), names.under("old", "C-1").unwrap());
    let (by_old, by_new, visitor) = (id(1, days(0)), id(2, days(0)), id(3, days(0)));
    let named = |record: event::proto::DecisionRecord, key: &str| event::proto::DecisionRecord {
        pseudonym_key: key.to_owned(),
        ..record
    };
    setting.log_decisions(vec![named(decision(by_old, &old.text, &["a"], days(0)), "old")]);
    remember(&setting, by_new, &new.text, &["a"], days(0));
    remember(&setting, visitor, "", &["a"], days(0));
    let who = |outcome: ReportedOutcome, customer: &str| ReportedOutcome {
        customer_id: customer.to_owned(),
        ..outcome
    };
    let outcomes = vec![
        click_on("1", by_old, "a"),
        who(click_on("2", by_old, "a"), "C-1"),
        click_on("3", by_new, "a"),
        who(click_on("4", by_new, "a"), "C-1"),
        // Who was not known may be known by now.
        who(click_on("5", visitor, "a"), "C-1"),
        click_on("6", visitor, "a"),
        who(click_on("7", by_old, "a"), "C-2"),
        who(click_on("8", by_new, "a"), "C-2"),
        // No customer is known by a pseudonym.
        who(click_on("9", by_new, "a"), &new.text),
    ];
    let verdicts = setting.record(outcomes).await;
    assert_eq!(verdicts[..6], vec![accepted(true, false); 6]);
    for verdict in &verdicts[6..] {
        assert_refused(verdict, OutcomeProblem::Mismatch, "customer_id", "another customer");
    }
    let entries = |name: &str| setting.history.customer(name).map_or(0, |customer| customer.entries.len());
    assert_eq!((entries(&new.text), entries(&old.text), entries("C-1")), (4, 1, 0));
    let (reader, _directory) = setting.close();
    let name_of = |event_id: &str| {
        let record = reader.find_outcome(event_id).unwrap().unwrap();
        (record.customer_id, record.pseudonym_key)
    };
    assert_eq!(name_of("1"), (old.text, "old".to_owned()));
    assert_eq!(name_of("2"), (new.text.clone(), "new".to_owned()));
    assert_eq!(name_of("3"), (new.text, "new".to_owned()));
    assert_eq!(name_of("6"), (String::new(), String::new()));
}

#[tokio::test]
async fn duplicates_are_told_from_what_was_refused_also_within_a_call() {
    let setting = Setting::new();
    let outcomes = vec![
        click_by("1", "C-1", "a"),
        click_by("1", "C-1", "a"),
        click("2"),
        click_by("2", "C-1", "a"),
        click_by("2", "C-1", "a"),
        click_by("1", "C-1", "a"),
    ];
    let verdicts = setting.record(outcomes).await;
    assert_eq!(verdicts[..2], [accepted(false, false), Verdict::Duplicate]);
    assert_refused(&verdicts[2], OutcomeProblem::UnknownDecision, "decision_id", "is missing");
    assert_eq!(verdicts[3..], [accepted(false, false), Verdict::Duplicate, Verdict::Duplicate]);
    assert_eq!(setting.history.customer("C-1").unwrap().entries.len(), 2);
}

#[tokio::test]
async fn an_outcome_that_exceeds_a_limit_is_counted_and_told() {
    let setting = Setting::new();
    let accept = |event_id: &str, offer: &str| ReportedOutcome {
        outcome_type: "accept".to_owned(),
        ..click_by(event_id, "C-1", offer)
    };
    let over = |verdict: &Verdict| match verdict {
        Verdict::Accepted(AcceptedOutcome { overshoot, .. }) => (overshoot.cap_total, overshoot.budget),
        verdict @ (Verdict::Duplicate | Verdict::Refused(_)) => panic!("{verdict:?}"),
    };
    // `a` may be accepted twice.
    let verdicts = setting.record(vec![accept("1", "a"), accept("2", "a"), accept("3", "a")]).await;
    let told: Vec<(bool, bool)> = verdicts.iter().map(over).collect();
    assert_eq!(told, [(false, false), (false, false), (true, false)]);
    // `b` has 20 to spend, 2.5 each.
    let verdicts = setting.record((4..13).map(|event| accept(&event.to_string(), "b")).collect()).await;
    assert_eq!(verdicts.iter().map(over).filter(|(_, budget)| *budget).count(), 1);
    for (offer, limit) in [("a", "cap_total"), ("b", "budget")] {
        assert_eq!(setting.metrics.overshoots(offer, limit).get(), 1);
    }
    let used: Vec<i64> = setting.limits.usage(now()).iter().map(|usage| usage.confirmed).collect();
    assert_eq!(used, [3, 22_500_000]);
}

#[tokio::test]
async fn an_opt_out_counts_at_once_and_is_durable_whatever_is_configured() {
    let setting = Setting::with(SyncPolicy::Os, Pseudonyms::default());
    let opt_out = ReportedOutcome { outcome_type: "opt_out".to_owned(), ..click_by("1", "C-1", "a") };
    assert_eq!(setting.record_one(opt_out).await, accepted(false, false));
    assert!(setting.history.customer("C-1").unwrap().opted_out);
    // The log is not closed: what is read is durable.
    let reader = event::EventReader::new(setting.store.clone()).with_logs(setting.log.log_files());
    let read = tokio::task::spawn_blocking(move || reader.find_outcome("1").unwrap());
    assert_eq!(read.await.unwrap().unwrap().customer_id, "C-1");
}

/// Polls a call once, and drops it.
async fn abandon(call: impl Future<Output = Vec<Verdict>>) {
    tokio::select! {
        biased;
        verdicts = call => panic!("{verdicts:?}"),
        () = std::future::ready(()) => {}
    }
}

#[test]
fn a_call_that_goes_away_while_it_looks_for_decisions_leaves_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
    let setting = Setting::new();
    let batch = || vec![click_by("1", "C-1", "a"), click_on("2", id(9, days(2)), "a")];
    runtime.block_on(async {
        // The thread on which decisions are read is busy until the caller has gone.
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let busy = tokio::task::spawn_blocking(move || wait.recv());
        abandon(setting.record(batch())).await;
        assert_eq!(setting.history.customer("C-1"), None);
        go.send(()).unwrap();
        busy.await.unwrap().unwrap();
        let verdicts = setting.record(batch()).await;
        assert_eq!(verdicts[0], accepted(false, false));
        assert_refused(&verdicts[1], OutcomeProblem::UnknownDecision, "decision_id", "no known decision");
    });
}

#[tokio::test]
async fn what_is_in_the_log_is_counted_though_the_caller_has_gone() {
    let setting = Setting::with(SyncPolicy::Always, Pseudonyms::default());
    abandon(setting.record(vec![click_by("1", "C-1", "a")])).await;
    // The id is claimed until the outcome is durable and counted.
    assert_eq!(setting.record_one(click_by("1", "C-1", "a")).await, Verdict::Duplicate);
    assert_eq!(setting.history.customer("C-1").unwrap().entries.len(), 1);
    let (reader, _directory) = setting.close();
    assert!(reader.find_outcome("1").unwrap().is_some());
}

#[tokio::test]
async fn a_call_that_cannot_be_recorded_can_be_sent_again() {
    let setting = Setting::new();
    let feedback = setting.feedback.clone();
    let (history, catalog) = (Arc::clone(&setting.history), setting.catalog.clone());
    let (_reader, _directory) = setting.close();
    let serving = Serving { catalog: &catalog, release: RELEASE };
    for when_no_room in [WhenNoRoom::Fails, WhenNoRoom::Waits] {
        let failed = feedback.record(vec![click_by("3", "C-3", "a")], serving, when_no_room, now()).await;
        assert!(failed.is_err(), "{failed:?}");
    }
    assert_eq!(history.customer("C-3"), None);
    assert!(history.admit("3", now(), now()), "the id is free");
}
