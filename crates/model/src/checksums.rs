//! SHA-256 of the files of a model version: computed, rendered for `model.toml`, verified.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path};

use sha2::{Digest, Sha256};

use document::{Problems, Table};
use work::priority::yield_if_due;

/// The manifest. It holds the checksums, so it has none itself.
const MANIFEST: &str = "model.toml";

/// Where training writes reports for people. They are not served, so they need no checksums …
const REPORT: &str = "report/";

/// … if they are pages or tables. Any other file there, which a model could load, is checked too.
const REPORT_ENDINGS: [&str; 3] = [".html", ".json", ".csv"];

/// Digests in lower-case hexadecimal by file name, relative to the version's directory, with `/` between folders.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checksums(BTreeMap<String, String>);

impl Checksums {
    /// Computes the digests of every file of the version in `directory` except its manifest and hidden files.
    ///
    /// # Errors
    /// A file that cannot be read, that lies elsewhere, or whose name is not Unicode or has control characters. Names
    /// that differ only in case.
    pub fn compute(directory: &Path) -> io::Result<Self> {
        let mut digests = BTreeMap::new();
        let files = files_of(directory)?;
        if let Some(message) = alike(files.iter().map(String::as_str)) {
            return Err(io::Error::new(io::ErrorKind::InvalidFilename, message));
        }
        for name in files {
            let digest = sha256_of_file(&directory.join(&name))?;
            digests.insert(name, digest);
        }
        Ok(Self(digests))
    }

    /// Computes the digests of files in memory, by name.
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

    /// The digests by file name, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, digest)| (name.as_str(), digest.as_str()))
    }

    /// The `[checksums]` table as it stands at the end of a `model.toml`.
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

    /// Appends these checksums to the text of a manifest that has none. That seals the version.
    #[must_use]
    pub fn complete(&self, manifest: &str) -> String {
        format!("{}\n\n{}", manifest.trim_end(), self.render())
    }

    /// Adds or replaces the digest of `file` in the table `[checksums]` of a manifest's text. `None` where it has no
    /// such table. `file` is a plain name: letters, digits, `.`.
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

    /// Verifies the files in `directory` against the checksums. Problems call the directory `label`. Links are not
    /// followed out of the directory.
    ///
    /// # Errors
    /// Every file that is missing, differs or has no checksum, except pages and tables in `report/`. A link that leads
    /// out of the directory.
    pub fn verify(&self, directory: &Path, label: &str) -> Result<(), Problems> {
        self.verify_with(directory, label, |_| None)
    }

    /// Does what [`Checksums::verify`] does, without reading the files whose SHA-256 `known` returns.
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
    /// Takes file names and digests in lower-case hexadecimal.
    fn from_iter<I: IntoIterator<Item = (String, String)>>(digests: I) -> Self {
        Self(digests.into_iter().collect())
    }
}

/// The problem with a version's file names that differ only in case, or whose folders do; the manifest's name is
/// included. Many file systems treat such names as one (`MODEL.TOML` beside `model.toml`).
#[must_use]
pub fn alike<'n>(names: impl IntoIterator<Item = &'n str>) -> Option<String> {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for name in std::iter::once(MANIFEST).chain(names) {
        let folders = name.match_indices('/').map(|(end, _)| &name[..end]);
        for path in folders.chain([name]) {
            let other = *seen.entry(path.to_lowercase()).or_insert(path);
            if other != path {
                return Some(format!("`{path}` and `{other}` differ in case only; rename or remove one"));
            }
        }
    }
    None
}

/// Whether a file is only a report for people.
fn is_report(name: &str) -> bool {
    name.starts_with(REPORT) && REPORT_ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// The files in `directory` and below.
fn files_of(directory: &Path) -> io::Result<Vec<String>> {
    let root = directory.canonicalize()?;
    let mut names = Vec::new();
    collect_files(&root, &root, "", &mut names)?;
    Ok(names)
}

/// Adds the files in `directory` and below, with `prefix` before their names.
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
        // An entry that is not a link lies where it is listed.
        if kind.is_file() {
            names.push(full);
            continue;
        }
        match entry.path().canonicalize() {
            // Reading a device or a pipe might never end.
            Ok(path) if path.starts_with(root) && !path.is_file() => return refuse("is not a regular file"),
            Ok(path) if path.starts_with(root) => names.push(full),
            Ok(_) => return refuse("is a symbolic link that leads out of the version's directory"),
            Err(error) => return refuse(&format!("leads nowhere: {error}")),
        }
    }
    Ok(())
}

/// The SHA-256 of a file in lower-case hexadecimal. Reads it in chunks.
///
/// # Errors
/// When the file cannot be read.
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
        yield_if_due();
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

/// Parses a SHA-256 that [`hex`] wrote; `None` for anything else.
pub(super) fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    let pairs = text.as_bytes().chunks_exact(2);
    if text.len() != 2 * digest.len() {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(pairs) {
        let digit = |letter: u8| char::from(letter).to_digit(16);
        *byte = u8::try_from(16 * digit(pair[0])? + digit(pair[1])?).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use document::Document;

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
    fn names_that_differ_only_in_case_are_refused() {
        assert_eq!(alike(["model.onnx", "weights/a.bin", "weights/b.bin", "report/a.bin"]), None);
        for (names, told) in [
            (&["MODEL.TOML"][..], "`MODEL.TOML` and `model.toml`"),
            (&["a.onnx", "A.onnx"], "`A.onnx` and `a.onnx`"),
            (&["Weights/a", "weights/b"], "`weights` and `Weights`"),
            (&["é.onnx", "É.onnx"], "`É.onnx` and `é.onnx`"),
        ] {
            let found = alike(names.iter().copied()).unwrap();
            assert!(found.starts_with(told) && found.contains("case"), "{found}");
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("model.toml"), "").unwrap();
        std::fs::write(folder.path().join("Model.Toml"), "").unwrap();
        assert!(Checksums::compute(folder.path()).unwrap_err().to_string().contains("differ in case"));
    }

    #[test]
    fn rendered_checksums_parse_and_verify() {
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
        // A report that has a checksum is verified.
        let listed = Checksums::compute(folder.path()).unwrap();
        std::fs::write(folder.path().join("report/choice.csv"), "other").unwrap();
        let problems = listed.verify(folder.path(), "segments/1").unwrap_err().to_string();
        assert!(problems.contains("segments/1/report/choice.csv: its SHA-256 is"), "{problems}");
        // A file that a model could load is not a report.
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
