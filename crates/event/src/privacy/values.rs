//! Values of sensitive features in records: encrypted, or left out.
//!
//! AES-256-GCM with a random nonce of 96 bits may encrypt 2³² messages with one key (NIST SP 800-38D, section 8.3).
//! A server that makes 1,000 decisions per second would need a new key each month. So each message has a key of its
//! own, derived by HKDF-Expand (RFC 5869, section 2.3; HMAC-SHA-256) from the secret with the decision's id and the
//! entity. Decision ids are unique, so that no derived key encrypts twice, and the number of messages per secret has
//! no limit that a server could reach. The nonce is random all the same. Should an id ever repeat, nothing is lost.
//!
//! The decision's id and the entity are the associated data, too: values cannot be moved to another record.
//! The lengths of texts can be told from the length of what is encrypted.

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce};
use hmac::Mac;
use prost::Message;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::pseudonym::hmac;
use crate::keys::{Key, KeyUse, Keys, SECRET_BYTES};
use crate::proto::{EncryptedValues, FeatureValues};

/// Keeps derived keys apart from any other use of the secret.
const DOMAIN: &[u8] = b"proffer record values 1\0";

/// The bytes of a nonce.
const NONCE_BYTES: usize = 12;

/// Whose values they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordedEntity {
    /// The customer.
    Customer,
    /// The call.
    Context,
}

impl RecordedEntity {
    /// The word of the feature schema.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Context => "context",
        }
    }
}

/// Encrypts and decrypts the values of sensitive features. Clones share the keys.
#[derive(Debug, Clone, Default)]
pub struct ValueCipher(Keys);

/// Why values could not be encrypted.
#[derive(Debug, thiserror::Error)]
pub enum EncryptError {
    /// The operating system has no random bytes.
    #[error("no random bytes for a nonce: {0}")]
    Random(getrandom::Error),
    /// More than AES-GCM can encrypt at once, which is 64 GiB.
    #[error("the values of sensitive features are too long")]
    TooLong,
}

/// Why encrypted values cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecryptError {
    /// They are not in the record.
    #[error("values of sensitive features were not recorded: no encryption key was configured")]
    NotRecorded,
    /// The key file lacks the key.
    #[error(
        "values of sensitive features are encrypted with key `{key}`, which `records.keys` does not have"
    )]
    NoKey {
        /// The key that the record names.
        key: String,
    },
    /// They were not encrypted with this key for this decision and entity, or were changed since.
    #[error(
        "values of sensitive features cannot be read with key `{key}`: they were changed, belong to another \
         decision, or were encrypted with another secret of that id"
    )]
    Refused {
        /// The key that the record names.
        key: String,
    },
}

impl ValueCipher {
    /// Encrypts with the active key for encryption, if there is one; decrypts with any.
    #[must_use]
    pub fn new(keys: &Keys) -> Self {
        Self(keys.clone())
    }

    /// Whether there is a key that encrypts.
    #[must_use]
    pub fn encrypts(&self) -> bool {
        self.0.active(KeyUse::Encryption).is_some()
    }

    /// `open` with the values of `sensitive` in its field `encrypted`. Without a key they are left out, and the field
    /// has an empty key to say so. Where `sensitive` has no values, there is no such field.
    ///
    /// # Errors
    /// When there are no random bytes. The values must then be left out: [`ValueCipher::omitted`].
    pub fn protect(
        &self,
        open: FeatureValues,
        sensitive: FeatureValues,
        decision: Uuid,
        entity: RecordedEntity,
    ) -> Result<FeatureValues, EncryptError> {
        let FeatureValues { floats, ints, bools, strings, .. } = &sensitive;
        if floats.is_empty() && ints.is_empty() && bools.is_empty() && strings.is_empty() {
            return Ok(FeatureValues { encrypted: None, ..open });
        }
        let encrypted = match self.0.active(KeyUse::Encryption) {
            Some(key) => encrypt(key, sensitive, decision, entity)?,
            None => Self::omitted(),
        };
        Ok(FeatureValues { encrypted: Some(encrypted), ..open })
    }

    /// What stands in a record instead of values that were left out.
    #[must_use]
    pub fn omitted() -> EncryptedValues {
        EncryptedValues::default()
    }

    /// The values that [`ValueCipher::protect`] has encrypted: lists alone.
    ///
    /// # Errors
    /// Where they were not recorded, or the key is not there, or they are not what was encrypted.
    pub fn decrypt(
        &self,
        encrypted: &EncryptedValues,
        decision: Uuid,
        entity: RecordedEntity,
    ) -> Result<FeatureValues, DecryptError> {
        let EncryptedValues { key: id, nonce, ciphertext } = encrypted;
        if id.is_empty() {
            return Err(DecryptError::NotRecorded);
        }
        let mut keys = self.0.named(KeyUse::Encryption, id).peekable();
        if keys.peek().is_none() {
            return Err(DecryptError::NoKey { key: id.clone() });
        }
        let refused = || DecryptError::Refused { key: id.clone() };
        let nonce: [u8; NONCE_BYTES] = nonce.as_slice().try_into().map_err(|_| refused())?;
        let associated = associated(decision, entity);
        // Several secrets may have had the id; what is decrypted is authentic.
        let decrypted = keys.find_map(|key| {
            let mut bytes = Zeroizing::new(ciphertext.clone());
            let cipher = cipher(key, decision, entity);
            cipher.decrypt_in_place(&Nonce::from(nonce), &associated, &mut *bytes).ok()?;
            Some(bytes)
        });
        FeatureValues::decode(decrypted.ok_or_else(refused)?.as_slice()).map_err(|_| refused())
    }
}

fn encrypt(
    key: &Key,
    sensitive: FeatureValues,
    decision: Uuid,
    entity: RecordedEntity,
) -> Result<EncryptedValues, EncryptError> {
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce).map_err(EncryptError::Random)?;
    encrypt_with(key, nonce, sensitive, decision, entity)
}

pub(super) fn encrypt_with(
    key: &Key,
    nonce: [u8; NONCE_BYTES],
    sensitive: FeatureValues,
    decision: Uuid,
    entity: RecordedEntity,
) -> Result<EncryptedValues, EncryptError> {
    let lists = FeatureValues { sources: Vec::new(), encrypted: None, ..sensitive };
    let mut bytes = Vec::with_capacity(lists.encoded_len() + 16);
    // A vector grows as needed.
    let _ = lists.encode(&mut bytes);
    let (cipher, associated) = (cipher(key, decision, entity), associated(decision, entity));
    let encrypted = cipher.encrypt_in_place(&Nonce::from(nonce), &associated, &mut bytes);
    encrypted.map_err(|_| EncryptError::TooLong)?;
    Ok(EncryptedValues { key: key.id.clone(), nonce: nonce.to_vec(), ciphertext: bytes })
}

/// The cipher with the key of one message.
fn cipher(key: &Key, decision: Uuid, entity: RecordedEntity) -> Aes256Gcm {
    let mut mac = hmac(key.secret.bytes());
    mac.update(DOMAIN);
    mac.update(&associated(decision, entity));
    // The only block that 32 bytes take.
    mac.update(&[1]);
    let mut derived = Zeroizing::new([0; SECRET_BYTES]);
    derived.copy_from_slice(&mac.finalize().into_bytes());
    Aes256Gcm::new((&*derived).into())
}

/// The decision's id, whose length is fixed, and the entity.
fn associated(decision: Uuid, entity: RecordedEntity) -> Vec<u8> {
    [decision.as_bytes(), entity.word().as_bytes()].concat()
}

#[cfg(test)]
mod tests;
