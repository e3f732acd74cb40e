//! The mirror: the local directory into which the served versions of a bucket are downloaded.
//!
//! A version is downloaded in staging and renamed into place together with `.source`, a list of its objects. As long
//! as the bucket lists the same objects, the mirror's version is the bucket's.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::versions::Files;
use super::{Place, Staging, Store, StoreError, contents, keys, remove_directory};
use objects::files::{self, Moved};

/// The file that lists the objects of a mirrored version, or of the mirrored customers.
pub(super) const SOURCE: &str = ".source";

/// The configured mirror of a bucket, or a temporary one that is removed with the store.
pub(super) fn choose(mirror: Option<&Path>) -> Result<(PathBuf, Option<Staging>), StoreError> {
    if let Some(mirror) = mirror {
        files::make_directory(mirror)?;
        return Ok((mirror.to_owned(), None));
    }
    let user = rustix::process::geteuid().as_raw();
    let area = std::env::temp_dir().join(format!("proffer-{user}"));
    let made = fs::DirBuilder::new().mode(0o700).create(&area);
    if let Err(error) = made
        && error.kind() != std::io::ErrorKind::AlreadyExists
    {
        return Err(StoreError::io(&area, error));
    }
    // Every user may write to the directory for temporary files, but no other user may own the models.
    let found = fs::symlink_metadata(&area).map_err(|error| StoreError::io(&area, error))?;
    if !found.is_dir() || found.uid() != user || found.permissions().mode() & 0o022 != 0 {
        let message = "belongs to another user or is writable by others; name a mirror";
        return Err(StoreError::io(&area, std::io::Error::other(message)));
    }
    objects::sweep(&area);
    let own = Staging::new(&area)?;
    Ok((own.path().to_owned(), Some(own)))
}

impl Store {
    /// Downloads the models that serve beside releases: the highest version of each, unless `pins` names it. Removes
    /// what the bucket no longer has. Does nothing for a directory.
    ///
    /// # Errors
    /// The first failure; the other models are downloaded all the same.
    pub fn sync_models(&self, pins: &BTreeMap<String, u64>) -> Result<(), StoreError> {
        if let Place::Directory(_) = self.0.place {
            return Ok(());
        }
        let versions = self.all_files()?;
        let mut highest: BTreeMap<&str, (u64, &Files)> = BTreeMap::new();
        let mut first_failure = None;
        for ((name, version), files) in &versions {
            match self.is_whole(name, *version, files) {
                // Versions ascend, so the highest one remains.
                Ok(true) => _ = highest.insert(name, (*version, files)),
                Ok(false) => {}
                Err(error) => _ = first_failure.get_or_insert(error),
            }
        }
        for (name, (version, files)) in highest {
            if pins.get(name) == Some(&version) {
                continue;
            }
            if let Err(error) = self.download(name, version, files) {
                first_failure.get_or_insert(error);
            }
        }
        self.prune(|name, version| versions.contains_key(&(name.to_owned(), version)))?;
        first_failure.map_or(Ok(()), Err)
    }

    /// Downloads a version into the mirror, unless it is there.
    pub(super) fn download(&self, name: &str, version: u64, files: &Files) -> Result<PathBuf, StoreError> {
        let target = self.version_directory(name, version);
        let source = described(&self.0.location, files);
        if is_mirrored(&target, &source, files) {
            return Ok(target);
        }
        let staged = self.stage()?;
        let made = staged.path().join("version");
        files::make_directory(&made)?;
        for file in files.keys().filter(|file| contents::counts(file)) {
            let path = made.join(file);
            files::make_directory(files::parent(&path))?;
            self.0.objects.download(&format!("{}/{file}", keys::version(name, version)), &path)?;
        }
        files::write(&made.join(SOURCE), source.as_bytes())?;
        files::sync_tree(&made)?;
        loop {
            if files::move_to_free(&made, &target)? == Moved::Done {
                return Ok(target);
            }
            // Another thread or process was faster, or the mirror holds a version of another store.
            if is_mirrored(&target, &source, files) {
                return Ok(target);
            }
            match remove_directory(&self.stage()?, &target) {
                Err(StoreError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
                removed => removed?,
            }
        }
    }

    /// Removes a version from the mirror.
    pub(super) fn drop_mirrored(&self, name: &str, version: u64) -> Result<(), StoreError> {
        match remove_directory(&self.stage()?, &self.version_directory(name, version)) {
            Err(StoreError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    /// Removes versions from the mirror that the bucket no longer has.
    fn prune(&self, known: impl Fn(&str, u64) -> bool) -> Result<(), StoreError> {
        let Ok(names) = fs::read_dir(&self.0.models) else { return Ok(()) };
        let names = names.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        for name in names.filter(|name| keys::is_name(name)) {
            for version in contents::numbers(&self.0.models.join(&name))? {
                // The second question finds a version that arrived after the listing.
                if !known(&name, version) && !self.holds(&name, version)? {
                    self.drop_mirrored(&name, version)?;
                }
            }
        }
        Ok(())
    }
}

/// The text of `.source`: it changes with any object of the version.
fn described(location: &str, files: &Files) -> String {
    let mut text = format!("{location}\n");
    for (name, listed) in files.iter().filter(|(name, _)| contents::counts(name)) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{} {} {name}", listed.tag, listed.size);
    }
    text
}

fn is_mirrored(directory: &Path, source: &str, files: &Files) -> bool {
    let whole = |(name, size): (&String, u64)| {
        fs::metadata(directory.join(name)).is_ok_and(|metadata| metadata.len() == size)
    };
    fs::read_to_string(directory.join(SOURCE)).is_ok_and(|found| found == source)
        && files
            .iter()
            .filter(|(name, _)| contents::counts(name))
            .map(|(name, file)| (name, file.size))
            .all(whole)
}
