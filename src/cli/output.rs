//! The files that commands write: one way for every `--out` and `--html`.
//!
//! A regular file is replaced whole, by a rename, and keeps its permissions; links are followed. A pipe, a terminal or
//! another device is written into, and `-` is standard output. Neither an input of the command nor anything in a store
//! or a data directory is written over. Start reading at [`Output::open`].

use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::Failure;
use super::printing::Contents;
use release::Store;

/// The name of standard output.
pub(super) const STANDARD: &str = "-";

/// The most links from one to the next: as many as Linux follows.
const LINKS: usize = 40;

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Audience {
    /// Those who can read the file that is replaced; of a new one, those whom the umask of this process lets.
    Usual,
    /// Its owner alone: it has personal data.
    Owner,
}

/// A file that is being written. Unless it is finished, a regular file stays as it was.
pub(super) struct Output {
    shown: String,
    sink: Sink,
    written: u64,
    reader_has_gone: bool,
}

#[expect(clippy::large_enum_variant, reason = "there is one for a command")]
enum Sink {
    Standard(Contents),
    /// A pipe, a terminal or another device.
    Stream(File),
    /// A regular file, which gets its name when it is whole.
    Part(Part),
}

impl Output {
    /// Begins to write `path`. `inputs`: the files and directories that the command reads; what is none, such as a
    /// bucket, does not count.
    ///
    /// # Errors
    /// A path that cannot be written, or must not be.
    pub(super) fn open(path: &Path, audience: Audience, inputs: &[&Path]) -> Result<Self, Failure> {
        if path == Path::new(STANDARD) {
            return Ok(Self::of("standard output".to_owned(), Sink::Standard(Contents::default())));
        }
        let (target, present) = target(path, inputs)?;
        let shown = path.display().to_string();
        let opened = match present {
            Some(found) if is_stream(&target, &found) => {
                File::options().append(true).open(&target).map(Sink::Stream)
            }
            found => Part::begin(target, audience, found).map(Sink::Part),
        };
        Ok(Self::of(shown, opened.map_err(failed(path))?))
    }

    /// Whether `path` can be written, as far as that can be told without opening it: before work that takes long.
    ///
    /// # Errors
    /// As [`Output::open`].
    pub(super) fn check(path: &Path, inputs: &[&Path]) -> Result<(), Failure> {
        if path == Path::new(STANDARD) { Ok(()) } else { target(path, inputs).map(|_| ()) }
    }

    fn of(shown: String, sink: Sink) -> Self {
        Self { shown, sink, written: 0, reader_has_gone: false }
    }

    /// Its name in messages.
    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// Whether it may be where remarks would go: they belong on standard error then.
    pub(super) fn is_stream(&self) -> bool {
        !matches!(self.sink, Sink::Part(_))
    }

    /// Whether a person looks at it.
    pub(super) fn is_terminal(&self) -> bool {
        match &self.sink {
            Sink::Standard(contents) => contents.is_terminal(),
            Sink::Stream(file) => file.is_terminal(),
            Sink::Part(_) => false,
        }
    }

    /// Whether the reader of a pipe has gone, which is no failure of the command.
    pub(super) fn reader_has_gone(&self) -> bool {
        self.reader_has_gone
    }

    /// Writes all of it, and is done.
    pub(super) fn write_whole(mut self, content: impl AsRef<[u8]>) -> Result<(), Failure> {
        match self.write_all(content.as_ref()) {
            Err(_) if self.reader_has_gone => Ok(()),
            Err(error) => Err(Failure::new(format!("{} cannot be written: {error}", self.shown))),
            Ok(()) => self.finish().map(|_| ()),
        }
    }

    /// Makes it whole: a regular file is on the disk and has its name when this returns. Returns its bytes.
    pub(super) fn finish(self) -> Result<u64, Failure> {
        let Self { shown, sink, written, .. } = self;
        let finished = match sink {
            Sink::Standard(mut contents) => contents.end(),
            Sink::Stream(_) => Ok(()),
            Sink::Part(part) => part.publish(),
        };
        match finished {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(Failure::new(format!("{shown} cannot be written: {error}")))
            }
            Ok(()) | Err(_) => Ok(written),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match &mut self.sink {
            Sink::Standard(contents) => contents.write(bytes),
            Sink::Stream(file) => file.write(bytes),
            Sink::Part(part) => part.file.write(bytes),
        };
        match &written {
            Ok(count) => self.written += *count as u64,
            Err(error) => self.reader_has_gone |= error.kind() == ErrorKind::BrokenPipe,
        }
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.sink {
            Sink::Standard(contents) => contents.flush(),
            Sink::Stream(file) => file.flush(),
            Sink::Part(part) => part.file.flush(),
        }
    }
}

/// A file beside its place. Dropping it removes it, unless it was published.
struct Part {
    file: File,
    path: PathBuf,
    target: PathBuf,
    audience: Audience,
    /// The file that it replaces.
    replaced: Option<Metadata>,
    is_published: bool,
}

impl Part {
    fn begin(target: PathBuf, audience: Audience, replaced: Option<Metadata>) -> io::Result<Self> {
        if replaced.is_some() {
            // Who may not write a file may not replace it either, though the directory allows it.
            File::options().write(true).open(&target)?;
        }
        let mode = if replaced.is_none() && audience == Audience::Usual { 0o666 } else { 0o600 };
        let path = target.with_file_name(format!(".{}.part", Uuid::now_v7()));
        let file = File::options().write(true).create_new(true).mode(mode).open(&path)?;
        Ok(Self { file, path, target, audience, replaced, is_published: false })
    }

    fn publish(mut self) -> io::Result<()> {
        if let Some(before) = &self.replaced {
            let mask = if self.audience == Audience::Owner { 0o700 } else { 0o777 };
            let made = self.file.metadata()?;
            if (made.uid(), made.gid()) != (before.uid(), before.gid()) {
                // Only root may give a file to others.
                let _ = fchown(&self.file, Some(before.uid()), Some(before.gid()));
            }
            self.file.set_permissions(Permissions::from_mode(before.mode() & mask))?;
        }
        self.file.sync_all()?;
        fs::rename(&self.path, &self.target)?;
        self.is_published = true;
        File::open(directory_of(&self.target))?.sync_all()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.is_published {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> Failure {
    let shown = path.display().to_string();
    move |error| Failure::new(format!("{shown} cannot be written: {error}"))
}

/// The file that a path leads to, and what is there.
fn target(path: &Path, inputs: &[&Path]) -> Result<(PathBuf, Option<Metadata>), Failure> {
    let target = follow(path).map_err(failed(path))?;
    let present = match fs::metadata(&target) {
        Ok(found) => Some(found),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(failed(path)(error)),
    };
    let shown = path.display();
    refuse_over(&shown.to_string(), &target, present.as_ref(), inputs)?;
    match &present {
        Some(found) if found.is_dir() => Err(Failure::new(format!("{shown} is a directory; name a file"))),
        Some(found) if !found.is_file() && !is_stream(&target, found) => {
            Err(Failure::new(format!("{shown} is neither a file nor a pipe; name another")))
        }
        Some(_) | None => Ok((target, present)),
    }
}

/// Where a path leads: the links of its last part are followed, also where they lead to nothing yet.
fn follow(path: &Path) -> io::Result<PathBuf> {
    let mut at = path.to_owned();
    for _ in 0..LINKS {
        let name = at.file_name().ok_or_else(|| io::Error::other("it names no file"))?;
        let directory = fs::canonicalize(directory_of(&at))?;
        let found = directory.join(name);
        if is_descriptor(&found) {
            return Ok(found);
        }
        match fs::read_link(&found) {
            Ok(to) => at = directory.join(to),
            // It is no link, or is not there.
            Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::NotFound) => {
                return Ok(found);
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("too many links lead from one to the next"))
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."))
}

/// Whether a path means what is open already: `/dev/stdout` leads there.
fn is_descriptor(path: &Path) -> bool {
    path.starts_with("/proc") && directory_of(path).ends_with("fd")
}

fn is_stream(path: &Path, found: &Metadata) -> bool {
    let kind = found.file_type();
    is_descriptor(path) || kind.is_fifo() || kind.is_char_device()
}

/// Refuses a target that must not be written.
fn refuse_over(
    shown: &str,
    target: &Path,
    present: Option<&Metadata>,
    inputs: &[&Path],
) -> Result<(), Failure> {
    let refused = |why: String| Err(Failure::new(format!("{shown} {why}; write to another place")));
    if let Some(store) = Store::around(target) {
        return refused(format!("is in the store {}", store.display()));
    }
    for input in inputs {
        let (Ok(found), Ok(whole)) = (fs::metadata(input), fs::canonicalize(input)) else { continue };
        if found.is_dir() && target.starts_with(&whole) {
            return refused(format!("is in {}, which this command reads", input.display()));
        }
        let is_same = |one: &Metadata| (one.dev(), one.ino()) == (found.dev(), found.ino());
        if found.is_file() && present.is_some_and(is_same) {
            return refused(format!("is the file {}, which this command reads", input.display()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
