//! Limits over all customers: reservations that are taken up, lapse or come too late; budgets.

use super::bank::{Bank, Live, ask, offer, shown, withheld};
use crate::harness::wire;

const CAP: &str = "cap_total = { limit = 2, per = \"all\", count = \"accept\", reserve = \"30m\" }";

/// A minute more than reservations hold.
const LAPSE: i64 = 31 * 60;

#[tokio::test(flavor = "multi_thread")]
async fn a_reservation_is_taken_up_or_lapses_and_what_comes_later_overshoots() {
    let bank = Bank::new(&offer("gold", CAP), "");
    let Some(bank) = bank.with_clock() else { return };
    let mut live = bank.serve(&[]).await;
    let first = live.one("home", "anna").await;
    let second = live.one("home", "bert").await;
    assert_eq!((shown(&first), shown(&second)), (vec!["gold"], vec!["gold"]));
    let third = live.one("home", "carl").await;
    let (reason, detail) = withheld(&third, "gold");
    assert_eq!(reason, "CAP_TOTAL");
    assert!(detail.starts_with("cap_total: frees in 30 min"), "{detail}");
    live.counts(&["proffer_reservations 2", "proffer_limit_reserved{offer=\"gold\",limit=\"cap_total\"} 2.0"]);
    // One is taken up in time.
    let told = live.report(&first, "accept").await;
    assert!(told.attributed && !told.limit_overshoot, "{told:?}");
    // The other lapses, and its place goes to somebody else.
    bank.set_clock(LAPSE);
    live.ahead = LAPSE;
    let third = live.one("home", "carl").await;
    assert_eq!(shown(&third), ["gold"]);
    // It is taken up all the same: that is counted, and said.
    let told = live.report(&second, "accept").await;
    assert!(told.limit_overshoot, "{told:?}");
    // Carl's place was reserved for him.
    let told = live.report(&third, "accept").await;
    assert!(!told.limit_overshoot, "{told:?}");
    let full = live.one("home", "dora").await;
    assert_eq!(withheld(&full, "gold"), ("CAP_TOTAL", "cap_total: does not free"));
    live.counts(&[
        "proffer_limit_overshoots_total{offer=\"gold\",limit=\"cap_total\"} 1",
        "proffer_limit_used{offer=\"gold\",limit=\"cap_total\"} 3.0",
        "proffer_reservations 0",
    ]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_is_spent_in_money() {
    let budget = "cost = 2.5\nbudget = { amount = 5.0, per = \"month\", count = \"impression\", spends = \"cost\", \
                  pacing = \"fast\", reserve = \"1h\" }";
    let bank = Bank::new(&offer("gold", budget), "");
    let mut live = bank.serve(&[]).await;
    let first = live.one("home", "anna").await;
    live.report(&first, "impression").await;
    assert_eq!(live.shows("home", "bert").await, ["gold"]);
    let full = live.one("home", "carl").await;
    let (reason, detail) = withheld(&full, "gold");
    assert_eq!(reason, "BUDGET");
    assert!(detail.starts_with("budget: frees in "), "{detail}");
    live.counts(&[
        "proffer_limit_most{offer=\"gold\",limit=\"budget\"} 5.0",
        "proffer_limit_used{offer=\"gold\",limit=\"budget\"} 2.5",
        "proffer_limit_reserved{offer=\"gold\",limit=\"budget\"} 2.5",
    ]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_finds_its_decision_at_once_and_only_what_reserves_waits_for_the_disk() {
    let bank = Bank::new(&[offer("gold", CAP), offer("plain", "")].concat(), "");
    // Nothing is written before a minute has passed, unless it must be.
    let settings = [("PROFFER_RECORDS_SYNC", "interval"), ("PROFFER_RECORDS_INTERVAL", "1m")];
    let mut live = bank.serve(&settings).await;
    let appended = |live: &Live| {
        let text = live.metrics();
        let line = text.lines().find(|line| line.starts_with("proffer_events_appended_total ")).unwrap();
        line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    let plain =
        wire::RankRequest { candidate_offer_ids: vec!["plain".to_owned()], ..ask("home", &["anna"]) };
    let result = live.rank(plain).await.remove(0);
    assert_eq!((shown(&result), appended(&live)), (vec!["plain"], 0));
    let told = live.report(&result, "click").await;
    assert!(told.attributed, "{told:?}");
    assert_eq!(appended(&live), 0);
    // What reserves is in the log before it is answered, and so is what was queued before.
    assert_eq!(live.shows("home", "anna").await, ["gold"]);
    assert_eq!(appended(&live), 3);
    let mut live = {
        live.kill();
        bank.serve(&settings).await
    };
    live.counts(&["proffer_reservations 1"]);
    assert_eq!(live.shows("home", "bert").await, ["gold"]);
    assert_eq!(live.shows("home", "carl").await, ["plain"]);
}
