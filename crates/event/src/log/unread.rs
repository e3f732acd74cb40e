//! What lies in the folder of a log and is not read, though it may hold events.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::files::parse_name;
use crate::disk::Disk;

/// What the name of the copy of a damaged log file has behind that of the log file.
pub(super) const DAMAGED: &str = "damaged";

/// Something that keeps events from being read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// The file, or the folder of the log.
    pub path: PathBuf,
    /// Why, and what to do.
    pub message: String,
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.message)
    }
}

/// The files in the folder of a server's log that may hold events and are not read.
pub(crate) fn unread(disk: &dyn Disk, directory: &Path, server: &str) -> io::Result<Vec<Unread>> {
    let mut found = Vec::new();
    for (name, length) in disk.list(directory)? {
        let message = match parse_name(&name) {
            _ if length == 0 => continue,
            Some((of, _)) if of == server => continue,
            Some((of, _)) => format!(
                "it is a log file of the server {of}, and this directory is that of the server {server}; move it into \
                 log/ of a directory of its own, with `{of}` in the file server-id"
            ),
            None if is_copy(&name) => "it is the copy of a damaged log file, of which not all events could be read; \
                                       keep it elsewhere once you have looked at it"
                .to_owned(),
            None if is_log(&name) => {
                "its name is not that of a log file, `<server>-<sequence>.log`; give it its name, or move it away"
                    .to_owned()
            }
            None => continue,
        };
        found.push(Unread { path: directory.join(name), message });
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

fn is_log(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "log")
}

/// Whether a name is that of a log file with [`DAMAGED`] and maybe a number behind it.
fn is_copy(name: &str) -> bool {
    let copied = name.rsplit_once('.');
    copied.is_some_and(|(log, copy)| is_log(log) && copy.starts_with(DAMAGED))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::memory::MemoryDisk;

    #[test]
    fn whatever_may_hold_events_is_named() {
        let disk = MemoryDisk::default();
        let log = Path::new("/log");
        let unread_names = [
            "b-00000001.log",
            "s-00000001.log.damaged",
            "s-00000001.log.damaged-2",
            "s-1.log",
            "s-18446744073709551615.log",
            "x.log",
        ];
        let others = ["s-00000002.log", "deleted", "deleted.new", "notes.txt", "s-00000001.log.damaged.new"];
        for name in unread_names.iter().chain(&others) {
            disk.put(&log.join(name), b"x");
        }
        disk.put(&log.join("c-00000001.log"), b"");
        let found = unread(&disk, log, "s").unwrap();
        assert_eq!(
            found.iter().map(|one| one.path.clone()).collect::<Vec<_>>(),
            unread_names.map(|name| log.join(name))
        );
        assert!(found[0].to_string().starts_with("/log/b-00000001.log: it is a log file of the server b"));
        assert!(found[1].message.contains("copy of a damaged log file"));
    }
}
