//! The customers' source of a bucket: one object, replaced whole, and its copy in the mirror.

use std::fs::{self, File};
use std::path::Path;

use super::mirror::SOURCE;
use super::{Place, Store, StoreError, keys};
use feature::store::{KEPT_FILES, KeptFile, PREVIOUS, kept_number};
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
                return keep_only(directory, Some(&name));
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
            return Ok(files::write(&source, mirrored.as_bytes())?);
        }
        keep_only(directory, None)
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
        for other in NAMES.into_iter().filter(|other| *other != name) {
            self.0.objects.delete(&format!("{}/{other}", keys::CUSTOMERS))?;
        }
        Ok(())
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
