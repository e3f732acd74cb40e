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

use super::harness::{Server, copy_directory, rank_request, wire};
use super::management::Management;

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
