//! Comparisons on their way to the event log: they take no room from decisions, delay none that waits for its record, and
//! each of them is recorded or counted.

use std::fs;

use futures_util::{StreamExt, stream};

use super::scene::{UNSEALED, balance, one, recorded, settled_at, shadow};
use crate::binary::Process;
use crate::experiments::scene::Bank;
use crate::records_faults::{Answered, Scene, client, metric, until};

/// As many shadows as a policy may have.
const SHADOWS: usize = 8;

/// The least that the queue of events can be. Comparisons have an eighth of it besides: half a megabyte.
const QUEUE: (&str, &str) = ("queue", "4MiB");

/// A bank whose decisions are all compared with each shadow.
fn bank() -> Bank {
    let shadows = (0..SHADOWS)
        .map(|number| shadow("models = { m = 2 }").replace("\"s\"", &format!("\"s{number}\"")))
        .collect::<String>();
    Bank::new(&shadows)
}

/// Waits until so many decisions were compared with each shadow, or shed. How many comparisons that were.
async fn compared(server: &Process, decisions: usize) -> u64 {
    let mut compared = 0;
    for number in 0..SHADOWS {
        let ends = settled_at(server.admin, &format!("s{number}"), decisions as u64).await;
        assert_eq!(ends.failed, 0, "{ends:?}");
        compared += ends.compared;
    }
    compared
}

/// Ends a server whose decisions are all recorded. Each comparison is recorded, or counted as not recorded.
async fn ends_well(scene: &Scene, server: Process, answered: &Answered, compared: u64) {
    assert!(answered.not_recorded.is_empty() && answered.refused == 0, "{answered:?}");
    for lost in ["proffer_events_dropped_total", "proffer_events_lost_total"] {
        assert_eq!(metric(&server, lost), 0, "{lost}");
    }
    let unrecorded = || metric(&server, "proffer_shadow_unrecorded_total");
    until("each comparison is recorded or counted", async || {
        recorded(scene, "data").len() as u64 + unrecorded() == compared
    })
    .await;
    let unrecorded = unrecorded();
    println!("{compared} comparisons, of which {unrecorded} are not recorded");
    assert!(server.terminate().success());
    assert_eq!(scene.recorded(&["data"]), answered.recorded);
    scene.assert_whole(&["data"]);
    let comparisons = recorded(scene, "data");
    assert_eq!(comparisons.len() as u64, compared - unrecorded);
    // Once each, and of decisions that are recorded.
    let mut pairs: Vec<(&str, &str)> =
        comparisons.iter().map(|record| (record.decision_id.as_str(), record.shadow.as_str())).collect();
    pairs.sort_unstable();
    pairs.dedup();
    assert_eq!(pairs.len(), comparisons.len());
    assert!(pairs.iter().all(|(decision, _)| answered.recorded.contains(*decision)));
}

#[tokio::test(flavor = "multi_thread")]
async fn comparisons_that_find_no_room_are_dropped_and_counted_and_no_decision_is() {
    const DECISIONS: usize = 200;
    let bank = bank();
    let scene = Scene::of(bank.path());
    let gate = scene.path("gate");
    fs::write(&gate, "").unwrap();
    let fault = format!("record.append=hold:{}", gate.display());
    let server = scene.serve_with(&fault, "data", &[&UNSEALED[..], &[QUEUE][..]].concat());
    let mut client = client(server.address).await;
    let mut answered = Answered::default();
    for number in 0..DECISIONS {
        answered.add(client.rank(one("home", number, balance(number))).await.unwrap().into_inner());
        if number == 0 {
            until("the log is held", async || gate.with_extension("reached").exists()).await;
        }
    }
    // The log takes nothing: the comparisons would take several times their room.
    let compared = compared(&server, DECISIONS).await;
    let unrecorded = || metric(&server, "proffer_shadow_unrecorded_total");
    if compared > DECISIONS as u64 * SHADOWS as u64 / 2 {
        until("comparisons find no room", async || unrecorded() > 0).await;
    }
    assert_eq!(answered.recorded.len(), DECISIONS);
    fs::remove_file(gate).unwrap();
    ends_well(&scene, server, &answered, compared).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_wait_for_their_records_are_answered_beside_a_flood_of_comparisons() {
    const DECISIONS: usize = 1_500;
    let bank = bank();
    let scene = Scene::of(bank.path());
    let server = scene.serve("data", &[&UNSEALED[..], &[QUEUE, ("sync", "always")][..]].concat());
    let client = client(server.address).await;
    let call = |number: usize| {
        let mut client = client.clone();
        async move { client.rank(one("home", number, balance(number))).await.unwrap().into_inner() }
    };
    let mut calls = stream::iter(0..DECISIONS).map(call).buffer_unordered(32);
    let mut answered = Answered::default();
    while let Some(answer) = calls.next().await {
        answered.add(answer);
    }
    assert_eq!(answered.recorded.len(), DECISIONS);
    let compared = compared(&server, DECISIONS).await;
    assert!(compared > 0);
    ends_well(&scene, server, &answered, compared).await;
}
