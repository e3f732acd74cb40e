//! Ids in 16 bytes. Reports tell customers, decisions and outcomes apart, and never name one.

use std::hash::{DefaultHasher, Hasher};

use hashbrown::{HashMap, HashTable};

/// A hash of a text of 128 bits. That two of 10⁹ texts have the same has a probability of 10⁻²¹.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Id([u64; 2]);

impl Id {
    pub(crate) fn of(text: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        hasher.write(text.as_bytes());
        let first = hasher.finish();
        // No byte of a text.
        hasher.write_u8(0xff);
        Self([first, hasher.finish()])
    }
}

/// Where things are in a list, by their ids. Takes about 6 bytes for each; the ids are in the list.
#[derive(Debug, Default)]
pub(crate) struct Index(HashTable<u32>);

impl Index {
    pub(crate) fn find(&self, id: Id, id_at: impl Fn(usize) -> Id) -> Option<usize> {
        self.0.find(id.0[0], |at| id_at(*at as usize) == id).map(|at| *at as usize)
    }

    /// Adds what is not in it.
    pub(crate) fn insert(&mut self, id: Id, at: usize, id_at: impl Fn(usize) -> Id) {
        self.0.insert_unique(id.0[0], at as u32, |at| id_at(*at as usize).0[0]);
    }
}

/// Numbers for names of which there are few, such as offers.
#[derive(Debug, Default)]
pub(crate) struct Names {
    numbers: HashMap<String, u32>,
    all: Vec<String>,
}

impl Names {
    pub(crate) fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = self.all.len() as u32;
        self.numbers.insert(name.to_owned(), number);
        self.all.push(name.to_owned());
        number
    }

    pub(crate) fn find(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    /// The names, by their numbers.
    pub(crate) fn all(&self) -> &[String] {
        &self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_a_list_is_found_by_its_id() {
        let ids: Vec<Id> = (0..1_000).map(|number| Id::of(&format!("C{number}"))).collect();
        let mut index = Index::default();
        for (at, id) in ids.iter().enumerate() {
            assert_eq!(index.find(*id, |at| ids[at]), None);
            index.insert(*id, at, |at| ids[at]);
        }
        for (at, id) in ids.iter().enumerate() {
            assert_eq!(index.find(*id, |at| ids[at]), Some(at));
        }
        assert_ne!(Id::of(""), Id::of("\u{ff}"));
        let mut names = Names::default();
        assert_eq!([names.number("a"), names.number("b"), names.number("a")], [0, 1, 0]);
        assert_eq!((names.find("b"), names.find("c"), names.all().len()), (Some(1), None, 2));
    }
}
