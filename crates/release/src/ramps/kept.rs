//! Pending stops as a file in the data directory of a server, so that they outlive its process.
//!
//! The file is replaced whole, and there only while a stop is pending. The server that runs on the directory holds its
//! lock; so after [`Kept::end`] nothing is written, since another one may have it.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use objects::files;

use super::stops::MOST_PENDING;
use crate::StoreError;

/// The most bytes of the file: what [`MOST_PENDING`] stops with the longest texts take, each character escaped.
const MOST_BYTES: u64 = 16 << 20;

/// The file of pending stops.
#[derive(Debug)]
pub(super) struct Kept {
    path: PathBuf,
    /// The store that the stops are of.
    store: String,
    has_ended: bool,
}

/// A pending stop, as far as it outlives a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeptStop {
    pub(super) experiment: String,
    pub(super) author: String,
    pub(super) reason: String,
    pub(super) since: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    store: String,
    #[serde(default, rename = "stop")]
    stops: Vec<KeptStop>,
}

impl Kept {
    /// The file at `path`, for a server over the store at this location.
    pub(super) fn new(path: PathBuf, store: &str) -> Self {
        Self { path, store: store.to_owned(), has_ended: false }
    }

    /// The stops that an earlier process left. A file that cannot be used is logged, with what to do.
    pub(super) fn read(&self) -> Vec<KeptStop> {
        self.try_read().unwrap_or_else(|reason| {
            tracing::warn!(
                file = %self.path.display(),
                reason,
                "stops of experiments that were pending when the server ended are not tried again; look into the file, \
                 stop these experiments again, and remove it: the next stop that is pending replaces it"
            );
            Vec::new()
        })
    }

    fn try_read(&self) -> Result<Vec<KeptStop>, String> {
        let size = match fs::metadata(&self.path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error.to_string()),
        };
        if size > MOST_BYTES {
            return Err(format!("it has {size} bytes, and at most {MOST_BYTES} are read"));
        }
        let text = fs::read_to_string(&self.path).map_err(|error| error.to_string())?;
        let written: Written = toml::from_str(&text).map_err(|error| error.message().to_owned())?;
        if written.store != self.store {
            return Err(format!("it is about the store {}, and this one is {}", written.store, self.store));
        }
        if written.stops.len() > MOST_PENDING {
            let count = written.stops.len();
            return Err(format!("it has {count} stops, and at most {MOST_PENDING} can be pending"));
        }
        Ok(written.stops)
    }

    /// Replaces the file; it is on the disk when this returns.
    ///
    /// # Errors
    /// Those of the operating system. The former file is there then.
    pub(super) fn write(&self, stops: Vec<KeptStop>) -> Result<(), StoreError> {
        if self.has_ended {
            return Ok(());
        }
        let failed = |source| StoreError::Io { path: self.path.display().to_string(), source };
        if stops.is_empty() {
            return match fs::remove_file(&self.path) {
                Ok(()) => Ok(files::sync(files::parent(&self.path))?),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                Err(error) => Err(failed(error)),
            };
        }
        let text = toml::to_string(&Written { store: self.store.clone(), stops }).map_err(|error| {
            StoreError::Damaged { path: self.path.display().to_string(), message: error.to_string() }
        })?;
        let made = self.path.with_added_extension("new");
        files::write(&made, text.as_bytes())?;
        fs::rename(&made, &self.path).map_err(failed)?;
        Ok(files::sync(files::parent(&self.path))?)
    }

    /// Writes nothing any more.
    pub(super) fn end(&mut self) {
        self.has_ended = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stop(experiment: &str) -> KeptStop {
        let [author, reason, since] =
            ["anna", "complaints\n\"loud\"", "2026-05-01T00:00:00Z"].map(str::to_owned);
        KeptStop { experiment: experiment.to_owned(), author, reason, since }
    }

    #[test]
    fn what_is_written_is_read_until_it_is_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("stops.toml");
        let mut kept = Kept::new(path.clone(), "var/store");
        assert_eq!(kept.read(), []);
        kept.write(vec![stop("a"), stop("b")]).unwrap();
        kept.write(vec![stop("b"), stop("c")]).unwrap();
        assert_eq!(Kept::new(path.clone(), "var/store").read(), [stop("b"), stop("c")]);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing else is left");
        // A server over another store has no use for it.
        let other = Kept::new(path.clone(), "s3://bucket/store");
        assert!(other.try_read().unwrap_err().contains("it is about the store var/store"));
        kept.write(Vec::new()).unwrap();
        kept.write(Vec::new()).unwrap();
        assert!(!path.exists());
        kept.write(vec![stop("a")]).unwrap();
        kept.end();
        kept.write(Vec::new()).unwrap();
        assert_eq!(kept.read(), [stop("a")]);
    }

    #[test]
    fn what_an_earlier_process_left_in_pieces_is_told_and_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("stops.toml");
        let kept = Kept::new(path.clone(), "s");
        let many =
            "[[stop]]\nexperiment = 'e'\nauthor = ''\nreason = ''\nsince = ''\n".repeat(MOST_PENDING + 1);
        let too_many = format!("store = 's'\n{many}");
        for (text, expected) in [
            ("store = ", ""),
            ("[[stop]]\nexperiment = 'e'\nauthor = ''\nreason = ''\nsince = ''\n", "missing field `store`"),
            ("store = 's'\n[[stop]]\nexperiment = 'e'\n", "missing field"),
            ("store = 's'\nmore = 1\n", "unknown field `more`"),
            (too_many.as_str(), "it has 257 stops, and at most 256 can be pending"),
        ] {
            fs::write(&path, text).unwrap();
            let reason = kept.try_read().unwrap_err();
            assert!(reason.contains(expected), "{reason}");
            assert_eq!(kept.read(), []);
        }
        fs::write(&path, b"\xff\xfe").unwrap();
        assert_eq!(kept.read(), []);
        fs::File::create(&path).unwrap().set_len(MOST_BYTES + 1).unwrap();
        assert!(kept.try_read().unwrap_err().contains("bytes"));
        kept.write(vec![stop("a")]).unwrap();
        assert_eq!(kept.read(), [stop("a")]);
    }

    #[test]
    fn stops_with_the_longest_texts_fit() {
        let stops: Vec<KeptStop> = (0..MOST_PENDING)
            .map(|number| KeptStop {
                experiment: format!("{number}{}", "\u{1}".repeat(250)),
                author: "\u{1}".repeat(256),
                reason: "\u{1}".repeat(4096),
                since: "2026-05-01T00:00:00Z".to_owned(),
            })
            .collect();
        let directory = tempfile::tempdir().unwrap();
        let kept = Kept::new(directory.path().join("stops.toml"), "s");
        kept.write(stops.clone()).unwrap();
        assert_eq!(kept.read(), stops);
    }
}
