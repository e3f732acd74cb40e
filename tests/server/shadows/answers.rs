//! Answers with and without shadows are the same, byte by byte.

use prost::Message;

use super::scene::{answers, balance, one, settled};
use crate::experiments::scene::{Bank, experiment};
use crate::harness::wire;

/// The calls that both servers answer.
const CALLS: usize = 10_000;

/// Three shadows, each of which would decide otherwise.
const SHADOWS: &str = r#"
[[shadow]]
id = "model"
sample = 1.0
models = { m = 2 }

[[shadow]]
id = "margin"
sample = 0.5
strategy = "margin"

[[shadow]]
id = "weights"
placements = ["home"]
sample = 1.0
category_weights = { loans = 300.0 }
context_weights = { spring = 90.0 }
"#;

/// A call whose shape depends on its number.
fn call(number: usize) -> wire::RankRequest {
    let placement = if number.is_multiple_of(3) { "letter" } else { "home" };
    let mut request = one(placement, number, balance(number));
    if number.is_multiple_of(5) {
        request.explain = wire::Explain::None.into();
    }
    if number.is_multiple_of(7) {
        // Its default is used, and `degraded` says so.
        request.features = None;
    }
    if number.is_multiple_of(11) {
        request.exclude_offer_ids = vec!["gold".to_owned()];
    }
    if number.is_multiple_of(13) {
        request.count = 3;
    }
    request
}

/// The bytes of an answer but for what is new in each.
fn bytes(mut answer: wire::RankResponse) -> Vec<u8> {
    answer.request_id.clear();
    answer.results.iter_mut().for_each(|result| result.decision_id.clear());
    answer.encode_to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_answers_are_the_same_with_and_without_shadows() {
    let arms = experiment("order", "coverage = 0.6", "strategy = \"margin\"");
    let (with, without) = (Bank::new(&format!("{arms}{SHADOWS}")), Bank::new(&arms));
    let (with, without) = (with.serve(), without.serve());
    let calls = || -> Vec<wire::RankRequest> { (0..CALLS).map(call).collect() };
    let (found, expected) = tokio::join!(answers(&with, calls()), answers(&without, calls()));
    for (number, (found, expected)) in found.into_iter().zip(expected).enumerate() {
        assert_eq!(bytes(found), bytes(expected), "call {number}");
    }
    // Each decision that a shadow samples is compared or shed.
    let everywhere = CALLS as u64;
    let ends = settled(&with, "model", everywhere).await;
    assert!(ends.compared > 0 && ends.failed == 0, "{ends:?}");
    let at_home = (0..CALLS).filter(|number| !number.is_multiple_of(3)).count() as u64;
    assert_eq!(settled(&with, "weights", at_home).await.failed, 0);
    let half = super::scene::Ends::of(&with, "margin").sum();
    assert!((everywhere * 9 / 20..everywhere * 11 / 20).contains(&half), "{half}");
}

#[tokio::test(flavor = "multi_thread")]
async fn previews_are_not_compared() {
    let server = Bank::new(SHADOWS).serve();
    let preview = |number| wire::RankRequest { dry_run: true, ..call(number) };
    answers(&server, (0..20).map(preview).collect()).await;
    answers(&server, vec![call(1)]).await;
    settled(&server, "model", 1).await;
}
