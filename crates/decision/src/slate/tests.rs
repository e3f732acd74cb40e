//! Slates: what they keep, and that offers are shown as often as their probabilities say.

use std::collections::BTreeMap;

use experiment::{Exploration, Method, OfferKey, Seed};
use offer::{Catalog, OfferIndex, Strategy};
use proptest::prelude::{Just, Strategy as _, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};

use super::super::arbitration::{Constraints, Scored, mandatory_first, sort};
use super::super::limits::Shown;
use super::super::withheld::{Detail, Withheld};
use super::super::{RankedOffer, Reason, Stage, WithheldOffer};
use super::samples::{OFFERS, catalog, scored};
use super::{Choosing, SlateScratch, finite};

/// What a slate is chosen with.
#[derive(Debug, Clone)]
struct Case {
    count: usize,
    most: usize,
    method: Method,
    mandatory: bool,
    /// Offers that have no room.
    refused: Vec<usize>,
}

impl Case {
    fn new(count: usize, most: usize, method: Method) -> Self {
        Self { count, most, method, mandatory: false, refused: Vec::new() }
    }
}

/// Fills slates of one library.
struct Slates {
    catalog: Catalog,
    case: Case,
    scored: Vec<Scored>,
    keys: Vec<OfferKey>,
    scratch: SlateScratch,
}

impl Slates {
    fn new(case: Case, scored: Vec<Scored>) -> Self {
        let catalog = catalog(case.most);
        let keys = catalog.library.offers().iter().map(|offer| OfferKey::of(&offer.id)).collect();
        Self { catalog, case, scored, keys, scratch: SlateScratch::default() }
    }

    fn fill(&mut self, seed: Seed) -> (Vec<RankedOffer>, Vec<WithheldOffer>) {
        let Self { catalog, case, scored, keys, scratch } = self;
        let mut order = Vec::new();
        sort(scored, Strategy::Priority, &mut order);
        let is_mandatory = |offer: OfferIndex| case.mandatory && catalog.library.get(offer).mandatory;
        let mandatory = mandatory_first(scored, &mut order, is_mandatory);
        let choosing = Choosing {
            constraints: Constraints {
                catalog,
                count: case.count,
                max_per_category: Some(case.most),
                strategy: Strategy::Priority,
            },
            scored,
            order: &order,
            mandatory,
            exploration: Exploration { method: case.method },
            keys,
            seed,
        };
        let mut rounds = 0;
        let chosen = choosing.fill(scratch, |offers| {
            rounds += 1;
            let refused: Vec<Withheld<'_>> = offers
                .iter()
                .filter(|offer| case.refused.contains(&offer.get()))
                .map(|offer| Withheld::new(*offer, Stage::Reservation, Reason::CapTotal, Detail::Nothing))
                .collect();
            let is_final = refused.is_empty() || rounds > 3;
            Shown { refused, is_final }
        });
        let withheld = chosen.not_shown.iter().map(|one| one.explained(&catalog.library)).collect();
        (chosen.shown, withheld)
    }

    fn shown(&mut self, seed: Seed) -> Vec<usize> {
        self.fill(seed).0.iter().map(|shown| shown.offer.get()).collect()
    }
}

fn seed(number: u64) -> Seed {
    Seed::of_bytes(&number.to_le_bytes())
}

const PROPENSITIES: [f64; OFFERS] = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2];

fn all() -> Vec<Scored> {
    PROPENSITIES.into_iter().enumerate().map(|(offer, propensity)| scored(offer, propensity)).collect()
}

#[test]
fn exploration_gets_numbers_in_the_order_of_the_keys() {
    // Ascending, as offers are sorted.
    let [least, greatest] = [-1.0, 1.0].map(|sign| f64::NAN.copysign(sign));
    let keys = [least, f64::NEG_INFINITY, f64::MIN, -2.5, 0.0, 7.0, f64::MAX, f64::INFINITY, greatest];
    let found = keys.map(finite);
    assert!(keys.is_sorted_by(|left, right| left.total_cmp(right).is_lt()));
    assert!(found.is_sorted() && found.iter().all(|key| (key - found[0]).is_finite()), "{found:?}");
    // Ordinary ones are left alone.
    assert!(found[3..6].iter().zip(&keys[3..6]).all(|(found, key)| found.total_cmp(key).is_eq()));
}

#[test]
fn an_offer_is_withheld_beside_a_better_one_that_it_conflicts_with() {
    let offers = vec![scored(1, 0.9), scored(0, 0.8), scored(2, 0.7)];
    let (shown, withheld) = Slates::new(Case::new(2, 8, Method::Greedy), offers).fill(seed(0));
    assert_eq!(shown.iter().map(|shown| shown.offer.get()).collect::<Vec<_>>(), [1, 2]);
    let WithheldOffer { offer_id, reason, detail, .. } = &withheld[0];
    assert_eq!((&**offer_id, *reason, detail.as_str()), ("o0", Reason::ConflictsWith, "o1"));
}

#[test]
fn mandatory_offers_come_first_and_are_certain() {
    for method in [Method::Greedy, Method::Softmax { temperature: 0.3 }, Method::Epsilon { epsilon: 0.5 }] {
        let mut slates = Slates::new(Case { mandatory: true, ..Case::new(3, 8, method) }, all());
        for number in 0..50 {
            let (shown, withheld) = slates.fill(seed(number));
            let marks: Vec<bool> = shown.iter().map(|shown| shown.mandatory).collect();
            assert_eq!((shown[0].offer.get(), marks), (6, vec![true, false, false]));
            assert_eq!(shown[0].selection_probability.to_bits(), 1.0_f64.to_bits());
            assert_eq!(shown.len() + withheld.len(), OFFERS);
        }
    }
}

#[test]
fn what_is_chosen_behind_a_refused_offer_is_conditional() {
    let refused = |method| {
        let case = Case { refused: vec![2], ..Case::new(3, 8, method) };
        Slates::new(case, all())
    };
    let (shown, _) = refused(Method::Greedy).fill(seed(0));
    let marks: Vec<_> = shown.iter().map(|shown| (shown.offer.get(), shown.conditional)).collect();
    assert_eq!(marks, [(0, false), (3, true), (4, true)]);
    let mut slates = refused(Method::Softmax { temperature: 0.5 });
    let mut free = Slates::new(Case::new(3, 8, Method::Softmax { temperature: 0.5 }), all());
    let mut conditional = 0;
    for number in 0..500 {
        let (before, _) = free.fill(seed(number));
        let (shown, withheld) = slates.fill(seed(number));
        assert!(shown.iter().all(|shown| shown.offer.get() != 2));
        let place = before.iter().position(|shown| shown.offer.get() == 2);
        let first = shown.iter().position(|shown| shown.conditional);
        assert_eq!(first, place, "{before:?} {shown:?}");
        let same = place.unwrap_or(before.len());
        for (before, shown) in before[..same].iter().zip(&shown) {
            let of = |one: &RankedOffer| (one.offer, one.selection_probability.to_bits());
            assert_eq!(of(before), of(shown));
        }
        if place.is_some() {
            conditional += 1;
            let refusal = withheld.iter().find(|one| &*one.offer_id == "o2").unwrap();
            assert_eq!((refusal.stage, refusal.reason), (Stage::Reservation, Reason::CapTotal));
        }
    }
    assert!(conditional > 100, "{conditional}");
}

/// Checks over many draws that each slate comes as often as the product of its logged probabilities says.
fn frequencies_agree(case: &Case, offers: &[Scored]) {
    const DRAWS: u64 = 200_000;
    let mut slates = Slates::new(case.clone(), offers.to_vec());
    let mut found: BTreeMap<Vec<usize>, (u64, f64)> = BTreeMap::new();
    for number in 0..DRAWS {
        let (shown, _) = slates.fill(seed(number));
        let key = shown.iter().map(|shown| shown.offer.get()).collect();
        let probability = shown.iter().map(|shown| shown.selection_probability).product();
        let entry = found.entry(key).or_insert((0, probability));
        entry.0 += 1;
        assert_eq!(entry.1.to_bits(), f64::to_bits(probability), "one slate has one probability");
    }
    let (mut chi_square, mut cells, mut rare) = (0.0, 0_u32, (0.0, 0.0));
    let mut total = 0.0;
    for (count, probability) in found.values() {
        let (count, expected) = (*count as f64, probability * DRAWS as f64);
        total += probability;
        if expected < 10.0 {
            rare = (rare.0 + count, rare.1 + expected);
            continue;
        }
        chi_square += (count - expected).powi(2) / expected;
        cells += 1;
    }
    if rare.1 >= 10.0 {
        chi_square += (rare.0 - rare.1).powi(2) / rare.1;
        cells += 1;
    }
    assert!(total > 0.995 && total < 1.000_001, "{total}");
    // The 99.99 % quantile by Wilson and Hilferty; with one cell there is nothing to vary.
    let freedom = f64::from(cells.saturating_sub(1));
    let spread = 2.0 / (9.0 * freedom);
    let limit = freedom * (1.0 - spread + 3.719 * spread.sqrt()).powi(3);
    assert!(cells > 1 && chi_square < limit, "{case:?}: {chi_square} of {limit} in {cells} cells");
}

#[test]
fn slates_come_as_often_as_their_probabilities_say() {
    let softmax = Method::Softmax { temperature: 0.4 };
    let epsilon = Method::Epsilon { epsilon: 0.3 };
    for method in [softmax, epsilon] {
        // Free; with a conflict and a category limit; beside a mandatory offer; among few.
        frequencies_agree(&Case::new(2, 8, method), &all());
        frequencies_agree(&Case::new(3, 1, method), &all());
        frequencies_agree(&Case::new(3, 2, method), &all()[..5]);
        frequencies_agree(&Case { mandatory: true, ..Case::new(3, 2, method) }, &all());
    }
}

/// The offers of the slots before, each with whether it is conditional; at the end, whether the next one is.
type Before = Vec<(usize, bool)>;

#[test]
fn with_a_refused_offer_each_slot_comes_as_often_as_its_probability_says() {
    const DRAWS: u64 = 200_000;
    for method in [Method::Softmax { temperature: 0.4 }, Method::Epsilon { epsilon: 0.3 }] {
        let case = Case { refused: vec![1], ..Case::new(2, 8, method) };
        let mut slates = Slates::new(case, all());
        // How often an offer comes in a slot, and the sum of the probabilities of that, by what came before. Given that,
        // each choice has one probability.
        let mut slots: BTreeMap<(Before, usize), (u64, f64)> = BTreeMap::new();
        let mut befores: BTreeMap<Before, u64> = BTreeMap::new();
        for number in 0..DRAWS {
            let (shown, _) = slates.fill(seed(number));
            let mut before = Vec::new();
            for one in &shown {
                let conditional = one.conditional;
                // Whether the refused one came just before is part of what is given.
                before.push((OFFERS, conditional));
                *befores.entry(before.clone()).or_default() += 1;
                let entry =
                    slots.entry((before.clone(), one.offer.get())).or_insert((0, one.selection_probability));
                assert_eq!(entry.1.to_bits(), one.selection_probability.to_bits());
                entry.0 += 1;
                before.pop();
                before.push((one.offer.get(), conditional));
            }
        }
        for ((before, _), (count, probability)) in slots {
            let conditional = before.last().is_some_and(|(_, conditional)| *conditional);
            let draws = befores[&before] as f64;
            if !conditional || draws < 1_000.0 {
                continue;
            }
            let expected = draws * probability;
            let deviation = (expected * (1.0 - probability)).sqrt();
            assert!(
                (count as f64 - expected).abs() < 4.5 * deviation + 1.0,
                "{method:?} {before:?}: {count}, {expected}"
            );
        }
    }
}

fn method() -> impl proptest::prelude::Strategy<Value = Method> {
    prop_oneof![
        Just(Method::Greedy),
        (0.01..1.0_f64).prop_map(|epsilon| Method::Epsilon { epsilon }),
        (0.01..2.0_f64).prop_map(|temperature| Method::Softmax { temperature }),
    ]
}

proptest! {
    #[test]
    fn a_slate_keeps_its_constraints_and_accounts_for_every_offer(
        propensities in prop::collection::vec(0.0..1.0_f64, OFFERS),
        present in prop::collection::vec(any::<bool>(), OFFERS),
        refused in prop::collection::vec(any::<bool>(), OFFERS),
        (count, most) in (0..6_usize, 1..4_usize),
        method in method(),
        mandatory in any::<bool>(),
        number in any::<u64>(),
    ) {
        let offers: Vec<Scored> = (0..OFFERS)
            .filter(|offer| present[*offer])
            .map(|offer| scored(offer, propensities[offer]))
            .collect();
        let listed = (0..OFFERS).filter(|offer| refused[*offer]).collect();
        let case = Case { mandatory, refused: listed, ..Case::new(count, most, method) };
        let mut slates = Slates::new(case, offers.clone());
        let (shown, withheld) = slates.fill(seed(number));
        let ids: Vec<usize> = shown.iter().map(|shown| shown.offer.get()).collect();
        prop_assert!(ids.len() <= count);
        prop_assert!(!(ids.contains(&0) && ids.contains(&1)));
        prop_assert!(ids.iter().all(|offer| !refused[*offer]));
        for parity in 0..2 {
            prop_assert!(ids.iter().filter(|offer| *offer % 2 == parity).count() <= most);
        }
        prop_assert_eq!(shown.len() + withheld.len(), offers.len());
        let mut named: Vec<String> = withheld.iter().map(|one| one.offer_id.to_string()).collect();
        named.extend(ids.iter().map(|offer| format!("o{offer}")));
        named.sort_unstable();
        named.dedup();
        prop_assert_eq!(named.len(), offers.len());
        for one in &shown {
            prop_assert!(one.selection_probability > 0.0 && one.selection_probability <= 1.0);
        }
        // Chance depends on the decision and the offers alone.
        slates.scored.reverse();
        prop_assert_eq!(slates.shown(seed(number)), ids);
    }
}
