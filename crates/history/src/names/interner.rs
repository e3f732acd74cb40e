//! Names by position, and the reverse.

use std::sync::{Arc, PoisonError, RwLock};

use hashbrown::HashMap;

/// Distinct names in the order in which they were first seen. The first is the empty name.
#[derive(Debug)]
pub(crate) struct Interner {
    /// The position that stands for every name without one of its own.
    other: u16,
    inner: RwLock<Interned>,
}

#[derive(Debug, Default)]
struct Interned {
    positions: HashMap<Arc<str>, u16>,
    names: Vec<Arc<str>>,
}

impl Interner {
    /// Gives out the positions 0..`other`.
    pub(crate) fn new(other: u16) -> Self {
        let interner = Self { other, inner: RwLock::default() };
        interner.intern("");
        interner
    }

    /// The position that stands for every name without one of its own.
    pub(crate) fn other(&self) -> u16 {
        self.other
    }

    /// The position of a name, given out if it has none; [`Interner::other`] where there is no room.
    pub(crate) fn intern(&self, name: &str) -> u16 {
        self.intern_below(name, self.other)
    }

    /// The same for a name that clients choose: it gets no position in the upper half, which is kept for names of
    /// releases.
    pub(crate) fn intern_foreign(&self, name: &str) -> u16 {
        self.intern_below(name, self.other / 2)
    }

    fn intern_below(&self, name: &str, most: u16) -> u16 {
        if let Some(position) = self.find(name) {
            return position;
        }
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(position) = inner.positions.get(name) {
            return *position;
        }
        let Some(position) = u16::try_from(inner.names.len()).ok().filter(|position| *position < most) else {
            return self.other;
        };
        let name: Arc<str> = name.into();
        inner.names.push(Arc::clone(&name));
        inner.positions.insert(name, position);
        position
    }

    /// The position of a name that has one.
    pub(crate) fn find(&self, name: &str) -> Option<u16> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner).positions.get(name).copied()
    }

    /// The name at a position; a placeholder for [`Interner::other`].
    pub(crate) fn name(&self, position: u16) -> Arc<str> {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        inner.names.get(usize::from(position)).cloned().unwrap_or_else(|| "(other)".into())
    }

    /// How many positions were given out.
    pub(crate) fn len(&self) -> usize {
        self.inner.read().unwrap_or_else(PoisonError::into_inner).names.len()
    }

    /// The bytes of the names, roughly.
    pub(crate) fn memory_bytes(&self) -> usize {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        let texts: usize = inner.names.iter().map(|name| name.len() + 16).sum();
        texts + inner.names.capacity() * 16 + inner.positions.capacity() * 25
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_positions() {
        let names = Interner::new(8);
        assert_eq!(["", "a", "b", "a"].map(|name| names.intern(name)), [0, 1, 2, 1]);
        assert_eq!((names.find("b"), names.find("c"), names.len()), (Some(2), None, 3));
        assert_eq!(&*names.name(2), "b");
    }

    #[test]
    fn there_is_room_for_releases_when_clients_have_named_many() {
        let names = Interner::new(8);
        let foreign = ["a", "b", "c", "d", "e"].map(|name| names.intern_foreign(name));
        assert_eq!(foreign, [1, 2, 3, 8, 8]);
        assert_eq!(["e", "f", "g", "h", "i"].map(|name| names.intern(name)), [4, 5, 6, 7, 8]);
        assert_eq!(names.intern_foreign("h"), 7);
        assert_eq!(&*names.name(8), "(other)");
    }
}
