//! Which events of a file were seen, in little memory: those of a server mostly follow each other.

use std::collections::{BTreeMap, HashMap};

/// Positions by server, as ranges: of each, the first and the last position.
#[derive(Debug, Default)]
pub(super) struct Positions(HashMap<String, BTreeMap<u64, u64>>);

impl Positions {
    /// Adds a position. Returns whether it is new, as 0 always is: that of a file without positions.
    pub(super) fn insert(&mut self, server: &str, position: u64) -> bool {
        if position == 0 {
            return true;
        }
        if !self.0.contains_key(server) {
            self.0.insert(server.to_owned(), BTreeMap::new());
        }
        let Some(ranges) = self.0.get_mut(server) else { return true };
        let before = ranges.range(..=position).next_back().map(|(first, last)| (*first, *last));
        if before.is_some_and(|(_, last)| position <= last) {
            return false;
        }
        let first = before.filter(|(_, last)| last + 1 == position).map_or(position, |(first, _)| first);
        let behind = position.checked_add(1).and_then(|next| ranges.remove(&next));
        ranges.insert(first, behind.unwrap_or(position));
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_position_is_new_once(all in prop::collection::vec((0_u8..2, 1_u64..40), 0..200)) {
            let (mut positions, mut seen) = (Positions::default(), HashSet::new());
            for (server, position) in all {
                let is_new = seen.insert((server, position));
                prop_assert_eq!(positions.insert(&server.to_string(), position), is_new);
            }
        }
    }

    #[test]
    fn positions_that_follow_each_other_are_one_range() {
        let mut positions = Positions::default();
        for position in (1..1000).step_by(2).chain((2..1000).step_by(2)).chain([u64::MAX, u64::MAX - 1]) {
            assert!(positions.insert("s", position));
        }
        assert_eq!(positions.0["s"], BTreeMap::from([(1, 999), (u64::MAX - 1, u64::MAX)]));
        // Of a file without positions.
        assert!(positions.insert("s", 0) && positions.insert("s", 0));
    }
}
