//! The mirror: the local directory into which what serves is brought from a bucket.
//!
//! A version is downloaded in staging and renamed into place together with `.source`, a list of the objects that it was made of.
//! As long as the bucket lists the same objects, the mirror's version is the bucket's.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::files::{self, Moved};
use super::versions::Files;
use super::{Place, Staging, Store, StoreError, keys, remove_directory, staging};

/// The file that says what a mirrored version, or the mirrored customers, were made of.
pub(super) const SOURCE: &str = ".source";

/// The mirror of a bucket: the one that was named, or one that goes with the store.
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
    // Everybody may write to the directory for temporary files, and models must not be anybody's.
    let found = fs::symlink_metadata(&area).map_err(|error| StoreError::io(&area, error))?;
    if !found.is_dir() || found.uid() != user || found.permissions().mode() & 0o022 != 0 {
        let message = "belongs to somebody else or can be written to by others; name a mirror";
        return Err(StoreError::io(&area, std::io::Error::other(message)));
    }
    staging::sweep(&area);
    let own = Staging::new(&area)?;
    Ok((own.path().to_owned(), Some(own)))
}

impl Store {
    /// Brings into the mirror what is served beside releases: the highest version of each model, unless it is the one that
    /// `pins` names. Removes what the bucket no longer has. For a directory there is nothing to do.
    ///
    /// # Errors
    /// The first failure; the other models are brought all the same.
    pub fn sync_models(&self, pins: &BTreeMap<String, u64>) -> Result<(), StoreError> {
        if let Place::Directory(_) = self.0.place {
            return Ok(());
        }
        let versions = self.all_files()?;
        let mut highest: BTreeMap<&str, (u64, &Files)> = BTreeMap::new();
        let mut first_failure = None;
        for ((name, version), files) in &versions {
            match self.is_whole(name, *version, files) {
                // Ascending by version.
                Ok(true) => _ = highest.insert(name, (*version, files)),
                Ok(false) => {}
                Err(error) => _ = first_failure.get_or_insert(error),
            }
        }
        for (name, (version, files)) in highest {
            if pins.get(name) == Some(&version) {
                continue;
            }
            if let Err(error) = self.bring(name, version, files) {
                first_failure.get_or_insert(error);
            }
        }
        self.prune(|name, version| versions.contains_key(&(name.to_owned(), version)))?;
        first_failure.map_or(Ok(()), Err)
    }

    /// Brings a version into the mirror, unless it is there.
    pub(super) fn bring(&self, name: &str, version: u64, files: &Files) -> Result<PathBuf, StoreError> {
        let target = self.version_directory(name, version);
        let source = described(&self.0.location, files);
        if is_mirrored(&target, &source, files) {
            return Ok(target);
        }
        let staged = self.stage()?;
        let made = staged.path().join("version");
        files::make_directory(&made)?;
        for file in files.keys().filter(|file| files::counts(file)) {
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
            // Another thread or process was faster, or what is there is of another store.
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

    /// Removes versions from the mirror that the bucket does not have any more.
    fn prune(&self, known: impl Fn(&str, u64) -> bool) -> Result<(), StoreError> {
        let Ok(names) = fs::read_dir(&self.0.models) else { return Ok(()) };
        let names = names.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        for name in names.filter(|name| keys::is_name(name)) {
            for version in files::numbers(&self.0.models.join(&name))? {
                // One that came after the list was made is there when it is asked for.
                if !known(&name, version) && !self.holds(&name, version)? {
                    self.drop_mirrored(&name, version)?;
                }
            }
        }
        Ok(())
    }
}

/// What a version of a store is made of, in words that change with any of it.
fn described(location: &str, files: &Files) -> String {
    let mut text = format!("{location}\n");
    for (name, listed) in files.iter().filter(|(name, _)| files::counts(name)) {
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
            .filter(|(name, _)| files::counts(name))
            .map(|(name, file)| (name, file.size))
            .all(whole)
}
