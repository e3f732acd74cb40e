//! Exploration over the wire: offers come as often as their probabilities say, also where a total cap takes one away.

use std::collections::BTreeMap;

use super::scene::{Bank, ask, customers, rank};
use crate::harness::wire;

/// The slates of so many decisions: how often each came, and the probability of its first choice and of all.
type Slates = BTreeMap<Vec<String>, (f64, f64)>;

fn count(results: &[wire::RankResult], slates: &mut Slates) {
    for result in results {
        let ids: Vec<String> = result.offers.iter().map(|offer| offer.offer_id.clone()).collect();
        let probability: f64 = result.offers.iter().map(|offer| offer.selection_probability).product();
        let entry = slates.entry(ids).or_insert((0.0, probability));
        assert!((entry.1 - probability).abs() < 1e-12, "{result:?}");
        entry.0 += 1.0;
    }
}

/// Checks that each slate came as often as expected, within 4.5 deviations.
fn agree(slates: &Slates, decisions: f64) {
    let total: f64 = slates.values().map(|(_, probability)| probability).sum();
    assert!((0.98..1.000_001).contains(&total), "{total} {slates:?}");
    for (ids, (count, probability)) in slates {
        let (expected, variance) = (decisions * probability, decisions * probability * (1.0 - probability));
        assert!((count - expected).abs() < 4.5 * variance.sqrt() + 1.0, "{ids:?}: {count}, not {expected}");
    }
}

async fn explored(method: &str, more: &str) -> Slates {
    let bank = Bank::new("").with(
        "policy.toml",
        "count = 2\n",
        &format!("count = 2\nexploration = {method}\n{more}"),
    );
    let server = bank.serve();
    let ids = customers(1_000);
    let mut slates = Slates::new();
    for _ in 0..8 {
        count(&rank(&server, ask("home", &ids)).await, &mut slates);
    }
    agree(&slates, 8_000.0);
    slates
}

#[tokio::test(flavor = "multi_thread")]
async fn slates_come_as_often_as_their_probabilities_say() {
    let softmax = explored("{ method = \"softmax\", temperature = 20.0 }", "").await;
    assert_eq!(softmax.len(), 12, "{softmax:?}");
    // The three cards exclude each other then: a loan is the only second offer, and the other way round.
    let limited = explored("{ method = \"softmax\", temperature = 20.0 }", "max_per_category = 1\n").await;
    assert_eq!(limited.len(), 6, "{limited:?}");
    let epsilon = explored("{ method = \"epsilon\", epsilon = 0.5 }", "").await;
    assert_eq!(epsilon.len(), 12, "{epsilon:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_the_place_of_an_offer_without_room_is_conditional() {
    let bank = Bank::new("")
        .with(
            "policy.toml",
            "count = 2\n",
            "count = 2\nexploration = { method = \"softmax\", temperature = 20.0 }\n",
        )
        .with(
            "offers.toml",
            "id = \"gold\"\n",
            "id = \"gold\"\ncap_total = { limit = 30, per = \"all\", count = \"decision\" }\n",
        );
    let server = bank.serve();
    // All customers of a call look at the same history: the cap is used up within the first.
    let results = rank(&server, ask("home", &customers(400))).await;
    let golds =
        results.iter().flat_map(|result| &result.offers).filter(|offer| offer.offer_id == "gold").count();
    assert_eq!(golds, 30);
    let mut conditional = 0;
    for result in &results {
        let refused = result
            .rejected
            .iter()
            .any(|one| one.offer_id == "gold" && one.withheld_stage() == wire::WithheldStage::Reservation);
        let marked = result.offers.iter().any(|offer| offer.conditional);
        assert!(refused || !marked, "{result:?}");
        conditional += usize::from(marked);
        assert!(
            result
                .offers
                .iter()
                .all(|offer| offer.selection_probability > 0.0 && offer.selection_probability < 1.0)
        );
    }
    assert!(conditional > 50, "{conditional}");
    // Afterwards nobody is asked about it: nothing is conditional.
    let later = rank(&server, ask("home", &customers(50))).await;
    assert!(later.iter().flat_map(|result| &result.offers).all(|offer| !offer.conditional));
}
