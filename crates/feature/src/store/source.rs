//! The directory `customers/` of a store: one file, replaced as a whole.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::customer::{self, Values};
use super::kept::{self, KeptFile};
use super::losses::{self, Read};
use super::{CustomerTable, Format, LoadReport};
use crate::FeatureSchema;
use document::Problems;
use table::Faults;

/// The name of the file that is being installed; it is never read as customers.
const INCOMING: &str = ".incoming";

/// Locked while a file is installed, so that installations do not overlap.
const LOCK: &str = ".lock";

/// How often a file is read again because another was put in its place meanwhile.
const ATTEMPTS: usize = 5;

/// The directory that holds `customers.csv` or `customers.parquet`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomerSource {
    directory: PathBuf,
}

/// Distinguishes states of a [`CustomerSource`] without reading the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    path: PathBuf,
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
}

/// Whether a load may lose data of the present file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Losses {
    /// A load that loses a column, or more than [`MAX_LOST`](super::MAX_LOST) of the customers or of a consent, is
    /// refused.
    Refused,
    /// Losses are intended.
    Allowed,
}

/// The result of a load or of undoing one.
#[derive(Debug)]
pub struct Replaced {
    /// The contents of the file that is present now.
    pub report: LoadReport,
    /// The kept copy of the file that was present before.
    pub kept: Option<KeptFile>,
    /// The kept file that became the present one, if any; it has been moved.
    pub restored: Option<KeptFile>,
}

/// A file that a customer was erased from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErasedFrom {
    /// The file.
    pub file: PathBuf,
    /// How many rows it had of them.
    pub rows: u64,
}

/// What a file has of a customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRow {
    /// The file.
    pub file: PathBuf,
    /// All columns and their values as the file has them, whether features or not; `None` for what is missing.
    pub values: Vec<(String, Option<String>)>,
}

impl CustomerSource {
    /// The source in `directory`, which need not exist yet.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// Checks the whole of `source_file`, then replaces the present file by a copy. A server sees the old customers
    /// or the new ones, never a mixture, even if the machine stops in between.
    ///
    /// # Errors
    /// The problems of the file, or why it could not be copied. The present file is unchanged then.
    pub fn install(&self, source_file: &Path, schema: &FeatureSchema) -> Result<LoadReport, Problems> {
        let place = self.prepare(source_file)?;
        let (_, report) = copy_and_read(&place, source_file, schema)?;
        self.replace(&place.incoming.0, place.format).map_err(|error| self.failed(&place.shown, &error))?;
        Ok(report)
    }

    /// Like [`install`](Self::install), and keeps the present file for [`undo`](Self::undo).
    ///
    /// # Errors
    /// Those of `install`, and the losses if `losses` refuses them.
    pub fn exchange(
        &self,
        source_file: &Path,
        schema: &FeatureSchema,
        losses: Losses,
    ) -> Result<Replaced, Problems> {
        let place = self.prepare(source_file)?;
        let (table, report) = copy_and_read(&place, source_file, schema)?;
        let new = Read { table, report };
        if losses == Losses::Refused {
            // A present file that cannot be read under this schema serves no customer, so nothing is lost with it.
            let present = self.current().and_then(|path| CustomerTable::load_stored(&path, schema).ok());
            let present = present.map(|(table, report)| Read { table, report });
            losses::refuse(&place.shown, present.as_ref(), &new, schema)?;
        }
        let failed = |error: io::Error| self.failed(&place.shown, &error);
        let present = self.current();
        let kept =
            present.map(|present| kept::keep(&self.directory, &present)).transpose().map_err(failed)?;
        self.replace(&place.incoming.0, place.format).map_err(failed)?;
        kept::prune(&self.directory).map_err(failed)?;
        Ok(Replaced { report: new.report, kept, restored: None })
    }

    /// Replaces the present file by the latest kept one. Repeated calls go further back and end at the oldest. The
    /// present file is kept as well, but no later undo restores it.
    ///
    /// # Errors
    /// If no file is kept, or it cannot be read under `schema`. The present file is unchanged then.
    pub fn undo(&self, schema: &FeatureSchema) -> Result<Replaced, Problems> {
        let shown = self.directory.display().to_string();
        let failed = |error: io::Error| self.failed(&shown, &error);
        let _lock = self.lock().map_err(failed)?;
        let Some(latest) = kept::latest(&self.directory, self.current().as_deref()).map_err(failed)? else {
            return Err(Problems::one(shown, None, "no previous file is kept, so there is nothing to undo"));
        };
        let Some(format) = Format::of(&latest.path) else {
            return Err(Problems::one(latest.path.display().to_string(), None, "is not a customer file"));
        };
        let (_, mut report) = CustomerTable::load_stored(&latest.path, schema)?;
        let present = self.current();
        let kept = present.map(|path| kept::keep_undone(&self.directory, &path));
        let kept = kept.transpose().map_err(failed)?;
        // If both formats are present, the later file is read.
        let now = File::options()
            .append(true)
            .open(&latest.path)
            .and_then(|file| file.set_modified(SystemTime::now()));
        now.map_err(failed)?;
        self.replace(&latest.path, format).map_err(failed)?;
        report.file = self.file(format).display().to_string();
        Ok(Replaced { report, kept, restored: Some(latest) })
    }

    /// Makes the files anew that have the customer `id`, without them: the present file, and those that are kept. A
    /// server sees each as it was or without them, even if the machine stops in between. Returns the files that had
    /// them. A load that begins meanwhile waits; a file that another program puts there is made anew as well.
    ///
    /// # Errors
    /// If a file cannot be read or replaced. Those before it are done, and a repetition goes on.
    pub fn erase(&self, id: &str) -> Result<Vec<ErasedFrom>, Problems> {
        self.erase_observed(id, &mut |_| {})
    }

    /// Does that, and calls `made` with each file that is about to be replaced.
    fn erase_observed(&self, id: &str, made: &mut dyn FnMut(&Path)) -> Result<Vec<ErasedFrom>, Problems> {
        let shown = self.directory.display().to_string();
        let _lock = self.lock().map_err(|error| self.failed(&shown, &error))?;
        // What an interrupted load has left goes in any case: they may be in it.
        let incoming = Incoming(self.directory.join(INCOMING));
        let mut erased = Vec::new();
        for file in self.files() {
            let rows = self.erase_from(&file, id, &incoming.0, made)?;
            if rows > 0 {
                erased.push(ErasedFrom { file, rows });
            }
        }
        Ok(erased)
    }

    /// Erases from one file by way of `incoming`. Returns how many rows it had of the customer.
    fn erase_from(
        &self,
        file: &Path,
        id: &str,
        incoming: &Path,
        made: &mut dyn FnMut(&Path),
    ) -> Result<u64, Problems> {
        let shown = file.display().to_string();
        for _ in 0..ATTEMPTS {
            // Before it is read: what is written while it is read makes another state.
            let Some(former) = Fingerprint::of(file.to_owned()) else { return Ok(0) };
            let rows = customer::without(file, &shown, id, incoming)?;
            if rows == 0 {
                return Ok(0);
            }
            made(file);
            if exchange(incoming, &former).map_err(|error| self.failed(&shown, &error))? {
                return Ok(rows);
            }
        }
        Err(Problems::one(shown, None, "keeps changing; is another program writing it?"))
    }

    /// All that the present file and the kept ones have of the customer `id`.
    ///
    /// # Errors
    /// If a file cannot be read to its end.
    pub fn rows_of(&self, id: &str) -> Result<Vec<StoredRow>, Problems> {
        let mut rows = Vec::new();
        for file in self.files() {
            let found = customer::rows_of(&file, id)?;
            rows.extend(found.into_iter().map(|values: Values| StoredRow { file: file.clone(), values }));
        }
        Ok(rows)
    }

    /// The kept files, then the present one; also one of the other format that an interrupted load has left.
    fn files(&self) -> Vec<PathBuf> {
        let kept = kept::list(&self.directory).into_iter().map(|kept| kept.path);
        let present = Format::ALL.map(|format| self.file(format)).into_iter().filter(|file| file.is_file());
        kept.chain(present).collect()
    }

    /// The present file, if any. If both formats are present, the one that was modified later. That happens after an
    /// interrupted installation, or after a file was copied by hand.
    #[must_use]
    pub fn current(&self) -> Option<PathBuf> {
        self.fingerprint().map(|fingerprint| fingerprint.path)
    }

    /// Identifies the present file by its path, modification time, length and inode. Costs two `stat` calls, so a
    /// server can ask every second.
    #[must_use]
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        Format::ALL
            .into_iter()
            .filter_map(|format| Fingerprint::of(self.file(format)))
            .max_by(|one, other| one.modified.cmp(&other.modified))
    }

    /// Loads the present file. Without one, the table is empty and there is no report.
    ///
    /// # Errors
    /// Those of [`CustomerTable::load`].
    pub fn load(&self, schema: &FeatureSchema) -> Result<(CustomerTable, Option<LoadReport>), Problems> {
        let Some(path) = self.current() else { return Ok((CustomerTable::empty(schema), None)) };
        let (table, report) = CustomerTable::load_stored(&path, schema)?;
        for note in &report.notes {
            tracing::warn!(file = report.file, "customers: {note}");
        }
        Ok((table, Some(report)))
    }

    /// Takes the lock and prepares the copy of `source_file`.
    fn prepare(&self, source_file: &Path) -> Result<Installation, Problems> {
        let shown = source_file.display().to_string();
        let Some(format) = Format::of(source_file) else {
            return Err(Problems::one(shown, None, super::OTHER_FORMAT));
        };
        let lock = self.lock().map_err(|error| self.failed(&shown, &error))?;
        Ok(Installation { shown, format, incoming: Incoming(self.directory.join(INCOMING)), _lock: lock })
    }

    fn lock(&self) -> io::Result<File> {
        fs::create_dir_all(&self.directory)?;
        let lock = File::create(self.directory.join(LOCK))?;
        lock.lock()?;
        Ok(lock)
    }

    fn failed(&self, shown: &str, error: &io::Error) -> Problems {
        let directory = self.directory.display();
        Problems::one(shown, None, format!("{directory} could not be written to: {error}"))
    }

    fn file(&self, format: Format) -> PathBuf {
        self.directory.join("customers").with_extension(format.ending())
    }

    fn replace(&self, incoming: &Path, format: Format) -> io::Result<()> {
        fs::rename(incoming, self.file(format))?;
        // The new name must be on disk before the file of the other format is removed.
        let directory = File::open(&self.directory)?;
        directory.sync_all()?;
        for other in Format::ALL.into_iter().filter(|other| *other != format) {
            match fs::remove_file(self.file(other)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        directory.sync_all()
    }
}

/// Copies and reads `source_file`. The copy is checked, not the source: it cannot change between the check and the
/// installation.
fn copy_and_read(
    place: &Installation,
    source_file: &Path,
    schema: &FeatureSchema,
) -> Result<(CustomerTable, LoadReport), Problems> {
    let copied = copy(source_file, &place.incoming.0);
    copied.map_err(|error| {
        Problems::one(&place.shown, None, format!("the file could not be copied: {error}"))
    })?;
    CustomerTable::load_as(&place.incoming.0, place.format, &place.shown, schema, Faults::Refused)
}

/// Gives `made` the name of the file `former`, and its time: of two formats the later file is read. Returns whether it
/// did: it does not if that file is another one by now.
fn exchange(made: &Path, former: &Fingerprint) -> io::Result<bool> {
    if let Some(modified) = former.modified {
        File::options().append(true).open(made)?.set_modified(modified)?;
    }
    let file = &former.path;
    if Fingerprint::of(file.clone()).as_ref() != Some(former) {
        return Ok(false);
    }
    fs::rename(made, file)?;
    File::open(file.parent().unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(true)
}

impl Fingerprint {
    fn of(path: PathBuf) -> Option<Self> {
        let metadata = fs::metadata(&path).ok().filter(fs::Metadata::is_file)?;
        let modified = metadata.modified().ok();
        Some(Self { path, modified, length: metadata.len(), inode: metadata.ino() })
    }
}

/// A load in progress.
struct Installation {
    /// The name of the file in messages.
    shown: String,
    format: Format,
    incoming: Incoming,
    _lock: File,
}

/// The copy that is being checked; removed unless it was renamed.
struct Incoming(PathBuf);

impl Drop for Incoming {
    fn drop(&mut self) {
        // After a rename there is nothing to remove. A copy that cannot be removed is overwritten by the next.
        let _ = fs::remove_file(&self.0);
    }
}

pub(super) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut target = File::create(to)?;
    io::copy(&mut File::open(from)?, &mut target)?;
    target.sync_all()
}

#[cfg(test)]
mod tests;
