//! The store on disk: immutable model versions and releases, the pointer `CURRENT`, and the customers' source.
//!
//! ```text
//! store/models/<name>/<version>/…   store/releases/<number>/…   store/promotions/<sequence>.toml
//! store/CURRENT                     store/customers/
//! ```
//! Everything but `CURRENT` and `customers/` never changes once it is there: a directory is written under a temporary name
//! and renamed into place, so that what exists is whole. This module moves files; it neither parses nor judges their content
//! beyond `release.toml`, `CURRENT` and the checksums of a manifest.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::records::{Current, RELEASE_FILES, ReleaseFiles, ReleaseRecord};
use super::workspace::Workspace;
use crate::document::Problems;
use crate::model::{Checksums, Manifest, sha256_of};

/// What goes wrong with a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no directory, or it is not a store.
    #[error(
        "{path} is not a store: {reason}; create one with `proffer init --store {path} --from WORKSPACE`"
    )]
    NotAStore {
        /// What was asked for.
        path: String,
        /// What is missing.
        reason: String,
    },
    /// `init` found a release.
    #[error("{path} already holds release {release}; nothing was changed")]
    AlreadyInitialised {
        /// The store.
        path: String,
        /// Its current release.
        release: u64,
    },
    /// Where a version belongs there is another of that number.
    #[error(
        "{path} is there already and is another one than the workspace's; remove it, or make the store elsewhere"
    )]
    Occupied {
        /// The directory.
        path: String,
    },
    /// No release of this number.
    #[error("the store has no release {0}")]
    NoSuchRelease(u64),
    /// A file of ours that does not read.
    #[error("{path}: {message}")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong with it.
        message: String,
    },
    /// A file of a release or a version was changed after it was written.
    #[error("{path} was changed after it was released: expected SHA-256 {expected}, found {found}")]
    Changed {
        /// The file.
        path: String,
        /// What the release recorded.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The operating system said no.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

fn io_error(path: &Path, source: io::Error) -> StoreError {
    StoreError::Io { path: path.display().to_string(), source }
}

/// A store in a local directory.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// The store at `root`, which must have a current release.
    ///
    /// # Errors
    /// When there is no directory or no `CURRENT`.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let store = Self { root: root.into() };
        let missing = |reason: &str| StoreError::NotAStore {
            path: store.root.display().to_string(),
            reason: reason.to_owned(),
        };
        if !store.root.is_dir() {
            return Err(missing("there is no such directory"));
        }
        if !store.root.join("CURRENT").is_file() {
            return Err(missing("it has no CURRENT"));
        }
        Ok(store)
    }

    /// Makes a new store of a workspace whose content was checked: its models, its first release, its customers.
    ///
    /// # Errors
    /// When there is a release already, or the operating system refuses; `CURRENT` is written last, so a store that was
    /// interrupted is not one yet and the command can be repeated.
    pub fn init(root: impl Into<PathBuf>, workspace: &Workspace, author: &str) -> Result<Self, StoreError> {
        let store = Self { root: root.into() };
        if store.root.join("CURRENT").exists() {
            // One that cannot be read is an error, not an empty store.
            let release = store.current()?.release;
            return Err(StoreError::AlreadyInitialised { path: store.root.display().to_string(), release });
        }
        for directory in ["models", "releases", "promotions", "customers"] {
            let path = store.root.join(directory);
            fs::create_dir_all(&path).map_err(|source| io_error(&path, source))?;
        }
        for (name, version) in workspace.models.iter().chain(&workspace.bare) {
            store.add_version(name, *version, &workspace.version_dir(name, *version))?;
        }
        let number = store.add_release(workspace, author, "made by init")?;
        store.promote(&Current {
            release: number,
            previous: 0,
            sequence: 1,
            author: author.to_owned(),
            reason: "made by init".to_owned(),
            time: now(),
        })?;
        Ok(store)
    }

    /// The root directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `models/`.
    #[must_use]
    pub fn models_dir(&self) -> PathBuf {
        self.root.join("models")
    }

    /// `customers/`.
    #[must_use]
    pub fn customers_dir(&self) -> PathBuf {
        self.root.join("customers")
    }

    /// The directory of a model version, whether it exists or not.
    #[must_use]
    pub fn version_dir(&self, name: &str, version: u64) -> PathBuf {
        self.models_dir().join(name).join(version.to_string())
    }

    /// Whether there is such a version of a model.
    #[must_use]
    pub fn has_version(&self, name: &str, version: u64) -> bool {
        self.version_dir(name, version).join("model.toml").is_file()
    }

    /// Whether there is such a release.
    #[must_use]
    pub fn has_release(&self, number: u64) -> bool {
        self.release_dir(number).join("release.toml").is_file()
    }

    /// What `CURRENT` says.
    ///
    /// # Errors
    /// When it is missing or damaged.
    pub fn current(&self) -> Result<Current, StoreError> {
        let path = self.root.join("CURRENT");
        read_toml(&path, &read(&path)?)
    }

    /// The texts of a release, whole and unchanged since they were written.
    ///
    /// # Errors
    /// When there is no such release, or one of its files was damaged or changed.
    pub fn release(&self, number: u64) -> Result<ReleaseFiles, StoreError> {
        let directory = self.release_dir(number);
        let path = directory.join("release.toml");
        if !path.is_file() {
            return Err(StoreError::NoSuchRelease(number));
        }
        let record: ReleaseRecord = read_toml(&path, &read(&path)?)?;
        let text = |name: &str| -> Result<String, StoreError> {
            let path = directory.join(name);
            let text = read(&path)?;
            let (expected, found) =
                (record.hashes.get(name).cloned().unwrap_or_default(), sha256_of(text.as_bytes()));
            if expected == found {
                return Ok(text);
            }
            Err(StoreError::Changed { path: path.display().to_string(), expected, found })
        };
        let [features, offers, policy] = RELEASE_FILES.map(text);
        Ok(ReleaseFiles { features: features?, offers: offers?, policy: policy?, record })
    }

    fn release_dir(&self, number: u64) -> PathBuf {
        self.root.join("releases").join(number.to_string())
    }

    /// Copies a version into the store, unless it is there already; something else in its place is an error.
    fn add_version(&self, name: &str, version: u64, source: &Path) -> Result<(), StoreError> {
        let target = self.version_dir(name, version);
        let fill = |directory: &Path| {
            copy_files(source, directory)?;
            fill_in_checksums(directory)
        };
        if !target.exists() {
            return write_directory(&target, fill);
        }
        // Of an `init` that was interrupted; what was edited since then must not be left out without a word.
        let staged = stage_beside(&target)?;
        let same = fill(&staged).and_then(|()| same_files(&staged, &target));
        let _ = fs::remove_dir_all(&staged);
        if same? { Ok(()) } else { Err(StoreError::Occupied { path: target.display().to_string() }) }
    }

    /// Writes the next release from a workspace's files and pins.
    fn add_release(&self, workspace: &Workspace, author: &str, note: &str) -> Result<u64, StoreError> {
        let number = self.numbers("releases")?.last().map_or(1, |last| last + 1);
        let texts = [&workspace.features, &workspace.offers, &workspace.policy];
        let record = ReleaseRecord {
            number,
            author: author.to_owned(),
            note: note.to_owned(),
            created: now(),
            models: workspace.models.clone(),
            hashes: RELEASE_FILES
                .into_iter()
                .zip(texts)
                .map(|(name, text)| (name.to_owned(), sha256_of(text.as_bytes())))
                .collect(),
        };
        write_directory(&self.release_dir(number), |directory| {
            for (name, text) in RELEASE_FILES.into_iter().zip(texts) {
                write_synced(&directory.join(name), text.as_bytes())?;
            }
            write_synced(&directory.join("release.toml"), to_toml(&record).as_bytes())
        })?;
        Ok(number)
    }

    fn promote(&self, current: &Current) -> Result<(), StoreError> {
        let text = to_toml(current);
        let copy = self.root.join("promotions").join(format!("{}.toml", current.sequence));
        write_synced(&copy, text.as_bytes())?;
        let (temporary, path) = (self.root.join("CURRENT.tmp"), self.root.join("CURRENT"));
        write_synced(&temporary, text.as_bytes())?;
        fs::rename(&temporary, &path).map_err(|source| io_error(&path, source))?;
        sync_directory(&self.root)
    }

    /// The numbered entries of a directory of the store, ascending; whatever else lies there is ignored.
    fn numbers(&self, directory: &str) -> Result<Vec<u64>, StoreError> {
        let path = self.root.join(directory);
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&path).map_err(|source| io_error(&path, source))? {
            let entry = entry.map_err(|source| io_error(&path, source))?;
            numbers.extend(entry.file_name().to_str().and_then(|name| name.parse::<u64>().ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }
}

/// Fills a directory under a temporary name and renames it into place.
fn write_directory(
    target: &Path,
    fill: impl FnOnce(&Path) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let staged = stage_beside(target)?;
    let filled = fill(&staged)
        .and_then(|()| sync_directory(&staged))
        .and_then(|()| fs::rename(&staged, target).map_err(|source| io_error(target, source)));
    if filled.is_err() {
        let _ = fs::remove_dir_all(&staged);
    }
    filled.and_then(|()| sync_directory(staged.parent().unwrap_or(target)))
}

/// An empty directory of this process, on the same file system as `target`, under a name that nobody reads.
fn stage_beside(target: &Path) -> Result<PathBuf, StoreError> {
    let parent = target.parent().unwrap_or(target);
    fs::create_dir_all(parent).map_err(|source| io_error(parent, source))?;
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let staged = parent.join(format!(".{name}.{}", std::process::id()));
    let _ = fs::remove_dir_all(&staged);
    fs::create_dir(&staged).map_err(|source| io_error(&staged, source))?;
    Ok(staged)
}

fn now() -> String {
    chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

fn read(path: &Path) -> Result<String, StoreError> {
    fs::read_to_string(path).map_err(|source| io_error(path, source))
}

fn read_bytes(path: &Path) -> Result<Vec<u8>, StoreError> {
    fs::read(path).map_err(|source| io_error(path, source))
}

fn read_toml<T: serde::de::DeserializeOwned>(path: &Path, text: &str) -> Result<T, StoreError> {
    toml::from_str(text).map_err(|error| StoreError::Damaged {
        path: path.display().to_string(),
        message: error.message().to_owned(),
    })
}

fn to_toml(value: &impl Serialize) -> String {
    // Maps with string keys and integers up to i64 are all that these records hold.
    toml::to_string(value).unwrap_or_default()
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let write = || -> io::Result<()> {
        let mut file = fs::File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|source| io_error(path, source))
}

/// Completes a manifest that has no checksums: from now on the version is what it is.
fn fill_in_checksums(directory: &Path) -> Result<(), StoreError> {
    let path = directory.join("model.toml");
    if !path.is_file() {
        return Ok(());
    }
    let text = read(&path)?;
    let damaged = |problems: Problems| StoreError::Damaged {
        path: path.display().to_string(),
        message: problems.to_string(),
    };
    if !Manifest::parse("model.toml", &text).map_err(damaged)?.checksums.is_empty() {
        return Ok(());
    }
    let checksums = Checksums::compute(directory).map_err(|source| io_error(directory, source))?;
    write_synced(&path, format!("{}\n\n{}", text.trim_end(), checksums.render()).as_bytes())
}

fn copy_files(source: &Path, target: &Path) -> Result<(), StoreError> {
    for (name, path) in files(source)? {
        let copy = target.join(name);
        let directory = copy.parent().unwrap_or(target);
        fs::create_dir_all(directory).map_err(|error| io_error(directory, error))?;
        write_synced(&copy, &read_bytes(&path)?)?;
    }
    Ok(())
}

fn same_files(left: &Path, right: &Path) -> Result<bool, StoreError> {
    let (left, right) = (files(left)?, files(right)?);
    if !left.keys().eq(right.keys()) {
        return Ok(false);
    }
    for (left, right) in left.values().zip(right.values()) {
        if read_bytes(left)? != read_bytes(right)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The files in and below a directory, by their path within it.
fn files(directory: &Path) -> Result<BTreeMap<PathBuf, PathBuf>, StoreError> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(directory).map_err(|error| io_error(directory, error))? {
        let entry = entry.map_err(|error| io_error(directory, error))?;
        let (name, path) = (PathBuf::from(entry.file_name()), entry.path());
        if path.is_dir() {
            files.extend(self::files(&path)?.into_iter().map(|(below, path)| (name.join(below), path)));
        } else if path.is_file() {
            files.insert(name, path);
        }
    }
    Ok(files)
}

fn sync_directory(path: &Path) -> Result<(), StoreError> {
    fs::File::open(path).and_then(|directory| directory.sync_all()).map_err(|source| io_error(path, source))
}
