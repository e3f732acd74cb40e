//! Logged probabilities are worth having: they tell what another policy would have earned.
//!
//! Slates have conflicts and a category limit. Of 200 simulations, a right interval of 95 % covers fewer than 93 % or more
//! than 97 % one time in five. So `cargo test` makes 1,000, and `make stats` 5,000, which a wrong one cannot pass by luck.

use super::{Candidate, Exploration, Rig, Rules, Scratch, Seed, candidates, enumerate, epsilon, softmax};

/// Decisions of a simulation.
const DECISIONS: usize = 2_000;

/// Two slots each.
const SLOTS: usize = 2;

/// The keys of five offers for each of four kinds of customer, best first.
const KINDS: [[f64; 5]; 4] = [
    [2.0, 1.6, 1.2, 0.8, 0.4],
    [1.5, 1.4, 1.3, 0.2, 0.1],
    [3.0, 1.0, 0.9, 0.8, 0.7],
    [0.9, 0.7, 0.5, 0.3, 0.1],
];

/// The share of customers of each kind that take each offer: not in the order of the keys.
const RATES: [[f64; 5]; 4] = [
    [0.10, 0.30, 0.20, 0.05, 0.40],
    [0.20, 0.10, 0.30, 0.30, 0.10],
    [0.30, 0.25, 0.05, 0.20, 0.10],
    [0.05, 0.10, 0.15, 0.20, 0.50],
];

/// Two offers conflict, and two neighbours are of one category, of which one is shown.
fn rules() -> Rules {
    Rules { conflicts: vec![(0, 2)], most_of_category: Some(1), ..Rules::default() }
}

/// What a policy earns per decision, worked out from the probabilities of all slates.
fn value(policy: Exploration) -> f64 {
    let of_kind = |(keys, rates): (&[f64; 5], &[f64; 5])| {
        let slates = enumerate(policy, keys, &rules(), SLOTS);
        let earned = |events: &[(usize, bool)]| events.iter().map(|(offer, _)| rates[*offer]).sum::<f64>();
        slates.iter().map(|(events, (probability, _))| probability * earned(events)).sum::<f64>()
    };
    KINDS.iter().zip(&RATES).map(of_kind).sum::<f64>() / KINDS.len() as f64
}

/// How much more likely the other policy would have been to show these offers.
fn weight(other: Exploration, candidates: &[Candidate], shown: &[usize], logged: f64) -> f64 {
    let rules = rules();
    let mut probability = 1.0;
    for (slot, offer) in shown.iter().enumerate() {
        let before = &shown[..slot];
        let remaining: Vec<usize> =
            (0..candidates.len()).filter(|one| !before.contains(one) && rules.fits(before, *one)).collect();
        let place = remaining.iter().position(|one| one == offer).unwrap();
        probability *= other.probability(candidates, &remaining, place);
    }
    probability / logged
}

/// The estimate of a policy's value from the decisions of another one, and its standard error.
fn estimate(logging: Exploration, other: Exploration, repetition: usize) -> (f64, f64) {
    let kinds = KINDS.map(|keys| candidates(&keys));
    let (mut scratch, mut choices) = (Scratch::default(), Vec::new());
    let (mut sum, mut squares) = (0.0, 0.0);
    for number in 0..DECISIONS {
        let seed = Seed::of_decision(((repetition as u128) << 64) + number as u128);
        // Chance outside of the server: the customer, and what they take.
        let world = Seed::of_bytes(format!("{repetition} {number}").as_bytes());
        let kind = (world.uniform(0) * KINDS.len() as f64) as usize;
        let rules = rules();
        let mut rig = Rig::new(&rules);
        logging.slate(seed, &kinds[kind], SLOTS, &mut rig, &mut scratch, &mut choices);
        let taken = |offer: &usize| world.uniform(1 + *offer as u64) < RATES[kind][*offer];
        let earned = rig.shown.iter().filter(|offer| taken(offer)).count() as f64;
        let logged: f64 = choices.iter().map(|choice| choice.probability).product();
        let weighted = weight(other, &kinds[kind], &rig.shown, logged) * earned;
        (sum, squares) = (sum + weighted, squares + weighted * weighted);
    }
    let count = DECISIONS as f64;
    let mean = sum / count;
    (mean, ((squares / count - mean * mean) / (count - 1.0)).sqrt())
}

#[test]
fn inverse_propensity_weighting_recovers_the_value_of_another_policy() {
    let repetitions = std::env::var("PROFFER_TEST_REPETITIONS").map_or(1_000, |text| text.parse().unwrap());
    for (logging, other) in
        [(softmax(1.0), softmax(0.5)), (softmax(2.0), epsilon(0.1)), (epsilon(0.5), softmax(1.0))]
    {
        let truth = value(other);
        // Another policy earns something else, or nothing would be shown.
        assert!((value(logging) / truth - 1.0).abs() > 0.01, "{}, {truth}", value(logging));
        let (mut covered, mut error, mut variance) = (0, 0.0, 0.0);
        for repetition in 0..repetitions {
            let (mean, deviation) = estimate(logging, other, repetition);
            covered += usize::from((mean - truth).abs() <= 1.959_964 * deviation);
            (error, variance) = (error + mean - truth, variance + deviation * deviation);
        }
        let coverage = covered as f64 / repetitions as f64;
        let bias = error / variance.sqrt();
        eprintln!(
            "{logging:?} → {other:?}: {truth:.4}, bias {bias:+.2} standard errors, coverage {coverage:.3}"
        );
        assert!((0.93..=0.97).contains(&coverage), "{logging:?} → {other:?}: {coverage}");
        assert!(bias.abs() < 4.0, "{logging:?} → {other:?}: {bias}");
    }
}
