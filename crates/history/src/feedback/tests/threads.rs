//! Each outcome is counted once, in any order and however often it comes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use chrono::TimeDelta;
use event::SyncPolicy;
use event::privacy::Pseudonyms;
use proptest::prelude::*;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};

use super::setting::{RELEASE, Setting, click, decision, id, now};
use crate::feedback::{ReportedOutcome, Serving, Verdict, WhenNoRoom};
use crate::{History, HistoryEntry, Limits};

/// The customers of the decisions, by number.
const CUSTOMERS: [&str; 4] = ["C-0", "C-1", "C-2", ""];

/// Everything that a history has, in an order of its own.
pub(super) fn contents(
    history: &History,
    limits: &Limits,
) -> (BTreeMap<String, (bool, Vec<HistoryEntry>)>, String) {
    let mut customers = BTreeMap::new();
    history.each_customer(|id, mut customer| {
        customer.entries.sort();
        customers.insert(id.to_owned(), (customer.opted_out, customer.entries));
    });
    (customers, format!("{:?}", limits.usage(now())))
}

/// Decisions of the last days: by number, the customer and the offers.
pub(super) fn decisions() -> Vec<event::proto::DecisionRecord> {
    let of = |number: u64| {
        let ago = TimeDelta::hours(number.cast_signed() * 7);
        let offers: &[&str] = if number.is_multiple_of(2) { &["a", "b"] } else { &["c"] };
        decision(id(number, ago), CUSTOMERS[number as usize % 4], offers, ago)
    };
    (0..12).map(of).collect()
}

/// An outcome that depends on the number alone.
fn outcome(number: u64) -> ReportedOutcome {
    let types = ["impression", "click", "accept", "dismiss", "opt_out"];
    let of = number % 14;
    let ago = TimeDelta::hours(of.cast_signed() * 7);
    let base = ReportedOutcome {
        outcome_type: types[number as usize % types.len()].to_owned(),
        occurred_at: Some(now() - TimeDelta::minutes((number * 37 % 40_000).cast_signed())),
        offer_id: ["a", "b", "c"][number as usize % 3].to_owned(),
        ..click(&format!("event-{number}"))
    };
    match number % 5 {
        // Without a decision, or of one that is not known, as are the last two.
        0 => ReportedOutcome { customer_id: CUSTOMERS[number as usize % 4].to_owned(), ..base },
        _ => ReportedOutcome { decision_id: id(of, ago).to_string(), ..base },
    }
}

/// The outcomes of `numbers`, each once or more often, in some order, in calls of some length.
fn calls(numbers: &[u64], seed: u64) -> Vec<Vec<ReportedOutcome>> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut below = |most: usize| (random.next_u64() % most as u64) as usize;
    let mut all: Vec<u64> = Vec::new();
    for number in numbers {
        all.extend(std::iter::repeat_n(*number, 1 + below(3)));
    }
    for place in (1..all.len()).rev() {
        all.swap(place, below(place + 1));
    }
    let mut calls = Vec::new();
    while !all.is_empty() {
        let rest = all.split_off(all.len().min(1 + below(9)));
        calls.push(all.iter().map(|number| outcome(*number)).collect());
        all = rest;
    }
    calls
}

fn kind(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Accepted(_) => "accepted",
        Verdict::Duplicate => "duplicate",
        Verdict::Refused(_) => "refused",
    }
}

/// Sends the calls from some tasks at once. Returns the verdicts by event, each as often as it was given.
async fn send(setting: &Setting, calls: Vec<Vec<ReportedOutcome>>) -> HashMap<String, Vec<&'static str>> {
    let mut tasks = Vec::new();
    let catalog = Arc::new(setting.catalog.clone());
    for call in calls {
        let (feedback, catalog) = (setting.feedback.clone(), Arc::clone(&catalog));
        tasks.push(tokio::spawn(async move {
            let ids: Vec<String> = call.iter().map(|outcome| outcome.event_id.clone()).collect();
            let serving = Serving { catalog: &catalog, release: RELEASE };
            let verdicts = feedback.record(call, serving, WhenNoRoom::Waits, now()).await;
            ids.into_iter().zip(verdicts.unwrap()).collect::<Vec<_>>()
        }));
    }
    let mut found: HashMap<String, Vec<&'static str>> = HashMap::new();
    for task in tasks {
        for (id, verdict) in task.await.unwrap() {
            found.entry(id).or_default().push(kind(&verdict));
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn shuffled_and_duplicated_outcomes_give_the_same_history(
        numbers in prop::collection::btree_set(0_u64..500, 1..60),
        seed in any::<u64>(),
        sync in prop::sample::select(vec![SyncPolicy::Interval, SyncPolicy::Always]),
    ) {
        let numbers: Vec<u64> = numbers.into_iter().collect();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).build().unwrap();
        // Each once, in order.
        let plain = Setting::new();
        plain.log_decisions(decisions());
        runtime.block_on(async {
            for number in &numbers {
                plain.record_one(outcome(*number)).await;
            }
        });
        let setting = Setting::with(sync, Pseudonyms::default());
        setting.log_decisions(decisions());
        let verdicts = runtime.block_on(send(&setting, calls(&numbers, seed)));
        let expected = contents(&plain.history, &plain.limits);
        prop_assert_eq!(contents(&setting.history, &setting.limits), expected);
        // Of an event all are refused, or one is accepted.
        for (id, verdicts) in &verdicts {
            let accepted = verdicts.iter().filter(|verdict| **verdict == "accepted").count();
            let refused = verdicts.iter().filter(|verdict| **verdict == "refused").count();
            prop_assert!(
                (accepted == 1 && refused == 0) || (accepted == 0 && refused == verdicts.len()),
                "{}: {:?}", id, verdicts
            );
        }
        // All of them again are all known.
        let again = runtime.block_on(setting.record(numbers.iter().map(|number| outcome(*number)).collect()));
        prop_assert!(again.iter().all(|verdict| !matches!(verdict, Verdict::Accepted(_))));
        // And each is recorded once.
        let (reader, _directory) = setting.close();
        let mut recorded: HashMap<String, usize> = HashMap::new();
        reader.scan_outcomes(&event::Query::default(), &mut |record| {
            *recorded.entry(record.event_id).or_default() += 1;
            std::ops::ControlFlow::Continue(())
        }).unwrap();
        let accepted = verdicts.values().filter(|verdicts| verdicts.contains(&"accepted")).count();
        prop_assert_eq!(recorded.len(), accepted);
        prop_assert!(recorded.values().all(|count| *count == 1));
    }
}
