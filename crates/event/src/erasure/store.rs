//! The small objects of a store that erasing needs, in a directory or a bucket alike.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use objects::{DirectoryLock, Listed, Objects, ObjectsError, Put, Staging, WriteCondition, files};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ErasureError;
use crate::sealed::SealedError;

/// The folder of unfinished writes, as in the store of releases.
const STAGING: &str = ".staging";

/// A store, as far as erasing goes. Clones are cheap and share its one thread. Its methods block.
#[derive(Debug, Clone)]
pub struct ErasureStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    objects: Arc<Objects>,
    /// The directory; `None` for a bucket.
    root: Option<PathBuf>,
}

impl ErasureStore {
    /// Opens the store at `location`, a directory that exists or `s3://bucket/prefix`. The usual names of `AWS_*` among
    /// `variables` configure a bucket.
    ///
    /// # Errors
    /// When there is no such directory, the location is none, or the system refuses.
    pub fn open(
        location: &str,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ErasureError> {
        let (objects, root) = if location.starts_with("s3://") {
            (Objects::in_bucket(location, variables)?, None)
        } else if location.contains("://") {
            let message = "a store is a directory or s3://bucket/prefix".to_owned();
            return Err(ObjectsError::Location { location: location.to_owned(), message }.into());
        } else {
            let root = PathBuf::from(location);
            (Objects::in_directory(&root)?, Some(root))
        };
        Ok(Self(Arc::new(Inner { objects: Arc::new(objects), root })))
    }

    /// What the store consists of.
    pub(super) fn objects(&self) -> &Arc<Objects> {
        &self.0.objects
    }

    /// The directory; `None` for a bucket.
    fn root(&self) -> Option<&Path> {
        self.0.root.as_deref()
    }

    /// The name of an object in messages.
    pub(super) fn shown(&self, key: &str) -> String {
        self.0.objects.shown(key)
    }

    /// The objects below a folder, by their keys without it.
    pub(super) fn list(&self, folder: &str) -> Result<BTreeMap<String, Listed>, ErasureError> {
        Ok(self.0.objects.list(folder)?)
    }

    /// A record, if there is one.
    pub(super) fn read<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, ErasureError> {
        let Some(text) = self.0.objects.text(key)? else { return Ok(None) };
        let read = toml::from_str(&text);
        Ok(Some(read.map_err(|error| SealedError::damaged(&self.shown(key), error.message()))?))
    }

    /// Writes a record unless there is one.
    pub(super) fn put_new(&self, key: &str, record: &impl Serialize) -> Result<Put, ErasureError> {
        let text = self.written(key, record)?;
        let Some(root) = self.root() else { return self.put(key, text, WriteCondition::Absent) };
        let staging = stage(root)?;
        let _held = DirectoryLock::take(root)?;
        Ok(files::put_new(&staging, &root.join(key), text.as_bytes())?)
    }

    /// Writes a record, in the place of any other.
    pub(super) fn replace(&self, key: &str, record: &impl Serialize) -> Result<(), ErasureError> {
        let text = self.written(key, record)?;
        let Some(root) = self.root() else { return self.put(key, text, WriteCondition::Always).map(drop) };
        let staging = stage(root)?;
        let made = staging.path().join("file");
        files::write(&made, text.as_bytes())?;
        let target = root.join(key);
        // Its folder is removed with the last object in it.
        let _held = DirectoryLock::take(root)?;
        files::make_directory(files::parent(&target))?;
        fs::rename(&made, &target).map_err(SealedError::io(&target))?;
        Ok(files::sync(files::parent(&target))?)
    }

    /// Writes an object of a bucket under a condition.
    fn put(&self, key: &str, text: String, condition: WriteCondition) -> Result<Put, ErasureError> {
        Ok(self.0.objects.put(key, text, condition)?)
    }

    /// A record as it is written.
    fn written(&self, key: &str, record: &impl Serialize) -> Result<String, ErasureError> {
        let written = toml::to_string(record);
        Ok(written.map_err(|error| SealedError::damaged(&self.shown(key), error.to_string()))?)
    }

    /// Removes an object, if it is there, and its folder if that is empty then.
    pub(super) fn delete(&self, key: &str) -> Result<(), ErasureError> {
        let Some(root) = self.root() else { return Ok(self.0.objects.delete(key)?) };
        let _held = DirectoryLock::take(root)?;
        Ok(files::remove(&root.join(key))?)
    }

    /// Puts the file `made` in the place of an object that has the tag `former`. Nothing changes if the object is
    /// another one by now, or is gone.
    pub(super) fn exchange(&self, key: &str, former: &str, made: &Path) -> Result<Put, ErasureError> {
        let Some(root) = self.root() else {
            return Ok(self.0.objects.replace(key, made, former)?);
        };
        let target = root.join(key);
        let _held = DirectoryLock::take(root)?;
        if self.tag(key)?.as_deref() != Some(former) {
            return Ok(Put::Taken);
        }
        fs::rename(made, &target).map_err(SealedError::io(&target))?;
        files::sync(files::parent(&target))?;
        Ok(Put::Done(String::new()))
    }

    /// What identifies the present state of an object; `None` if there is none.
    pub(super) fn tag(&self, key: &str) -> Result<Option<String>, ErasureError> {
        if let Some(root) = self.root() {
            let path = root.join(key);
            return match File::open(&path).and_then(|file| file.metadata()) {
                Ok(metadata) => Ok(Some(files::modified_tag(&metadata))),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                Err(error) => Err(SealedError::io(&path)(error).into()),
            };
        }
        let (folder, name) = key.rsplit_once('/').unwrap_or(("", key));
        Ok(self.list(folder)?.remove(name).map(|listed| listed.tag))
    }
}

fn stage(root: &Path) -> Result<Staging, ErasureError> {
    Ok(Staging::new(&root.join(STAGING))?)
}
