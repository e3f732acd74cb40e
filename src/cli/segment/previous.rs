//! The previous version: a directory, a file, or a version of a store.

use std::path::{Path, PathBuf};

use super::super::Failure;
use release::Store;
use segment::{FILE_NAME, Segmentation};
use segment_train::train::Previous;

/// Reads the value of `--previous`: `DIR`, `DIR/segments.json`, or `NAME/VERSION` of `store`.
pub(super) fn read(named: &str, store: Option<&str>) -> Result<Previous, Failure> {
    let path = find(named, store)?;
    let bytes = std::fs::read(&path).map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
    Ok(Previous {
        name: named.to_owned(),
        segmentation: Segmentation::parse(&path.display().to_string(), &bytes)?,
    })
}

/// Reads the artefact at `path`, a file or the directory that holds it.
pub(super) fn artefact(path: &Path) -> Result<Segmentation, Failure> {
    let file = if path.is_dir() { path.join(FILE_NAME) } else { path.to_owned() };
    let bytes = std::fs::read(&file).map_err(|error| Failure::new(format!("{}: {error}", file.display())))?;
    Ok(Segmentation::parse(&file.display().to_string(), &bytes)?)
}

fn find(named: &str, store: Option<&str>) -> Result<PathBuf, Failure> {
    let path = Path::new(named);
    if path.is_file() {
        return Ok(path.to_owned());
    }
    if path.join(FILE_NAME).is_file() {
        return Ok(path.join(FILE_NAME));
    }
    if let (Some(store), Some((name, version))) = (store, named.split_once('/'))
        && let Ok(version) = version.parse::<u64>()
    {
        let store = Store::open(store, None)?;
        store.fetch_version(name, version)?;
        return Ok(store.models_dir().join(name).join(version.to_string()).join(FILE_NAME));
    }
    let message = format!(
        "--previous {named}: there is no such directory with a {FILE_NAME}; name one, or NAME/VERSION together with --store"
    );
    Err(Failure::new(message))
}
