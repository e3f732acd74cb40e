//! A restart changes no decision, whether the server was killed or ended in order, with its checkpoint or without it.

use std::fs;

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};

use super::bank::{Bank, Live, ask, offer, shown, withheld};
use crate::harness::wire;

const LIMITS: &str = r#"
[[contact_limit]]
id = "weekly"
channels = ["email"]
limit = 3
per = "7d"
count = "decision"
exempt = ["service"]

[[suppression]]
id = "dismissed"
after = { outcome = "dismiss", times = 2, within = "30d" }
pause = "60d"
scope = "offer"
"#;

/// Each has another limit, and is shown once those before it are full.
const OFFERS: [(&str, &str); 5] = [
    ("a", "cap_total = { limit = 12, per = \"all\", count = \"accept\", reserve = \"2d\" }"),
    ("b", "cap_customer = { limit = 2, per = \"30d\", count = \"impression\" }"),
    (
        "c",
        "cost = 0.5\nbudget = { amount = 8.0, per = \"all\", count = \"impression\", spends = \"cost\", \
         pacing = \"fast\", reserve = \"2d\" }",
    ),
    ("d", "cap_total = { limit = 20, per = \"month\", count = \"decision\" }"),
    ("e", ""),
];

/// How a server ends between two parts of the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It goes on.
    Never,
    Killed,
    InOrder,
    /// In order, and its checkpoint is lost.
    WithoutCheckpoint,
}

/// What is shown, and what is withheld with the codes of the reasons.
type Decided = (Vec<String>, Vec<(String, String)>);

/// What a bank decides in a day of calls and outcomes, whose server ends now and then.
async fn day(ends: &[End]) -> Vec<Decided> {
    let offers: String = OFFERS.iter().map(|(id, limit)| offer(id, limit)).collect();
    let bank = Bank::new(&offers, LIMITS);
    let mut live = bank.serve(&[]).await;
    let (mut random, mut decided) = (Xoshiro256PlusPlus::seed_from_u64(7), Vec::new());
    for part in 0..8 {
        for call in 0..25 {
            let customer = format!("c{}", random.next_u64() % 9);
            let placement = ["home", "letter"][(random.next_u64() % 2) as usize];
            let skipped = ["a", "b", "none"][(random.next_u64() % 3) as usize];
            let request = wire::RankRequest {
                exclude_offer_ids: if skipped == "none" { vec![] } else { vec![skipped.to_owned()] },
                ..ask(placement, &[&customer])
            };
            let result = live.rank(request).await.remove(0);
            let pick = (random.next_u64() % 6) as usize;
            if let Some(kind) = ["impression", "accept", "dismiss", "impression"].get(pick)
                && !result.offers.is_empty()
            {
                live.report(&result, kind).await;
            }
            if (part, call) == (3, 13) {
                live.report_of("out", "c3", "e", "opt_out").await;
            }
            let why = result.rejected.iter().map(|one| (one.offer_id.clone(), one.reason.clone()));
            let why = why.collect();
            decided.push((shown(&result).into_iter().map(str::to_owned).collect(), why));
        }
        live = match ends[part % ends.len()] {
            End::Never => live,
            End::Killed => {
                live.kill();
                bank.serve(&[]).await
            }
            End::InOrder => {
                live.end();
                bank.serve(&[]).await
            }
            End::WithoutCheckpoint => {
                live.end();
                fs::remove_file(bank.checkpoint()).unwrap();
                bank.serve(&[]).await
            }
        };
    }
    decided
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_in_the_middle_changes_no_decision() {
    let expected = day(&[End::Never]).await;
    for reason in ["CONTACT_LIMIT", "SUPPRESSED", "CAP_CUSTOMER", "CAP_TOTAL", "BUDGET"] {
        let has_reason = |(_, why): &Decided| why.iter().any(|(_, of)| of == reason);
        assert!(expected.iter().any(has_reason), "nothing is {reason}");
    }
    for ends in [&[End::Killed][..], &[End::InOrder, End::Killed], &[End::WithoutCheckpoint, End::InOrder]] {
        let decided = day(ends).await;
        assert_eq!(decided.len(), expected.len());
        for (call, (one, other)) in expected.iter().zip(&decided).enumerate() {
            assert_eq!(one, other, "call {call} with {ends:?}");
        }
    }
}

/// A bank whose customer Anna was shown an offer once, which is all that she may be shown.
async fn contacted() -> (Bank, Live) {
    let limits = "[[contact_limit]]\nid = \"once\"\nlimit = 1\nper = \"30d\"\ncount = \"decision\"\n";
    let bank = Bank::new(&offer("gold", ""), limits);
    let mut live = bank.serve(&[]).await;
    assert_eq!(live.shows("home", "anna").await, ["gold"]);
    (bank, live)
}

/// Whether a log says this.
fn says(log: &[String], words: &str) -> bool {
    log.iter().any(|line| line.contains(words))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_reads_the_checkpoint_and_what_is_behind_it_and_a_bad_one_is_named() {
    let (bank, live) = contacted().await;
    let log = live.end();
    assert!(says(&log, "the history is built of events"), "{log:#?}");
    let first = fs::read(bank.checkpoint()).unwrap();
    // Behind the checkpoint: a decision of a server that was killed.
    let mut live = bank.serve(&[]).await;
    assert_eq!(live.shows("home", "bert").await, ["gold"]);
    live.kill();
    assert!(fs::read(bank.checkpoint()).unwrap() == first, "nothing was saved meanwhile");
    let mut live = bank.serve(&[]).await;
    for customer in ["anna", "bert"] {
        assert_eq!(withheld(&live.one("home", customer).await, "gold").0, "CONTACT_LIMIT");
    }
    let log = live.end();
    assert!(says(&log, "the history is that of its checkpoint and what is behind it"), "{log:#?}");
    // Of another version, cut, or changed: it is built anew, and no customer is forgotten.
    let good = fs::read(bank.checkpoint()).unwrap();
    assert!(good != first);
    let mut changed = good.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    let bad = [b"of another version".to_vec(), good[..good.len() - 9].to_vec(), changed];
    for bytes in bad {
        fs::write(bank.checkpoint(), bytes).unwrap();
        let mut live = bank.serve(&[]).await;
        for customer in ["anna", "bert"] {
            assert_eq!(live.shows("home", customer).await, Vec::<String>::new());
        }
        let log = live.end();
        assert!(says(&log, "since its checkpoint cannot be used"), "{log:#?}");
    }
    // What a process that died while it made one has left goes.
    fs::write(bank.path("data/history.checkpoint.new"), "half").unwrap();
    let mut live = bank.serve(&[]).await;
    assert_eq!(live.shows("home", "anna").await, Vec::<String>::new());
    assert!(!bank.path("data/history.checkpoint.new").exists());
    live.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_is_ahead_of_the_log_is_not_used() {
    let (bank, live) = contacted().await;
    live.end();
    let data = bank.path("data");
    let lose_log = || {
        for file in fs::read_dir(data.join("log")).unwrap() {
            fs::remove_file(file.unwrap().path()).unwrap();
        }
    };
    // The log is lost, and the data directory says how far it was: the checkpoint has what it had.
    lose_log();
    let mut live = bank.serve(&[]).await;
    assert!(live.shows("home", "anna").await.is_empty());
    let log = live.end();
    assert!(says(&log, "events were recorded, and no log file has them"), "{log:#?}");
    // It is an earlier one, as from a backup.
    lose_log();
    fs::remove_file(data.join("durable")).unwrap();
    let mut live = bank.serve(&[]).await;
    assert_eq!(live.shows("home", "anna").await, ["gold"]);
    let log = live.end();
    assert!(says(&log, "and the log ends at 0"), "{log:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opt_out_overrides_the_consent_of_a_caller_from_the_next_call_on_and_for_good() {
    let bank = Bank::new(&offer("gold", "consents = [\"news\"]"), "");
    let with_consent = |customer: &str| {
        let mut request = ask("home", &[customer]);
        request.customers[0].consents = vec!["news".to_owned()];
        request
    };
    let mut live = bank.serve(&[("PROFFER_RECORDS_SYNC", "os")]).await;
    assert_eq!(shown(&live.rank(with_consent("anna")).await[0]), ["gold"]);
    live.report_of("1", "anna", "gold", "opt_out").await;
    let result = live.rank(with_consent("anna")).await.remove(0);
    assert_eq!((shown(&result), withheld(&result, "gold").0), (vec![], "OPTED_OUT"));
    live.kill();
    let mut live = bank.serve(&[]).await;
    assert_eq!(shown(&live.rank(with_consent("anna")).await[0]), Vec::<&str>::new());
    assert_eq!(shown(&live.rank(with_consent("bert")).await[0]), ["gold"]);
    live.end();
    let mut live = bank.serve(&[]).await;
    assert_eq!(shown(&live.rank(with_consent("anna")).await[0]), Vec::<&str>::new());
}

/// The details of those for whom a throttle withholds an offer, by a dry run for 40 customers.
async fn throttled(live: &mut Live) -> Vec<String> {
    let customers: Vec<String> = (0..40).map(|number| format!("later-{number}")).collect();
    let customers: Vec<&str> = customers.iter().map(String::as_str).collect();
    let request = wire::RankRequest { dry_run: true, ..ask("home", &customers) };
    let results = live.rank(request).await;
    let rejected = results.into_iter().flat_map(|result| result.rejected);
    rejected.filter(|one| one.reason == "MATURITY").map(|one| one.detail).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_impressions_of_a_new_offer_outlive_a_restart_without_a_checkpoint() {
    let bank = Bank::new(&offer("gold", "maturity = { max_share = 0.5, impressions = 900 }"), "");
    let mut live = bank.serve(&[]).await;
    let mut impressions = 0;
    for number in 0..40 {
        impressions += live.shows("home", &format!("customer-{number}")).await.len();
    }
    assert!(impressions > 0);
    let expected = format!("new: shown in {impressions} decisions, mature at 900");
    let before = throttled(&mut live).await;
    assert!(!before.is_empty());
    live.end();
    fs::remove_file(bank.checkpoint()).unwrap();
    let mut live = bank.serve(&[]).await;
    let after = throttled(&mut live).await;
    assert!(!after.is_empty());
    for detail in before.iter().chain(&after) {
        assert_eq!(*detail, expected);
    }
}
