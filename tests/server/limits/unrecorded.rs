//! What cannot be recorded reserves nothing: such offers are withheld, and nothing is lost of what was answered.

use std::fs;

use super::bank::{Bank, Live, ask, offer, shown, until, withheld};
use crate::harness::wire;
use wire::decision_service_client::DecisionServiceClient;

const CAP: &str = "cap_total = { limit = 2, per = \"all\", count = \"accept\", reserve = \"1d\" }";
const LIMITS: &str = r#"
[[contact_limit]]
id = "twice"
channels = ["app"]
limit = 2
per = "30d"
count = "decision"
"#;

fn bank() -> Bank {
    Bank::new(&[offer("gold", CAP), offer("plain", "")].concat(), LIMITS)
}

fn metric(live: &Live, name: &str) -> f64 {
    let text = live.metrics();
    let line = text.lines().find(|line| line.split(' ').next() == Some(name));
    line.unwrap_or_else(|| panic!("no {name}")).rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_record_shows_nothing_that_all_customers_share() {
    let bank = bank();
    let mut live = bank.serve(&[("PROFFER_RECORDS_RECORD", "false")]).await;
    for _ in 0..2 {
        let result = live.one("home", "anna").await;
        assert_eq!(shown(&result), ["plain"]);
        let why = withheld(&result, "gold");
        assert_eq!(why, ("HISTORY_UNAVAILABLE", "the decision cannot be recorded now"));
    }
    // Limits of a customer hold as long as the server runs.
    assert_eq!(live.shows("home", "anna").await, Vec::<String>::new());
    let log = live.end();
    assert!(log.iter().any(|line| line.contains("limits forget what they count")), "{log:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_cannot_be_written_withholds_what_must_be_durable_and_nothing_else() {
    let bank = bank();
    let gate = bank.path("gate");
    fs::write(&gate, "").unwrap();
    let fault = format!("seal.staged=hold:{}", gate.display());
    // The log is full after some records, since nothing is sealed.
    let settings = [
        ("PROFFER_RECORDS_SYNC", "interval"),
        ("PROFFER_RECORDS_LOG_LIMIT", "128KiB"),
        ("PROFFER_RECORDS_LOG_FILE", "64KiB"),
        ("PROFFER_FAULT", &fault),
    ];
    let mut live = bank.serve(&settings).await;
    assert_eq!(live.shows("home", "anna").await, ["gold"]);
    let customers: Vec<String> = (0..100).map(|number| format!("c{number}")).collect();
    let customers: Vec<&str> = customers.iter().map(String::as_str).collect();
    let plain = |request: wire::RankRequest| wire::RankRequest {
        candidate_offer_ids: vec!["plain".to_owned()],
        ..request
    };
    until("the log is full", async || {
        live.rank(plain(ask("letter", &customers))).await;
        metric(&live, "proffer_event_log_writable") == 0.0
    })
    .await;
    let result = live.one("home", "bert").await;
    assert_eq!((shown(&result), withheld(&result, "gold").0), (vec!["plain"], "HISTORY_UNAVAILABLE"));
    assert_eq!(metric(&live, "proffer_reservations").to_bits(), 1_f64.to_bits());
    // It is recorded all the same, once there is room, and decided again as it was.
    fs::remove_file(&gate).unwrap();
    until("all is recorded", async || metric(&live, "proffer_event_queue_length") == 0.0).await;
    assert_eq!(live.shows("home", "carl").await, ["gold"]);
    live.end();
    let (store, data) = (bank.store(), bank.path("data"));
    let (store, data) = (store.to_str().unwrap(), data.to_str().unwrap());
    let shown =
        crate::binary::proffer(["decision", "show", &result.decision_id, "--store", store, "--data", data]);
    assert!(shown.stdout.contains("decided again: the same answer"), "{shown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_the_log_counts_though_its_caller_has_gone() {
    let bank = bank();
    let gate = bank.path("gate");
    fs::write(&gate, "").unwrap();
    let fault = format!("record.synced=hold:{}", gate.display());
    let live = bank.serve(&[("PROFFER_RECORDS_SYNC", "interval"), ("PROFFER_FAULT", &fault)]).await;
    let mut client = DecisionServiceClient::new(live.channel.clone());
    let call = tokio::spawn(async move { client.rank(ask("home", &["anna"])).await });
    until("the record is written", async || gate.with_extension("reached").exists()).await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    let in_flight = "proffer_requests_in_flight{rpc=\"Rank\"} 0";
    until("the call is over", async || live.metrics().contains(in_flight)).await;
    fs::remove_file(&gate).unwrap();
    until("the record is durable", async || metric(&live, "proffer_event_queue_length") == 0.0).await;
    assert_eq!(metric(&live, "proffer_reservations").to_bits(), 1_f64.to_bits());
    // One of two places is left, as after a restart.
    live.kill();
    let mut live = bank.serve(&[]).await;
    assert_eq!(metric(&live, "proffer_reservations").to_bits(), 1_f64.to_bits());
    assert_eq!(live.shows("home", "bert").await, ["gold"]);
    assert_eq!(live.shows("home", "carl").await, ["plain"]);
}
