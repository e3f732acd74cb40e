//! Comparison with the Python library cryptography; `tests/golden/privacy.py` writes the values.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use uuid::Uuid;

use super::{PseudonymMode, Pseudonyms, RecordedEntity, ValueCipher, values};
use crate::keys::{KeyUse, Keys};
use crate::proto::{EncryptedValues, FeatureValues};

fn golden() -> Value {
    serde_json::from_str(include_str!("../../../../tests/golden/privacy.json")).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    STANDARD.decode(text(value)).unwrap()
}

/// The golden secrets for one use; the first is active.
fn keys(golden: &Value, purpose: KeyUse) -> Keys {
    let secrets = golden["secrets"].as_object().unwrap();
    let key = |(at, (id, secret)): (usize, (&String, &Value))| {
        format!(
            "[[key]]\nid = \"{id}\"\nsecret = {secret}\nuse = \"{}\"\nactive = {}\n",
            purpose.word(),
            at == 0
        )
    };
    Keys::parse("golden", &secrets.iter().enumerate().map(key).collect::<String>()).unwrap()
}

#[test]
fn pseudonyms_are_those_of_python() {
    let golden = golden();
    let pseudonyms = Pseudonyms::new(PseudonymMode::HmacSha256, &keys(&golden, KeyUse::Pseudonyms)).unwrap();
    let cases = golden["pseudonyms"].as_array().unwrap();
    assert_eq!(cases.len(), 8);
    for case in cases {
        let found = pseudonyms.under(text(&case["key"]), text(&case["customer"])).unwrap();
        assert_eq!(found.text, text(&case["pseudonym"]), "{case}");
    }
}

#[test]
fn encrypted_values_are_those_of_python() {
    let golden = golden();
    let keys = keys(&golden, KeyUse::Encryption);
    let cases = golden["encrypted"].as_array().unwrap();
    assert_eq!(cases.len(), 9);
    for case in cases {
        let list = |name: &str| case["values"][name].as_array().unwrap().iter();
        let expected = FeatureValues {
            floats: list("floats").map(|value| value.as_f64().unwrap() as f32).collect(),
            ints: list("ints").map(|value| value.as_i64().unwrap()).collect(),
            bools: list("bools").map(|value| value.as_u64().unwrap() as u8).collect(),
            strings: list("strings").map(|value| text(value).to_owned()).collect(),
            ..FeatureValues::default()
        };
        let decision = Uuid::parse_str(text(&case["decision"])).unwrap();
        let entity = match text(&case["entity"]) {
            "customer" => RecordedEntity::Customer,
            _ => RecordedEntity::Context,
        };
        let encrypted = EncryptedValues {
            key: text(&case["key"]).to_owned(),
            nonce: bytes(&case["nonce"]),
            ciphertext: bytes(&case["ciphertext"]),
        };
        let key = keys.named(KeyUse::Encryption, &encrypted.key).next().unwrap();
        let nonce = encrypted.nonce.clone().try_into().unwrap();
        let ours = values::encrypt_with(key, nonce, expected.clone(), decision, entity).unwrap();
        assert_eq!(ours, encrypted, "{case}");
        assert_eq!(
            ValueCipher::new(&keys).decrypt(&encrypted, decision, entity).unwrap(),
            expected,
            "{case}"
        );
    }
}
