//! The contents of the models directory, by the names and versions that clients use.
//!
//! Reads only names, sizes and times, never the contents of files.

use std::collections::BTreeMap;
use std::fs::{self, DirEntry};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use work::priority::yield_if_due;

/// What a version directory offers under one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// This ONNX file.
    File(PathBuf),
    /// No file under this name, but one per offer under the names below it.
    PerOffer,
    /// No ONNX file: a segmentation, or a directory that is still being written.
    Empty,
}

/// Every name with its versions.
pub(super) type Layout = BTreeMap<String, BTreeMap<u64, Source>>;

/// Names, sizes and times of the files of a version, compared to detect changes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Stamp(Vec<(PathBuf, u64, Option<SystemTime>)>);

const MODEL_FILE: &str = "model.onnx";

/// Reads the layout of `root`. A root that does not exist is empty.
pub(super) fn scan(root: &Path) -> io::Result<Layout> {
    let mut layout = Layout::new();
    for (name, model) in entries(root)? {
        yield_if_due();
        for (version, directory) in entries(&model)? {
            let Some(version) = version_number(&version) else { continue };
            add_version(&mut layout, &name, version, &directory)?;
        }
    }
    Ok(layout)
}

/// The stamps of version directories, each computed once, since a version may have a file per offer.
#[derive(Debug, Default)]
pub(super) struct Stamps(BTreeMap<PathBuf, Stamp>);

impl Stamps {
    /// The stamp of everything in the version directory that holds `file`.
    pub(super) fn of(&mut self, file: &Path) -> &Stamp {
        let directory = file.parent().unwrap_or(Path::new("."));
        self.0.entry(directory.to_owned()).or_insert_with(|| {
            let mut files = Vec::new();
            // An unreadable directory has an empty stamp, so it is read again when that changes.
            let _ = add_stamps(directory, &mut files);
            files.sort();
            Stamp(files)
        })
    }
}

fn add_version(layout: &mut Layout, name: &str, version: u64, directory: &Path) -> io::Result<()> {
    let files = entries(directory)?;
    if let Some(path) = files.get(MODEL_FILE) {
        add(layout, name, version, Source::File(path.clone()));
        return Ok(());
    }
    let mut source = Source::Empty;
    for (file, path) in files {
        let Some(offer) = file.strip_suffix(".onnx").filter(|offer| !offer.is_empty()) else { continue };
        add(layout, &format!("{name}/{offer}"), version, Source::File(path));
        source = Source::PerOffer;
    }
    add(layout, name, version, source);
    Ok(())
}

fn add(layout: &mut Layout, name: &str, version: u64, source: Source) {
    layout.entry(name.to_owned()).or_default().insert(version, source);
}

/// A positive integer in canonical form, so that no two directories are the same version.
fn version_number(name: &str) -> Option<u64> {
    name.parse::<u64>().ok().filter(|version| *version > 0 && version.to_string() == name)
}

/// The visible entries of a directory by name.
///
/// A path that vanished, is no directory or is not readable has no entries. Any other failure, such as no more file
/// handles, is returned.
fn entries(directory: &Path) -> io::Result<BTreeMap<String, PathBuf>> {
    let read = fs::read_dir(directory).and_then(Iterator::collect::<io::Result<Vec<DirEntry>>>);
    let entries = match read {
        Ok(entries) => entries,
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::PermissionDenied
            ) =>
        {
            return Ok(BTreeMap::new());
        }
        Err(error) => return Err(error),
    };
    Ok(entries
        .into_iter()
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())))
        .filter(|(name, _)| !name.starts_with('.'))
        .collect())
}

fn add_stamps(directory: &Path, files: &mut Vec<(PathBuf, u64, Option<SystemTime>)>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let metadata = fs::metadata(&path)?;
        files.push((path, metadata.len(), metadata.modified().ok()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn only_positive_integers_are_versions() {
        let root = tempfile::tempdir().unwrap();
        for version in ["1", "12", "0", "01", "-1", "+3", "latest", ".4", "5.tmp"] {
            write(root.path(), &format!("card/{version}/model.onnx"), "x");
        }
        write(root.path(), "README.md", "not a model");
        write(root.path(), "card/7", "not a directory of a version");
        let layout = scan(root.path()).unwrap();
        assert_eq!(layout.keys().collect::<Vec<_>>(), ["card"]);
        assert_eq!(layout["card"].keys().copied().collect::<Vec<_>>(), [1, 7, 12]);
        assert_eq!(layout["card"][&7], Source::Empty);
    }

    #[test]
    fn one_file_per_offer_is_named_below_the_model() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "affinity/2/travel_gold.onnx", "x");
        write(root.path(), "affinity/2/model.toml", "x");
        write(root.path(), "segments/1/segments.json", "{}");
        let layout = scan(root.path()).unwrap();
        assert_eq!(layout["affinity"][&2], Source::PerOffer);
        let file = root.path().join("affinity/2/travel_gold.onnx");
        assert_eq!(layout["affinity/travel_gold"][&2], Source::File(file));
        assert_eq!(layout["segments"][&1], Source::Empty);
    }

    #[test]
    fn a_missing_root_is_empty() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(scan(&root.path().join("absent")).unwrap(), Layout::new());
    }

    #[test]
    fn a_stamp_changes_with_every_file_beside_the_model() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "card/1/model.onnx", "x");
        let file = root.path().join("card/1/model.onnx");
        let stamp = || Stamps::default().of(&file).clone();
        let before = stamp();
        assert_eq!(stamp(), before);
        write(root.path(), "card/1/model.onnx.data", "weights");
        assert_ne!(stamp(), before);
    }
}
