//! Estimates the length of answers to `Rank` from earlier ones: a long answer reserves memory before it is computed.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes per customer before the first answer, by `explain`: nothing, the winners, all.
const UNKNOWN: [usize; 3] = [256, 1 << 10, 4 << 10];

/// The least customers of an answer that is representative of long ones.
const REPRESENTATIVE: usize = 16;

/// Bytes of encoded answers per customer, by `explain`. It takes no lock: of two concurrent updates one may be lost.
#[derive(Debug)]
pub(super) struct Sizes([AtomicUsize; 3]);

impl Default for Sizes {
    fn default() -> Self {
        Self(UNKNOWN.map(AtomicUsize::new))
    }
}

impl Sizes {
    fn of(&self, explain: i32) -> &AtomicUsize {
        // Numbered as in the contract. An unspecified one explains nothing, and an unknown one is refused elsewhere.
        match explain {
            2 => &self.0[1],
            3 => &self.0[2],
            _ => &self.0[0],
        }
    }

    /// An estimate of an answer for so many customers, in bytes, rather too high than too low.
    pub(super) fn expected(&self, explain: i32, customers: usize) -> usize {
        self.of(explain).load(Ordering::Relaxed).saturating_mul(customers)
    }

    /// Learns from an answer. Longer ones count at once, shorter ones gradually.
    pub(super) fn learn(&self, explain: i32, customers: usize, bytes: usize) {
        if customers < REPRESENTATIVE {
            return;
        }
        let each = self.of(explain);
        let known = each.load(Ordering::Relaxed);
        let now = (bytes / customers).max(known - known / 16).max(1);
        if now != known {
            each.store(now, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longer_answers_count_at_once_and_shorter_ones_by_and_by() {
        let sizes = Sizes::default();
        assert_eq!(sizes.expected(3, 100), 100 * UNKNOWN[2]);
        sizes.learn(3, 100, 1_000_000);
        assert_eq!(sizes.expected(3, 10), 100_000);
        // One customer is not representative, and other explanations have their own estimate.
        sizes.learn(3, 1, 1 << 20);
        assert_eq!((sizes.expected(3, 10), sizes.expected(1, 1)), (100_000, UNKNOWN[0]));
        sizes.learn(3, 100, 100_000);
        assert_eq!(sizes.expected(3, 1), 10_000 - 10_000 / 16);
        for _ in 0..200 {
            sizes.learn(3, 100, 100_000);
        }
        assert_eq!(sizes.expected(3, 1), 1000);
    }
}
