//! Reads the directory of a model version to push, and shows the progress of the push.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};

use super::Failure;
use super::backend::{Backend, BackendError};
use model::{Checksums, Manifest};
use release::{PushHeader, Pushed, VersionFile};

/// Smaller uploads are over before a bar could be read.
const SHOWN_FROM: u64 = 1 << 20;

/// A directory with a `model.toml` and its files: those of its checksums, or without checksums all files in and below
/// it that are not hidden.
#[derive(Debug)]
pub(super) struct VersionDirectory {
    root: PathBuf,
    manifest: String,
    files: Vec<VersionFile>,
}

impl VersionDirectory {
    /// Reads the directory and hashes its files.
    pub(super) fn read(root: &Path) -> Result<Self, Failure> {
        let shown = root.display();
        let path = root.join("model.toml");
        if !path.is_file() {
            let message = if root.is_dir() {
                format!("{shown} has no model.toml; name the directory of one version, such as {shown}/1")
            } else {
                format!("there is no directory {shown}")
            };
            return Err(Failure::new(message));
        }
        let manifest = read_text(&path)?;
        let unreadable = |error: std::io::Error| Failure::new(format!("{shown}: {error}"));
        let digests = Checksums::compute(root).map_err(unreadable)?;
        // The push refuses a manifest that does not parse, with its lines.
        let listed =
            Manifest::parse("model.toml", &manifest).map(|manifest| manifest.checksums).unwrap_or_default();
        let belongs = |name: &str| listed.is_empty() || listed.iter().any(|(listed, _)| listed == name);
        let files: std::io::Result<Vec<VersionFile>> = digests
            .iter()
            .filter(|(name, _)| belongs(name))
            .map(|(name, sha256)| {
                let size = std::fs::metadata(root.join(name))?.len();
                Ok(VersionFile { name: name.to_owned(), size, sha256: sha256.to_owned() })
            })
            .collect();
        Ok(Self { root: root.to_owned(), manifest, files: files.map_err(unreadable)? })
    }

    /// The number of its files without the manifest, and their bytes.
    pub(super) fn size(&self) -> (usize, u64) {
        (self.files.len(), self.files.iter().map(|file| file.size).sum())
    }

    /// Pushes it as `version` of `name` (0: the next number), judged by `features` if given.
    pub(super) fn push(
        &self,
        backend: &Backend,
        name: &str,
        version: u64,
        features: Option<String>,
        shown: Progress,
    ) -> Result<Pushed, BackendError> {
        let header = PushHeader {
            name: name.to_owned(),
            version,
            manifest: self.manifest.clone(),
            files: self.files.clone(),
            features,
        };
        let bar = shown.bar(name, self.size().1);
        let moved = bar.clone();
        let pushed = backend.push(header, &self.root, move |bytes| {
            moved.inc(bytes);
            if Some(moved.position()) == moved.length() {
                moved.set_message("the gates run");
            }
        });
        bar.finish_and_clear();
        pushed
    }
}

/// Whether uploads show their progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Standard error is a terminal.
    Shown,
    /// Standard error is not read by a person.
    Hidden,
}

impl Progress {
    /// Never with JSON, and only where standard error is a terminal.
    pub(super) fn of(json: bool) -> Self {
        if !json && std::io::stderr().is_terminal() { Self::Shown } else { Self::Hidden }
    }

    fn bar(self, name: &str, bytes: u64) -> ProgressBar {
        if self == Self::Hidden || bytes <= SHOWN_FROM {
            return ProgressBar::hidden();
        }
        let template =
            "{prefix} {bar:32} {binary_bytes} of {binary_total_bytes} {binary_bytes_per_sec} {msg}";
        let style = ProgressStyle::with_template(template);
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        ProgressBar::new(bytes).with_style(style).with_prefix(name.to_owned())
    }
}

/// The text of a file that the user named.
pub(super) fn read_text(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| Failure::new(format!("{}: {error}", path.display())))
}

/// [`read_text`] of an optional path.
pub(super) fn read_optional(path: Option<&PathBuf>) -> Result<Option<String>, Failure> {
    path.map(|path| read_text(path)).transpose()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use model::sha256_of;

    #[test]
    fn a_version_is_its_manifest_and_the_files_beside_and_below_it() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::create_dir_all(root.join("weights/deep")).unwrap();
        fs::write(root.join("model.toml"), "kind = \"generic\"").unwrap();
        fs::write(root.join("model.onnx"), "graph").unwrap();
        fs::write(root.join("weights/deep/a.bin"), "").unwrap();
        fs::write(root.join(".hidden"), "not this").unwrap();
        let version = VersionDirectory::read(root).unwrap();
        let file = |name: &str, content: &str| VersionFile {
            name: name.to_owned(),
            size: content.len() as u64,
            sha256: sha256_of(content.as_bytes()),
        };
        assert_eq!(version.files, [file("model.onnx", "graph"), file("weights/deep/a.bin", "")]);
        assert_eq!(version.manifest, "kind = \"generic\"");
        assert_eq!(version.size(), (2, 5));
    }

    #[test]
    fn a_manifest_with_checksums_says_which_files_belong_to_it() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::create_dir(root.join("report")).unwrap();
        fs::write(root.join("segments.json"), "{}").unwrap();
        fs::write(root.join("report/report.html"), "for people").unwrap();
        let checksums = Checksums::of([("segments.json", &b"{}"[..])]);
        fs::write(root.join("model.toml"), checksums.complete("kind = \"segmentation\"")).unwrap();
        let version = VersionDirectory::read(root).unwrap();
        let names: Vec<&str> = version.files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["segments.json"]);
    }

    #[test]
    fn what_is_no_version_says_what_to_name() {
        let directory = tempfile::tempdir().unwrap();
        let refused = |path: &Path| VersionDirectory::read(path).unwrap_err().message;
        let bare = refused(directory.path());
        assert!(bare.contains("has no model.toml; name the directory of one version"), "{bare}");
        let none = refused(&directory.path().join("none"));
        assert!(none.starts_with("there is no directory "), "{none}");
    }

    #[test]
    fn small_uploads_and_scripts_see_no_bar() {
        assert!(Progress::Hidden.bar("m", 1 << 30).is_hidden());
        assert!(Progress::Shown.bar("m", SHOWN_FROM).is_hidden());
        assert_eq!(Progress::of(true), Progress::Hidden);
    }
}
