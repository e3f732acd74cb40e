//! Names of columns or ids of rows, stored in one string.

use std::fmt;
use std::ops::Index;

/// Names in order. A batch names dozens of columns, and a string for each would cost an allocation.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Names {
    text: String,
    /// Where each name ends.
    ends: Vec<usize>,
}

impl Names {
    /// The number of names.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are no names.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Appends a name.
    pub fn push(&mut self, name: &str) {
        if self.ends.is_empty() {
            // Enough for a model of a few dozen features.
            self.ends.reserve(32);
            self.text.reserve(512);
        }
        self.text.push_str(name);
        self.ends.push(self.text.len());
    }

    /// Removes all names and keeps the memory.
    pub fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }

    /// All names, in order.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> + Clone {
        (0..self.ends.len()).map(|index| &self[index])
    }
}

impl Index<usize> for Names {
    type Output = str;

    /// # Panics
    /// If there is no such name, as slices do.
    fn index(&self, index: usize) -> &str {
        let begin = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[begin..self.ends[index]]
    }
}

impl<S: AsRef<str>> FromIterator<S> for Names {
    fn from_iter<I: IntoIterator<Item = S>>(names: I) -> Self {
        let mut all = Self::default();
        names.into_iter().for_each(|name| all.push(name.as_ref()));
        all
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn names_come_back_as_they_were_put_in(given in prop::collection::vec(".{0,9}", 0..40)) {
            let names: Names = given.iter().collect();
            prop_assert_eq!(names.len(), given.len());
            prop_assert_eq!(names.is_empty(), given.is_empty());
            prop_assert!(names.iter().eq(given.iter()));
            prop_assert_eq!(format!("{names:?}"), format!("{given:?}"));
            let (mut again, all) = (names.clone(), names);
            again.clear();
            prop_assert_eq!(&again, &Names::default());
            all.iter().for_each(|name| again.push(name));
            prop_assert_eq!(again, all);
        }
    }
}
