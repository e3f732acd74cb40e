//! A person, by every name that records may have for them.

use std::collections::BTreeSet;
use std::fmt;

use super::{Pseudonym, Pseudonyms};
use crate::keys::KeyName;
use crate::kind::EventRecord;

/// A person whose data is exported or erased: the data subject of the GDPR.
#[derive(Clone, PartialEq, Eq)]
pub struct Subject {
    id: String,
    /// By their id first, then by the pseudonym under each key.
    names: Vec<Pseudonym>,
    /// The keys of all names but the first.
    keys: Vec<KeyName>,
}

impl Subject {
    /// The person with this customer id; `None` for an empty id, which is that of all unknown visitors.
    #[must_use]
    pub fn new(id: &str, pseudonyms: &Pseudonyms) -> Option<Self> {
        let keys = || pseudonyms.keys().cloned().collect();
        (!id.is_empty()).then(|| Self { id: id.to_owned(), names: pseudonyms.all(id), keys: keys() })
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
    pub fn is_of(&self, record: &dyn EventRecord) -> bool {
        let (key, text) = (record.pseudonym_key(), record.customer_id());
        self.names.iter().any(|name| name.key == key && name.text == text)
    }

    /// Their names with the keys that made them; the id has none.
    pub(crate) fn keyed_names(&self) -> impl Iterator<Item = (&Pseudonym, Option<&KeyName>)> {
        self.names.iter().zip(std::iter::once(None).chain(self.keys.iter().map(Some)))
    }

    /// Whether records under this key can be held against their names.
    #[must_use]
    pub fn knows_key(&self, key: &KeyName) -> bool {
        self.keys.iter().any(|known| known.may_be(key))
    }
}

/// Contains no name, so messages and logs may show it.
impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subject(…)")
    }
}
