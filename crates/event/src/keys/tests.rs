use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use chrono::NaiveDate;
use proptest::prelude::*;

use super::*;

/// The base64 of 32 equal bytes.
pub(crate) fn secret(byte: u8) -> String {
    STANDARD.encode([byte; SECRET_BYTES])
}

/// A key of a file.
fn key(id: &str, byte: u8, purpose: &str, active: bool) -> String {
    format!("[[key]]\nid = \"{id}\"\nsecret = \"{}\"\nuse = \"{purpose}\"\nactive = {active}\n", secret(byte))
}

/// Keys by id, byte of the secret, use, and whether they are active.
pub(crate) fn keys(listed: &[(&str, u8, &str, bool)]) -> Keys {
    let text: String =
        listed.iter().map(|(id, byte, purpose, active)| key(id, *byte, purpose, *active)).collect();
    Keys::parse("records.keys", &text).unwrap()
}

fn problems(text: &str) -> String {
    Keys::parse("records.keys", text).unwrap_err().to_string()
}

#[test]
fn keys_are_found_by_use_and_id() {
    let text = [
        key("2025", 1, "pseudonyms", false),
        key("2026", 2, "pseudonyms", true),
        key("values", 3, "encryption", true),
    ]
    .concat();
    let keys = Keys::parse("records.keys", &text).unwrap();
    assert_eq!(keys.active(KeyUse::Pseudonyms).unwrap().id, "2026");
    assert_eq!(keys.active(KeyUse::Encryption).unwrap().secret.bytes(), &[3; SECRET_BYTES]);
    assert_eq!(keys.of(KeyUse::Pseudonyms).map(|key| key.id.as_str()).collect::<Vec<_>>(), ["2025", "2026"]);
    assert_eq!(keys.named(KeyUse::Pseudonyms, "2025").count(), 1);
    assert_eq!(keys.named(KeyUse::Encryption, "2025").count(), 0);
    // Only one use needs keys.
    let keys = Keys::parse("records.keys", &key("a", 1, "encryption", true)).unwrap();
    assert!(keys.active(KeyUse::Pseudonyms).is_none());
}

#[test]
fn every_problem_is_reported_with_its_line() {
    let text = [
        key("same", 1, "pseudonyms", true),
        key("same", 2, "encryption", true),
        key("a b", 3, "pseudonyms", false),
        key("copy", 1, "encryption", false),
        key("word", 4, "signatures", false),
        "[[key]]\nid = \"\"\nuse = \"encryption\"\nsecert = \"x\"\n".to_owned(),
    ]
    .concat();
    let found = problems(&text);
    for part in [
        "records.keys:7: key `same`: a key for another use has this id",
        "records.keys:12: key `a b`: `id` must be letters, digits, - _ .",
        "records.keys:18: key `copy`: it is that of key `same`; each key needs its own",
        "records.keys:24: key `word`: `use` must be one of pseudonyms, encryption, not \"signatures\"",
        "records.keys:27: key ``: `id` must not be empty",
        "`secret` is missing; `secret` must be the base64 of 32 bytes",
        "unknown key `secert`; did you mean `secret`?",
    ] {
        assert!(found.contains(part), "{part} in {found}");
    }
    assert!(problems("").contains("no [[key]]"));
    let none = problems(&key("a", 1, "encryption", false));
    assert!(none.contains("no key for encryption has `active = true`"), "{none}");
    let two = [key("a", 1, "pseudonyms", true), key("b", 2, "pseudonyms", true)].concat();
    assert!(problems(&two).contains("the keys a, b for pseudonyms are all active"), "{}", problems(&two));
}

#[test]
fn keys_of_a_use_may_share_an_id() {
    let listed = [("a", 1, "pseudonyms", false), ("a", 2, "pseudonyms", true), ("b", 3, "encryption", true)];
    let keys = keys(&listed);
    assert_eq!(keys.named(KeyUse::Pseudonyms, "a").count(), 2);
    assert_eq!(keys.active(KeyUse::Pseudonyms).unwrap().secret.bytes(), &[2; SECRET_BYTES]);
    let names: HashSet<_> = keys.of(KeyUse::Pseudonyms).map(KeyName::of).collect();
    assert_eq!(names.len(), 2);
}

#[test]
fn secrets_are_of_32_bytes() {
    let text = key("a", 1, "encryption", true);
    for (wrong, why) in [
        (STANDARD.encode([1; 31]), "a byte too few"),
        (STANDARD.encode([1; 33]), "a byte too many"),
        ("not base64!".to_owned(), "no base64"),
        (String::new(), "nothing"),
    ] {
        let found = problems(&text.replace(&secret(1), &wrong));
        assert!(
            found.contains("records.keys:3: key `a`: `secret` must be the base64 of 32 bytes"),
            "{why}: {found}"
        );
        assert!(wrong.is_empty() || !found.contains(&wrong), "{found}");
    }
}

#[test]
fn nothing_shows_a_secret() {
    let keys = Keys::parse("records.keys", &key("a", 200, "encryption", true)).unwrap();
    let shown = format!("{keys:?}");
    assert!(shown.contains("Secret(…)") && !shown.contains("200"), "{shown}");
    // A syntax error on the line of the secret.
    let broken = key("a", 200, "encryption", true).replace(&format!("\"{}\"", secret(200)), &secret(200));
    let found = problems(&broken);
    assert!(found.contains("records.keys:3: is not TOML here"), "{found}");
    assert!(!found.contains(&secret(200)[..8]), "{found}");
}

#[test]
fn a_file_that_others_can_read_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("records.keys");
    fs::write(&path, key("a", 1, "encryption", true)).unwrap();
    for (mode, allowed) in [
        (0o600, true),
        (0o400, true),
        (0o440, true),
        (0o640, true),
        (0o604, false),
        (0o602, false),
        (0o601, false),
        (0o620, false),
        (0o660, false),
        (0o644, false),
    ] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        match Keys::read(&path) {
            Ok(_) => assert!(allowed, "{mode:o}"),
            Err(error) => {
                let message = error.to_string();
                assert!(!allowed, "{mode:o}: {message}");
                assert!(message.contains(&format!("mode {mode:03o}")), "{message}");
                assert!(message.contains("chmod 600"), "{message}");
            }
        }
    }
}

#[test]
fn what_is_no_key_file_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("records.keys");
    assert!(matches!(Keys::read(&path), Err(KeysError::Io { .. })));
    assert!(Keys::read(directory.path()).unwrap_err().to_string().contains("is not a file"));
    let wrong: [(&[u8], &str); 3] =
        [(b"\xff\xfe", "is not UTF-8"), (b"", "no [[key]]"), (&vec![b'#'; 2 << 20], "longer than 1 MiB")];
    for (bytes, message) in wrong {
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let found = Keys::read(&path).unwrap_err().to_string();
        assert!(found.contains("records.keys") && found.contains(message), "{found}");
    }
}

#[test]
fn a_new_file_has_fresh_keys_and_replaces_none() {
    let directory = tempfile::tempdir().unwrap();
    let today = NaiveDate::from_ymd_opt(2026, 11, 30).unwrap();
    let [one, other] = ["one", "other"].map(|name| {
        let path = directory.path().join(name);
        let made = Keys::create(&path, today).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        for purpose in [KeyUse::Pseudonyms, KeyUse::Encryption] {
            let key = made.active(purpose).unwrap();
            let fingerprint = KeyName::of(key).fingerprint.unwrap();
            assert_eq!(key.id, format!("{}-2026-11-{}", purpose.word(), &fingerprint[..8]));
        }
        made
    });
    // Those of the same month have other names.
    let ids: HashSet<_> = [&one, &other].iter().flat_map(|keys| keys.0.iter().map(|key| &key.id)).collect();
    assert_eq!(ids.len(), 4);
    let secrets: Vec<_> =
        [&one, &other].iter().flat_map(|keys| keys.0.iter().map(|key| *key.secret.bytes())).collect();
    for (at, secret) in secrets.iter().enumerate() {
        assert_ne!(secret, &[0; SECRET_BYTES]);
        assert!(!secrets[..at].contains(secret));
    }
    let before = fs::read(directory.path().join("one")).unwrap();
    assert!(matches!(Keys::create(&directory.path().join("one"), today), Err(KeysError::Exists { .. })));
    assert_eq!(fs::read(directory.path().join("one")).unwrap(), before);
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,200}") {
        let _ = Keys::parse("records.keys", &text);
    }
}
