use decision::{Reason, Stage};
use proptest::prelude::*;

use super::*;
use crate::effect::Totals;

const IDS: [&str; 5] = ["a", "b", "c", "d", "e"];

/// A decision at one of two placements, with offers and segments by their position in lists that are the same for all.
#[derive(Debug, Clone)]
struct Decided {
    placement: usize,
    before: Answer,
    after: Answer,
}

#[derive(Debug, Clone)]
struct Answer {
    shown: Vec<(usize, f64, bool)>,
    withheld: Vec<(usize, bool)>,
    segment: Option<usize>,
}

fn answer() -> impl Strategy<Value = Answer> {
    let shown = prop::sample::subsequence((0..IDS.len()).collect::<Vec<_>>(), 0..4).prop_shuffle();
    let shown = (shown, prop::collection::vec((0.0..150.0_f64, any::<bool>()), 4));
    let withheld = prop::collection::vec((0..IDS.len(), any::<bool>()), 0..5);
    (shown, withheld, prop::option::of(0..3_usize)).prop_map(|((shown, terms), withheld, segment)| {
        let shown = shown.into_iter().zip(terms).map(|(offer, (value, fallback))| (offer, value, fallback));
        Answer { shown: shown.collect(), withheld, segment }
    })
}

fn decided() -> impl Strategy<Value = Decided> {
    (0..2_usize, answer(), answer()).prop_map(|(placement, before, after)| Decided {
        placement,
        before,
        after,
    })
}

/// Positions are given out as decisions ask for them, so that tallies differ in them.
fn side(tally: &mut Tally, answer: &Answer) -> Side {
    let shown = answer.shown.iter().map(|(offer, value, fallback)| {
        let offer = tally.offer(&Arc::from(IDS[*offer]), &format!("Offer {}", IDS[*offer]), 1);
        let money = if *fallback { 0.0 } else { *value };
        Shown { offer, fallback: *fallback, expected_value: money, margin: money - 0.1 }
    });
    let shown = shown.collect();
    let withheld = answer.withheld.iter().map(|(offer, excluded)| {
        let code = if *excluded {
            Code::new(Stage::Exclusion, Reason::Excluded)
        } else {
            Code::new(Stage::Arbitration, Reason::Outranked)
        };
        (tally.find_offer(IDS[*offer]), code)
    });
    let withheld = withheld.collect();
    let segment = answer.segment.map(|segment| {
        let id = segment as i64;
        (tally.segment(id, &Arc::from(format!("Segment {segment}"))), id)
    });
    Side { shown, withheld, segment }
}

fn tally<'d>(decisions: impl IntoIterator<Item = &'d Decided>) -> Tally {
    let mut tally = Tally::default();
    for decided in decisions {
        let placement = tally.placement(["home", "letter"][decided.placement]);
        let (before, after) = (side(&mut tally, &decided.before), side(&mut tally, &decided.after));
        tally.add(placement, &before, &after);
    }
    // Every release knows all offers.
    for id in IDS {
        tally.offer(&Arc::from(id), &format!("Offer {id}"), 1);
    }
    tally
}

fn json(effect: &Effect) -> String {
    serde_json::to_string(effect).unwrap()
}

fn decision(placement: usize, before: &[usize], after: &[usize]) -> Decided {
    let answer = |offers: &[usize]| Answer {
        shown: offers.iter().map(|offer| (*offer, 10.0 * (offer + 1) as f64, false)).collect(),
        withheld: (0..IDS.len())
            .filter(|offer| !offers.contains(offer))
            .map(|offer| (offer, false))
            .collect(),
        segment: Some(0),
    };
    Decided { placement, before: answer(before), after: answer(after) }
}

#[test]
fn first_offers_slates_and_moves_are_counted() {
    let decisions = [
        decision(0, &[0, 1], &[0, 1]),
        decision(0, &[0, 1], &[1, 0]),
        decision(1, &[0], &[0, 2]),
        decision(1, &[], &[4]),
    ];
    let effect = tally(&decisions).finish();
    let Totals { decisions, first_changes, slate_changes, offers, empty, expected_value, .. } = effect.all;
    assert_eq!((decisions, first_changes, slate_changes), (4, 2, 3));
    assert_eq!((offers, empty), (BeforeAfter { before: 5, after: 7 }, BeforeAfter { before: 1, after: 0 }));
    assert_eq!(expected_value, BeforeAfter { before: 70.0, after: 150.0 });
    let placements: Vec<(&str, u64)> =
        effect.placements.iter().map(|one| (one.placement.as_str(), one.totals.first_changes)).collect();
    assert_eq!(placements, [("home", 1), ("letter", 1)]);
    let name =
        |offer: &Option<NamedOffer>| offer.as_ref().map_or("nothing".to_owned(), |offer| offer.name.clone());
    let moves: Vec<(String, String, u64)> =
        effect.moves.iter().map(|one| (name(&one.from), name(&one.to), one.decisions)).collect();
    let expected = [("nothing", "Offer e", 1), ("Offer a", "Offer b", 1)];
    assert_eq!(moves, expected.map(|(from, to, count)| (from.to_owned(), to.to_owned(), count)));
    let a = &effect.offers[0];
    assert_eq!(
        (a.offer.as_str(), a.shown, a.first),
        ("a", BeforeAfter { before: 3, after: 3 }, BeforeAfter { before: 3, after: 2 })
    );
    let outranked = &effect.reasons[0];
    assert_eq!((outranked.stage, outranked.reason), ("arbitration", "OUTRANKED"));
    assert_eq!(outranked.offers, BeforeAfter { before: 15, after: 13 });
}

#[test]
fn the_most_frequent_moves_are_listed_and_the_others_counted() {
    let ids: Vec<String> = (0..30).map(|id| format!("o{id:02}")).collect();
    let mut tally = Tally::default();
    let placement = tally.placement("home");
    for (count, id) in (1..).zip(&ids) {
        let shown = |tally: &mut Tally, id: &str| {
            let offer = tally.find_offer(id);
            Side {
                shown: vec![Shown { offer, fallback: false, expected_value: 0.0, margin: 0.0 }],
                ..Side::default()
            }
        };
        let (before, after) = (shown(&mut tally, "a"), shown(&mut tally, id));
        for _ in 0..count {
            tally.add(placement, &before, &after);
        }
    }
    let effect = tally.finish();
    let counts: Vec<u64> = effect.moves.iter().map(|one| one.decisions).collect();
    assert_eq!(counts, (11..=30).rev().collect::<Vec<u64>>());
    assert_eq!(effect.other_moves, (1..=10).sum::<u64>());
}

#[test]
fn no_decisions_give_no_effect() {
    let effect = Tally::default().finish();
    assert_eq!(effect, Effect::default());
    assert!(effect.is_unchanged());
    assert!(!json(&effect).contains("null"));
}

#[test]
fn the_newest_release_names_an_offer() {
    for order in [[(1, "old"), (7, "new"), (3, "between")], [(7, "new"), (3, "between"), (1, "old")]] {
        let mut tally = Tally::default();
        for (rank, name) in order {
            tally.offer(&Arc::from("a"), name, rank);
        }
        let mut other = Tally::default();
        other.find_offer("a");
        other.merge(tally);
        assert_eq!(other.finish().offers[0].name, "new");
    }
}

proptest! {
    #[test]
    fn merged_tallies_are_the_tally_of_all(
        decisions in prop::collection::vec((decided(), 0..4_usize), 0..60),
        order in Just(vec![0, 1, 2, 3]).prop_shuffle(),
    ) {
        let whole = tally(decisions.iter().map(|(decided, _)| decided)).finish();
        let part = |part: usize| tally(decisions.iter().filter(|(_, of)| *of == part).map(|(decided, _)| decided));
        let merged = order.into_iter().map(part).reduce(|mut sum, part| {
            sum.merge(part);
            sum
        });
        let merged = merged.unwrap().finish();
        prop_assert_eq!(json(&merged), json(&whole));
        let sum = |of: fn(&Totals) -> u64| whole.placements.iter().map(|one| of(&one.totals)).sum::<u64>();
        prop_assert_eq!(sum(|totals| totals.decisions), whole.all.decisions);
        prop_assert_eq!(sum(|totals| totals.first_changes), whole.all.first_changes);
        prop_assert_eq!(whole.segments.iter().map(|one| one.totals.decisions).sum::<u64>(), whole.all.decisions);
        let moved = whole.moves.iter().map(|one| one.decisions).sum::<u64>() + whole.other_moves;
        prop_assert_eq!(moved, whole.all.first_changes);
        prop_assert_eq!(whole.offers.iter().map(|one| one.shown.after).sum::<u64>(), whole.all.offers.after);
    }

    #[test]
    fn the_same_answers_change_nothing(answers in prop::collection::vec((0..2_usize, answer()), 0..40)) {
        let same = |(placement, answer): (usize, Answer)| Decided { placement, before: answer.clone(), after: answer };
        let decisions: Vec<Decided> = answers.into_iter().map(same).collect();
        let effect = tally(&decisions).finish();
        prop_assert!(effect.is_unchanged());
        prop_assert!(effect.moves.is_empty());
        for totals in std::iter::once(&effect.all).chain(effect.placements.iter().map(|one| &one.totals)) {
            prop_assert_eq!((totals.first_changes, totals.slate_changes, totals.segment_changes), (0, 0, 0));
            prop_assert_eq!(totals.fallbacks.before, totals.fallbacks.after);
            prop_assert_eq!(totals.margin.before.to_bits(), totals.margin.after.to_bits());
        }
        for offer in &effect.offers {
            prop_assert_eq!(offer.shown.before, offer.shown.after);
            prop_assert_eq!(offer.expected_value.before.to_bits(), offer.expected_value.after.to_bits());
        }
    }
}
