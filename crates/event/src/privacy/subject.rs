//! A person, by every name that records may have for them.

use std::collections::BTreeSet;
use std::fmt;

use super::{Pseudonym, Pseudonyms};
use crate::proto::DecisionRecord;

/// A person whose data is exported or erased: the data subject of the GDPR.
#[derive(Clone, PartialEq, Eq)]
pub struct Subject {
    id: String,
    /// By their id first, then by the pseudonym under each key.
    names: Vec<Pseudonym>,
}

impl Subject {
    /// The person with this customer id; `None` for an empty id, which is that of all unknown visitors.
    #[must_use]
    pub fn new(id: &str, pseudonyms: &Pseudonyms) -> Option<Self> {
        (!id.is_empty()).then(|| Self { id: id.to_owned(), names: pseudonyms.all(id) })
    }

    /// The customer id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Their names: the id first, then the pseudonym under each key.
    #[must_use]
    pub fn names(&self) -> &[Pseudonym] {
        &self.names
    }

    /// The names as texts, which a query for records takes.
    #[must_use]
    pub fn texts(&self) -> BTreeSet<String> {
        self.names.iter().map(|name| name.text.clone()).collect()
    }

    /// Whether a record is about them.
    #[must_use]
    pub fn is_of(&self, record: &DecisionRecord) -> bool {
        self.names.iter().any(|name| name.key == record.pseudonym_key && name.text == record.customer_id)
    }

    /// Whether a record may be about them, and no key tells: its pseudonym is of a key that is not there.
    #[must_use]
    pub fn may_be_of(&self, record: &DecisionRecord) -> bool {
        !record.pseudonym_key.is_empty() && !self.names.iter().any(|name| name.key == record.pseudonym_key)
    }
}

/// Contains no name, so messages and logs may show it.
impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subject(…)")
    }
}
