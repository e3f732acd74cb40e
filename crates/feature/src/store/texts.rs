//! Many short texts in one allocation: the customer ids, and the distinct values of a string feature.
//!
//! A `String` costs 24 bytes and an allocation per customer; here a text costs its bytes plus four.

use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::BuildHasher;

/// Texts end to end, numbered from 0 in the order of arrival.
#[derive(Debug, Clone, Default)]
pub(super) struct Texts {
    bytes: String,
    /// Where each text ends; it begins where the previous one ends.
    ends: Vec<u32>,
}

/// The texts would take more than 4 GiB, or there would be more than 2³¹ of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

impl Texts {
    pub(super) fn get(&self, number: u32) -> Option<&str> {
        let number = number as usize;
        let end = *self.ends.get(number)? as usize;
        let start = number.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        self.bytes.get(start..end)
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<u32>()
    }

    pub(super) fn shrink_to_fit(&mut self) {
        self.bytes.shrink_to_fit();
        self.ends.shrink_to_fit();
    }

    fn push(&mut self, text: &str) -> Result<u32, Full> {
        let number = i32::try_from(self.ends.len()).map_err(|_| Full)?;
        let end = u32::try_from(self.bytes.len() + text.len()).map_err(|_| Full)?;
        self.bytes.push_str(text);
        self.ends.push(end);
        Ok(number.cast_unsigned())
    }
}

/// Distinct texts with an index from text to number: five bytes per slot of the hash table, and no second copy.
#[derive(Debug, Clone, Default)]
pub(super) struct TextIndex {
    texts: Texts,
    numbers: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

/// The outcome of adding a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Added {
    /// It is new and has this number.
    New(u32),
    /// It was already present under this number.
    Known(u32),
}

impl TextIndex {
    pub(super) fn add(&mut self, text: &str) -> Result<Added, Full> {
        let Self { texts, numbers, hasher } = self;
        let hash = hasher.hash_one(text);
        let entry = numbers.entry(
            hash,
            |number| texts.get(*number) == Some(text),
            |number| hasher.hash_one(texts.get(*number).unwrap_or_default()),
        );
        match entry {
            Entry::Occupied(known) => Ok(Added::Known(*known.get())),
            Entry::Vacant(vacant) => {
                let number = texts.push(text)?;
                vacant.insert(number);
                Ok(Added::New(number))
            }
        }
    }

    pub(super) fn find(&self, text: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(text);
        self.numbers.find(hash, |number| self.texts.get(*number) == Some(text)).copied()
    }

    pub(super) fn texts(&self) -> &Texts {
        &self.texts
    }

    /// The texts without the index, for values that are only looked up by number.
    pub(super) fn into_texts(mut self) -> Texts {
        self.texts.shrink_to_fit();
        self.texts
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.texts.memory_bytes() + self.numbers.allocation_size()
    }

    pub(super) fn shrink_to_fit(&mut self) {
        let Self { texts, numbers, hasher } = self;
        texts.shrink_to_fit();
        numbers.shrink_to_fit(|number| hasher.hash_one(texts.get(*number).unwrap_or_default()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_one_number_and_a_number_one_text() {
        let mut index = TextIndex::default();
        assert_eq!(index.add("anna"), Ok(Added::New(0)));
        assert_eq!(index.add(""), Ok(Added::New(1)));
        assert_eq!(index.add("żółw"), Ok(Added::New(2)));
        assert_eq!(index.add("anna"), Ok(Added::Known(0)));
        index.shrink_to_fit();
        assert_eq!(index.find("żółw"), Some(2));
        assert_eq!(index.find("ann"), None);
        assert_eq!(index.texts().get(2), Some("żółw"));
        assert_eq!(index.texts().get(3), None);
        assert_eq!(index.into_texts().get(1), Some(""));
    }

    #[test]
    fn texts_are_found_after_the_table_has_grown() {
        let mut index = TextIndex::default();
        for number in 0..5_000 {
            assert_eq!(index.add(&format!("C{number}")), Ok(Added::New(number)));
        }
        assert!((0..5_000).all(|number| index.find(&format!("C{number}")) == Some(number)));
        assert_eq!(index.find("C5000"), None);
    }
}
