//! The store: immutable model versions and releases, the pointer `CURRENT`, the customers' source; in a directory or
//! in a bucket.
//!
//! ```text
//! models/<name>/<version>/…   verdicts/<name>/<version>.json   releases/<number>/…   promotions/<sequence>.toml
//! CURRENT                     customers/                       ramps/lease.toml (bucket), ramps/.lock (directory)
//! ```
//! Everything but `CURRENT`, `customers/` and `ramps/` is immutable and whole. A directory gets its entries by a rename
//! out of `.staging/`. In a bucket, the file that makes a version or a release is written last. Only a
//! compare-and-swap replaces `CURRENT`. So writers may die, race or run out of space at any step: the old state holds, or the new one.
//!
//! The versions of a bucket are downloaded into a local directory, the mirror, before they are loaded.
//!
//! This module moves files. It parses only `release.toml`, `CURRENT` and verdicts. Its methods block: call them on
//! threads that may. Start reading at [`Store::replace_current`] and [`Store::add_version`].

mod contents;
mod current;
mod customers;
mod deletion;
mod error;
mod keys;
mod lease;
mod mirror;
mod push;
mod releases;
mod verdicts;
mod versions;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

pub use current::{Stamp, Stamped};
pub use customers::{Exchanged, SyncedCustomers};
pub use error::StoreError;
pub use releases::NewRelease;
pub(super) use releases::{needed, needed_to_answer};
pub use versions::{Placed, VersionRecord};

use super::now;
use objects::files;
use objects::{DirectoryLock, Objects, Put, WriteCondition};
pub use objects::{Lease, Staging};

/// A store. Clones are cheap and share its one thread.
#[derive(Debug, Clone)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    location: String,
    objects: Arc<Objects>,
    place: Place,
    staging: PathBuf,
    models: PathBuf,
    customers: PathBuf,
    /// A temporary mirror, where none is configured; it is removed with the store.
    _mirror: Option<Staging>,
}

/// The kind of a store, which decides how it is written.
#[derive(Debug)]
enum Place {
    Directory(PathBuf),
    Bucket,
}

impl Store {
    /// Opens the store at `location`, a directory or `s3://bucket/prefix`, which must have a `CURRENT`. The versions
    /// of a bucket are downloaded into `mirror`, by default a temporary directory that is removed with the store. The
    /// usual `AWS_*` variables configure a bucket: credentials, region, endpoint, `AWS_ALLOW_HTTP`.
    ///
    /// # Errors
    /// When there is no store, or it cannot be reached.
    pub fn open(location: &str, mirror: Option<&Path>) -> Result<Self, StoreError> {
        Self::open_with(location, mirror, environment())
    }

    /// As [`Store::open`], with `variables` instead of the environment of this process.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_with(
        location: &str,
        mirror: Option<&Path>,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, StoreError> {
        let missing =
            |reason: &str| StoreError::NotAStore { path: location.to_owned(), reason: reason.to_owned() };
        if !is_bucket(location) && !Path::new(location).is_dir() {
            return Err(missing("there is no such directory"));
        }
        let store = Self::at(location, mirror, variables)?;
        if !store.0.objects.exists(keys::CURRENT)? {
            return Err(missing("it has no CURRENT"));
        }
        objects::sweep(&store.0.staging);
        Ok(store)
    }

    /// The directory of the store that a path lies in, whether there is something at the path or not; `None`: in none.
    #[must_use]
    pub fn around(path: &Path) -> Option<PathBuf> {
        let named = |path: &Path| if path == Path::new("") { PathBuf::from(".") } else { path.to_owned() };
        let found = path.ancestors().find_map(|above| fs::canonicalize(named(above)).ok())?;
        let is_store =
            |folder: &&Path| folder.join(keys::CURRENT).is_file() && folder.join(keys::RELEASES).is_dir();
        found.ancestors().find(is_store).map(Path::to_owned)
    }

    /// Creates an empty store at `location`; its first `CURRENT` completes it. Files of an earlier attempt stay.
    ///
    /// # Errors
    /// When there is a `CURRENT` already, or the place cannot be written to.
    pub fn create(location: &str, mirror: Option<&Path>) -> Result<Self, StoreError> {
        Self::create_with(location, mirror, environment())
    }

    /// As [`Store::create`], with `variables` instead of the environment of this process.
    ///
    /// # Errors
    /// As [`Store::create`].
    pub fn create_with(
        location: &str,
        mirror: Option<&Path>,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, StoreError> {
        if !is_bucket(location) {
            let root = Path::new(location);
            for folder in [keys::MODELS, keys::RELEASES, keys::PROMOTIONS, keys::VERDICTS, keys::CUSTOMERS] {
                files::make_directory(&root.join(folder))?;
            }
        }
        let store = Self::at(location, mirror, variables)?;
        // An unreadable `CURRENT` is an error, not an empty store.
        if let Some(present) = store.present()? {
            let (path, release) = (location.to_owned(), present.stamped.current.release);
            return Err(StoreError::AlreadyInitialised { path, release });
        }
        objects::sweep(&store.0.staging);
        Ok(store)
    }

    fn at(
        location: &str,
        mirror: Option<&Path>,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, StoreError> {
        let (objects, place, root, own) = if is_bucket(location) {
            let objects = Objects::in_bucket(location, variables)?;
            let (root, own) = mirror::choose(mirror)?;
            (objects, Place::Bucket, root, own)
        } else if location.contains("://") {
            let message = "a store is a directory or s3://bucket/prefix".to_owned();
            return Err(StoreError::Location { location: location.to_owned(), message });
        } else {
            let root = PathBuf::from(location);
            (Objects::in_directory(&root)?, Place::Directory(root.clone()), root, None)
        };
        Ok(Self(Arc::new(Inner {
            location: location.to_owned(),
            objects: Arc::new(objects),
            place,
            staging: root.join(keys::STAGING),
            models: root.join(keys::MODELS),
            customers: root.join(keys::CUSTOMERS),
            _mirror: own,
        })))
    }

    /// The location that the store was opened with.
    #[must_use]
    pub fn location(&self) -> &str {
        &self.0.location
    }

    /// The directory of a local store, for watching its changes.
    #[must_use]
    pub fn local_root(&self) -> Option<&Path> {
        match &self.0.place {
            Place::Directory(root) => Some(root),
            Place::Bucket => None,
        }
    }

    /// The local directory of models: the store's own, or the mirror's.
    #[must_use]
    pub fn models_dir(&self) -> &Path {
        &self.0.models
    }

    /// The local directory of the customers' source: the store's own, or the mirror's.
    #[must_use]
    pub fn customers_dir(&self) -> &Path {
        &self.0.customers
    }

    /// An empty local directory for making something in; dropping it removes it.
    ///
    /// # Errors
    /// When the disk is full, or the store's directory cannot be written to.
    pub fn stage(&self) -> Result<Staging, StoreError> {
        Ok(Staging::new(&self.0.staging)?)
    }

    /// Locks out other writers of a directory. A bucket needs no lock: each of its writes is conditional.
    fn lock(&self) -> Result<Option<DirectoryLock>, StoreError> {
        match &self.0.place {
            Place::Directory(root) => Ok(Some(DirectoryLock::take(root)?)),
            Place::Bucket => Ok(None),
        }
    }

    /// Writes a small object unless one exists.
    fn put_new(&self, key: &str, text: String) -> Result<Put, StoreError> {
        match &self.0.place {
            Place::Directory(root) => Ok(files::put_new(&self.stage()?, &root.join(key), text.as_bytes())?),
            Place::Bucket => Ok(self.0.objects.put(key, text, WriteCondition::Absent)?),
        }
    }

    /// The directory of a version in `models_dir()`, whether it exists or not.
    fn version_directory(&self, name: &str, version: u64) -> PathBuf {
        self.0.models.join(name).join(version.to_string())
    }
}

fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

fn is_bucket(location: &str) -> bool {
    location.starts_with("s3://")
}

fn parse_toml<T: serde::de::DeserializeOwned>(path: String, text: &str) -> Result<T, StoreError> {
    toml::from_str(text).map_err(|error| StoreError::Damaged { path, message: error.message().to_owned() })
}

fn to_toml(value: &impl Serialize) -> Result<String, StoreError> {
    // These records hold maps with string keys and integers up to `i64::MAX`; a larger number is refused here.
    toml::to_string(value)
        .map_err(|error| StoreError::Damaged { path: "a record".to_owned(), message: error.to_string() })
}

/// Removes a directory by a rename into staging, so that it is never seen half removed.
fn remove_directory(staging: &Staging, directory: &Path) -> Result<(), StoreError> {
    fs::rename(directory, staging.path().join("removed"))
        .map_err(|error| StoreError::io(directory, error))?;
    Ok(files::sync(files::parent(directory))?)
}

#[cfg(test)]
mod tests;
