//! The data directory of a server: its id, the lock that it holds for its life, the folder of its log.
//!
//! ```text
//! lock        held by the process that writes, whose id and command are in it
//! server-id   a random UUID, made once
//! durable     up to where the log was synced, see `log/durable.rs`
//! log/        see `log.rs`
//! ```

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process;

use objects::files;
use uuid::Uuid;

use crate::error::EventError;
use crate::log::durable;
use crate::log::files::DELETED;

const LOCK: &str = "lock";
const SERVER_ID: &str = "server-id";
const LOG: &str = "log";

/// The most bytes of a lock file that are read: an id and a command are shorter.
const HOLDER_BYTES: u64 = 256;

/// The process that holds a data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its id and its command, such as `process 4711 (proffer serve)`; `None` if it has not written them.
    named: Option<String>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.named.as_deref().unwrap_or("another process"))
    }
}

/// A data directory that this process has locked. Dropping it, or the death of the process, releases the lock.
#[derive(Debug)]
pub(crate) struct DataDirectory {
    root: PathBuf,
    server: String,
    /// Whether the id was made now.
    is_new: bool,
    lock: File,
}

impl DataDirectory {
    /// Makes the directory and the id where they are missing, and takes the lock.
    ///
    /// # Errors
    /// When another process holds the lock, the id is damaged or missing beside a log, or the system refuses.
    pub(crate) fn open(root: &Path) -> Result<Self, EventError> {
        if !root.is_dir() {
            files::make_directory(root)?;
            // Events name customers.
            fs::set_permissions(root, fs::Permissions::from_mode(0o700)).map_err(EventError::io(root))?;
        }
        let lock = lock(root, "proffer serve")?;
        let (server, is_new) = match server_id(root) {
            Ok(server) => (server, false),
            Err(EventError::NotADataDirectory { .. }) => (make_id(root)?, true),
            Err(error) => return Err(error),
        };
        files::make_directory(&root.join(LOG))?;
        Ok(Self { root: root.to_owned(), server, is_new, lock })
    }

    /// Takes the lock of a directory that another server has left behind, for a process that runs `command`.
    ///
    /// # Errors
    /// As [`DataDirectory::open`], and when it is not a data directory.
    pub(crate) fn take_over(root: &Path, command: &str) -> Result<Self, EventError> {
        let server = server_id(root)?;
        let lock = lock(root, command)?;
        files::make_directory(&root.join(LOG))?;
        Ok(Self { root: root.to_owned(), server, is_new: false, lock })
    }

    /// Its path.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The id of the server.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// Whether its server has never recorded anything: its id was made now.
    pub(crate) fn is_new(&self) -> bool {
        self.is_new
    }

    /// Whether anything in it says how far the server's numbers are.
    pub(crate) fn has_numbers(&self) -> bool {
        let log = self.log();
        durable::path(&log).exists() || log.join(DELETED).exists() || any_log_file(&log).is_some()
    }

    /// The folder of the log.
    pub(crate) fn log(&self) -> PathBuf {
        log_of(&self.root)
    }
}

impl Drop for DataDirectory {
    /// Closing the file would not do: a child process that is being started has it open, too, for a moment.
    fn drop(&mut self) {
        let _ = self.lock.unlock();
    }
}

/// The folder of the log of a data directory.
pub(crate) fn log_of(root: &Path) -> PathBuf {
    root.join(LOG)
}

/// The id of the server whose directory it is.
///
/// # Errors
/// When there is none, or it is no id.
pub(crate) fn server_id(root: &Path) -> Result<String, EventError> {
    let path = root.join(SERVER_ID);
    let text = match fs::read(&path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Err(EventError::NotADataDirectory { directory: root.to_owned(), missing: SERVER_ID });
        }
        Err(error) => return Err(EventError::io(&path)(error)),
    };
    let id = text.trim_end();
    match Uuid::parse_str(id) {
        // As it is written, since it is a part of file names.
        Ok(parsed) if parsed.to_string() == id => Ok(id.to_owned()),
        Ok(_) | Err(_) => {
            let message = format!(
                "{:?} is not the id of a server; write the id that the names of the files in {LOG}/ begin with, or \
                 use another `data.directory`",
                text.chars().take(64).collect::<String>()
            );
            Err(EventError::Damaged { path, message })
        }
    }
}

/// Takes the lock, and writes who has it: a process of this command.
fn lock(root: &Path, command: &str) -> Result<File, EventError> {
    let path = root.join(LOCK);
    let mut options = File::options();
    let mut file = options
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
        .map_err(EventError::io(&path))?;
    match file.try_lock() {
        Ok(()) => {
            // It helps people alone: a disk without room must not stop a server.
            let _ = write_holder(&mut file, command);
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            Err(EventError::Locked { directory: root.to_owned(), holder: holder(file) })
        }
        Err(TryLockError::Error(error)) => Err(EventError::io(&path)(error)),
    }
}

fn write_holder(file: &mut File, command: &str) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "process {} ({command})", process::id())
}

/// Who holds the lock. An earlier version has written nothing.
fn holder(file: File) -> Holder {
    let mut text = String::new();
    let read = file.take(HOLDER_BYTES).read_to_string(&mut text);
    let line = read.ok().and_then(|_| text.strip_suffix('\n'));
    let is_plain = |line: &&str| line.starts_with("process ") && !line.chars().any(char::is_control);
    Holder { named: line.filter(is_plain).map(str::to_owned) }
}

/// Makes an id, which is durable when this returns. The lock is held.
fn make_id(root: &Path) -> Result<String, EventError> {
    // A log without an id is another server's: under a new id its events would never be sealed.
    if let Some(name) = any_log_file(&root.join(LOG)) {
        let path = root.join(SERVER_ID);
        let message = format!(
            "it is missing, and {LOG}/{name} is there; write the id that the name begins with into {SERVER_ID}, or \
             use another `data.directory`"
        );
        return Err(EventError::Damaged { path, message });
    }
    let id = telemetry::ids::new_id().to_string();
    let (made, target) = (root.join("server-id.new"), root.join(SERVER_ID));
    files::write(&made, format!("{id}\n").as_bytes())?;
    match files::move_to_free(&made, &target)? {
        files::Moved::Done => Ok(id),
        files::Moved::Taken => server_id(root),
    }
}

fn any_log_file(log: &Path) -> Option<String> {
    let entries = fs::read_dir(log).ok()?;
    let is_log = |path: &Path| path.extension() == Some(OsStr::new("log"));
    let paths = entries.flatten().map(|entry| entry.path());
    paths.filter(|path| is_log(path)).find_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// The variable that makes a test process a second server on the directory that it names.
    const SECOND: &str = "PROFFER_TEST_SECOND_SERVER";

    #[test]
    fn the_id_is_made_once_and_kept() {
        let root = tempfile::tempdir().unwrap();
        let data = root.path().join("var/data");
        let first = DataDirectory::open(&data).unwrap();
        let id = first.server().to_owned();
        assert!(Uuid::parse_str(&id).is_ok());
        assert_eq!(fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(first.log().is_dir() && first.is_new());
        drop(first);
        let again = DataDirectory::open(&data).unwrap();
        assert_eq!((again.server(), again.is_new(), again.has_numbers()), (&*id, false, false));
        fs::write(again.log().join(DELETED), "").unwrap();
        assert!(again.has_numbers());
        drop(again);
        assert_eq!(DataDirectory::take_over(&data, "test").unwrap().server(), id);
    }

    #[test]
    fn a_second_holder_is_refused_with_the_key_to_change() {
        let root = tempfile::tempdir().unwrap();
        let held = DataDirectory::open(root.path()).unwrap();
        for refused in [DataDirectory::open(root.path()), DataDirectory::take_over(root.path(), "test")] {
            let error = refused.unwrap_err();
            assert!(matches!(error, EventError::Locked { .. }), "{error}");
            let message = error.to_string();
            let held_by =
                format!("{} is in use by process {} (proffer serve)", root.path().display(), process::id());
            assert!(message.starts_with(&held_by), "{message}");
            assert!(message.contains("`data.directory`"), "{message}");
        }
        // Another process, too.
        let this = std::env::current_exe().unwrap();
        let test = "directory::tests::what_a_second_process_does";
        let second =
            || Command::new(&this).args(["--exact", test]).env(SECOND, root.path()).output().unwrap();
        let refused = second();
        assert!(!refused.status.success(), "{refused:?}");
        assert!(String::from_utf8_lossy(&refused.stdout).contains("is in use by process "), "{refused:?}");
        drop(held);
        let taken = second();
        assert!(taken.status.success(), "{taken:?}");
    }

    #[test]
    fn who_holds_a_directory_is_named_by_id_and_command() {
        let root = tempfile::tempdir().unwrap();
        drop(DataDirectory::open(root.path()).unwrap());
        let held = DataDirectory::take_over(root.path(), "proffer events seal").unwrap();
        let holder = |of: Result<DataDirectory, EventError>| {
            let error = of.unwrap_err();
            let EventError::Locked { holder, .. } = error else { panic!("{error}") };
            holder.to_string()
        };
        let refused = || holder(DataDirectory::open(root.path()));
        assert_eq!(refused(), format!("process {} (proffer events seal)", process::id()));
        // A process of an earlier version writes nothing, and a file can have anything in it.
        for text in ["", "process 1 (proffer serve)", "process \u{1b}[2J\n", "somebody\n"] {
            fs::write(root.path().join(LOCK), text).unwrap();
            assert_eq!(refused(), "another process");
        }
        drop(held);
        // The next one is not named after the one before.
        let held = DataDirectory::open(root.path()).unwrap();
        assert_eq!(refused(), format!("process {} (proffer serve)", process::id()));
        drop(held);
    }

    /// Does nothing unless [`SECOND`] is set.
    #[test]
    fn what_a_second_process_does() {
        if let Some(root) = std::env::var_os(SECOND) {
            let opened = DataDirectory::open(Path::new(&root));
            assert!(opened.is_ok(), "{}", opened.unwrap_err());
        }
    }

    #[test]
    fn a_damaged_id_is_an_error_that_says_what_to_do() {
        let root = tempfile::tempdir().unwrap();
        let upper = Uuid::nil().to_string().replace('0', "A");
        for text in [&b""[..], b"\xff\xfe", b"server-1\n", upper.as_bytes()] {
            fs::write(root.path().join(SERVER_ID), text).unwrap();
            let error = DataDirectory::open(root.path()).unwrap_err();
            assert!(matches!(error, EventError::Damaged { .. }), "{error}");
            assert!(error.to_string().contains("server-id"), "{error}");
        }
    }

    #[test]
    fn a_lost_id_beside_a_log_is_not_replaced() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join(LOG)).unwrap();
        fs::write(root.path().join(LOG).join("x-00000001.log"), "").unwrap();
        let error = DataDirectory::open(root.path()).unwrap_err().to_string();
        assert!(error.contains("x-00000001.log"), "{error}");
        assert!(!root.path().join(SERVER_ID).exists());
    }

    #[test]
    fn only_a_data_directory_can_be_taken_over() {
        let root = tempfile::tempdir().unwrap();
        let error = DataDirectory::take_over(root.path(), "test").unwrap_err();
        assert!(matches!(error, EventError::NotADataDirectory { .. }), "{error}");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0, "nothing was made there");
    }
}
