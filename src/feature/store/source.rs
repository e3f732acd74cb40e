//! The directory `customers/` of a store: one file, replaced whole.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{CustomerTable, Format, LoadReport};
use crate::document::Problems;
use crate::feature::FeatureSchema;
use crate::table::Faults;

/// The name of the file that is being installed; nobody reads it.
const INCOMING: &str = ".incoming";

/// Held while a file is installed, so that two installations follow one another.
const LOCK: &str = ".lock";

/// The directory that holds `customers.csv` or `customers.parquet`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomerSource {
    directory: PathBuf,
}

/// Tells one state of a [`CustomerSource`] from another without reading the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    path: PathBuf,
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
}

impl CustomerSource {
    /// The source in `directory`, which need not exist yet.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// Checks the whole of `source_file`, then puts a copy of it in the place of the present file. A server sees the old
    /// customers or the new ones, never a mixture, even if the machine stops in between.
    ///
    /// # Errors
    /// What is wrong with the file, or why it could not be copied; the present file is then as it was.
    pub fn install(&self, source_file: &Path, schema: &FeatureSchema) -> Result<LoadReport, Problems> {
        let shown = source_file.display().to_string();
        let Some(format) = Format::of(source_file) else {
            return Err(Problems::one(shown, None, super::OTHER_FORMAT));
        };
        let failed = |step: &str, error: &io::Error| Problems::one(&shown, None, format!("{step}: {error}"));
        let directory = self.directory.display();
        let place = |error| failed(&format!("{directory} could not be written to"), &error);
        fs::create_dir_all(&self.directory).map_err(place)?;
        let lock = File::create(self.directory.join(LOCK)).map_err(place)?;
        lock.lock().map_err(place)?;
        let incoming = Incoming(self.directory.join(INCOMING));
        // The copy is checked, not the source: nobody can change it between the check and the installation.
        copy(source_file, &incoming.0).map_err(|error| failed("the file could not be copied", &error))?;
        let (_, report) = CustomerTable::load_as(&incoming.0, format, &shown, schema, Faults::Refused)?;
        self.replace(&incoming, format).map_err(place)?;
        Ok(report)
    }

    /// The present file, if there is one. Where both formats are there (an installation was cut short, or someone copied a
    /// file by hand) the one that was modified later.
    #[must_use]
    pub fn current(&self) -> Option<PathBuf> {
        self.fingerprint().map(|fingerprint| fingerprint.path)
    }

    /// What tells the present file from another: its path, time of modification, length and inode. Costs two `stat` calls,
    /// so that a server can ask every second.
    #[must_use]
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        Format::ALL
            .into_iter()
            .filter_map(|format| Fingerprint::of(self.file(format)))
            .max_by(|one, other| one.modified.cmp(&other.modified))
    }

    /// Loads the present file, or a table without customers where there is none (with no report).
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

    fn file(&self, format: Format) -> PathBuf {
        self.directory.join("customers").with_extension(format.ending())
    }

    fn replace(&self, incoming: &Incoming, format: Format) -> io::Result<()> {
        fs::rename(&incoming.0, self.file(format))?;
        // The name must be on the disk before the file of the other format goes.
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

impl Fingerprint {
    fn of(path: PathBuf) -> Option<Self> {
        let metadata = fs::metadata(&path).ok().filter(fs::Metadata::is_file)?;
        let modified = metadata.modified().ok();
        Some(Self { path, modified, length: metadata.len(), inode: metadata.ino() })
    }
}

/// The copy that is being checked; removed unless it was renamed.
struct Incoming(PathBuf);

impl Drop for Incoming {
    fn drop(&mut self) {
        // After a rename there is nothing here; a copy that cannot be removed is overwritten by the next.
        let _ = fs::remove_file(&self.0);
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut target = File::create(to)?;
    io::copy(&mut File::open(from)?, &mut target)?;
    target.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feature::{Entity, Feature, FeatureType, ValueRef};
    use std::time::Duration;

    fn schema() -> FeatureSchema {
        let (name, description) = ("balance".to_owned(), String::new());
        let (feature_type, entity) = (FeatureType::Float, Entity::Customer);
        FeatureSchema::from_features([Feature {
            name,
            feature_type,
            entity,
            default: None,
            range: None,
            description,
        }])
    }

    struct Place {
        directory: tempfile::TempDir,
        source: CustomerSource,
    }

    impl Place {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let source = CustomerSource::new(directory.path().join("store/customers"));
            Self { directory, source }
        }

        fn write(&self, name: &str, text: &str) -> PathBuf {
            let path = self.directory.path().join(name);
            fs::write(&path, text).unwrap();
            path
        }
    }

    #[test]
    fn a_sound_file_replaces_the_present_one() {
        let place = Place::new();
        assert_eq!(place.source.current(), None);
        assert!(place.source.load(&schema()).unwrap().0.is_empty());
        for balance in ["1", "2"] {
            let before = place.source.fingerprint();
            let file = place.write("new.csv", &format!("customer_id,balance\nA,{balance}\n"));
            assert_eq!(place.source.install(&file, &schema()).unwrap().customers, 1);
            assert_ne!(place.source.fingerprint(), before);
            let (table, report) = place.source.load(&schema()).unwrap();
            assert_eq!(table.value(table.find("A").unwrap(), 0), ValueRef::Float(balance.parse().unwrap()));
            assert!(report.unwrap().file.ends_with("customers/customers.csv"));
        }
        assert_eq!(place.source.fingerprint(), place.source.fingerprint());
    }

    #[test]
    fn a_bad_file_changes_nothing_and_leaves_nothing() {
        let place = Place::new();
        let good = place.write("good.csv", "customer_id,balance\nA,1\n");
        place.source.install(&good, &schema()).unwrap();
        let before = place.source.fingerprint();
        let bad = place.write("bad.csv", "customer_id,balance\nA,x\n");
        let problems = place.source.install(&bad, &schema()).unwrap_err().to_string();
        assert!(problems.contains("bad.csv:2: `balance` is a float"), "{problems}");
        assert!(place.source.install(&place.directory.path().join("none.csv"), &schema()).is_err());
        let unknown = place.source.install(&place.write("x.json", "{}"), &schema()).unwrap_err().to_string();
        assert!(unknown.contains(".csv.zst) or a .parquet"), "{unknown}");
        assert_eq!(place.source.fingerprint(), before);
        assert!(!place.source.directory.join(INCOMING).exists());
    }

    #[test]
    fn the_file_of_the_other_format_goes_and_of_two_the_later_wins() {
        let place = Place::new();
        let csv = place.write("good.csv", "customer_id,balance\nA,1\n");
        place.source.install(&csv, &schema()).unwrap();
        let parquet = place.source.file(Format::Parquet);
        fs::write(&parquet, "by hand").unwrap();
        let later = SystemTime::now() + Duration::from_hours(1);
        File::options().write(true).open(&parquet).unwrap().set_modified(later).unwrap();
        assert_eq!(place.source.current(), Some(parquet.clone()));
        place.source.install(&csv, &schema()).unwrap();
        assert!(!parquet.exists());
        assert_eq!(place.source.current(), Some(place.source.file(Format::Csv)));
    }
}
