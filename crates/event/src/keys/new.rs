//! A new key file.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::NaiveDate;
use zeroize::Zeroizing;

use super::{Key, KeyName, KeyUse, Keys, KeysError, SECRET_BYTES, Secret};

/// What stands at the top of a new file.
const HEAD: &str = "\
# The keys behind pseudonyms and encrypted values in the records of decisions: `records.keys` of the configuration.
# Every server and command that writes or reads records needs this file. It belongs in no store, backup or repository
# that those who read records can read. Without it, pseudonyms cannot be found and encrypted values not read again.
#
# To change a key: add a [[key]] with a new id and `openssl rand -base64 32` as its secret, give it `active = true`,
# and set the one before to false. A key may go when no record that names it is kept any more. If a secret was replaced
# under the same id, add the former one as a key of its own, with that id.
";

impl Keys {
    /// Makes a new file with a fresh key for each use, which only its owner can read. Their ids have the month of
    /// `today` and the beginning of their fingerprints, so that no two files have the same.
    ///
    /// # Errors
    /// Where there is such a file, or it cannot be written.
    pub fn create(path: &Path, today: NaiveDate) -> Result<Self, KeysError> {
        let text = fresh(today)?;
        let failed = |source| KeysError::Io { path: path.to_owned(), source };
        let created = File::options().write(true).create_new(true).mode(0o600).open(path);
        let mut file = created.map_err(|error| {
            let exists = error.kind() == ErrorKind::AlreadyExists;
            if exists { KeysError::Exists { path: path.to_owned() } } else { failed(error) }
        })?;
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        if let Err(error) = written {
            // Half a file would be in the way of the next attempt.
            let _ = fs::remove_file(path);
            return Err(failed(error));
        }
        let directory = objects::files::parent(path);
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)?;
        Self::read(path)
    }
}

/// The letters of the fingerprint that an id has.
const ID_FINGERPRINT: usize = 8;

/// The text of a new file.
fn fresh(today: NaiveDate) -> Result<Zeroizing<String>, KeysError> {
    // Reserved whole: a text that grows leaves copies of secrets behind.
    let mut text = Zeroizing::new(String::with_capacity(HEAD.len() + 512));
    text.push_str(HEAD);
    for (word, purpose) in KeyUse::ALL {
        let mut secret = Zeroizing::new([0; SECRET_BYTES]);
        getrandom::fill(&mut *secret).map_err(KeysError::Random)?;
        let encoded = Zeroizing::new(STANDARD.encode(*secret));
        let id = format!("{}-{}", purpose.word(), today.format("%Y-%m"));
        let key = Key { id, purpose, active: true, secret: Secret(secret) };
        let fingerprint = KeyName::of(&key).fingerprint.unwrap_or_default();
        let id = format!("{}-{}", key.id, fingerprint.get(..ID_FINGERPRINT).unwrap_or_default());
        // Writing to a text cannot fail.
        let _ = write!(*text, "\n[[key]]\nid = \"{id}\"\nsecret = \"");
        text.push_str(&encoded);
        let _ = write!(*text, "\"\nuse = \"{word}\"\nactive = true\n");
    }
    Ok(text)
}
