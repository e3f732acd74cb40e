//! Two servers of a store: each counts what it decides alone, and says so.

use super::bank::{Bank, Live, offer, until};

const WARNING: &str = "history_not_shared: the limits of the release count what this server decides alone";

/// Whether it has so many neighbours.
fn has(live: &Live, others: u64) -> bool {
    live.metrics().lines().any(|line| line == format!("proffer_history_not_shared {others}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_count_apart_warn_once_and_until_they_are_alone() {
    let limits = "[[contact_limit]]\nid = \"once\"\nlimit = 1\nper = \"30d\"\ncount = \"decision\"\n";
    let bank = Bank::new(&offer("gold", ""), limits);
    let first = bank.serve_in("one", &[]).await;
    assert!(has(&first, 0));
    let second = bank.serve_in("two", &[]).await;
    // The second one sees the first when it starts, and the first one the second at its next heartbeat.
    until("the second warns", async || has(&second, 1)).await;
    until("the first warns", async || has(&first, 1)).await;
    let id = |data: &str| {
        let id = std::fs::read_to_string(bank.path(data).join("server-id")).unwrap();
        id.trim().to_owned()
    };
    let (one, two) = (id("one"), id("two"));
    let warnings = |log: &[String], other: &str| {
        let of_it = log.iter().filter(|line| line.contains(WARNING));
        of_it.inspect(|line| assert!(line.contains(other), "{line}")).count()
    };
    assert_eq!(warnings(&second.end(), &one), 1);
    until("the first is alone", async || has(&first, 0)).await;
    let log = first.end();
    assert_eq!(warnings(&log, &two), 1);
    assert!(log.iter().any(|line| line.contains("history_not_shared is over")), "{log:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_without_limits_do_not_mind_each_other() {
    let bank = Bank::new(&offer("gold", ""), "");
    let first = bank.serve_in("one", &[]).await;
    let second = bank.serve_in("two", &[]).await;
    assert!(has(&second, 0));
    for live in [second, first] {
        assert!(!live.end().iter().any(|line| line.contains("history_not_shared")));
    }
}
