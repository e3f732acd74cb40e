//! Releases: numbered, immutable, written whole.

use std::collections::{BTreeMap, BTreeSet};

use super::{Place, Store, StoreError, contents, keys, now, parse_toml, to_toml};
use crate::fault;
use crate::records::{ExperimentStep, RELEASE_FILES, ReleaseFiles, ReleaseRecord};
use model::sha256_of;
use objects::Put;
use objects::files::{self, Moved};

/// The file that names the models of variants and shadows.
const POLICY: &str = "policy.toml";

/// A release to write. The caller has checked that it is sound.
#[derive(Debug, Clone, Copy)]
pub struct NewRelease<'a> {
    /// The author.
    pub author: &'a str,
    /// The purpose, for the history.
    pub note: &'a str,
    /// Model name → version.
    pub models: &'a BTreeMap<String, u64>,
    /// The text of `features.toml`.
    pub features: &'a str,
    /// The text of `offers.toml`.
    pub offers: &'a str,
    /// The text of `policy.toml`.
    pub policy: &'a str,
    /// What it does to an experiment; `None` for a release of a person.
    pub step: Option<&'a ExperimentStep>,
}

/// The versions that a release needs: those that it pins, and those that variants and shadows of its policy name.
#[must_use]
pub(crate) fn needed(models: &BTreeMap<String, u64>, policy: &str) -> BTreeSet<(String, u64)> {
    pinned(models).chain(experiment::versions(policy)).collect()
}

/// Those of them that its answers need: all but those of shadows alone.
#[must_use]
pub(crate) fn needed_to_answer(models: &BTreeMap<String, u64>, policy: &str) -> BTreeSet<(String, u64)> {
    pinned(models).chain(experiment::variant_versions(policy)).collect()
}

fn pinned(models: &BTreeMap<String, u64>) -> impl Iterator<Item = (String, u64)> {
    models.iter().map(|(name, version)| (name.clone(), *version))
}

impl NewRelease<'_> {
    fn texts(&self) -> [(&'static str, &str); 3] {
        let [features, offers, policy] = RELEASE_FILES;
        [(features, self.features), (offers, self.offers), (policy, self.policy)]
    }

    fn record(&self, number: u64) -> ReleaseRecord {
        let hash = |(name, text): (&str, &str)| (name.to_owned(), sha256_of(text.as_bytes()));
        ReleaseRecord {
            number,
            author: self.author.to_owned(),
            note: self.note.to_owned(),
            created: now(),
            models: self.models.clone(),
            hashes: self.texts().into_iter().map(hash).collect(),
            step: self.step.cloned(),
        }
    }
}

impl Store {
    /// The numbers of the releases, ascending.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn releases(&self) -> Result<Vec<u64>, StoreError> {
        let listed = self.0.objects.list(keys::RELEASES)?;
        let whole = listed.keys().filter_map(|key| match key.split_once('/') {
            Some((number, keys::RECORD)) => keys::number(number),
            Some(_) | None => None,
        });
        Ok(whole.collect::<BTreeSet<u64>>().into_iter().collect())
    }

    /// Whether there is such a release.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn has_release(&self, number: u64) -> Result<bool, StoreError> {
        Ok(self.0.objects.exists(&keys::release(number, keys::RECORD))?)
    }

    /// The record of a release.
    ///
    /// # Errors
    /// When there is no such release, or its record is damaged.
    pub fn release_record(&self, number: u64) -> Result<ReleaseRecord, StoreError> {
        let key = keys::release(number, keys::RECORD);
        let text = self.0.objects.text(&key)?.ok_or(StoreError::NoSuchRelease(number))?;
        parse_toml(self.0.objects.shown(&key), &text)
    }

    /// The records of releases, as far as they can be read; a few are read concurrently.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn release_records(&self, numbers: &[u64]) -> Result<Vec<ReleaseRecord>, StoreError> {
        let keys: Vec<String> = numbers.iter().map(|number| keys::release(*number, keys::RECORD)).collect();
        let texts = keys.iter().zip(self.0.objects.texts(&keys)?);
        // One that is missing or damaged says nothing about the others.
        Ok(texts.filter_map(|(key, text)| parse_toml(self.0.objects.shown(key), &text?).ok()).collect())
    }

    /// The texts of a release, checked against their hashes.
    ///
    /// # Errors
    /// When there is no such release, or one of its files was damaged or changed.
    pub fn release(&self, number: u64) -> Result<ReleaseFiles, StoreError> {
        let record = self.release_record(number)?;
        let keys = RELEASE_FILES.map(|name| keys::release(number, name));
        let mut texts = Vec::with_capacity(keys.len());
        for ((name, key), text) in RELEASE_FILES.into_iter().zip(&keys).zip(self.0.objects.texts(&keys)?) {
            let path = self.0.objects.shown(key);
            let missing = || {
                let message = format!("is missing from release {number}");
                StoreError::Damaged { path: path.clone(), message }
            };
            let text = text.ok_or_else(missing)?;
            let expected = record.hashes.get(name).cloned().unwrap_or_default();
            let found = sha256_of(text.as_bytes());
            if expected != found {
                return Err(StoreError::Changed { path, expected, found });
            }
            texts.push(text);
        }
        let mut texts = texts.into_iter();
        let mut next = || texts.next().unwrap_or_default();
        Ok(ReleaseFiles { record, features: next(), offers: next(), policy: next() })
    }

    /// Writes the next release. The versions that it pins must exist, and cannot be deleted from then on.
    ///
    /// # Errors
    /// [`StoreError::NoSuchVersion`] for a pin; an error of the operating system or the bucket.
    pub fn add_release(&self, new: &NewRelease<'_>) -> Result<ReleaseRecord, StoreError> {
        match &self.0.place {
            Place::Directory(_) => self.make_release(new),
            Place::Bucket => self.put_release(new),
        }
    }

    /// The releases that pin a version or have it in a variant or a shadow, ascending.
    ///
    /// # Errors
    /// When a record cannot be read: it may pin anything.
    pub fn pinned_by(&self, name: &str, version: u64) -> Result<Vec<u64>, StoreError> {
        let numbers = self.releases()?;
        let keys: Vec<String> = numbers.iter().map(|number| keys::release(*number, keys::RECORD)).collect();
        let mut pinning = Vec::new();
        for ((number, key), text) in numbers.into_iter().zip(&keys).zip(self.0.objects.texts(&keys)?) {
            let Some(text) = text else { continue };
            let record: ReleaseRecord = parse_toml(self.0.objects.shown(key), &text)?;
            if record.models.get(name) == Some(&version) {
                pinning.push(number);
                continue;
            }
            let policy = self.0.objects.text(&keys::release(number, POLICY))?.unwrap_or_default();
            if experiment::versions(&policy).contains(&(name.to_owned(), version)) {
                pinning.push(number);
            }
        }
        Ok(pinning)
    }

    /// The releases that pin a version or have it in a variant or a shadow, ascending, as far as they can be read: one
    /// that cannot be read cannot be served. Reads the record of each, and the policy only of those that pin another
    /// version.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn readable_pinned_by(&self, name: &str, version: u64) -> Result<Vec<u64>, StoreError> {
        let wanted = (name.to_owned(), version);
        let mut pinning = Vec::new();
        for record in self.release_records(&self.releases()?)? {
            // A variant or a shadow takes the place of a pinned version of the same model.
            let Some(pinned) = record.models.get(name) else { continue };
            let names_it = || match self.0.objects.text(&keys::release(record.number, POLICY)) {
                Ok(Some(policy)) => experiment::versions(&policy).contains(&wanted),
                Ok(None) | Err(_) => false,
            };
            if *pinned == version || names_it() {
                pinning.push(record.number);
            }
        }
        Ok(pinning)
    }

    fn check_pins(&self, new: &NewRelease<'_>) -> Result<(), StoreError> {
        for (name, version) in needed(new.models, new.policy) {
            keys::check_name(&name)?;
            // The order matters: a deletion removes its mark after the manifest. So if a deletion ends between the
            // two reads, the second one notices.
            if self.is_being_deleted(&name, version)? {
                return Err(StoreError::Deleting { name, version });
            }
            if !self.0.objects.exists(&keys::manifest(&name, version))? {
                return Err(StoreError::NoSuchVersion { name, version });
            }
        }
        Ok(())
    }

    /// In a directory: made in staging and renamed, under the lock that deletions take, too.
    fn make_release(&self, new: &NewRelease<'_>) -> Result<ReleaseRecord, StoreError> {
        let releases = files::parent(&self.0.models).join(keys::RELEASES);
        let staged = self.stage()?;
        // The rename takes this folder; the staging directory itself is removed as always.
        let made = staged.path().join("release");
        files::make_directory(&made)?;
        for (name, text) in new.texts() {
            files::write(&made.join(name), text.as_bytes())?;
        }
        fault::point("release.staged");
        let _held = self.lock()?;
        self.check_pins(new)?;
        let mut number = contents::numbers(&releases)?.into_iter().max().unwrap_or(0) + 1;
        loop {
            let record = new.record(number);
            files::write(&made.join(keys::RECORD), to_toml(&record)?.as_bytes())?;
            files::sync(&made)?;
            fault::point("release.placing");
            match files::move_to_free(&made, &releases.join(number.to_string()))? {
                Moved::Done => {
                    fault::point("release.placed");
                    return Ok(record);
                }
                Moved::Taken => number += 1,
            }
        }
    }

    /// In a bucket: the first file takes the number, and the record is written last. Half a release of a dead writer
    /// keeps its number and is no release.
    fn put_release(&self, new: &NewRelease<'_>) -> Result<ReleaseRecord, StoreError> {
        self.check_pins(new)?;
        let listed = self.0.objects.list(keys::RELEASES)?;
        let numbers = listed.keys().filter_map(|key| keys::number(key.split('/').next()?));
        let mut number = numbers.max().unwrap_or(0) + 1;
        let [first, rest @ ..] = new.texts();
        while self.put_new(&keys::release(number, first.0), first.1.to_owned())? == Put::Taken {
            number += 1;
        }
        fault::point("release.staged");
        for (name, text) in rest {
            self.put_own(&keys::release(number, name), text)?;
        }
        let record = new.record(number);
        fault::point("release.placing");
        let key = keys::release(number, keys::RECORD);
        self.put_own(&key, &to_toml(&record)?)?;
        // A deletion marks its version and then looks for releases; this writes the release and then looks for marks.
        // So at least one of the two sees the other.
        if let Err(error) = self.check_pins(new) {
            self.0.objects.delete(&key)?;
            return Err(error);
        }
        fault::point("release.placed");
        Ok(record)
    }

    /// Writes a file of a release whose number this writer has taken.
    fn put_own(&self, key: &str, text: &str) -> Result<(), StoreError> {
        let put = self.put_new(key, text.to_owned())?;
        // If it exists, it is this writer's, with a lost answer, or a foreign writer broke the protocol.
        if put == Put::Taken && self.0.objects.text(key)?.as_deref() != Some(text) {
            return Err(StoreError::Occupied { path: self.0.objects.shown(key) });
        }
        Ok(())
    }
}
