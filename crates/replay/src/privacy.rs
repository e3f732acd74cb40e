//! How records name customers, and how they hold the values of sensitive features.

use decision::Naming;
use event::privacy::{Pseudonyms, RecordedEntity, ValueCipher};
use event::proto::{DecisionRecord, EncryptedValues, FeatureValues};
use prost::Message;
use uuid::Uuid;

use super::values::ValuesError;

/// Pseudonyms and keys. By default ids are recorded as they are, and sensitive values are not recorded.
#[derive(Debug, Clone, Default)]
pub struct Privacy {
    /// How records name customers.
    pub pseudonyms: Pseudonyms,
    /// Encrypts the values of sensitive features.
    pub cipher: ValueCipher,
}

impl Privacy {
    /// `open`, with the sensitive values encrypted; left out where there is no key.
    pub(crate) fn protect(
        &self,
        open: FeatureValues,
        sensitive: FeatureValues,
        decision: Uuid,
        entity: RecordedEntity,
    ) -> FeatureValues {
        let protected = self.cipher.protect(FeatureValues::default(), sensitive, decision, entity);
        let encrypted = match protected {
            Ok(values) => values.encrypted,
            Err(error) => {
                tracing::error!(%error, "sensitive values are left out of a record");
                Some(ValueCipher::omitted())
            }
        };
        FeatureValues { encrypted, ..open }
    }

    /// Decrypts the sensitive values of a record in memory, so that it can be decided again. What there is no key for
    /// stays as it is, and deciding again says so.
    pub fn open(&self, record: &mut DecisionRecord) {
        let Ok(decision) = Uuid::parse_str(&record.decision_id) else { return };
        let entities = [
            (&mut record.customer, RecordedEntity::Customer),
            (&mut record.context, RecordedEntity::Context),
        ];
        for (values, entity) in entities {
            let Some(encrypted) = values.as_mut().and_then(|values| values.encrypted.as_mut()) else {
                continue;
            };
            if let Ok(lists) = self.cipher.decrypt(encrypted, decision, entity) {
                *encrypted =
                    EncryptedValues { ciphertext: lists.encode_to_vec(), ..EncryptedValues::default() };
            }
        }
    }
}

/// How history names customers: as records do. By default, by their ids.
#[derive(Debug, Clone, Default)]
pub struct CustomerNames(Pseudonyms);

impl CustomerNames {
    /// Names by these pseudonyms.
    #[must_use]
    pub fn new(pseudonyms: Pseudonyms) -> Self {
        Self(pseudonyms)
    }
}

impl Naming for CustomerNames {
    fn pseudonyms(&self, id: &str, names: &mut Vec<String>) {
        let newest = self.0.of(id);
        let all = self.0.all(id);
        // Without keys, everybody goes by their id.
        if all.len() > 1 {
            names.extend(all.into_iter().filter(|name| *name != newest).map(|name| name.text));
            names.insert(0, newest.text);
        }
    }
}

/// The lists of sensitive values that [`Privacy::open`] has decrypted: they have neither a key nor a nonce.
pub(crate) fn opened(encrypted: &EncryptedValues) -> Result<FeatureValues, ValuesError> {
    if !encrypted.key.is_empty() {
        let message =
            format!("sensitive values are encrypted with key `{}`; give its file with --keys", encrypted.key);
        return Err(ValuesError::Encrypted(message));
    }
    if encrypted.ciphertext.is_empty() {
        let message = "sensitive values were not recorded, since no encryption key was configured";
        return Err(ValuesError::Encrypted(message.to_owned()));
    }
    FeatureValues::decode(&*encrypted.ciphertext).map_err(|error| ValuesError::Encrypted(error.to_string()))
}
