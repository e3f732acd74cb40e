//! Reproducible random draws: resamples, samples and uniform numbers from seeded generators.
//!
//! Each parallel task has its own generator, made from the seed, the purpose and the number of the task.
//! So the draws do not depend on the number of threads or their order.

use rand_xoshiro::Xoshiro256Plus;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};

/// The purpose of draws; each has independent draws under one seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Rows of a bootstrap resample.
    Resample = 1,
    /// k-means on a bootstrap resample.
    Refit = 2,
    /// Reference sets of the gap statistic.
    Reference = 3,
    /// k-means on a reference set.
    ReferenceFit = 4,
    /// The sample of the gap statistic.
    GapRows = 5,
    /// The sample for comparisons with other methods.
    Comparison = 6,
    /// Starts of k-means.
    Restart = 8,
    /// Samples and batches of mini-batch k-means.
    MiniBatch = 9,
    /// The sample for silhouettes.
    SilhouetteRows = 10,
    /// The Gaussian mixture.
    Mixture = 7,
}

/// The seed of task `index` for `purpose`.
///
/// Source: the finaliser of `SplitMix64`, Steele, Lea & Flood, "Fast splittable pseudorandom number generators" (2014).
pub(super) fn seed(seed: u64, purpose: Purpose, index: u64) -> u64 {
    mixed(mixed(mixed(seed) ^ purpose as u64) ^ index)
}

fn mixed(state: u64) -> u64 {
    let mut state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    state = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    state ^ (state >> 31)
}

/// The generator of task `index` for `purpose`.
pub(super) fn generator(seed_of_all: u64, purpose: Purpose, index: u64) -> Xoshiro256Plus {
    Xoshiro256Plus::seed_from_u64(seed(seed_of_all, purpose, index))
}

/// A uniform number in `0..bound`; `bound` is at least 1.
///
/// Source: Lemire, "Fast random integer generation in an interval" (2019).
pub(super) fn below(random: &mut Xoshiro256Plus, bound: usize) -> usize {
    let bound = bound as u64;
    loop {
        let product = u128::from(random.next_u64()) * u128::from(bound);
        // Rejects the few draws that would make some numbers more likely; the low word shows which.
        if product as u64 >= bound.wrapping_neg() % bound {
            return (product >> 64) as usize;
        }
    }
}

/// A uniform number in `0.0..1.0`, a multiple of 2⁻⁵³.
pub(super) fn unit(random: &mut Xoshiro256Plus) -> f64 {
    const STEP: f64 = 1.0 / (1_u64 << 53) as f64;
    (random.next_u64() >> 11) as f64 * STEP
}

/// `draws` of `rows` rows with replacement, in the order of the draws. `rows` is at least 1.
pub(super) fn with_replacement(random: &mut Xoshiro256Plus, rows: usize, draws: usize) -> Vec<usize> {
    (0..draws).map(|_| below(random, rows)).collect()
}

/// `size` of `rows` rows without replacement, ascending; all rows if there are no more. Cost: `rows` draws.
///
/// Source: Knuth, The Art of Computer Programming 2, 3.4.2, algorithm S.
pub(super) fn without_replacement(random: &mut Xoshiro256Plus, rows: usize, size: usize) -> Vec<usize> {
    if size >= rows {
        return (0..rows).collect();
    }
    let mut taken = Vec::with_capacity(size);
    for row in 0..rows {
        if below(random, rows - row) < size - taken.len() {
            taken.push(row);
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_purpose_and_task_has_its_own_seed() {
        let mut seeds: Vec<u64> = (0..100)
            .flat_map(|index| [Purpose::Resample, Purpose::Refit].map(|purpose| seed(42, purpose, index)))
            .collect();
        seeds.sort_unstable();
        seeds.dedup();
        assert_eq!(seeds.len(), 200);
    }

    #[test]
    fn rows_are_drawn_about_equally_often() {
        let mut random = generator(7, Purpose::Resample, 0);
        let mut counts = [0_u32; 5];
        for row in with_replacement(&mut random, 5, 50_000) {
            counts[row] += 1;
        }
        // 450 is about five standard deviations of a count.
        assert!(counts.iter().all(|count| count.abs_diff(10_000) < 450), "{counts:?}");
        let mut counts = [0_u32; 5];
        for _ in 0..25_000 {
            for row in without_replacement(&mut random, 5, 2) {
                counts[row] += 1;
            }
        }
        assert!(counts.iter().all(|count| count.abs_diff(10_000) < 450), "{counts:?}");
    }

    proptest! {
        #[test]
        fn a_sample_has_its_size_and_no_row_twice(seed in any::<u64>(), rows in 1_usize..200, size in 0_usize..220) {
            let sample = without_replacement(&mut generator(seed, Purpose::Comparison, 0), rows, size);
            prop_assert_eq!(sample.len(), size.min(rows));
            prop_assert!(sample.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(sample.iter().all(|row| *row < rows));
        }

        #[test]
        fn uniform_numbers_stay_below_one(seed in any::<u64>()) {
            let number = unit(&mut generator(seed, Purpose::Reference, 0));
            prop_assert!((0.0..1.0).contains(&number));
        }
    }
}
