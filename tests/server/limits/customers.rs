//! Limits of one customer: contact limits, suppressions, caps; refills, fallbacks, dry runs.

use super::bank::{Bank, ask, offer, shown, withheld};
use crate::harness::wire;

const LETTERS: &str = r#"
[[contact_limit]]
id = "two_letters"
channels = ["email"]
limit = 2
per = "7d"
count = "decision"
exempt = ["service"]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_contact_limit_holds_per_customer_and_channel_and_says_when_it_frees() {
    let bank = Bank::new(&offer("gold", ""), LETTERS);
    let mut live = bank.serve(&[]).await;
    for _ in 0..2 {
        assert_eq!(live.shows("letter", "anna").await, ["gold"]);
    }
    let full = live.one("letter", "anna").await;
    // What is exempt is shown, and does not count.
    assert_eq!(shown(&full), ["help"]);
    assert!(full.offers[0].fallback);
    let (reason, detail) = withheld(&full, "gold");
    assert_eq!(reason, "CONTACT_LIMIT");
    assert!(detail.starts_with("two_letters: frees in 7 d, at 20"), "{detail}");
    let stage = full.rejected[0].withheld_stage();
    assert_eq!(stage, wire::WithheldStage::Limits);
    // Others, and other channels, are free.
    assert_eq!(live.shows("letter", "bert").await, ["gold"]);
    assert_eq!(live.shows("home", "anna").await, ["gold"]);
    // Limits go by the clock of the server, not by the call's `as_of`.
    let later = prost_types::Timestamp { seconds: 4_000_000_000, nanos: 0 };
    let request = wire::RankRequest { as_of: Some(later), ..ask("letter", &["anna"]) };
    assert_eq!(shown(&live.rank(request).await[0]), ["help"]);
    live.counts(&[
        "proffer_offers_withheld_total{reason=\"CONTACT_LIMIT\"} 2",
        "proffer_history_customers 2",
        "proffer_reservations 0",
        "proffer_history_not_shared 0",
    ]);
    let views = live.metrics();
    assert!(views.contains("proffer_history_view_seconds_count 6"), "{views}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fallback_passes_contact_limits_and_suppressions_alone() {
    let limits = r#"
[[contact_limit]]
id = "one_letter"
channels = ["email"]
limit = 1
per = "30d"
count = "decision"
"#;
    let cap = "cap_total = { limit = 1, per = \"all\", count = \"decision\" }";
    let bank = Bank::new(&offer("gold", cap), limits);
    let mut live = bank.serve(&[]).await;
    assert_eq!(live.shows("letter", "anna").await, ["gold"]);
    // The limit withholds the fallback, too: the answer is empty.
    let full = live.one("letter", "anna").await;
    assert_eq!((shown(&full), full.error.is_none()), (Vec::new(), true));
    // Who was not written to gets the fallback, and that counts.
    let other = live.one("letter", "bert").await;
    assert_eq!((shown(&other), withheld(&other, "gold").0), (vec!["help"], "CAP_TOTAL"));
    assert_eq!(live.shows("letter", "bert").await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_no_again_and_again_is_left_in_peace() {
    let limits = r#"
[[suppression]]
id = "dismissed"
after = { outcome = "dismiss", times = 3, within = "30d" }
pause = "60d"
scope = "offer"
"#;
    let bank = Bank::new(&[offer("gold", ""), offer("silver", "")].concat(), limits);
    let mut live = bank.serve(&[]).await;
    let gold = wire::RankRequest { candidate_offer_ids: vec!["gold".to_owned()], ..ask("home", &["anna"]) };
    for _ in 0..3 {
        let result = live.rank(gold.clone()).await.remove(0);
        assert_eq!(shown(&result), ["gold"]);
        let told = live.report(&result, "dismiss").await;
        assert!(told.attributed, "{told:?}");
    }
    let result = live.one("home", "anna").await;
    assert_eq!(shown(&result), ["silver"]);
    let (reason, detail) = withheld(&result, "gold");
    assert_eq!(reason, "SUPPRESSED");
    assert!(detail.starts_with("dismissed: frees in "), "{detail}");
    let gold = wire::RankRequest { customers: ask("home", &["bert"]).customers, ..gold };
    assert_eq!(shown(&live.rank(gold).await[0]), ["gold"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cap_per_customer_counts_what_they_saw() {
    let cap = "cap_customer = { limit = 2, per = \"30d\", count = \"impression\" }";
    let bank = Bank::new(&offer("gold", cap), "");
    let mut live = bank.serve(&[]).await;
    for _ in 0..2 {
        let result = live.one("home", "anna").await;
        assert_eq!(shown(&result), ["gold"]);
        live.report(&result, "impression").await;
    }
    let result = live.one("home", "anna").await;
    let (reason, detail) = withheld(&result, "gold");
    assert_eq!(reason, "CAP_CUSTOMER");
    assert!(detail.starts_with("cap_customer: frees in "), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_one_customer_see_each_other_and_a_dry_run_takes_nothing() {
    let cap = "cap_customer = { limit = 1, per = \"7d\", count = \"decision\" }\n\
               cap_total = { limit = 3, per = \"all\", count = \"decision\" }";
    let bank = Bank::new(&[offer("gold", cap), offer("plain", "")].concat(), "");
    let mut live = bank.serve(&[]).await;
    let dry = wire::RankRequest { dry_run: true, ..ask("home", &["anna", "bert", "anna", "carl", "dora"]) };
    let gold_alone = |request: wire::RankRequest| wire::RankRequest {
        candidate_offer_ids: vec!["gold".to_owned()],
        ..request
    };
    for _ in 0..2 {
        let results = live.rank(gold_alone(dry.clone())).await;
        assert!(results.iter().all(|result| shown(result) == ["gold"]), "{results:?}");
    }
    // The second row of a customer gets the next best offer; the place that it does not take is left to others.
    let customers = ["anna", "bert", "anna", "carl", "dora"];
    let results = live.rank(gold_alone(ask("home", &customers))).await;
    let offers: Vec<Vec<&str>> = results.iter().map(shown).collect();
    let gold = || vec!["gold"];
    assert_eq!(offers, [gold(), gold(), vec![], gold(), vec![]]);
    assert_eq!(withheld(&results[2], "gold").0, "CAP_CUSTOMER");
    assert_eq!(results[2].rejected[0].withheld_stage(), wire::WithheldStage::Reservation);
    assert_eq!(withheld(&results[4], "gold").0, "CAP_TOTAL");
    let results = live.rank(ask("home", &["anna", "anna"])).await;
    assert!(results.iter().all(|result| shown(result) == ["plain"]), "{results:?}");
    live.counts(&[
        "proffer_limit_most{offer=\"gold\",limit=\"cap_total\"} 3.0",
        "proffer_limit_used{offer=\"gold\",limit=\"cap_total\"} 3.0",
        "proffer_limit_reserved{offer=\"gold\",limit=\"cap_total\"} 0.0",
    ]);
}
