//! A sample has its share, whatever the ids, and each shadow has its own.

use super::Shadow;
use crate::Changes;
use crate::tests::{assert_independent, chi_square, limit};

const DECISIONS: usize = 200_000;

fn shadow(id: &str, sample: f64) -> Shadow {
    Shadow::new(id, Vec::new(), sample, Changes::default(), 1)
}

/// Ids as a server makes them: milliseconds, a version, and bits of which few change from one to the next.
fn decision(number: usize) -> u128 {
    let millis = 1_790_000_000_000_u128 + number as u128 / 40;
    millis << 80 | 0x7 << 76 | 0b10 << 62 | number as u128
}

#[test]
fn a_sample_has_its_share_of_the_decisions() {
    for share in [0.001, 0.01, 0.1, 0.5, 0.9] {
        let shadow = shadow("propensity_v8", share);
        let counted: fn(usize) -> u128 = |number| number as u128;
        for ids in [decision as fn(usize) -> u128, counted] {
            let count = (0..DECISIONS).filter(|number| shadow.samples(ids(*number))).count();
            let expected = share * DECISIONS as f64;
            let all = [count, DECISIONS - count];
            let statistic = chi_square(&all, &[expected, DECISIONS as f64 - expected]);
            assert!(statistic < limit(1), "{share}: {count}");
        }
    }
}

#[test]
fn a_sample_is_spread_evenly_over_time() {
    const PARTS: usize = 100;
    let shadow = shadow("propensity_v8", 0.1);
    let mut counts = vec![0; PARTS];
    for number in (0..DECISIONS).filter(|number| shadow.samples(decision(*number))) {
        counts[number * PARTS / DECISIONS] += 1;
    }
    let total: usize = counts.iter().sum();
    let statistic = chi_square(&counts, &[total as f64 / PARTS as f64; PARTS]);
    assert!(statistic < limit(PARTS - 1), "{statistic}");
}

#[test]
fn a_whole_sample_leaves_nothing_out_and_a_larger_one_keeps_a_smaller_one() {
    let (all, some, few) = (shadow("s", 1.0), shadow("s", 0.3), shadow("s", 0.03));
    for id in (0..DECISIONS).map(decision).chain([0, u128::MAX]) {
        assert!(all.samples(id));
        assert!(some.samples(id) || !few.samples(id));
    }
}

#[test]
fn shadows_sample_independently_of_each_other() {
    let (one, other) = (shadow("one", 0.2), shadow("other", 0.4));
    let mut table = [[0; 2]; 2];
    for id in (0..DECISIONS).map(decision) {
        table[usize::from(one.samples(id))][usize::from(other.samples(id))] += 1;
    }
    assert_independent(&table, "two shadows");
}

#[test]
fn a_sample_never_changes() {
    // Every release and every version of the server must sample what a replay samples: computed by another program.
    let sampled = |id: &str| -> Vec<usize> {
        let shadow = shadow(id, 0.1);
        (0..60).filter(|number| shadow.samples(decision(*number))).collect()
    };
    assert_eq!(sampled("propensity_v8"), [19, 24, 41, 51]);
    assert_eq!(sampled("propensity_v9"), [5, 17, 29, 57]);
}
