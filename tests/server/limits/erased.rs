//! A person who is erased is forgotten by history, too: in memory, in its checkpoint, and after restarts.

use std::fs;

use chrono::Utc;
use event::erasure::{ErasureStore, Erasures, Marker};
use event::privacy::{Pseudonyms, Subject};

use super::bank::{Bank, Live, has, offer, shown, until, withheld};
use super::releases::{letters, promote};
use crate::binary::{proffer, proffer_prints};

const LIMITS: &str = "[[contact_limit]]\nid = \"once\"\nlimit = 1\nper = \"30d\"\ncount = \"decision\"\nexempt = [\"service\"]\n";

const ANNA: &str = "customer-anna";
const BERT: &str = "customer-bert";

/// A bank that has shown something to both, who may be shown nothing more.
async fn contacted(settings: &[(&str, &str)]) -> (Bank, Live) {
    let bank = Bank::new(&offer("gold", ""), LIMITS);
    let mut live = bank.serve(settings).await;
    for customer in [ANNA, BERT] {
        assert_eq!(live.shows("home", customer).await, ["gold"]);
        assert_eq!(live.shows("home", customer).await, Vec::<String>::new());
    }
    (bank, live)
}

/// Erases Anna, who is nowhere then.
#[track_caller]
fn erase(bank: &Bank, more: &[&str]) {
    let store = bank.store();
    let words = ["privacy", "erase", "--customer", ANNA, "--store", store.to_str().unwrap()];
    let told = proffer_prints([&words[..], more].concat());
    assert!(told.contains("complete"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_and_checkpoint_forget_who_is_erased_and_nobody_else() {
    let (bank, live) = contacted(&[]).await;
    live.end();
    assert!(has(&bank.checkpoint(), ANNA) && has(&bank.checkpoint(), BERT));
    let mut live = bank.serve(&[]).await;
    let before = live.one("home", BERT).await;
    assert_eq!(withheld(&before, "gold").0, "CONTACT_LIMIT");
    live.counts(&["proffer_history_customers 2"]);
    erase(&bank, &[]);
    // Complete means that neither memory nor the checkpoint has them.
    live.counts(&["proffer_history_customers 1"]);
    assert!(!has(&bank.checkpoint(), ANNA) && has(&bank.checkpoint(), BERT));
    assert_eq!(live.would_show("home", ANNA).await, ["gold"]);
    assert_eq!(live.would_show("home", BERT).await, Vec::<String>::new());
    live.kill();
    let mut live = bank.serve(&[]).await;
    assert_eq!(live.would_show("home", ANNA).await, ["gold"]);
    assert_eq!(live.would_show("home", BERT).await, Vec::<String>::new());
    // What they do afterwards counts as of anybody else.
    assert_eq!(live.shows("home", ANNA).await, ["gold"]);
    assert_eq!(live.shows("home", ANNA).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_erased_while_a_server_did_not_run_does_not_come_back_from_its_checkpoint() {
    let (bank, live) = contacted(&[]).await;
    live.end();
    let (data, store) = (bank.path("data"), bank.store());
    // Its log is sealed, so that no erasure waits for it.
    proffer_prints(["events", "seal", data.to_str().unwrap(), "--store", store.to_str().unwrap()]);
    // Sealing may have removed its heartbeat.
    for heartbeat in fs::read_dir(store.join("servers")).into_iter().flatten() {
        fs::remove_file(heartbeat.unwrap().path()).unwrap();
    }
    erase(&bank, &[]);
    assert!(has(&bank.checkpoint(), ANNA), "the server does not know of it yet");
    let mut live = bank.serve(&[]).await;
    assert_eq!(live.would_show("home", ANNA).await, ["gold"]);
    assert_eq!(live.would_show("home", BERT).await, Vec::<String>::new());
    assert!(!has(&bank.checkpoint(), ANNA) && has(&bank.checkpoint(), BERT));
    let log = live.end();
    let reason = "persons were erased while this server did not run";
    assert!(log.iter().any(|line| line.contains(reason)), "{log:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_being_erased_does_not_come_back_with_what_a_promoted_release_has_read() {
    let bank = Bank::new(&offer("gold", ""), "");
    let mut live = bank.serve(&[]).await;
    for customer in [ANNA, BERT] {
        assert_eq!(live.shows("letter", customer).await, ["gold"]);
    }
    live.end();
    let (data, store) = (bank.path("data"), bank.store());
    let store = store.to_str().unwrap();
    proffer_prints(["events", "seal", data.to_str().unwrap(), "--store", store]);
    fs::remove_file(bank.checkpoint()).unwrap();
    let mut live = bank.serve(&[]).await;
    // The server has acknowledged; sealed files are not rewritten yet.
    let erasures = Erasures::new(ErasureStore::open(store, []).unwrap());
    let subject = Subject::new(ANNA, &Pseudonyms::default()).unwrap();
    let marker = Marker::new(&subject, "the test", Utc::now()).unwrap();
    erasures.add(&marker).unwrap();
    until("the server has acknowledged", async || !erasures.list().unwrap()[marker.id()].is_empty()).await;
    let limited = bank.workspace("limited", &offer("gold", ""), &letters(1, "7d"));
    promote(&bank, &live, &limited).await;
    until("what was before is counted", async || live.would_show("letter", BERT).await == ["help"]).await;
    assert_eq!(live.would_show("letter", ANNA).await, ["gold"]);
    live.counts(&["proffer_history_customers 1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_checkpoint_of_a_dead_server_is_searched_with_its_log() {
    let (bank, live) = contacted(&[]).await;
    live.end();
    let mut live = bank.serve(&[]).await;
    assert_eq!(live.shows("home", "carl").await, ["gold"]);
    live.kill();
    erase(&bank, &["--data", bank.path("data").to_str().unwrap()]);
    assert!(!has(&bank.checkpoint(), ANNA) && has(&bank.checkpoint(), BERT));
    let mut live = bank.serve(&[]).await;
    assert_eq!(live.would_show("home", ANNA).await, ["gold"]);
    for customer in [BERT, "carl"] {
        assert_eq!(live.would_show("home", customer).await, Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pseudonyms_are_forgotten_and_exports_say_what_limits_see() {
    let directory = tempfile::tempdir().unwrap();
    let keys = directory.path().join("keys.toml");
    let keys = keys.to_str().unwrap();
    proffer_prints(["privacy", "keys", "--out", keys]);
    let settings = [("PROFFER_RECORDS_PSEUDONYMS", "hmac-sha256"), ("PROFFER_RECORDS_KEYS", keys)];
    let (bank, mut live) = contacted(&settings).await;
    assert_eq!(shown(&live.one("letter", ANNA).await), ["help"]);
    live.report_of("1", ANNA, "gold", "click").await;
    live.report_of("2", ANNA, "gold", "opt_out").await;
    let (store, data) = (bank.store(), bank.path("data"));
    let export = || {
        let words = ["privacy", "export", "--customer", ANNA, "--store", store.to_str().unwrap()];
        proffer([&words[..], &["--data", data.to_str().unwrap(), "--keys", keys]].concat())
    };
    let exported = export();
    assert_eq!(exported.code, Some(0), "{exported:?}");
    let exported: serde_json::Value = serde_json::from_str(&exported.stdout).unwrap();
    let all = |part: &serde_json::Value, fields: &[&str]| -> Vec<String> {
        let one = |one: &serde_json::Value| {
            let fields: Vec<&str> = fields.iter().map(|field| one[*field].as_str().unwrap()).collect();
            fields.join(" ")
        };
        let mut all: Vec<String> = part.as_array().unwrap().iter().map(one).collect();
        all.sort_unstable();
        all
    };
    assert_eq!(all(&exported["outcomes"], &["type"]), ["click", "opt_out"]);
    let history = &exported["history"];
    assert_eq!(history["opted_out"], true);
    assert!(history["derived_from"].as_str().unwrap().contains("decisions and outcomes"), "{history}");
    let entries = all(&history["entries"], &["type", "offer_id", "channel"]);
    assert_eq!(entries, ["click gold ", "decision gold app", "decision help email", "opt_out gold "]);
    erase(&bank, &["--keys", keys]);
    live.counts(&["proffer_history_customers 1"]);
    assert_eq!(export().code, Some(1));
    assert_eq!(live.would_show("home", ANNA).await, ["gold"]);
    assert_eq!(live.would_show("home", BERT).await, Vec::<String>::new());
}
