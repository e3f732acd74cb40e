//! Exploration over the wire: offers come as often as their probabilities say, also where a total cap takes one away.

use std::collections::BTreeMap;

use super::scene::{Bank, ask, customers, rank, shown};
use crate::harness::{Server, dense, wire};

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

/// Five offers: two cards conflict, and the gold one is withheld from the rich by a rule.
fn constrained(exploration: &str) -> Bank {
    let travel = "[[offer]]\nid = \"travel\"\nname = \"Travel cover\"\ncategory = \"loans\"\n\
                  placements = [\"home\", \"letter\"]\nvalue = 45.0\n\n[[offer]]\nid = \"help\"\n";
    let gold = "id = \"gold\"\nconflicts_with = [\"black\"]\nexclusion = \"customer.balance >= 500.0\"\n";
    Bank::new("")
        .with("offers.toml", "[[offer]]\nid = \"help\"\n", travel)
        .with("offers.toml", "id = \"gold\"\n", gold)
        .with("policy.toml", "count = 2\n", &format!("count = 3\nmax_per_category = 2\n{exploration}\n"))
}

const CARDS: [&str; 3] = ["black", "gold", "green"];

/// Whether an offer may be shown beside these, by what [`constrained`] says.
fn fits(before: &[&str], offer: &str) -> bool {
    let is_card = |offer: &str| CARDS.contains(&offer);
    let conflicts = |one: &str, other: &str| offer == one && before.contains(&other);
    let of_category = before.iter().filter(|shown| is_card(shown) == is_card(offer)).count();
    !before.contains(&offer) && !conflicts("gold", "black") && !conflicts("black", "gold") && of_category < 2
}

/// The probability of each offer of a slate, worked out from the priorities of what fits.
fn worked_out(method: &str, priorities: &[(String, f64)], slate: &[&str]) -> Vec<f64> {
    let probability = |slot: usize| {
        let rivals: Vec<&(String, f64)> =
            priorities.iter().filter(|(offer, _)| fits(&slate[..slot], offer)).collect();
        let chosen = rivals.iter().position(|(offer, _)| offer == slate[slot]).unwrap();
        let number = rivals.len() as f64;
        let weight = |rival: &&(String, f64)| ((rival.1 - rivals[0].1) / 20.0).exp();
        match method {
            "epsilon" => 0.4 / number + if chosen == 0 { 0.6 } else { 0.0 },
            "softmax" => weight(&rivals[chosen]) / rivals.iter().map(weight).sum::<f64>(),
            other => panic!("{other}"),
        }
    };
    (0..slate.len()).map(probability).collect()
}

/// How many slates of three, or of all that fit, there are.
fn possible(priorities: &[(String, f64)], before: &[&str]) -> usize {
    let next: Vec<&str> =
        priorities.iter().map(|(offer, _)| offer.as_str()).filter(|offer| fits(before, offer)).collect();
    if before.len() == 3 || next.is_empty() {
        return 1;
    }
    next.iter().map(|offer| possible(priorities, &[before, &[*offer]].concat())).sum()
}

/// A call for these customers, all of this balance, that excludes these offers.
fn excluding(ids: &[String], balance: f32, excluded: &[&str]) -> wire::RankRequest {
    wire::RankRequest {
        features: Some(dense(&["balance"], ids.len(), &vec![balance; ids.len()])),
        exclude_offer_ids: excluded.iter().map(|offer| (*offer).to_owned()).collect(),
        ..ask("home", ids)
    }
}

/// The priorities of all offers but these, the best first. A server without constraints tells them.
async fn priorities(plain: &Server, balance: f32, without: &[&str]) -> Vec<(String, f64)> {
    let asked = wire::RankRequest { count: 5, ..excluding(&customers(1), balance, &[]) };
    let offers = rank(plain, asked).await.remove(0).offers;
    assert_eq!(offers.len(), 5);
    let all = offers.into_iter().map(|offer| (offer.offer_id, offer.priority));
    all.filter(|(offer, _)| !without.contains(&offer.as_str())).collect()
}

async fn explored_beside_exclusions(method: &str, exploration: &str) {
    let (plain, server) = (
        constrained("")
            .with(
                "offers.toml",
                "conflicts_with = [\"black\"]\nexclusion = \"customer.balance >= 500.0\"\n",
                "",
            )
            .with("policy.toml", "max_per_category = 2\n", "")
            .serve(),
        constrained(exploration).serve(),
    );
    let ids = customers(1_000);
    // Who excludes what, and what a rule withholds besides.
    let cases: [(f32, &[&str], &[&str]); 4] = [
        (100.0, &[], &[]),
        (100.0, &["loan"], &[]),
        (100.0, &["black", "travel", "not_an_offer"], &[]),
        (600.0, &["green"], &["gold"]),
    ];
    for (balance, excluded, by_rule) in cases {
        let without = [excluded, by_rule].concat();
        let priorities = priorities(&plain, balance, &without).await;
        let mut slates = Slates::new();
        for _ in 0..4 {
            let results = rank(&server, excluding(&ids, balance, excluded)).await;
            count(&results, &mut slates);
            for result in &results {
                let slate = shown(result);
                let expected = worked_out(method, &priorities, &slate);
                for (offer, expected) in result.offers.iter().zip(expected) {
                    let found = offer.selection_probability;
                    assert!((found / expected - 1.0).abs() < 1e-9, "{slate:?}: {found}, not {expected}");
                    assert!(!offer.conditional && !offer.mandatory, "{offer:?}");
                }
                // What the call excludes is no candidate; what the rule excludes is withheld as such.
                let named = result.rejected.iter().map(|one| one.offer_id.as_str()).chain(slate);
                assert!(named.clone().all(|offer| !excluded.contains(&offer)), "{result:?}");
                assert_eq!(
                    named.count(),
                    5 - excluded.iter().filter(|offer| **offer != "not_an_offer").count()
                );
                for offer in by_rule {
                    let withheld = result.rejected.iter().find(|one| one.offer_id == *offer).unwrap();
                    assert_eq!(withheld.withheld_reason(), wire::WithheldReason::Excluded, "{result:?}");
                }
            }
        }
        agree(&slates, 4_000.0);
        // Nearly all that can come, did: chance left nothing out.
        let possible = possible(&priorities, &[]);
        assert!(slates.len() <= possible && 2 * slates.len() > possible, "{} of {possible}", slates.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn softmax_is_as_probable_as_it_says_beside_exclusions_conflicts_and_category_limits() {
    explored_beside_exclusions("softmax", "exploration = { method = \"softmax\", temperature = 20.0 }").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn epsilon_is_as_probable_as_it_says_beside_exclusions_conflicts_and_category_limits() {
    explored_beside_exclusions("epsilon", "exploration = { method = \"epsilon\", epsilon = 0.4 }").await;
}
