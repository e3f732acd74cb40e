//! Frequencies agree with logged probabilities, and logged probabilities with an enumeration.

mod recovery;

use std::collections::BTreeMap;

use proptest::prelude::{Just, Strategy as _, any, prop, prop_assert, prop_assert_eq, proptest};

use super::{Candidate, Choice, Exploration, Method, OfferKey, Scratch, Seed, Slate};
use crate::tests::{chi_square, limit};

const DRAWS: usize = 200_000;

/// Six offers, the best first: those of a pair are of one category.
const KEYS: [f64; 6] = [4.0, 3.5, 3.0, 2.0, 1.5, 0.5];

fn softmax(temperature: f64) -> Exploration {
    Exploration { method: Method::Softmax { temperature } }
}

fn epsilon(epsilon: f64) -> Exploration {
    Exploration { method: Method::Epsilon { epsilon } }
}

fn candidates(keys: &[f64]) -> Vec<Candidate> {
    let one =
        |(index, key): (usize, &f64)| Candidate { key: *key, offer: OfferKey::of(&format!("offer_{index}")) };
    keys.iter().enumerate().map(one).collect()
}

/// A decision as servers number them: a time, then a count.
fn decision(number: usize) -> Seed {
    Seed::of_decision(0x0193_8e2f_7c00_7000_8000_0000_0000_0000 + number as u128)
}

/// The limits of a slate.
#[derive(Debug, Clone, Default)]
struct Rules {
    /// Candidates that are not shown beside each other.
    conflicts: Vec<(usize, usize)>,
    /// The most of a category; two neighbours are one.
    most_of_category: Option<usize>,
    /// Candidates that never fit.
    excluded: Vec<usize>,
    /// Candidates whose cap is used up: they cannot be shown once chosen.
    used_up: Vec<usize>,
}

impl Rules {
    fn fits(&self, shown: &[usize], candidate: usize) -> bool {
        let conflicts = |other: &usize| {
            self.conflicts.contains(&(candidate, *other)) || self.conflicts.contains(&(*other, candidate))
        };
        let of_category = shown.iter().filter(|other| *other / 2 == candidate / 2).count();
        !self.excluded.contains(&candidate)
            && !shown.iter().any(conflicts)
            && self.most_of_category.is_none_or(|most| of_category < most)
    }
}

/// What happened to a slate: each candidate that was chosen, and whether it was shown.
struct Rig<'a> {
    rules: &'a Rules,
    shown: Vec<usize>,
    events: Vec<(usize, bool)>,
}

impl<'a> Rig<'a> {
    fn new(rules: &'a Rules) -> Self {
        Self { rules, shown: Vec::new(), events: Vec::new() }
    }
}

impl Slate for Rig<'_> {
    fn fits(&mut self, candidate: usize) -> bool {
        self.rules.fits(&self.shown, candidate)
    }

    fn show(&mut self, candidate: usize) -> bool {
        let is_shown = !self.rules.used_up.contains(&candidate);
        self.events.push((candidate, is_shown));
        if is_shown {
            self.shown.push(candidate);
        }
        is_shown
    }
}

/// The probability of each candidate, worked out as the documentation says it.
fn odds(exploration: Exploration, keys: &[f64], remaining: &[usize]) -> Vec<f64> {
    match exploration.method {
        Method::Greedy => remaining.iter().map(|one| f64::from(u8::from(*one == remaining[0]))).collect(),
        Method::Epsilon { epsilon } => {
            let any = epsilon / remaining.len() as f64;
            remaining.iter().map(|one| if *one == remaining[0] { 1.0 - epsilon + any } else { any }).collect()
        }
        Method::Softmax { temperature } => {
            let best = keys[remaining[0]];
            let weights: Vec<f64> =
                remaining.iter().map(|one| ((keys[*one] - best) / temperature).exp()).collect();
            let sum: f64 = weights.iter().sum();
            weights.iter().map(|weight| weight / sum).collect()
        }
    }
}

/// What can happen, each with the probability of all of it, and with the choices that it must log.
type Outcomes = BTreeMap<Vec<(usize, bool)>, (f64, Vec<Choice>)>;

fn enumerate(exploration: Exploration, keys: &[f64], rules: &Rules, count: usize) -> Outcomes {
    let mut outcomes = Outcomes::new();
    let mut open = vec![(Vec::new(), 1.0, Vec::new())];
    while let Some((events, probability, choices)) = open.pop() {
        let shown: Vec<usize> =
            events.iter().filter(|(_, shown)| *shown).map(|(candidate, _)| *candidate).collect();
        let gone = |candidate: &usize| events.iter().any(|(chosen, _)| chosen == candidate);
        let remaining: Vec<usize> =
            (0..keys.len()).filter(|one| !gone(one) && rules.fits(&shown, *one)).collect();
        if shown.len() == count || remaining.is_empty() {
            outcomes.insert(events, (probability, choices));
            continue;
        }
        for (candidate, odds) in remaining.iter().zip(odds(exploration, keys, &remaining)) {
            let is_shown = !rules.used_up.contains(candidate);
            let mut events = events.clone();
            let conditional = events.iter().any(|(_, shown)| !shown);
            events.push((*candidate, is_shown));
            let mut choices = choices.clone();
            if is_shown {
                choices.push(Choice { candidate: *candidate, probability: odds, conditional });
            }
            if odds > 0.0 {
                open.push((events, probability * odds, choices));
            }
        }
    }
    outcomes
}

/// Compares many decisions with the enumeration: what they log, exactly; how often each happens, by χ².
fn check(exploration: Exploration, rules: &Rules, count: usize) {
    check_keys(&KEYS, exploration, rules, count);
}

/// The same for other keys, the best first.
fn check_keys(keys: &[f64], exploration: Exploration, rules: &Rules, count: usize) {
    let candidates = candidates(keys);
    let outcomes = enumerate(exploration, keys, rules, count);
    let total: f64 = outcomes.values().map(|(probability, _)| probability).sum();
    assert!((total - 1.0).abs() < 1e-12, "{total}");
    let mut counts: BTreeMap<Vec<(usize, bool)>, usize> = BTreeMap::new();
    let (mut scratch, mut choices) = (Scratch::default(), Vec::new());
    for number in 0..DRAWS {
        let mut rig = Rig::new(rules);
        exploration.slate(decision(number), &candidates, count, &mut rig, &mut scratch, &mut choices);
        let (_, logged) = outcomes.get(&rig.events).unwrap_or_else(|| panic!("impossible: {:?}", rig.events));
        assert_eq!(choices.len(), logged.len());
        for (choice, expected) in choices.iter().zip(logged) {
            assert_eq!((choice.candidate, choice.conditional), (expected.candidate, expected.conditional));
            assert!(
                (choice.probability / expected.probability - 1.0).abs() < 1e-12,
                "{choice:?} {expected:?}"
            );
        }
        *counts.entry(rig.events).or_default() += 1;
    }
    // What is expected fewer than ten times counts as one.
    let (mut observed, mut expected) = (vec![0], vec![0.0]);
    for (events, (probability, _)) in &outcomes {
        let (count, often) = (counts.get(events).copied().unwrap_or(0), probability * DRAWS as f64);
        if often < 10.0 {
            (observed[0], expected[0]) = (observed[0] + count, expected[0] + often);
        } else {
            observed.push(count);
            expected.push(often);
        }
    }
    if expected[0] < 10.0 {
        assert!(observed[0] < 40, "{} instead of {}", observed[0], expected[0]);
        (observed, expected) = (observed.split_off(1), expected.split_off(1));
    }
    if observed.len() > 1 {
        let statistic = chi_square(&observed, &expected);
        let limit = limit(observed.len() - 1);
        assert!(statistic < limit, "{exploration:?} {rules:?}: χ² {statistic} above {limit}");
    }
}

fn all_rules() -> Vec<Rules> {
    let none = Rules::default();
    vec![
        none.clone(),
        Rules { conflicts: vec![(0, 2), (1, 4), (3, 5)], ..none.clone() },
        Rules { most_of_category: Some(1), ..none.clone() },
        Rules { excluded: vec![0, 3], ..none.clone() },
        Rules { used_up: vec![1, 2], ..none.clone() },
        Rules { conflicts: vec![(0, 4)], most_of_category: Some(1), excluded: vec![5], used_up: vec![2] },
    ]
}

#[test]
fn softmax_shows_offers_as_often_as_it_logs() {
    for rules in all_rules() {
        check(softmax(1.0), &rules, 3);
    }
    check(softmax(5.0), &Rules::default(), 1);
    check(softmax(0.3), &Rules::default(), 2);
}

#[test]
fn keys_of_all_sizes_are_shown_as_often_as_softmax_logs() {
    // Noise of about 1 would be lost in the rounding of these keys.
    for keys in [
        [1e17, 1e17, 1e17, 0.0],
        [1e17, 2.0, 1.0, 0.0],
        [0.0, -1e17, -1e17, -1e17],
        [1e300, 1e300, -1e300, -1e300],
    ] {
        check_keys(&keys, softmax(1.0), &Rules::default(), 3);
    }
    check_keys(&[1e12, 1e12, 1e12], softmax(1e-6), &Rules::default(), 2);
}

#[test]
fn epsilon_shows_offers_as_often_as_it_logs() {
    for rules in all_rules() {
        check(epsilon(0.2), &rules, 3);
    }
    check(epsilon(1.0), &Rules::default(), 2);
}

#[test]
fn without_exploration_the_best_that_fits_is_shown() {
    for rules in all_rules() {
        check(Exploration::default(), &rules, 3);
    }
    assert!(!Exploration::default().is_on() && softmax(1.0).is_on() && epsilon(0.1).is_on());
}

#[test]
fn all_offers_that_fit_are_shown_where_there_is_room() {
    let candidates = candidates(&KEYS);
    let rules = Rules { conflicts: vec![(0, 1)], ..Rules::default() };
    let (mut scratch, mut choices) = (Scratch::default(), Vec::new());
    for exploration in [softmax(1.0), epsilon(0.5), Exploration::default()] {
        let mut rig = Rig::new(&rules);
        exploration.slate(decision(1), &candidates, 100, &mut rig, &mut scratch, &mut choices);
        assert_eq!(choices.len(), 5);
        // The last one has no rival.
        assert!((choices[4].probability - 1.0).abs() < f64::EPSILON);
        exploration.slate(decision(1), &[], 3, &mut Rig::new(&rules), &mut scratch, &mut choices);
        assert_eq!(choices, []);
    }
}

#[test]
fn each_bit_of_a_decision_id_changes_each_bit_of_its_seed_half_of_the_time() {
    const SAMPLES: usize = 2_048;
    for bit in 0..128 {
        let mut flips = [0_usize; 64];
        for number in 0..SAMPLES {
            let id = 0x0193_8e2f_7c00_7000_8000_0000_0000_0000_u128 + number as u128;
            let changed = Seed::of_decision(id).0 ^ Seed::of_decision(id ^ 1 << bit).0;
            for (output, flips) in flips.iter_mut().enumerate() {
                *flips += usize::from(changed >> output & 1 == 1);
            }
        }
        for (output, flips) in flips.iter().enumerate() {
            let share = *flips as f64 / SAMPLES as f64;
            assert!((share - 0.5).abs() < 5.5 * 0.5 / (SAMPLES as f64).sqrt(), "{bit} {output} {share}");
        }
    }
}

proptest! {
    #[test]
    fn a_slate_is_sound_for_all_keys(
        keys in prop::collection::vec(prop::num::f64::NORMAL.prop_map(|key| key.clamp(-1e12, 1e12)), 0..20),
        temperature in 1e-6..1e6_f64,
        share in 1e-9..=1.0_f64,
        count in 0..8_usize,
        id: u128,
        conflict in (0..20_usize, 0..20_usize),
        used_up in prop::collection::vec(0..20_usize, 0..3),
    ) {
        let mut keys = keys;
        keys.sort_by(|left, right| right.total_cmp(left));
        let candidates = candidates(&keys);
        let rules = Rules { conflicts: vec![conflict], used_up, ..Rules::default() };
        for exploration in [softmax(temperature), epsilon(share), Exploration::default()] {
            let (mut scratch, mut choices) = (Scratch::default(), Vec::new());
            let mut rig = Rig::new(&rules);
            exploration.slate(Seed::of_decision(id), &candidates, count, &mut rig, &mut scratch, &mut choices);
            prop_assert!(choices.len() <= count);
            let shown: Vec<usize> = choices.iter().map(|choice| choice.candidate).collect();
            prop_assert_eq!(&shown, &rig.shown);
            for (slot, candidate) in shown.iter().enumerate() {
                prop_assert!(rules.fits(&shown[..slot], *candidate) && !shown[..slot].contains(candidate));
            }
            prop_assert!(choices.iter().all(|choice| choice.probability > 0.0 && choice.probability <= 1.0));
            // The same decision, decided again with memory that was used before.
            let before = choices.clone();
            let mut again = Rig::new(&rules);
            exploration.slate(Seed::of_decision(id), &candidates, count, &mut again, &mut scratch, &mut choices);
            prop_assert_eq!(before, choices);
        }
    }

    #[test]
    fn the_probabilities_of_a_slot_sum_to_one(
        keys in prop::collection::vec(-1e3..1e3_f64, 1..20),
        temperature in 0.1..1e3_f64,
        share in 1e-9..=1.0_f64,
    ) {
        let mut keys = keys;
        keys.sort_by(|left, right| right.total_cmp(left));
        let candidates = candidates(&keys);
        let all: Vec<usize> = (0..keys.len()).collect();
        for exploration in [softmax(temperature), epsilon(share)] {
            let sum: f64 = all.iter().map(|place| exploration.probability(&candidates, &all, *place)).sum();
            prop_assert!((sum - 1.0).abs() < 1e-12, "{sum}");
        }
    }

    #[test]
    fn the_order_of_the_candidates_has_no_effect_on_softmax(
        order in Just(vec![0_usize, 1, 2, 3, 4, 5]).prop_shuffle(),
        id: u128,
        count in any::<prop::sample::Index>(),
    ) {
        let sorted = candidates(&KEYS);
        let shuffled: Vec<Candidate> = order.iter().map(|index| sorted[*index]).collect();
        let count = count.index(6) + 1;
        let (mut scratch, mut choices) = (Scratch::default(), Vec::new());
        let rules = Rules::default();
        let mut keys = |candidates: &[Candidate]| {
            softmax(1.0).slate(
                Seed::of_decision(id), candidates, count, &mut Rig::new(&rules), &mut scratch, &mut choices,
            );
            choices.iter().map(|choice| candidates[choice.candidate].key).collect::<Vec<_>>()
        };
        prop_assert_eq!(keys(&sorted), keys(&shuffled));
    }
}
