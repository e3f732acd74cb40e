//! Answers with and without shadows are the same, byte by byte.

use prost::Message;

use super::scene::{answers, balance, one, settled};
use crate::experiments::scene::{Bank, ask, experiment};
use crate::harness::{Server, dense, wire};

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

/// The app may show a customer something three times.
const LIMITS: &str = r#"
[[contact_limit]]
id = "three"
channels = ["app"]
limit = 3
per = "7d"
count = "decision"
"#;

/// How often the most valuable card may be shown to all customers together.
const CAP: usize = 100;

/// Customers who are asked for again and again.
const CUSTOMERS: usize = 150;

/// The calls of each customer.
const ROUNDS: usize = 5;

/// Makes calls one after another: what one reserves, the next sees.
async fn in_order(server: &Server, requests: &[wire::RankRequest]) -> Vec<wire::RankResponse> {
    let mut client = server.client().await;
    let mut answers = Vec::new();
    for request in requests {
        answers.push(client.rank(request.clone()).await.unwrap().into_inner());
    }
    answers
}

/// A call for a customer, and for some for two others as well, one of whom comes twice.
fn limited_call(number: usize) -> wire::RankRequest {
    let first = number % CUSTOMERS;
    if !number.is_multiple_of(10) {
        return one("home", first, balance(first));
    }
    let customers = [first, (first + 1) % CUSTOMERS, first, (first + 2) % CUSTOMERS];
    let ids = customers.map(|customer| format!("C{customer:05}"));
    let features = Some(dense(&["balance"], customers.len(), &customers.map(balance)));
    wire::RankRequest { features, ..ask("home", &ids) }
}

/// The bytes of an answer without the times at which limits have room again.
fn timeless(mut answer: wire::RankResponse) -> Vec<u8> {
    for rejected in answer.results.iter_mut().flat_map(|result| &mut result.rejected) {
        if let Some(at) = rejected.detail.find(": frees in ") {
            rejected.detail.truncate(at);
        }
    }
    bytes(answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn shadows_use_up_no_limit() {
    let bank = |shadows: &str| {
        let cap = format!("cap_total = {{ limit = {CAP}, per = \"all\", count = \"decision\" }}\n");
        let bank = Bank::new(&format!("{LIMITS}{shadows}"));
        bank.with("offers.toml", "id = \"black\"\n", &format!("id = \"black\"\n{cap}"))
    };
    let (with, without) = (bank(SHADOWS).serve(), bank("").serve());
    let calls: Vec<wire::RankRequest> = (0..ROUNDS * CUSTOMERS).map(limited_call).collect();
    let (found, expected) = tokio::join!(in_order(&with, &calls), in_order(&without, &calls));
    let results = || found.iter().flat_map(|answer| &answer.results);
    // Both limits were reached, and the cap is used up by what was shown alone.
    let shown = results().flat_map(|result| &result.offers).filter(|offer| offer.offer_id == "black").count();
    assert_eq!(shown, CAP);
    let has = |reason: &str| results().flat_map(|result| &result.rejected).any(|one| one.reason == reason);
    assert!(has("CAP_TOTAL") && has("CONTACT_LIMIT"));
    // Of the customers of a call, the first row of each is compared: later ones see what it reserved.
    let sampled: usize = calls.iter().map(|call| call.customers.len().min(3)).sum();
    for (number, (found, expected)) in found.into_iter().zip(expected).enumerate() {
        assert_eq!(timeless(found), timeless(expected), "call {number}");
    }
    for shadow in ["model", "weights"] {
        let ends = settled(&with, shadow, sampled as u64).await;
        assert_eq!(ends.failed, 0, "{ends:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn previews_are_not_compared() {
    let server = Bank::new(SHADOWS).serve();
    let preview = |number| wire::RankRequest { dry_run: true, ..call(number) };
    answers(&server, (0..20).map(preview).collect()).await;
    answers(&server, vec![call(1)]).await;
    settled(&server, "model", 1).await;
}
