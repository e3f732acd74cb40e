//! A new store from a workspace: judged whole before anything is written.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::gates;
use super::judging::{Judgement, Question};
use super::store::{NewRelease, Staging};
use super::{
    Current, Evidence, GateOutcome, GateReport, Judges, RegistryError, Store, Verdict, Workspace, fault, now,
};
use document::Problems;
use feature::FeatureSchema;
use feature::store::CustomerSource;
use model::{Checksums, MAX_MANIFEST_BYTES, Manifest, alike, read_text_at_most, sha256_of};

const MANIFEST: &str = "model.toml";

/// Fills `store`, which has no release yet, with the workspace's versions and customers, and makes it release 1.
/// Every version must pass the same gates as a pushed one. `CURRENT` is written last, so an interrupted call can be
/// repeated.
///
/// # Errors
/// What is wrong with the workspace, the versions that failed their gates, or why the store cannot be written.
pub fn init(
    store: &Store,
    workspace: &Workspace,
    author: &str,
    judges: &Judges,
) -> Result<Current, RegistryError> {
    init_judged(store, workspace, author, judges, &JudgedWorkspace::of(workspace, judges)?)
}

/// As [`init`], with the verdicts on a workspace that was judged already; a version that has changed since is judged
/// again.
///
/// # Errors
/// As [`init`].
pub fn init_judged(
    store: &Store,
    workspace: &Workspace,
    author: &str,
    judges: &Judges,
    judged: &JudgedWorkspace,
) -> Result<Current, RegistryError> {
    let schema = FeatureSchema::parse("features.toml", &workspace.features)?;
    let stage = |from: &Path| -> Result<Staging, RegistryError> {
        let staged = store.stage()?;
        copy(from, staged.path())?;
        Ok(staged)
    };
    let (mut versions, mut problems) = (Vec::new(), Problems::new());
    for (name, version) in workspace.versions() {
        let staged = stage(&workspace.version_dir(name, version))?;
        fill_in_checksums(staged.path()).map_err(|error| error.of(name, version))?;
        let found = match judged.of_copy(name, version, staged.path()) {
            Some(found) => found,
            None => judge(workspace, judges, name, version, staged.path())?,
        };
        problems.extend(failed(name, version, &found.0));
        versions.push((name.to_owned(), version, staged, Some(found)));
    }
    problems.into_result(())?;
    // These serve the Open Inference Protocol alone; a server has them judged before it loads them.
    for (name, version) in &workspace.bare {
        versions.push((name.clone(), *version, stage(&workspace.version_dir(name, *version))?, None));
    }
    if let Some(customers) = &workspace.customers {
        CustomerSource::new(store.customers_dir()).install(customers, &schema)?;
        store.put_customers(customers)?;
    }
    for (name, version, staged, found) in versions {
        store.add_version(&name, Some(version), staged)?;
        if let Some((verdict, evidence)) = found {
            store.add_judgement(&name, version, &verdict, &evidence)?;
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
        step: None,
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

/// The verdicts on the versions of a workspace, each judged in a separate process. Stores nothing; temporary copies
/// are removed.
#[derive(Debug, Default)]
pub struct JudgedWorkspace {
    found: BTreeMap<(String, u64), (Verdict, Evidence)>,
    /// Versions with file names that some file systems cannot tell apart.
    ambiguous: Problems,
}

impl JudgedWorkspace {
    /// Judges copies of the versions. Skips one whose manifest cannot be read: the code that reads it reports that.
    ///
    /// # Errors
    /// What is wrong with the feature schema. [`RegistryError::Internal`] where there is no space for a copy or no
    /// process can be started.
    pub fn of(workspace: &Workspace, judges: &Judges) -> Result<Self, RegistryError> {
        FeatureSchema::parse("features.toml", &workspace.features)?;
        let (mut found, mut ambiguous) = (BTreeMap::new(), Problems::new());
        for (name, version) in workspace.versions() {
            let scratch = Scratch::new()?;
            copy(&workspace.version_dir(name, version), &scratch.0)?;
            match fill_in_checksums(&scratch.0) {
                Ok(()) => {}
                Err(Incomplete::Ambiguous(message)) => {
                    ambiguous.push(format!("{name}/{version}"), None, message);
                    continue;
                }
                Err(Incomplete::Unreadable(RegistryError::Unsound(_))) => continue,
                Err(Incomplete::Unreadable(error)) => return Err(error),
            }
            let judged = judge(workspace, judges, name, version, &scratch.0)?;
            found.insert((name.to_owned(), version), judged);
        }
        Ok(Self { found, ambiguous })
    }

    /// # Errors
    /// The versions that must never be loaded: the process that judged them died.
    pub fn refuse_deadly(&self) -> Result<(), Problems> {
        self.refuse(|report| report.gate == gates::PROCESS)
    }

    /// # Errors
    /// The versions that failed their gates, and why.
    pub fn refuse_failed(&self) -> Result<(), Problems> {
        self.refuse(|_| true)
    }

    fn refuse(&self, counts: impl Fn(&GateReport) -> bool) -> Result<(), Problems> {
        let mut problems = self.ambiguous.clone();
        for ((name, version), (verdict, _)) in &self.found {
            if verdict.gates.iter().any(|report| report.outcome == GateOutcome::Failed && counts(report)) {
                problems.extend(failed(name, *version, verdict));
            }
        }
        problems.into_result(())
    }

    /// The judgement of a version, if its copy in `directory` equals what was judged.
    fn of_copy(&self, name: &str, version: u64, directory: &Path) -> Option<(Verdict, Evidence)> {
        let (verdict, evidence) = self.found.get(&(name.to_owned(), version))?;
        let text = read_text_at_most(&directory.join(MANIFEST), MAX_MANIFEST_BYTES).ok()?;
        let same = verdict.passed && sha256_of(text.as_bytes()) == evidence.sha256;
        let manifest = Manifest::parse(MANIFEST, &text).ok().filter(|_| same)?;
        manifest.checksums.verify(directory, name).ok()?;
        Some((verdict.clone(), evidence.clone()))
    }
}

/// Judges the version in `directory`, whose manifest is complete.
fn judge(
    workspace: &Workspace,
    judges: &Judges,
    name: &str,
    version: u64,
    directory: &Path,
) -> Result<(Verdict, Evidence), RegistryError> {
    let directories = workspace.models.iter().map(|(name, version)| workspace.version_dir(name, *version));
    let segments = directories.into_iter().find_map(|directory| gates::segments_in(&directory));
    let asked = Question::new(directory, name, version, &workspace.features, &gates::Sample::default());
    let mut asked = asked.map_err(|error| RegistryError::Internal(error.to_string()))?;
    asked.segments = segments;
    let Judgement { gates, evidence } = judges.judge(asked)?;
    Ok((Verdict::of(gates, 0), evidence))
}

fn failed(name: &str, version: u64, verdict: &Verdict) -> Problems {
    let mut problems = Problems::new();
    if !verdict.passed {
        problems.push(format!("{name}/{version}"), None, format!("fails its gates: {}", verdict.failures()));
    }
    problems
}

/// A temporary directory; dropping it removes it.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, RegistryError> {
        let path = std::env::temp_dir().join(format!("proffer-{}", telemetry::ids::new_id()));
        let failed = |error: std::io::Error| RegistryError::Internal(format!("{}: {error}", path.display()));
        fs::DirBuilder::new().mode(0o700).create(&path).map_err(failed)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A directory that cannot be removed now is left to the system's cleanup of temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Why the checksums of a manifest cannot be completed.
enum Incomplete {
    /// File names that differ in case alone.
    Ambiguous(String),
    /// The manifest or a file cannot be read, or the manifest cannot be written.
    Unreadable(RegistryError),
}

impl From<Problems> for Incomplete {
    fn from(problems: Problems) -> Self {
        Self::Unreadable(problems.into())
    }
}

impl Incomplete {
    /// The error for version `name/version`.
    fn of(self, name: &str, version: u64) -> RegistryError {
        match self {
            Self::Ambiguous(message) => Problems::one(format!("{name}/{version}"), None, message).into(),
            Self::Unreadable(error) => error,
        }
    }
}

/// Completes a manifest that has no checksums.
fn fill_in_checksums(directory: &Path) -> Result<(), Incomplete> {
    let path = directory.join(MANIFEST);
    let failed = |error: std::io::Error| {
        Incomplete::Unreadable(RegistryError::Internal(format!("{}: {error}", path.display())))
    };
    let text = read_text_at_most(&path, MAX_MANIFEST_BYTES).map_err(failed)?;
    let listed = Manifest::parse(MANIFEST, &text)?.checksums;
    if let Some(message) = alike(listed.iter().map(|(name, _)| name)) {
        return Err(Incomplete::Ambiguous(message));
    }
    if !listed.is_empty() {
        // A report that is not part of the version stays in the workspace; a push does not copy it either.
        let report = directory.join("report");
        if report.is_dir() && !listed.iter().any(|(name, _)| name.starts_with("report/")) {
            fs::remove_dir_all(&report).map_err(failed)?;
        }
        return Ok(());
    }
    let checksums = Checksums::compute(directory).map_err(|error| {
        let ambiguous = error.kind() == std::io::ErrorKind::InvalidFilename;
        if ambiguous { Incomplete::Ambiguous(error.to_string()) } else { failed(error) }
    })?;
    fs::write(&path, checksums.complete(&text)).map_err(failed)
}

/// Copies the files in and below a directory, without hidden ones.
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
