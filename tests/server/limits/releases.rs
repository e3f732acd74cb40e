//! Releases with other limits: what happened before they served counts for them, too, also what an earlier version of
//! the server has recorded.
//!
//! `tests/fixtures/stores/before_limits` was written by a binary of the last version without outcomes and limits
//! (`init`, `rank --record`, `events seal`). It has five decisions: letters with `gold` to Anna, twice, and to Bert,
//! `gold` at home to Carl, and the fallback `help` to Dora.

use std::path::Path;

use super::bank::{Bank, Live, offer, shown, until, withheld};
use crate::binary::proffer_prints;
use crate::harness::{copy_directory, wire};
use crate::management::Management;

/// At most so many letters.
pub(super) fn letters(limit: u32, per: &str) -> String {
    format!(
        "[[contact_limit]]\nid = \"letters\"\nchannels = [\"email\"]\nlimit = {limit}\nper = \"{per}\"\n\
         count = \"decision\"\nexempt = [\"service\"]\n"
    )
}

/// Makes a release of a workspace, and promotes it.
pub(super) async fn promote(bank: &Bank, live: &Live, workspace: &Path) -> u64 {
    let (address, workspace) = (live.process.address.to_string(), workspace.to_str().unwrap());
    let made = proffer_prints(["release", "create", workspace, "--server", &address, "--json"]);
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    let number =
        made["release"]["number"].as_u64().or(made["number"].as_u64()).unwrap_or_else(|| panic!("{made}"));
    Management::over(live.channel.clone()).promote(number).await.unwrap();
    assert!(bank.store().join(format!("releases/{number}")).exists());
    number
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_with_other_limits_counts_what_was_shown_before_it() {
    let bank = Bank::new(&offer("gold", ""), "");
    let mut live = bank.serve(&[]).await;
    for _ in 0..3 {
        assert_eq!(live.shows("letter", "anna").await, ["gold"]);
    }
    assert_eq!(live.shows("letter", "bert").await, ["gold"]);
    let cap = "cap_total = { limit = 5, per = \"month\", count = \"decision\" }";
    let limited = bank.workspace("limited", &offer("gold", cap), &letters(2, "7d"));
    promote(&bank, &live, &limited).await;
    let full = live.one("letter", "anna").await;
    assert_eq!((shown(&full), withheld(&full, "gold").0), (vec!["help"], "CONTACT_LIMIT"));
    // Four were shown, and one more is.
    assert_eq!(live.shows("letter", "bert").await, ["gold"]);
    let full = live.one("home", "carl").await;
    assert_eq!((shown(&full), withheld(&full, "gold").0), (vec![], "CAP_TOTAL"));
    // The limits of the release before it, which has none.
    Management::over(live.channel.clone()).rollback().await.unwrap();
    assert_eq!(live.shows("letter", "anna").await, ["gold"]);
    assert_eq!(live.shows("home", "carl").await, ["gold"]);
    let log = live.end();
    assert!(!log.iter().any(|line| line.contains("look further back")), "{log:#?}");
}

/// Waits until the history reaches as far back as the release looks.
async fn reaches(live: &Live, release: u64) {
    let serves = format!("proffer_release {release}");
    until("the history reaches far enough", async || {
        let text = live.metrics();
        let has = |line: &str| text.lines().any(|one| one == line);
        has(&serves) && has("proffer_history_incomplete 0")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_that_look_further_back_than_the_history_have_it_read_while_the_server_goes_on() {
    let bank = Bank::new(&offer("gold", ""), "");
    let mut live = bank.serve(&[]).await;
    assert_eq!(live.shows("letter", "anna").await, ["gold"]);
    let first = live.one("home", "bert").await;
    live.report(&first, "dismiss").await;
    live.end();
    // Without limits and without a checkpoint, decisions of before are not read.
    std::fs::remove_file(bank.checkpoint()).unwrap();
    let mut live = bank.serve(&[]).await;
    assert_eq!(live.shows("home", "carl").await, ["gold"]);
    let cap = "cap_total = { limit = 4, per = \"60d\", count = \"decision\" }";
    let limited = bank.workspace("limited", &offer("gold", cap), &letters(1, "7d"));
    let number = promote(&bank, &live, &limited).await;
    until("what was before is counted", async || live.would_show("letter", "anna").await == ["help"]).await;
    reaches(&live, number).await;
    live.counts(&[
        "proffer_limit_used{offer=\"gold\",limit=\"cap_total\"} 3.0",
        "proffer_history_customers 3",
    ]);
    assert_eq!(live.shows("home", "dora").await, ["gold"]);
    let full = live.one("home", "emil").await;
    assert_eq!((shown(&full), withheld(&full, "gold").0), (vec![], "CAP_TOTAL"));
    let log = live.end();
    let warning = log.iter().find(|line| line.contains("look further back than the history of this server"));
    let warning = warning.unwrap_or_else(|| panic!("{log:#?}"));
    assert!(warning.contains(&format!("\"release\":{number}")), "{warning}");
    assert!(warning.contains("decisions since 20"), "{warning}");
    let read = "the history reaches as far back as the limits of the release look";
    assert!(log.iter().any(|line| line.contains(read)), "{log:#?}");
    // A restart changes nothing.
    let mut live = bank.serve(&[]).await;
    live.counts(&["proffer_limit_used{offer=\"gold\",limit=\"cap_total\"} 4.0"]);
    let full = live.one("letter", "anna").await;
    assert_eq!((shown(&full), withheld(&full, "gold").0), (vec!["help"], "CONTACT_LIMIT"));
    let log = live.end();
    assert!(log.iter().any(|line| line.contains("limits look further back than it reaches")), "{log:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_the_previous_version_gets_limits_that_count_what_it_has_recorded() {
    let bank = Bank::new(&offer("gold", ""), "");
    let store = bank.store();
    std::fs::remove_dir_all(&store).unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/stores/before_limits");
    copy_directory(&fixture, &store);
    // The events of the fixture stay, whatever day it is.
    let keep = [("PROFFER_RECORDS_KEEP", "36500d")];
    let mut live = bank.serve(&keep).await;
    assert_eq!(live.shows("letter", "anna").await, ["gold"]);
    // Five were shown by now.
    let cap = "cap_total = { limit = 6, per = \"all\", count = \"decision\" }";
    let limited = bank.workspace("limited", &offer("gold", cap), "");
    let number = promote(&bank, &live, &limited).await;
    let used = "proffer_limit_used{offer=\"gold\",limit=\"cap_total\"} 5.0";
    until("what was before is counted", async || live.metrics().lines().any(|line| line == used)).await;
    reaches(&live, number).await;
    let log = live.end();
    assert!(
        log.iter().any(|line| line.contains("look further back than the history of this server")),
        "{log:#?}"
    );
    let mut live = bank.serve(&keep).await;
    live.counts(&[used, "proffer_history_customers 4"]);
    assert_eq!(live.shows("home", "emil").await, ["gold"]);
    let full = live.one("home", "fritz").await;
    assert_eq!((shown(&full), withheld(&full, "gold").0), (vec![], "CAP_TOTAL"));
    // Outcomes of its decisions find them.
    let of_anna = wire::RankResult {
        decision_id: "01a22dfc-ffea-7c5a-99a9-134c39356cd2".to_owned(),
        offers: vec![wire::RankedOffer { offer_id: "gold".to_owned(), ..wire::RankedOffer::default() }],
        ..wire::RankResult::default()
    };
    let told = live.report(&of_anna, "click").await;
    assert!(told.attributed, "{told:?}");
    live.end();
}
