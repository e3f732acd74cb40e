//! The cells of a shadow by placement and segment.

use std::collections::BTreeMap;

use super::Cell;

/// The placements and segments of a shadow that are counted apart.
const CELLS: usize = 256;

/// Cells by placement and segment: at most `N`, those with the smallest keys, and one for all others together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cells<const N: usize = CELLS> {
    by_placement: BTreeMap<String, BTreeMap<Option<i64>, Cell>>,
    count: usize,
    others: Option<Box<Cell>>,
}

impl<const N: usize> Cells<N> {
    /// The cell that a decision counts in.
    pub(crate) fn at(&mut self, placement: &str, segment: Option<i64>) -> &mut Cell {
        let is_known =
            self.by_placement.get(placement).is_some_and(|segments| segments.contains_key(&segment));
        if !is_known && !self.make_room(placement, segment) {
            return self.others.get_or_insert_default();
        }
        // Placements are few, and one that is known is not copied.
        if !self.by_placement.contains_key(placement) {
            self.by_placement.insert(placement.to_owned(), BTreeMap::new());
        }
        match self.by_placement.get_mut(placement) {
            Some(segments) => segments.entry(segment).or_default(),
            None => self.others.get_or_insert_default(),
        }
    }

    /// Makes room for a new cell and counts it; `false` if it is larger than all that there is room for.
    fn make_room(&mut self, placement: &str, segment: Option<i64>) -> bool {
        if self.count < N {
            self.count += 1;
            return true;
        }
        let Some(mut last) = self.by_placement.last_entry() else { return false };
        let is_larger = |largest: &Option<i64>| (last.key().as_str(), *largest) > (placement, segment);
        if !last.get().keys().next_back().is_some_and(is_larger) {
            return false;
        }
        if let Some((_, cell)) = last.get_mut().pop_last() {
            self.others.get_or_insert_default().merge(&cell);
        }
        if last.get().is_empty() {
            last.remove();
        }
        true
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (placement, segment, cell) in other.iter() {
            self.at(placement, segment).merge(cell);
        }
        if let Some(others) = &other.others {
            self.others.get_or_insert_default().merge(others);
        }
    }

    /// All cells in the order of their keys, without that of all others.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, Option<i64>, &Cell)> {
        self.by_placement.iter().flat_map(|(placement, segments)| {
            segments.iter().map(move |(segment, cell)| (placement.as_str(), *segment, cell))
        })
    }

    /// What is in none of [`Cells::iter`].
    pub(crate) fn others(&self) -> Option<&Cell> {
        self.others.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(keys: &[(u8, u8)]) -> Cells<6> {
        let mut cells = Cells::default();
        for (placement, segment) in keys {
            cells.at(&placement.to_string(), (*segment > 0).then_some(i64::from(*segment))).fail();
        }
        cells
    }

    fn counts(cells: &Cells<6>) -> (Vec<(String, Option<i64>, u64)>, u64) {
        let kept =
            cells.iter().map(|(placement, segment, cell)| (placement.to_owned(), segment, cell.failed));
        (kept.collect(), cells.others().map_or(0, |cell| cell.failed))
    }

    proptest! {
        #[test]
        fn the_smallest_are_kept_in_any_order(
            keys in prop::collection::vec((0_u8..4, 0_u8..4), 0..60), cut in 0_usize..60,
        ) {
            let (kept, others) = counts(&of(&keys));
            let (one, other) = keys.split_at(cut.min(keys.len()));
            let mut merged = of(other);
            merged.merge(&of(one));
            prop_assert_eq!(counts(&merged), (kept.clone(), others));
            prop_assert_eq!(kept.iter().map(|(.., count)| count).sum::<u64>() + others, keys.len() as u64);
            let mut all: Vec<(u8, u8)> = keys.clone();
            all.sort_unstable();
            all.dedup();
            prop_assert_eq!(kept.len(), all.len().min(6));
        }
    }
}
