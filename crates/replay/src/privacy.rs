//! How records name customers, and how they hold the values of sensitive features.

use decision::Naming;
use event::privacy::{DecryptError, Pseudonyms, RecordedEntity, ValueCipher};
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
    /// stays as it is, and of what the key refuses its id alone is left; deciding again says so.
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
            match self.cipher.decrypt(encrypted, decision, entity) {
                Ok(lists) => {
                    *encrypted =
                        EncryptedValues { ciphertext: lists.encode_to_vec(), ..EncryptedValues::default() };
                }
                Err(DecryptError::Refused { key }) => {
                    *encrypted = EncryptedValues { key, ..EncryptedValues::default() };
                }
                Err(DecryptError::NoKey { .. } | DecryptError::NotRecorded) => {}
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
    let EncryptedValues { key, nonce, .. } = encrypted;
    if !key.is_empty() {
        let message = if nonce.is_empty() {
            format!(
                "sensitive values cannot be read with key `{key}` of --keys: that has another secret than the one that \
                 encrypted them, or they were changed; give the file with that secret"
            )
        } else {
            format!("sensitive values are encrypted with key `{key}`; give its file with --keys")
        };
        return Err(ValuesError::Encrypted(message));
    }
    if encrypted.ciphertext.is_empty() {
        let message = "sensitive values were not recorded, since no encryption key was configured";
        return Err(ValuesError::Encrypted(message.to_owned()));
    }
    FeatureValues::decode(&*encrypted.ciphertext).map_err(|error| ValuesError::Encrypted(error.to_string()))
}

#[cfg(test)]
mod tests {
    use event::keys::Keys;

    use super::*;

    /// A privacy whose key for values has this secret, the base64 of 32 bytes.
    fn privacy(id: &str, secret: &str) -> Privacy {
        let text =
            format!("[[key]]\nid = \"{id}\"\nsecret = \"{secret}\"\nuse = \"encryption\"\nactive = true\n");
        Privacy { cipher: ValueCipher::new(&Keys::parse("keys", &text).unwrap()), ..Privacy::default() }
    }

    #[test]
    fn what_keeps_values_from_being_read_is_said() {
        let [one, other] =
            ["AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=", "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI="];
        let id = Uuid::from_u128(7);
        let sensitive = FeatureValues { ints: vec![42], ..FeatureValues::default() };
        let customer = privacy("k", one).protect(
            FeatureValues::default(),
            sensitive.clone(),
            id,
            RecordedEntity::Customer,
        );
        let record = DecisionRecord {
            decision_id: id.to_string(),
            customer: Some(customer),
            ..DecisionRecord::default()
        };
        let read = |privacy: &Privacy| {
            let mut record = record.clone();
            privacy.open(&mut record);
            opened(record.customer.unwrap().encrypted.as_ref().unwrap())
        };
        assert_eq!(read(&privacy("k", one)).unwrap(), sensitive);
        for (privacy, expected) in [
            (Privacy::default(), "encrypted with key `k`; give its file with --keys"),
            (privacy("other", one), "encrypted with key `k`; give its file with --keys"),
            (privacy("k", other), "key `k` of --keys: that has another secret"),
        ] {
            let refused = read(&privacy).unwrap_err().to_string();
            assert!(refused.contains(expected), "{refused}");
        }
    }
}
