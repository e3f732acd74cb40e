//! Placing a version: whole or not at all, and never over another.
//!
//! In a directory, a rename moves the staged version into place. A bucket has no rename. There, the exclusive
//! creation of `.files` takes the number; it lists the files to come with their hashes. The files follow; the
//! manifest comes last and makes it a version. So all writers of a number write the same bytes, and pushing again
//! completes an interrupted push.

use std::fmt::Write as _;
use std::path::Path;

use super::contents::{self, FileEntry};
use super::versions::{Files, Placed};
use super::{Place, Staging, Store, StoreError, keys};
use crate::fault;
use model::hex;
use objects::files::{self, Moved};
use objects::{DirectoryLock, Put, WriteCondition};

/// The object of a bucket that takes a number and lists the version's files.
pub(super) const LIST: &str = ".files";

/// How often a number is tried again that another writer seemed to take and then does not hold.
const COLLISIONS: usize = 5;

impl Store {
    /// Makes a version of `name` from the staged files, with the number `version`, or with the next one.
    ///
    /// # Errors
    /// [`StoreError::Occupied`] or [`StoreError::HalfWritten`] where other files have that number.
    /// [`StoreError::Deleted`] where it was used before; an error of the operating system or the bucket. The version
    /// is then as it was before.
    pub fn add_version(
        &self,
        name: &str,
        version: Option<u64>,
        staged: Staging,
    ) -> Result<Placed, StoreError> {
        keys::check_name(name)?;
        let directory = staged.path();
        if ![keys::MANIFEST, keys::BARE].iter().any(|file| directory.join(file).is_file()) {
            let message = format!("there is neither {} nor {}", keys::MANIFEST, keys::BARE);
            return Err(StoreError::Damaged { path: directory.display().to_string(), message });
        }
        if version == Some(0) {
            let message = "versions are numbered from 1".to_owned();
            return Err(StoreError::Damaged { path: format!("{name}/0"), message });
        }
        let placed = match &self.0.place {
            Place::Directory(root) => self.move_version(root, name, version, &staged),
            Place::Bucket => self.upload_version(name, version, directory),
        };
        // Moved away, or no longer needed.
        drop(staged);
        placed
    }

    fn move_version(
        &self,
        root: &Path,
        name: &str,
        wanted: Option<u64>,
        staged: &Staging,
    ) -> Result<Placed, StoreError> {
        files::sync_tree(staged.path())?;
        fault::point("push.staged");
        let held = DirectoryLock::take(root)?;
        loop {
            let version = match wanted {
                Some(version) => version,
                None => self.next_number(name)?,
            };
            let target = self.version_directory(name, version);
            if wanted.is_some() && !target.exists() && self.has_verdict(name, version)? {
                return Err(StoreError::Deleted { name: name.to_owned(), version });
            }
            fault::point("push.placing");
            let moved = files::move_to_free(staged.path(), &target)?;
            if moved == Moved::Done {
                fault::point("push.placed");
                return Ok(Placed { version, created: true });
            }
            if wanted.is_some() {
                // What is there does not change, so the comparison needs no lock.
                drop(held);
                let same = contents::describe(staged.path())? == contents::describe(&target)?;
                return if same {
                    Ok(Placed { version, created: false })
                } else {
                    Err(self.taken(name, version)?)
                };
            }
        }
    }

    fn upload_version(&self, name: &str, wanted: Option<u64>, staged: &Path) -> Result<Placed, StoreError> {
        let mut described = contents::describe(staged)?;
        fault::point("push.staged");
        // The file that makes it a version comes last.
        let last = if described.iter().any(|file| file.name == keys::MANIFEST) {
            keys::MANIFEST
        } else {
            keys::BARE
        };
        described.sort_by_key(|file| (file.name == last, file.name.clone()));
        if let Some(version) = wanted {
            return self.upload_as(name, version, &described, staged);
        }
        let mut version = self.next_number(name)?;
        loop {
            if self.claim(name, version, &described)? == Claim::Ours {
                return self.complete(name, version, &described, staged);
            }
            version += 1;
        }
    }

    fn upload_as(
        &self,
        name: &str,
        version: u64,
        described: &[FileEntry],
        staged: &Path,
    ) -> Result<Placed, StoreError> {
        let present = self.files_of(name, version)?;
        if self.is_whole(name, version, &present)? {
            return if self.holds_same(name, version, &present, described)? {
                Ok(Placed { version, created: false })
            } else {
                Err(StoreError::Occupied { path: self.0.objects.shown(&keys::version(name, version)) })
            };
        }
        if self.has_verdict(name, version)? {
            return Err(StoreError::Deleted { name: name.to_owned(), version });
        }
        match self.claim(name, version, described)? {
            Claim::Ours | Claim::Same => self.complete(name, version, described, staged),
            Claim::Other => Err(self.taken(name, version)?),
        }
    }

    /// Takes a number, unless it is taken.
    fn claim(&self, name: &str, version: u64, described: &[FileEntry]) -> Result<Claim, StoreError> {
        let key = format!("{}/{LIST}", keys::version(name, version));
        let text = written(described);
        for _ in 0..COLLISIONS {
            if let Put::Done(_) = self.put_new(&key, text.clone())? {
                fault::point("push.claimed");
                return Ok(Claim::Ours);
            }
            match self.0.objects.text(&key)? {
                // This writer's claim; only its answer was lost.
                Some(present) if present == text => return Ok(Claim::Ours),
                Some(present) if parse(&present) == parse(&text) => return Ok(Claim::Same),
                Some(_) => return Ok(Claim::Other),
                // Two writers collided, and neither has it.
                None => {}
            }
        }
        let message = "its writers keep colliding".to_owned();
        Err(StoreError::Unreachable { store: self.0.objects.shown(&key), message })
    }

    /// Uploads the missing files of a version whose number is claimed for them.
    fn complete(
        &self,
        name: &str,
        version: u64,
        described: &[FileEntry],
        staged: &Path,
    ) -> Result<Placed, StoreError> {
        let folder = keys::version(name, version);
        let present = self.files_of(name, version)?;
        let mut created = false;
        for (index, file) in described.iter().enumerate() {
            if index + 1 == described.len() {
                fault::point("push.placing");
            }
            let key = format!("{folder}/{}", file.name);
            let put = match present.get(&file.name) {
                Some(_) => Put::Taken,
                None => self.0.objects.upload(&key, &staged.join(&file.name), WriteCondition::Absent)?,
            };
            if put == Put::Taken && hex(&self.0.objects.sha256(&key)?) != file.sha256 {
                return Err(self.taken(name, version)?);
            }
            created = put != Put::Taken;
        }
        // A deletion may have happened between the first file and the last.
        let present = self.files_of(name, version)?;
        if !described.iter().all(|file| present.get(&file.name).is_some_and(|there| there.size == file.size))
        {
            if let Some(last) = described.last() {
                self.0.objects.delete(&format!("{folder}/{}", last.name))?;
            }
            return Err(StoreError::Deleting { name: name.to_owned(), version });
        }
        fault::point("push.placed");
        Ok(Placed { version, created })
    }

    /// Whether a whole version consists of these files. Its list decides; a version that was copied by hand has none.
    fn holds_same(
        &self,
        name: &str,
        version: u64,
        present: &Files,
        described: &[FileEntry],
    ) -> Result<bool, StoreError> {
        if present.contains_key(LIST) {
            let listed = self.listed(name, version)?;
            return Ok(listed == parse(&written(described)));
        }
        let counted = present.iter().filter(|(name, _)| contents::counts(name));
        let sizes: Vec<(&str, u64)> = counted.map(|(name, file)| (&**name, file.size)).collect();
        let mut wanted: Vec<(&str, u64)> = described.iter().map(|file| (&*file.name, file.size)).collect();
        wanted.sort_unstable();
        if sizes != wanted {
            return Ok(false);
        }
        for file in described {
            if hex(&self.0.objects.sha256(&format!("{}/{}", keys::version(name, version), file.name))?)
                != file.sha256
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The files in the list of a version in a bucket; empty where there is no list.
    pub(super) fn listed(&self, name: &str, version: u64) -> Result<Vec<FileEntry>, StoreError> {
        let text = self.0.objects.text(&format!("{}/{LIST}", keys::version(name, version)))?;
        Ok(text.as_deref().map(parse).unwrap_or_default())
    }

    /// Why other files cannot have this number.
    fn taken(&self, name: &str, version: u64) -> Result<StoreError, StoreError> {
        let path = self.0.objects.shown(&keys::version(name, version));
        let whole = self.holds(name, version)?;
        Ok(if whole { StoreError::Occupied { path } } else { StoreError::HalfWritten { path } })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claim {
    /// This writer took the number.
    Ours,
    /// Another writer took it, for the same files.
    Same,
    /// Another writer took it, for other files.
    Other,
}

/// The text of a list, with a mark of its writer.
fn written(described: &[FileEntry]) -> String {
    let mut text = format!("# The files of this version, written once as {}\n", telemetry::ids::new_id());
    for FileEntry { name, size, sha256 } in described {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{sha256} {size} {name}");
    }
    text
}

/// The files of a list, by name; lines of another form are ignored.
fn parse(text: &str) -> Vec<FileEntry> {
    let line = |line: &str| {
        let (sha256, rest) = line.split_once(' ')?;
        let (size, name) = rest.split_once(' ')?;
        Some(FileEntry { name: name.to_owned(), size: size.parse().ok()?, sha256: sha256.to_owned() })
    };
    let mut described: Vec<FileEntry> =
        text.lines().filter(|line| !line.starts_with('#')).filter_map(line).collect();
    described.sort_by(|one, other| one.name.cmp(&other.name));
    described
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_reads_as_it_was_written_whoever_wrote_it() {
        let file = |name: &str, size| FileEntry { name: name.to_owned(), size, sha256: "ab".repeat(32) };
        let described = [file("b c.onnx", 3), file("a.onnx", 0), file("model.toml", 12)];
        let [one, other] = [written(&described), written(&described)];
        assert_ne!(one, other);
        assert_eq!(parse(&one), parse(&other));
        let names: Vec<String> = parse(&one).into_iter().map(|file| file.name).collect();
        assert_eq!(names, ["a.onnx", "b c.onnx", "model.toml"]);
        assert_ne!(parse(&one), parse(&written(&described[..2])));
    }
}
