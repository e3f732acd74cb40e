//! New offers: a prior for their propensity, and a throttle until they were shown often enough.

use super::scene::{Bank, ask, customers, rank};
use crate::harness::wire;

#[tokio::test(flavor = "multi_thread")]
async fn a_new_offer_is_considered_in_its_share_of_decisions_until_it_is_mature() {
    let bank = Bank::new("").with(
        "offers.toml",
        "id = \"black\"\n",
        "id = \"black\"\nweight = 900.0\nmaturity = { max_share = 0.25, impressions = 150 }\n",
    );
    let server = bank.serve();
    let shows = |results: &[wire::RankResult]| {
        results.iter().filter(|result| result.offers.iter().any(|offer| offer.offer_id == "black")).count()
    };
    let first = rank(&server, ask("home", &customers(400))).await;
    let shown = shows(&first);
    assert!((65..135).contains(&shown), "{shown}");
    let throttled = first.iter().flat_map(|result| &result.rejected).filter(|one| one.offer_id == "black");
    let mut count = 0;
    for one in throttled {
        assert_eq!(one.withheld_reason(), wire::WithheldReason::Maturity, "{one:?}");
        assert_eq!(one.withheld_stage(), wire::WithheldStage::Maturity);
        assert_eq!(one.detail, "new: shown in 0 decisions, mature at 150");
        count += 1;
    }
    assert_eq!(count + shown, 400);
    // Once it is mature, all see it.
    let mut total = shown;
    while total < 150 {
        total += shows(&rank(&server, ask("home", &customers(100))).await);
    }
    assert_eq!(shows(&rank(&server, ask("home", &customers(100))).await), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prior_moves_the_propensity_until_there_is_evidence() {
    let prior = "id = \"loan\"\nweight = 900.0\nprior = { propensity = 0.9, evidence = 100.0 }\n";
    let (bank, plain) = (
        Bank::new("").calibrated().with("offers.toml", "id = \"loan\"\n", prior),
        Bank::new("").calibrated().with("offers.toml", "id = \"loan\"\n", "id = \"loan\"\nweight = 900.0\n"),
    );
    let propensity = |results: &[wire::RankResult]| {
        let loan = results[0].offers.iter().find(|offer| offer.offer_id == "loan").unwrap();
        loan.factors.as_ref().unwrap().propensity
    };
    let one = customers(1);
    let model = propensity(&rank(&plain.serve(), ask("home", &one)).await);
    let server = bank.serve();
    let at_first = propensity(&rank(&server, ask("home", &one)).await);
    assert!((at_first - 0.9).abs() < 1e-12, "{at_first}");
    // Shown once so far; 99 more make as much as the prior's evidence.
    rank(&server, ask("home", &customers(99))).await;
    let halfway = propensity(&rank(&server, ask("home", &one)).await);
    assert!((halfway - f64::midpoint(0.9, model)).abs() < 1e-9, "{halfway}, {model}");
}
