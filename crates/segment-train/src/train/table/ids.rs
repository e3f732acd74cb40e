//! The ids of the customers, packed into one string.

use std::hash::BuildHasher;

use hashbrown::DefaultHashBuilder;
use rayon::slice::ParallelSliceMut;

use feature::Names;

/// One id per row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ids(Names);

impl Ids {
    /// Adds the id of the next row.
    pub fn push(&mut self, id: &str) {
        self.0.push(id);
    }

    /// The id of a row.
    ///
    /// # Panics
    /// If there is no such row.
    #[must_use]
    pub fn get(&self, row: usize) -> &str {
        &self.0[row]
    }

    /// The number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ids in the order of the rows.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter()
    }

    /// The first row whose id an earlier row has: the earlier row, then the row. Empty ids are ignored.
    ///
    /// Sorts 64-bit hashes, 16 bytes per row, and compares the texts of equal hashes.
    pub(super) fn first_repeated(&self) -> Option<(usize, usize)> {
        let hasher = DefaultHashBuilder::default();
        let rows = self.iter().enumerate().filter(|(_, id)| !id.is_empty());
        let mut hashes: Vec<(u64, usize)> = rows.map(|(row, id)| (hasher.hash_one(id), row)).collect();
        hashes.par_sort_unstable();
        let alike = hashes.chunk_by(|before, after| before.0 == after.0).filter(|group| group.len() > 1);
        alike.filter_map(|group| self.first_repeated_of(group)).min_by_key(|(_, row)| *row)
    }

    /// As [`Self::first_repeated`], for ascending rows with equal hashes.
    ///
    /// Different ids hardly ever share a hash, so the search ends early.
    fn first_repeated_of(&self, group: &[(u64, usize)]) -> Option<(usize, usize)> {
        group.iter().enumerate().find_map(|(position, (_, row))| {
            let earlier =
                group[..position].iter().find(|(_, earlier)| self.get(*earlier) == self.get(*row))?;
            Some((earlier.1, *row))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(texts: &[&str]) -> Ids {
        let mut ids = Ids::default();
        for text in texts {
            ids.push(text);
        }
        ids
    }

    #[test]
    fn ids_are_returned_unchanged() {
        let texts = ["a", "", "Müller", "7"];
        let packed = ids(&texts);
        assert_eq!(packed.len(), 4);
        assert_eq!(packed.iter().collect::<Vec<_>>(), texts);
        assert_eq!((packed.get(0), packed.get(2)), ("a", "Müller"));
        assert!(Ids::default().is_empty());
    }

    #[test]
    fn the_first_id_that_repeats_is_found() {
        assert_eq!(ids(&["a", "b", "c", "", ""]).first_repeated(), None);
        assert_eq!(ids(&["a", "b", "c", "b", "a", "a"]).first_repeated(), Some((1, 3)));
        assert_eq!(ids(&["x"; 1000]).first_repeated(), Some((0, 1)));
    }

    #[test]
    fn equal_hashes_of_different_ids_are_no_repetition() {
        let packed = ids(&["a", "b", "b"]);
        assert_eq!(packed.first_repeated_of(&[(7, 0), (7, 1)]), None);
        assert_eq!(packed.first_repeated_of(&[(7, 0), (7, 1), (7, 2)]), Some((1, 2)));
    }
}
