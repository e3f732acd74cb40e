//! A new store out of a workspace: judged whole before anything is written.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::gates::{self, Candidate};
use super::store::{NewRelease, Staging};
use super::{Current, RegistryError, Store, Verdict, Workspace, fault, now};
use crate::document::Problems;
use crate::feature::FeatureSchema;
use crate::feature::store::CustomerSource;
use crate::model::onnx::{OnnxCache, OnnxRuntime};
use crate::model::{Checksums, Manifest};

/// The manifest of a version.
const MANIFEST: &str = "model.toml";

/// Fills `store`, which has no release yet, with the workspace's versions and customers, and makes it release 1. Every
/// version passes the same gates as one that is pushed. `CURRENT` is written last: cut short, it may be called again.
///
/// # Errors
/// What is wrong with the workspace, the versions that failed their gates, or why the store cannot be written.
pub fn init(
    store: &Store,
    workspace: &Workspace,
    author: &str,
    runtime: &OnnxRuntime,
) -> Result<Current, RegistryError> {
    let schema = FeatureSchema::parse("features.toml", &workspace.features)?;
    let stage = |from: &Path| -> Result<Staging, RegistryError> {
        let staged = store.stage()?;
        copy(from, staged.path())?;
        Ok(staged)
    };
    let mut versions = judged(workspace, &schema, runtime, stage)?;
    for (name, version) in &workspace.bare {
        let staged = stage(&workspace.version_dir(name, *version))?;
        versions.push(Judged { name: name.clone(), version: *version, staged, verdict: None });
    }
    if let Some(customers) = &workspace.customers {
        CustomerSource::new(store.customers_dir()).install(customers, &schema)?;
        store.put_customers(customers)?;
    }
    for Judged { name, version, staged, verdict } in versions {
        store.add_version(&name, Some(version), staged)?;
        if let Some(verdict) = verdict {
            store.add_verdict(&name, version, &verdict)?;
        }
        fault::point("init.version");
    }
    let record = store.add_release(&NewRelease {
        author,
        note: "made by init",
        models: &workspace.models,
        features: &workspace.features,
        offers: &workspace.offers,
        policy: &workspace.policy,
    })?;
    let current = Current {
        release: record.number,
        previous: 0,
        sequence: 1,
        author: author.to_owned(),
        reason: "made by init".to_owned(),
        time: now(),
    };
    store.replace_current(None, &current)?;
    Ok(current)
}

/// Judges the versions of a workspace as [`init`] does, and stores nothing: what is copied goes again.
///
/// # Errors
/// The versions that failed their gates, and why; [`RegistryError::Internal`] where there is no room for a copy.
pub fn judge_workspace(
    workspace: &Workspace,
    schema: &FeatureSchema,
    runtime: &OnnxRuntime,
) -> Result<(), RegistryError> {
    judged(workspace, schema, runtime, |from: &Path| {
        let scratch = Scratch::new()?;
        copy(from, &scratch.0)?;
        Ok(scratch)
    })
    .map(drop)
}

/// A version that may go into the store.
struct Judged<S> {
    name: String,
    version: u64,
    staged: S,
    /// Models without a manifest, which serve the Open Inference Protocol alone, are not judged.
    verdict: Option<Verdict>,
}

/// Judges copies of the versions, which `stage` makes.
fn judged<S: AsRef<Path>>(
    workspace: &Workspace,
    schema: &FeatureSchema,
    runtime: &OnnxRuntime,
    stage: impl Fn(&Path) -> Result<S, RegistryError>,
) -> Result<Vec<Judged<S>>, RegistryError> {
    let cache = OnnxCache::new(runtime.clone(), 1);
    let directories = workspace.models.iter().map(|(name, version)| workspace.version_dir(name, *version));
    let segments = directories.into_iter().find_map(|directory| gates::segments_in(&directory));
    let (mut versions, mut problems) = (Vec::new(), Problems::new());
    for (name, version) in &workspace.models {
        let staged = stage(&workspace.version_dir(name, *version))?;
        fill_in_checksums(staged.as_ref())?;
        let candidate = Candidate {
            directory: staged.as_ref(),
            name,
            version: *version,
            schema,
            segments,
            champion: None,
            sample: &gates::Sample::default(),
            cache: &cache,
        };
        let verdict = Verdict::of(gates::judge(&candidate), 0);
        if !verdict.passed {
            let file = format!("{name}/{version}");
            problems.push(file, None, format!("fails its gates: {}", verdict.failures()));
        }
        versions.push(Judged { name: name.clone(), version: *version, staged, verdict: Some(verdict) });
    }
    problems.into_result(())?;
    Ok(versions)
}

/// A directory for temporary files of this value's own, which goes with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, RegistryError> {
        let path = std::env::temp_dir().join(format!("proffer-{}", uuid::Uuid::now_v7()));
        let failed = |error: std::io::Error| RegistryError::Internal(format!("{}: {error}", path.display()));
        fs::DirBuilder::new().mode(0o700).create(&path).map_err(failed)?;
        Ok(Self(path))
    }
}

impl AsRef<Path> for Scratch {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed now is a temporary file like any other.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Completes a manifest that has no checksums.
fn fill_in_checksums(directory: &Path) -> Result<(), RegistryError> {
    let path = directory.join(MANIFEST);
    let failed = |error: std::io::Error| RegistryError::Internal(format!("{}: {error}", path.display()));
    let text = fs::read_to_string(&path).map_err(failed)?;
    let listed = Manifest::parse(MANIFEST, &text)?.checksums;
    if !listed.is_empty() {
        // A report that is not part of the version stays where people read it: a push leaves it behind, too.
        let report = directory.join("report");
        if report.is_dir() && !listed.iter().any(|(name, _)| name.starts_with("report/")) {
            fs::remove_dir_all(&report).map_err(failed)?;
        }
        return Ok(());
    }
    let checksums = Checksums::compute(directory).map_err(failed)?;
    fs::write(&path, checksums.complete(&text)).map_err(failed)
}

/// Copies the files in and below a directory, without those that are hidden.
fn copy(from: &Path, to: &Path) -> Result<(), RegistryError> {
    let failed = |error: std::io::Error| RegistryError::Internal(format!("{}: {error}", from.display()));
    fs::create_dir_all(to).map_err(failed)?;
    for entry in fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        if source.is_dir() {
            copy(&source, &target)?;
        } else {
            fs::copy(&source, &target).map_err(failed)?;
        }
    }
    Ok(())
}
