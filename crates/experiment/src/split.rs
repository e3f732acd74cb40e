//! Customers split among variants: a scheme, a seed, a coverage and weights, compiled.

#[cfg(test)]
mod tests;

use std::ops::Range;

use md5::Md5;

use crate::Scheme;
use crate::hash::{Fnv, Murmur, Subject, UNITS, md5, md5_after};

/// By how much weights may miss 1: less than any weight that a person writes, more than rounding.
const TOLERANCE: f64 = 1e-9;

/// The most variants of an experiment.
pub(crate) const MOST_VARIANTS: usize = 20;

/// What Unleash hashes its variants with, so that they do not depend on who takes part.
const UNLEASH_VARIANTS: u32 = 86_028_157;

/// The bucket of those who do not take part: no range has it.
pub(crate) const OUTSIDE: u64 = u64::MAX;

/// How customers are split among the variants of an experiment. Drawing takes no memory.
#[derive(Debug, Clone)]
pub struct Split {
    draw: Draw,
    /// The buckets of each variant.
    ranges: Box<[Buckets]>,
}

/// The buckets of a variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Buckets {
    start: u64,
    count: u64,
}

impl Buckets {
    /// Also false for [`OUTSIDE`]. One comparison: a bucket below the start wraps around.
    fn has(self, bucket: u64) -> bool {
        bucket.wrapping_sub(self.start) < self.count
    }
}

impl From<Range<u64>> for Buckets {
    fn from(range: Range<u64>) -> Self {
        Self { start: range.start, count: range.end.saturating_sub(range.start) }
    }
}

/// A seeded hash.
#[derive(Debug, Clone)]
enum Draw {
    GrowthBook(Fnv),
    GrowthBook1(Box<str>),
    Unleash {
        coverage: Murmur,
        /// Buckets of 100 that take part.
        covered: u32,
        variant: Murmur,
    },
    Flagd(Murmur),
    /// Boxed: it is the largest by far.
    Eppo(Box<Md5>),
}

/// Why there is no such split.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum SplitError {
    /// There are too many.
    #[error("{count} variants; at most {MOST_VARIANTS} are allowed")]
    Variants {
        /// How many there are.
        count: usize,
    },
    /// A weight is not a share.
    #[error("a weight must be 0 to 1, not {weight}")]
    Weight {
        /// The index of its variant.
        variant: usize,
        /// The weight.
        weight: f64,
    },
    /// The weights do not sum to 1.
    #[error("the weights sum to {sum}, and must sum to 1")]
    Sum {
        /// Their sum.
        sum: f64,
    },
    /// The coverage is not a share.
    #[error("coverage must be 0 to 1, not {coverage}")]
    Coverage {
        /// The coverage.
        coverage: f64,
    },
    /// Unleash has no such coverage.
    #[error("with scheme unleash, coverage must be a whole percentage, such as 0.05, not {coverage}")]
    Percentage {
        /// The coverage.
        coverage: f64,
    },
    /// Unleash has no such weight.
    #[error(
        "with scheme unleash, a weight must be a whole number of thousandths, such as 0.333, not {weight}"
    )]
    Thousandths {
        /// The index of its variant.
        variant: usize,
        /// The weight.
        weight: f64,
    },
}

impl Split {
    /// Splits the share `coverage` of all customers by `weights`, in the order of the variants.
    ///
    /// # Errors
    /// Coverage or a weight is not within 0..=1, the weights do not sum to 1 or are more than 20, or the scheme cannot
    /// express them.
    pub fn new(scheme: Scheme, seed: &str, coverage: f64, weights: &[f64]) -> Result<Self, SplitError> {
        check(scheme, coverage, weights)?;
        let draw = match scheme {
            Scheme::GrowthBook => Draw::GrowthBook(Fnv::after(seed)),
            Scheme::GrowthBook1 => Draw::GrowthBook1(seed.into()),
            Scheme::Unleash => {
                let seeded = |start| Murmur::new(start).text(seed).text(":");
                let covered = (coverage * 100.0).round() as u32;
                Draw::Unleash { coverage: seeded(0), covered, variant: seeded(UNLEASH_VARIANTS) }
            }
            Scheme::Flagd => Draw::Flagd(Murmur::new(0).text(seed)),
            Scheme::Eppo => Draw::Eppo(Box::new(md5_after(&format!("{seed}-")))),
        };
        let buckets = draw.buckets();
        // In Unleash another hash decides who takes part.
        let length = if scheme == Scheme::Unleash { 1.0 } else { coverage };
        let edge = |edge: f64| match scheme {
            Scheme::GrowthBook | Scheme::GrowthBook1 => first_from(edge, buckets),
            Scheme::Unleash | Scheme::Flagd | Scheme::Eppo => exact(edge, buckets),
        };
        let mut start = 0.0;
        let ranges = weights.iter().map(|weight| {
            let range = edge(start)..edge(start + length * weight);
            start += weight;
            range.into()
        });
        Ok(Self { draw, ranges: ranges.collect() })
    }

    /// The variant of a customer; `None` if they are not covered. An empty id is never hashed.
    #[must_use]
    pub fn variant(&self, id: &str) -> Option<usize> {
        let mut room = [0; UNITS];
        if id.is_empty() { None } else { self.variant_of(self.bucket(&Subject::new(id, &mut room))) }
    }

    /// The bucket of a customer, [`OUTSIDE`] if they do not take part.
    fn bucket(&self, subject: &Subject<'_>) -> u64 {
        let mut states = [self.seeded().unwrap_or_default(); 4];
        subject.append_to(&mut states);
        self.bucket_after(states[0], subject)
    }

    /// The state of our own scheme after the seed; `None` for the others.
    pub(crate) fn seeded(&self) -> Option<Fnv> {
        match &self.draw {
            Draw::GrowthBook(seeded) => Some(*seeded),
            Draw::GrowthBook1(_) | Draw::Unleash { .. } | Draw::Flagd(_) | Draw::Eppo(_) => None,
        }
    }

    /// The bucket of a customer, given the state after seed and id; [`OUTSIDE`] if they do not take part. No branch
    /// depends on the customer.
    pub(crate) fn bucket_after(&self, state: Fnv, subject: &Subject<'_>) -> u64 {
        self.draw.bucket(state, subject)
    }

    /// The variant that has a bucket.
    fn variant_of(&self, bucket: u64) -> Option<usize> {
        usize::from(self.number_of(bucket)).checked_sub(1)
    }

    /// The variant that has a bucket, counted from 1; 0 for none. Ranges do not overlap, so that all of them can be looked
    /// at without a branch.
    pub(crate) fn number_of(&self, bucket: u64) -> u8 {
        let numbered = self.ranges.iter().zip(1..);
        numbered.fold(0, |found, (range, number)| if range.has(bucket) { number } else { found })
    }
}

impl Draw {
    fn buckets(&self) -> u64 {
        match self {
            Self::GrowthBook(_) | Self::Eppo(_) => 10_000,
            Self::GrowthBook1(_) | Self::Unleash { .. } => 1_000,
            Self::Flagd(_) => 1 << 32,
        }
    }

    fn bucket(&self, state: Fnv, subject: &Subject<'_>) -> u64 {
        let hash = match self {
            Self::GrowthBook(_) => state.again() % 10_000,
            Self::GrowthBook1(seed) => Fnv::id_then(subject, seed) % 1_000,
            Self::Unleash { coverage, covered, variant } => {
                let bucket = u64::from(variant.of(subject) % 1_000);
                return if coverage.of(subject) % 100 < *covered { bucket } else { OUTSIDE };
            }
            Self::Flagd(seeded) => seeded.of(subject),
            Self::Eppo(seeded) => md5(seeded, subject) % 10_000,
        };
        hash.into()
    }
}

/// The part of a group that an experiment has. It is drawn as GrowthBook draws its namespaces, with 1,000 buckets.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    seed: Box<str>,
    buckets: Buckets,
}

impl Part {
    /// The part `range` of the group, within 0..=1.
    pub(crate) fn new(group: &str, range: [f64; 2]) -> Self {
        let [start, end] = range.map(|edge| first_from(edge, 1_000));
        Self { seed: format!("__{group}").into(), buckets: (start..end).into() }
    }

    /// Whether no customer can be in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.buckets.count == 0
    }

    /// The bucket of a customer, the same for all parts of the group.
    pub(crate) fn bucket(&self, subject: &Subject<'_>) -> u64 {
        u64::from(Fnv::id_then(subject, &self.seed) % 1_000)
    }

    pub(crate) fn has(&self, bucket: u64) -> bool {
        self.buckets.has(bucket)
    }
}

fn check(scheme: Scheme, coverage: f64, weights: &[f64]) -> Result<(), SplitError> {
    if weights.len() > MOST_VARIANTS {
        return Err(SplitError::Variants { count: weights.len() });
    }
    let share = 0.0..=1.0;
    if !share.contains(&coverage) {
        return Err(SplitError::Coverage { coverage });
    }
    let find = |is_wrong: &dyn Fn(f64) -> bool| {
        weights.iter().copied().enumerate().find(|(_, weight)| is_wrong(*weight))
    };
    if let Some((variant, weight)) = find(&|weight| !share.contains(&weight)) {
        return Err(SplitError::Weight { variant, weight });
    }
    let sum: f64 = weights.iter().sum();
    if (sum - 1.0).abs() > TOLERANCE {
        // As written: 0.1 + 0.2 is 0.3.
        return Err(SplitError::Sum { sum: (sum * 1e12).round() / 1e12 });
    }
    let is_whole = |number: f64| (number - number.round()).abs() <= TOLERANCE;
    if scheme == Scheme::Unleash {
        if !is_whole(coverage * 100.0) {
            return Err(SplitError::Percentage { coverage });
        }
        if let Some((variant, weight)) = find(&|weight| !is_whole(weight * 1_000.0)) {
            return Err(SplitError::Thousandths { variant, weight });
        }
    }
    Ok(())
}

/// The first of `buckets` that is not below `edge`. GrowthBook divides a bucket by their number and compares floats, so
/// this does the same once, instead of once per customer.
pub(crate) fn first_from(edge: f64, buckets: u64) -> u64 {
    let guess = (edge * buckets as f64).ceil() as u64;
    let is_below = |bucket: &u64| (*bucket as f64 / buckets as f64) < edge;
    // Rounding moves the guess by less than one bucket.
    let first = (guess.saturating_sub(1)..=guess).find(|bucket| !is_below(bucket));
    first.unwrap_or(guess + 1).min(buckets)
}

/// The first of `buckets` that is not below `edge`, a decimal with nine places: exact where a sum of floats is not.
fn exact(edge: f64, buckets: u64) -> u64 {
    const PLACES: u128 = 1_000_000_000;
    let edge = (edge * PLACES as f64).round() as u128;
    let first = (edge * u128::from(buckets)).div_ceil(PLACES);
    u64::try_from(first).unwrap_or(buckets).min(buckets)
}
