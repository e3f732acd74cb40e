//! The queue of events is full: a stream waits, calls are answered and not recorded, or refused before they decide.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio_stream::StreamExt;
use tonic::Code;

use super::scene::{Answered, Scene, batch, channel, client, metric, until};
use crate::binary::Process;
use crate::harness::{rank_request, wire};
use wire::decision_service_client::DecisionServiceClient;

/// The bytes of the queue, the least that can be set.
const QUEUE: u64 = 4 << 20;

/// What interactive calls have of it for themselves.
const SHARE: u64 = QUEUE / 8;

/// A server whose log takes nothing until the file is removed: what is recorded stays in the queue.
async fn held(scene: &Scene, records: &[(&str, &str)], answered: &mut Answered) -> (Process, PathBuf) {
    let gate = scene.path("gate");
    fs::write(&gate, "").unwrap();
    let fault = format!("record.append=hold:{}", gate.display());
    let server = scene.serve_with(&fault, "data", &[records, &[("queue", "4MiB")][..]].concat());
    let first = client(server.address).await.rank(batch(1)).await.unwrap();
    answered.add(first.into_inner());
    until("the log is held", async || gate.with_extension("reached").exists()).await;
    (server, gate)
}

/// Checks that exactly what was told to be recorded is.
async fn ends_well(scene: &Scene, server: Process, answered: &Answered) {
    until("all is in the log", async || metric(&server, "proffer_event_queue_length") == 0).await;
    assert_eq!(metric(&server, "proffer_events_dropped_total"), answered.not_recorded.len() as u64);
    assert_eq!(metric(&server, "proffer_events_lost_total"), 0);
    assert!(server.terminate().success());
    assert_eq!(scene.recorded(&["data"]), answered.recorded);
    scene.assert_whole(&["data"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_waits_for_the_queue_and_calls_are_recorded_as_far_as_their_share_goes() {
    const MESSAGES: usize = 30;
    let scene = Scene::in_directory();
    let mut answered = Answered::default();
    let (server, gate) = held(&scene, &[], &mut answered).await;
    let answers = Arc::<AtomicUsize>::default();
    let (counted, stream) = (Arc::clone(&answers), channel(server.address).await);
    let campaign = tokio::spawn(async move {
        // Three times as many as the queue has room for.
        let calls = (0..MESSAGES).map(|_| wire::RankStreamRequest { request: Some(batch(100)) });
        let calls = tokio_stream::iter(calls.collect::<Vec<_>>());
        let mut stream = DecisionServiceClient::new(stream).rank_stream(calls).await.unwrap().into_inner();
        let mut answered = Answered::default();
        while let Some(answer) = stream.next().await {
            answered.add(answer.unwrap().response.unwrap());
            counted.fetch_add(1, Ordering::Relaxed);
        }
        answered
    });
    // Who waits for room has taken what was left of it, but for the share of calls.
    until("the campaign waits", async || metric(&server, "proffer_event_queue_bytes") == QUEUE - SHARE).await;
    let mut client = client(server.address).await;
    for customer in ["C000001", "C000002", "stranger"] {
        let response = client.rank(rank_request("app_home", &[customer])).await.unwrap().into_inner();
        let result = &response.results[0];
        assert!(!result.offers.is_empty() && result.degraded.is_sorted(), "{result:?}");
        answered.add(response);
    }
    assert!(answered.not_recorded.is_empty());
    // The first takes most of the share, and the second does not fit.
    for not_recorded in [0, 100] {
        let response = client.rank(batch(100)).await.unwrap().into_inner();
        assert!(response.results.iter().all(|result| !result.offers.is_empty()));
        answered.add(response);
        assert_eq!(answered.not_recorded.len(), not_recorded);
    }
    assert_eq!(metric(&server, "proffer_events_dropped_total"), 100);
    assert!(answers.load(Ordering::Relaxed) < MESSAGES, "the campaign does not wait");

    fs::remove_file(gate).unwrap();
    let campaign = campaign.await.unwrap();
    assert_eq!((campaign.recorded.len(), campaign.not_recorded.len()), (MESSAGES * 100, 0));
    answered.merge(campaign);
    until("there is room again", async || metric(&server, "proffer_event_queue_length") == 0).await;
    let again = client.rank(rank_request("app_home", &["C000003"])).await.unwrap();
    answered.add(again.into_inner());
    assert_eq!(answered.not_recorded.len(), 100);
    ends_well(&scene, server, &answered).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_beyond_the_queue_are_answered_and_not_recorded() {
    let scene = Scene::in_directory();
    let mut answered = Answered::default();
    let (server, gate) = held(&scene, &[], &mut answered).await;
    let mut client = client(server.address).await;
    for _ in 0..30 {
        let response = client.rank(batch(100)).await.unwrap().into_inner();
        assert!(response.results.iter().all(|result| !result.offers.is_empty()));
        answered.add(response);
    }
    // A call is recorded whole or not at all.
    assert!(!answered.not_recorded.is_empty() && answered.not_recorded.len() % 100 == 0);
    assert!(answered.recorded.len() > 100, "the queue had no room from the start");
    fs::remove_file(gate).unwrap();
    ends_well(&scene, server, &answered).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_beyond_the_queue_are_refused_before_they_decide() {
    let scene = Scene::in_directory();
    let mut answered = Answered::default();
    let (server, gate) = held(&scene, &[("when_full", "refuse")], &mut answered).await;
    let mut client = client(server.address).await;
    let refused = loop {
        match client.rank(batch(100)).await {
            Ok(response) => answered.add(response.into_inner()),
            Err(status) => break status,
        }
        assert!(answered.recorded.len() < 3_000, "no call is refused");
    };
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    // So is a stream: it does not wait for what would be lost.
    let decided = metric(&server, "proffer_decisions_total");
    assert_eq!(decided, answered.recorded.len() as u64);
    let calls = tokio_stream::iter([wire::RankStreamRequest { request: Some(batch(1_000)) }]);
    let mut stream = client.rank_stream(calls).await.unwrap().into_inner();
    let refused = stream.next().await.unwrap().unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    assert_eq!(metric(&server, "proffer_decisions_total"), decided);
    // What is only previewed needs no room.
    let preview = wire::RankRequest { dry_run: true, ..batch(100) };
    client.rank(preview).await.unwrap();

    fs::remove_file(gate).unwrap();
    until("there is room again", async || {
        let response = client.rank(batch(100)).await;
        response.map(|response| answered.add(response.into_inner())).is_ok()
    })
    .await;
    ends_well(&scene, server, &answered).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_records_would_take_hundreds_of_megabytes_is_not_recorded() {
    let scene = Scene::in_directory();
    let server = scene.serve("data", &[]);
    let mut client = client(server.address).await;
    // Each of its records would repeat two megabytes.
    let excluded = (0..10_000).map(|offer| format!("{offer:0>200}")).collect();
    let large = wire::RankRequest { exclude_offer_ids: excluded, ..batch(1_000) };
    let response = client.rank(large.clone()).await.unwrap().into_inner();
    assert!(response.results.iter().all(|result| !result.offers.is_empty()));
    let mut answered = Answered::default();
    answered.add(response);
    assert_eq!((answered.recorded.len(), answered.not_recorded.len()), (0, 1_000));
    // For few customers they are some, and are recorded.
    let few = wire::RankRequest { customers: batch(3).customers, ..large.clone() };
    answered.add(client.rank(few).await.unwrap().into_inner());
    answered.add(client.rank(batch(1_000)).await.unwrap().into_inner());
    assert_eq!((answered.recorded.len(), answered.not_recorded.len()), (1_003, 1_000));
    ends_well(&scene, server, &answered).await;

    let server = scene.serve("refusing", &[("when_full", "refuse")]);
    let mut client = self::client(server.address).await;
    let refused = client.rank(large).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
}
