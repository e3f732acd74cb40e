//! Which key is meant: an id alone does not say, as two key files may have other secrets under it.

use std::fmt;
use std::fmt::Write as _;

use hmac::Mac;
use serde::{Deserialize, Serialize};

use super::Key;
use crate::privacy::hmac;
use crate::proto::KeyFingerprint;

/// Keeps fingerprints apart from any other use of HMAC with the same key.
const DOMAIN: &[u8] = b"proffer key fingerprint 1\0";

/// The bytes of a fingerprint: it tells secrets apart that were mixed up, not those of an attacker.
const FINGERPRINT_BYTES: usize = 8;

/// Stands between the id and the fingerprint. No id has it.
const BEFORE_FINGERPRINT: char = '@';

/// The id of a key and the fingerprint of its secret, as a text `id@fingerprint`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct KeyName {
    /// The id.
    pub id: String,
    /// The first 64 bits of HMAC-SHA-256(secret, [`DOMAIN`]), in hexadecimal. `None` in what a version wrote that
    /// noted no fingerprints.
    pub fingerprint: Option<String>,
}

impl KeyName {
    /// The name of a key.
    #[must_use]
    pub fn of(key: &Key) -> Self {
        let mut mac = hmac(key.secret.bytes());
        mac.update(DOMAIN);
        let fingerprint = hexadecimal(&mac.finalize().into_bytes()[..FINGERPRINT_BYTES]);
        Self { id: key.id.clone(), fingerprint: Some(fingerprint) }
    }

    /// Whether both may be the same key: they have the same id, and not the fingerprints of two secrets.
    #[must_use]
    pub fn may_be(&self, other: &Self) -> bool {
        let are_two = self.fingerprint.is_some()
            && other.fingerprint.is_some()
            && self.fingerprint != other.fingerprint;
        self.id == other.id && !are_two
    }

    /// Whether a text names it: its id, or that with the fingerprint.
    #[must_use]
    pub fn is_called(&self, text: &str) -> bool {
        self.id == text || self.to_string() == text
    }

    /// What a record's key may be in a file that says of `named` that its server had them.
    pub(crate) fn candidates(id: &str, named: &[Self]) -> Vec<Self> {
        let found: Vec<Self> = named.iter().filter(|name| name.id == id).cloned().collect();
        if found.is_empty() { vec![Self { id: id.to_owned(), fingerprint: None }] } else { found }
    }

    /// Those that the header of a log has.
    pub(crate) fn in_header(keys: &[KeyFingerprint]) -> Vec<Self> {
        let name = |key: &KeyFingerprint| Self {
            id: key.id.clone(),
            fingerprint: Some(key.fingerprint.clone()).filter(|fingerprint| !fingerprint.is_empty()),
        };
        keys.iter().map(name).collect()
    }

    /// As the header of a log has them.
    pub(crate) fn for_header(names: &[Self]) -> Vec<KeyFingerprint> {
        let key = |name: &Self| KeyFingerprint {
            id: name.id.clone(),
            fingerprint: name.fingerprint.clone().unwrap_or_default(),
        };
        names.iter().map(key).collect()
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)?;
        match &self.fingerprint {
            Some(fingerprint) => write!(f, "{BEFORE_FINGERPRINT}{fingerprint}"),
            None => Ok(()),
        }
    }
}

impl From<String> for KeyName {
    fn from(text: String) -> Self {
        match text.split_once(BEFORE_FINGERPRINT) {
            Some((id, fingerprint)) => Self { id: id.to_owned(), fingerprint: Some(fingerprint.to_owned()) },
            None => Self { id: text, fingerprint: None },
        }
    }
}

impl From<KeyName> for String {
    fn from(name: KeyName) -> Self {
        name.to_string()
    }
}

/// Bytes in hexadecimal.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keys::KeyUse;
    use crate::keys::tests::keys;

    /// The name of a key with this id, whose secret is made of this byte.
    fn name(id: &str, byte: u8) -> KeyName {
        let keys = keys(&[(id, byte, "pseudonyms", true)]);
        KeyName::of(keys.active(KeyUse::Pseudonyms).unwrap())
    }

    #[test]
    fn a_fingerprint_is_of_the_secret() {
        // By `hmac.new(bytes([7] * 32), b"proffer key fingerprint 1\0", "sha256").hexdigest()[:16]` of Python.
        assert_eq!(name("2026-11", 7).to_string(), "2026-11@b6efbe1c560942df");
        assert_eq!(name("a", 7).fingerprint, name("b", 7).fingerprint);
    }

    #[test]
    fn what_is_known_of_the_key_of_a_record_is_said() {
        let named = [name("a", 1), name("a", 2), name("b", 3)];
        assert_eq!(KeyName::candidates("a", &named), named[..2]);
        assert_eq!(KeyName::candidates("c", &named), [KeyName { id: "c".to_owned(), fingerprint: None }]);
        assert_eq!(KeyName::in_header(&KeyName::for_header(&named)), named);
    }

    proptest! {
        #[test]
        fn a_name_is_read_as_it_was_written(id in "[a-zA-Z0-9_.-]{1,64}", byte in any::<u8>(), known in any::<bool>()) {
            let name = KeyName { fingerprint: name(&id, byte).fingerprint.filter(|_| known), id };
            prop_assert_eq!(KeyName::from(name.to_string()), name.clone());
            prop_assert_eq!(String::from(name.clone()), name.to_string());
        }

        #[test]
        fn two_secrets_under_one_id_are_two_keys(one in any::<u8>(), other in any::<u8>(), ids in "[ab]{2}") {
            let (id, other_id) = ids.split_at(1);
            let (first, second) = (name(id, one), name(other_id, other));
            prop_assert_eq!(first.may_be(&second), one == other && id == other_id);
            // What an older version wrote may be either.
            let unknown = KeyName { id: id.to_owned(), fingerprint: None };
            prop_assert!(first.may_be(&unknown) && unknown.may_be(&first));
            prop_assert_eq!(unknown.may_be(&second), id == other_id);
        }
    }
}
