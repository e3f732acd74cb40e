//! Fifty experiments, against what other programs computed: `tests/golden/experiment_statistics.py` says which, and makes
//! `oracles.json`.

use proffer_statistics::{Difference, Estimate, Inference, Measure, Sums, Unit, mismatch, theta};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
struct Experiment {
    alpha: f64,
    planned: u64,
    sizes: [u64; 2],
    lift: f64,
    offset: u64,
    theta: f64,
    mean: Found,
    adjusted: Found,
    ratio: Found,
    weights: [f64; 2],
    /// χ² and its p.
    chi_squared: [f64; 2],
}

#[derive(Debug, Deserialize)]
struct Found {
    absolute: Part,
    relative: Part,
}

/// A difference; the lower limit, the upper limit and p.
#[derive(Debug, Deserialize)]
struct Part {
    delta: f64,
    fixed: [f64; 3],
    sequence: [f64; 3],
}

fn uniform(number: u64) -> f64 {
    let x = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((x ^ (x >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

/// The sums of an arm: of values with what was done before, and of hits over tries.
fn arm(offset: u64, size: u64, lift: f64) -> [Sums; 2] {
    let mut sums = [Sums::default(); 2];
    for at in 0..size {
        let base = offset + 4 * at;
        let (before, tries) = (10.0 * uniform(base), 1 + (5.0 * uniform(base + 2)) as u64);
        let is_hit = |one: &u64| uniform(base + 3 + 1_000_003 * (one + 1)) < 0.2 + lift / 20.0;
        let hits = (0..tries).filter(is_hit).count() as f64;
        let value = 0.8 * before + 3.0 * uniform(base + 1) + lift;
        assert!(sums[0].add(Unit { part: value, size: 1.0, before }));
        assert!(sums[1].add(Unit { part: hits, size: tries as f64, before: 0.0 }));
    }
    sums
}

#[track_caller]
fn near(found: f64, expected: f64, what: &str) {
    let is_near = (found - expected).abs() <= 1e-6 * expected.abs().max(1e-6);
    assert!(is_near, "{what}: {found}, not {expected}");
}

fn compare(found: &Difference, expected: &Part, experiment: &Experiment, what: &str) {
    near(found.delta, expected.delta, what);
    let fixed = found.fixed(experiment.alpha);
    let sequence = found.sequence(experiment.alpha, experiment.planned);
    for (Inference { interval, p }, [low, high, of_p], look) in
        [(fixed, expected.fixed, "fixed"), (sequence, expected.sequence, "sequence")]
    {
        near(interval.low, low, &format!("{what}, {look}, lower limit"));
        near(interval.high, high, &format!("{what}, {look}, upper limit"));
        near(p, of_p, &format!("{what}, {look}, p"));
    }
}

#[test]
fn fifty_experiments_are_as_other_programs_have_them() {
    let experiments: Vec<Experiment> = serde_json::from_str(include_str!("oracles.json")).unwrap();
    assert_eq!(experiments.len(), 50);
    for (number, experiment) in experiments.iter().enumerate() {
        let Experiment { offset, sizes, lift, .. } = *experiment;
        let [control, control_hits] = arm(offset, sizes[0], 0.0);
        let [challenger, challenger_hits] = arm(offset + 10_000_001, sizes[1], lift);
        let plain = [&control, &challenger].map(|sums| sums.estimate(Measure::Mean).unwrap());
        let theta = theta(&[&control, &challenger]).unwrap();
        near(theta, experiment.theta, &format!("θ of {number}"));
        let mut all = control;
        all.merge(&challenger);
        let adjusted =
            [&control, &challenger].map(|sums| sums.estimate_adjusted(theta, all.mean_before()).unwrap());
        let ratios = [&control_hits, &challenger_hits].map(|sums| sums.estimate(Measure::Ratio).unwrap());
        let values = |arms: &[Estimate; 2]| [arms[0].value, arms[1].value];
        // A quotient of adjusted values is by the values that are not adjusted.
        for (name, arms, of, expected) in [
            ("mean", &plain, values(&plain), &experiment.mean),
            ("CUPED", &adjusted, values(&plain), &experiment.adjusted),
            ("ratio", &ratios, values(&ratios), &experiment.ratio),
        ] {
            let absolute = Difference::of(&arms[0], &arms[1]).unwrap();
            compare(&absolute, &expected.absolute, experiment, &format!("{name} of {number}"));
            let relative = Difference::relative(&arms[0], &arms[1], of).unwrap();
            compare(&relative, &expected.relative, experiment, &format!("relative {name} of {number}"));
        }
        let found = mismatch(&sizes, &experiment.weights).unwrap();
        near(found.chi_squared, experiment.chi_squared[0], "χ²");
        near(found.p, experiment.chi_squared[1], "p of χ²");
    }
}

#[test]
fn shards_add_up_to_the_whole() {
    let whole = arm(1, 1_000, 0.1)[0];
    let mut merged = Sums::default();
    for shard in 0..4 {
        merged.merge(&arm(1 + 4 * 250 * shard, 250, 0.1)[0]);
    }
    let [one, other] = [whole, merged].map(|sums| sums.estimate(Measure::Mean).unwrap());
    assert_eq!(one.n, other.n);
    near(one.value, other.value, "value");
    near(one.variance, other.variance, "variance");
}
