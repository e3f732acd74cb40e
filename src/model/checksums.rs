//! SHA-256 of the files of a model version: computed, rendered for `model.toml`, verified.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path};

use sha2::{Digest, Sha256};

use crate::document::{Problems, Table};
use crate::priority::pause;

/// The manifest, which holds the checksums and so cannot be among them.
const MANIFEST: &str = "model.toml";

/// Where a training puts what people read of a version. No part of it is served, so it needs no checksums …
const REPORT: &str = "report/";

/// … where it is a page or a table: a file that a model could load is held against the checksums there as well.
const REPORT_ENDINGS: [&str; 3] = [".html", ".json", ".csv"];

/// Digests in lower-case hexadecimal by file name, relative to the version's directory, with `/` between folders.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checksums(BTreeMap<String, String>);

impl Checksums {
    /// Of every file of the version in `directory` but its manifest; files whose name begins with a dot do not count.
    ///
    /// # Errors
    /// A file that cannot be read, whose name is not Unicode or has control characters, or that lies elsewhere.
    pub fn compute(directory: &Path) -> io::Result<Self> {
        let mut digests = BTreeMap::new();
        for name in files_of(directory)? {
            let digest = sha256_of_file(&directory.join(&name))?;
            digests.insert(name, digest);
        }
        Ok(Self(digests))
    }

    /// Of files in memory, by their names.
    #[must_use]
    pub fn of<'f>(files: impl IntoIterator<Item = (&'f str, &'f [u8])>) -> Self {
        Self(files.into_iter().map(|(name, bytes)| (name.to_owned(), sha256_of(bytes))).collect())
    }

    /// Reads `[checksums]`, which may be absent.
    pub(super) fn read(table: Option<&Table<'_, '_>>) -> Self {
        let Some(table) = table else { return Self::default() };
        let mut digests = BTreeMap::new();
        for name in table.keys() {
            let Some(digest) = table.optional::<String>(&name) else { continue };
            if digest.len() != 64 || !digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                table.problem_at(&name, format!("`{name}` must be a SHA-256 in 64 hexadecimal digits"));
            }
            let plain = Path::new(&name).components().all(|part| matches!(part, Component::Normal(_)));
            if !plain || name.is_empty() || name == MANIFEST {
                table.problem_at(&name, format!("`{name}` is not the name of another file of this version"));
            }
            digests.insert(name, digest.to_ascii_lowercase());
        }
        Self(digests)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The digests by file name, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, digest)| (name.as_str(), digest.as_str()))
    }

    /// The `[checksums]` table as it is written at the end of a `model.toml`.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = "[checksums]\n".to_owned();
        for (name, digest) in self.iter() {
            let name = name.replace('\\', "\\\\").replace('"', "\\\"");
            // Writing to a string cannot fail.
            let _ = writeln!(text, "\"{name}\" = \"{digest}\"");
        }
        text
    }

    /// The text of a manifest that has none, with these at its end: from now on the version is what it is.
    #[must_use]
    pub fn complete(&self, manifest: &str) -> String {
        format!("{}\n\n{}", manifest.trim_end(), self.render())
    }

    /// The text of a manifest with this digest for `file` in its table `[checksums]`, in place of another or besides the others;
    /// `None` where it has no such table. `file` is a plain name: letters, digits, `.`.
    #[must_use]
    pub fn set_in(manifest: &str, file: &str, digest: &str) -> Option<String> {
        let lines: Vec<&str> = manifest.lines().collect();
        let header = lines.iter().position(|line| line.trim().starts_with("[checksums]"))?;
        let of_file = |line: &&str| {
            let key = line.split('=').next().unwrap_or_default().trim();
            key.trim_matches(|quote| quote == '"' || quote == '\'') == file
        };
        let table = lines[header + 1..].iter().take_while(|line| !line.trim_start().starts_with('['));
        let known = table.enumerate().find(|(_, line)| of_file(line)).map(|(at, _)| header + 1 + at);
        let entry = format!("\"{file}\" = \"{digest}\"");
        let mut text = String::with_capacity(manifest.len() + entry.len() + 1);
        for (at, line) in lines.iter().enumerate() {
            let replaced = known == Some(at);
            text.push_str(if replaced { entry.as_str() } else { line });
            text.push('\n');
            if known.is_none() && at == header {
                text.push_str(&entry);
                text.push('\n');
            }
        }
        Some(text)
    }

    /// Holds the files in `directory` against the checksums; `label` is what problems call the directory. Nothing outside the
    /// directory is read, whatever links lie in it.
    ///
    /// # Errors
    /// Every file that is missing, differs, or is there without a checksum, pages and tables in `report/` excepted; a link that
    /// leads out of the directory.
    pub fn verify(&self, directory: &Path, label: &str) -> Result<(), Problems> {
        self.verify_with(directory, label, |_| None)
    }

    /// The same, without reading the files of which `known` says the SHA-256.
    pub(super) fn verify_with(
        &self,
        directory: &Path,
        label: &str,
        known: impl Fn(&str) -> Option<String>,
    ) -> Result<(), Problems> {
        let files = files_of(directory).map_err(|error| Problems::one(label, None, error.to_string()))?;
        let mut problems = Problems::new();
        for (name, expected) in self.iter() {
            if !files.iter().any(|file| file == name) {
                problems.push(
                    format!("{label}/{name}"),
                    None,
                    "[checksums] lists it, but there is no such file",
                );
                continue;
            }
            match known(name).map_or_else(|| sha256_of_file(&directory.join(name)), Ok) {
                Ok(found) if found == expected => {}
                Ok(found) => problems.push(
                    format!("{label}/{name}"),
                    None,
                    format!("its SHA-256 is {found}, but [checksums] says {expected}: the file was changed or damaged"),
                ),
                Err(error) => problems.push(
                    format!("{label}/{name}"),
                    None,
                    format!("[checksums] lists it, but it cannot be read: {error}"),
                ),
            }
        }
        for name in files.iter().filter(|name| !self.0.contains_key(*name) && !is_report(name)) {
            let message = "[checksums] does not list it: add it, remove the file, or remove the table";
            problems.push(format!("{label}/{name}"), None, message);
        }
        problems.into_result(())
    }
}

impl FromIterator<(String, String)> for Checksums {
    /// From file names and digests in lower-case hexadecimal.
    fn from_iter<I: IntoIterator<Item = (String, String)>>(digests: I) -> Self {
        Self(digests.into_iter().collect())
    }
}

/// Whether a file is for people only.
fn is_report(name: &str) -> bool {
    name.starts_with(REPORT) && REPORT_ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// The files in and below `directory`.
fn files_of(directory: &Path) -> io::Result<Vec<String>> {
    let root = directory.canonicalize()?;
    let mut names = Vec::new();
    collect_files(&root, &root, "", &mut names)?;
    Ok(names)
}

/// Adds the files in and below `directory`, under names that begin with `prefix`.
fn collect_files(root: &Path, directory: &Path, prefix: &str, names: &mut Vec<String>) -> io::Result<()> {
    for entry in directory.read_dir()? {
        let entry = entry?;
        let Some(name) =
            entry.file_name().to_str().filter(|name| !name.chars().any(char::is_control)).map(str::to_owned)
        else {
            let message = format!("{} has a name that cannot be written down", entry.path().display());
            return Err(io::Error::new(io::ErrorKind::InvalidFilename, message));
        };
        let full = format!("{prefix}{name}");
        if name.starts_with('.') || full == MANIFEST {
            continue;
        }
        let refuse = |why: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, format!("`{full}` {why}")));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            collect_files(root, &entry.path(), &format!("{full}/"), names)?;
            continue;
        }
        // What is no link lies where it is listed.
        if kind.is_file() {
            names.push(full);
            continue;
        }
        match entry.path().canonicalize() {
            // A device or a pipe could be read for ever.
            Ok(path) if path.starts_with(root) && !path.is_file() => return refuse("is not a regular file"),
            Ok(path) if path.starts_with(root) => names.push(full),
            Ok(_) => return refuse("is a symbolic link that leads out of the version's directory"),
            Err(error) => return refuse(&format!("leads nowhere: {error}")),
        }
    }
    Ok(())
}

/// The SHA-256 of a file in lower-case hexadecimal; reads it in pieces, however large it is.
///
/// # Errors
/// Whatever keeps the file from being read.
pub fn sha256_of_file(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut digest = Sha256::new();
    let mut piece = vec![0; file.metadata()?.len().clamp(1 << 12, 1 << 16) as usize];
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            break;
        }
        digest.update(&piece[..read]);
        pause();
    }
    Ok(hex(&digest.finalize()))
}

/// The SHA-256 of `bytes` in lower-case hexadecimal, as [`Checksums`] write it.
#[must_use]
pub fn sha256_of(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// In lower-case hexadecimal.
#[must_use]
pub fn hex(digest: &[u8]) -> String {
    digest.iter().fold(String::with_capacity(2 * digest.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Document;

    fn read(text: &str) -> Result<Checksums, Problems> {
        let document = Document::parse("model.toml", text)?;
        let checksums = Checksums::read(document.root().table("checksums").as_ref());
        document.finish(checksums)
    }

    fn version() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("model.toml"), "kind = 'generic'").unwrap();
        std::fs::write(folder.path().join("model.onnx"), "abc").unwrap();
        std::fs::write(folder.path().join(".DS_Store"), "x").unwrap();
        std::fs::create_dir(folder.path().join("weights")).unwrap();
        std::fs::write(folder.path().join("weights/it's \"1\".bin"), vec![0; 100_000]).unwrap();
        folder
    }

    #[test]
    fn what_is_rendered_is_read_back_and_verifies() {
        let folder = version();
        let checksums = Checksums::compute(folder.path()).unwrap();
        // The digest of "abc" in FIPS 180-2.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let listed: Vec<_> = checksums.iter().collect();
        assert_eq!(listed[0], ("model.onnx", abc));
        assert_eq!((listed.len(), listed[1].0), (2, "weights/it's \"1\".bin"));
        assert_eq!(read(&checksums.render()).unwrap(), checksums);
        assert_eq!(checksums.verify(folder.path(), "affinity/1"), Ok(()));
    }

    #[test]
    fn every_file_that_differs_is_named() {
        let folder = version();
        let checksums = Checksums::compute(folder.path()).unwrap();
        std::fs::write(folder.path().join("model.onnx"), "abd").unwrap();
        std::fs::write(folder.path().join("extra"), "").unwrap();
        std::fs::remove_dir_all(folder.path().join("weights")).unwrap();
        let problems = checksums.verify(folder.path(), "affinity/1").unwrap_err().to_string();
        assert!(problems.contains("affinity/1/model.onnx: its SHA-256 is a52d15"), "{problems}");
        assert!(problems.contains("says ba7816bf"), "{problems}");
        assert!(problems.contains("affinity/1/extra: [checksums] does not list it"), "{problems}");
        assert!(problems.contains(".bin: [checksums] lists it, but there is no such file"), "{problems}");
    }

    #[test]
    fn a_report_beside_a_version_needs_no_checksums() {
        let folder = version();
        let checksums = Checksums::compute(folder.path()).unwrap();
        std::fs::create_dir(folder.path().join("report")).unwrap();
        std::fs::write(folder.path().join("report/report.html"), "<html>").unwrap();
        std::fs::write(folder.path().join("report/choice.csv"), "k").unwrap();
        assert_eq!(checksums.verify(folder.path(), "segments/1"), Ok(()));
        // One that is listed is held to it.
        let listed = Checksums::compute(folder.path()).unwrap();
        std::fs::write(folder.path().join("report/choice.csv"), "other").unwrap();
        let problems = listed.verify(folder.path(), "segments/1").unwrap_err().to_string();
        assert!(problems.contains("segments/1/report/choice.csv: its SHA-256 is"), "{problems}");
        // What a model could load is no report.
        std::fs::write(folder.path().join("report/weights.bin"), "x").unwrap();
        let problems = checksums.verify(folder.path(), "segments/1").unwrap_err().to_string();
        assert!(
            problems.contains("segments/1/report/weights.bin: [checksums] does not list it"),
            "{problems}"
        );
    }

    #[test]
    fn nothing_outside_the_directory_is_read() {
        let (folder, outside) = (version(), tempfile::NamedTempFile::new().unwrap());
        let checksums = Checksums::compute(folder.path()).unwrap();
        std::os::unix::fs::symlink("model.onnx", folder.path().join("alias")).unwrap();
        assert_eq!(Checksums::compute(folder.path()).unwrap().iter().count(), 3);
        for (target, why) in [
            (outside.path(), "`link` is a symbolic link that leads out of the version's directory"),
            (Path::new("/dev/zero"), "leads out of"),
            (Path::new("weights"), "`link` is not a regular file"),
            (Path::new("nowhere"), "`link` leads nowhere"),
        ] {
            let link = folder.path().join("link");
            std::os::unix::fs::symlink(target, &link).unwrap();
            let computed = Checksums::compute(folder.path()).unwrap_err().to_string();
            let verified = checksums.verify(folder.path(), "affinity/1").unwrap_err().to_string();
            assert!(computed.contains(why) && verified.contains(why), "{computed}; {verified}");
            std::fs::remove_file(link).unwrap();
        }
    }

    #[test]
    fn names_that_leave_the_directory_and_short_digests_are_refused() {
        let refused = |text: &str| read(&format!("[checksums]\n{text}")).unwrap_err().to_string();
        let digest = "0".repeat(64);
        for name in ["../model.onnx", "/etc/passwd", "model.toml", ""] {
            let problems = refused(&format!("'{name}' = '{digest}'"));
            assert!(problems.contains("not the name of another file"), "{name}: {problems}");
        }
        assert!(refused("'model.onnx' = 'abc'").contains("64 hexadecimal digits"));
        assert!(read("").unwrap().is_empty());
    }
}
