//! The customers' source of a bucket: one object, replaced whole, and its copy in the mirror.

use std::fs::{self, File};
use std::path::Path;

use super::mirror::SOURCE;
use super::{Place, Store, StoreError, keys};
use feature::store::{CustomerSource, ErasedFrom, KEPT_FILES, KeptFile, PREVIOUS, StoredRow, kept_number};
use objects::{Listed, WriteCondition, files};

/// The names of the source: one per format.
const NAMES: [&str; 2] = ["customers.csv", "customers.parquet"];

/// The lock that also guards the installation of a source.
const LOCK: &str = ".lock";

impl Store {
    /// Downloads the customers of a bucket into the mirror if they changed. Does nothing for a directory.
    ///
    /// # Errors
    /// An error of the operating system or the bucket; the mirror then keeps its previous customers.
    pub fn sync_customers(&self) -> Result<(), StoreError> {
        if let Place::Directory(_) = self.0.place {
            return Ok(());
        }
        self.download_customers().map(drop)
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
            self.0.objects.download(&format!("{}/{name}", keys::CUSTOMERS), &made)?;
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
        let listed = self.0.objects.list(keys::CUSTOMERS)?.into_iter();
        Ok(listed
            .filter(|(name, _)| NAMES.contains(&name.as_str()))
            .max_by_key(|(_, object)| object.modified))
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
        let name = NAMES.into_iter().find(|name| file.file_name().is_some_and(|found| found == *name));
        let Some(name) = name else {
            let message = format!("customers are called {}", NAMES.join(" or "));
            return Err(StoreError::Damaged { path: file.display().to_string(), message });
        };
        self.0.objects.upload(&format!("{}/{name}", keys::CUSTOMERS), file, WriteCondition::Always)?;
        self.delete_other_customers(name)
    }

    fn delete_other_customers(&self, name: &str) -> Result<(), StoreError> {
        for other in NAMES.into_iter().filter(|other| *other != name) {
            self.0.objects.delete(&format!("{}/{other}", keys::CUSTOMERS))?;
        }
        Ok(())
    }
}

/// One customer, in the present file and in those that a load can be undone to.
impl Store {
    /// All that the files have of the customer `id`.
    ///
    /// # Errors
    /// When the store cannot be reached, or a file not be read.
    pub fn rows_of_customer(&self, id: &str) -> Result<Vec<StoredRow>, StoreError> {
        self.sync_customers()?;
        self.sync_kept_customers()?;
        Ok(CustomerSource::new(&self.0.customers).rows_of(id)?)
    }

    /// Replaces the files that have the customer `id` by files without them. Returns which those were.
    ///
    /// # Errors
    /// When the store cannot be reached or written to, or a file not be read. What was replaced stays, and a
    /// repetition goes on.
    pub fn erase_customer(&self, id: &str) -> Result<Vec<ErasedFrom>, StoreError> {
        let source = CustomerSource::new(&self.0.customers);
        if let Place::Directory(_) = self.0.place {
            return Ok(source.erase(id)?);
        }
        self.sync_kept_customers()?;
        let mut all = Vec::new();
        loop {
            let synced = self.download_customers()?;
            let erased = source.erase(id)?;
            for kept in erased.iter().filter_map(|one| one.kept.as_ref()) {
                self.put_kept_customers(kept)?;
            }
            let present = erased.iter().find(|one| one.kept.is_none()).map(|one| one.file.clone());
            all.extend(erased);
            // Another machine may have loaded a file since, which must not be lost.
            if present.is_some() && self.latest_customers()? != synced {
                continue;
            }
            if let Some(file) = present {
                self.put_customers(&file)?;
            } else if let Some((name, _)) = synced {
                // An interrupted load may have left one of the other format.
                self.delete_other_customers(&name)?;
            }
            return Ok(all);
        }
    }
}

/// The files that a load can be undone to: the bucket has all of them, the mirror those that it needs.
impl Store {
    /// Downloads the kept files of a bucket into the mirror, and removes those that the bucket no longer has. Does
    /// nothing for a directory.
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
        for name in names.into_iter().filter(|name| !folder.join(name).exists()) {
            let staged = self.stage()?;
            let made = staged.path().join(&name);
            self.0.objects.download(&kept_key(&name), &made)?;
            files::sync(&made)?;
            let target = folder.join(&name);
            fs::rename(&made, &target).map_err(|error| StoreError::io(&target, error))?;
        }
        Ok(())
    }

    /// Keeps `kept` in the bucket, and removes all but the latest few there and in the mirror. Does nothing for a
    /// directory.
    ///
    /// # Errors
    /// An error of the operating system or the bucket.
    pub fn put_kept_customers(&self, kept: &KeptFile) -> Result<(), StoreError> {
        if let Place::Directory(_) = self.0.place {
            return Ok(());
        }
        let Some(name) = kept.path.file_name().and_then(|name| name.to_str()) else { return Ok(()) };
        self.0.objects.upload(&kept_key(name), &kept.path, WriteCondition::Always)?;
        let mut names = self.kept_names()?;
        for old in names.drain(..names.len().saturating_sub(KEPT_FILES)) {
            self.0.objects.delete(&kept_key(&old))?;
        }
        self.forget_kept_customers(&names)
    }

    /// Removes a kept file from the bucket once it is the source again. Does nothing for a directory.
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

fn kept_key(name: &str) -> String {
    format!("{}/{PREVIOUS}/{name}", keys::CUSTOMERS)
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
