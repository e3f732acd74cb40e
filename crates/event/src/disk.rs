//! The file operations of the event log, so that tests can lose power, fill the disk and break it.

use std::fmt::Debug;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

#[cfg(test)]
pub(crate) mod memory;

/// A disk. What is written is lost with the power unless it was synced, and so are names.
pub(crate) trait Disk: Debug + Send + Sync {
    /// Creates a file under a name that must be free.
    fn create(&self, path: &Path) -> io::Result<Box<dyn Output>>;

    /// Opens a file for reading.
    fn read(&self, path: &Path) -> io::Result<Box<dyn Read + Send>>;

    /// The files in a directory: names and lengths. Skips names that are not UTF-8.
    fn list(&self, directory: &Path) -> io::Result<Vec<(String, u64)>>;

    /// Cuts a file to a length, and syncs it.
    fn cut(&self, path: &Path, length: u64) -> io::Result<()>;

    /// Overwrites the first bytes of a file, which is made if it is missing. Syncs nothing.
    fn note(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Overwrites the first bytes of a file, which has at least as many, and syncs it. Needs no space where the file
    /// system overwrites in place. After an error, any part of the bytes may be there.
    fn overwrite(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Syncs a file.
    fn sync(&self, path: &Path) -> io::Result<()>;

    /// Removes a name.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Gives a file another name, which replaces what has it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Syncs the names in a directory.
    fn sync_names(&self, directory: &Path) -> io::Result<()>;
}

/// A file that is written from its beginning to its end.
pub(crate) trait Output: Debug + Send {
    /// Writes all bytes at the end. After an error, some of them may be there.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Syncs what was written. After an error, nothing is known of what was written since the last success, and
    /// another sync would not say: the system forgets what it failed to write.
    fn sync(&mut self) -> io::Result<()>;
}

/// Writes a file whole: under its name is the former content or the new one, and the new one when this returns.
pub(crate) fn replace(disk: &dyn Disk, path: &Path, mut content: impl Read) -> io::Result<()> {
    let made = path.with_added_extension("new");
    remove_if_there(disk, &made)?;
    let mut output = disk.create(&made)?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        match content.read(&mut buffer)? {
            0 => break,
            read => output.append(&buffer[..read])?,
        }
    }
    output.sync()?;
    drop(output);
    disk.rename(&made, path)?;
    disk.sync_names(path.parent().unwrap_or(Path::new(".")))
}

/// Removes a name, if it is there.
pub(crate) fn remove_if_there(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match disk.remove(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The disk of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LocalDisk;

impl Disk for LocalDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Output>> {
        // Events name customers.
        let file = File::options().append(true).create_new(true).mode(0o600).open(path)?;
        Ok(Box::new(LocalFile(file)))
    }

    fn read(&self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(File::open(path)?))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<(String, u64)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            match entry.metadata() {
                Ok(metadata) if metadata.is_file() => found.push((name, metadata.len())),
                Ok(_) => {}
                // Removed since the directory was read.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    fn cut(&self, path: &Path, length: u64) -> io::Result<()> {
        let file = File::options().write(true).open(path)?;
        file.set_len(length)?;
        file.sync_all()
    }

    fn note(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let file = File::options().write(true).create(true).truncate(false).mode(0o600).open(path)?;
        file.write_all_at(bytes, 0)
    }

    fn overwrite(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let file = File::options().write(true).open(path)?;
        file.write_all_at(bytes, 0)?;
        file.sync_all()
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_names(&self, directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }
}

#[derive(Debug)]
struct LocalFile(File);

impl Output for LocalFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        // Writes the length, too: what is needed to read the data.
        self.0.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_what_a_crash_left_is_no_obstacle() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("ended");
        fs::write(root.path().join("ended.new"), "half of so").unwrap();
        for text in ["something", "else"] {
            replace(&LocalDisk, &path, text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(LocalDisk.list(root.path()).unwrap(), [("ended".to_owned(), 4)]);
        remove_if_there(&LocalDisk, &path).unwrap();
        remove_if_there(&LocalDisk, &path).unwrap();
        assert!(LocalDisk.list(root.path()).unwrap().is_empty());
    }
}
