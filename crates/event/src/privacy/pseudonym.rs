//! Pseudonyms of customer ids: the same for the same key and id, and meaningless without the key.
//!
//! A pseudonym is the first 128 bits of HMAC-SHA-256(key, [`DOMAIN`] ‖ id), in hexadecimal. 128 bits, since records
//! are read by other programs and 32 letters are enough: among 10⁹ customers two share one with a probability of
//! 10⁻²¹, and half of the hash is what RFC 2104 (section 5) asks for at least. Hexadecimal, since databases compare
//! texts without regard to case, and spreadsheets take `-` and `=` at the beginning for a formula.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::keys::{Key, KeyName, KeyUse, Keys, SECRET_BYTES, hexadecimal};

/// Keeps pseudonyms apart from any other use of HMAC with the same key.
const DOMAIN: &[u8] = b"proffer customer pseudonym 1\0";

/// The bytes of a pseudonym.
const PSEUDONYM_BYTES: usize = 16;

/// The bytes of a block of SHA-256. A shorter key is filled up with zeros (RFC 2104, section 2).
const BLOCK_BYTES: usize = 64;

/// `records.pseudonyms`: whether records hold pseudonyms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PseudonymMode {
    /// Records hold the ids of customers.
    #[default]
    None,
    /// Records hold pseudonyms by HMAC-SHA-256.
    HmacSha256,
}

/// Who a record is about: `customer_id` and `pseudonym_key` of the record.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pseudonym {
    /// The id of the key that made it; empty where `text` is the id of the customer.
    pub key: String,
    /// The pseudonym, or the id.
    pub text: String,
}

/// Why there are no pseudonyms.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PseudonymError {
    /// There is no key that makes new ones.
    #[error(
        "`records.pseudonyms` is hmac-sha256, and `records.keys` has no key for pseudonyms; make a key file with \
         `proffer privacy keys --out FILE`"
    )]
    NoKey,
}

/// Makes pseudonyms, and knows those that any key of the file has made. Clones are cheap.
#[derive(Clone, Default)]
pub struct Pseudonyms {
    keyed: std::sync::Arc<[Keyed]>,
    /// The one of `keyed` that makes new ones.
    active: Option<usize>,
}

/// A key that HMAC has begun with: a pseudonym then takes two blocks of SHA-256 less.
struct Keyed {
    name: KeyName,
    begun: Hmac<Sha256>,
}

impl Pseudonyms {
    /// Pseudonyms as configured. Keys that make no new ones serve look-ups in every mode.
    ///
    /// # Errors
    /// Where pseudonyms are wanted and no key makes them.
    pub fn new(mode: PseudonymMode, keys: &Keys) -> Result<Self, PseudonymError> {
        let keyed = keys.of(KeyUse::Pseudonyms).map(Keyed::new).collect();
        let active = match mode {
            PseudonymMode::None => None,
            PseudonymMode::HmacSha256 => {
                Some(keys.of(KeyUse::Pseudonyms).position(|key| key.active).ok_or(PseudonymError::NoKey)?)
            }
        };
        Ok(Self { keyed, active })
    }

    /// How a new record names a customer. An unknown visitor, whose id is empty, has no pseudonym.
    #[must_use]
    pub fn of(&self, id: &str) -> Pseudonym {
        match self.active.and_then(|active| self.keyed.get(active)).filter(|_| !id.is_empty()) {
            Some(key) => key.pseudonym(id),
            None => Pseudonym { key: String::new(), text: id.to_owned() },
        }
    }

    /// Every way in which a record may name a customer: by their id, and by the pseudonym under each key.
    #[must_use]
    pub fn all(&self, id: &str) -> Vec<Pseudonym> {
        let plain = Pseudonym { key: String::new(), text: id.to_owned() };
        std::iter::once(plain).chain(self.keyed.iter().map(|key| key.pseudonym(id))).collect()
    }

    /// The pseudonym under one key, if there is such a key; under the first of this id, if there are more.
    #[must_use]
    pub fn under(&self, key: &str, id: &str) -> Option<Pseudonym> {
        self.keyed.iter().find(|known| known.name.id == key).map(|key| key.pseudonym(id))
    }

    /// The pseudonyms under every key that may be this one.
    #[must_use]
    pub fn all_under(&self, key: &KeyName, id: &str) -> Vec<Pseudonym> {
        self.keyed.iter().filter(|known| known.name.may_be(key)).map(|key| key.pseudonym(id)).collect()
    }

    /// Whether a key that may be this one is there.
    #[must_use]
    pub fn knows(&self, key: &KeyName) -> bool {
        self.keyed.iter().any(|known| known.name.may_be(key))
    }

    /// The keys, in the order of the file.
    pub fn keys(&self) -> impl Iterator<Item = &KeyName> {
        self.keyed.iter().map(|key| &key.name)
    }
}

impl fmt::Debug for Pseudonyms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pseudonyms")
            .field("keys", &self.keys().map(|key| &key.id).collect::<Vec<_>>())
            .field("active", &self.active.map(|active| &self.keyed[active].name.id))
            .finish()
    }
}

impl Keyed {
    fn new(key: &Key) -> Self {
        Self { name: KeyName::of(key), begun: hmac(key.secret.bytes()) }
    }

    fn pseudonym(&self, id: &str) -> Pseudonym {
        let mut mac = self.begun.clone();
        mac.update(DOMAIN);
        mac.update(id.as_bytes());
        let hash = mac.finalize().into_bytes();
        Pseudonym { key: self.name.id.clone(), text: hexadecimal(&hash[..PSEUDONYM_BYTES]) }
    }
}

/// Whether a text looks as pseudonyms do.
#[must_use]
pub fn is_pseudonym(text: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.len() == 2 * PSEUDONYM_BYTES && text.bytes().all(is_digit)
}

/// HMAC-SHA-256 with a key of 32 bytes.
pub(crate) fn hmac(key: &[u8; SECRET_BYTES]) -> Hmac<Sha256> {
    let mut block = zeroize::Zeroizing::new([0; BLOCK_BYTES]);
    block[..SECRET_BYTES].copy_from_slice(key);
    Hmac::new((&*block).into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keys::tests::keys;

    #[test]
    fn a_pseudonym_names_its_key_and_is_found_under_every_key() {
        let old =
            Pseudonyms::new(PseudonymMode::HmacSha256, &keys(&[("old", 1, "pseudonyms", true)])).unwrap();
        let both = keys(&[("old", 1, "pseudonyms", false), ("new", 2, "pseudonyms", true)]);
        let new = Pseudonyms::new(PseudonymMode::HmacSha256, &both).unwrap();
        let none = Pseudonyms::new(PseudonymMode::None, &both).unwrap();
        let recorded = [none.of("C-1"), old.of("C-1"), new.of("C-1")];
        assert_eq!(recorded[0], Pseudonym { key: String::new(), text: "C-1".to_owned() });
        assert_eq!([&recorded[1].key, &recorded[2].key], ["old", "new"]);
        assert_ne!(recorded[1].text, recorded[2].text);
        assert_eq!(new.all("C-1"), recorded);
        assert_eq!(none.all("C-1"), recorded);
        assert_eq!(new.under("old", "C-1").unwrap(), recorded[1]);
        assert_eq!(new.under("other", "C-1"), None);
    }

    #[test]
    fn two_secrets_under_one_id_are_told_apart() {
        let of = |listed: &[(&str, u8, &str, bool)]| {
            Pseudonyms::new(PseudonymMode::HmacSha256, &keys(listed)).unwrap()
        };
        let (first, second) = (of(&[("k", 1, "pseudonyms", true)]), of(&[("k", 2, "pseudonyms", true)]));
        let both = of(&[("k", 1, "pseudonyms", false), ("k", 2, "pseudonyms", true)]);
        let name = |of: &Pseudonyms| of.keys().next().unwrap().clone();
        assert!(!first.knows(&name(&second)) && both.knows(&name(&first)) && both.knows(&name(&second)));
        assert_eq!(first.all_under(&name(&second), "C-1"), []);
        assert_eq!(both.all_under(&name(&first), "C-1"), [first.of("C-1")]);
        // An older version has noted no fingerprint.
        let unknown = KeyName { fingerprint: None, ..name(&first) };
        assert!(first.knows(&unknown) && second.knows(&unknown));
        assert_eq!(both.all_under(&unknown, "C-1"), [first.of("C-1"), second.of("C-1")]);
    }

    #[test]
    fn an_unknown_visitor_has_no_pseudonym() {
        let keys = keys(&[("a", 1, "pseudonyms", true)]);
        let pseudonyms = Pseudonyms::new(PseudonymMode::HmacSha256, &keys).unwrap();
        assert_eq!(pseudonyms.of(""), Pseudonym { key: String::new(), text: String::new() });
    }

    #[test]
    fn pseudonyms_need_a_key_of_their_own() {
        let encryption = keys(&[("a", 1, "encryption", true)]);
        let refused = Pseudonyms::new(PseudonymMode::HmacSha256, &encryption).unwrap_err();
        assert!(refused.to_string().contains("proffer privacy keys"), "{refused}");
        assert_eq!(Pseudonyms::new(PseudonymMode::None, &Keys::default()).unwrap().all("C").len(), 1);
    }

    #[test]
    fn nothing_shows_a_key() {
        let keys = keys(&[("a", 7, "pseudonyms", true)]);
        let shown = format!("{:?}", Pseudonyms::new(PseudonymMode::HmacSha256, &keys).unwrap());
        assert_eq!(shown, "Pseudonyms { keys: [\"a\"], active: Some(\"a\") }");
    }

    proptest! {
        #[test]
        fn different_ids_and_keys_have_different_pseudonyms(
            one in "\\PC{1,20}", other in "\\PC{1,20}", first in 0_u8..9, second in 9_u8..20,
        ) {
            let keys = keys(&[("x", first, "pseudonyms", true), ("y", second, "pseudonyms", false)]);
            let pseudonyms = Pseudonyms::new(PseudonymMode::HmacSha256, &keys).unwrap();
            let text = |key, id: &str| pseudonyms.under(key, id).unwrap().text;
            prop_assert_eq!(text("x", &one) == text("x", &other), one == other);
            prop_assert_ne!(text("x", &one), text("y", &one));
            prop_assert!(is_pseudonym(&text("x", &one)) && !is_pseudonym(&one));
            prop_assert!(!text("x", &one).contains(&one) || one.len() < 4);
        }
    }
}
