//! Filling a new store from a workspace.

use std::fs;
use std::path::Path;

use super::records::Current;
use super::{NewRelease, Store, StoreError, Workspace};
use crate::document::Problems;
use crate::model::{Checksums, Manifest};

impl Store {
    /// Makes a new store of a workspace whose content was checked: its models and its first release.
    ///
    /// # Errors
    /// When there is a release already, or the operating system refuses; `CURRENT` is written last, so a store that was
    /// interrupted is not one yet and the command can be repeated.
    pub fn init(location: &str, workspace: &Workspace, author: &str) -> Result<Self, StoreError> {
        let store = Self::create(location, None)?;
        for (name, version) in workspace.models.iter().chain(&workspace.bare) {
            let staged = store.stage()?;
            copy(&workspace.version_dir(name, *version), staged.path())?;
            fill_in_checksums(staged.path())?;
            store.add_version(name, Some(*version), staged)?;
        }
        let record = store.add_release(&NewRelease {
            author,
            note: "made by init",
            models: &workspace.models,
            features: &workspace.features,
            offers: &workspace.offers,
            policy: &workspace.policy,
        })?;
        let first = Current {
            release: record.number,
            previous: 0,
            sequence: 1,
            author: author.to_owned(),
            reason: "made by init".to_owned(),
            time: record.created,
        };
        store.replace_current(None, &first)?;
        Ok(store)
    }
}

fn io_error(path: &Path) -> impl Fn(std::io::Error) -> StoreError {
    move |source| StoreError::Io { path: path.display().to_string(), source }
}

fn copy(source: &Path, target: &Path) -> Result<(), StoreError> {
    for entry in fs::read_dir(source).map_err(io_error(source))? {
        let entry = entry.map_err(io_error(source))?;
        let (from, to) = (entry.path(), target.join(entry.file_name()));
        if from.is_dir() {
            fs::create_dir(&to).map_err(io_error(&to))?;
            copy(&from, &to)?;
        } else {
            fs::copy(&from, &to).map_err(io_error(&from))?;
        }
    }
    Ok(())
}

/// Completes a manifest that has no checksums: from now on the version is what it is.
fn fill_in_checksums(directory: &Path) -> Result<(), StoreError> {
    let path = directory.join("model.toml");
    if !path.is_file() {
        return Ok(());
    }
    let text = fs::read_to_string(&path).map_err(io_error(&path))?;
    let damaged = |problems: Problems| StoreError::Damaged {
        path: path.display().to_string(),
        message: problems.to_string(),
    };
    if !Manifest::parse("model.toml", &text).map_err(damaged)?.checksums.is_empty() {
        return Ok(());
    }
    let checksums = Checksums::compute(directory).map_err(io_error(directory))?;
    fs::write(&path, format!("{}\n\n{}", text.trim_end(), checksums.render())).map_err(io_error(&path))
}
