//! The store as far as events go: sealed files in a directory or a bucket, listed, placed once, copied here, deleted.

mod extent;

use std::fs::{self, DirBuilder, File};
use std::io::ErrorKind;
use std::ops::RangeInclusive;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::NaiveDate;
use objects::files::{self, Moved};
use objects::{DirectoryLock, Objects, ObjectsError, Put, Staging, WriteCondition};

pub(crate) use self::extent::Extent;
use super::open::LocalFile;
use super::{Kind, SealedError, SealedKey};
use crate::kind::EVENTS;

/// The folder of unfinished writes, as in the store of releases.
const STAGING: &str = ".staging";
/// Up to so many days, each is listed by itself.
const FEW_DAYS: usize = 40;

/// A store of sealed events. Clones are cheap and share its one thread. Its methods block: call them on threads that
/// may.
#[derive(Debug, Clone)]
pub struct EventStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    location: String,
    objects: Objects,
    /// The directory; `None` for a bucket.
    root: Option<PathBuf>,
    /// Where files are made, and where copies of objects are put.
    staging: PathBuf,
}

/// Whether a name was free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placed {
    /// It was; the file has it now.
    New,
    /// There is a file of this name, and it stays.
    Taken,
}

impl EventStore {
    /// Opens the events of the store at `location`, a directory that exists or `s3://bucket/prefix`. Files of a
    /// bucket are made in `scratch` and copied to it, by default a private directory below that for temporary files.
    /// The usual names of `AWS_*` among `variables` configure a bucket.
    ///
    /// # Errors
    /// When there is no such directory, the location is none, or the system refuses.
    pub fn open(
        location: &str,
        scratch: Option<&Path>,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, SealedError> {
        let (objects, root, staging) = if location.starts_with("s3://") {
            let objects = Objects::in_bucket(location, variables)?;
            let area = match scratch {
                Some(scratch) => {
                    files::make_directory(scratch)?;
                    scratch.join(STAGING)
                }
                None => private_area()?,
            };
            (objects, None, area)
        } else if location.contains("://") {
            let message = "a store is a directory or s3://bucket/prefix".to_owned();
            return Err(ObjectsError::Location { location: location.to_owned(), message }.into());
        } else {
            let root = PathBuf::from(location);
            (Objects::in_directory(&root)?, Some(root.clone()), root.join(STAGING))
        };
        objects::sweep(&staging);
        Ok(Self(Arc::new(Inner { location: location.to_owned(), objects, root, staging })))
    }

    /// The location that the store was opened with.
    #[must_use]
    pub fn location(&self) -> &str {
        &self.0.location
    }

    /// The name of a file in messages.
    pub(crate) fn shown(&self, key: &SealedKey) -> String {
        self.0.objects.shown(&key.to_string())
    }

    /// The sealed files of a kind and of days, ascending, with their bytes. Files with other names are not among them.
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub(crate) fn list(
        &self,
        kind: Kind,
        days: Option<&RangeInclusive<NaiveDate>>,
    ) -> Result<Vec<(SealedKey, u64)>, SealedError> {
        let mut found = Vec::new();
        let few = days.filter(|days| (*days.end() - *days.start()).num_days() < FEW_DAYS as i64);
        if let Some(days) = few {
            for date in days.start().iter_days().take_while(|date| date <= days.end()) {
                let folder = SealedKey::folder(kind, date);
                for (name, listed) in self.0.objects.list(&folder)? {
                    let key = SealedKey::parse(kind, &format!("date={date}/{name}"));
                    found.extend(key.map(|key| (key, listed.size)));
                }
            }
        } else {
            for (name, listed) in self.0.objects.list(&kind.folder())? {
                let key = SealedKey::parse(kind, &name);
                let key = key.filter(|key| days.is_none_or(|days| days.contains(&key.date)));
                found.extend(key.map(|key| (key, listed.size)));
            }
        }
        found.sort();
        Ok(found)
    }

    /// Checks that all sealed files are of kinds that are known.
    ///
    /// # Errors
    /// [`SealedError::Newer`] if there are others. When the store cannot be reached.
    pub(crate) fn check_kinds(&self) -> Result<(), SealedError> {
        let unknown = |name: &String| {
            let (kind, name) = name.split_once('/')?;
            // A name is that of a sealed file of any kind.
            let is_sealed = SealedKey::parse(Kind::Decision, name).is_some();
            (is_sealed && kind.parse::<Kind>().is_err()).then(|| kind.to_owned())
        };
        let listed = self.0.objects.list(EVENTS)?;
        match listed.keys().find_map(unknown) {
            None => Ok(()),
            Some(kind) => Err(SealedError::Newer {
                path: self.0.objects.shown(&format!("{EVENTS}/{kind}")),
                message: format!("it has events of kind `{kind}`"),
            }),
        }
    }

    /// A file, as one on this machine; `None` if there is none of this name (any more).
    ///
    /// # Errors
    /// When the store cannot be reached.
    pub(crate) fn local(&self, key: &SealedKey) -> Result<Option<LocalFile>, SealedError> {
        let name = key.to_string();
        let shown = self.shown(key);
        if let Some(root) = &self.0.root {
            let path = root.join(&name);
            return match File::open(&path) {
                Ok(file) => Ok(Some(LocalFile { shown, file, copy: None })),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                Err(error) => Err(SealedError::io(&path)(error)),
            };
        }
        let copy = self.stage()?;
        let path = copy.path().join("copy");
        match self.0.objects.download(&name, &path) {
            Ok(_) => {}
            Err(ObjectsError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let file = File::open(&path).map_err(SealedError::io(&path))?;
        Ok(Some(LocalFile { shown, file, copy: Some(copy) }))
    }

    /// Gives a file that was made in a staging directory its name, if that is free. It appears whole, and is on the
    /// disk when this returns.
    ///
    /// # Errors
    /// When the store cannot be reached or written to.
    pub(crate) fn place(&self, key: &SealedKey, made: &Path) -> Result<Placed, SealedError> {
        let name = key.to_string();
        let Some(root) = &self.0.root else {
            return Ok(match self.0.objects.upload(&name, made, WriteCondition::Absent)? {
                Put::Done(_) => Placed::New,
                Put::Taken => Placed::Taken,
            });
        };
        // Without it, the folder of the day might be removed between its making and the move.
        let _held = DirectoryLock::take(root)?;
        Ok(match files::move_to_free(made, &root.join(&name))? {
            Moved::Done => Placed::New,
            Moved::Taken => Placed::Taken,
        })
    }

    /// Deletes a file for good, and the folder of its day if that is empty then.
    ///
    /// # Errors
    /// When the store cannot be reached or written to.
    pub(crate) fn delete(&self, key: &SealedKey) -> Result<(), SealedError> {
        let name = key.to_string();
        let Some(root) = &self.0.root else { return Ok(self.0.objects.delete(&name)?) };
        let _held = DirectoryLock::take(root)?;
        Ok(files::remove(&root.join(&name))?)
    }

    /// An empty directory for making something in; dropping it removes it.
    ///
    /// # Errors
    /// When the disk is full, or the directory cannot be written to.
    pub(crate) fn stage(&self) -> Result<Staging, SealedError> {
        Ok(Staging::new(&self.0.staging)?)
    }
}

/// The directory for copies of objects: below that for temporary files, and of this user alone, since events name
/// customers.
fn private_area() -> Result<PathBuf, SealedError> {
    let user = rustix::process::geteuid().as_raw();
    let area = std::env::temp_dir().join(format!("proffer-events-{user}"));
    match DirBuilder::new().mode(0o700).create(&area) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(SealedError::io(&area)(error)),
        _ => {}
    }
    let found = fs::symlink_metadata(&area).map_err(SealedError::io(&area))?;
    if !found.is_dir() || found.uid() != user || found.permissions().mode() & 0o077 != 0 {
        let message = "belongs to another user or can be read by others; set TMPDIR to a directory of yours";
        return Err(SealedError::damaged(&area.display().to_string(), message));
    }
    Ok(area)
}
