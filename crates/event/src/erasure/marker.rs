//! Markers: who is to be erased, and which servers have done it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fmt::Write as _;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{ErasureError, ErasureStore};
use crate::keys::KeyName;
use crate::kind::EventRecord;
use crate::privacy::{Pseudonym, Pseudonyms, Subject};
use crate::sealed::SealedError;

/// The folder of markers in a store. Servers list it again and again, so it has nothing else but the lease.
const ERASURES: &str = "erasures";
/// The folder of what is kept of complete erasures.
const ERASED: &str = "erased";
const MARKER: &str = ".toml";
const ACKNOWLEDGED: &str = ".ack";

/// The format of markers that this version writes, and the greatest that it reads.
const FORMAT: u32 = 1;

/// How much the clocks of servers and commands may differ.
const CLOCKS_DIFFER: TimeDelta = TimeDelta::days(1);

/// How long an erasure may take, from the time in its id on.
const LONGEST: TimeDelta = TimeDelta::days(60);

/// Keeps hashes apart from any other use of SHA-256.
const DOMAIN: &[u8] = b"proffer erasure 1\0";

/// A request to erase a person. It does not name them: a name can be held against it, and not be read from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    format: u32,
    id: String,
    /// When it was asked for, by the clock of the command (RFC 3339).
    pub requested_at: String,
    /// Who has asked.
    pub by: String,
    /// Random, so that hashes of different markers cannot be compared; hexadecimal.
    salt: String,
    name: Vec<HashedName>,
}

/// A name that records have for the person, hashed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct HashedName {
    /// The id of the key of the pseudonym; empty for the customer id.
    key: String,
    /// The fingerprint of its secret; absent for the customer id, and in markers of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
    /// SHA-256 of [`DOMAIN`], the salt, the key's id, a zero byte and the name; hexadecimal.
    sha256: String,
}

/// What a server has done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// The id of the server.
    pub server: String,
    /// Its version.
    pub version: String,
    /// When it had done it, by its clock (RFC 3339).
    pub at: String,
    /// How many records it has blanked in its log.
    pub records: u64,
    /// Keys of pseudonyms in its log that the erasure does not know: records under them cannot be searched.
    #[serde(default)]
    pub unknown_keys: BTreeSet<KeyName>,
    /// Files that may hold records and cannot be searched, such as copies of damaged log files. They must be removed by
    /// hand.
    #[serde(default)]
    pub left: Vec<String>,
}

/// What is kept of a complete erasure: nothing about the person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completed {
    /// The format of the record.
    pub format: u32,
    /// The id of the erasure.
    pub id: String,
    /// When it was asked for (RFC 3339).
    pub requested_at: String,
    /// Who has asked.
    pub by: String,
    /// When it was complete (RFC 3339).
    pub completed_at: String,
    /// The servers that have acknowledged.
    pub servers: BTreeSet<String>,
}

impl Marker {
    /// A marker for a person.
    ///
    /// Pseudonyms are hashed where there are keys: only who has a key can find out who is meant. Without keys it is the
    /// id, which records have in the clear.
    ///
    /// # Errors
    /// When there are no random bytes for the salt.
    pub fn new(subject: &Subject, by: &str, now: DateTime<Utc>) -> Result<Self, ErasureError> {
        let mut salt = [0; 32];
        getrandom::fill(&mut salt).map_err(ErasureError::Random)?;
        let salt = hexadecimal(&salt);
        let name = names_of(subject)
            .map(|(name, key)| HashedName {
                key: name.key.clone(),
                fingerprint: key.and_then(|key| key.fingerprint.clone()),
                sha256: hash(&salt, name),
            })
            .collect();
        let (id, requested_at) = (Uuid::now_v7().to_string(), written(now));
        Ok(Self { format: FORMAT, id, requested_at, by: by.to_owned(), salt, name })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether it is about this person.
    #[must_use]
    pub fn is_of(&self, subject: &Subject) -> bool {
        subject.names().iter().any(|name| self.has(name))
    }

    /// Whether it has every name that a new marker for this person would have: no key has come since.
    #[must_use]
    pub fn covers(&self, subject: &Subject) -> bool {
        names_of(subject).all(|(name, _)| self.has(name))
    }

    /// Whether records under this key can be held against it.
    pub(super) fn knows_key(&self, key: &KeyName) -> bool {
        self.name.iter().any(|hashed| hashed.key_name().may_be(key))
    }

    /// Whether a server with these keys can tell who is meant.
    ///
    /// # Errors
    /// [`ErasureError::NoKey`] where it has no key of the marker: customer ids cannot be held against it. A key with
    /// another secret is another key.
    pub fn check_keys(&self, pseudonyms: &Pseudonyms) -> Result<(), ErasureError> {
        let is_known = |hashed: &HashedName| hashed.key.is_empty() || pseudonyms.knows(&hashed.key_name());
        if self.name.iter().any(is_known) {
            return Ok(());
        }
        let keys = self.name.iter().map(|hashed| hashed.key_name().to_string()).collect();
        Err(ErasureError::NoKey { id: self.id.clone(), keys })
    }

    fn has(&self, name: &Pseudonym) -> bool {
        let mut of_key = self.name.iter().filter(|hashed| hashed.key == name.key).peekable();
        of_key.peek().is_some() && {
            let hash = hash(&self.salt, name);
            of_key.any(|hashed| hashed.sha256 == hash)
        }
    }
}

impl HashedName {
    fn key_name(&self) -> KeyName {
        KeyName { id: self.key.clone(), fingerprint: self.fingerprint.clone() }
    }
}

/// The names of a person that a marker hashes, with their keys.
fn names_of(subject: &Subject) -> impl Iterator<Item = (&Pseudonym, Option<&KeyName>)> {
    let has_keys = subject.keyed_names().any(|(_, key)| key.is_some());
    subject.keyed_names().filter(move |(_, key)| !has_keys || key.is_some())
}

/// Tells whether records are about somebody who is to be erased.
pub struct Erased {
    markers: Vec<Marker>,
    pseudonyms: Pseudonyms,
}

impl Erased {
    /// Those whom `markers` are about, with the keys of a server. Each should have passed [`Marker::check_keys`].
    #[must_use]
    pub fn new(markers: Vec<Marker>, pseudonyms: &Pseudonyms) -> Self {
        Self { markers, pseudonyms: pseudonyms.clone() }
    }

    /// The markers.
    pub(super) fn markers(&self) -> &[Marker] {
        &self.markers
    }

    /// Whether this customer is to be erased.
    #[must_use]
    pub fn has_customer(&self, id: &str) -> bool {
        !id.is_empty() && self.markers.iter().any(|marker| self.is_meant(marker, id))
    }

    /// Whether this is a name that records have for somebody who is to be erased: their id, or a pseudonym under any
    /// key that is there.
    #[must_use]
    pub fn has_name(&self, text: &str) -> bool {
        let is_pseudonym = |marker: &Marker| {
            let name = |hashed: &HashedName| Pseudonym { key: hashed.key.clone(), text: text.to_owned() };
            let mut keyed = marker.name.iter().filter(|hashed| !hashed.key.is_empty());
            keyed.any(|hashed| marker.has(&name(hashed)))
        };
        self.has_customer(text) || (!text.is_empty() && self.markers.iter().any(is_pseudonym))
    }

    /// Whether a record is about somebody who is to be erased.
    #[must_use]
    pub fn has(&self, record: &dyn EventRecord) -> bool {
        self.markers_of(record).next().is_some()
    }

    /// The markers that a record is meant by, by their position.
    pub(super) fn markers_of(&self, record: &dyn EventRecord) -> impl Iterator<Item = usize> {
        let name =
            Pseudonym { key: record.pseudonym_key().to_owned(), text: record.customer_id().to_owned() };
        let is_meant = move |marker: &Marker| match (name.key.is_empty(), name.text.is_empty()) {
            (_, true) => false,
            (true, false) => self.is_meant(marker, &name.text),
            (false, false) => marker.has(&name),
        };
        self.markers.iter().enumerate().filter(move |(_, marker)| is_meant(marker)).map(|(at, _)| at)
    }

    /// Whether a customer's id is that of a marker: by itself, or by its pseudonym under the first key that is there.
    fn is_meant(&self, marker: &Marker, id: &str) -> bool {
        let names = |hashed: &HashedName| match &*hashed.key {
            "" => vec![Pseudonym { key: String::new(), text: id.to_owned() }],
            _ => self.pseudonyms.all_under(&hashed.key_name(), id),
        };
        // More than one only if an older version has not said which secret it was.
        let mut known = marker.name.iter().map(names).filter(|names| !names.is_empty());
        known.next().is_some_and(|names| names.iter().any(|name| marker.has(name)))
    }
}

impl fmt::Debug for Erased {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Erased").field("markers", &self.markers.len()).finish_non_exhaustive()
    }
}

/// The markers of a store.
#[derive(Debug, Clone)]
pub struct Erasures(ErasureStore);

impl Erasures {
    /// Those of a store.
    #[must_use]
    pub fn new(store: ErasureStore) -> Self {
        Self(store)
    }

    /// Writes a new marker.
    ///
    /// # Errors
    /// When the store cannot be reached or written to.
    pub fn add(&self, marker: &Marker) -> Result<(), ErasureError> {
        self.0.put_new(&key(&marker.id), marker).map(drop)
    }

    /// A marker, if there is one.
    ///
    /// # Errors
    /// When the store cannot be reached, or the marker not be understood.
    pub fn get(&self, id: &str) -> Result<Option<Marker>, ErasureError> {
        let key = key(id);
        let Some(marker) = self.0.read::<Marker>(&key)? else { return Ok(None) };
        if marker.format > FORMAT {
            let message = format!("it is in format {}", marker.format);
            return Err(SealedError::Newer { path: self.0.shown(&key), message }.into());
        }
        if marker.id != id {
            let message = format!("it says that it is of the erasure {}, and its name is another", marker.id);
            return Err(SealedError::damaged(&self.0.shown(&key), message).into());
        }
        Ok(Some(marker))
    }

    /// The ids of all markers, and the servers that have acknowledged each. Costs one listing.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub fn list(&self) -> Result<BTreeMap<String, BTreeSet<String>>, ErasureError> {
        let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for name in self.0.list(ERASURES)?.into_keys() {
            let is_id = |id: &&str| Uuid::parse_str(id).is_ok_and(|parsed| parsed.to_string() == **id);
            match name.split_once('/') {
                None => {
                    if let Some(id) = name.strip_suffix(MARKER).filter(is_id) {
                        found.entry(id.to_owned()).or_default();
                    }
                }
                Some((id, name)) => {
                    if let (Some(id), Some(server)) =
                        (Some(id).filter(is_id), name.strip_suffix(ACKNOWLEDGED))
                    {
                        found.entry(id.to_owned()).or_default().insert(server.to_owned());
                    }
                }
            }
        }
        Ok(found)
    }

    /// The markers, the oldest first.
    ///
    /// # Errors
    /// When the store cannot be reached, or a marker not be understood.
    pub fn open(&self) -> Result<Vec<Marker>, ErasureError> {
        let mut open = Vec::new();
        for id in self.list()?.into_keys() {
            open.extend(self.get(&id)?);
        }
        Ok(open)
    }

    /// Whether an erasure was completed since `since` without this server: it did not run, and has not acknowledged.
    ///
    /// # Errors
    /// When the store cannot be reached, or a record of a complete erasure not be understood.
    pub fn missed_by(&self, server: &str, since: DateTime<Utc>) -> Result<bool, ErasureError> {
        let since = since - CLOCKS_DIFFER;
        let first = u64::try_from((since - LONGEST).timestamp()).unwrap_or(0);
        for name in self.0.list(ERASED)?.into_keys() {
            let Some(id) = name.strip_suffix(MARKER).and_then(|id| Uuid::parse_str(id).ok()) else {
                continue;
            };
            if id.get_timestamp().is_some_and(|made| made.to_unix().0 < first) {
                continue;
            }
            let completed: Option<Completed> = self.0.read(&completed_key(&id.to_string()))?;
            let is_missed = |completed: Completed| {
                let at = DateTime::parse_from_rfc3339(&completed.completed_at);
                !completed.servers.contains(server) && at.map_or(true, |at| at >= since)
            };
            if completed.is_some_and(is_missed) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Notes what a server has done.
    ///
    /// # Errors
    /// When the store cannot be reached or written to.
    pub fn acknowledge(&self, marker: &Marker, done: &Acknowledgement) -> Result<(), ErasureError> {
        self.0.put_new(&acknowledgement(&marker.id, &done.server), done).map(drop)
    }

    /// What a server has done, if it has.
    ///
    /// # Errors
    /// When the store cannot be reached, or the note not be understood.
    pub fn acknowledged(&self, id: &str, server: &str) -> Result<Option<Acknowledgement>, ErasureError> {
        self.0.read(&acknowledgement(id, server))
    }

    /// Has a server do it again: removes what it has noted.
    ///
    /// # Errors
    /// When the store cannot be reached or written to.
    pub fn ask_again(&self, id: &str, server: &str) -> Result<(), ErasureError> {
        self.0.delete(&acknowledgement(id, server))
    }

    /// Ends an erasure: keeps who has asked and when, and removes the marker, so that no server looks for the person
    /// any more.
    ///
    /// # Errors
    /// When the store cannot be reached or written to.
    pub fn complete(&self, marker: &Marker, now: DateTime<Utc>) -> Result<(), ErasureError> {
        let servers = self.list()?.remove(&marker.id).unwrap_or_default();
        let (id, requested_at, by) = (marker.id.clone(), marker.requested_at.clone(), marker.by.clone());
        let completed =
            Completed { format: FORMAT, id, requested_at, by, completed_at: written(now), servers };
        // Another command that was faster has seen who has acknowledged.
        self.0.put_new(&completed_key(&marker.id), &completed)?;
        self.0.delete(&key(&marker.id))?;
        // Also those of a marker whose end was interrupted here.
        for (id, servers) in self.list()? {
            if matches!(self.get(&id), Ok(None)) {
                for server in servers {
                    self.0.delete(&acknowledgement(&id, &server))?;
                }
            }
        }
        Ok(())
    }

    /// What is kept of a complete erasure, if there is one of this id.
    ///
    /// # Errors
    /// When the store cannot be reached, or the record not be understood.
    pub fn completed(&self, id: &str) -> Result<Option<Completed>, ErasureError> {
        self.0.read(&completed_key(id))
    }
}

fn key(id: &str) -> String {
    format!("{ERASURES}/{id}{MARKER}")
}

fn completed_key(id: &str) -> String {
    format!("{ERASED}/{id}{MARKER}")
}

fn acknowledgement(id: &str, server: &str) -> String {
    format!("{ERASURES}/{id}/{server}{ACKNOWLEDGED}")
}

/// A time as markers and heartbeats have it.
pub(super) fn written(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn hash(salt: &str, name: &Pseudonym) -> String {
    let mut hasher = Sha256::new();
    hasher.update(DOMAIN);
    hasher.update(salt.as_bytes());
    hasher.update(name.key.as_bytes());
    hasher.update([0]);
    hasher.update(name.text.as_bytes());
    hexadecimal(&hasher.finalize())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Keys;
    use crate::keys::tests::keys;
    use crate::privacy::PseudonymMode;
    use crate::proto::DecisionRecord;

    fn none() -> Pseudonyms {
        Pseudonyms::new(PseudonymMode::None, &Keys::default()).unwrap()
    }

    fn with(listed: &[(&str, u8, &str, bool)]) -> Pseudonyms {
        Pseudonyms::new(PseudonymMode::HmacSha256, &keys(listed)).unwrap()
    }

    fn marker(id: &str, pseudonyms: &Pseudonyms) -> Marker {
        Marker::new(&Subject::new(id, pseudonyms).unwrap(), "anna", DateTime::UNIX_EPOCH).unwrap()
    }

    fn record(pseudonyms: &Pseudonyms, id: &str) -> DecisionRecord {
        let Pseudonym { key, text } = pseudonyms.of(id);
        DecisionRecord { customer_id: text, pseudonym_key: key, ..DecisionRecord::default() }
    }

    fn erased(marker: &Marker, pseudonyms: &Pseudonyms) -> Erased {
        marker.check_keys(pseudonyms).unwrap();
        Erased::new(vec![marker.clone()], pseudonyms)
    }

    #[test]
    fn without_keys_ids_are_held_against_a_marker() {
        let erased = erased(&marker("C-1", &none()), &none());
        assert!(erased.has_customer("C-1") && erased.has(&record(&none(), "C-1")));
        assert!(!erased.has_customer("C-2") && !erased.has(&record(&none(), "C-2")));
        // The id of all unknown visitors.
        assert!(!erased.has_customer("") && !erased.has(&DecisionRecord::default()));
    }

    #[test]
    fn records_are_found_under_every_key_and_by_id() {
        let (old, now) = (("old", 1, "pseudonyms", true), ("new", 2, "pseudonyms", true));
        let both = with(&[("old", 1, "pseudonyms", false), now]);
        let marker = marker("C-1", &both);
        for recorded in [none(), with(&[old]), both.clone()] {
            // Also by a server that has one of the keys.
            for server in [&both, &with(&[old]), &with(&[now])] {
                let erased = erased(&marker, server);
                assert!(erased.has(&record(&recorded, "C-1")));
                assert!(!erased.has(&record(&recorded, "C-2")));
                assert!(erased.has_customer("C-1") && !erased.has_customer("C-2"));
            }
        }
        let other = with(&[("other", 3, "pseudonyms", true)]);
        let refused = marker.check_keys(&other).unwrap_err().to_string();
        let known: Vec<String> = both.keys().map(KeyName::to_string).collect();
        let expected = format!("by the keys {}, and there are none of them here", known.join(", "));
        assert!(refused.contains(&expected) && expected.contains("old@"), "{refused}");
        // A record under a key that the command does not have.
        let of_other = record(&other, "C-1");
        let erased = erased(&marker, &both);
        assert!(!erased.has(&of_other));
        assert!(
            other.keys().all(|key| !marker.knows_key(key)) && both.keys().all(|key| marker.knows_key(key))
        );
        // The text alone does not count.
        let renamed = DecisionRecord { pseudonym_key: "old".to_owned(), ..record(&both, "C-1") };
        assert!(!erased.has(&renamed));
    }

    #[test]
    fn a_key_with_another_secret_is_another_key() {
        let [one, other] = [1, 2].map(|secret| with(&[("k", secret, "pseudonyms", true)]));
        let both = with(&[("k", 1, "pseudonyms", false), ("k", 2, "pseudonyms", true)]);
        let marker = marker("C-1", &one);
        assert!(matches!(marker.check_keys(&other), Err(ErasureError::NoKey { .. })));
        assert!(other.keys().all(|key| !marker.knows_key(key)));
        assert!(
            erased(&marker, &both).has_customer("C-1") && erased(&marker, &both).has(&record(&one, "C-1"))
        );
        // A marker by both is of records by each of them.
        let of_both = super::tests::marker("C-1", &both);
        for server in [&one, &other, &both] {
            assert!(erased(&of_both, server).has_customer("C-1"));
            assert!(
                erased(&of_both, server).has(&record(&one, "C-1"))
                    && erased(&of_both, server).has(&record(&other, "C-1"))
            );
        }
        // One of an older version does not say which secret it was.
        let mut older = marker.clone();
        older.name[0].fingerprint = None;
        let text = toml::to_string(&older).unwrap();
        assert!(!text.contains("fingerprint"), "{text}");
        assert_eq!(toml::from_str::<Marker>(&text).unwrap(), older);
        assert!(erased(&older, &both).has_customer("C-1") && older.knows_key(other.keys().next().unwrap()));
    }

    #[test]
    fn a_marker_names_nobody() {
        let pseudonyms = with(&[("a", 1, "pseudonyms", true)]);
        for pseudonyms in [none(), pseudonyms] {
            let marker = marker("C-12345", &pseudonyms);
            let text = toml::to_string(&marker).unwrap();
            assert_eq!(toml::from_str::<Marker>(&text).unwrap(), marker);
            for name in pseudonyms.all("C-12345") {
                assert!(!text.contains(&name.text), "{text}");
            }
            // The same person has another hash in each marker.
            let again = super::tests::marker("C-12345", &pseudonyms);
            assert_ne!(marker.name[0].sha256, again.name[0].sha256);
            assert!(again.is_of(&Subject::new("C-12345", &pseudonyms).unwrap()));
            assert!(!again.is_of(&Subject::new("C-1234", &pseudonyms).unwrap()));
        }
    }

    #[test]
    fn a_marker_covers_the_keys_that_there_were() {
        let old = with(&[("old", 1, "pseudonyms", true)]);
        let both = with(&[("old", 1, "pseudonyms", false), ("new", 2, "pseudonyms", true)]);
        let covered = |made_with: &Pseudonyms, now: &Pseudonyms| {
            let (marker, subject) = (marker("C-1", made_with), Subject::new("C-1", now).unwrap());
            (marker.is_of(&subject), marker.covers(&subject))
        };
        assert_eq!(covered(&none(), &none()), (true, true));
        assert_eq!(covered(&none(), &old), (true, false));
        assert_eq!(covered(&old, &both), (true, false));
        assert_eq!(covered(&both, &old), (true, true));
        assert_eq!(covered(&old, &none()), (false, false));
    }

    #[test]
    fn each_record_is_counted_for_the_markers_that_mean_it() {
        let markers = ["C-1", "C-2", "C-1"].map(|id| marker(id, &none()));
        let erased = Erased::new(markers.to_vec(), &none());
        let of = |id| erased.markers_of(&record(&none(), id)).collect::<Vec<_>>();
        assert_eq!([of("C-1"), of("C-2"), of("C-3"), of("")], [vec![0, 2], vec![1], vec![], vec![]]);
    }

    #[test]
    fn markers_are_listed_with_who_has_acknowledged_until_they_are_complete() {
        let root = tempfile::tempdir().unwrap();
        let erasures = Erasures::new(ErasureStore::open(root.path().to_str().unwrap(), []).unwrap());
        assert!(erasures.list().unwrap().is_empty());
        let [one, other] = ["C-1", "C-2"].map(|id| marker(id, &none()));
        erasures.add(&one).unwrap();
        erasures.add(&other).unwrap();
        let done = Acknowledgement {
            server: "s-1".to_owned(),
            version: "1".to_owned(),
            at: written(DateTime::UNIX_EPOCH),
            records: 3,
            unknown_keys: BTreeSet::new(),
            left: vec!["x.damaged".to_owned()],
        };
        erasures.acknowledge(&one, &done).unwrap();
        erasures.acknowledge(&one, &Acknowledgement { records: 0, ..done.clone() }).unwrap();
        assert_eq!(erasures.acknowledged(one.id(), "s-1").unwrap(), Some(done));
        let listed = erasures.list().unwrap();
        assert_eq!(listed[one.id()], BTreeSet::from(["s-1".to_owned()]));
        assert!(listed[other.id()].is_empty());
        assert_eq!(erasures.open().unwrap(), [one.clone(), other.clone()]);
        erasures.complete(&one, DateTime::UNIX_EPOCH).unwrap();
        assert_eq!(erasures.open().unwrap(), [other]);
        assert_eq!(erasures.list().unwrap().len(), 1);
        assert!(!root.path().join(ERASURES).join(one.id()).exists());
        let completed = erasures.completed(one.id()).unwrap().unwrap();
        assert_eq!(
            (completed.by.as_str(), completed.completed_at.as_str()),
            ("anna", "1970-01-01T00:00:00.000Z")
        );
        assert_eq!(completed.servers, BTreeSet::from(["s-1".to_owned()]));
        let kept = std::fs::read_to_string(root.path().join(completed_key(one.id()))).unwrap();
        assert!(!kept.contains(&one.name[0].sha256) && !kept.contains(&one.salt), "{kept}");
    }

    #[test]
    fn a_marker_of_a_newer_version_is_refused_by_name() {
        let root = tempfile::tempdir().unwrap();
        let erasures = Erasures::new(ErasureStore::open(root.path().to_str().unwrap(), []).unwrap());
        let newer = Marker { format: 2, ..marker("C-1", &none()) };
        erasures.add(&newer).unwrap();
        let refused = erasures.open().unwrap_err().to_string();
        assert!(refused.contains(newer.id()) && refused.contains("in format 2"), "{refused}");
    }
}
