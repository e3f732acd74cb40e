//! A store written by an earlier version: content that would be rejected today still serves, decides as before, and can
//! be rolled back.
//!
//! `tests/fixtures/stores/before_review` was written by the binary of commit 628c571 (`init`, `release create`,
//! `release promote`), with content that is now rejected or warned of. It has a falling calibration, a consent granted
//! by default, one of type string, a quotient of integers, and a channel without a placement. `before_review.json` has
//! that binary's answers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tonic::Code;

use super::binary::{Process, command, proffer, proffer_prints};
use super::harness::{Server, copy_directory, rank_request, wire};
use super::management::Management;
use wire::decision_service_client::DecisionServiceClient;

/// Offers with their priorities, and the withheld ones with their reasons.
#[derive(Debug, serde::Deserialize)]
struct Expected {
    offers: Vec<(String, Option<f64>)>,
    withheld: Vec<(String, String)>,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/stores")
}

fn check(answer: &wire::RankResponse, expected: &BTreeMap<String, Expected>) {
    for result in &answer.results {
        let expected = &expected[&result.customer_id];
        let offers: Vec<&str> = result.offers.iter().map(|offer| offer.offer_id.as_str()).collect();
        let withheld: Vec<(String, String)> = result
            .rejected
            .iter()
            .map(|rejected| (rejected.offer_id.clone(), rejected.reason.clone()))
            .collect();
        let names: Vec<&str> = expected.offers.iter().map(|(offer, _)| offer.as_str()).collect();
        assert_eq!((offers, &withheld), (names, &expected.withheld), "{}", result.customer_id);
        for (offer, (_, priority)) in result.offers.iter().zip(&expected.offers) {
            let Some(priority) = priority else { continue };
            assert!((offer.priority - priority).abs() <= 1e-5 * priority, "{offer:?} had {priority}");
        }
    }
}

#[tokio::test]
async fn a_store_of_an_earlier_version_decides_as_before_and_rolls_back() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store");
    copy_directory(&fixtures().join("before_review"), &store);
    let answers = std::fs::read(fixtures().join("before_review.json")).unwrap();
    let expected: BTreeMap<u64, BTreeMap<String, Expected>> = serde_json::from_slice(&answers).unwrap();

    let server = Server::over(&store, &[]);
    let mut request = rank_request("home", &["c1", "c2", "c3"]);
    // 2026-06-01, as when the answers were recorded.
    request.as_of = Some(prost_types::Timestamp { seconds: 1_780_272_000, nanos: 0 });
    let mut client = server.client().await;
    let answer = client.rank(request.clone()).await.unwrap().into_inner();
    assert_eq!((answer.release, answer.results.len()), (2, 3));
    check(&answer, &expected[&2]);

    let mut management = Management::over(server.channel().await);
    let back = management.rollback().await.unwrap();
    assert_eq!(back.current.unwrap().release, 1);
    let answer = client.rank(request).await.unwrap().into_inner();
    assert_eq!((answer.release, answer.results.len()), (1, 3));
    check(&answer, &expected[&1]);

    // The same content is rejected as a new release, with all problems at once.
    let refused = management.create(&[]).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    for word in ["consent_email", "consent_sms", "falling"] {
        assert!(refused.message().contains(word), "{word} is not in {}", refused.message());
    }
}

/// The files below a directory, by their paths without it.
fn contents(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(root).unwrap().to_owned(), std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_records_gets_them_and_what_it_holds_stays() {
    let directory = tempfile::tempdir().unwrap();
    let (store, data) = (directory.path().join("store"), directory.path().join("data"));
    copy_directory(&fixtures().join("before_review"), &store);
    let before = contents(&store);
    let answers = std::fs::read(fixtures().join("before_review.json")).unwrap();
    let expected: BTreeMap<u64, BTreeMap<String, Expected>> = serde_json::from_slice(&answers).unwrap();
    let serve = || {
        let mut serve = command();
        serve.env("PROFFER_DATA_DIRECTORY", &data);
        Process::start(serve, &store)
    };
    let mut request = rank_request("home", &["c1", "c2", "c3"]);
    request.as_of = Some(prost_types::Timestamp { seconds: 1_780_272_000, nanos: 0 });
    let decides = async |server: &Process, release: u64| {
        let address = format!("http://{}", server.address);
        let mut client = DecisionServiceClient::connect(address.clone()).await.unwrap();
        let answer = client.rank(request.clone()).await.unwrap().into_inner();
        assert_eq!((answer.release, answer.results.len()), (release, 3));
        check(&answer, &expected[&release]);
        Management::over(tonic::transport::Channel::from_shared(address).unwrap().connect().await.unwrap())
    };

    let server = serve();
    let mut management = decides(&server, 2).await;
    assert_eq!(management.rollback().await.unwrap().current.unwrap().release, 1);
    decides(&server, 1).await;
    assert!(server.terminate().success());
    let server = serve();
    decides(&server, 1).await;
    assert!(server.terminate().success());

    let places = ["--store", store.to_str().unwrap()];
    proffer_prints([&["events", "seal", data.to_str().unwrap()], &places[..]].concat());
    let replay = proffer_prints([&["replay", "--rescore", "--format", "json"], &places[..]].concat());
    let replayed: serde_json::Value = serde_json::from_str(&replay).unwrap();
    assert_eq!(replayed["identical"], 9, "{replay}");
    assert_eq!(replayed["releases"], serde_json::json!({ "1": 6, "2": 3 }));
    let verified = proffer([&["events", "verify"], &places[..]].concat());
    assert_eq!(verified.code, Some(0), "{verified:?}");

    // An earlier version finds what it knows: beside the history of promotions, only what records need is new.
    let after = contents(&store);
    for (path, bytes) in &before {
        assert!(after[path] == *bytes || path == Path::new("CURRENT"), "{} has changed", path.display());
    }
    let new: Vec<_> = after.keys().filter(|path| !before.contains_key(*path)).collect();
    let is_expected = |path: &&PathBuf| {
        let of_records = ["events", "extents", "servers"].iter().any(|folder| path.starts_with(folder));
        of_records || **path == Path::new("promotions/3.toml") || is_hidden(path)
    };
    assert!(new.iter().all(is_expected), "{new:?}");
    assert!(new.iter().any(|path| path.starts_with("events")), "{new:?}");
}

/// Locks and staging directories, which every version has.
fn is_hidden(path: &Path) -> bool {
    path.iter().next().is_some_and(|first| first.as_encoded_bytes().starts_with(b"."))
}
