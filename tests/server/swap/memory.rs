//! The server's memory over the swaps, and how much of it they leave behind.

use super::machine::Memory;

/// The server's memory after a number of swaps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub swaps: usize,
    pub memory: Memory,
    /// What the server says its history of customers takes, in MB. It grows with calls, up to a bound for each customer.
    pub history: f64,
}

impl Sample {
    /// Resident memory without the history, in MB.
    pub(super) fn rest(&self) -> f64 {
        self.memory.resident - self.history
    }
}

/// The swaps that [`Trend::growth`] is for.
pub(super) const SWAPS: f64 = 1000.0;

/// How memory without the history changes with swaps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Trend {
    /// In MB per swap.
    pub slope: f64,
    /// At the first of the samples, in MB.
    pub first: f64,
    /// At the last one.
    pub last: f64,
}

impl Trend {
    /// The line of Theil and Sen through the later half of the samples: the median of all slopes, and the median of
    /// what is left. A sample that is taken while a file is sealed moves it little. In the earlier half, each thread
    /// gets what it keeps for its next allocations. `None` for fewer than three samples.
    pub(super) fn of(samples: &[Sample]) -> Option<Self> {
        let samples = &samples[samples.len() / 2..];
        let mut slopes = Vec::new();
        for (number, one) in samples.iter().enumerate() {
            let others = samples[number + 1..].iter().filter(|other| other.swaps > one.swaps);
            slopes.extend(others.map(|other| (other.rest() - one.rest()) / (other.swaps - one.swaps) as f64));
        }
        let [first, .., last] = samples else { return None };
        let slope = median(slopes)?;
        let at_zero = median(samples.iter().map(|one| one.rest() - slope * one.swaps as f64).collect())?;
        let at = |sample: &Sample| at_zero + slope * sample.swaps as f64;
        (samples.len() > 2).then(|| Self { slope, first: at(first), last: at(last) })
    }

    /// By which factor [`SWAPS`] more swaps raise what is used at the first of the samples.
    pub(super) fn growth(self) -> f64 {
        1.0 + self.slope * SWAPS / self.first
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(rest: impl Fn(usize) -> f64) -> Vec<Sample> {
        let sample = |number: usize| {
            let (swaps, history) = (10 + 25 * number, number as f64);
            let resident = rest(swaps) + history;
            Sample { swaps, memory: Memory { resident, anonymous: resident }, history }
        };
        (0..40).map(sample).collect()
    }

    #[test]
    fn what_each_swap_leaves_is_found_beside_noise_and_history() {
        let noise = |swaps: usize| if swaps % 4 == 2 { 60.0 } else { (swaps % 7) as f64 };
        let warmed_up = |swaps: usize| 100.0 + (swaps as f64 / 4.0).min(100.0);
        let flat = Trend::of(&samples(|swaps| warmed_up(swaps) + noise(swaps))).unwrap();
        assert!((0.95..1.05).contains(&flat.growth()), "{flat:?}");
        let leak = Trend::of(&samples(|swaps| 100.0 + 0.03 * swaps as f64 + noise(swaps))).unwrap();
        assert!(leak.growth() > 1.2, "{leak:?}");
        assert_eq!(Trend::of(&samples(|_| 1.0)[..4]), None);
    }
}
