use std::sync::Arc;

use std::collections::BTreeMap;

use decision::RankResult;

use super::*;
use crate::effect::Totals;
use crate::samples::{Models, Texts, crowded, moment, named, rank, rank_with, react};

fn simulation(before: &Arc<Snapshot>, after: &Arc<Snapshot>, threads: usize) -> Simulation {
    Simulation {
        before: named(before),
        after: named(after),
        placements: Vec::new(),
        now: moment(),
        history: SimulatedHistory::default(),
        options: Options { threads, ..Options::default() },
    }
}

fn run(simulation: &Simulation) -> Comparison {
    simulate(simulation, |_| {}).unwrap()
}

/// Releases 3 and 4, and 700 customers.
fn releases() -> (Arc<Snapshot>, Arc<Snapshot>) {
    let (models, texts) = (Models::new(), Texts::sample(700));
    let other =
        texts.with_offers("value = 25.0", "value = 90.0").with_offers("segment.id == 0", "segment.id == 1");
    (models.load(3, &texts), models.load_with(4, &other, 2))
}

/// What a promoted release answers to each customer in the order of their ids, as of the moment of the simulation.
fn promoted(snapshot: &Arc<Snapshot>, placement: &str) -> Vec<RankResult> {
    let customer = |row: RowIndex| Customer {
        id: snapshot.customers.id(row).unwrap().to_owned(),
        ..Customer::default()
    };
    let request = |row| RankRequest {
        placement: placement.to_owned(),
        customers: vec![customer(row)],
        as_of: Some(moment()),
        ..RankRequest::default()
    };
    rank(snapshot, in_order(snapshot).into_iter().map(request)).0
}

fn ids(result: &RankResult) -> Vec<&str> {
    result.offers.iter().map(|offer| &*offer.offer_id).collect()
}

#[test]
fn what_is_simulated_is_what_is_shown_after_the_promotion() {
    let (before, after) = releases();
    let found = run(&simulation(&before, &after, 2));
    let mut shown: BTreeMap<&str, [u64; 2]> = BTreeMap::new();
    let (mut changed, mut margin) = (vec![(false, false); 700], [0.0, 0.0]);
    let answers =
        ["home", "letter"].map(|placement| (promoted(&before, placement), promoted(&after, placement)));
    for (one, other) in &answers {
        for (side, results) in [(0, one), (1, other)] {
            for offer in results.iter().flat_map(|result| &result.offers) {
                shown.entry(&offer.offer_id).or_default()[side] += 1;
                margin[side] += offer.factors.as_ref().map_or(0.0, |factors| factors.margin);
            }
        }
        for ((one, other), changed) in one.iter().zip(other).zip(&mut changed) {
            changed.0 |= ids(one).first() != ids(other).first();
            changed.1 |= ids(one) != ids(other);
        }
    }
    for offer in &found.effect.offers {
        let expected = shown.remove(offer.offer.as_str()).unwrap_or_default();
        assert_eq!([offer.shown.before, offer.shown.after], expected, "{}", offer.offer);
    }
    assert!(shown.is_empty(), "{shown:?}");
    let Totals { margin: found_margin, decisions, fallbacks, .. } = found.effect.all;
    assert_eq!(decisions, 1400);
    assert!(fallbacks.before > 0 && fallbacks.before != fallbacks.after, "{fallbacks:?}");
    assert!((found_margin.before - margin[0]).abs() < 1e-6 && (found_margin.after - margin[1]).abs() < 1e-6);
    let Subject::Customers(customers) = &found.subject else { panic!("{:?}", found.subject) };
    assert_eq!((customers.customers, customers.base, customers.release), (700, 3, 4));
    assert_eq!(customers.first_changes, changed.iter().filter(|(first, _)| *first).count() as u64);
    assert_eq!(customers.slate_changes, changed.iter().filter(|(_, slate)| *slate).count() as u64);
    assert!(customers.first_changes > 100 && customers.first_changes < 700, "{customers:?}");
}

#[test]
fn each_customer_gets_what_rank_answers() {
    let (_, after) = releases();
    let rows = in_order(&after);
    let names: Vec<String> = rows.iter().map(|row| after.customers.id(*row).unwrap().to_owned()).collect();
    for placement in ["home", "letter"] {
        let request = RankRequest {
            placement: placement.to_owned(),
            customers: names.iter().map(|id| Customer { id: id.clone(), ..Customer::default() }).collect(),
            dry_run: true,
            ..RankRequest::default()
        };
        let limiter = SimulatedHistory::default().after;
        let together = decide_together(&after, request, moment(), &limiter, &Worker::only()).unwrap();
        for (decision, result) in together.decisions.iter().zip(promoted(&after, placement)) {
            let numbers = |offers: &[decision::RankedOffer]| -> Vec<(Arc<str>, u64)> {
                offers.iter().map(|offer| (Arc::clone(&offer.offer_id), offer.priority.to_bits())).collect()
            };
            assert_eq!(numbers(&decision.offers), numbers(&result.offers), "{}", result.customer_id);
            assert_eq!(decision.segment, result.segment);
            assert_eq!(decision.candidates.len(), together.candidates.len());
        }
        assert_eq!(together.decisions.len(), 700);
    }
}

#[test]
fn the_result_does_not_depend_on_threads_or_on_the_order_of_the_file() {
    let (models, texts) = (Models::new(), Texts::sample(1500));
    let other = texts.with_offers("value = 25.0", "value = 90.0");
    let json = |texts: &Texts, threads: usize| {
        let load = |number, offers: &Texts| {
            models.load(number, &Texts { customers: texts.customers.clone(), ..offers.clone() })
        };
        run(&simulation(&load(3, texts), &load(4, &other), threads)).json().unwrap()
    };
    let one = json(&texts, 1);
    assert_eq!(json(&texts, 8), one);
    let (head, rows) = texts.customers.split_once('\n').unwrap();
    let reversed: Vec<&str> = std::iter::once(head).chain(rows.lines().rev()).collect();
    let reversed = Texts { customers: reversed.join("\n") + "\n", ..texts.clone() };
    assert_eq!(json(&reversed, 8), one);
}

#[test]
fn the_same_release_changes_nothing() {
    let (before, _) = releases();
    let found = run(&simulation(&before, &before, 2));
    assert!(found.effect.is_unchanged(), "{:?}", found.effect.all);
    assert_eq!((found.effect.all.decisions, &found.excluded), (1400, &Excluded::default()));
}

#[test]
fn placements_of_one_release_alone_are_named() {
    let (models, texts) = (Models::new(), Texts::sample(20));
    let other = texts
        .with(|texts| &mut texts.policy, "id = \"letter\"", "id = \"mailing\"")
        .with_offers("placements = [\"home\", \"letter\"]", "placements = [\"home\", \"mailing\"]");
    let mut simulation = simulation(&models.load(3, &texts), &models.load(4, &other), 1);
    let found = run(&simulation);
    assert_eq!(found.excluded.gone_placements, BTreeMap::from([("letter".to_owned(), 20)]));
    assert_eq!(found.excluded.new_placements, BTreeMap::from([("mailing".to_owned(), 20)]));
    assert_eq!(found.effect.all.decisions, 20);
    simulation.placements = vec!["home".to_owned(), "home".to_owned()];
    let found = run(&simulation);
    assert_eq!((found.effect.all.decisions, found.excluded.decisions()), (20, 0));
    simulation.placements = vec!["mailng".to_owned()];
    let error = simulate(&simulation, |_| {}).unwrap_err().to_string();
    assert_eq!(error, "neither release has a placement `mailng`; did you mean `mailing`?");
}

#[test]
fn no_customers_give_no_effect() {
    let models = Models::new();
    let before = models.load(3, &Texts::sample(0));
    let found = run(&simulation(&before, &before, 4));
    assert_eq!(found.effect.all, Totals::default());
    assert!(found.effect.is_unchanged());
}

#[test]
fn progress_ends_with_all_customers() {
    let (before, after) = releases();
    let mut seen = Vec::new();
    simulate(&simulation(&before, &after, 2), |done| seen.push(done)).unwrap();
    assert!(seen.is_sorted());
    assert_eq!(seen.last(), Some(&700));
}

/// Releases 3 and 4 with limits of all kinds, and a history of customers who reacted to what they were shown.
fn limited() -> (Arc<Snapshot>, Arc<Snapshot>, History) {
    let (models, texts) = (Models::new(), Texts::limited(60));
    let other =
        texts.with_offers("value = 25.0", "value = 90.0").with_offers("limit = 12, per", "limit = 16, per");
    let (before, after) = (models.load(3, &texts), models.load_with(4, &other, 2));
    let history = Arc::new(History::default());
    let limiter = Limiter::new(Arc::clone(&history), Arc::new(CustomerNames::default()));
    for (round, request) in crowded(12).into_iter().enumerate() {
        let (results, _) = rank_with(&limiter, &before, [request]);
        react(&history, &results, round);
    }
    (before, after, history.copied())
}

fn simulated(before: &Arc<Snapshot>, after: &Arc<Snapshot>, history: &History, threads: usize) -> Comparison {
    let simulation = Simulation {
        now: Utc::now(),
        history: SimulatedHistory::new(history.copied(), CustomerNames::default()),
        ..simulation(before, after, threads)
    };
    run(&simulation)
}

/// By offer, stage and reason: how often it is shown, or withheld.
type Counts = BTreeMap<(String, &'static str, &'static str), u64>;

/// What is answered to each customer in the order of their ids at each placement, once a release was promoted.
fn answered(snapshot: &Arc<Snapshot>, history: &History) -> Counts {
    let limiter = Limiter::new(Arc::new(history.copied()), Arc::new(CustomerNames::default()));
    let request = |(row, placement): (RowIndex, &&str)| RankRequest {
        placement: (*placement).to_owned(),
        customers: vec![Customer {
            id: snapshot.customers.id(row).unwrap().to_owned(),
            ..Customer::default()
        }],
        explain: decision::Explain::All,
        ..RankRequest::default()
    };
    let rows = in_order(snapshot).into_iter();
    let requests = rows.flat_map(|row| ["home", "letter"].iter().map(move |placement| (row, placement)));
    let (results, _) = rank_with(&limiter, snapshot, requests.map(request));
    let mut counts = Counts::new();
    for result in results {
        for offer in &result.offers {
            *counts.entry((offer.offer_id.to_string(), "shown", "")).or_default() += 1;
        }
        for one in &result.withheld {
            let key = (one.offer_id.to_string(), one.stage.as_str(), one.reason.as_str());
            *counts.entry(key).or_default() += 1;
        }
    }
    counts
}

/// The same of one side of a comparison.
fn counted(found: &Comparison, side: impl Fn(crate::BeforeAfter<u64>) -> u64) -> Counts {
    let shown =
        found.effect.offers.iter().map(|offer| ((offer.offer.clone(), "shown", ""), side(offer.shown)));
    let withheld = found.effect.withheld.iter();
    let withheld = withheld.map(|one| ((one.offer.clone(), one.stage, one.reason), side(one.decisions)));
    shown.chain(withheld).filter(|(_, count)| *count > 0).collect()
}

#[test]
fn what_is_simulated_with_limits_is_what_is_shown_after_the_promotion() {
    let (before, after, history) = limited();
    let found = simulated(&before, &after, &history, 2);
    assert_eq!(counted(&found, |one| one.before), answered(&before, &history));
    assert_eq!(counted(&found, |one| one.after), answered(&after, &history));
    assert_eq!((found.effect.all.decisions, &found.excluded), (120, &Excluded::default()));
    // Total caps are used up along the way, and each release has its own.
    let withheld = |offer: &str, reason: &str| {
        let withheld = found.effect.withheld.iter();
        let of_offer = withheld.filter(|one| one.offer == offer && one.reason == reason);
        of_offer.map(|one| one.decisions).fold((0, 0), |sum, one| (sum.0 + one.before, sum.1 + one.after))
    };
    let points = found.effect.offers.iter().find(|offer| offer.offer == "points").unwrap();
    let (capped_before, capped_after) = withheld("points", "CAP_TOTAL");
    assert!(points.shown.before < points.shown.after && points.shown.after <= 16, "{points:?}");
    assert!(capped_before > 0 && capped_after > 0, "{capped_before} {capped_after}");
    for (offer, reason) in [("gold", "SUPPRESSED"), ("loan", "BUDGET"), ("green", "CAP_CUSTOMER")] {
        assert!(withheld(offer, reason).0 > 0, "{offer} {reason}: {:?}", found.effect.withheld);
    }
    // No decision is counted in the history that was given.
    assert_eq!(
        counted(&simulated(&before, &after, &history, 1), |one| one.after),
        answered(&after, &history)
    );
}

#[test]
fn a_simulation_with_limits_does_not_depend_on_threads() {
    let (before, after, history) = limited();
    let effect = |threads| simulated(&before, &after, &history, threads).effect;
    let one = effect(1);
    assert_eq!(effect(2), one);
    assert_eq!(effect(8), one);
}

#[test]
fn a_customer_who_opted_out_is_simulated_so_whatever_limits_there_are() {
    let (before, after) = releases();
    let history = History::default();
    let fallbacks = |history: &History| simulated(&before, &after, history, 3).effect.all.fallbacks.before;
    let shown = |found: &Comparison, offer: &str| {
        found.effect.offers.iter().find(|one| one.offer == offer).map(|one| one.shown.before).unwrap()
    };
    let known = shown(&simulated(&before, &after, &history, 3), "points");
    let fallback = fallbacks(&history);
    for row in in_order(&before) {
        history.record_outcome(&history::Outcome {
            event_id: "",
            decision: None,
            customer: before.customers.id(row).unwrap(),
            offer: "",
            placement: "",
            channel: "",
            outcome: "opt_out",
            spend: history::Spend::default(),
            occurred_at: moment(),
            recorded_at: moment(),
        });
    }
    // Only `points` needs a consent.
    assert!(known > 0);
    assert_eq!(shown(&simulated(&before, &after, &history, 3), "points"), 0);
    assert_eq!(fallbacks(&history), fallback);
}
