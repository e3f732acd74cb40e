//! The key file: the secrets behind pseudonyms and encrypted values. It never lies in a store.
//!
//! ```toml
//! [[key]]
//! id = "2026-11"        # letters, digits, - _ . ; records name it, logs also the fingerprint of the secret
//! secret = "…"          # base64 of 32 bytes
//! use = "pseudonyms"    # or "encryption"
//! active = true         # exactly one per use makes what is new; the others are for what is recorded already
//! ```
//! Secrets are shown by nothing in this crate, and overwritten when they are dropped. No message quotes the file.

mod name;
mod new;
#[cfg(test)]
pub(crate) mod tests;

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use document::{Document, Problems, Table};
use rustix::fs::OFlags;
use zeroize::Zeroizing;

pub use self::name::KeyName;
pub(crate) use self::name::hexadecimal;

/// The bytes of a secret: the key length of AES-256, and the output length of SHA-256.
pub const SECRET_BYTES: usize = 32;

/// The most bytes of a key file: some thousand keys.
const FILE_BYTES: u64 = 1 << 20;

/// The most letters of a key's id, which every record repeats.
const ID_LETTERS: usize = 64;

/// Access that a key file must not give: anything to other users, and writing to the group. The group may read, since
/// that is how Kubernetes hands a secret to a process that is not root.
const TOO_OPEN: u32 = 0o027;

/// What a key is for. A secret has one use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyUse {
    /// It makes pseudonyms of customer ids.
    Pseudonyms,
    /// It encrypts the values of sensitive features.
    Encryption,
}

impl KeyUse {
    const ALL: [(&str, Self); 2] = [("pseudonyms", Self::Pseudonyms), ("encryption", Self::Encryption)];

    /// The word of the key file.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pseudonyms => "pseudonyms",
            Self::Encryption => "encryption",
        }
    }
}

/// The bytes of a key. Shown by nothing; overwritten when it is dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<[u8; SECRET_BYTES]>);

impl Secret {
    pub(crate) fn bytes(&self) -> &[u8; SECRET_BYTES] {
        &self.0
    }

    /// The secret of a base64 text, if it is of 32 bytes.
    fn of_base64(text: &str) -> Option<Self> {
        let decoded = Zeroizing::new(STANDARD.decode(text.trim()).ok()?);
        let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
        if decoded.len() != SECRET_BYTES {
            return None;
        }
        bytes.copy_from_slice(&decoded);
        Some(Self(bytes))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A key of the file.
#[derive(Debug, Clone)]
pub struct Key {
    /// Records name it. Keys of the same use may share it: a file that lacked a secret can get it back.
    pub id: String,
    /// What it is for.
    pub purpose: KeyUse,
    /// Whether it makes what is new.
    pub active: bool,
    /// Its bytes.
    pub secret: Secret,
}

/// The keys of a file, in its order. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Keys(Arc<Vec<Key>>);

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The file is there and cannot be used.
    #[error("{0}")]
    Invalid(Problems),
    /// Others may read or change the file.
    #[error(
        "{} has the mode {mode:03o}, so that others may read or change it; run `chmod 600 {}`, or in Kubernetes set \
         `defaultMode: 0440` for the volume of the secret",
        path.display(), path.display()
    )]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A new file would replace keys, and what was recorded with them could not be read any more.
    #[error("{} exists; keys are added to it by hand, so that what was recorded with the present ones stays readable", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The operating system has no random bytes.
    #[error("no random bytes for a key: {0}")]
    Random(getrandom::Error),
    /// The operating system reported an error.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl Keys {
    /// Reads a key file.
    ///
    /// # Errors
    /// Where others may read it, and every problem of its content with its line.
    pub fn read(path: &Path) -> Result<Self, KeysError> {
        let failed = |source| KeysError::Io { path: path.to_owned(), source };
        // Reading a pipe without a writer would wait for one.
        let options = File::options().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).clone();
        let file = options.open(path).map_err(failed)?;
        // Of the open file: the name may lead to another one by now.
        let metadata = file.metadata().map_err(failed)?;
        let shown = path.display().to_string();
        if !metadata.is_file() {
            return Err(invalid(&shown, "is not a file"));
        }
        let mode = metadata.mode() & 0o777;
        if mode & TOO_OPEN != 0 {
            return Err(KeysError::TooOpen { path: path.to_owned(), mode });
        }
        // Reserved whole: what grows leaves copies of secrets behind.
        let mut text = Zeroizing::new(String::with_capacity(metadata.len().min(FILE_BYTES) as usize + 1));
        match file.take(FILE_BYTES + 1).read_to_string(&mut text) {
            Ok(bytes) if bytes as u64 > FILE_BYTES => Err(invalid(&shown, "is longer than 1 MiB")),
            Ok(_) => Self::parse(&shown, &text).map_err(KeysError::Invalid),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(invalid(&shown, "is not UTF-8")),
            Err(error) => Err(failed(error)),
        }
    }

    /// Reads the text of a key file. Problems carry `file` as the file's name, and never quote the text.
    ///
    /// # Errors
    /// Every problem.
    pub fn parse(file: &str, text: &str) -> Result<Self, Problems> {
        let document = Document::parse(file, text).map_err(|problems| without_quotes(&problems))?;
        let root = document.root();
        let mut keys: Vec<Key> = Vec::new();
        for table in root.tables("key") {
            let Some(key) = read_key(&table) else { continue };
            if keys.iter().any(|known| known.id == key.id && known.purpose != key.purpose) {
                table.problem_at("id", "a key for another use has this id");
            }
            if let Some(same) = keys.iter().find(|known| known.secret.bytes() == key.secret.bytes()) {
                table
                    .problem_at("secret", format!("it is that of key `{}`; each key needs its own", same.id));
            }
            keys.push(key);
        }
        root.finish();
        if document.is_valid() {
            check_active(&root, &keys);
        }
        drop(root);
        document.finish(Self(Arc::new(keys)))
    }

    /// The keys for a use, in the order of the file.
    pub fn of(&self, purpose: KeyUse) -> impl Iterator<Item = &Key> {
        self.0.iter().filter(move |key| key.purpose == purpose)
    }

    /// The key that makes what is new.
    #[must_use]
    pub fn active(&self, purpose: KeyUse) -> Option<&Key> {
        self.of(purpose).find(|key| key.active)
    }

    /// The keys of this use and id.
    pub fn named<'k>(&'k self, purpose: KeyUse, id: &'k str) -> impl Iterator<Item = &'k Key> {
        self.of(purpose).filter(move |key| key.id == id)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn invalid(file: &str, message: &str) -> KeysError {
    KeysError::Invalid(Problems::one(file, None, message))
}

/// What the parser says of a syntax error may quote what stands there, which may be a secret.
fn without_quotes(problems: &Problems) -> Problems {
    let mut safe = Problems::new();
    for problem in problems.iter() {
        safe.push(problem.file.clone(), problem.line, "is not TOML here; is a quotation mark missing?");
    }
    safe
}

/// A key; `None` where it has a problem that leaves nothing to compare with others.
fn read_key(table: &Table<'_, '_>) -> Option<Key> {
    let id: String = table.required("id");
    table.label(format!("key `{id}`"));
    let letter = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    if !id.is_empty() && (id.len() > ID_LETTERS || !id.chars().all(letter)) {
        table.problem_at(
            "id",
            format!("`id` must be letters, digits, - _ . and at most {ID_LETTERS} of them"),
        );
    }
    if table.has("id") && id.is_empty() {
        table.problem_at("id", "`id` must not be empty");
    }
    if !table.has("use") {
        table.problem("`use` is missing; give it pseudonyms or encryption");
    }
    let purpose = table.choice("use", &KeyUse::ALL);
    let active = table.or("active", false);
    let wrong = "`secret` must be the base64 of 32 bytes, as `openssl rand -base64 32` prints them";
    if !table.has("secret") {
        table.problem(format!("`secret` is missing; {wrong}"));
    }
    let secret = table.optional::<String>("secret").map(Zeroizing::new).and_then(|text| {
        let secret = Secret::of_base64(&text);
        if secret.is_none() {
            table.problem_at("secret", wrong);
        }
        secret
    });
    table.finish();
    Some(Key { id, purpose: purpose?, active, secret: secret? })
}

/// Each use that has keys has exactly one that is active.
fn check_active(root: &Table<'_, '_>, keys: &[Key]) {
    if keys.is_empty() {
        root.problem("no [[key]]: it needs at least one");
    }
    for (word, purpose) in KeyUse::ALL {
        let of_use = || keys.iter().filter(|key| key.purpose == purpose);
        let active: Vec<&str> = of_use().filter(|key| key.active).map(|key| key.id.as_str()).collect();
        match (of_use().count(), &active[..]) {
            (0, _) | (_, [_]) => {}
            (_, []) => root.problem(format!("no key for {word} has `active = true`; one makes what is new")),
            (_, several) => root.problem(format!(
                "the keys {} for {word} are all active; leave it to one, which makes what is new",
                several.join(", ")
            )),
        }
    }
}
