//! Counts the distinct values of a column up to a limit.

use hashbrown::{HashMap, HashSet};

/// The limit of the count; a column with more distinct values is practically continuous.
pub(super) const BOUND: usize = 10_000;

/// Counts distinct numbers.
#[derive(Debug, Default)]
pub(super) struct DistinctNumbers {
    /// Bits; −0 counts as 0.
    seen: HashSet<u32>,
    beyond: bool,
}

impl DistinctNumbers {
    pub(super) fn add(&mut self, value: f32) {
        if self.beyond {
            return;
        }
        let bits = (value + 0.0).to_bits();
        if self.seen.len() < BOUND {
            self.seen.insert(bits);
        } else {
            self.beyond = !self.seen.contains(&bits);
        }
    }

    /// How many, at most [`BOUND`].
    pub(super) fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether there are more.
    pub(super) fn beyond(&self) -> bool {
        self.beyond
    }
}

/// Counts distinct texts and numbers them in the order of appearance.
#[derive(Debug, Default)]
pub(super) struct DistinctTexts {
    numbers: HashMap<Box<str>, usize>,
    beyond: bool,
}

impl DistinctTexts {
    /// The number of the text; `None` beyond [`BOUND`].
    pub(super) fn add(&mut self, text: &str) -> Option<usize> {
        if self.beyond {
            return None;
        }
        if let Some(number) = self.numbers.get(text) {
            return Some(*number);
        }
        let number = self.numbers.len();
        if number == BOUND {
            self.beyond = true;
            return None;
        }
        self.numbers.insert(text.into(), number);
        Some(number)
    }

    /// How many, at most [`BOUND`].
    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// Whether there are more.
    pub(super) fn beyond(&self) -> bool {
        self.beyond
    }

    /// The texts in byte order, each with its number.
    pub(super) fn sorted(&self) -> Vec<(&str, usize)> {
        let mut sorted: Vec<(&str, usize)> =
            self.numbers.iter().map(|(text, number)| (&**text, *number)).collect();
        sorted.sort_unstable();
        sorted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_counted_up_to_the_bound() {
        let mut distinct = DistinctNumbers::default();
        for value in [0.0, -0.0, 1.5, 1.5] {
            distinct.add(value);
        }
        assert_eq!((distinct.len(), distinct.beyond()), (2, false));
        (0..BOUND - 1).for_each(|value| distinct.add(value as f32));
        assert_eq!((distinct.len(), distinct.beyond()), (BOUND, false));
        distinct.add(-7.0);
        distinct.add(-8.0);
        assert_eq!((distinct.len(), distinct.beyond()), (BOUND, true));
    }

    #[test]
    fn texts_are_numbered_as_they_appear_and_listed_in_order() {
        let mut distinct = DistinctTexts::default();
        let numbers = ["b", "a", "b", "é"].map(|text| distinct.add(text));
        assert_eq!(numbers, [Some(0), Some(1), Some(0), Some(2)]);
        assert_eq!(distinct.sorted(), [("a", 1), ("b", 0), ("é", 2)]);
        (0..BOUND).for_each(|text| _ = distinct.add(&text.to_string()));
        assert_eq!((distinct.len(), distinct.beyond()), (BOUND, true));
    }
}
