//! A server that ends while its decisions are compared: what it has answered is recorded, and no comparison is half of
//! one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tonic::transport::Channel;
use wire::decision_service_client::DecisionServiceClient;

use super::scene::{Ends, UNSEALED, balance, one, recorded, shadow};
use crate::experiments::scene::Bank;
use crate::harness::wire;
use crate::records_faults::{Answered, Scene, client, until};

/// Clients that call at the same time.
const CLIENTS: usize = 4;

/// Answers until the server is asked to end.
const ANSWERS: usize = 400;

/// Calls a server until it has ended.
async fn call(
    mut client: DecisionServiceClient<Channel>,
    first: usize,
    answers: Arc<AtomicUsize>,
) -> Answered {
    let mut answered = Answered::default();
    for number in (first..).step_by(CLIENTS) {
        let Ok(answer) = client.rank(one("home", number, balance(number))).await else { break };
        answered.add(answer.into_inner());
        answers.fetch_add(1, Ordering::Relaxed);
    }
    answered
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_loses_no_decision_and_tears_no_comparison() {
    let two = [shadow("models = { m = 2 }"), shadow("strategy = \"margin\"").replace("\"s\"", "\"margin\"")]
        .concat();
    let bank = Bank::new(&two);
    let scene = Scene::of(bank.path());
    let mut server = scene.serve("data", &UNSEALED);
    let answers = Arc::<AtomicUsize>::default();
    let mut clients = Vec::new();
    for first in 0..CLIENTS {
        clients.push(tokio::spawn(call(client(server.address).await, first, Arc::clone(&answers))));
    }
    until("decisions are compared", async || {
        answers.load(Ordering::Relaxed) >= ANSWERS && !recorded(&scene, "data").is_empty()
    })
    .await;
    server.signal("TERM");
    until("the server has ended", async || server.has_ended().is_some()).await;
    assert!(server.has_ended().unwrap().success());
    let mut answered = Answered::default();
    for client in clients {
        answered.merge(client.await.unwrap());
    }
    assert!(answered.recorded.len() >= ANSWERS && answered.not_recorded.is_empty(), "{answered:?}");

    // An answer that did not arrive may be recorded, too.
    let decisions = scene.recorded(&["data"]);
    assert!(answered.recorded.is_subset(&decisions));
    let comparisons = recorded(&scene, "data");
    let pairs: BTreeSet<(&str, &str)> =
        comparisons.iter().map(|record| (record.decision_id.as_str(), record.shadow.as_str())).collect();
    assert!(!pairs.is_empty() && pairs.len() == comparisons.len(), "a comparison is recorded twice");
    for record in &comparisons {
        assert!(decisions.contains(&record.decision_id), "{record:?}");
        assert!(record.error.is_empty() && !record.champion_shown.is_empty(), "{record:?}");
    }
    scene.assert_whole(&["data"]);

    // The next process goes on with the same data directory.
    let server = scene.serve("data", &UNSEALED);
    let mut client = client(server.address).await;
    until("decisions are compared again", async || {
        client.rank(one("home", 0, balance(0))).await.unwrap();
        Ends::at(server.admin, "s").compared > 0
    })
    .await;
    assert!(server.terminate().success());
    assert!(recorded(&scene, "data").len() >= comparisons.len());
    scene.assert_whole(&["data"]);
}
