//! Model versions: which exist, and which files each consists of.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::push::LIST;
use super::{Place, Store, StoreError, contents, keys};
use objects::Listed;

/// A version's manifest and size, without its verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRecord {
    /// The text of its `model.toml`.
    pub manifest: String,
    /// The size of all its files, the manifest included.
    pub bytes: u64,
}

/// The result of placing a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// Its number.
    pub version: u64,
    /// False where the same files were there already.
    pub created: bool,
}

/// The files of one version, by their path within it.
pub(super) type Files = BTreeMap<String, Listed>;

impl Store {
    /// Every model with the numbers of its whole versions with a manifest.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn versions(&self) -> Result<BTreeMap<String, BTreeSet<u64>>, StoreError> {
        let mut models: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
        for ((name, version), files) in self.all_files()? {
            if files.contains_key(keys::MANIFEST) {
                models.entry(name).or_default().insert(version);
            }
        }
        Ok(models)
    }

    /// Whether there is such a version, whole and with a manifest.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn has_version(&self, name: &str, version: u64) -> Result<bool, StoreError> {
        Ok(keys::is_name(name) && self.0.objects.exists(&keys::manifest(name, version))?)
    }

    /// The manifest and the size of a version.
    ///
    /// # Errors
    /// [`StoreError::NoSuchVersion`], also where there is no manifest.
    pub fn version(&self, name: &str, version: u64) -> Result<VersionRecord, StoreError> {
        keys::check_name(name)?;
        let manifest = self.0.objects.text(&keys::manifest(name, version))?;
        let manifest =
            manifest.ok_or_else(|| StoreError::NoSuchVersion { name: name.to_owned(), version })?;
        let files = self.files_of(name, version)?;
        let counted = files.iter().filter(|(name, _)| contents::counts(name));
        Ok(VersionRecord { manifest, bytes: counted.map(|(_, file)| file.size).sum() })
    }

    /// The local directory of a whole version, with a manifest or without. A version of a bucket is downloaded into
    /// the mirror.
    ///
    /// # Errors
    /// [`StoreError::NoSuchVersion`]; an error of the operating system or the bucket.
    pub fn fetch_version(&self, name: &str, version: u64) -> Result<PathBuf, StoreError> {
        keys::check_name(name)?;
        let files = self.files_of(name, version)?;
        if !self.is_whole(name, version, &files)? {
            return Err(StoreError::NoSuchVersion { name: name.to_owned(), version });
        }
        match &self.0.place {
            Place::Directory(_) => Ok(self.version_directory(name, version)),
            Place::Bucket => self.download(name, version, &files),
        }
    }

    /// The files of all versions, half-written ones included.
    pub(super) fn all_files(&self) -> Result<BTreeMap<(String, u64), Files>, StoreError> {
        let mut versions: BTreeMap<(String, u64), Files> = BTreeMap::new();
        for (key, listed) in self.0.objects.list(keys::MODELS)? {
            let mut parts = key.splitn(3, '/');
            let (Some(name), Some(version), Some(file)) = (parts.next(), parts.next(), parts.next()) else {
                continue;
            };
            let Some(version) = keys::number(version).filter(|_| keys::is_name(name)) else { continue };
            versions.entry((name.to_owned(), version)).or_default().insert(file.to_owned(), listed);
        }
        Ok(versions)
    }

    /// The files of one version, which may be half-written.
    pub(super) fn files_of(&self, name: &str, version: u64) -> Result<Files, StoreError> {
        Ok(self.0.objects.list(&keys::version(name, version))?)
    }

    /// Whether these are all files of a version. With a manifest they are; without one they are if none is to come.
    pub(super) fn is_whole(&self, name: &str, version: u64, files: &Files) -> Result<bool, StoreError> {
        if files.contains_key(keys::MANIFEST) {
            return Ok(true);
        }
        if !files.contains_key(keys::BARE) {
            return Ok(false);
        }
        let Some(list) = files.get(LIST) else { return Ok(true) };
        // An empty list promises no files.
        Ok(list.size == 0 || !self.listed(name, version)?.iter().any(|file| file.name == keys::MANIFEST))
    }

    /// Whether there is such a version, with a manifest or without.
    pub(super) fn holds(&self, name: &str, version: u64) -> Result<bool, StoreError> {
        let files = self.files_of(name, version)?;
        self.is_whole(name, version, &files)
    }

    /// One more than the highest number ever used: by versions, half-written ones, and deleted ones.
    pub(super) fn next_number(&self, name: &str) -> Result<u64, StoreError> {
        let highest = match &self.0.place {
            Place::Directory(root) => {
                let versions = contents::numbers(&self.0.models.join(name))?;
                let verdicts = contents::numbers(&root.join(keys::VERDICTS).join(name))?;
                versions.into_iter().chain(verdicts).max()
            }
            Place::Bucket => {
                let versions = self.0.objects.list(&format!("{}/{name}", keys::MODELS))?;
                let verdicts = self.0.objects.list(&format!("{}/{name}", keys::VERDICTS))?;
                let numbered = |key: &String| keys::number(key.split(['/', '.']).next()?);
                versions.keys().chain(verdicts.keys()).filter_map(numbered).max()
            }
        };
        Ok(highest.unwrap_or(0) + 1)
    }
}
