//! A workspace: the directory of files that a person edits, before it becomes a release.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use document::{Problems, suggestion};

/// The texts and pins of a workspace; only the existence of required files has been checked.
#[derive(Debug, Clone)]
pub struct Workspace {
    root: PathBuf,
    /// The text of `features.toml`.
    pub features: String,
    /// The text of `offers.toml`.
    pub offers: String,
    /// The text of `policy.toml`.
    pub policy: String,
    /// Model name → the version that the release pins: the highest with a manifest that no shadow and no variant of an
    /// experiment names, in whatever state the experiment is; if there is no such version, the highest.
    pub models: BTreeMap<String, u64>,
    /// The other versions with a manifest that shadows name, and variants of experiments that are not stopped.
    pub variants: BTreeSet<(String, u64)>,
    /// Model name → the highest version of models without a manifest, which serve the Open Inference Protocol alone.
    pub bare: BTreeMap<String, u64>,
    /// `customers.csv` or `customers.parquet`, if there is one.
    pub customers: Option<PathBuf>,
}

impl Workspace {
    /// Reads the workspace at `root`. Of each model, the highest version that no variant and no shadow names is pinned.
    ///
    /// # Errors
    /// Everything that is missing or unreadable.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, Problems> {
        let root = root.into();
        let mut problems = Problems::new();
        if !root.is_dir() {
            let shown = root.display().to_string();
            return Err(Problems::one(shown, None, "there is no such directory; name a workspace"));
        }
        let mut text = |name: &str| match fs::read(root.join(name)) {
            Ok(bytes) => String::from_utf8(bytes).unwrap_or_else(|error| {
                let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                let line = String::from_utf8_lossy(before).split('\n').count();
                problems.push(name, Some(line), "this line is not UTF-8; save the file as UTF-8");
                String::new()
            }),
            Err(error) => {
                problems.push(name, None, format!("cannot be read: {error}{}", similar(&root, name)));
                String::new()
            }
        };
        let (features, offers, policy) = (text("features.toml"), text("offers.toml"), text("policy.toml"));
        let has_manifest = |version: &Path| version.join("model.toml").is_file();
        let named = experiment::named_versions(&policy);
        let mut models = highest_versions(&root, has_manifest);
        let pinned = highest_versions(&root, |version| {
            has_manifest(version) && !named.iter().any(|(name, number)| is_version(version, name, *number))
        });
        models.extend(pinned);
        let in_workspace = |(name, number): &(String, u64)| {
            models.get(name) != Some(number) && has_manifest(&root.join(name).join(number.to_string()))
        };
        let variants = experiment::versions(&policy).into_iter().filter(in_workspace).collect();
        let mut bare = highest_versions(&root, |version| version.join("model.onnx").is_file());
        bare.retain(|name, _| !models.contains_key(name));
        let mut sources: Vec<PathBuf> =
            ["customers.csv", "customers.csv.gz", "customers.csv.zst", "customers.parquet"]
                .into_iter()
                .map(|name| root.join(name))
                .filter(|path| path.is_file())
                .collect();
        if sources.len() > 1 {
            problems.push("customers.csv", None, "lies beside customers.parquet; keep one of them");
        }
        let customers = sources.pop();
        problems.into_result(Self { root, features, offers, policy, models, variants, bare, customers })
    }

    /// Every version that the release needs, of those that the workspace has.
    pub fn versions(&self) -> impl Iterator<Item = (&str, u64)> {
        let pinned = self.models.iter().map(|(name, version)| (name.as_str(), *version));
        pinned.chain(self.variants.iter().map(|(name, version)| (name.as_str(), *version)))
    }

    /// The directory of a model version.
    #[must_use]
    pub fn version_dir(&self, name: &str, version: u64) -> PathBuf {
        self.root.join(name).join(version.to_string())
    }

    /// The directory whose children are the models.
    #[must_use]
    pub fn models_dir(&self) -> &Path {
        &self.root
    }
}

/// Whether a directory is that of a version.
fn is_version(directory: &Path, name: &str, version: u64) -> bool {
    directory.ends_with(Path::new(name).join(version.to_string()))
}

fn similar(root: &Path, name: &str) -> String {
    let names: Vec<String> = fs::read_dir(root)
        .map(|entries| entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
        .unwrap_or_default();
    suggestion(name, names.iter().map(String::as_str))
}

/// For each directory with numbered subdirectories that `counts` accepts, the highest number.
fn highest_versions(root: &Path, counts: impl Fn(&Path) -> bool) -> BTreeMap<String, u64> {
    let mut highest = BTreeMap::new();
    let Ok(entries) = fs::read_dir(root) else { return highest };
    for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let Ok(versions) = fs::read_dir(entry.path()) else { continue };
        let version = versions
            .flatten()
            .filter(|version| counts(&version.path()))
            .filter_map(|version| version.file_name().to_str()?.parse::<u64>().ok())
            .filter(|version| *version > 0)
            .max();
        if let Some(version) = version {
            highest.insert(name, version);
        }
    }
    highest
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A workspace with versions 1 and 2 of a model, whose experiment tries version 2.
    fn opened(state: &str) -> Workspace {
        opened_with(&format!(
            "[[experiment]]\nid = \"e\"\nstate = \"{state}\"\ncoverage = 1.0\n[[experiment.variant]]\nid = \"a\"\n\
             weight = 0.5\n[[experiment.variant]]\nid = \"b\"\nweight = 0.5\nmodels = {{ propensity = 2 }}\n"
        ))
    }

    /// The same with another policy.
    fn opened_with(policy: &str) -> Workspace {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in [("features.toml", ""), ("offers.toml", ""), ("policy.toml", policy)] {
            fs::write(directory.path().join(name), text).unwrap();
        }
        for version in ["1", "2"] {
            let version = directory.path().join("propensity").join(version);
            fs::create_dir_all(&version).unwrap();
            fs::write(version.join("model.toml"), "").unwrap();
        }
        Workspace::open(directory.path()).unwrap()
    }

    #[test]
    fn what_a_shadow_names_is_needed_and_never_pinned() {
        let shadow = opened_with("[[shadow]]\nid = \"s\"\nsample = 0.1\nmodels = { propensity = 2 }\n");
        assert_eq!(shadow.models, BTreeMap::from([("propensity".to_owned(), 1)]));
        assert_eq!(shadow.variants, BTreeSet::from([("propensity".to_owned(), 2)]));
        // Nor is it needed once nothing names it: then it is the version for everyone.
        let none = opened_with("");
        assert_eq!(none.models, BTreeMap::from([("propensity".to_owned(), 2)]));
        assert_eq!(none.variants, BTreeSet::new());
    }

    #[test]
    fn stopping_an_experiment_does_not_pin_its_challenger() {
        let running = opened("running");
        assert_eq!(running.models, BTreeMap::from([("propensity".to_owned(), 1)]));
        assert_eq!(running.variants, BTreeSet::from([("propensity".to_owned(), 2)]));
        for state in ["draft", "paused"] {
            let other = opened(state);
            assert_eq!((&other.models, &other.variants), (&running.models, &running.variants), "{state}");
        }
        let stopped = opened("stopped");
        assert_eq!(stopped.models, running.models);
        // Nobody can get it any more, so the release does not need it.
        assert_eq!(stopped.variants, BTreeSet::new());
    }
}
