use std::ops::RangeInclusive;

use super::*;
use crate::keys::tests::keys;
use crate::privacy::{PseudonymMode, Pseudonyms};
use crate::proto::ShadowRecord;
use crate::sealed::testing::{DAY, Files, NOON, decision, opened, shadow};

/// Keys for both uses.
fn listed() -> [(&'static str, u8, &'static str, bool); 3] {
    [("old", 1, "pseudonyms", false), ("new", 2, "pseudonyms", true), ("values", 3, "encryption", true)]
}

fn record(pseudonyms: &Pseudonyms, id: &str, decided_at: i64, cipher: &ValueCipher) -> DecisionRecord {
    let name = pseudonyms.of(id);
    let record = decision(decided_at);
    let sensitive = FeatureValues { strings: vec![format!("secret of {id}")], ..FeatureValues::default() };
    let decision = Uuid::parse_str(&record.decision_id).unwrap();
    let open = record.customer.clone().unwrap();
    let customer = cipher.protect(open, sensitive, decision, RecordedEntity::Customer).unwrap();
    DecisionRecord { customer_id: name.text, pseudonym_key: name.key, customer: Some(customer), ..record }
}

fn exported(reader: &EventReader, subject: &Subject, cipher: &ValueCipher) -> Value {
    let mut out = Vec::new();
    let more = [("features", serde_json::json!({ "age": 42 }))];
    let count = write(reader, subject, cipher, &|_| None, &more, &mut out).unwrap();
    let whole: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(whole["decisions"].as_array().unwrap().len() as u64, count);
    whole
}

#[test]
fn all_records_of_a_person_are_collected_by_id_and_by_every_pseudonym() {
    let with_keys = keys(&listed());
    let cipher = ValueCipher::new(&with_keys);
    let plain = Pseudonyms::new(PseudonymMode::None, &with_keys).unwrap();
    let old = Pseudonyms::new(PseudonymMode::HmacSha256, &keys(&[("old", 1, "pseudonyms", true)])).unwrap();
    let new = Pseudonyms::new(PseudonymMode::HmacSha256, &with_keys).unwrap();
    let files = Files::new();
    let days: RangeInclusive<i64> = 0..=1;
    let sealed: Vec<_> = days
        .flat_map(|day| [&plain, &old].map(|pseudonyms| (pseudonyms, NOON + day * DAY)))
        .flat_map(|(pseudonyms, at)| ["C-1", "C-2"].map(|id| record(pseudonyms, id, at, &cipher)))
        .collect();
    files.seal("s", 1, 1, &sealed);
    // A customer whose id is the pseudonym of another.
    let odd = record(&plain, &new.of("C-1").text, NOON, &cipher);
    let log = files.log("s", 2, 9, &[record(&new, "C-1", NOON, &cipher), odd]);
    let reader = EventReader::new(files.store().clone()).with_opened(opened("s", &[log]));
    let found = exported(&reader, &Subject::new("C-1", &new).unwrap(), &cipher);
    assert_eq!(found["customer_id"], "C-1");
    assert_eq!(found["features"]["age"], 42);
    assert_eq!(found["pseudonyms"][1]["key"], "new");
    assert_eq!(found["pseudonyms"][1]["pseudonym"], new.of("C-1").text.as_str());
    let decisions = found["decisions"].as_array().unwrap();
    let keys: Vec<&str> = decisions.iter().map(|one| one["pseudonym_key"].as_str().unwrap()).collect();
    assert_eq!(keys.iter().filter(|key| **key == "old").count(), 2);
    assert_eq!(keys.iter().filter(|key| **key == "new").count(), 1);
    assert_eq!(keys.iter().filter(|key| key.is_empty()).count(), 2);
    for one in decisions {
        assert_eq!(one["sensitive"]["customer"]["strings"][0], "secret of C-1");
        assert_eq!(one["placement"], "app_home");
    }
    let nobody = exported(&reader, &Subject::new("C-3", &new).unwrap(), &cipher);
    assert!(nobody["decisions"].as_array().unwrap().is_empty());
}

#[test]
fn comparisons_with_shadows_are_a_part_of_the_document() {
    let with_keys = keys(&listed());
    let pseudonyms = Pseudonyms::new(PseudonymMode::HmacSha256, &with_keys).unwrap();
    let compared = |id: &str, at| {
        let name = pseudonyms.of(id);
        ShadowRecord { customer_id: name.text, pseudonym_key: name.key, ..shadow(at) }
    };
    let files = Files::new();
    files.seal("s", 1, 1, &[compared("C-1", NOON), compared("C-2", NOON)]);
    let log = files.log("s", 2, 3, &[compared("C-1", NOON + 1)]);
    let reader = EventReader::new(files.store().clone()).with_opened(opened("s", &[log]));
    let (subject, mut out) = (Subject::new("C-1", &pseudonyms).unwrap(), Vec::new());
    let count = write(&reader, &subject, &ValueCipher::default(), &|_| None, &[], &mut out).unwrap();
    let found: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!((count, found["shadows"].as_array().unwrap().len()), (2, 2));
    for one in found["shadows"].as_array().unwrap() {
        assert_eq!(one["customer_id"], pseudonyms.of("C-1").text.as_str());
        assert_eq!(one["champion_ranks"], serde_json::json!([1, 2, 3]));
    }
    assert!(found["decisions"].as_array().unwrap().is_empty());
}

#[test]
fn values_that_cannot_be_decrypted_say_why() {
    let with_keys = keys(&listed());
    let plain = Pseudonyms::new(PseudonymMode::None, &with_keys).unwrap();
    let files = Files::new();
    let encrypted = record(&plain, "C-1", NOON, &ValueCipher::new(&with_keys));
    let omitted = record(&plain, "C-1", NOON + 1, &ValueCipher::default());
    let without = DecisionRecord { customer_id: "C-1".to_owned(), ..decision(NOON + 2) };
    files.seal("s", 1, 1, &[encrypted, omitted, without]);
    let reader = EventReader::new(files.store().clone());
    let found = exported(&reader, &Subject::new("C-1", &plain).unwrap(), &ValueCipher::default());
    let why = |at: usize| found["decisions"][at]["sensitive"]["customer"]["unreadable"].as_str();
    assert!(why(0).unwrap().contains("key `values`, which `records.keys` does not have"), "{found}");
    assert!(why(1).unwrap().contains("no encryption key was configured"), "{found}");
    assert_eq!(found["decisions"][2].get("sensitive"), None);
}

#[test]
fn nobody_is_no_subject() {
    assert_eq!(Subject::new("", &Pseudonyms::default()), None);
    let subject = Subject::new("C-1", &Pseudonyms::default()).unwrap();
    assert_eq!(format!("{subject:?}"), "Subject(…)");
}
