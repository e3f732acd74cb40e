//! A file in the data directory of a server that is derived from its log, and can be made again.
//!
//! It is replaced whole, at one moment. What a process that died has left of a new one is removed before anything else.

use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A large file is synced in steps, so that no sync of the log waits for all of it.
const STEP_BYTES: u64 = 8 << 20;

/// A derived file of a data directory. Clones are handles to the same.
#[derive(Debug, Clone)]
pub struct DataFile {
    path: PathBuf,
    /// Under which name a new one is made.
    made: PathBuf,
    /// Whether it may not be changed any more. Held while a new one takes its name.
    ended: Arc<Mutex<bool>>,
}

impl DataFile {
    /// The file of that name in a data directory.
    #[must_use]
    pub fn new(directory: &Path, name: &str) -> Self {
        let path = directory.join(name);
        let made = path.with_added_extension("new");
        Self { path, made, ended: Arc::default() }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens it; `None` if there is none.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn open(&self) -> io::Result<Option<File>> {
        match File::open(&self.path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces it by what `write` writes; it is durable when this returns. Call it on one thread at a time.
    ///
    /// # Errors
    /// Those of `write` and of the operating system. The former file is there then.
    pub fn replace<E: From<io::Error>>(
        &self,
        write: impl FnOnce(&mut dyn Write) -> Result<(), E>,
    ) -> Result<(), E> {
        remove_if_there(&self.made)?;
        let written = self.make(write).and_then(|()| {
            let ended = self.ended();
            if *ended {
                return Err(io::Error::other("the data directory is given up").into());
            }
            fs::rename(&self.made, &self.path)?;
            Ok(self.sync_names()?)
        });
        if written.is_err() {
            remove_if_there(&self.made)?;
        }
        written
    }

    /// Removes it for good, and what a process that died has left of a new one.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn remove(&self) -> io::Result<()> {
        remove_if_there(&self.made)?;
        remove_if_there(&self.path)?;
        self.sync_names()
    }

    /// Removes what a process that died has left of a new one.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn tidy(&self) -> io::Result<()> {
        remove_if_there(&self.made)
    }

    /// It is not replaced any more: another process may have the directory from now on.
    pub fn end(&self) {
        *self.ended() = true;
    }

    fn make<E: From<io::Error>>(&self, write: impl FnOnce(&mut dyn Write) -> Result<(), E>) -> Result<(), E> {
        let file = File::options().write(true).create_new(true).mode(0o600).open(&self.made)?;
        let mut out = BufWriter::with_capacity(256 << 10, InSteps { file, unsynced: 0 });
        write(&mut out)?;
        let InSteps { file, .. } = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(file.sync_all()?)
    }

    fn sync_names(&self) -> io::Result<()> {
        let directory = self.path.parent().filter(|parent| *parent != Path::new(""));
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
    }

    fn ended(&self) -> MutexGuard<'_, bool> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file that is synced now and then.
struct InSteps {
    file: File,
    /// Bytes since the last sync.
    unsynced: u64,
}

impl Write for InSteps {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.unsynced += written as u64;
        if self.unsynced >= STEP_BYTES {
            self.file.sync_data()?;
            self.unsynced = 0;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn content(file: &DataFile) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        file.open().unwrap()?.read_to_end(&mut bytes).unwrap();
        Some(bytes)
    }

    fn replace(file: &DataFile, bytes: &[u8]) -> io::Result<()> {
        file.replace(|out| out.write_all(bytes))
    }

    #[test]
    fn there_is_the_former_content_or_the_new_one() {
        let root = tempfile::tempdir().unwrap();
        let file = DataFile::new(root.path(), "history.checkpoint");
        assert_eq!(content(&file), None);
        replace(&file, b"first").unwrap();
        assert_eq!(content(&file).unwrap(), b"first");
        assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);
        let large = vec![7; STEP_BYTES as usize * 2 + 5];
        replace(&file, &large).unwrap();
        assert!(content(&file).unwrap() == large);
        let failed = file.replace(|out| {
            out.write_all(b"half")?;
            Err(io::Error::other("no more"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "no more");
        assert!(content(&file).unwrap() == large);
        let names = || fs::read_dir(root.path()).unwrap().count();
        assert_eq!(names(), 1);
        // What a process that died has left is removed with the file.
        fs::write(root.path().join("history.checkpoint.new"), "half").unwrap();
        replace(&file, b"third").unwrap();
        fs::write(root.path().join("history.checkpoint.new"), "half").unwrap();
        file.tidy().unwrap();
        assert_eq!((names(), content(&file).unwrap()), (1, b"third".to_vec()));
        fs::write(root.path().join("history.checkpoint.new"), "half").unwrap();
        file.remove().unwrap();
        file.remove().unwrap();
        assert_eq!(names(), 0);
    }

    #[test]
    fn it_stays_as_it_is_once_the_directory_is_given_up() {
        let root = tempfile::tempdir().unwrap();
        let file = DataFile::new(root.path(), "history.checkpoint");
        replace(&file, b"first").unwrap();
        file.clone().end();
        assert!(replace(&file, b"second").is_err());
        assert_eq!(content(&file).unwrap(), b"first");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }
}
