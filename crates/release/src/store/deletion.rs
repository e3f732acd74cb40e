//! Deleting a version: it disappears at one moment, and its number is never used again.

use std::path::Path;

use super::{Place, Store, StoreError, contents, keys, now, remove_directory};
use crate::fault;
use crate::records::{Evidence, GateOutcome, GateReport, Verdict};
use objects::DirectoryLock;

/// The object of a bucket that keeps new releases from pinning a version during its deletion.
const MARK: &str = ".deleting";

impl Store {
    /// Deletes a version, or what an interrupted push left of one. Its verdict stays and reserves the number. A
    /// version without a verdict gets one that says so.
    ///
    /// # Errors
    /// [`StoreError::Pinned`] where a release needs it, [`StoreError::NoSuchVersion`] where nothing of it exists.
    pub fn delete_version(&self, name: &str, version: u64) -> Result<(), StoreError> {
        keys::check_name(name)?;
        match &self.0.place {
            Place::Directory(root) => self.remove_version(root, name, version),
            Place::Bucket => self.delete_objects(name, version),
        }
    }

    /// Whether a deletion of a version has begun and not ended.
    pub(super) fn is_being_deleted(&self, name: &str, version: u64) -> Result<bool, StoreError> {
        match &self.0.place {
            // The lock excludes deletions.
            Place::Directory(_) => Ok(false),
            Place::Bucket => Ok(self.0.objects.exists(&mark(name, version))?),
        }
    }

    fn remove_version(&self, root: &Path, name: &str, version: u64) -> Result<(), StoreError> {
        let (directory, staged) = (self.version_directory(name, version), self.stage()?);
        let held = DirectoryLock::take(root)?;
        if !directory.is_dir() {
            return Err(StoreError::NoSuchVersion { name: name.to_owned(), version });
        }
        self.refuse_pinned(name, version)?;
        fault::point("delete.marked");
        self.keep_number(name, version)?;
        remove_directory(&staged, &directory)?;
        drop(held);
        fault::point("delete.hidden");
        drop(staged);
        fault::point("delete.done");
        Ok(())
    }

    fn delete_objects(&self, name: &str, version: u64) -> Result<(), StoreError> {
        let present = self.files_of(name, version)?;
        if present.is_empty() {
            return Err(StoreError::NoSuchVersion { name: name.to_owned(), version });
        }
        let mark = mark(name, version);
        self.put_new(&mark, String::new())?;
        if let Err(error) = self.refuse_pinned(name, version) {
            self.0.objects.delete(&mark)?;
            return Err(error);
        }
        fault::point("delete.marked");
        self.keep_number(name, version)?;
        let folder = keys::version(name, version);
        // Without these it is no version; the list and the mark are needed until the end.
        for file in [keys::MANIFEST, keys::BARE] {
            self.0.objects.delete(&format!("{folder}/{file}"))?;
        }
        fault::point("delete.hidden");
        for file in present.keys().filter(|file| contents::counts(file)) {
            self.0.objects.delete(&format!("{folder}/{file}"))?;
        }
        self.0.objects.delete(&format!("{folder}/{}", super::push::LIST))?;
        self.0.objects.delete(&mark)?;
        self.drop_mirrored(name, version)?;
        fault::point("delete.done");
        Ok(())
    }

    fn refuse_pinned(&self, name: &str, version: u64) -> Result<(), StoreError> {
        let releases = self.pinned_by(name, version)?;
        if releases.is_empty() {
            return Ok(());
        }
        Err(StoreError::Pinned { name: name.to_owned(), version, releases })
    }

    /// Stores a verdict, which reserves the number of a deleted version.
    fn keep_number(&self, name: &str, version: u64) -> Result<(), StoreError> {
        if self.has_verdict(name, version)? {
            return Ok(());
        }
        let report = GateReport {
            gate: "deleted".to_owned(),
            outcome: GateOutcome::Skipped,
            measured: String::new(),
            limit: String::new(),
            why: "the version was deleted before it was judged".to_owned(),
        };
        let verdict = Verdict { passed: false, gates: vec![report], release: 0, time: now() };
        self.put_verdict(name, version, &verdict, &Evidence::default()).map(|_| ())
    }
}

fn mark(name: &str, version: u64) -> String {
    format!("{}/{MARK}", keys::version(name, version))
}
