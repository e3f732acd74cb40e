use proptest::prelude::*;

use super::*;
use crate::keys::tests::keys;

fn cipher_of(keys: &Keys) -> ValueCipher {
    ValueCipher::new(keys)
}

/// A cipher with an old and an active key.
fn both() -> ValueCipher {
    cipher_of(&keys(&[("old", 1, "encryption", false), ("new", 2, "encryption", true)]))
}

fn values() -> impl Strategy<Value = FeatureValues> {
    let floats = prop::collection::vec(-1e6_f32..1e6, 0..5);
    let lists = (floats, prop::collection::vec(any::<i64>(), 0..5), prop::collection::vec(0_u8..2, 0..5));
    (lists, prop::collection::vec("\\PC{0,12}", 1..5)).prop_map(|((floats, ints, bools), strings)| {
        FeatureValues { floats, ints, bools, strings, ..FeatureValues::default() }
    })
}

fn open() -> FeatureValues {
    FeatureValues { sources: vec![1, 2, 1], floats: vec![0.5], ..FeatureValues::default() }
}

const CUSTOMER: RecordedEntity = RecordedEntity::Customer;

#[test]
fn without_a_key_values_are_left_out_and_the_record_says_so() {
    let cipher = cipher_of(&keys(&[("p", 1, "pseudonyms", true)]));
    let sensitive = FeatureValues { strings: vec!["married".to_owned()], ..FeatureValues::default() };
    let record = cipher.protect(open(), sensitive, Uuid::nil(), CUSTOMER).unwrap();
    let encrypted = record.encrypted.clone().unwrap();
    assert_eq!((&encrypted.key, encrypted.ciphertext.len()), (&String::new(), 0));
    assert_eq!(FeatureValues { encrypted: None, ..record }, open());
    let refused = both().decrypt(&encrypted, Uuid::nil(), CUSTOMER).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "values of sensitive features were not recorded: no encryption key was configured"
    );
}

#[test]
fn without_values_there_is_nothing_to_encrypt() {
    let record = both().protect(open(), FeatureValues::default(), Uuid::nil(), CUSTOMER).unwrap();
    assert_eq!(record, open());
}

#[test]
fn a_key_that_is_not_there_is_named() {
    let sensitive = FeatureValues { ints: vec![1], ..FeatureValues::default() };
    let record = both().protect(open(), sensitive, Uuid::nil(), CUSTOMER).unwrap();
    let other = cipher_of(&keys(&[("other", 2, "encryption", true)]));
    let refused = other.decrypt(&record.encrypted.unwrap(), Uuid::nil(), CUSTOMER).unwrap_err();
    assert!(refused.to_string().contains("key `new`"), "{refused}");
}

proptest! {
    #[test]
    fn values_are_read_as_they_were_recorded(values in values(), id: u128, context: bool) {
        let entity = if context { RecordedEntity::Context } else { CUSTOMER };
        let id = Uuid::from_u128(id);
        let record = both().protect(open(), values.clone(), id, entity).unwrap();
        let encrypted = record.encrypted.clone().unwrap();
        prop_assert_eq!(&encrypted.key, "new");
        prop_assert_eq!(encrypted.nonce.len(), NONCE_BYTES);
        prop_assert_eq!(FeatureValues { encrypted: None, ..record }, open());
        prop_assert_eq!(both().decrypt(&encrypted, id, entity).unwrap(), values.clone());
        // Also once another key makes what is new.
        let later = keys(&[("new", 2, "encryption", false), ("newer", 3, "encryption", true)]);
        prop_assert_eq!(cipher_of(&later).decrypt(&encrypted, id, entity).unwrap(), values);
    }

    #[test]
    fn another_secret_decision_or_entity_is_refused(values in values(), id: u128, other: u128) {
        prop_assume!(id != other);
        let (id, other) = (Uuid::from_u128(id), Uuid::from_u128(other));
        let encrypted = both().protect(open(), values, id, CUSTOMER).unwrap().encrypted.unwrap();
        let refused = Err(DecryptError::Refused { key: "new".to_owned() });
        let wrong = cipher_of(&keys(&[("new", 9, "encryption", true)]));
        prop_assert_eq!(wrong.decrypt(&encrypted, id, CUSTOMER), refused.clone());
        prop_assert_eq!(both().decrypt(&encrypted, other, CUSTOMER), refused.clone());
        prop_assert_eq!(both().decrypt(&encrypted, id, RecordedEntity::Context), refused.clone());
        // With both secrets under the id it is read.
        let several = keys(&[("new", 9, "encryption", true), ("new", 2, "encryption", false)]);
        prop_assert!(cipher_of(&several).decrypt(&encrypted, id, CUSTOMER).is_ok());
        let renamed = EncryptedValues { key: "old".to_owned(), ..encrypted };
        prop_assert_eq!(both().decrypt(&renamed, id, CUSTOMER), Err(DecryptError::Refused { key: "old".to_owned() }));
    }

    #[test]
    fn a_changed_byte_is_refused(
        values in values(), id: u128, at in any::<prop::sample::Index>(), change in 1_u8..=255, cut in any::<bool>(),
    ) {
        let id = Uuid::from_u128(id);
        let mut encrypted = both().protect(open(), values, id, CUSTOMER).unwrap().encrypted.unwrap();
        let at = at.index(encrypted.ciphertext.len() + encrypted.nonce.len());
        match at.checked_sub(encrypted.nonce.len()) {
            None => encrypted.nonce[at] ^= change,
            Some(at) if cut => encrypted.ciphertext.truncate(at),
            Some(at) => encrypted.ciphertext[at] ^= change,
        }
        let refused = Err(DecryptError::Refused { key: "new".to_owned() });
        prop_assert_eq!(both().decrypt(&encrypted, id, CUSTOMER), refused);
    }

    #[test]
    fn nothing_of_the_values_is_in_the_clear(text in "[a-z]{12,30}", id: u128) {
        let values = FeatureValues { strings: vec![text.clone()], ..FeatureValues::default() };
        let record = both().protect(open(), values, Uuid::from_u128(id), CUSTOMER).unwrap();
        let bytes = record.encode_to_vec();
        prop_assert!(!bytes.windows(6).any(|window| text.as_bytes().starts_with(window)));
    }
}
