//! The customers' source of a bucket: one object, replaced whole, and its copy in the mirror.
//!
//! A new source that is made of the present one replaces only what they have read, and begins again if it is
//! another one by then. So no load is lost to an erasure (`customers/erasure.rs`), and no load keeps what an erasure
//! has removed.

mod erasure;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

use super::mirror::SOURCE;
use super::{Place, Store, StoreError, keys};
use crate::fault;
use feature::store::{CustomerSource, KEPT_FILES, KeptFile, PREVIOUS, StoredRow, kept_number};
use objects::{Listed, Put, WriteCondition, files};

/// The names of the source: one per format.
const NAMES: [&str; 2] = ["customers.csv", "customers.parquet"];

/// The lock that also guards the installation of a source.
const LOCK: &str = ".lock";

/// The customers of a bucket that the mirror is a copy of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncedCustomers(Option<(String, Listed)>);

/// What became of an exchange of customers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exchanged {
    /// The new ones are there.
    Done,
    /// The former ones had been replaced by then, and what replaced them must be synced first.
    Overtaken,
}

impl Store {
    /// Downloads the customers of a bucket into the mirror if they changed. Does nothing for a directory.
    ///
    /// # Errors
    /// An error of the operating system or the bucket; the mirror then keeps its previous customers.
    pub fn sync_customers(&self) -> Result<SyncedCustomers, StoreError> {
        if let Place::Directory(_) = self.0.place {
            return Ok(SyncedCustomers(None));
        }
        self.download_customers().map(SyncedCustomers)
    }

    /// Downloads the customers if they changed. Returns the object that the mirror is a copy of now.
    fn download_customers(&self) -> Result<Option<(String, Listed)>, StoreError> {
        let directory = &self.0.customers;
        files::make_directory(directory)?;
        let lock_path = directory.join(LOCK);
        let lock = File::create(&lock_path).map_err(|error| StoreError::io(&lock_path, error))?;
        lock.lock().map_err(|error| StoreError::io(&lock_path, error))?;
        let mut latest = self.latest_customers()?;
        while let Some((name, object)) = latest {
            let (target, source) = (directory.join(&name), directory.join(SOURCE));
            let mirrored = described(&self.0.location, &name, &object, &target);
            if fs::read_to_string(&source).is_ok_and(|found| found == mirrored) {
                keep_only(directory, Some(&name))?;
                return Ok(Some((name, object)));
            }
            let staged = self.stage()?;
            let made = staged.path().join(&name);
            self.0.objects.download(&key(&name), &made)?;
            latest = self.latest_customers()?;
            if latest.as_ref() != Some(&(name.clone(), object.clone())) {
                // The object was replaced during the download, so the file may be a mixture.
                continue;
            }
            files::sync(&made)?;
            fs::rename(&made, &target).map_err(|error| StoreError::io(&target, error))?;
            files::sync(directory)?;
            keep_only(directory, Some(&name))?;
            let mirrored = described(&self.0.location, &name, &object, &target);
            files::write(&source, mirrored.as_bytes())?;
            return Ok(Some((name, object)));
        }
        keep_only(directory, None)?;
        Ok(None)
    }

    /// The customers' object. There are two if the installation of the later one was interrupted; then it is the
    /// later.
    fn latest_customers(&self) -> Result<Option<(String, Listed)>, StoreError> {
        let listed = self.listed_customers()?;
        Ok(latest(&listed).map(|(name, object)| (name.clone(), object.clone())))
    }

    /// The objects of customers: the present one, and those that are kept.
    fn listed_customers(&self) -> Result<BTreeMap<String, Listed>, StoreError> {
        Ok(self.0.objects.list(keys::CUSTOMERS)?)
    }

    /// Uploads `file`, a checked source in `customers_dir()`, as the customers of the bucket. Does nothing for a
    /// directory.
    ///
    /// # Errors
    /// An error of the operating system or the bucket; the bucket then keeps its previous customers.
    pub fn put_customers(&self, file: &Path) -> Result<(), StoreError> {
        if let Place::Directory(_) = self.0.place {
            return Ok(());
        }
        let name = name_of(file)?;
        self.0.objects.upload(&key(name), file, WriteCondition::Always)?;
        fault::point("customers.placed");
        self.delete_other_customers(name)
    }

    /// As [`put_customers`](Self::put_customers), unless the customers of the bucket are others than `former` by now.
    ///
    /// # Errors
    /// As [`put_customers`](Self::put_customers).
    pub fn exchange_customers(&self, file: &Path, former: &SyncedCustomers) -> Result<Exchanged, StoreError> {
        if let Place::Directory(_) = self.0.place {
            return Ok(Exchanged::Done);
        }
        let (name, SyncedCustomers(former)) = (name_of(file)?, former);
        if self.latest_customers()? != *former {
            return Ok(Exchanged::Overtaken);
        }
        let put = match former {
            Some((present, object)) if present == name => {
                self.0.objects.replace(&key(name), file, &object.tag)?
            }
            _ => self.0.objects.upload(&key(name), file, WriteCondition::Always)?,
        };
        if put == Put::Taken {
            return Ok(Exchanged::Overtaken);
        }
        fault::point("customers.placed");
        // One of the other format may have been replaced until now: no condition covers both.
        if let Some((other, object)) = former.as_ref().filter(|(other, _)| other != name)
            && self.listed_customers()?.get(other).is_some_and(|now| now != object)
        {
            return Ok(Exchanged::Overtaken);
        }
        self.delete_other_customers(name)?;
        Ok(Exchanged::Done)
    }

    fn delete_other_customers(&self, name: &str) -> Result<(), StoreError> {
        for other in NAMES.into_iter().filter(|other| *other != name) {
            self.0.objects.delete(&key(other))?;
        }
        Ok(())
    }

    /// All that the present file and those that a load can be undone to have of the customer `id`.
    ///
    /// # Errors
    /// When the store cannot be reached, or a file not be read.
    pub fn rows_of_customer(&self, id: &str) -> Result<Vec<StoredRow>, StoreError> {
        self.sync_customers()?;
        self.sync_kept_customers()?;
        Ok(CustomerSource::new(&self.0.customers).rows_of(id)?)
    }
}

/// The files that a load can be undone to: the bucket has all of them, the mirror those of the last sync.
impl Store {
    /// Downloads the kept files of a bucket into the mirror, in the place of those that it has: an erasure changes
    /// them. Does nothing for a directory.
    ///
    /// # Errors
    /// An error of the operating system or the bucket.
    pub fn sync_kept_customers(&self) -> Result<(), StoreError> {
        if let Place::Directory(_) = self.0.place {
            return Ok(());
        }
        let names = self.kept_names()?;
        self.forget_kept_customers(&names)?;
        let folder = self.0.customers.join(PREVIOUS);
        files::make_directory(&folder)?;
        for name in names {
            let staged = self.stage()?;
            let made = staged.path().join(&name);
            self.0.objects.download(&kept_key(&name), &made)?;
            files::sync(&made)?;
            let target = folder.join(&name);
            fs::rename(&made, &target).map_err(|error| StoreError::io(&target, error))?;
        }
        Ok(())
    }

    /// Keeps `kept` in the bucket. Does nothing for a directory.
    ///
    /// # Errors
    /// An error of the operating system or the bucket.
    pub fn put_kept_customers(&self, kept: &KeptFile) -> Result<(), StoreError> {
        if let Place::Directory(_) = self.0.place {
            return Ok(());
        }
        let Some(name) = kept.path.file_name().and_then(|name| name.to_str()) else { return Ok(()) };
        self.0.objects.upload(&kept_key(name), &kept.path, WriteCondition::Always)?;
        fault::point("customers.kept");
        Ok(())
    }

    /// Removes all but the latest few kept files, in the bucket and in the mirror. Does nothing for a directory.
    ///
    /// # Errors
    /// An error of the operating system or the bucket.
    pub fn prune_kept_customers(&self) -> Result<(), StoreError> {
        if let Place::Directory(_) = self.0.place {
            return Ok(());
        }
        let mut names = self.kept_names()?;
        for old in names.drain(..names.len().saturating_sub(KEPT_FILES)) {
            self.0.objects.delete(&kept_key(&old))?;
        }
        self.forget_kept_customers(&names)
    }

    /// Removes a kept file from the bucket: it is the source again, or the source stays. Does nothing for a directory.
    ///
    /// # Errors
    /// An error of the bucket.
    pub fn delete_kept_customers(&self, kept: &KeptFile) -> Result<(), StoreError> {
        if let Place::Directory(_) = self.0.place {
            return Ok(());
        }
        let Some(name) = kept.path.file_name().and_then(|name| name.to_str()) else { return Ok(()) };
        Ok(self.0.objects.delete(&kept_key(name))?)
    }

    /// The names of the kept files of the bucket, the latest last.
    fn kept_names(&self) -> Result<Vec<String>, StoreError> {
        let listed = self.0.objects.list(&format!("{}/{PREVIOUS}", keys::CUSTOMERS))?;
        let mut names: Vec<String> = listed.into_keys().filter(|name| kept_number(name).is_some()).collect();
        names.sort_by_key(|name| kept_number(name).map(|(number, _)| number));
        Ok(names)
    }

    /// Removes the kept files of the mirror that are not among `names`.
    fn forget_kept_customers(&self, names: &[String]) -> Result<(), StoreError> {
        let Ok(entries) = fs::read_dir(self.0.customers.join(PREVIOUS)) else { return Ok(()) };
        for path in entries.flatten().map(|entry| entry.path()) {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if kept_number(name).is_some() && !names.iter().any(|known| known == name) {
                fs::remove_file(&path).map_err(|error| StoreError::io(&path, error))?;
            }
        }
        Ok(())
    }
}

/// The key of an object of customers.
fn key(name: &str) -> String {
    format!("{}/{name}", keys::CUSTOMERS)
}

fn kept_key(name: &str) -> String {
    key(&format!("{PREVIOUS}/{name}"))
}

/// The name of a source in the bucket.
fn name_of(file: &Path) -> Result<&'static str, StoreError> {
    let name = NAMES.into_iter().find(|name| file.file_name().is_some_and(|found| found == *name));
    name.ok_or_else(|| {
        let message = format!("customers are called {}", NAMES.join(" or "));
        StoreError::Damaged { path: file.display().to_string(), message }
    })
}

/// Of two formats, the later object.
fn latest(listed: &BTreeMap<String, Listed>) -> Option<(&String, &Listed)> {
    listed.iter().filter(|(name, _)| NAMES.contains(&name.as_str())).max_by_key(|(_, object)| object.modified)
}

/// The object and the local file that the mirror's copy consists of: a file that replaced it since is another one.
fn described(location: &str, name: &str, object: &Listed, file: &Path) -> String {
    let tag = fs::metadata(file).map(|metadata| files::modified_tag(&metadata)).unwrap_or_default();
    format!("{location}\n{} {} {name}\n{tag}\n", object.tag, object.size)
}

fn keep_only(directory: &Path, kept: Option<&str>) -> Result<(), StoreError> {
    for other in NAMES.into_iter().filter(|name| Some(*name) != kept) {
        let path = directory.join(other);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::io(&path, error));
            }
            _ => {}
        }
    }
    Ok(())
}
