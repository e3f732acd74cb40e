//! Things by position instead of by name: counting by position is an addition to a list.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// Positions of keys, in the order in which they came.
#[derive(Debug, Clone)]
pub(super) struct Positions<K> {
    by_key: HashMap<K, u32>,
    pub keys: Vec<K>,
}

impl<K> Default for Positions<K> {
    fn default() -> Self {
        Self { by_key: HashMap::new(), keys: Vec::new() }
    }
}

impl<K: Hash + Eq + Clone> Positions<K> {
    pub(super) fn find<Q: Hash + Eq + ?Sized>(&self, key: &Q) -> Option<u32>
    where
        K: Borrow<Q>,
    {
        self.by_key.get(key).copied()
    }

    pub(super) fn of(&mut self, key: &K) -> u32 {
        if let Some(position) = self.by_key.get(key) {
            return *position;
        }
        let position = self.keys.len() as u32;
        self.keys.push(key.clone());
        self.by_key.insert(key.clone(), position);
        position
    }
}

/// The entry at a position, which is added if it is missing.
pub(super) fn at<T: Default>(list: &mut Vec<T>, position: u32) -> &mut T {
    let position = position as usize;
    if list.len() <= position {
        list.resize_with(position + 1, T::default);
    }
    &mut list[position]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_keeps_its_position() {
        let mut positions = Positions::default();
        assert_eq!((positions.of(&"b".to_owned()), positions.of(&"a".to_owned())), (0, 1));
        assert_eq!(
            (positions.of(&"b".to_owned()), positions.find("a"), positions.find("c")),
            (0, Some(1), None)
        );
        assert_eq!(positions.keys, ["b", "a"]);
    }

    #[test]
    fn a_missing_entry_is_added() {
        let mut list = vec![7];
        *at(&mut list, 2) += 1;
        *at(&mut list, 0) += 1;
        assert_eq!(list, [8, 0, 1]);
    }
}
